"""The llama.cpp engine: any GGUF, read and held on the stock library of a prebuilt wheel."""

from homing.engine.llamacpp.engine import LlamaEngine
from homing.engine.llamacpp.tokens import GgufTokenizer

__all__ = ["GgufTokenizer", "LlamaEngine"]
