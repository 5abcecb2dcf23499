"""Is a concept one direction in a model, or pieces: one verdict over contexts, from activations of any model.

The rule, chosen on contexts with a known answer (:mod:`homing.fracture.concept_plants`):

- *refused*: a context whose direction one half of its prompts does not find again in the other;
- *one direction*: what differs between contexts is what noise does to one, and the corrected cosine is shown to be high;
- *multi-dimensional*: every context shows, within itself, that the effect varies along a second dimension;
- *fractured*: contexts differ by more than noise, and they do not show that;
- *inconclusive*: neither is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np

from homing.fracture.concept_contexts import Contexts, Units
from homing.fracture.concept_cosine import Cosines, cosines
from homing.fracture.concept_one import FEW, OneDimension, one_dimension
from homing.fracture.concept_planes import between_contexts, shared_by_items, varied_direction, without
from homing.fracture.concept_subspaces import subspaces
from homing.fracture.concept_transfer import Transfer, mahalanobis, transfer
from homing.stats._special import normal_cdf, normal_quantile
from homing.stats.estimate import Estimate, Finding

__all__ = ["ConceptPair", "ConceptReport", "ConceptVerdict", "apart", "judge_concept"]

ConceptVerdict = Literal["one direction", "multi-dimensional", "fractured", "inconclusive", "refused"]
LEAST_HALF = 0.2
"""Split-half cosine under which a context has no direction to speak of."""
ALPHA = 0.01
"""How often contexts of one direction may look this unlike before they are called different."""
ALIKE = 0.9
"""A context whose mean cosine with the others is at least this is not called different, however surely it is under 1."""
SHOWN = 0.8
"""The lower end of the mean corrected cosine must reach this before contexts are called one direction."""
LEAST_RATIO = 0.5
"""Of the variance of an effect within contexts to that between them: less does not explain why contexts differ."""


@dataclass(frozen=True, slots=True)
class ConceptPair:
    """Two contexts.

    Attributes:
        first, second: names. ``raw``, ``ceiling``, ``cosine``: as it is, what one direction would show, and corrected (L1).
        lost: AUROC lost by the direction of the first in the second, and the other way (L2).
        metric: Mahalanobis cosine in the second, and in the first (L3).
    """

    first: str
    second: str
    raw: Estimate
    ceiling: Estimate
    cosine: Estimate
    lost: tuple[Estimate, Estimate]
    metric: tuple[Estimate, Estimate]

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "first": self.first, "second": self.second, "raw": self.raw.to_json(), "ceiling": self.ceiling.to_json(),
            "cosine": self.cosine.to_json(), "auroc_lost": [e.to_json() for e in self.lost],
            "mahalanobis": [e.to_json() for e in self.metric],
        }  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class ConceptReport:
    """What is said of a concept, and why.

    Attributes:
        verdict: one of five. ``reasons``: sentences, the deciding one first.
        contexts: names. ``figures``: by name. ``pairs``: of contexts. ``reliability``: by context.
        p_one: how often one direction looks this unlike, simulated; NaN where that was not judged.
        n: prompts of the smallest class.
    """

    verdict: ConceptVerdict
    reasons: tuple[str, ...]
    contexts: tuple[str, ...]
    n: int
    figures: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    pairs: tuple[ConceptPair, ...] = ()
    reliability: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    p_one: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """A JSON object; what is not a number is null."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "contexts": list(self.contexts),
            "n": self.n,
            "figures": {k: e.to_json() for k, e in self.figures.items()},
            "pairs": [p.to_json() for p in self.pairs],
            "reliability": {k: e.to_json() for k, e in self.reliability.items()},
            "p_one": self.p_one if math.isfinite(self.p_one) else None,
        }

    def finding(self, name: str) -> Finding:
        """For a card: the mean corrected cosine and the verdict; not measurable where it was refused."""
        if self.verdict == "refused":
            return Finding(name, {}, "not_measurable", self.reasons[0])
        shown = {"value": self.figures["cosine"], "weakest": self.figures["weakest"]}
        return Finding(name, shown, verdict=f"{self.verdict}: {self.reasons[0]}")


def judge_concept(contexts: Contexts, *, seed: int, draws: int = 500, simulations: int = 400) -> ConceptReport:
    """Judge one concept over named contexts.

    Args:
        contexts: residual vectors at one layer. ``seed``: of every resample and simulation.
        draws: resamples of prompts. ``simulations``: sets of contexts of one direction that the data are compared with.
    """
    units = Units.of(contexts)
    found = cosines(units, seed=seed, draws=draws)
    reliability = {name: found.reliable(g) for g, name in enumerate(units.names)}
    weak = [f"{units.names[g]} ({r:.2f})" for g, r in enumerate(found.half) if not r >= LEAST_HALF]
    if weak:
        said = (
            f"one half of the prompts does not find the direction of the other again (split-half cosine under {LEAST_HALF}) in:"
            f" {', '.join(weak)}; add prompts, choose another layer, or leave these contexts out and say so"
        )
        return ConceptReport("refused", (said,), units.names, units.least, reliability=reliability)
    one = one_dimension(units, found, seed=seed, simulations=simulations)
    figures, pairs = _figures(units, found, one, transfer(units, seed=seed), seed)
    verdict, reasons = _decide(units, found, one, figures, seed)
    return ConceptReport(verdict, tuple(reasons), units.names, units.least, figures, pairs, reliability, one.p_value)


