"""Scores of the anchors instrument by hold and condition, what bars a figure, and figures over items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np

from homing.instruments.anchors_arms import ARMS, Arm, arm_of
from homing.instruments.anchors_items import OPTIONS
from homing.instruments.base import LEAST_MASS, LEAST_VALID, NO_ANCHOR, Scored, validity
from homing.instruments.item_figures import of_items, within
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate
from homing.stats.intervals import wilson
from homing.stats.seeds import stable_seed
from homing.stats.tests import exact_binomial

__all__ = [
    "HELD_BY",
    "LEAST",
    "MARGIN",
    "NAME",
    "Rows",
    "barred",
    "barred_arm",
    "barred_judgement",
    "gold_rates",
    "mean",
    "none_beyond",
    "weighted",
]

NAME = "anchors"
HELD_BY = "anchor"
LEAST = 8
"""Fewer items: nothing is measured."""
MARGIN = 0.1
"""A net gain that would still count as none."""
CEILING = 0.97
Pairs = Mapping[str, float]


class Rows:
    """Values of scores by hold and condition."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str], dict[str, Scored]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.id)):
            self._at.setdefault((s.hold, s.cell.condition), {})[s.cell.item] = s

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _ in self._at} - {"none"})

    def scored(self, hold: str, condition: str = "") -> list[Scored]:
        """All scores under a hold, or those of one condition."""
        return [s for (h, c), rows in self._at.items() if h == hold and condition in ("", c) for s in rows.values()]

    def of(self, hold: str, condition: str) -> dict[str, Mapping[str, Any]]:
        """Item to values, of items with a first answer."""
        rows = self._at.get((hold, condition), {})
        return {k: s.values for k, s in rows.items() if "shares" in s.values or condition == "gold"}

    def arms(self, name: str, hold: str = "none") -> dict[str, Arm]:
        """Item to one arm, where all that it needs is there."""
        found = {k: arm_of(name, v) for k, v in self.of(hold, "arms").items()}
        return {k: a for k, a in found.items() if a is not None}

    def nets(self, arms: Mapping[str, Arm]) -> dict[str, float]:
        """Item to the accuracy of an arm less that of the vote at as many calls, with nothing done."""
        vote = self.arms("vote")
        return {k: a.accuracy - vote[k].accuracy for k, a in arms.items() if k in vote}

    def values(self, condition: str, take: Callable[[Mapping[str, Any]], float | None]) -> dict[str, float]:
        """Item to a number, where there is one."""
        found = {k: take(v) for k, v in self.of("none", condition).items()}
        return {k: x for k, x in found.items() if x is not None}

    @cached_property
    def judge(self) -> str:
        """Name of the anchor model; empty where none was given."""
        return next((str(s.values["who"]) for s in self.scored("none") if s.values.get("who")), "")

    @cached_property
    def right(self) -> Estimate:
        """Accuracy of first answers."""
        first = {k: float(v["shares"][0]) for k, v in self.of("none", "arms").items()}
        return of_items(first, f"{NAME} first", least=0.0, most=1.0)[0]

    @property
    def drawn(self) -> str:
        """What is said where choices were not read from probabilities."""
        exact = all(v["exact"] for v in self.of("none", "arms").values())
        return "" if exact else " Choices were drawn, not read from probabilities."


def mean(x: Pairs, tag: str, *, least: float = -1.0) -> tuple[Estimate, float] | None:
    """The mean over items and its p-value against 0; None with too few."""
    return of_items(_near(x), f"{NAME} {tag}", least=least, most=1.0) if len(x) >= LEAST else None


def none_beyond(x: Pairs) -> bool:
    """Whether the mean over items is shown to lie within the margin of 0."""
    return within(_near(x), MARGIN)


def _near(x: Pairs) -> dict[str, float]:
    """Probabilities are kept to six places: items that differ beyond five are alike."""
    return {k: round(v, 5) for k, v in x.items()}


