"""The axis from the mean role to home, and the reader of it, with the units of every position: 0 = mean role, 1 = home.

The axis is the difference of means: what a cap acts along. The reader is the same difference seen through the noise of
single replies: what a position is read with. Source: Marks and Tegmark 2023 (arXiv 2310.06824), whose mass-mean probe
intervenes along the one and classifies with the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Direction, MeanRead, Read, SpanKind
from homing.errors import InputError

__all__ = ["Axis", "Reader"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Reader:
    """The direction at the read layer that positions are read along, and its affine scale.

    Args:
        layer: the layer read. ``vector``: ``(hidden,)`` float32, made unit length.
        zero: raw projection of the mean role. ``unit``: raw distance from mean role to home, over 0.
    """

    layer: int
    vector: F32
    zero: float
    unit: float

    def __post_init__(self) -> None:
        d = Direction("reader", (self.layer,), self.vector[None])
        object.__setattr__(self, "vector", d.vectors[0])
        object.__setattr__(self, "_direction", d)
        if not self.unit > 0:
            raise InputError("the reader has a unit that is not over 0: home must lie above the mean role")

    @property
    def direction(self) -> Direction:
        """The reader as a Direction to register with an engine; its id is the content id."""
        return self._direction  # type: ignore[attr-defined, no-any-return]

    def positions(self, raw: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Raw projections to calibrated positions, same shape."""
        return (raw.astype(np.float64) - self.zero) / self.unit


@dataclass(frozen=True, eq=False)
class Axis:
    """Home minus the mean role, per layer, as unit vectors and an affine scale.

    Args:
        layers: layers held, ascending. ``vectors``: ``(layers, hidden)`` float32, made unit length.
        zero: raw projection of the mean role, one a layer. ``unit``: raw distance from mean role to home, over 0.
        read_layer: the layer whose reading is *the* position.
        own_reader: what positions are read with; None: the axis itself at the read layer.

    Source: Lu et al. 2026 (arXiv 2601.10387): axis = mean default - mean of role vectors.
    """

    layers: tuple[int, ...]
    vectors: F32
    zero: tuple[float, ...]
    unit: tuple[float, ...]
    read_layer: int
    own_reader: Reader | None = None

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
        at = self.layers.index(self.read_layer)
        reader = self.own_reader or Reader(self.read_layer, self.vectors[at], self.zero[at], self.unit[at])
        if reader.layer != self.read_layer:
            raise InputError(f"the reader is of layer {reader.layer}, but the axis is read at layer {self.read_layer}")
        object.__setattr__(self, "_reader", reader)

    @classmethod
    def between(cls, home: F32, roles: F32, layers: tuple[int, ...], *, read_layer: int) -> Axis:
        """From a home vector ``(layers, hidden)`` and role vectors ``(roles, layers, hidden)``, taken as exact."""
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

    @property
    def reader(self) -> Reader:
        """What positions are read with."""
        return self._reader  # type: ignore[attr-defined, no-any-return]

    @property
    def directions(self) -> tuple[Direction, ...]:
        """What an engine must know to act along the axis and to read a position."""
        return (self.direction, self.reader.direction)

    def read(self, layers: tuple[int, ...] | None = None, spans: frozenset[SpanKind] = frozenset({"reply"})) -> Read:
        """A calibrated Read: *the* position by the reader or, with ``layers``, the profile of the axis over them."""
        if layers is None:
            r = self.reader
            return Read(r.direction.id, (r.layer,), spans, (r.zero,), (r.unit,))
        at = [self.layers.index(i) for i in layers]
        return Read(self.direction.id, layers, spans, tuple(self.zero[i] for i in at), tuple(self.unit[i] for i in at))

    def mean_read(self) -> MeanRead:
        """A MeanRead of the reply at every layer of the axis."""
        return MeanRead(self.layers)

    def raw(self, means: F32) -> F32:
        """Raw projections ``(..., layers)`` of residual vectors ``(..., layers, hidden)``."""
        return np.einsum("...lh,lh->...l", means, self.vectors).astype(np.float32)

    def positions(self, raw: F32) -> F32:
        """Raw projections ``(..., layers)`` on the axis at all its layers, calibrated layer by layer, same shape."""
        return ((raw - np.asarray(self.zero)) / np.asarray(self.unit)).astype(np.float32)

    def to_raw(self, position: float, layer: int) -> float:
        """The raw projection that lies at ``position`` at ``layer``: for thresholds of a cap."""
        i = self.layers.index(layer)
        return self.zero[i] + position * self.unit[i]

    def to_json(self) -> dict[str, Any]:
        """Everything but the vectors of the axis and of the reader."""
        return {
            "layers": list(self.layers),
            "zero": list(self.zero),
            "unit": list(self.unit),
            "read_layer": self.read_layer,
            "reader": {"zero": self.reader.zero, "unit": self.reader.unit},
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Axis:
        """The inverse of :meth:`to_json`; ``arrays`` holds ``axis`` and ``reader`` (without one, the axis reads itself)."""
        layer = int(raw["read_layer"])
        reader = None
        if "reader" in raw:
            own = raw["reader"]
            reader = Reader(layer, arrays["reader"], float(own["zero"]), float(own["unit"]))
        return cls(tuple(raw["layers"]), arrays["axis"], tuple(raw["zero"]), tuple(raw["unit"]), layer, reader)
