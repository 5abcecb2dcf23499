"""What every hidden unit draws over the picture's plane, and how much of that a symmetry leaves alone: data for a gallery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.fracture.grammar import Picture
from homing.fracture.grids import Symmetry, coordinates
from homing.fracture.network import F64, Network
from homing.fracture.pairs import Arm, reads

__all__ = ["Map", "broken", "feature_maps", "strongest"]


@dataclass(frozen=True, eq=False, slots=True)
class Map:
    """One unit over the plane.

    Attributes:
        layer, place: where it lies. ``values``: ``(side, side)``. ``broken``: share of its variation that the symmetry does not
            leave alone, 0 to 1. ``strength``: its standard deviation times the root mean square slope of the output by it.
    """

    layer: int
    place: int
    kind: str
    values: F64
    broken: float
    strength: float


def orbit_mean(symmetry: Symmetry, plane: F64, of: F64) -> F64:
    """Values at pixels ``(n, ...)`` averaged over the places where the symmetry puts each pixel of a whole grid."""
    side = round(len(plane) ** 0.5)
    total, moved = of.copy(), plane
    for _ in range(symmetry.order - 1):
        moved = symmetry(moved)
        at = np.asarray(np.rint((moved + 1) * (side - 1) / 2), np.int64)
        total += of[at[:, 0] * side + at[:, 1]]
    return total / symmetry.order


def broken(symmetry: Symmetry, plane: F64, of: F64, *, centre: bool = True) -> F64:
    """Share of the energy of ``(n, k)`` values on a whole grid that is not the same over an orbit, ``(k,)``; NaN where flat.

    Args:
        centre: measure energy about the mean, as of a map; False: about 0, as of a change.
    """
    off = ((of - orbit_mean(symmetry, plane, of)) ** 2).mean(axis=0)
    energy = of.var(axis=0) if centre else (of**2).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(energy > 1e-20 * (1 + (of**2).mean(axis=0)), np.clip(off / energy, 0, 1), np.nan)


def feature_maps(network: Network, picture: Picture, arm: Arm, *, side: int = 40) -> tuple[Map, ...]:
    """Every hidden unit that varies, layer by layer."""
    plane = coordinates(side)
    passed = network.run(reads(picture, arm, plane))
    deltas = network.deltas(passed, np.ones((len(plane), network.layers[-1].width)))
    out = list[Map]()
    for i, (layer, after) in enumerate(zip(network.layers, network.layers[1:], strict=False)):
        h = passed.inputs[i + 1]
        slope = np.sqrt(((deltas[i + 1] @ after.weights.T) ** 2).mean(axis=0))
        share = broken(picture.concept, plane, h)
        out += [
            Map(i, j, layer.kinds[j], h[:, j].reshape(side, side), float(share[j]), float(h[:, j].std() * slope[j]))
            for j in np.flatnonzero(np.isfinite(share)).tolist()
        ]
    return tuple(out)


def strongest(maps: tuple[Map, ...], n: int = 24) -> tuple[Map, ...]:
    """The ``n`` that move the output most, none the copy of a stronger one, in the order of their layers."""
    kept, seen = list[Map](), list[F64]()
    for m in sorted(maps, key=lambda m: -m.strength):
        v = (m.values - m.values.mean()).ravel()
        v = v / np.linalg.norm(v)
        if m.strength > 0 and not any(abs(float(v @ s)) > 0.999 for s in seen):
            kept.append(m)
            seen.append(v)
        if len(kept) == n:
            break
    return tuple(sorted(kept, key=lambda m: (m.layer, -m.strength)))
