"""The axis from the mean role to home, with the units in which every position is given: 0 = mean role, 1 = home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Direction, MeanRead, Read, SpanKind
from homing.errors import InputError

__all__ = ["Axis"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Axis:
    """Home minus the mean role, per layer, as unit vectors and an affine scale.

    Args:
        layers: layers held, ascending. ``vectors``: ``(layers, hidden)`` float32, made unit length.
        zero: raw projection of the mean role, one a layer. ``unit``: raw distance from mean role to home, over 0.
        read_layer: the layer whose reading is *the* position.

    Source: Lu et al. 2026 (arXiv 2601.10387): axis = mean default - mean of role vectors.
    """

    layers: tuple[int, ...]
    vectors: F32
    zero: tuple[float, ...]
    unit: tuple[float, ...]
    read_layer: int

    def __post_init__(self) -> None:
        d = Direction("axis", self.layers, self.vectors)
        object.__setattr__(self, "vectors", d.vectors)
        object.__setattr__(self, "_direction", d)
        if len(self.zero) != len(self.layers) or len(self.unit) != len(self.layers):
            raise InputError(f"axis has {len(self.layers)} layers, {len(self.zero)} zeros and {len(self.unit)} units")
        if any(not u > 0 for u in self.unit):
            raise InputError(
                "axis has a unit that is not over 0: home must lie above the mean role at every layer held"
            )
        if self.read_layer not in self.layers:
            raise InputError(f"read layer {self.read_layer} is not among the axis layers {self.layers}")

    @classmethod
    def between(cls, home: F32, roles: F32, layers: tuple[int, ...], *, read_layer: int) -> Axis:
        """From a home vector ``(layers, hidden)`` and role vectors ``(roles, layers, hidden)``."""
        mean_role = roles.mean(axis=0)
        diff = (home - mean_role).astype(np.float64)
        norm = np.linalg.norm(diff, axis=1)
        if not (norm > 0).all():
            raise InputError("home equals the mean role at some layer; there is no axis between them")
        unit_vectors = (diff / norm[:, None]).astype(np.float32)
        zero = np.einsum("lh,lh->l", unit_vectors, mean_role)
        return cls(
            layers,
            unit_vectors,
            tuple(float(z) for z in zero),
            tuple(float(u) for u in norm),
            read_layer,
        )

    @property
    def direction(self) -> Direction:
        """The axis as a Direction to register with an engine; its id is the content id."""
        return self._direction  # type: ignore[attr-defined, no-any-return]

    def read(self, layers: tuple[int, ...] | None = None, spans: frozenset[SpanKind] = frozenset({"reply"})) -> Read:
        """A calibrated Read at ``layers`` (default: the read layer alone)."""
        chosen = layers or (self.read_layer,)
        at = [self.layers.index(i) for i in chosen]
        return Read(self.direction.id, chosen, spans, tuple(self.zero[i] for i in at), tuple(self.unit[i] for i in at))

    def mean_read(self) -> MeanRead:
        """A MeanRead of the reply at every layer of the axis."""
        return MeanRead(self.layers)

    def raw(self, means: F32) -> F32:
        """Raw projections ``(..., layers)`` of residual vectors ``(..., layers, hidden)``."""
        return np.einsum("...lh,lh->...l", means, self.vectors).astype(np.float32)

    def positions(self, raw: F32) -> F32:
        """Raw projections ``(..., layers)`` at all layers of the axis to calibrated positions, same shape."""
        return ((raw - np.asarray(self.zero)) / np.asarray(self.unit)).astype(np.float32)

    def to_raw(self, position: float, layer: int) -> float:
        """The raw projection that lies at ``position`` at ``layer``: for thresholds of a cap."""
        i = self.layers.index(layer)
        return self.zero[i] + position * self.unit[i]

    def to_json(self) -> dict[str, Any]:
        """Everything but the vectors."""
        return {
            "layers": list(self.layers),
            "zero": list(self.zero),
            "unit": list(self.unit),
            "read_layer": self.read_layer,
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any], vectors: F32) -> Axis:
        """The inverse of :meth:`to_json`."""
        return cls(tuple(raw["layers"]), vectors, tuple(raw["zero"]), tuple(raw["unit"]), int(raw["read_layer"]))
