"""How far confidences are what they promise: the Brier score and its parts, the calibration error, and maps that mend them.

A confidence is a probability that was said, an outcome whether it came true. Bins hold about equally many confidences, and equal
ones are never parted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._check import finite, group_codes, level_ok
from homing.stats._resample import cluster_weights
from homing.stats._special import F64, I64, t_quantile
from homing.stats.bootstrap import Labels
from homing.stats.estimate import Estimate
from homing.stats.ranking import midranks
from homing.stats.tests import TestResult

__all__ = ["Recalibration", "brier_parts", "calibration_test", "equal_mass", "isotonic_map", "platt_map"]

EDGE = 1e-4
"""Confidences nearer to 0 or 1 are taken to lie here where log-odds are formed."""
PARTS = ("brier", "reliability", "resolution", "uncertainty")


def _pairs(confidence: npt.ArrayLike, outcome: npt.ArrayLike, least: int) -> tuple[F64, F64]:
    q = finite(confidence, "confidence", least)
    y = finite(np.asarray(outcome, np.float64), "outcome", least)
    if q.shape != y.shape:
        raise InputError(f"there are {q.size} confidences and {y.size} outcomes; give one outcome a confidence")
    if ((q < 0) | (q > 1)).any():
        raise InputError(f"confidences run from {q.min():g} to {q.max():g}; they must lie between 0 and 1")
    if not np.isin(y, (0.0, 1.0)).all():
        raise InputError("outcomes must be 0 or 1: whether what was said with a confidence came true")
    return q, y


def equal_mass(confidence: npt.ArrayLike, bins: int) -> I64:
    """A bin for each confidence, from 0 in the order of their size; about equally many in each, equal ones in one.

    Args:
        confidence: ``(n,)``. ``bins``: at most so many; those that stay empty are left out.
    """
    q = finite(confidence, "confidence")
    if bins < 1:
        raise InputError(f"bins are {bins}; give at least 1")
    codes = np.floor((midranks(q) - 0.5) / q.size * bins).astype(np.int64)
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def brier_parts(
    confidence: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    seed: int,
    bins: int = 10,
    clusters: Labels = None,
    level: float = 0.95,
    draws: int = 2000,
) -> Mapping[str, Estimate]:
    """The Brier score, its three parts, and the expected calibration error (ECE), the bias of small bins taken out.

    ``brier = reliability - resolution + uncertainty``, exactly. Reliability is the mean squared gap between accuracy and
    confidence in bins, less the variance that the gaps have by chance (the debiased estimator of arXiv 1909.10155), so that it is
    0 in the mean for who is perfectly calibrated, where the plain one is above it. Uncertainty is the unbiased variance of
    outcomes. Resolution is what remains, so that it holds what bins lump together. ECE is the root of reliability: the form by
    squares, equal to the mean absolute gap where the gap is the same in every bin and above it elsewhere; the absolute form has
    no estimator whose bias does not depend on what is not known. Neither can be below 0; where an estimate is, it is 0.

    Args:
        confidence: ``(n,)``. ``outcome``: ``(n,)``, 0 or 1. ``seed``: of the resampling.
        bins: at most so many. ``clusters``: one label an outcome; correlated ones share one.
        level, draws: as in ``bootstrap_mean``. Resampling shifts all but the first, so intervals have the spread of the draws
            about the estimate itself. The bins are those of the data in every draw.

    Returns:
        ``brier``, ``reliability``, ``resolution``, ``uncertainty``, ``ece``.
    """
    level_ok(level)
    q, y = _pairs(confidence, outcome, 2)
    codes, m = group_codes(clusters, q.size)
    bin_of = equal_mass(q, bins)
    binned = np.eye(int(bin_of.max()) + 1)[bin_of]
    value = _parts(q, y, binned, np.ones((1, q.size)))[0]
    if m < 2:
        half, method = np.full(value.size, math.inf), f"{binned.shape[1]} bins of equal mass, one cluster"
    else:
        weights = cluster_weights(np.random.default_rng(seed), [np.arange(m)], m, draws)[:, codes]
        spread = _parts(q, y, binned, weights).std(axis=0, ddof=1)
        half = t_quantile((1 + level) / 2, m - 1) * math.sqrt(m / (m - 1)) * spread
        method = f"{binned.shape[1]} bins of equal mass, bootstrap spread, {draws} draws"
    out: dict[str, Estimate] = {}
    for k, v, h in zip(PARTS, value.tolist(), half.tolist(), strict=True):
        least = -math.inf if k == "resolution" else 0.0
        out[k] = Estimate(max(v, least), max(v - h, least), max(v + h, least), level, m, "", method)
    square = out["reliability"]
    root, low, high = (math.sqrt(x) for x in (square.value, square.low, square.high))
    return {**out, "ece": Estimate(root, low, high, level, m, "", method)}


def _parts(q: F64, y: F64, binned: F64, weights: F64) -> F64:
    """``(draws, 4)``: Brier score, reliability, resolution and uncertainty, outcomes weighted by ``(draws, n)``."""
    d = y - q
    total = weights.sum(axis=1)
    counts, sums, squares = weights @ binned, weights @ (binned * d[:, None]), weights @ (binned * d[:, None] ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(counts > 0, sums / counts, 0.0)
        variance = np.where(counts > 1, (squares - counts * gap**2) / (counts - 1) / counts, 0.0)
    brier = weights @ d**2 / total
    reliability = (counts * (gap**2 - variance)).sum(axis=1) / total
    rate = weights @ y / total
    uncertainty = rate * (1 - rate) * total / np.maximum(total - 1, 1)
    return np.stack([brier, reliability, reliability + uncertainty - brier, uncertainty], axis=1)


def calibration_test(
    confidence: npt.ArrayLike, outcome: npt.ArrayLike, *, seed: int, bins: int = 10, draws: int = 10000
) -> TestResult:
    """Whether outcomes are what the confidences promise: the plain ECE among those of outcomes drawn as promised.

    Exact for independent outcomes (consistency resampling, Bröcker and Smith 2007), whatever the number of bins.

    Args:
        confidence: ``(n,)``. ``outcome``: ``(n,)``, 0 or 1. ``seed``: of the draws. ``bins``, ``draws``: how many.
    """
    q, y = _pairs(confidence, outcome, 1)
    codes = equal_mass(q, bins)
    binned = np.eye(int(codes.max()) + 1)[codes]

    def plain(outcomes: F64) -> F64:
        return np.abs((outcomes - q) @ binned).sum(axis=1) / q.size

    observed = float(plain(y[None])[0])
    rng, extreme = np.random.default_rng(seed), 0
    for start in range(0, draws, 1000):
        drawn = (rng.random((min(1000, draws - start), q.size)) < q).astype(np.float64)
        extreme += int(np.sum(plain(drawn) >= observed - 1e-12))
    return TestResult(observed, (extreme + 1) / (draws + 1), q.size, f"consistency resampling, {draws} draws")


@dataclass(frozen=True, eq=False, slots=True)
class Recalibration:
    """A map from what was said to what it was worth; straight between its knots, level beyond them.

    Attributes:
        kind: ``isotonic`` or ``platt``. ``said``, ``worth``: ``(knots,)``, rising.
    """

    kind: str
    said: F64
    worth: F64

    def __call__(self, confidence: npt.ArrayLike) -> F64:
        """The confidences ``(n,)`` as they should have been."""
        q = finite(confidence, "confidence")
        return np.interp(q, self.said, self.worth)


def isotonic_map(confidence: npt.ArrayLike, outcome: npt.ArrayLike) -> Recalibration:
    """The rising steps that fit outcomes best (pool adjacent violators), joined by straight lines.

    Args:
        confidence: ``(n,)``, at least 2. ``outcome``: ``(n,)``, 0 or 1. Score the map on others than these.
    """
    from scipy.optimize import isotonic_regression  # pyright: ignore[reportMissingTypeStubs]

    q, y = _pairs(confidence, outcome, 2)
    levels, where = np.unique(q, return_inverse=True)
    counts = np.bincount(where).astype(np.float64)
    fitted = isotonic_regression(np.bincount(where, weights=y) / counts, weights=counts)
    return Recalibration("isotonic", levels, np.asarray(fitted["x"], np.float64))


def platt_map(confidence: npt.ArrayLike, outcome: npt.ArrayLike) -> Recalibration:
    """A logistic curve on the log-odds of what was said, on targets drawn in a little from 0 and 1 (Platt 1999).

    It never falls: where outcomes fall with confidence it is level at their rate.

    Args:
        confidence: ``(n,)``, at least 2. ``outcome``: ``(n,)``, 0 or 1. Score the map on others than these.
    """
    q, y = _pairs(confidence, outcome, 2)
    right = float(y.sum())
    target = np.where(y > 0, (right + 1) / (right + 2), 1 / (q.size - right + 2))
    slope, intercept = _logistic(_log_odds(q), target)
    if slope < 0:
        mean = float(target.mean())
        slope, intercept = 0.0, math.log(mean / (1 - mean))
    grid = np.concatenate([[0.0], 1 / (1 + np.exp(-np.linspace(-9.2, 9.2, 185))), [1.0]])
    return Recalibration("platt", grid, 1 / (1 + np.exp(-(slope * _log_odds(grid) + intercept))))


def _log_odds(q: F64) -> F64:
    inside = np.clip(q, EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))


def _logistic(x: F64, target: F64) -> tuple[float, float]:
    """Slope and intercept of greatest likelihood, by Newton's steps, halved where they overshoot."""
    design = np.stack([x, np.ones_like(x)], axis=1)

    def loss(at: F64) -> float:
        z = design @ at
        return float(np.sum(np.logaddexp(0.0, z) - target * z))

    at: F64 = np.zeros(2, np.float64)
    for _ in range(100):
        p = 1 / (1 + np.exp(-(design @ at)))
        gradient = design.T @ (p - target)
        if float(np.abs(gradient).max()) < 1e-9:
            break
        # a little on the diagonal: where one thing alone was ever said, the slope means nothing
        curvature = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.asarray(np.linalg.solve(curvature, gradient), np.float64)
        size, before = 1.0, loss(at)
        while size > 1e-6 and loss(at - size * step) > before:
            size /= 2
        at = np.asarray(at - size * step, np.float64)
    return float(at[0]), float(at[1])