def _weakest(found: Cosines) -> int:
    means = (found.truth.sum(axis=1) - np.diagonal(found.truth)) / (len(found.truth) - 1)
    return int(np.argmin(means))


def _figures(
    units: Units, found: Cosines, one: OneDimension, moved: Transfer, seed: int
) -> tuple[dict[str, Estimate], tuple[ConceptPair, ...]]:
    metric = mahalanobis(units, seed=seed)
    pairs = tuple(
        ConceptPair(
            units.names[g], units.names[h], found.pair_raw(g, h), found.ceiling(g, h), found.pair(g, h),
            (moved.lost[g][h], moved.lost[h][g]), (metric[g][h], metric[h][g]),
        )
        for g, h in combinations(range(units.count), 2)
    )  # fmt: skip
    spaces = subspaces(units, seed=seed)
    level = one.share.level
    floor = Estimate(
        spaces.floor, spaces.floor, spaces.floor, level, units.count, "", "random subspaces, exact in the mean"
    )
    return {
        "cosine": found.mean(),
        "weakest": found.of_context(_weakest(found)),
        "share": one.share,
        "share_one_direction": one.expected,
        "dimensions": one.dimensions,
        "auroc_own": moved.own,
        "auroc_lost": moved.mean,
        f"subspace_{spaces.k}d_between": spaces.between,
        f"subspace_{spaces.k}d_within": spaces.within,
        f"subspace_{spaces.k}d_random": floor,
    }, pairs


def _decide(
    units: Units, found: Cosines, one: OneDimension, figures: dict[str, Estimate], seed: int
) -> tuple[ConceptVerdict, list[str]]:
    mean, weakest, name = figures["cosine"], figures["weakest"], units.names[_weakest(found)]
    said = f"the corrected cosine of contexts is {mean:.2f} in the mean, lowest for {name} ({weakest.value:.2f})"
    if one.simulations < FEW:
        few = f"of simulated contexts of one direction only {one.simulations} are as reliable as these, and {FEW} are needed"
        return "inconclusive", [f"{few}: add prompts", said]
    if apart(found, one):
        differ = f"contexts of one direction look this unlike in {one.p_value:.1%} of simulations at most"
        lost = figures["auroc_lost"]
        size = (
            f"in size: {figures['dimensions']:.2f} dimensions where one direction has 1, and {lost:.2f} of AUROC lost where a"
            " context is read with the direction of another"
        )
        return _plane_or_pieces(units, [differ, said, size], seed)
    if shared_by_items(units, seed=seed).everywhere:
        both = (
            "in every context the two forms of an item deviate oppositely along one direction that all contexts share"
        )
        return "multi-dimensional", [f"{both}: the effect has a second dimension", said]
    if mean.low >= SHOWN:
        how = (
            f"contexts differ no more than one direction does under this noise (p = {one.p_value:.2f})"
            if one.p_value > ALPHA
            else f"contexts differ for sure, and by so little (each at least {ALIKE} with the others) that it is one direction"
        )
        return "one direction", [how, said]
    unsure = (
        f"contexts do not differ by more than noise (p = {one.p_value:.2f}), and the corrected cosine may be as low as"
        f" {mean.low:.2f} where {SHOWN} must be shown"
    )
    return "inconclusive", [f"{unsure}: add prompts", said]


def apart(found: Cosines, one: OneDimension) -> bool:
    """Whether contexts differ by more than noise does to one direction, and by enough to matter."""
    return one.p_value <= ALPHA and found.of_context(_weakest(found)).value < ALIKE


def _explained_by_items(units: Units, seed: int) -> bool:
    """Whether items vary along one direction in every context, and without it contexts no longer differ."""
    if not shared_by_items(units, seed=seed).everywhere:
        return False
    rest = without(units, varied_direction(units))
    found = cosines(rest, seed=seed, draws=100)
    if not (found.half >= LEAST_HALF).all():
        return False
    one = one_dimension(rest, found, seed=seed)
    return one.simulations >= FEW and not apart(found, one)


def _plane_or_pieces(units: Units, reasons: list[str], seed: int) -> tuple[ConceptVerdict, list[str]]:
    """Contexts differ: because each holds two dimensions in another mixture, or because each has a direction of its own."""
    if _explained_by_items(units, seed):
        why = (
            "in every context the two forms of an item deviate oppositely along one direction that all contexts share, and"
            " without it contexts do not differ: two dimensions in each, not pieces"
        )
        return "multi-dimensional", [why, *reasons]
    second = between_contexts(units, seed=seed)
    shown = [units.names[g] for g in range(units.count) if second.p_values[g] <= 0.05]
    if second.everywhere and second.ratio >= LEAST_RATIO:
        why = (
            f"within every context the effect varies along the direction in which contexts differ, {second.ratio:.1f} times as"
            " much as between them: two dimensions in each, not pieces"
        )
        return "multi-dimensional", [why, *reasons]
    together = sum(-normal_quantile(min(max(p, 1e-12), 1 - 1e-12)) for p in second.p_values) / math.sqrt(units.count)
    if second.ratio >= LEAST_RATIO and 1 - normal_cdf(together) <= ALPHA:
        where = ", ".join(shown) or "none alone"
        why = (
            f"contexts differ, and the effect varies within some of them along the same direction ({where}) and is not shown to"
            " in the others: fractured and multi-dimensional are not told apart; add prompts"
        )
        return "inconclusive", [why, *reasons]
    why = "contexts differ by more than noise, and within them nothing varies along the direction in which they differ"
    return "fractured", [why, *reasons]
