"""Variance of replies over two crossed factors, and the AUROC that averaging replies can reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._check import finite, group_codes, level_ok
from homing.stats._resample import cluster_weights, percentile_ends
from homing.stats._special import F64, I64, normal_cdf
from homing.stats.bootstrap import Labels
from homing.stats.estimate import Estimate

__all__ = ["VarianceComponents", "predicted_auroc", "predicted_auroc_intervals", "variance_components"]


@dataclass(frozen=True, slots=True)
class VarianceComponents:
    """Moments of replies of a crossed design.

    Attributes:
        mean: over all replies. ``row``: variance between rows (roles, home prompts). ``column``: between columns
            (questions). ``residual``: the rest, with the interaction. All in squared units, at least 0.
        rows, columns, replies: how many.
    """

    mean: float
    row: float
    column: float
    residual: float
    rows: int
    columns: int
    replies: int

    def averaged(self, replies: float) -> float:
        """Variance of the mean of so many replies of one row, each to a question of its own; infinite is allowed."""
        rest = 0.0 if math.isinf(replies) else (self.column + self.residual) / replies
        return self.row + rest


def _moments(values: F64, row: I64, column: I64, weights: F64) -> tuple[F64, F64, F64, F64]:
    """Weighted mean and components of each draw; ``weights`` is ``(draws, n)``, products of row and column weights.

    Half the mean squared difference of pairs estimates: same cell, the residual; same row and other column, column +
    residual; same column and other row, row + residual; other both, all three. This is unbiased for any design
    (unbalanced, with holes), and one draw's copies of a reply are never paired with themselves.
    """
    cell = row * (int(column.max()) + 1) + column
    centred = values - values.mean()  # differences do not change, rounding does

    def pairs(groups: I64 | None) -> tuple[F64, F64]:
        """Sum of w w' and of w w' (y - y')^2 / 2 over ordered pairs within the groups."""
        if groups is None:
            w0, w1, w2 = (
                weights.sum(axis=1, keepdims=True),
                (weights @ centred)[:, None],
                (weights @ centred**2)[:, None],
            )
        else:
            _, codes = np.unique(groups, return_inverse=True)
            order = np.argsort(codes, kind="stable")
            starts = np.flatnonzero(np.concatenate([[True], np.diff(codes[order]) > 0]))
            w = weights[:, order]
            y = centred[order]
            w0, w1, w2 = (np.add.reduceat(w * v, starts, axis=1) for v in (np.ones_like(y), y, y**2))
        return (w0**2).sum(axis=1), (w0 * w2 - w1**2).sum(axis=1)

    own = (weights**2).sum(axis=1)
    all_n, all_d = pairs(None)
    row_n, row_d = pairs(row)
    column_n, column_d = pairs(column)
    cell_n, cell_d = pairs(cell)
    with np.errstate(invalid="ignore", divide="ignore"):
        same_row = (row_d - cell_d) / (row_n - cell_n)  # column + residual
        same_column = (column_d - cell_d) / (column_n - cell_n)  # row + residual
        neither = (all_d - row_d - column_d + cell_d) / (all_n - row_n - column_n + cell_n)
        within = cell_d / (cell_n - own)
    shape = all_n.shape
    # A factor with one level, or never crossed, has no pairs of its kind: it adds nothing that can be told apart.
    has_row, has_column = np.isfinite(neither) & np.isfinite(same_row), np.isfinite(neither) & np.isfinite(same_column)
    var_row = np.where(has_row, neither - same_row, 0.0)
    var_column = np.where(has_column, neither - same_column, 0.0)
    both = np.isfinite(neither) & np.isfinite(same_row) & np.isfinite(same_column)
    rest = np.where(both, same_row + same_column - neither, np.nan)
    for other in (same_row - var_column, same_column - var_row, neither - var_row - var_column, within):
        rest = np.where(np.isfinite(rest), rest, other)
    rest = np.where(np.isfinite(rest), rest, 0.0)
    # Nested columns (each question seen in one row only): no shared column, so rows against the pairs inside them.
    means = values.mean() + (weights @ centred) / weights.sum(axis=1)
    assert var_row.shape == shape
    return means, np.maximum(var_row, 0.0), np.maximum(var_column, 0.0), np.maximum(rest, 0.0)


def variance_components(values: npt.ArrayLike, *, rows: Labels, columns: Labels) -> VarianceComponents:
    """Moment estimates of a crossed random design with or without holes and repeats.

    Args:
        values: ``(n,)``, one a reply.
        rows: label of each reply's row (role). ``columns``: of its column (question).
    """
    x = finite(values, "values", 3)
    r, nr = group_codes(rows, x.size, "rows")
    c, nc = group_codes(columns, x.size, "columns")
    mean, row, column, rest = _moments(x, r, c, np.ones((1, x.size)))
    return VarianceComponents(float(mean[0]), float(row[0]), float(column[0]), float(rest[0]), nr, nc, x.size)


def predicted_auroc(home: VarianceComponents, roles: VarianceComponents, *, replies: float) -> float:
    """AUROC of home against roles when each score is the mean of so many replies; ``math.inf``: the ceiling.

    Scores are taken as normal: ``Phi((home - roles) / sqrt(var home + var roles))``. Home sits inside the cloud of
    roles, so the ceiling stays under 1.
    """
    if not replies >= 1:
        raise InputError(f"replies are {replies}; give at least 1, or infinity for the ceiling")
    gap, variance = home.mean - roles.mean, home.averaged(replies) + roles.averaged(replies)
    if variance <= 0:
        return 0.5 if gap == 0 else float(gap > 0)
    return normal_cdf(gap / math.sqrt(variance))


def predicted_auroc_intervals(
    home: npt.ArrayLike,
    roles: npt.ArrayLike,
    *,
    home_rows: Labels,
    home_columns: Labels,
    role_rows: Labels,
    role_columns: Labels,
    seed: int,
    replies: Sequence[float] = (1.0, 3.0, math.inf),
    level: float = 0.95,
    draws: int = 1000,
) -> tuple[Estimate, ...]:
    """Predicted AUROC for each number of replies, with intervals from resampled rows and columns.

    Questions that home and roles share are drawn for both at once.

    Args:
        home: ``(n,)`` scores of home replies. ``roles``: ``(m,)`` of role replies.
        home_rows, home_columns, role_rows, role_columns: labels of prompt or role, and of question.
        seed: of the resampling.
        replies: how many are averaged; ``math.inf`` for the ceiling.
        level, draws: as in ``bootstrap_mean``.

    Returns:
        One Estimate each; ``n`` is the number of role rows.
    """
    level_ok(level)
    h, r = finite(home, "home", 3), finite(roles, "roles", 3)
    hr, nh = group_codes(home_rows, h.size, "home_rows")
    rr, nr = group_codes(role_rows, r.size, "role_rows")
    if home_columns is None or role_columns is None:
        raise InputError("columns are missing; give the question of every reply, of home and of roles")
    columns, nq = group_codes([*home_columns, *role_columns], h.size + r.size, "columns")
    hc, rc = columns[: h.size], columns[h.size :]
    rng = np.random.default_rng(seed)
    in_home, in_roles = np.isin(np.arange(nq), hc), np.isin(np.arange(nq), rc)
    strata = [np.flatnonzero(mask) for mask in (in_home & in_roles, in_home & ~in_roles, ~in_home & in_roles)]
    points = (
        variance_components(h, rows=home_rows, columns=home_columns),
        variance_components(r, rows=role_rows, columns=role_columns),
    )
    parts: list[list[F64]] = [[], []]
    for begin in range(0, draws, 100):
        size = min(100, draws - begin)
        size = max(size, 1)
        wq = cluster_weights(rng, strata, nq, 100)[:size]
        for side, (x, rows, cols, k) in enumerate(((h, hr, hc, nh), (r, rr, rc, nr))):
            wr = cluster_weights(rng, [np.arange(k)], k, 100)[:size]
            parts[side].append(np.stack(_moments(x, rows, cols, wr[:, rows] * wq[:, cols])))
    home_draws, role_draws = (np.concatenate(p, axis=1) for p in parts)
    out: list[Estimate] = []
    for k in replies:
        point = predicted_auroc(*points, replies=k)
        share = 0.0 if math.isinf(k) else 1.0 / k
        variance = sum(d[1] + share * (d[2] + d[3]) for d in (home_draws, role_draws))
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = (home_draws[0] - role_draws[0]) / np.sqrt(variance)
        # Ends on the normal scale, where the draws are nearly symmetric; then back.
        m = min(nr, max(nq, 2))
        low, high = percentile_ends(scores, level, m / (m - 1), m - 1)
        out.append(
            Estimate(
                point,
                normal_cdf(low),
                normal_cdf(high),
                level,
                nr,
                "",
                f"variance components, two-way bootstrap, {draws} draws",
            )
        )
    return tuple(out)