def weighted(values: Pairs, weights: Pairs, tag: str) -> Estimate | None:
    """A rate over first answers, not over items: those of an item count by how likely they are. None with too few."""
    both = [k for k in values if k in weights]
    x, w = np.array([values[k] for k in both]), np.array([weights[k] for k in both])
    if len(both) < LEAST or w.sum() <= 0:
        return None
    if np.ptp(x) == 0:
        return of_items({k: values[k] for k in both}, f"{NAME} {tag}", least=0.0, most=1.0)[0]
    return ratio_of_means(x * w, w, seed=stable_seed(NAME, tag), clusters=both, method="bootstrap")


def barred(rows: Rows, hold: str = "none") -> str:
    """Why nothing is measured under a hold; empty where it is."""
    if (bad := validity(NAME, rows.scored("none")) or validity(NAME, rows.scored(hold))) is not None:
        return bad.reason
    first = rows.of("none", "arms")
    if len(first) < LEAST:
        return f"{len(first)} questions were answered, and {LEAST} must be"
    if (middle := median(float(v["mass"]) for v in first.values())) < LEAST_MASS:
        return f"the ten digits together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed"
    right = rows.right
    if right.low <= 1 / OPTIONS:
        return f"first answers are right in {right:.2f}, not clear of the {1 / OPTIONS:.2f} of a guess"
    if right.value > CEILING:
        return f"first answers are right in {right:.2f}, and nothing is left to mend"
    return ""


def barred_arm(rows: Rows, name: str, hold: str = "none") -> str:
    """Why one arm is not measured; empty where it is."""
    if reason := barred(rows, hold):
        return reason
    if name in ("past", "judge") and not rows.judge:
        return NO_ANCHOR
    if name == "judge":
        right, asked = gold_right(rows)
        if asked < 2 * LEAST or right <= asked / 2 or exact_binomial(right, asked).p_value > 0.05:
            return f"the judge {rows.judge} fails its gold set: {right} of {asked} verdicts are right, not clear of a guess"
    if name == "tool":
        calls = [float(v["call"]) for v in rows.of(hold, "arms").values() if "call" in v]
        if sum(calls) < LEAST_VALID * len(calls) or not calls:
            n = f"{sum(calls):.0f} of {len(calls)}"
            return f"the tool is called in the form that it takes in {n} questions, and {LEAST_VALID:.0%} must be"
    assert name in ARMS
    if (n := len(rows.arms(name, hold))) < LEAST:
        return f"{n} questions have what this arm needs, and {LEAST} must"
    return ""


def barred_judgement(rows: Rows) -> str:
    """Why nothing that is asked for with yes or no is measured; empty where it is."""
    if reason := barred(rows):
        return reason
    masses = [float(x) for v in rows.of("none", "judging").values() for x in v.get("yes_mass", ())]
    if (middle := median(masses) if masses else 0.0) < LEAST_MASS:
        return f'"Yes" and "No" together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed'
    return ""


def _gold(rows: Rows) -> list[tuple[bool, bool]]:
    """For each gold question whether the judge calls its right answer right, and its wrong one wrong."""
    found = [v["gold"] for v in rows.of("none", "gold").values() if "gold" in v]
    return [(yes > 0.5, no < 0.5) for yes, no in found]


def gold_right(rows: Rows) -> tuple[int, int]:
    """Verdicts of the judge that are right on its gold set, and all of them."""
    every = [x for pair in _gold(rows) for x in pair]
    return sum(every), len(every)


def gold_rates(rows: Rows) -> dict[str, Estimate]:
    """How often the judge calls a right answer right, and a wrong one wrong."""
    pairs = _gold(rows)
    return {
        "sensitivity": wilson(sum(a for a, _ in pairs), len(pairs)), "specificity": wilson(sum(b for _, b in pairs), len(pairs)),
    }  # fmt: skip
