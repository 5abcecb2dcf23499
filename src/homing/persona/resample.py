"""Resamples of a map, roles, questions and home prompts each on its own, and the intervals made of them.

Where a resample shifts a figure, or spreads it otherwise than fresh maps would, the interval says here what it does
instead; each is simulated with known truth in ``tests/persona/test_card_coverage.py``.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma, stdtrit  # pyright: ignore[reportMissingTypeStubs]

from homing.errors import InputError
from homing.persona.rollouts import Replies
from homing.persona.space import Split, axis_weights, blocks_of
from homing.stats.estimate import Estimate

__all__ = [
    "LEVEL",
    "Draw",
    "components_for",
    "first_share_for",
    "percentiles",
    "recentred",
    "roles_below",
    "sign_free",
    "split_half",
]

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
LEVEL = 0.95


@dataclass(frozen=True, eq=False, slots=True)
class Draw:
    """One two-way bootstrap draw: how often each role and home prompt stands in it, and the weight of each reply."""

    roles: NDArray[np.int64]
    prompts: NDArray[np.int64]
    weights: F64

    @classmethod
    def of(cls, replies: Replies, rng: np.random.Generator) -> Draw:
        """Roles, questions and home prompts resampled, each on its own.

        One fewer of each is drawn than there are: with few of a kind, home prompts above all, a draw of as many varies
        too little, by ``(n - 1) / n``.
        """

        def draw(n: int) -> NDArray[np.int64]:
            return np.bincount(rng.integers(0, n, max(1, n - 1)), minlength=n)

        home = replies.home
        roles, questions = draw(int(replies.role.max()) + 1), draw(int(replies.question.max()) + 1)
        prompts = draw(int(replies.prompt[home].max()) + 1)
        own = np.where(home, prompts[np.where(home, replies.prompt, 0)], roles[np.where(home, 0, replies.role)])
        return cls(roles, prompts, (own * questions[replies.question]).astype(np.float64))

    @classmethod
    def whole(cls, replies: Replies) -> Draw:
        """Everything once."""
        n_r, n_p = int(replies.role.max()) + 1, int(replies.prompt[replies.home].max()) + 1
        return cls(np.ones(n_r, np.int64), np.ones(n_p, np.int64), np.ones(len(replies)))


def percentiles(value: float, draws: F64, n: int, method: str, unit: str = "") -> Estimate:
    """Percentile interval that holds the value; not measurable with fewer than 20 draws."""
    good = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(good) < 20:
        return Estimate(float("nan"), -np.inf, np.inf, LEVEL, n, unit, method)
    low, high = (float(v) for v in np.percentile(good, [2.5, 97.5]))
    return Estimate(value, min(low, value), max(high, value), LEVEL, n, unit, method)


def _shifted(value: float, draws: F64, *, reach: bool = False) -> tuple[float, float]:
    """Ends of the draws' spread put around a cosine, in Fisher's z.

    Resampled replies are fewer distinct ones than real ones, so cosines of draws sit lower; only their spread is used. As
    far as draws lie from the value, so far the value lies from the truth, in the mean; with ``reach`` the end on that side
    goes as far again.
    """
    good = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(good) < 20:
        return -np.inf, np.inf
    z, at = np.arctanh(np.clip(good, -0.999999, 0.999999)), float(np.arctanh(np.clip(value, -0.999999, 0.999999)))
    low, high = at + np.percentile(z, [2.5, 97.5]) - np.median(z)
    if reach:
        shift = at - float(np.median(z))
        low, high = low + min(shift, 0.0), high + max(shift, 0.0)
    return float(np.tanh(low)), float(np.tanh(high))


def recentred(value: float, draws: F64, n: int, method: str) -> Estimate:
    """Estimate of a cosine with the ends of :func:`_shifted`."""
    low, high = _shifted(value, draws)
    return Estimate(value, float(min(low, value)), float(max(high, value)), LEVEL, n, "", method)


def sign_free(value: float, draws: F64, n: int, method: str) -> Estimate:
    """Size of a cosine whose sign means nothing.

    Args:
        value: with the sign of the component as fitted. ``draws``: each with its component turned towards that one.
            Folding comes last: the mean size of noise is not 0, and would look like a cosine.

    Noise in either direction shortens a cosine, and a resample shortens it once more; the interval reaches as far out
    as that says.
    """
    low, high = _shifted(value, draws, reach=True)
    size = abs(value)
    ends = (0.0 if low < 0 < high else min(abs(low), abs(high)), max(abs(low), abs(high)))
    return Estimate(size, float(min(ends[0], size)), float(max(ends[1], size)), LEVEL, n, "", method)


def roles_below(scores: F64, replies: Replies, draw: Draw, *, as_read: bool = False) -> float:
    """Share of the roles whose own mean position lies below home's, by weight and times drawn.

    A role's mean over a few replies scatters more than roles do, and so more of them seem to lie beyond home. The means
    are drawn in towards their own mean until they vary as much as the roles behind them.

    Args:
        scores: held-out positions ``(replies,)``; NaN left out.
        as_read: leave the means where they were read.
    """
    ok = np.isfinite(scores) & (draw.weights > 0)
    home, of = ok & replies.home, ok & ~replies.home
    if not home.any() or not of.any():
        return math.nan
    role, w, y = replies.role[of], draw.weights[of], scores[of]
    total = np.bincount(role, w, len(draw.roles))
    alive = total > 0
    size = np.bincount(role, minlength=len(draw.roles))[alive]
    means = np.bincount(role, w * y, len(draw.roles))[alive] / total[alive]
    squares = np.bincount(role, w * y**2, len(draw.roles))[alive] - total[alive] * means**2
    often = draw.roles[alive].astype(np.float64)
    centre = float(np.average(means, weights=often))
    many = size > 1
    if not as_read and many.any() and often.sum() > 1:
        spread = float((often * (means - centre) ** 2).sum() / (often.sum() - 1))
        within = float(squares[many].sum() / (total[alive] * (size - 1) / size)[many].sum())
        noise = within * float(np.average(1 / size, weights=often))
        means = centre + (means - centre) * math.sqrt(max(spread - noise, 0.0) / spread if spread > 0 else 1.0)
    return float(np.average(means < np.average(scores[home], weights=draw.weights[home]), weights=often))


def components_for(roles: F64, draws: Sequence[NDArray[np.int64]], *, share: float = 0.70) -> Estimate:
    """How many principal components hold a share of the variance between roles.

    Components are fitted to these very roles and hold more of their variance than of other roles'. The count of the
    roles at hand is therefore too low; the count of roles that a draw left out, along the components of those it took,
    is too high, and the truth lies between. The interval runs from the one, less its spread, to the other.

    Args:
        roles: role vectors ``(roles, hidden)``. ``draws``: how often each role stands in a draw, ``(roles,)`` each.
    """
    centred = roles.astype(np.float64) - roles.mean(axis=0)
    gram = centred @ centred.T

    def counted(drawn: NDArray[np.int64]) -> tuple[float, float]:
        take, out = np.repeat(np.arange(len(roles)), drawn), np.flatnonzero(drawn == 0)
        k = gram[np.ix_(take, take)]
        rows = k.mean(axis=0)
        values, vectors = np.linalg.eigh(k - rows - rows[:, None] + rows.mean())
        real = values > 1e-9 * max(values[-1], 1e-300)
        values, vectors = values[real][::-1], vectors[:, real][:, ::-1]
        fitted = _reached(values, share)
        if len(out) < 2:
            return fitted, math.nan
        across = gram[np.ix_(out, take)]
        across = across - across.mean(axis=0)
        across = across - across.mean(axis=1, keepdims=True)
        held = ((across @ vectors) ** 2).sum(axis=0) / values
        own = gram[np.ix_(out, out)]
        return fitted, _reached(held, share, float(np.trace(own) - own.sum() / len(out)))

    value = counted(np.ones(len(roles), np.int64))[0]
    both = np.array([counted(d) for d in draws])
    held = both[np.isfinite(both[:, 1]), 1]
    method = "roles drawn, and the roles left out of each draw"
    if not np.isfinite(value) or len(held) < 20:
        return Estimate(math.nan, -math.inf, math.inf, LEVEL, len(roles), "components", method)
    low = value + float(np.percentile(both[:, 0], 2.5) - np.median(both[:, 0]))
    high = float(np.percentile(held, 97.5))
    return Estimate(value, max(1.0, min(low, value)), max(high, value), LEVEL, len(roles), "components", method)


def first_share_for(roles: F64, noise: F64, draws: Sequence[NDArray[np.int64]]) -> Estimate:
    """Share of the variance between roles that their first principal component holds.

    The noise of role means over few replies is taken off both. The component is fitted to these very roles and holds
    more of their variance than of other roles'; of roles that a draw left out it holds less. As with the count of
    components, the interval runs from the one to the other, each with the spread of the draws.

    Args:
        roles: role vectors ``(roles, hidden)``. ``noise``: covariance of their means over replies, ``(hidden, hidden)``.
        draws: how often each role stands in a draw, ``(roles,)`` each.
    """
    noisy = float(np.trace(noise))

    def held_by(u: F64, of: F64) -> float:
        centred = of - of.mean(axis=0)
        total = float((centred**2).sum()) / (len(of) - 1) - noisy
        along = float(((centred @ u) ** 2).sum()) / (len(of) - 1) - float(u @ noise @ u)
        return float(np.clip(along / total, 0.0, 1.0)) if total > 0 else math.nan

    def first(of: F64) -> F64:
        return np.linalg.svd(of - of.mean(axis=0), full_matrices=False)[2][0]

    value = held_by(first(roles), roles)
    fitted: list[float] = []
    apart: list[float] = []
    for drawn in draws:
        took, left = np.repeat(roles, drawn, axis=0), roles[drawn == 0]
        if len(left) > 1 and len(took) > 1:
            u = first(took)
            fitted.append(held_by(u, took))
            apart.append(held_by(u, left))
    method = "roles at hand, and the roles left out of each draw; noise of few replies taken out"
    if not np.isfinite([value, *fitted, *apart]).all() or len(fitted) < 20:
        return Estimate(math.nan, -math.inf, math.inf, LEVEL, len(roles), "", method)
    down, up = (float(v) for v in np.percentile(fitted, [2.5, 97.5]) - np.median(fitted))
    low = max(0.0, float(np.median(apart)) + down)
    return Estimate(value, min(low, value), min(1.0, value + up), LEVEL, len(roles), "", method)


def _reached(variances: F64, share: float, total: float | None = None) -> float:
    """How many of these, in order, make the share of the total; one more than there are where they never do."""
    whole = float(variances.sum()) if total is None else total
    return float(np.searchsorted(np.cumsum(variances), share * whole * (1 - 1e-12)) + 1) if whole > 0 else math.nan


@dataclass(frozen=True, eq=False, slots=True)
class _Noise:
    """The noise of an axis, as outer products: its covariance is ``rows.T @ diag(signs) @ rows``.

    Speakers (roles, home prompts) and questions are crossed random factors; what both count is taken off once (Cameron,
    Gelbach and Miller 2011).
    """

    axis: F64
    rows: F64
    signs: F64
    dof: float

    @classmethod
    def of(cls, replies: Replies, kept: Bools | None) -> _Noise:
        x, home = replies.means[:, 0].astype(np.float64), replies.home
        n_r, n_q = int(replies.role.max()) + 1, int(replies.question.max()) + 1
        n_p = int(replies.prompt[home].max()) + 1
        w = axis_weights(replies, np.ones(n_r), np.ones(n_q), np.ones(n_p), kept)
        centre = np.where(home[:, None], w[home] @ x[home], -(w[~home] @ x[~home]))
        pushed = w[:, None] * (x - centre)
        speaker = np.where(home, n_r + np.where(home, replies.prompt, 0), replies.role)
        cell = np.unique(speaker * n_q + replies.question, return_inverse=True)[1]
        rows, signs, traces = list[F64](), list[F64](), list[tuple[float, int]]()
        for code, first, m, sign in (
            (speaker, 0, n_r, 1.0),
            (speaker, n_r, n_p, 1.0),
            (replies.question, 0, n_q, 1.0),
            (cell, 0, int(cell.max()) + 1, -1.0),
        ):
            sums = np.zeros((first + m, x.shape[1]))
            inside = (code >= first) & (code < first + m)
            np.add.at(sums, code[inside], pushed[inside])
            scale = m / (m - 1) if sign > 0 and m > 1 else 1.0
            rows.append(sums[first:])
            signs.append(np.full(m, sign * scale))
            if sign > 0 and m > 1:
                traces.append((scale * float((sums[first:] ** 2).sum()), m))
        spent = sum(t * t / (m - 1) for t, m in traces)
        dof = sum(t for t, _ in traces) ** 2 / spent if spent > 0 else 1.0
        return cls(w @ x, np.concatenate(rows), np.concatenate(signs), dof)

    def along(self, v: F64) -> float:
        """Variance along ``v``."""
        return float(((self.rows @ v) ** 2 * self.signs).sum())

    def dimensions(self, *, across: bool) -> float:
        """Squared trace over trace of the square, freed of its own noise; ``across`` the axis only, or in all."""
        unit = self.axis / max(float(np.linalg.norm(self.axis)), 1e-300)
        rows = self.rows - np.outer(self.rows @ unit, unit) if across else self.rows
        gram = rows @ rows.T
        trace = float((np.diag(gram) * self.signs).sum())
        square = float(((gram**2) * np.outer(self.signs, self.signs)).sum()) - trace**2 / self.dof
        return max(1.0, trace**2 / square) if square > 0 else self.dof


def split_half(replies: Replies, splits: Sequence[Split], *, kept: Bools | None = None) -> Estimate:
    """Median cosine between the axes of two halves, at the first layer, with the interval that fresh maps would show.

    In Fisher's z the cosine is half the log of the axis' squared length over its noise. The interval is made of the
    variances of both: of the length by the noise along the axis, of the noise by how many dimensions it has and how many
    units were split; and of what random splits still differ by. Bootstrapped halves are of no use here: they differ
    by the split too, and by more than maps do.

    Args:
        splits: at least 100 for a figure that is reported; those with a half without home or roles are left out.
        kept: a judge's filter over the replies.

    Raises:
        InputError: fewer than half of the splits can be used.
    """
    x = replies.means[:, 0].astype(np.float64)
    pairs: list[list[F64]] = []
    for s in splits:
        try:
            pairs.append([axis_weights(replies, s.roles[h], s.questions[h], s.prompts[h], kept) for h in (0, 1)])
        except InputError:
            continue
    if 2 * len(pairs) < len(splits):
        raise InputError("most halves of the replies have no home or no role in them; sample more questions or homes")
    axes = np.array(pairs) @ x
    cosines = np.einsum("sh,sh->s", axes[:, 0], axes[:, 1]) / np.linalg.norm(axes, axis=2).prod(axis=1)
    length = float((axes.sum(axis=1) ** 2).sum(axis=1).mean() / 4)
    noise = _Noise.of(replies, kept)
    # the log length of an axis that is all noise varies no more than this, however its estimate comes out
    most = float(polygamma(1, noise.dimensions(across=False) / 2)) / 4
    blocks = len(blocks_of(replies))
    z = np.arctanh(np.clip(cosines, -0.999999, 0.999999))
    variance = (
        min(max(noise.along(noise.axis), 0.0) / length**2, most)
        + 0.5 / (noise.dimensions(across=True) * (blocks - 1 if blocks else noise.dof))
        + math.pi / 2 * float(z.var()) / len(z)
    )
    value = float(np.median(cosines))
    at, half = float(np.median(z)), float(stdtrit(noise.dof, (1 + LEVEL) / 2)) * math.sqrt(max(variance, 0.0))
    low, high = math.tanh(at - half), math.tanh(at + half)
    way = "median of random disjoint halves; variance over roles, home prompts and questions"
    return Estimate(value, min(low, value), max(high, value), LEVEL, int(replies.role.max()) + 1, "", way)
