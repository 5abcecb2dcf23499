"""Cosines of a concept's directions between contexts, with what noise takes from them put back (L1).

The raw cosine of two estimated directions is never more than the root of both reliabilities, its ceiling, however equal they
are. Divided by the ceiling it may pass 1 by chance, and is given so.
Source: Spearman 1904; for directions, the noise ceiling of representational similarity (Nili et al. 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homing.errors import InputError
from homing.fracture.concept_contexts import Units
from homing.stats import disattenuated_cosine, spearman_brown
from homing.stats._resample import percentile_ends
from homing.stats._special import F64
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["HALVES", "Cosines", "by_halves", "cleared", "corrected", "cosines", "ends", "split_half"]

HALVES = 16
"""Random splits into disjoint halves behind a split-half cosine; never fewer than 8."""


@dataclass(frozen=True, eq=False, slots=True)
class Cosines:
    """Agreement of the contexts' directions.

    Attributes:
        raw, truth: ``(contexts, contexts)``; ``truth`` has the noise taken out and may pass 1.
        reliability: ``(contexts,)``, the share of a squared length that is no noise. ``half``: split-half cosine of each.
        draws: resamples of ``truth``, ``(draws, contexts, contexts)``; NaN where a resample has no length.
        noise: ``truth`` moved by the product of noises alone, likewise; see :meth:`ends`.
        lengths: ``(draws, contexts)``, squared and without noise. ``plain``: squared lengths as they are, ``(contexts,)``.
        least: independent prompts of the smallest class.
    """

    raw: F64
    truth: F64
    reliability: F64
    half: F64
    draws: F64
    noise: F64
    lengths: F64
    plain: F64
    least: int

    def pair(self, g: int, h: int, *, level: float = 0.95) -> Estimate:
        """The corrected cosine of two contexts."""
        return self.ends(float(self.truth[g, h]), lambda c: c[:, g, h], level, "disattenuated cosine")

    def pair_raw(self, g: int, h: int, *, level: float = 0.95) -> Estimate:
        """The raw cosine, its interval that of the corrected one times the ceiling."""
        c = math.sqrt(max(self.reliability[g] * self.reliability[h], 0.0))
        return self.ends(float(self.raw[g, h]), lambda x: x[:, g, h] * c, level, "raw cosine")

    def ceiling(self, g: int, h: int, *, level: float = 0.95) -> Estimate:
        """The raw cosine that two equal directions would show."""
        r = self._reliabilities()
        with np.errstate(invalid="ignore"):
            both = np.sqrt(r[:, g] * r[:, h])
        value = math.sqrt(max(self.reliability[g] * self.reliability[h], 0.0))
        return ends(value, both, self.least, level, "noise ceiling")

    def reliable(self, g: int, *, level: float = 0.95) -> Estimate:
        """Share of the squared length of a context's direction that is no noise."""
        return ends(float(self.reliability[g]), self._reliabilities()[:, g], self.least, level, "reliability")

    def mean(self, *, level: float = 0.95) -> Estimate:
        """Mean corrected cosine over all pairs of contexts."""
        up = np.triu_indices(len(self.truth), 1)
        value = float(self.truth[up].mean())
        return self.ends(value, lambda c: c[:, up[0], up[1]].mean(axis=1), level, "mean over pairs")

    def of_context(self, g: int, *, level: float = 0.95) -> Estimate:
        """Mean corrected cosine of one context with the others."""
        others = [h for h in range(len(self.truth)) if h != g]
        value = float(self.truth[g, others].mean())
        return self.ends(value, lambda c: c[:, g, others].mean(axis=1), level, "mean over the other contexts")

    def ends(self, value: float, statistic: Callable[[F64], F64], level: float, what: str) -> Estimate:
        """A figure of the corrected cosines with expanded percentile ends.

        An estimated direction is truth and noise, and a resample adds noise to both: the product of noises, which is all that
        moves cosines of equal directions, is counted three times. The two times too many are taken off the spread.

        Args:
            statistic: ``(draws,)`` from ``(draws, contexts, contexts)``.
        """
        return ends(value, cleared(statistic(self.draws), statistic(self.noise)), self.least, level, what)

    def _reliabilities(self) -> F64:
        noise = self.plain * (1 - self.reliability)
        with np.errstate(invalid="ignore"):
            return self.lengths / (self.lengths + noise)


