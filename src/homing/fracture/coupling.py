"""Gradient coupling (L6): whether one change of the weights would move a concept in every context, or one change in each.

A context's mean gradient is known from disjoint parts of its prompts. Products of different parts hold no noise of their own, so
the squared length without noise over the plain one is the reliability of the whole: with r the cosine of one half with the other
it is 2r / (1 + r), and a cosine over the root of both reliabilities is that of noiseless gradients (Spearman 1904).
Only inner products are needed here. The pieces are known: stiffness (Fort et al. 1901.09491), and the empirical tangent kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.concept import LEAST_HALF
from homing.fracture.concept_cosine import corrected
from homing.fracture.metrics import MOST_NULL
from homing.fracture.network import F64
from homing.stats._special import t_quantile
from homing.stats.estimate import Estimate

__all__ = ["LEAST_HALF", "LEAST_PARTS", "MOST_NULL", "Coupling", "couple"]

I64 = NDArray[np.int64]
LEAST_PARTS = 4


@dataclass(frozen=True, eq=False, slots=True)
class Coupling:
    """How far the gradients of one concept are one over its contexts.

    Attributes:
        names: of the contexts. ``raw``, ``truth``: cosines of their gradients, ``(contexts, contexts)``; ``truth`` has the noise
            taken out and may pass 1. ``half``: cosine of one half of a context's prompts with the other, ``(contexts,)``.
        coupling: C, mean of ``truth`` over pairs. ``null``: the same against an unrelated concept, or against shuffled classes.
        kappa: ``(C - null) / (1 - null)``; NaN where refused. ``refused``: why, or none. ``against``: what the null is.
    """

    names: tuple[str, ...]
    raw: F64
    truth: F64
    half: F64
    coupling: Estimate
    null: Estimate
    kappa: Estimate
    against: str
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        figures = {"kappa": self.kappa, "coupling": self.coupling, "null": self.null}
        tables = {"raw": self.raw.tolist(), "truth": self.truth.tolist(), "half": self.half.tolist()}
        words = {"names": list(self.names), "against": self.against, "refused": self.refused}
        return {k: e.to_json() for k, e in figures.items()} | tables | words


def _products(gram: F64, keep: F64) -> tuple[F64, F64]:
    """Inner products of the groups' means, ``(groups, groups)``: plain, and with noise out of the squared lengths.

    Args:
        gram: ``(groups, parts, groups, parts)``. ``keep``: ``(groups, parts)`` of 0 and 1.
    """
    n = keep.sum(axis=1)
    total = np.einsum("gp,gphq,hq->gh", keep, gram, keep, optimize=True)
    own = np.einsum("gp,gpgp->g", keep, gram)
    plain, clean = total / np.outer(n, n), total / np.outer(n, n)
    np.fill_diagonal(clean, (np.diagonal(total) - own) / (n * (n - 1)))
    return plain, clean


def _figures(gram: F64, keep: F64, null_of: I64 | None, k: int) -> F64:
    """C, C_null and kappa, ``(3,)``, of the groups' parts that are kept."""
    plain, clean = _products(gram, keep)
    if (
        null_of is not None
    ):  # shuffled classes have no gradient of their own, so that nothing can be taken out of its length
        rows = np.arange(k, len(clean))
        clean[rows, rows] = plain[rows, rows]
    truth = corrected(clean)
    c = truth[:k, :k][np.triu_indices(k, 1)].mean()
    across = truth[:k, k:]
    if null_of is not None:  # a context's own prompts are no unrelated ones
        across = across[np.arange(k)[:, None] != null_of[None]]
    null = across.mean()
    return np.array([c, null, (c - null) / (1 - null) if null < 1 else math.nan])


