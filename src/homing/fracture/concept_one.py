"""How many dimensions the contexts' directions share, against simulated contexts that truly have one direction (L4).

Noise alone spreads estimated directions over many dimensions. So the share of the first is read beside what one common direction
would show with these prompts, this noise and these lengths: each prompt's own residual is multiplied by a random number (a wild
bootstrap, Wu 1986), added to one common direction, and everything is estimated anew, its noise ceiling included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.fracture.concept_contexts import Units
from homing.fracture.concept_cosine import Cosines, corrected
from homing.stats._special import F64
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["FEW", "LEAST_RELIABILITY", "OneDimension", "first_share", "one_dimension"]

LEAST_RELIABILITY = 1 / 3
"""Of all prompts together: a split-half cosine of 0.2, stepped up. Under it nothing is said, in the data as in the simulation."""
ENOUGH, FEW, MOST = 200, 100, 10
"""Simulations judged before it stops making more; fewer than ``FEW`` judge nothing; ``MOST`` times as many are made at most."""


@dataclass(frozen=True, slots=True)
class OneDimension:
    """The first dimension's share, observed and under one direction.

    Attributes:
        share: s1 squared over the number of contexts, of their unit directions as they are.
        expected: the same under one direction: mean, and the interval in which simulations lie.
        clean: the share with noise taken out. ``dimensions``: contexts squared over the sum of squared corrected cosines, which
            is 1 for one direction and the number of contexts for as many.
        p_value: how often one direction gives a clean share as low, one-sided.
        simulations: those in which every context was reliable enough to be judged, as the data were.
    """

    share: Estimate
    expected: Estimate
    clean: Estimate
    dimensions: Estimate
    p_value: float
    simulations: int


def first_share(cosine: F64) -> F64:
    """Largest eigenvalue over the number of contexts, ``(...,)`` from ``(..., contexts, contexts)``; NaN where one is."""
    good = np.asarray(np.isfinite(cosine).all(axis=(-2, -1)))
    safe = np.where(good[..., None, None], cosine, 0.0)
    return np.where(good, np.linalg.eigvalsh(safe)[..., -1] / cosine.shape[-1], np.nan)


def _spread(cosine: F64) -> F64:
    """Effective number of dimensions, kept within what there can be."""
    g = cosine.shape[-1]
    return np.clip(g * g / (cosine**2).sum(axis=(-2, -1)), 1.0, g)


def one_dimension(
    units: Units, found: Cosines, *, seed: int, simulations: int = 400, level: float = 0.95
) -> OneDimension:
    """Judge one shared dimension.

    Args:
        found: of the same units. ``seed``: of the simulation. ``simulations``: how many contexts of one direction are made.
    """
    rng = np.random.default_rng(stable_seed("concept one", seed))
    made, parts = 0, list[tuple[F64, F64]]()
    while made < MOST * simulations and sum(len(p) for p, _ in parts) < ENOUGH:
        plain, clean = _simulated(units, found, simulations, rng)
        made += simulations
        square, whole = (np.diagonal(m, axis1=1, axis2=2) for m in (clean, plain))
        kept = (square >= LEAST_RELIABILITY * whole).all(axis=1)
        length = np.sqrt(whole[kept])
        raw = plain[kept] / (length[:, :, None] * length[:, None, :])
        parts.append((first_share(corrected(clean[kept])), first_share(raw)))
    null, null_raw = (np.concatenate(p) for p in zip(*parts, strict=True))
    value = float(first_share(found.truth))
    ceiling = np.sqrt(np.maximum(np.outer(found.reliability, found.reliability), 0.0))
    np.fill_diagonal(ceiling, 1.0)
    used, n = len(null), found.least
    how = f"simulated, one direction, {used} of {made} reliable enough"
    if used < FEW:
        expected = Estimate(float("nan"), -np.inf, np.inf, level, n, "", how)
    else:
        low, high = (float(q) for q in np.quantile(null_raw, [(1 - level) / 2, (1 + level) / 2]))
        expected = Estimate(float(null_raw.mean()), low, high, level, n, "", how)
    return OneDimension(
        found.ends(float(first_share(found.raw)), lambda x: first_share(x * ceiling), level, "first share"),
        expected,
        found.ends(value, first_share, level, "first share without noise"),
        found.ends(float(_spread(found.truth)), _spread, level, "effective dimensions"),
        float((np.sum(null <= value) + 1) / (used + 1)),
        used,
    )


def _simulated(units: Units, found: Cosines, count: int, rng: np.random.Generator) -> tuple[F64, F64]:
    """Inner products of simulated contexts of one direction, as they are and without noise, ``(count, contexts, contexts)``."""
    sizes, c = units.sizes, units.contrast()
    member = (units.block[:, None] == np.arange(len(sizes))).astype(np.float64)
    centred = units.residuals()
    d = units.directions()
    common = (d / np.linalg.norm(d, axis=1, keepdims=True)).sum(axis=0)
    common /= np.linalg.norm(common)
    length = np.sqrt(np.maximum(found.reliability * found.plain, 0.0))
    noise = rng.standard_normal((count, len(units.at)))
    plain, clean = units.noise_products(centred, noise)
    along = (
        (noise[:, units.cluster] * (centred @ common)) @ (member / sizes) @ c
    )  # noise along the direction, by context
    signal = (
        length[:, None] * length[None, :] + length[:, None] * along[:, None, :] + length[None, :] * along[:, :, None]
    )
    return signal + plain, signal + clean
