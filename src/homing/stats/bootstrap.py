"""Means, differences and ratios whose replies are correlated within clusters; and two crossed random factors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._check import finite, group_codes, level_ok
from homing.stats._resample import cluster_weights, percentile_ends, stratum_scale
from homing.stats._special import F64, I64, t_quantile
from homing.stats.estimate import Estimate

__all__ = [
    "bootstrap_difference",
    "bootstrap_mean",
    "clustered_error",
    "ratio_of_means",
    "two_way_bootstrap",
    "two_way_bootstrap_many",
]

Labels = Sequence[Any] | npt.NDArray[Any] | None
IntervalKind = Literal["percentile", "normal", "fisher"]


def clustered_error(values: F64, codes: I64, m: int) -> float:
    """Standard error of the mean of values clustered in ``m`` groups (linearised, with m/(m-1)); infinite for one."""
    if m < 2:
        return math.inf
    residual = np.bincount(codes, weights=values - values.mean(), minlength=m)
    return float(np.sqrt(m / (m - 1) * np.sum(residual**2)) / values.size)


def bootstrap_mean(
    values: npt.ArrayLike,
    *,
    seed: int,
    clusters: Labels = None,
    level: float = 0.95,
    draws: int = 2000,
    studentised: bool = False,
    unit: str = "",
) -> Estimate:
    """Mean over all values, whole clusters resampled.

    Args:
        values: ``(n,)``.
        seed: of the resampling.
        clusters: one label a value; correlated replies share one. None: each value is its own.
        level: nominal coverage.
        draws: bootstrap draws.
        studentised: bootstrap-t ends (better for skewed values) in place of expanded percentile ends.
        unit: what the mean counts.

    Returns:
        ``n`` is the number of clusters. One cluster alone gives an unbounded interval.
    """
    level_ok(level)
    x = finite(values, "values")
    codes, m = group_codes(clusters, x.size)
    value = float(x.mean())
    kind = "studentised" if studentised else "percentile"
    method = f"clustered bootstrap, {kind}, {draws} draws"
    if m < 2:
        return Estimate(value, -math.inf, math.inf, level, m, unit, f"{method}: one cluster")
    sizes = np.bincount(codes, minlength=m).astype(np.float64)
    sums = np.bincount(codes, weights=x, minlength=m)
    weights = cluster_weights(np.random.default_rng(seed), [np.arange(m)], m, draws)
    means = (weights @ sums) / (weights @ sizes)
    error = clustered_error(x, codes, m)
    if not studentised:
        ratio, dof = stratum_scale([error**2], [m])
        low, high = percentile_ends(means, level, ratio, dof)
        return Estimate(value, low, high, level, m, unit, method)
    # Error of each draw, from the same weights: sum over clusters of w (s - mean n)^2.
    squares = (weights @ sums**2) - 2 * means * (weights @ (sums * sizes)) + means**2 * (weights @ sizes**2)
    errors = np.sqrt(np.maximum(m / (m - 1) * squares, 0.0)) / (weights @ sizes)
    pivots = (means - value)[errors > 0] / errors[errors > 0]
    if pivots.size < draws / 2:
        return Estimate(value, value, value, level, m, unit, f"{method}: no variation")
    t_low, t_high = np.quantile(pivots, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, value - float(t_high) * error, value - float(t_low) * error, level, m, unit, method)


def bootstrap_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    seed: int,
    clusters: Labels = None,
    clusters_b: Labels = None,
    level: float = 0.95,
    draws: int = 2000,
    unit: str = "",
) -> Estimate:
    """Mean of ``a`` minus mean of ``b``, whole clusters resampled; a cluster in both is drawn for both at once.

    Args:
        a: ``(n_a,)``. ``b``: ``(n_b,)``.
        seed: of the resampling.
        clusters: labels of ``a``, and of ``b`` too where ``clusters_b`` is None and the lengths agree (paired).
            None: every value of either side on its own, unpaired.
        clusters_b: labels of ``b``.
        level, draws, unit: as in :func:`bootstrap_mean`.
    """
    level_ok(level)
    x, y = finite(a, "a"), finite(b, "b")
    if clusters is None:
        if clusters_b is not None:
            raise InputError("clusters_b is given without clusters; give both, or neither")
        labels = [f"a{i}" for i in range(x.size)] + [f"b{i}" for i in range(y.size)]
    else:
        labels = [str(c) for c in clusters] + [str(c) for c in (clusters if clusters_b is None else clusters_b)]
        if len(clusters) != x.size:
            raise InputError(f"clusters has {len(clusters)} labels for {x.size} values of a; give one a value")
    codes, m = group_codes(labels, x.size + y.size)
    ca, cb = codes[: x.size], codes[x.size :]
    na, nb = (np.bincount(c, minlength=m).astype(np.float64) for c in (ca, cb))
    sa, sb = np.bincount(ca, weights=x, minlength=m), np.bincount(cb, weights=y, minlength=m)
    strata = [np.flatnonzero(mask) for mask in ((na > 0) & (nb > 0), (na > 0) & (nb == 0), (na == 0) & (nb > 0))]
    value = float(x.mean() - y.mean())
    method = f"clustered bootstrap, percentile, {draws} draws"
    influence = (sa - x.mean() * na) / x.size - (sb - y.mean() * nb) / y.size
    variances = [
        len(s) / (len(s) - 1) * float(np.sum((influence[s] - influence[s].mean()) ** 2)) if len(s) > 1 else 0.0
        for s in strata
    ]
    if all(len(s) < 2 for s in strata):
        return Estimate(value, -math.inf, math.inf, level, m, unit, f"{method}: one cluster a side")
    ratio, dof = stratum_scale(variances, [len(s) for s in strata])
    weights = cluster_weights(np.random.default_rng(seed), strata, m, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        gaps = (weights @ sa) / (weights @ na) - (weights @ sb) / (weights @ nb)
    low, high = percentile_ends(gaps, level, ratio, dof)
    return Estimate(value, low, high, level, m, unit, method)


def ratio_of_means(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    *,
    seed: int,
    clusters: Labels = None,
    level: float = 0.95,
    draws: int = 2000,
    method: Literal["fieller", "bootstrap"] = "fieller",
    unit: str = "",
) -> Estimate:
    """Mean of the numerator over mean of the denominator (never a mean of ratios), paired by position.

    Args:
        numerator, denominator: ``(n,)`` each.
        seed: of the resampling; Fieller's interval draws nothing.
        clusters: one label a pair.
        level, draws: as in :func:`bootstrap_mean`.
        method: ``fieller`` is unbounded where the denominator is not clear of 0; ``bootstrap`` is percentile.
        unit: what the ratio counts.
    """
    level_ok(level)
    x, y = finite(numerator, "numerator"), finite(denominator, "denominator")
    if x.size != y.size:
        raise InputError(f"numerator has {x.size} values and denominator {y.size}; they are paired and must agree")
    codes, m = group_codes(clusters, x.size)
    sx, sy = np.bincount(codes, weights=x, minlength=m), np.bincount(codes, weights=y, minlength=m)
    value = float(sx.sum() / sy.sum()) if sy.sum() != 0 else math.nan
    if m < 2:
        return Estimate(value, -math.inf, math.inf, level, m, unit, f"{method}: one cluster")
    if method == "bootstrap":
        weights = cluster_weights(np.random.default_rng(seed), [np.arange(m)], m, draws)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = (weights @ sx) / (weights @ sy)
        low, high = percentile_ends(ratios, level, m / (m - 1), m - 1)
        return Estimate(value, low, high, level, m, unit, f"clustered bootstrap, percentile, {draws} draws")
    t2 = t_quantile((1 + level) / 2, m - 1) ** 2
    n = np.bincount(codes, minlength=m).astype(np.float64)
    # Deviations from each mean times cluster size: the ratio estimator's linearisation also for unequal clusters.
    dx, dy = sx - x.mean() * n, sy - y.mean() * n
    scale = m / (m - 1)
    vxx, vyy, vxy = (scale * float(np.sum(p * q)) for p, q in ((dx, dx), (dy, dy), (dx, dy)))
    total_x, total_y = float(sx.sum()), float(sy.sum())
    # Roots of (X - r Y)^2 = t^2 var(X - r Y) in r.
    qa, qb, qc = total_y**2 - t2 * vyy, total_x * total_y - t2 * vxy, total_x**2 - t2 * vxx
    inside = qb * qb - qa * qc
    if qa <= 0 or inside < 0:
        return Estimate(
            value, -math.inf, math.inf, level, m, unit, "Fieller, clustered: the denominator is not clear of 0"
        )
    root = math.sqrt(inside)
    return Estimate(value, (qb - root) / qa, (qb + root) / qa, level, m, unit, "Fieller, clustered")


def two_way_bootstrap_many(
    statistic: Callable[[I64, I64], npt.ArrayLike],
    rows: int,
    columns: int,
    *,
    seed: int,
    level: float = 0.95,
    draws: int = 2000,
    kind: IntervalKind = "percentile",
    unit: str = "",
) -> list[Estimate]:
    """Several statistics at once over two crossed random factors, for example roles and questions.

    Rows and columns are resampled independently (the pigeonhole bootstrap, Owen 2007): right where the factors matter,
    too wide where only the residual does, never too narrow in the mean.

    Args:
        statistic: gets row indices ``(rows,)`` and column indices ``(columns,)``, with repeats, and gives ``(k,)``.
        rows, columns: levels of each factor; a factor of 1 level is held fixed.
        seed: of the resampling.
        level, draws: as in :func:`bootstrap_mean`.
        kind: ``percentile``; ``normal`` or ``fisher`` centre the interval on the figure itself with the spread of the
            draws (on the arctanh scale for ``fisher``), for statistics that resampling shifts, such as reliabilities.
        unit: what the figures count.

    Returns:
        One Estimate a statistic; ``n`` is the smaller number of levels over 1.
    """
    level_ok(level)
    if rows < 1 or columns < 1 or max(rows, columns) < 2:
        raise InputError(
            f"a two-way bootstrap got {rows} rows and {columns} columns; one factor needs at least 2 levels"
        )
    if draws < 100:
        raise InputError(f"draws are {draws}; a bootstrap interval needs at least 100")
    rng = np.random.default_rng(seed)
    all_rows, all_columns = np.arange(rows), np.arange(columns)
    values = np.atleast_1d(np.asarray(statistic(all_rows, all_columns), dtype=np.float64))
    table = np.empty((draws, values.size), dtype=np.float64)
    for i in range(draws):
        r = rng.integers(0, rows, rows) if rows > 1 else all_rows
        c = rng.integers(0, columns, columns) if columns > 1 else all_columns
        table[i] = statistic(r, c)
    m = min(k for k in (rows, columns) if k > 1)
    method = f"two-way bootstrap, {kind}, {draws} draws"
    out: list[Estimate] = []
    for value, column in zip(values.tolist(), table.T, strict=True):
        if kind == "percentile" or not math.isfinite(value):
            low, high = percentile_ends(column, level, m / (m - 1), m - 1)
        else:
            low, high = _centred(value, column, level, m, kind)
        out.append(Estimate(value, low, high, level, m, unit, method))
    return out


def _centred(value: float, draws: F64, level: float, m: int, kind: IntervalKind) -> tuple[float, float]:
    good = draws[np.isfinite(draws)]
    if good.size < draws.size / 2:
        return -math.inf, math.inf
    edge = 1 - 1e-12
    centre, spread = value, good
    if kind == "fisher":
        centre, spread = math.atanh(min(max(value, -edge), edge)), np.arctanh(np.clip(good, -edge, edge))
    half = t_quantile((1 + level) / 2, m - 1) * math.sqrt(m / (m - 1)) * float(spread.std(ddof=1))
    ends = (centre - half, centre + half)
    return (math.tanh(ends[0]), math.tanh(ends[1])) if kind == "fisher" else ends


def two_way_bootstrap(
    statistic: Callable[[I64, I64], float],
    rows: int,
    columns: int,
    *,
    seed: int,
    level: float = 0.95,
    draws: int = 2000,
    kind: IntervalKind = "percentile",
    unit: str = "",
) -> Estimate:
    """One statistic over two crossed random factors; see :func:`two_way_bootstrap_many`."""
    return two_way_bootstrap_many(statistic, rows, columns, seed=seed, level=level, draws=draws, kind=kind, unit=unit)[
        0
    ]
