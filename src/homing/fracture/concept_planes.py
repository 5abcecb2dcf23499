"""Whether every context needs two dimensions of its own (multi-dimensional), or each has one and they differ (fractured); L5.

Contexts whose directions differ look alike in both cases. They are told apart *within* a context. Where a concept needs two
dimensions, its effect varies from item to item along the second one in every context, and contexts differ because they hold other
items: of truth, affirmed and denied statements (arXiv 2407.12831); of a circle, other arcs (arXiv 2405.14860). Where it is
fractured, the direction of another context is, within this one, mere noise.

Two signs that an effect varies along a direction, each read on prompts that had no part in choosing it: *pairs*, the positive and
the negative form of one item deviate in opposite ways (what they have in common deviates in the same way); *spread*, the two
classes vary unlike, beyond what they do on the whole and along mere noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from homing.fracture.concept_contexts import Units
from homing.stats._special import F64, I64, normal_cdf
from homing.stats.seeds import stable_seed

__all__ = [
    "Second",
    "between_contexts",
    "paired",
    "shared_by_items",
    "signs",
    "varied",
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

    def choose(rows: Rows) -> F64:
        return _across(units.directions(rows))

    return _read(units, choose, seed, splits, spread=True)


def _across(d: F64) -> F64:
    """In the plane of the directions of contexts ``(contexts, hidden)``, the unit direction across each, same shape."""
    plane = np.linalg.svd(d / np.linalg.norm(d, axis=1, keepdims=True), full_matrices=False)[2][:2]
    own = d @ plane.T
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-300)
    return np.stack([-own[:, 1], own[:, 0]], axis=1) @ plane


def shared_by_items(units: Units, *, seed: int, splits: int = 3) -> Second:
    """Along the direction in which the effect varies most from item to item, of all contexts together; needs pairs.

    Spread is no sign here: one class is often more varied than the other, in directions that have nothing to do with an effect.
    """

    def most(rows: Rows) -> F64:
        v = varied(units, rows, list(range(units.count)))
        return np.tile(v, (units.count, 1))

    if not paired(units):
        nothing = np.full(units.count, np.nan)
        return Second(nothing, nothing, np.ones(units.count), math.nan)
    return _read(units, most, seed, splits, spread=False)


def varied_direction(units: Units) -> F64:
    """Unit direction along which the effect varies most from item to item, of all contexts and all prompts together."""
    return varied(units, np.ones(len(units.block), bool), list(range(units.count)))


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
            noise = _by_noise(units, chosen, rng) if spread else v[None]
            d = units.directions(read)
            for g in range(units.count):
                z, zs, w = signs(units, g, v[g], read, (scale[g], _unlike(units, g, noise[:, g], read)))
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


def _by_noise(units: Units, rows: Rows, rng: np.random.Generator, count: int = 8) -> F64:
    """Directions across, chosen in the same way where contexts have one direction: noise alone, ``(count, contexts, hidden)``.

    The noise is each prompt's own residual with a random sign.
    """
    e = np.zeros((count, units.count, units.x.shape[1]))
    for b in range(2 * units.count):
        x = units.x[rows & (units.block == b)]
        e[:, b // 2] += rng.choice([-1.0, 1.0], (count, len(x))) @ (x - x.mean(axis=0)) / len(x)
    d = units.directions(rows)
    square = (d**2).sum(axis=1)
    length = np.sqrt(np.maximum(square - (e**2).sum(axis=2).mean(axis=0), 0.1 * square))
    common = (d / np.sqrt(square)[:, None]).sum(axis=0)
    made = length[:, None] * common / np.linalg.norm(common) + e
    return np.stack([_across(m) for m in made])


def _unlike(units: Units, g: int, directions: F64, rows: Rows) -> float:
    """Log of the variance of a context's positives over that of its negatives, along several directions together."""
    p, q = (units.x[rows & (units.block == 2 * g + k)] @ directions.T for k in (0, 1))
    return math.log(float(p.var(axis=0, ddof=1).sum() / q.var(axis=0, ddof=1).sum()))


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


def signs(units: Units, g: int, v: F64, rows: Rows, usual: tuple[float, float]) -> tuple[float, float, float]:
    """Both signs along one direction, and the variance of the effect that the stronger one says.

    Args:
        usual: logs of variance ratios of the classes that are no sign: in all directions together, and along noise. An estimated
            direction is a mixture of a true one and of noise, and may show anything between.
    """
    s = [units.x[rows & (units.block == 2 * g + k)] @ v for k in (0, 1)]
    var = [float(x.var(ddof=1)) for x in s]
    error = [
        (float(((x - x.mean()) ** 4).mean()) / float(x.var()) ** 2 - (len(x) - 3) / (len(x) - 1)) / len(x) for x in s
    ]
    seen = math.log(var[0] / var[1])
    nearest = min(max(seen, min(usual)), max(usual))
    z_spread = (seen - nearest) / math.sqrt(max(sum(error), 1e-12))
    within = abs(var[0] - math.exp(nearest) * var[1])
    p, q = _both(units, g, rows)
    if len(p) < LEAST_PAIRS:
        return math.nan, z_spread, within
    a, b = units.x[p] @ v, units.x[q] @ v
    r = float(np.corrcoef(a, b)[0, 1])
    z_pairs = -math.atanh(max(min(r, 1 - 1e-12), 1e-12 - 1)) * math.sqrt(len(p) - 3)
    # one item's effect is the difference of its two forms: its variance is four times the covariance that it brings
    return z_pairs, z_spread, -4 * float(np.cov(a, b)[0, 1]) if z_pairs > abs(z_spread) else within


def varied(units: Units, rows: Rows, contexts: list[int]) -> F64:
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
