"""What a measure of the comparison panel is given, and what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.metrics import Pairs
from homing.fracture.network import F64, Network
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["Measure", "Scene", "features", "mean_over"]

Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A network, and what a measure may ask of it.

    Attributes:
        x: ``(n, inputs)``; ``gate``: ``(n,)`` contexts. ``grid``: rows and columns that x fills row by row, if it is a picture.
        pairs: inputs that should share a mechanism. ``readout``: ``(outputs,)``, the concept; ``second``: of another one.
        reference: another network of the same depth, for measures that compare. ``seed``: of what is drawn.
    """

    network: Network
    x: F64
    pairs: Pairs
    readout: F64
    gate: Bool | None = None
    grid: tuple[int, int] | None = None
    second: F64 | None = None
    reference: Network | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.grid is not None and self.grid[0] * self.grid[1] != len(self.x):
            raise InputError(f"a grid of {self.grid[0]} by {self.grid[1]} got {len(self.x)} inputs; give one a point")


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    Attributes:
        title: a few words. ``of``: its figure; raises InputError where a scene has not what it needs.
        cannot: what it cannot do, in one line.
        fractured: which way those who use it say fracture lies; ``none``: it claims no side.
    """

    title: str
    of: Callable[[Scene], Estimate]
    cannot: str
    fractured: Literal["more", "less", "none"] = "more"


def features(network: Network, x: F64, gate: Bool | None) -> list[F64]:
    """Activations of each hidden layer, ``(n, units)``; a private copy is a unit of its own, 0 where the other one answers."""
    passed = network.run(x, gate=gate)
    out: list[F64] = []
    for layer, h, chosen in zip(network.layers[:-1], passed.inputs[1:], passed.private[:-1], strict=True):
        if chosen is None or layer.split is None:
            out.append(h)
            continue
        out.append(np.hstack([np.where(chosen, 0.0, h), np.where(chosen, h, 0.0)[:, layer.split]]))
    return out


def mean_over(
    values: Sequence[float] | F64, what: str, scene: Scene, clusters: Sequence[Any] | None = None
) -> Estimate:
    """Mean over layers, units, weights or draws, these resampled."""
    return bootstrap_mean(values, seed=stable_seed("panel", what, scene.seed), clusters=clusters, draws=500)
