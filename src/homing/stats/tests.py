# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Tests that stand beside the intervals, and equivalence: absence of an effect is a claim with a margin of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._check import finite, group_codes
from homing.stats._special import F64, t_quantile
from homing.stats.bootstrap import Labels, clustered_error
from homing.stats.estimate import Estimate
from homing.stats.intervals import newcombe_paired

__all__ = [
    "Adjusted",
    "Equivalence",
    "TestResult",
    "Verdict",
    "benjamini_hochberg",
    "exact_binomial",
    "holm",
    "mcnemar_exact",
    "permutation_paired",
    "permutation_two_sample",
    "tost_mean",
    "tost_proportion",
    "two_way_t",
]

Verdict = Literal["equivalent", "different", "inconclusive"]


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test's outcome: the statistic, its two-sided p-value, the independent units behind it, and how."""

    __test__ = False  # the name begins as pytest's classes do

    statistic: float
    p_value: float
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Whether an effect is absent within a stated margin.

    Attributes:
        verdict: ``equivalent``: the whole interval at 1 - 2 alpha lies within the margin; else ``different``: the
            interval at 1 - alpha leaves out 0; else ``inconclusive``.
        estimate: the effect with its interval at 1 - 2 alpha. ``margin``: in the same unit. ``alpha``: of each test.
    """

    verdict: Verdict
    estimate: Estimate
    margin: float
    alpha: float


@dataclass(frozen=True, eq=False, slots=True)
class Adjusted:
    """p-values adjusted for how many there are, in the order given; ``rejected`` where at most ``rate``."""

    adjusted: F64
    rejected: npt.NDArray[np.bool_]
    rate: float


def exact_binomial(successes: int, n: int, *, rate: float = 0.5) -> TestResult:
    """Exact two-sided test of a rate."""
    from scipy.stats import binomtest

    if not 0 <= successes <= n or n < 1:
        raise InputError(f"successes are {successes} of {n}; give at least one trial and no more successes than trials")
    return TestResult(successes / n, float(binomtest(successes, n, rate).pvalue), n, "exact binomial")


def mcnemar_exact(first_only: int, second_only: int) -> TestResult:
    """Exact McNemar test on the discordant pairs; 1 where there are none."""
    n = first_only + second_only
    if min(first_only, second_only) < 0:
        raise InputError(f"discordant counts are {first_only} and {second_only}; they must be at least 0")
    if n == 0:
        return TestResult(0.0, 1.0, 0, "exact McNemar")
    p = exact_binomial(first_only, n).p_value
    return TestResult(float(first_only - second_only), p, n, "exact McNemar")


def permutation_paired(
    differences: npt.ArrayLike, *, seed: int, clusters: Labels = None, draws: int = 10000
) -> TestResult:
    """Sign-flip test of a mean paired difference; a cluster flips as one.

    Up to 13 clusters every flip is taken; above, ``draws`` random ones, with the data themselves counted among them.

    Args:
        differences: ``(n,)`` within-pair differences.
        seed: of the flips.
        clusters: one label a difference.
        draws: random flips.
    """
    x = finite(differences, "differences")
    codes, m = group_codes(clusters, x.size)
    sums = np.bincount(codes, weights=x, minlength=m)
    observed = abs(float(sums.sum()))
    edge = observed * (1 - 1e-12) - 1e-15  # flips that tie with the data count as extreme despite rounding
    if m <= 13:
        bits = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
        p = float(np.mean(np.abs((1 - 2 * bits) @ sums) >= edge))
        return TestResult(float(x.mean()), p, m, "sign flips, all")
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, draws, 1000):
        size = min(1000, draws - start)
        signs = rng.integers(0, 2, (size, m), dtype=np.int8) * 2 - 1
        extreme += int(np.sum(np.abs(signs @ sums) >= edge))
    return TestResult(float(x.mean()), (extreme + 1) / (draws + 1), m, f"sign flips, {draws} draws")


def permutation_two_sample(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int, draws: int = 10000) -> TestResult:
    """Permutation test of a difference of means of independent units, studentised as Welch's t (Janssen 1997).

    Args:
        a: ``(n_a,)``. ``b``: ``(n_b,)``; at least two of each.
        seed: of the relabellings. ``draws``: how many, with the data themselves counted among them.
    """
    x, y = finite(a, "a", 2), finite(b, "b", 2)
    both, n = np.concatenate([x, y]), x.size

    def statistic(rows: F64) -> F64:
        left, right = rows[:, :n], rows[:, n:]
        gap = np.abs(left.mean(axis=1) - right.mean(axis=1))
        error = np.sqrt(left.var(axis=1, ddof=1) / n + right.var(axis=1, ddof=1) / y.size)
        return np.where(error > 0, gap / np.where(error > 0, error, 1.0), np.where(gap > 0, np.inf, 0.0))

    observed = float(statistic(both[None])[0])
    rng = np.random.default_rng(seed)
    drawn = statistic(rng.permuted(np.tile(both, (draws, 1)), axis=1))
    p = (int(np.sum(drawn >= observed * (1 - 1e-12))) + 1) / (draws + 1)
    return TestResult(float(x.mean() - y.mean()), p, both.size, f"studentised permutation, {draws} draws")


def two_way_t(values: npt.ArrayLike, *, rows: Labels, columns: Labels) -> TestResult:
    """Test of a mean of 0 where values that share a row or a column are correlated, as of items and wordings.

    The variance is that over rows plus that over columns less that of the cells, which both hold (Cameron, Gelbach and Miller
    2011); no less than the larger of the two. Student's t with one less than the smaller number of levels.

    Args:
        values: ``(n,)``; holes are allowed. ``rows``, ``columns``: one label a value each.
    """
    from scipy.stats import t as student

    x = finite(values, "values", 2)
    r, nr = group_codes(rows, x.size, "rows")
    c, nc = group_codes(columns, x.size, "columns")
    found, cells = np.unique(r * nc + c, return_inverse=True)
    n = len(found)
    mean, m = float(x.mean()), min(nr, nc)
    method = "t, clustered two ways"
    if m < 2:
        return TestResult(mean, 1.0, m, f"{method}: one level")
    over_rows, over_columns, within = (clustered_error(x, g, k) ** 2 for g, k in ((r, nr), (c, nc), (cells, n)))
    error = math.sqrt(max(over_rows + over_columns - within, over_rows, over_columns))
    if error == 0:
        return TestResult(mean, 1.0 if mean == 0 else 0.0, m, f"{method}: no variation")
    return TestResult(mean, float(2 * student.sf(abs(mean) / error, m - 1)), m, method)


def _margin(margin: float, alpha: float) -> None:
    if not margin > 0:
        raise InputError(f"margin is {margin}; state how large an effect would still count as none, above 0")
    if not 0 < alpha < 0.5:
        raise InputError(f"alpha is {alpha}; it must lie between 0 and 0.5")


def _verdict(narrow: Estimate, wide: Estimate, margin: float, alpha: float) -> Equivalence:
    if -margin < narrow.low and narrow.high < margin:
        verdict: Verdict = "equivalent"
    elif wide.low > 0 or wide.high < 0:
        verdict = "different"
    else:
        verdict = "inconclusive"
    return Equivalence(verdict, narrow, margin, alpha)


def tost_mean(
    differences: npt.ArrayLike, *, margin: float, clusters: Labels = None, alpha: float = 0.05, unit: str = ""
) -> Equivalence:
    """Two one-sided t tests of a mean difference against plus and minus the margin, errors clustered.

    Args:
        differences: ``(n,)``. ``margin``: in the same unit.
        clusters: one label a difference.
        alpha: of each one-sided test.
        unit: of the differences.
    """
    _margin(margin, alpha)
    x = finite(differences, "differences")
    codes, m = group_codes(clusters, x.size)
    mean, error = float(x.mean()), clustered_error(x, codes, m)
    method = f"TOST, clustered t, margin {margin:g}"

    def interval(level: float) -> Estimate:
        if m < 2:
            return Estimate(mean, -math.inf, math.inf, level, m, unit, method)
        half = t_quantile((1 + level) / 2, m - 1) * error
        return Estimate(mean, mean - half, mean + half, level, m, unit, method)

    return _verdict(interval(1 - 2 * alpha), interval(1 - alpha), margin, alpha)


def tost_proportion(
    both: int, first_only: int, second_only: int, neither: int, *, margin: float, alpha: float = 0.05, unit: str = ""
) -> Equivalence:
    """Equivalence of two rates on the same items, by Newcombe's paired interval; counts as in ``newcombe_paired``."""
    _margin(margin, alpha)
    narrow, wide = (
        newcombe_paired(both, first_only, second_only, neither, level=level, unit=unit)
        for level in (1 - 2 * alpha, 1 - alpha)
    )
    return _verdict(narrow, wide, margin, alpha)


def benjamini_hochberg(p_values: npt.ArrayLike, *, rate: float = 0.05) -> Adjusted:
    """Benjamini-Hochberg over a report's primary tests.

    Args:
        p_values: ``(k,)``. ``rate``: false discovery rate.
    """
    from scipy.stats import false_discovery_control

    p = _p_values(p_values)
    adjusted = np.asarray(false_discovery_control(p, method="bh"), dtype=np.float64)
    return Adjusted(adjusted, adjusted <= rate, rate)


def holm(p_values: npt.ArrayLike, *, rate: float = 0.05) -> Adjusted:
    """Holm (1979) over a family of tests, whatever hangs together in it.

    Args:
        p_values: ``(k,)``. ``rate``: probability of any false rejection.
    """
    p = _p_values(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return Adjusted(adjusted, adjusted <= rate, rate)


def _p_values(given: npt.ArrayLike) -> F64:
    p = finite(given, "p_values")
    if ((p < 0) | (p > 1)).any():
        raise InputError(f"p-values run from {p.min():g} to {p.max():g}; they must lie between 0 and 1")
    return p
