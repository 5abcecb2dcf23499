# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Reliability of directions, and how many components a cloud of vectors has."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._check import level_ok
from homing.stats._special import F64, t_quantile
from homing.stats.estimate import Estimate

__all__ = [
    "ParallelAnalysis",
    "SplitHalf",
    "cosine",
    "disattenuated_cosine",
    "parallel_analysis",
    "pcs_for_share",
    "spearman_brown",
    "split_half_cosine",
    "variance_share",
]


@dataclass(frozen=True, slots=True)
class SplitHalf:
    """Cosine between halves over random splits; the spread over splits is *not* an interval.

    Attributes:
        raw: median cosine of one half with the other. ``stepped_up``: Spearman-Brown, for both halves together.
        spread_low, spread_high: 5th and 95th percentile of the raw cosine over the splits.
        splits: how many.
    """

    raw: float
    stepped_up: float
    spread_low: float
    spread_high: float
    splits: int


@dataclass(frozen=True, eq=False, slots=True)
class ParallelAnalysis:
    """Components that stand above chance.

    Attributes:
        count: leading components above the null. ``shares``: ``(k,)`` of the variance. ``null``: ``(k,)``, the null's.
    """

    count: int
    shares: F64
    null: F64


def spearman_brown(r: float, *, factor: float = 2.0) -> float:
    """Reliability of a measure ``factor`` times as long; NaN where ``r`` is at or under ``-1 / (factor - 1)``."""
    below = 1.0 + (factor - 1.0) * r
    return factor * r / below if below > 0 else math.nan


def cosine(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Cosine of two vectors; NaN where one is zero."""
    x, y = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    if x.size != y.size:
        raise InputError(f"vectors have {x.size} and {y.size} entries; a cosine needs the same space")
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / norm, -1.0, 1.0)) if norm > 0 else math.nan


def split_half_cosine(
    halves: Callable[[np.random.Generator], tuple[npt.ArrayLike, npt.ArrayLike]], *, seed: int, n_splits: int = 100
) -> SplitHalf:
    """Median split-half cosine and its Spearman-Brown step-up.

    Args:
        halves: draws one random split and gives the vector of each half; the halves must share nothing.
        seed: of the splits. ``n_splits``: at least 100 for a figure that is reported.
    """
    if n_splits < 1:
        raise InputError(f"n_splits is {n_splits}; give at least 1, and 100 for a figure that is reported")
    rng = np.random.default_rng(seed)
    values = np.asarray([cosine(*halves(rng)) for _ in range(n_splits)])
    good = values[np.isfinite(values)]
    if good.size == 0:
        return SplitHalf(math.nan, math.nan, math.nan, math.nan, n_splits)
    raw = float(np.median(good))
    low, high = np.quantile(good, [0.05, 0.95])
    return SplitHalf(raw, spearman_brown(raw), float(low), float(high), n_splits)


def disattenuated_cosine(observed: float, reliability_a: float, reliability_b: float) -> float:
    """Cosine that two noiseless directions would have: observed over the root of both reliabilities.

    May pass 1 by chance; NaN where a reliability is not above 0.
    """
    if reliability_a <= 0 or reliability_b <= 0:
        return math.nan
    return observed / math.sqrt(reliability_a * reliability_b)


def _centred(matrix: npt.ArrayLike) -> F64:
    x = np.asarray(matrix, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 3 or not np.isfinite(x).all():
        raise InputError(f"matrix has shape {x.shape}; give finite (rows, features) with at least 3 rows")
    return x - x.mean(axis=0)


def _variances(centred: F64) -> F64:
    """Eigenvalues of the scatter matrix, largest first, from the smaller of its two Gram forms."""
    gram = centred @ centred.T if centred.shape[0] <= centred.shape[1] else centred.T @ centred
    return np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)


def parallel_analysis(
    matrix: npt.ArrayLike, *, seed: int, draws: int = 200, quantile: float = 0.95
) -> ParallelAnalysis:
    """Number of components above those of the same data with every column shuffled on its own (Horn 1965).

    Args:
        matrix: ``(rows, features)``. Columns should be of like scale.
        seed: of the shuffles. ``draws``: shuffles. ``quantile``: of the null that a component must pass.
    """
    x = _centred(matrix)
    rows = x.shape[0]
    observed = _variances(x)[: min(rows - 1, x.shape[1])]
    rng = np.random.default_rng(seed)
    null = np.empty((draws, observed.size))
    for i in range(draws):
        null[i] = _variances(rng.permuted(x, axis=0))[: observed.size]
    limit = np.quantile(null, quantile, axis=0)
    total = float(observed.sum())
    if total <= 0:
        return ParallelAnalysis(0, observed, limit)
    above = observed > limit
    count = int(np.argmin(above)) if not above.all() else int(above.size)
    return ParallelAnalysis(count, observed / total, limit / total)


def pcs_for_share(singular_values: npt.ArrayLike, share: float = 0.7) -> int:
    """How many leading components carry this share of the variance.

    Args:
        singular_values: ``(k,)`` of the centred matrix, largest first. ``share``: over 0 and up to 1.
    """
    variances = np.asarray(singular_values, dtype=np.float64) ** 2
    if variances.ndim != 1 or variances.sum() <= 0:
        raise InputError(f"singular values of shape {variances.shape} carry no variance; give at least one above 0")
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; it must be over 0 and at most 1")
    running = np.cumsum(variances) / variances.sum()
    return int(np.searchsorted(running, share - 1e-12) + 1)


def variance_share(
    matrix: npt.ArrayLike, *, components: int = 1, seed: int, level: float = 0.95, draws: int = 500
) -> Estimate:
    """Share of the variance in the leading components, rows (roles) resampled.

    Repeated rows make a resampled cloud flatter than it is, so the interval takes the spread of the draws on the logit
    scale and centres it on the share less the shift that resampling added.

    Args:
        matrix: ``(rows, features)``. ``components``: how many leading ones.
        seed: of the resampling.
        level, draws: as in ``bootstrap_mean``.
    """
    level_ok(level)
    x = _centred(matrix)
    rows = x.shape[0]
    gram = x @ x.T
    value = _share(gram, components)
    if not 0 < value < 1:
        return Estimate(value, 0.0, 1.0, level, rows, "share", "no spread")
    rng = np.random.default_rng(seed)
    logits = np.empty(draws)
    for i in range(draws):
        take = rng.integers(0, rows, rows)
        logits[i] = _logit(_share(gram[np.ix_(take, take)], components))
    centre = 2 * _logit(value) - float(np.mean(logits))
    half = t_quantile((1 + level) / 2, rows - 1) * float(logits.std(ddof=1)) * math.sqrt(rows / (rows - 1))
    low, high = (1 / (1 + math.exp(-(centre + s * half))) for s in (-1, 1))
    # The correction can move a strongly biased figure's interval past it; a figure lies in its own interval.
    return Estimate(
        value, min(low, value), max(high, value), level, rows, "share", f"bootstrap over rows, logit, {draws} draws"
    )


def _share(gram: F64, components: int) -> float:
    """Share of the leading components of rows whose inner products are ``gram``, centred anew."""
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    values = np.linalg.eigvalsh(centred)[::-1]
    total = float(np.maximum(values, 0.0).sum())
    return float(values[:components].sum() / total) if total > 0 else math.nan


def _logit(p: float) -> float:
    p = min(max(p, 1e-9), 1 - 1e-9)
    return math.log(p / (1 - p))
