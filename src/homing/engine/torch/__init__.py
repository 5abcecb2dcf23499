"""The reference engine on torch; importing this loads torch."""

from homing.engine.torch.engine import TorchEngine
from homing.engine.torch.layers import find_layers

__all__ = ["TorchEngine", "find_layers"]
