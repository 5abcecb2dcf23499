"""Whether every context needs two dimensions of its own (multi-dimensional), or each has one and they differ (fractured); L5.

Contexts whose directions differ look alike in both cases. They are told apart *within* a context. Where a concept needs two
dimensions, its effect varies from item to item along the second one in every context, and contexts differ because they hold other
items: of truth, affirmed and denied statements (arXiv 2407.12831); of a circle, other arcs (arXiv 2405.14860). Where it is
fractured, the direction of another context is, within this one, mere noise.

Two signs that an effect varies along a direction, each read on prompts that had no part in choosing it: *pairs*, the positive and
the negative form of one item deviate in opposite ways (what they have in common deviates in the same way); *spread*, the two
classes vary unlike, beyond what they do on the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from homing.fracture.concept_contexts import Units
from homing.stats import mean_t
from homing.stats._special import F64, I64, normal_cdf, normal_quantile
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = [
    "Second",
    "Subspaces",
    "between_contexts",
    "paired",
    "shared_by_items",
    "subspaces",
    "varied_direction",
    "without",
]

Rows = npt.NDArray[np.bool_]
LEAST_PAIRS = 8
"""Of one half, where pairs are read; fewer are no sign either way."""


@dataclass(frozen=True, eq=False, slots=True)
class Second:
    """Signs of a second dimension within each context.

    Attributes:
        pairs, spread: ``(contexts,)`` standard normal where there is none; NaN where it cannot be read. ``pairs`` is positive
            where the effect varies; ``spread`` positive where positives vary more.
        p_values: ``(contexts,)``, of the stronger sign, for having looked at two.
        ratio: variance of the effect within contexts over that of the mean effect between contexts, along the second dimension.
    """

    pairs: F64
    spread: F64
    p_values: F64
    ratio: float

    @property
    def everywhere(self) -> bool:
        """In every context at 5% (all must show it, so no more is asked of each)."""
        return bool((self.p_values <= 0.05).all())


def between_contexts(units: Units, *, seed: int, splits: int = 8) -> Second:
    """Along the direction in which contexts differ most: in the plane of their directions, across a context's own.

    The plane is chosen on one half of the prompts, and the signs are read on the other, both ways, ``splits`` times.
    """

    def across(rows: Rows) -> F64:
        d = units.directions(rows)
        plane = np.linalg.svd(d / np.linalg.norm(d, axis=1, keepdims=True), full_matrices=False)[2][:2]
        own = d @ plane.T
        own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-300)
        return np.stack([-own[:, 1], own[:, 0]], axis=1) @ plane

    return _read(units, across, seed, splits, spread=True)


def shared_by_items(units: Units, *, seed: int, splits: int = 3) -> Second:
    """Along the direction in which the effect varies most from item to item, of all contexts together; needs pairs.

    Spread is no sign here: one class is often more varied than the other, in directions that have nothing to do with an effect.
    """

    def most(rows: Rows) -> F64:
        v = _varied(units, rows, list(range(units.count)))
        return np.tile(v, (units.count, 1))

    if not paired(units):
        nothing = np.full(units.count, np.nan)
        return Second(nothing, nothing, np.ones(units.count), math.nan)
    return _read(units, most, seed, splits, spread=False)


def varied_direction(units: Units) -> F64:
    """Unit direction along which the effect varies most from item to item, of all contexts and all prompts together."""
    return _varied(units, np.ones(len(units.block), bool), list(range(units.count)))


def without(units: Units, direction: F64) -> Units:
    """The same units with one unit direction taken out of every vector."""
    x = units.x - (units.x @ direction)[:, None] * direction
    return replace(units, x=x, gram=x @ x.T)


def paired(units: Units) -> bool:
    """Whether every context has enough items in both classes for their halves to be read as pairs."""
    at = (units.at[:, 0::2] >= 0) & (units.at[:, 1::2] >= 0)
    return bool((at.sum(axis=0) >= 2 * LEAST_PAIRS).all())


def _read(units: Units, choose: Callable[[Rows], F64], seed: int, splits: int, *, spread: bool) -> Second:
    rng = np.random.default_rng(stable_seed("concept planes", seed))
    pairs, spreads = np.zeros(units.count), np.zeros(units.count)
    within, between, times = 0.0, 0.0, 0
    scale = _overall(units)
    for _ in range(splits):
        a, b = units.halves(rng)
        for chosen, read in ((a, b), (b, a)):
            v = choose(chosen)
            d = units.directions(read)
            for g in range(units.count):
                z, zs, w = _signs(units, g, v[g], read, scale[g])
                pairs[g] += z
                spreads[g] += zs
                within += max(w, 0.0)
                between += float((d @ v[g]).var(ddof=1))
            times += 1
    # means of normal figures that hang together vary less than one of them does: the tests err to the safe side
    pairs, spreads = pairs / times, spreads / times
    p = np.ones(units.count)
    for g in range(units.count):
        seen = [1 - normal_cdf(pairs[g])] if math.isfinite(pairs[g]) else []
        if spread:
            seen.append(2 * (1 - normal_cdf(abs(spreads[g]))))
        if seen:
            p[g] = min(1.0, len(seen) * min(seen))
    return Second(
        pairs, spreads if spread else np.full(units.count, np.nan), p, within / between if between > 0 else math.inf
    )


def _overall(units: Units) -> F64:
    """Log of the variance of positives over that of negatives in all directions together, ``(contexts,)``."""
    total = np.array([units.x[units.block == b].var(axis=0, ddof=1).sum() for b in range(2 * units.count)])
    return np.log(total[0::2] / total[1::2])


def _both(units: Units, g: int, rows: Rows) -> tuple[I64, I64]:
    """Units of the items that have both classes in a context, paired."""
    at = units.at[:, [2 * g, 2 * g + 1]]
    at = at[(at >= 0).all(axis=1)]
    at = at[rows[at].all(axis=1)]
    return at[:, 0], at[:, 1]


def _signs(units: Units, g: int, v: F64, rows: Rows, overall: float) -> tuple[float, float, float]:
    """Both signs along one direction, and the variance of the effect that the stronger one says."""
    s = [units.x[rows & (units.block == 2 * g + k)] @ v for k in (0, 1)]
    var = [float(x.var(ddof=1)) for x in s]
    error = [
        (float(((x - x.mean()) ** 4).mean()) / float(x.var()) ** 2 - (len(x) - 3) / (len(x) - 1)) / len(x) for x in s
    ]
    z_spread = (math.log(var[0] / var[1]) - overall) / math.sqrt(max(sum(error), 1e-12))
    within = abs(var[0] - math.exp(overall) * var[1])
    p, q = _both(units, g, rows)
    if len(p) < LEAST_PAIRS:
        return math.nan, z_spread, within
    a, b = units.x[p] @ v, units.x[q] @ v
    r = float(np.corrcoef(a, b)[0, 1])
    z_pairs = -math.atanh(max(min(r, 1 - 1e-12), 1e-12 - 1)) * math.sqrt(len(p) - 3)
    # one item's effect is the difference of its two forms: its variance is four times the covariance that it brings
    return z_pairs, z_spread, -4 * float(np.cov(a, b)[0, 1]) if z_pairs > abs(z_spread) else within


def _varied(units: Units, rows: Rows, contexts: list[int]) -> F64:
    """Unit direction along which positive and negative forms of items deviate most oppositely, noise levelled; 0 without pairs.

    Solved among the vectors at hand, whose number is under that of features as a rule; the noise is shrunk half-way to its mean.
    """
    parts: list[tuple[F64, F64]] = []
    for g in contexts:
        p, q = _both(units, g, rows)
        if len(p) >= LEAST_PAIRS:
            parts.append((units.x[p] - units.x[p].mean(axis=0), units.x[q] - units.x[q].mean(axis=0)))
    if not parts:
        return np.zeros(int(units.x.shape[1]))
    a = np.concatenate([p for p, _ in parts])
    b = np.concatenate([q for _, q in parts])
    basis: F64 = np.linalg.svd(np.concatenate([a, b]), full_matrices=False)[2]
    a, b = a @ basis.T, b @ basis.T
    noise: F64 = (a.T @ a + b.T @ b) / (2 * len(a))
    noise = (noise + np.eye(len(noise)) * np.trace(noise) / units.x.shape[1]) / 2
    root = np.asarray(np.linalg.cholesky(noise), np.float64)
    half = np.linalg.solve(root, -(a.T @ b + b.T @ a) / (2 * len(a))).T
    opposite = np.asarray(np.linalg.solve(root, half), np.float64)
    v = np.asarray(np.linalg.solve(root.T, np.linalg.eigh(opposite)[1][:, -1]) @ basis, np.float64)
    return np.asarray(v / np.linalg.norm(v), np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class Subspaces:
    """Principal angles between the contexts' subspaces, and those that halves of one context have.

    Attributes:
        k: dimensions of each, chosen on halves. ``between``, ``within``: root mean square cosine of the principal angles, between
            contexts and between halves of one; of halves both, so that both have the same noise.
        floor: what random subspaces would have.
    """

    k: int
    between: Estimate
    within: Estimate
    floor: float


def subspaces(units: Units, *, seed: int, splits: int = 4, level: float = 0.95) -> Subspaces:
    """Compare subspaces of contexts: a context's direction, and with it the one along which its own items' effects vary.

    The second is taken in where every context shows it on prompts that had no part in choosing it; without pairs never.
    The intervals are over contexts (of a context the mean over the others), which makes those of two or three contexts wide.
    """
    rng = np.random.default_rng(stable_seed("concept subspaces", seed))
    count, hidden = units.count, units.x.shape[1]
    drawn: list[tuple[F64, F64]] = []
    signs = np.zeros(count)
    for _ in range(splits):
        halves = units.halves(rng)
        bases: list[F64] = []
        for i, rows in enumerate(halves):
            d = units.directions(rows)
            second = np.stack([_varied(units, rows, [g]) for g in range(count)])
            other = halves[1 - i]
            signs += [_signs(units, g, v, other, 0.0)[0] if v.any() else np.nan for g, v in enumerate(second)]
            bases.append(np.stack([d, second], axis=1))
        drawn.append((bases[0], bases[1]))
    z = signs / (2 * splits)
    k = 2 if bool((z > normal_quantile(0.95)).all()) else 1
    share = np.zeros((count, count))
    for a, b in drawn:
        one, two = ([np.linalg.qr(x[:k].T)[0] for x in part] for part in (a, b))
        share += [[float(((p.T @ q) ** 2).sum()) / k for q in two] for p in one]
    share /= splits
    both = (share + share.T) / 2
    own = np.diagonal(both)
    return Subspaces(
        k,
        _root_mean((both.sum(axis=1) - own) / (count - 1), level),
        _root_mean(own, level),
        math.sqrt(k / hidden),
    )


def _root_mean(squares: F64, level: float) -> Estimate:
    """Root of the mean of squared cosines."""
    e = mean_t(squares, level=level)
    low, high = (math.sqrt(min(max(x, 0.0), 1.0)) for x in (e.low, e.high))
    return Estimate(
        math.sqrt(e.value), low, high, level, e.n, "", "halves of the prompts, Student's interval over contexts"
    )
