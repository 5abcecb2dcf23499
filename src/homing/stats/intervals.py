# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
"""Intervals in closed form: a mean, and rates: one, a paired difference, a ratio, one seen through a judge that errs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy.typing as npt
from scipy import stats as scipy_stats

from homing.errors import InputError
from homing.stats._check import finite, level_ok
from homing.stats._special import normal_quantile
from homing.stats.estimate import Estimate

__all__ = ["koopman", "mean_t", "newcombe_paired", "rogan_gladen", "wilson", "wilson_bounds"]


def _counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 0 or int(value) != value:
            raise InputError(f"{name} is {value}; a count is a whole number of at least 0")


def wilson_bounds(successes: float, n: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a rate, as two numbers; (0, 1) where there is nothing to count."""
    if n == 0:
        return 0.0, 1.0
    z = normal_quantile((1 + level) / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if successes == 0 else max(0.0, centre - half)), (1.0 if successes == n else min(1.0, centre + half))


def wilson(successes: int, n: int, *, level: float = 0.95, unit: str = "") -> Estimate:
    """A rate with Wilson's score interval.

    Args:
        successes: how often it happened. ``n``: independent trials; 0 gives NaN in [0, 1].
        level: nominal coverage.
        unit: what the rate counts.
    """
    level_ok(level)
    _counts(successes=successes, n=n)
    if successes > n:
        raise InputError(f"successes are {successes} of {n}; there cannot be more than trials")
    low, high = wilson_bounds(successes, n, level)
    return Estimate(successes / n if n else math.nan, low, high, level, n, unit, "Wilson")


