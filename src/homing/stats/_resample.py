"""Resampling of whole clusters as multinomial weights, and percentile ends that few clusters do not make too narrow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from homing.errors import InputError
from homing.stats._special import F64, I64, normal_cdf, t_quantile

__all__ = ["cluster_weights", "percentile_ends", "stratum_scale"]


def cluster_weights(rng: np.random.Generator, strata: Sequence[I64], clusters: int, draws: int) -> F64:
    """How often each cluster is drawn: ``(draws, clusters)``; every stratum keeps its own number of clusters."""
    if draws < 100:
        raise InputError(f"draws are {draws}; a bootstrap interval needs at least 100")
    out = np.zeros((draws, clusters), dtype=np.float64)
    for members in strata:
        m = len(members)
        if m:
            out[:, members] = rng.multinomial(m, np.full(m, 1.0 / m), size=draws)
    return out


def stratum_scale(variances: Sequence[float], sizes: Sequence[int]) -> tuple[float, float]:
    """Variance ratio and degrees of freedom by which a bootstrap over few clusters is too narrow.

    Args:
        variances: unbiased variance of the statistic due to each stratum. ``sizes``: clusters of each.

    Returns:
        Ratio of the unbiased variance to the bootstrap's, and Satterthwaite's degrees of freedom.
    """
    pairs = [(v, m) for v, m in zip(variances, sizes, strict=True) if m > 1 and v > 0.0 and math.isfinite(v)]
    if not pairs:
        return 1.0, math.inf
    total = sum(v for v, _ in pairs)
    shrunk = sum(v * (m - 1) / m for v, m in pairs)
    dof = total * total / sum(v * v / (m - 1) for v, m in pairs)
    return total / shrunk, dof


def percentile_ends(draws: F64, level: float, ratio: float, dof: float) -> tuple[float, float]:
    """Expanded percentile ends (Hesterberg 2015): tails taken further out as t and m/(m-1) ask for few clusters.

    Draws in which the statistic does not exist are left out; where they are more than half, the ends are infinite.
    """
    good = draws[np.isfinite(draws)]
    if good.size < draws.size / 2 or good.size < 2:
        return -math.inf, math.inf
    quantile = t_quantile((1 + level) / 2, min(dof, 1e6))
    tail = normal_cdf(-math.sqrt(ratio) * quantile)
    low, high = np.quantile(good, [tail, 1 - tail])
    return float(low), float(high)
