"""The artefact that a model can return to: named, versioned sections in safetensors and JSON."""

from homing.identity.container import Identity, Section

__all__ = ["Identity", "Section"]
