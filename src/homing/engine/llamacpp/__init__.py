"""The llama.cpp engine: any GGUF, read and held on the stock library of a prebuilt wheel."""

from homing.engine.llamacpp.carrier import Carrier, find_carrier

__all__ = ["Carrier", "find_carrier"]