def newcombe_paired(
    both: int, first_only: int, second_only: int, neither: int, *, level: float = 0.95, unit: str = ""
) -> Estimate:
    """First rate minus second rate on the same items, with Newcombe's method 10 (1998, with its corrected phi).

    Args:
        both, first_only, second_only, neither: the four counts of the paired table.
        level: nominal coverage.
        unit: what the difference counts.
    """
    level_ok(level)
    _counts(both=both, first_only=first_only, second_only=second_only, neither=neither)
    n = both + first_only + second_only + neither
    if n == 0:
        return Estimate(math.nan, -1.0, 1.0, level, 0, unit, "Newcombe method 10")
    p1, p2 = (both + first_only) / n, (both + second_only) / n
    low1, high1 = wilson_bounds(both + first_only, n, level)
    low2, high2 = wilson_bounds(both + second_only, n, level)
    product = (both + first_only) * (second_only + neither) * (both + second_only) * (first_only + neither)
    phi = 0.0
    if product > 0:
        determinant = both * neither - first_only * second_only
        # The continuity correction only shrinks a positive association, and never past 0.
        phi = (max(determinant - n / 2, 0.0) if determinant > 0 else determinant) / math.sqrt(product)
    down = (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2
    up = (p2 - low2) ** 2 - 2 * phi * (p2 - low2) * (high1 - p1) + (high1 - p1) ** 2
    gap = p1 - p2
    low, high = max(-1.0, gap - math.sqrt(max(down, 0.0))), min(1.0, gap + math.sqrt(max(up, 0.0)))
    return Estimate(gap, low, high, level, n, unit, "Newcombe method 10")


def _koopman_score(ratio: float, k1: int, n1: int, k2: int, n2: int) -> float:
    """Koopman's (1984) chi-squared statistic of ``p1 / p2 = ratio``, signed: positive where the data lie above."""
    b = ratio * (n1 + k2) + k1 + n2
    root = math.sqrt(max(b * b - 4 * ratio * (n1 + n2) * (k1 + k2), 0.0))
    p1 = 2 * ratio * (k1 + k2) / (b + root)  # the smaller root, without cancellation
    p2 = p1 / ratio
    p1, p2 = min(max(p1, 1e-300), 1.0), min(max(p2, 1e-300), 1.0)
    # Score form: (d)^2 / var(d), d = k1/n1 - ratio k2/n2 under the restricted fit; equal to Koopman's U.
    variance = p1 * (1 - p1) / n1 + ratio * ratio * p2 * (1 - p2) / n2
    gap = k1 / n1 - ratio * k2 / n2
    if variance <= 0.0:
        return 0.0 if abs(gap) < 1e-12 else math.copysign(math.inf, gap)
    return math.copysign(gap * gap / variance, gap)


def _crossing(function: Callable[[float], float]) -> float:
    """Where a falling function of the log ratio crosses 0, by bisection."""
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def koopman(k1: int, n1: int, k2: int, n2: int, *, level: float = 0.95, unit: str = "times") -> Estimate:
    """Ratio of two independent rates, first over second, with Koopman's score interval.

    The upper end is infinite where the second count is 0, the lower end 0 where the first is.

    Args:
        k1, n1: successes and trials of the first. ``k2, n2``: of the second.
        level: nominal coverage.
        unit: what the ratio counts.
    """
    level_ok(level)
    _counts(k1=k1, n1=n1, k2=k2, n2=n2)
    if not (n1 and n2 and k1 <= n1 and k2 <= n2):
        raise InputError(
            f"counts are {k1} of {n1} and {k2} of {n2}; each needs trials, and no more successes than trials"
        )
    limit = normal_quantile((1 + level) / 2) ** 2
    value = math.nan if k1 == k2 == 0 else (math.inf if k2 == 0 else (k1 / n1) / (k2 / n2))

    def above(log_ratio: float) -> float:
        return _koopman_score(math.exp(log_ratio), k1, n1, k2, n2) - limit

    def below(log_ratio: float) -> float:
        return _koopman_score(math.exp(log_ratio), k1, n1, k2, n2) + limit

    # The signed score falls with the ratio, so each end is one crossing on a wide log scale.
    low = 0.0 if k1 == 0 else math.exp(_crossing(above))
    high = math.inf if k2 == 0 else math.exp(_crossing(below))
    return Estimate(value, low, high, level, n1 + n2, unit, "Koopman score")


def rogan_gladen(seen: Estimate, sensitivity: Estimate, specificity: Estimate) -> Estimate:
    """The true rate behind the one that a fallible judge sees (Rogan and Gladen 1978), delta-method interval.

    Args:
        seen: rate of positive verdicts, with its own interval (clustered where replies are).
        sensitivity, specificity: of the judge, from its gold set; their ``n`` are the gold replies of each label.

    Returns:
        Value within 0 and 1; NaN with an unbounded interval where the judge does no better than chance.
    """
    se, sp = sensitivity.value, specificity.value
    gain = se + sp - 1
    how = "Rogan-Gladen, delta method"
    if not gain > 0 or not math.isfinite(seen.value):
        return Estimate(math.nan, -math.inf, math.inf, seen.level, seen.n, seen.unit, f"{how}: the judge tells nothing")
    value = (seen.value + sp - 1) / gain
    z = normal_quantile((1 + seen.level) / 2)
    # a judge that never erred on a small gold set still may: the variance of its rates is taken at the Agresti-Coull centre
    spread = [(p := (e.value * e.n + 2) / (e.n + 4)) * (1 - p) / (e.n + 4) for e in (sensitivity, specificity)]
    variance = ((seen.half_width / z) ** 2 + value**2 * spread[0] + (1 - value) ** 2 * spread[1]) / gain**2
    half = z * math.sqrt(variance)
    inside = min(max(value, 0.0), 1.0)
    low, high = max(0.0, value - half), min(1.0, value + half)
    return Estimate(inside, min(low, inside), max(high, inside), seen.level, seen.n, seen.unit, how)


def mean_t(values: npt.ArrayLike, *, level: float = 0.95, unit: str = "") -> Estimate:
    """A mean of independent values with Student's interval: for a handful, of which a bootstrap makes too little.

    Args:
        values: ``(n,)``. One alone gives an unbounded interval.
        level: nominal coverage. ``unit``: what the mean counts.
    """
    level_ok(level)
    x = finite(values, "values")
    value, n = float(x.mean()), int(x.size)
    if n < 2:
        return Estimate(value, -math.inf, math.inf, level, n, unit, "Student's interval: one value")
    half = float(scipy_stats.t.ppf((1 + level) / 2, n - 1) * x.std(ddof=1) / math.sqrt(n))
    return Estimate(value, value - half, value + half, level, n, unit, "Student's interval")
