"""How well a score tells two groups apart, with the interval that fits how the replies are related."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._check import finite, group_codes, level_ok
from homing.stats._resample import cluster_weights, percentile_ends, stratum_scale
from homing.stats._special import F64, I64, normal_quantile
from homing.stats.bootstrap import Labels, two_way_bootstrap
from homing.stats.estimate import Estimate

__all__ = ["auroc", "auroc_clustered", "auroc_value", "dprime_paired", "dprime_value", "midranks"]


def midranks(x: F64) -> F64:
    """Ranks from 1, ties averaged."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse]


def auroc_value(pos: F64, neg: F64) -> float:
    """P(positive above negative), ties counting half."""
    ranks = midranks(np.concatenate([pos, neg]))
    m, n = pos.size, neg.size
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))


def _placements(pos: F64, neg: F64) -> tuple[F64, F64]:
    """Share of negatives below each positive, and of positives above each negative."""
    ranks = midranks(np.concatenate([pos, neg]))
    m, n = pos.size, neg.size
    return (ranks[:m] - midranks(pos)) / n, 1.0 - (ranks[m:] - midranks(neg)) / m


def auroc(pos: npt.ArrayLike, neg: npt.ArrayLike, *, level: float = 0.95) -> Estimate:
    """AUROC of independent scores, DeLong's variance on the logit scale.

    With perfect separation that variance is 0; Newcombe's (2006) score method then gives the ends.

    Args:
        pos: ``(m,)`` scores of the positives. ``neg``: ``(n,)`` of the negatives.
        level: nominal coverage.
    """
    level_ok(level)
    x, y = finite(pos, "pos", 2), finite(neg, "neg", 2)
    v10, v01 = _placements(x, y)
    value = float(v10.mean())
    variance = float(v10.var(ddof=1) / x.size + v01.var(ddof=1) / y.size)
    z = normal_quantile((1 + level) / 2)
    n = int(min(x.size, y.size))
    if variance <= 0 or not 0 < value < 1:
        low, high = _score_ends(value, x.size, y.size, z)
        return Estimate(value, low, high, level, n, "", "Newcombe score (perfect separation)")
    logit = math.log(value / (1 - value))
    half = z * math.sqrt(variance) / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-(logit + s * half))) for s in (-1, 1))
    return Estimate(value, low, high, level, n, "", "DeLong, logit")


def _score_ends(value: float, m: int, n: int, z: float) -> tuple[float, float]:
    """Where ``(value - t)^2 = z^2 V(t)``, V the exponential-model variance of Hanley and McNeil at equal halves."""
    grid = np.linspace(0.0, 1.0, 20001)
    half = (m + n) / 2 - 1
    v = grid * (1 - grid) * (1 + half * ((1 - grid) / (2 - grid) + grid / (1 + grid))) / (m * n)
    inside = grid[(value - grid) ** 2 <= z * z * v + 1e-15]
    return float(inside.min()), float(inside.max())


def auroc_clustered(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    clusters: Labels,
    seed: int,
    second_clusters: Labels = None,
    level: float = 0.95,
    draws: int = 2000,
) -> Estimate:
    """AUROC of replies that share clusters (roles, say), and a second crossed factor (questions).

    Clusters of positives only, of negatives only and of both are resampled as three strata, so that no draw loses a
    side. A side that is one single cluster adds no variance of its own: name its replies one by one, or by prompt.

    Args:
        scores: ``(n,)``. ``labels``: ``(n,)``, true for the positives.
        clusters: one label a score. ``second_clusters``: of the crossed factor.
        seed: of the resampling.
        level, draws: as in ``bootstrap_mean``.
    """
    level_ok(level)
    x = finite(scores, "scores", 2)
    positive = np.asarray(labels).astype(bool)
    if positive.shape != x.shape:
        raise InputError(f"labels have shape {positive.shape} for {x.size} scores; give one a score")
    if not positive.any() or positive.all():
        raise InputError(f"{int(positive.sum())} of {x.size} scores are positives; both groups need at least one")
    value = auroc_value(x[positive], x[~positive])
    rng = np.random.default_rng(seed)
    influence = np.empty(x.size)
    v10, v01 = _placements(x[positive], x[~positive])
    influence[positive], influence[~positive] = (v10 - value) / v10.size, (v01 - value) / v01.size
    weights, variances, sizes = _factor(clusters, positive, influence, rng, draws)
    units = min(sizes)
    if second_clusters is not None:
        second, variances2, sizes2 = _factor(second_clusters, positive, influence, rng, draws)
        weights = weights * second
        variances, sizes, units = variances + variances2, sizes + sizes2, min(units, *sizes2)
    ratio, dof = stratum_scale(variances, sizes)
    low, high = percentile_ends(_weighted(x, positive, weights), level, ratio, dof)
    kind = "two-way" if second_clusters is not None else "clustered"
    return Estimate(value, low, high, level, units, "", f"{kind} bootstrap, percentile, {draws} draws")


