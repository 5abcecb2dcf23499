# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Correlation, predictive share of variance, and dose-response."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._check import finite, group_codes, level_ok
from homing.stats._resample import cluster_weights, percentile_ends
from homing.stats._special import F64, f_tail, normal_quantile
from homing.stats.bootstrap import Labels
from homing.stats.estimate import Estimate
from homing.stats.tests import TestResult

__all__ = ["DoseResponse", "correlation", "cross_validated_r2", "linear_or_quadratic"]


def correlation(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    seed: int,
    clusters: Labels = None,
    level: float = 0.95,
    draws: int = 2000,
) -> Estimate:
    """Pearson's correlation: Fisher's z for independent pairs, a clustered bootstrap where pairs share clusters.

    Args:
        x, y: ``(n,)`` each.
        seed: of the resampling; Fisher's interval draws nothing.
        clusters: one label a pair.
        level, draws: as in ``bootstrap_mean``.
    """
    level_ok(level)
    a, b = finite(x, "x", 4), finite(y, "y", 4)
    if a.size != b.size:
        raise InputError(f"x has {a.size} values and y {b.size}; they are paired and must agree")
    if a.std() == 0 or b.std() == 0:
        return Estimate(math.nan, -1.0, 1.0, level, a.size, "", "no variation")
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    r = float(np.clip(np.mean(a * b), -1.0, 1.0))
    if clusters is None:
        z, half = (
            math.atanh(min(max(r, -1 + 1e-15), 1 - 1e-15)),
            normal_quantile((1 + level) / 2) / math.sqrt(a.size - 3),
        )
        return Estimate(r, math.tanh(z - half), math.tanh(z + half), level, a.size, "", "Fisher z")
    codes, m = group_codes(clusters, a.size)
    if m < 2:
        return Estimate(r, -1.0, 1.0, level, m, "", "one cluster")
    weights = cluster_weights(np.random.default_rng(seed), [np.arange(m)], m, draws)
    moments = [
        weights @ np.bincount(codes, weights=v, minlength=m) for v in (np.ones(a.size), a, b, a * a, b * b, a * b)
    ]
    n, sa, sb, saa, sbb, sab = moments
    with np.errstate(invalid="ignore", divide="ignore"):
        rs = (sab - sa * sb / n) / np.sqrt((saa - sa * sa / n) * (sbb - sb * sb / n))
    low, high = percentile_ends(rs, level, m / (m - 1), m - 1)
    return Estimate(r, max(low, -1.0), min(high, 1.0), level, m, "", f"clustered bootstrap, percentile, {draws} draws")


def _ridge_predict(train_x: F64, train_y: F64, test_x: F64, penalties: Sequence[float]) -> F64:
    """Ridge on standardised features; the penalty a row is chosen by generalised cross-validation inside the fold."""
    mean, scale = train_x.mean(axis=0), train_x.std(axis=0)
    scale[scale == 0] = 1.0
    x, centre = (train_x - mean) / scale, float(train_y.mean())
    y = train_y - centre
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    projected, n = u.T @ y, y.size
    rest = float(y @ y - projected @ projected)
    best: tuple[float, F64] | None = None
    for penalty in penalties:
        shrink = s**2 / (s**2 + penalty * n)
        free = n - 1 - float(shrink.sum())
        if free <= 0:
            continue
        error = (rest + float(np.sum(((1 - shrink) * projected) ** 2))) / free**2
        if best is None or error < best[0]:
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = np.where(s > 1e-12 * s.max(initial=0.0), shrink / s, 0.0)
            best = (error, vt.T @ (gain * projected))
    if best is None:
        return np.full(test_x.shape[0], centre)
    return centre + ((test_x - mean) / scale) @ best[1]


