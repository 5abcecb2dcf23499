"""The llama.cpp engine: any GGUF, read and held on the stock library of a prebuilt wheel."""

from homing.engine.llamacpp.engine import LlamaEngine

__all__ = ["LlamaEngine"]
