"""Distribution-free quantiles from order statistics: intervals, and thresholds that keep a promise."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._check import finite, level_ok
from homing.stats._special import beta_cdf, beta_quantile, binomial_cdf
from homing.stats.estimate import Estimate

__all__ = ["Threshold", "exceedance", "least_n", "quantile_interval", "quantile_threshold"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold with the promise it keeps.

    Attributes:
        value: a fresh value lies above it with probability ``alpha`` or less, with this ``confidence``.
        alpha: the promise kept: as asked where ``calibrated``, else the smallest that ``n`` values can carry.
        asked: the promise asked for. ``confidence``: in the promise.
        rank: which order statistic it is, 1 the smallest. ``n``: independent values behind it.
    """

    value: float
    alpha: float
    asked: float
    confidence: float
    rank: int
    n: int

    @property
    def calibrated(self) -> bool:
        """Whether the promise asked for is kept."""
        return self.alpha <= self.asked

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Threshold:
        """The inverse of :meth:`to_json`."""
        return cls(
            value=float(raw["value"]),
            alpha=float(raw["alpha"]),
            asked=float(raw["asked"]),
            confidence=float(raw["confidence"]),
            rank=int(raw["rank"]),
            n=int(raw["n"]),
        )


def _probability(value: float, name: str) -> None:
    if not 0.0 < value < 1.0:
        raise InputError(f"{name} is {value}; it must lie between 0 and 1")


def least_n(alpha: float, confidence: float) -> int:
    """How many values the promise needs at least: 59 for 5% with 95% confidence."""
    _probability(alpha, "alpha")
    _probability(confidence, "confidence")
    return math.ceil(math.log1p(-confidence) / math.log1p(-alpha) - 1e-12)


def quantile_threshold(maxima: npt.ArrayLike, *, alpha: float, confidence: float) -> Threshold:
    """Smallest order statistic that a fresh value exceeds with probability at most alpha, with this confidence.

    The probability above the r-th of n order statistics is Beta(n - r + 1, r), whatever the distribution, so this is
    a one-sided tolerance bound (Wilks 1941). With too few values the largest of them is taken, and the promise that it
    can keep is returned instead of the one asked for.

    Args:
        maxima: ``(n,)`` independent values, for example one maximum a conversation.
        alpha: wanted probability above the threshold. ``confidence``: in it.
    """
    _probability(alpha, "alpha")
    _probability(confidence, "confidence")
    x = np.sort(finite(maxima, "maxima"))
    n = int(x.size)
    if n < least_n(alpha, confidence):
        promise = 1.0 - (1.0 - confidence) ** (1.0 / n)
        return Threshold(float(x[-1]), promise, alpha, confidence, n, n)
    low, high = 1, n  # the confidence rises with the rank
    while low < high:
        middle = (low + high) // 2
        if beta_cdf(alpha, n - middle + 1, middle) >= confidence:
            high = middle
        else:
            low = middle + 1
    return Threshold(float(x[low - 1]), alpha, alpha, confidence, low, n)


def exceedance(threshold: Threshold, *, level: float = 0.95) -> Estimate:
    """How often a fresh value lies above the threshold, from its rank alone: exact, distribution-free."""
    level_ok(level)
    a, b = threshold.n - threshold.rank + 1, threshold.rank
    return Estimate(
        value=a / (a + b),
        low=beta_quantile((1 - level) / 2, a, b),
        high=beta_quantile((1 + level) / 2, a, b),
        level=level,
        n=threshold.n,
        unit="per conversation",
        method="order statistic, Beta",
    )


def quantile_interval(x: npt.ArrayLike, q: float, *, level: float = 0.95, unit: str = "") -> Estimate:
    """A quantile between two order statistics; covers at least ``level`` whatever the distribution.

    An end is infinite where ``n`` is too small for it.

    Args:
        x: ``(n,)`` independent values. ``q``: which quantile, 0 to 1.
        level: nominal coverage.
        unit: of the values.
    """
    level_ok(level)
    _probability(q, "q")
    values = np.sort(finite(x, "x"))
    n = int(values.size)
    tail = (1 - level) / 2
    # low = x_(l) fails when at most l - 1 values lie under the quantile; high = x_(u) when u or more do.
    lower = 0
    while lower < n and binomial_cdf(lower, n, q) <= tail:
        lower += 1
    upper = n + 1
    while upper > 1 and 1.0 - binomial_cdf(upper - 2, n, q) <= tail:
        upper -= 1
    low = float(values[lower - 1]) if lower >= 1 else -math.inf
    high = float(values[upper - 1]) if upper <= n else math.inf
    covered = binomial_cdf(upper - 1, n, q) - binomial_cdf(lower - 1, n, q)
    return Estimate(
        float(np.quantile(values, q)), low, high, level, n, unit, f"order statistics, covers {min(covered, 1.0):.4f}"
    )