def _factor(
    labels: Labels, positive: npt.NDArray[np.bool_], influence: F64, rng: np.random.Generator, draws: int
) -> tuple[F64, list[float], list[int]]:
    """Weights of every score ``(draws, n)``, and the variance and size of each stratum of one factor."""
    codes, m = group_codes(labels, positive.size)
    has_pos = np.bincount(codes, weights=positive, minlength=m) > 0
    has_neg = np.bincount(codes, weights=~positive, minlength=m) > 0
    strata: list[I64] = [
        s
        for s in (np.flatnonzero(mask) for mask in (has_pos & has_neg, has_pos & ~has_neg, ~has_pos & has_neg))
        if s.size
    ]
    sums = np.bincount(codes, weights=influence, minlength=m)
    variances = [s.size / (s.size - 1) * float(np.sum(sums[s] ** 2)) if s.size > 1 else 0.0 for s in strata]
    return cluster_weights(rng, strata, m, draws)[:, codes], variances, [int(s.size) for s in strata]


def _weighted(x: F64, positive: npt.NDArray[np.bool_], weights: F64) -> F64:
    """Weighted AUROC of every draw: one sort, then running sums."""
    order = np.argsort(x, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(x[order]) > 0]))
    out = np.empty(weights.shape[0])
    chunk = max(1, 4_000_000 // x.size)
    for begin in range(0, weights.shape[0], chunk):
        w = weights[begin : begin + chunk][:, order]
        pos = np.add.reduceat(w * positive[order], starts, axis=1)
        neg = np.add.reduceat(w * ~positive[order], starts, axis=1)
        below = np.cumsum(neg, axis=1) - neg / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            out[begin : begin + chunk] = (pos * below).sum(axis=1) / (pos.sum(axis=1) * neg.sum(axis=1))
    return out


def dprime_value(hits: float, alarms: float, n: int) -> float:
    """Distance of two rates in standard normal deviates, finite by half a case on either side (log-linear, Hautus 1995).

    Args:
        hits, alarms: how often out of ``n`` the signal was said to be there: where it was, and where it was not.
    """
    normal = NormalDist()
    return normal.inv_cdf((hits + 0.5) / (n + 1)) - normal.inv_cdf((alarms + 0.5) / (n + 1))


def dprime_paired(hits: npt.ArrayLike, alarms: npt.ArrayLike, *, seed: int, level: float = 0.95) -> Estimate:
    """Distance of two paired rates in standard normal deviates, pairs resampled.

    By :func:`dprime_value`. Where every pair is alike, resampling tells nothing, and the ends are those that one more pair of
    either kind would give.

    Args:
        hits, alarms: ``(n,)`` true where the signal was said to be there: with it, and in its twin without.
        seed: of the resampling. ``level``: nominal coverage.

    Raises:
        InputError: fewer than two pairs, or unlike lengths.
    """
    x, y = finite(np.asarray(hits, np.float64), "hits", 2), finite(np.asarray(alarms, np.float64), "alarms", 2)
    if x.size != y.size:
        raise InputError(f"hits have {x.size} values and alarms {y.size}; they are paired and must agree")
    n = int(x.size)

    def of(rows: I64, _: I64) -> float:
        return dprime_value(float(x[rows].sum()), float(y[rows].sum()), n)

    found = two_way_bootstrap(of, n, 1, seed=seed, level=level)
    if found.half_width > 0:
        return found
    value = found.value
    hit, alarm = float(x.sum()), float(y.sum())
    ends = [dprime_value(min(n, hit + d), min(n, alarm + e), n) for d, e in ((1, 0), (0, 1))]
    ends += [dprime_value(max(0.0, hit - d), max(0.0, alarm - e), n) for d, e in ((1, 0), (0, 1))]
    return Estimate(
        value, min(value, *ends), max(value, *ends), level, n, "", "all pairs alike; one more of either kind"
    )
