"""Principal angles between the subspaces that a concept takes up in its contexts, beside those of halves of one context (L5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from homing.fracture.concept_contexts import Units
from homing.fracture.concept_planes import signs, varied
from homing.stats import mean_t
from homing.stats._special import F64, normal_quantile
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["Subspaces", "subspaces"]


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
    shown = np.zeros(count)
    for _ in range(splits):
        halves = units.halves(rng)
        bases: list[F64] = []
        for i, rows in enumerate(halves):
            d = units.directions(rows)
            second = np.stack([varied(units, rows, [g]) for g in range(count)])
            other = halves[1 - i]
            shown += [signs(units, g, v, other, (0.0, 0.0))[0] if v.any() else np.nan for g, v in enumerate(second)]
            bases.append(np.stack([d, second], axis=1))
        drawn.append((bases[0], bases[1]))
    z = shown / (2 * splits)
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