def cross_validated_r2(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    seed: int,
    clusters: Labels = None,
    folds: int = 10,
    level: float = 0.95,
    draws: int = 2000,
    penalties: Sequence[float] = (1e-6, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
) -> Estimate:
    """Share of variance that features predict in clusters never seen: ridge, folds and resampling by cluster.

    1 minus squared error over squared error of the training mean; negative where the features mislead. The interval
    resamples held-out clusters with their errors; it is about rules trained on so many clusters as here.

    Args:
        x: ``(n, features)`` or ``(n,)``. ``y``: ``(n,)``.
        seed: of folds and resampling.
        clusters: one label a row. ``folds``: at most so many, by cluster.
        level, draws: as in ``bootstrap_mean``.
        penalties: ridge penalties a row, chosen among by generalised cross-validation inside each training fold.
    """
    level_ok(level)
    target = finite(y, "y", 4)
    features = np.asarray(x, dtype=np.float64)
    features = features[:, None] if features.ndim == 1 else features
    if features.ndim != 2 or features.shape[0] != target.size or not np.isfinite(features).all():
        raise InputError(f"x has shape {features.shape} for {target.size} targets; give finite (rows, features)")
    codes, m = group_codes(clusters, target.size)
    if m < 3:
        return Estimate(math.nan, -math.inf, 1.0, level, m, "", "fewer than 3 clusters")
    rng = np.random.default_rng(seed)
    fold_of = rng.permutation(np.arange(m) % min(folds, m))[codes]
    error, total = np.empty(target.size), np.empty(target.size)
    for fold in range(min(folds, m)):
        test = fold_of == fold
        predicted = _ridge_predict(features[~test], target[~test], features[test], penalties)
        error[test] = (target[test] - predicted) ** 2
        total[test] = (target[test] - target[~test].mean()) ** 2
    if total.sum() == 0:
        return Estimate(math.nan, -math.inf, 1.0, level, m, "", "no variation")
    ce, ct = np.bincount(codes, weights=error, minlength=m), np.bincount(codes, weights=total, minlength=m)
    weights = cluster_weights(rng, [np.arange(m)], m, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = 1 - (weights @ ce) / (weights @ ct)
    low, high = percentile_ends(values, level, m / (m - 1), m - 1)
    method = f"cross-validated ridge, {min(folds, m)} folds by cluster, clustered bootstrap"
    return Estimate(1 - float(ce.sum() / ct.sum()), low, high, level, m, "", method)


@dataclass(frozen=True, slots=True)
class DoseResponse:
    """A response to doses within the same clusters.

    Attributes:
        slope: change a unit of dose, linear, within clusters. ``quadratic``: likelihood-ratio test of a square term.
        shape: ``non-linear`` only where that test rejects at 1 minus the slope's level.
    """

    slope: Estimate
    quadratic: TestResult
    shape: Literal["linear", "non-linear"]


def linear_or_quadratic(
    dose: npt.ArrayLike,
    response: npt.ArrayLike,
    *,
    clusters: Labels,
    seed: int,
    level: float = 0.95,
    draws: int = 2000,
    unit: str = "per unit of dose",
) -> DoseResponse:
    """Slope by clustered bootstrap, and the paired likelihood ratio of a line against a parabola.

    Each cluster has its own intercept (the pairing). The likelihood ratio of two nested normal models is a monotone
    function of F, whose exact distribution gives the p-value.

    Args:
        dose, response: ``(n,)`` each. ``clusters``: one label a row, each seen at several doses.
        seed: of the resampling.
        level, draws: as in ``bootstrap_mean``.
        unit: of the slope.
    """
    level_ok(level)
    d, r = finite(dose, "dose", 4), finite(response, "response", 4)
    if d.size != r.size:
        raise InputError(f"dose has {d.size} values and response {r.size}; they are paired and must agree")
    codes, m = group_codes(clusters, d.size)
    if len(np.unique(d)) < 3 or m < 2 or d.size - m - 2 < 1:
        raise InputError(f"{len(np.unique(d))} doses in {m} clusters; a shape needs at least 3 doses in 2 clusters")

    def within(v: F64) -> F64:
        return v - (np.bincount(codes, weights=v, minlength=m) / np.bincount(codes, minlength=m))[codes]

    x1, y = within(d), within(r)
    x2 = within(((d - d.mean()) / d.std()) ** 2)
    sxx, sxy = np.bincount(codes, weights=x1 * x1, minlength=m), np.bincount(codes, weights=x1 * y, minlength=m)
    slope = float(sxy.sum() / sxx.sum())
    line = y - slope * x1
    bend = x2 - float(x1 @ x2 / (x1 @ x1)) * x1
    gain = float(bend @ line) ** 2 / float(bend @ bend) if float(bend @ bend) > 1e-12 else 0.0
    dof = d.size - m - 2
    rest = max(float(line @ line) - gain, 0.0)
    f = gain / (rest / dof) if rest > 0 else (math.inf if gain > 0 else 0.0)
    p = f_tail(f, 1, dof) if math.isfinite(f) else 0.0
    ratio = d.size * math.log1p(gain / rest) if rest > 0 else (math.inf if gain > 0 else 0.0)
    weights = cluster_weights(np.random.default_rng(seed), [np.arange(m)], m, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = (weights @ sxy) / (weights @ sxx)
    low, high = percentile_ends(slopes, level, m / (m - 1), m - 1)
    estimate = Estimate(slope, low, high, level, m, unit, f"clustered bootstrap, percentile, {draws} draws")
    test = TestResult(ratio, p, m, "likelihood ratio of line and parabola, clusters fixed, exact F")
    return DoseResponse(estimate, test, "non-linear" if p < 1 - level else "linear")
