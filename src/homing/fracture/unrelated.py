# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Inputs that stand in for a partner and are none: what a coupling is held against."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from homing.fracture.network import F64

__all__ = ["NULLS", "Null", "unrelated"]

Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]
Null = Literal["matched", "distance", "random"]
NULLS = 4
"""Stand-ins for each pair."""
NEAREST = 8
CLOSE = 0.25


def unrelated(a: F64, b: F64, read: F64, gate: Bool, codes: I64, rng: np.random.Generator, null: Null) -> I64 | None:
    """Rows of b that stand in for each b, ``(n, NULLS)``: of its context and another cluster, and not close to it.

    The nearer of all others, a quarter, is left out: an input that is merely next to b shares its mechanism without being its
    pair. ``distance`` takes those of like read-out that lie as far from a as b does: an untrained network overlaps by distance.
    """
    n = len(b)
    chosen = np.empty((n, NULLS), np.int64)
    size_a, size_b = (a**2).sum(axis=1), (b**2).sum(axis=1)
    scale = float(read.std()) or 1.0
    for start in range(0, n, 512):
        rows = np.arange(start, min(n, start + 512))
        may = (codes[rows, None] != codes) & (gate[rows, None] == gate)
        if not may.any(axis=1).all():
            return None
        apart = _distances(b[rows], b, size_b[rows], size_b)
        order = np.sort(np.where(may, apart, np.inf), axis=1)
        close = order[np.arange(len(rows)), (CLOSE * may.sum(axis=1)).astype(int)]
        may &= apart >= close[:, None]
        away: F64 = np.zeros(may.shape)
        if null != "random":
            away += np.abs(read[rows, None] - read) / scale
        if null == "distance":
            reach = _distances(a[rows], b, size_a[rows], size_b)
            own = np.sqrt(((a[rows] - b[rows]) ** 2).sum(axis=1))
            away += np.abs(reach - own[:, None]) / (float(reach.std()) or 1.0)
        # ties, as in a picture with a plain background, are broken at random
        away = np.where(may, away, np.inf) + rng.random(may.shape) * 1e-9
        width = min(n, 2 * NEAREST if null == "random" else NEAREST)
        near = np.argpartition(away, width - 1, axis=1)[:, :width] if width < n else np.argsort(away, axis=1)
        there = np.minimum(may.sum(axis=1), width)
        nearest = np.take_along_axis(near, np.argsort(np.take_along_axis(away, near, axis=1), axis=1), axis=1)
        chosen[rows] = np.take_along_axis(
            nearest, (rng.random((len(rows), NULLS)) * there[:, None]).astype(int), axis=1
        )
    return chosen


def _distances(x: F64, y: F64, size_x: F64, size_y: F64) -> F64:
    return np.sqrt(np.maximum(size_x[:, None] + size_y - 2 * x @ y.T, 0))
