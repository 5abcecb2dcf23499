"""What one context's direction is worth in another: AUROC lost (L2), and the cosine that the target's noise sees (L3).

A high transfer AUROC does not mean one direction: with little noise along it, half of one tells classes apart nearly as well.
Source of the Mahalanobis cosine: arXiv 2602.20273.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from homing.fracture.concept_contexts import Units
from homing.stats._special import F64, normal_quantile, t_quantile
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["Transfer", "mahalanobis", "transfer"]

FOLDS, REPEATS = 4, 4


@dataclass(frozen=True, eq=False, slots=True)
class Transfer:
    """Telling the classes of each context apart by each context's direction.

    Attributes:
        auroc: ``(from, to)``; on the diagonal cross-validated: no vector is scored by a direction that it helped to make.
        lost: ``(from, to)`` of estimates, own less transferred, on the same vectors of the target; the diagonal is 0.
        mean: over all ordered pairs. ``own``: mean of the diagonal.
    """

    auroc: F64
    lost: tuple[tuple[Estimate, ...], ...]
    mean: Estimate
    own: Estimate


def _placements(units: Units, rng: np.random.Generator) -> F64:
    """Placement of every unit by each context's direction, ``(contexts, units)``.

    Every direction is made of the other folds alone, the unit's own context's and the transferred ones: a transferred direction
    made of more prompts would have less noise, and the loss would look like a gain. Within a fold positives are compared with
    negatives of the same fold, so that a shift between folds counts for nothing.
    """
    k = units.count
    total, times = np.zeros((k, len(units.block))), np.zeros(len(units.block))
    for _ in range(REPEATS):
        fold = np.empty(len(units.at), np.int64)
        for s in units.kinds:
            fold[rng.permutation(s)] = (np.arange(len(s)) + rng.integers(FOLDS)) % FOLDS
        of = fold[units.cluster]
        for f in range(FOLDS):
            d = units.directions(of != f)
            for h in range(k):
                p, q = (np.flatnonzero((of == f) & (units.block == 2 * h + s)) for s in (0, 1))
                if not len(p) or not len(q):
                    continue
                times[np.concatenate([p, q])] += 1
                pos, neg = d @ units.x[p].T, d @ units.x[q].T
                above = np.sign(pos[:, :, None] - neg[:, None, :]) / 2 + 0.5  # ties count half
                total[:, p] += above.mean(axis=2)
                total[:, q] += above.mean(axis=1)
    return total / np.maximum(times, 1)


def transfer(units: Units, *, seed: int, level: float = 0.95) -> Transfer:
    """AUROC of each context's direction in each context, cross-validated over prompts."""
    placed = _placements(units, np.random.default_rng(stable_seed("concept folds", seed)))
    k = units.count
    context = units.block // 2
    own = placed[context, np.arange(len(context))]
    auroc = np.zeros((k, k))
    rows: list[tuple[Estimate, ...]] = []
    mean = np.zeros(len(context))
    for g in range(k):
        row: list[Estimate] = []
        for h in range(k):
            auroc[g, h] = placed[g, units.block == 2 * h].mean()
            gap = np.where(context == h, own - placed[g], 0.0)
            mean += gap / (k - 1)
            row.append(_mean_gap(units, gap, [h], level, "own less transferred, paired placements (DeLong), by prompt"))
        rows.append(tuple(row))
    every = list(range(k))
    return Transfer(
        auroc,
        tuple(rows),
        _mean_gap(units, mean, every, level, "mean over ordered pairs, paired placements, by prompt"),
        _mean_gap(units, own, every, level, "cross-validated, placements, by prompt"),
    )


def _mean_gap(units: Units, placed: F64, used: list[int], level: float, how: str) -> Estimate:
    """Mean over contexts of the mean placement of positives, with the error that positives and negatives both bring."""
    value = float(np.mean([placed[units.block == 2 * g].mean() for g in used]))
    influence = np.zeros(len(units.at))
    for g in used:
        for s in (0, 1):
            rows = units.block == 2 * g + s
            x = placed[rows]
            np.add.at(influence, units.cluster[rows], (x - x.mean()) / (len(x) - 1) / len(used))
    half = normal_quantile((1 + level) / 2) * math.sqrt(float((influence**2).sum()))
    return Estimate(value, value - half, value + half, level, units.least, "AUROC", how)


def mahalanobis(units: Units, *, seed: int, draws: int = 200, level: float = 0.95) -> tuple[tuple[Estimate, ...], ...]:
    """Cosine of two directions in the metric of the target's covariance within classes, ``(from, to)``; the diagonal is 1.

    As from the raw cosine, noise in the directions takes from it, and it has no ceiling here. Resamples have more noise yet, so
    the interval takes their spread and is centred on the figure.
    """
    weights = units.resampled(draws, np.random.default_rng(stable_seed("concept metric", seed)))
    k, n = units.count, units.least
    value, drawn = np.ones((k, k)), np.ones((draws, k, k))
    ones = np.ones((1, len(units.at)))
    for h in range(k):
        parts = [units.x[units.block == 2 * h + s] for s in (0, 1)]
        to = units.x @ np.concatenate([p - p.mean(axis=0) for p in parts]).T
        value[:, h] = _metric(units, ones, to, h)[0]
        drawn[:, :, h] = _metric(units, weights, to, h)
    wide = t_quantile((1 + level) / 2, n - 1) * math.sqrt(n / (n - 1)) * drawn.std(axis=0, ddof=1)
    how = f"bootstrap over prompts, spread of {draws} draws about the figure"
    return tuple(
        tuple(
            Estimate(float(v), float(v - w), float(v + w), level, n, "", "Mahalanobis cosine, " + how)
            for v, w in zip(value[g], wide[g], strict=True)
        )
        for g in range(k)
    )


def _metric(units: Units, weights: F64, to: F64, h: int) -> F64:
    """The cosines with the direction of context ``h``, ``(draws, contexts)``; ``to``: ``(units, units of h)``."""
    each = weights[:, units.cluster]
    seen: list[F64] = []
    for g in range(units.count):
        halves = list[F64]()
        for s in (0, 1):
            rows = units.block == 2 * g + s
            halves.append(each[:, rows] @ to[rows] / each[:, rows].sum(axis=1, keepdims=True))
        seen.append(halves[0] - halves[1])
    length = [np.sqrt((x**2).sum(axis=1)) for x in seen]
    return np.stack(
        [(x * seen[h]).sum(axis=1) / (size * length[h]) for x, size in zip(seen, length, strict=True)], axis=1
    )