def cleared(drawn: F64, alone: F64) -> F64:
    """Resamples of a figure, the noise that resampling counts twice too often taken off their spread; see :meth:`Cosines.ends`.

    Args:
        drawn: of the figure, ``(draws,)``. ``alone``: the same moved by the product of noises alone.
    """
    good = drawn[np.isfinite(drawn)]
    if len(good) <= len(drawn) / 2 or np.isfinite(alone).sum() <= len(alone) / 2:
        return drawn
    whole, product = _spread(good), _spread(alone[np.isfinite(alone)])
    if not whole > 0:
        return drawn
    shrink = math.sqrt(max(whole**2 - 2 * product**2, min(product, whole) ** 2)) / whole
    middle = float(np.median(good))
    return middle + (drawn - middle) * shrink


def _spread(x: F64) -> float:
    """Half of what lies between the 16th and the 84th percentile: a standard deviation that far tails do not move."""
    low, high = np.quantile(x, [0.16, 0.84])
    return float(high - low) / 2


def ends(value: float, draws: F64, n: int, level: float, what: str) -> Estimate:
    """A figure with expanded percentile ends of its resamples; those in which it does not exist are left out."""
    low, high = percentile_ends(draws, level, n / (n - 1), n - 1)
    return Estimate(value, low, high, level, n, "", f"{what}, bootstrap over prompts, {len(draws)} draws")


def corrected(clean: F64) -> F64:
    """Cosines from inner products without noise, ``(..., contexts, contexts)``; NaN where a squared length is not over 0."""
    square = np.diagonal(clean, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        length = np.sqrt(np.where(square > 0, square, np.nan))
    return clean / (length[..., :, None] * length[..., None, :])


def split_half(units: Units, *, seed: int, splits: int = HALVES) -> F64:
    """Mean cosine of the direction of one half of a context's prompts with that of the other, ``(contexts,)``.

    Raises:
        InputError: fewer than 8 splits.
    """
    if splits < 8:
        raise InputError(f"{splits} splits into halves; give at least 8")
    rng = np.random.default_rng(stable_seed("concept halves", seed))
    total = np.zeros(units.count)
    for _ in range(splits):
        a, b = (units.directions(rows) for rows in units.halves(rng))
        total += (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return total / splits


def cosines(units: Units, *, seed: int, draws: int = 500, splits: int = HALVES) -> Cosines:
    """Raw and corrected cosines of all pairs of contexts, prompts resampled.

    Args:
        seed: of halves and resamples. ``draws``: resamples, at least 100.
    """
    ones = np.ones((1, len(units.at)))
    plain, clean = (p[0] for p in units.products(ones))
    square = np.diagonal(plain)
    raw = plain / np.sqrt(np.outer(square, square))
    weights = units.resampled(draws, np.random.default_rng(stable_seed("concept draws", seed)))
    drawn = units.products(weights)[1]
    multipliers = np.random.default_rng(stable_seed("concept noise", seed)).standard_normal((draws, len(units.at)))
    noise = units.noise_products(units.residuals(), multipliers)[1]
    return Cosines(
        raw,
        corrected(clean),
        np.diagonal(clean) / square,
        split_half(units, seed=seed, splits=splits),
        corrected(drawn),
        corrected(clean + noise),
        np.diagonal(drawn, axis1=1, axis2=2),
        square,
        units.least,
    )


def by_halves(cosine: float, half_a: float, half_b: float) -> float:
    """The corrected cosine from split-half cosines alone: raw over the root of both, stepped up to the whole."""
    return disattenuated_cosine(cosine, spearman_brown(half_a), spearman_brown(half_b))