def _estimates(gram: F64, null_of: I64 | None, k: int, n: int, level: float) -> list[Estimate]:
    """Jackknife over parts, those of each group left out in turn; the groups' variances add up."""
    groups, parts = gram.shape[:2]
    whole = _figures(gram, np.ones((groups, parts)), null_of, k)
    variance = np.zeros(3)
    for g in range(groups if null_of is None else k):
        without = np.empty((parts, 3))
        for p in range(parts):
            keep = np.ones((groups, parts))
            keep[g, p] = 0
            if null_of is not None:  # a context and its shuffled twin are the same prompts, and go together
                keep[[j + k for j in np.flatnonzero(null_of == g)], p] = 0
            without[p] = _figures(gram, keep, null_of, k)
        variance += (parts - 1) / parts * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    method = f"jackknife over {parts} parts a context, t"
    out: list[Estimate] = []
    for value, v in zip(whole, variance, strict=True):
        reach = t_quantile((1 + level) / 2, parts - 1) * math.sqrt(v) if math.isfinite(v) else math.inf
        out.append(Estimate(float(value), float(value) - reach, float(value) + reach, level, n, "", method)
                   if math.isfinite(value) else _none(n, level, "no figure"))  # fmt: skip
    return out


def _none(n: int, level: float, why: str) -> Estimate:
    return Estimate(math.nan, -math.inf, math.inf, level, n, "", why)


def couple(
    gram: F64,
    names: Sequence[str],
    *,
    n: int,
    unrelated: int = 0,
    null_of: Sequence[int] | None = None,
    level: float = 0.95,
) -> Coupling:
    """Coupling from inner products of mean gradients.

    Args:
        gram: ``(groups, parts, groups, parts)``, gauge fixed; first the contexts, then those that are the null.
        names: of the contexts. ``n``: prompts of the smallest.
        unrelated: contexts of an unrelated concept behind the concept's own.
        null_of: instead of those, the context whose prompts, classes shuffled, each further group is of.

    Raises:
        InputError: shapes that do not fit, inner products that are not finite, or fewer than two contexts or four parts.
    """
    k = len(names)
    after = unrelated if null_of is None else len(null_of)
    if gram.ndim != 4 or gram.shape[:2] != gram.shape[2:] or gram.shape[0] != k + after or after < 1:
        raise InputError(f"{k} contexts and {after} of the null, but inner products of shape {gram.shape}")
    if k < 2 or gram.shape[1] < LEAST_PARTS:
        raise InputError(
            f"{k} contexts of {gram.shape[1]} parts; coupling needs 2 contexts and {LEAST_PARTS} parts of each"
        )
    if not np.isfinite(gram).all():
        raise InputError("gradients are not finite; the weights or the prompts cannot be differentiated")
    of = None if null_of is None else np.asarray(null_of, np.int64)
    plain, clean = _products(gram, np.ones(gram.shape[:2]))
    square = np.diagonal(plain)
    against = "an unrelated concept" if of is None else "shuffled classes"
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = plain / np.sqrt(np.outer(square, square))
        share = np.diagonal(clean) / square
        half = share / (2 - share)
        truth = corrected(clean)
    figures = [_none(n, level, "refused")] * 3

    def answer(refused: str | None) -> Coupling:
        c, null, kappa = figures
        return Coupling(tuple(names), raw[:k, :k], truth[:k, :k], half[:k], c, null, kappa, against, refused)

    label = [*names, *(f"unrelated context {j + 1}" for j in range(after))]
    zero = [label[g] for g in range(len(square)) if not square[g] > 1e-24 * square.max()]
    if zero:
        return answer(f"no gradient in {', '.join(zero)}: the read-out is saturated or does not depend on the blocks")
    judged = k + (after if of is None else 0)
    weak = [f"{label[g]} {half[g]:.2f}" for g in range(judged) if not half[g] >= LEAST_HALF]
    if weak:
        why = f"one half of the prompts does not find the gradient of the other again (under {LEAST_HALF}: {', '.join(weak)})"
        return answer(why)
    figures = _estimates(gram, of, k, n, level)
    if figures[1].value > MOST_NULL:
        figures[2] = _none(n, level, "refused")
        return answer(
            f"{against} overlaps by {figures[1].value:.3f}, over {MOST_NULL}: contexts cannot be told from it"
        )
    return answer(None)
