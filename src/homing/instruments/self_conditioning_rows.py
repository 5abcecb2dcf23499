"""Scores of the self-conditioning instrument by hold, level and condition, and what it takes to read anything from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import LEAST_MASS, Scored, not_measurable, validity
from homing.instruments.item_figures import Pairs, cost_of, of_items
from homing.stats.estimate import Estimate, Finding
from homing.stats.intervals import newcombe_paired, wilson
from homing.stats.tests import exact_binomial, mcnemar_exact, tost_proportion

__all__ = [
    "BEND",
    "CONTRASTS",
    "DOSES",
    "DRAWS",
    "LEAST",
    "MARGIN",
    "NAME",
    "RATES",
    "SLOPE",
    "WHOLE",
    "Contrast",
    "LevelRows",
    "Rows",
    "difference",
    "finding_of",
    "grid_of",
    "held_gate",
    "paired",
    "rate_of",
    "shown_same",
]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NAME = "self_conditioning"
HELD_BY = "heal_verified, reinject, window, restart"
LEAST = 3
"""Fewer items with what is needed: nothing is measured."""
MARGIN = 0.1
"""A loss of accuracy within this is as good as none."""
RATES = (0, 25, 50, 75, 100)
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference between conditions of the same items: the sum of ``plus`` less the sum of ``minus``.

    Attributes:
        said: what it is, as the subject of a sentence. ``base``: conditions in which the task must be off the floor.
    """

    name: str
    said: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    base: tuple[str, ...] = ("e0",)

    @property
    def conditions(self) -> tuple[str, ...]:
        """All that it is made of."""
        return (*self.plus, *self.minus)


CONTRASTS = (
    Contrast("loss", "Accuracy lost to a history in which every total is wrong", ("e0",), ("e100",)),
    Contrast("propagating", "Accuracy lost where every past update is wrong and totals go on from it", ("e0",), ("p100",)),
    Contrast(
        "attribution", "What is lost to errors as its own, beyond the same errors on a user's sheet,",
        ("e0", "user100"), ("e100", "user0"), ("e0", "user0"),
    ),
    Contrast(
        "attribution_tool", "What is lost to errors as its own, beyond the same errors printed by a program,",
        ("e0", "tool100"), ("e100", "tool0"), ("e0", "tool0"),
    ),
    Contrast("recency", "What late errors cost beyond as many early ones", ("early",), ("late",)),
    Contrast("format", "Accuracy lost to odd formats of right totals", ("e0",), ("format",)),
    Contrast("size", "What large errors cost beyond small ones", ("near",), ("far",)),
    Contrast("long_context", "Accuracy lost to a long history without any error", ("first",), ("e0",), ("first",)),
    Contrast(
        "worked", "What of the loss is gone where the sum is asked for in words",
        ("e0", "worked100"), ("e100", "worked0"), ("e0", "worked0"),
    ),
)  # fmt: skip


class Rows:
    """Scores by hold, level and condition."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str, str], dict[str, Scored]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.condition, s.cell.item)):
            self._at.setdefault((s.hold, s.cell.data["level"], s.cell.condition), {})[s.cell.item] = s

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _, _ in self._at} - {"none"})

    @property
    def levels(self) -> list[str]:
        """Those that were played."""
        return sorted({level for _, level, _ in self._at})

    def of(self, hold: str, level: str, *conditions: str) -> list[Scored]:
        """The scores of some conditions."""
        return [s for c in conditions for s in self._at.get((hold, level, c), {}).values()]

    def conditions(self, level: str) -> list[str]:
        """Conditions of a level with nothing done."""
        return sorted(c for h, x, c in self._at if h == "none" and x == level)

    def pairs(self, hold: str, level: str, condition: str, key: str = "local") -> dict[str, float]:
        """Item to its value, of those that have one."""
        found = self._at.get((hold, level, condition), {})
        return {item: float(s.values[key]) for item, s in found.items() if key in s.values}

    def contrast(self, hold: str, level: str, c: Contrast) -> dict[str, float]:
        """Item to its own difference, of those that have all conditions."""
        plus, minus = ([self.pairs(hold, level, k) for k in side] for side in (c.plus, c.minus))
        both = [i for i in (*plus, *minus)[0] if all(i in x for x in (*plus, *minus))]
        return {i: sum(x[i] for x in plus) - sum(x[i] for x in minus) for i in both}


def paired(a: Pairs, b: Pairs) -> tuple[Estimate, float]:
    """First rate minus second on the same items, Newcombe's interval and McNemar's exact p-value."""
    both = [i for i in a if i in b]
    x, y = np.array([a[i] for i in both]), np.array([b[i] for i in both])
    n11, n10, n01, n00 = (int(((x == i) & (y == j)).sum()) for i, j in ((1, 1), (1, 0), (0, 1), (0, 0)))
    return newcombe_paired(n11, n10, n01, n00), mcnemar_exact(n10, n01).p_value


def rate_of(x: Pairs) -> Estimate:
    """A rate with Wilson's interval."""
    return wilson(int(sum(x.values())), len(x))


def finding_of(
    name: str, scored: Sequence[Scored], estimates: dict[str, Estimate], verdict: str, p: dict[str, float] | None = None
) -> Finding:
    """A finding with what it took, which says so where choices were drawn."""
    drawn = any(s.values.get("exact") is False for s in scored)
    verdict += " Choices were drawn: the model gives no log-probabilities." if drawn else ""
    return Finding(name, estimates, verdict=verdict, cost=cost_of(scored), held_by=HELD_BY, p_values=p or {})


@dataclass(frozen=True, slots=True)
class LevelRows:
    """One level of one run, and what it takes to read anything from it."""

    rows: Rows
    level: str
    chance: float

    def name(self, measure: str, hold: str = "none") -> str:
        """Of a finding."""
        return f"{NAME}.{self.level}.{measure}" + ("" if hold == "none" else f".{hold}")

    def readable(self, name: str, hold: str, *conditions: str) -> Finding | None:
        """Why these conditions cannot be read, or None: too few, out of format, or options that are hardly ever said."""
        asked = self.rows.of(hold, self.level, *conditions)
        if (bad := validity(name, asked)) is not None:
            return bad
        for c in conditions:
            have, masses = (self.rows.pairs(hold, self.level, c, key) for key in ("local", "mass"))
            if len(have) < LEAST:
                return self.few(name, have)
            if masses and (middle := float(np.median(list(masses.values())))) < LEAST_MASS:
                return not_measurable(
                    name, f"the digits together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed"
                )
        return None

    def few(self, name: str, have: Iterable[object]) -> Finding:
        """Too few of something."""
        return not_measurable(name, f"{len(list(have))} items have what this needs, and {LEAST} must")

    def gate(self, name: str, c: Contrast) -> Finding | None:
        """Why a contrast means nothing with nothing done, or None."""
        for base in c.base:
            if (bad := self.readable(name, "none", base) or self.floor(name, base)) is not None:
                return bad
        if (bad := self.readable(name, "none", *c.conditions)) is not None:
            return bad
        return self.ceiling(name, c)

    def floor(self, name: str, condition: str) -> Finding | None:
        """A subject that does not do the task, or does not know what a word is worth."""
        x = list(self.rows.pairs("none", self.level, condition).values())
        right = int(sum(x))
        where = "on a sheet" if condition[:4] in ("user", "tool") else "with no error shown"
        if right / len(x) <= self.chance or exact_binomial(right, len(x), rate=self.chance).p_value > 0.05:
            return not_measurable(
                name,
                f"{where} {right} of {len(x)} updates are right, not clear of chance ({self.chance:.0%}): the floor",
            )
        known = self.rows.pairs("none", self.level, "first", "lookup")
        if len(known) >= LEAST:
            k = int(sum(known.values()))
            if k / len(known) <= self.chance or exact_binomial(k, len(known), rate=self.chance).p_value > 0.05:
                return not_measurable(
                    name, f"of {len(known)} words it can say what {k} are worth, not clear of chance: it does not read the rules"
                )  # fmt: skip
        return None

    def ceiling(self, name: str, c: Contrast) -> Finding | None:
        """A task in which not even nothing but wrong totals led to a mistake: it is too easy to lose anything."""
        conditions = {"e0", "e100", *c.conditions}
        every = [x for k in conditions for x in self.rows.pairs("none", self.level, k).values()]
        if every and min(every) == 1:
            return not_measurable(
                name, f"all {len(every)} updates are right, whatever was shown: the ceiling; a harder level is needed"
            )
        return None


def shown_same(a: Pairs, b: Pairs) -> bool:
    """Whether two rates on the same items are shown to differ by less than the margin."""
    both = [(a[i], b[i]) for i in a if i in b]
    table = [sum(1 for x in both if x == k) for k in ((1, 1), (1, 0), (0, 1), (0, 0))]
    return tost_proportion(*table, margin=MARGIN).verdict == "equivalent"


def grid_of(rows: Rows, hold: str, level: str) -> tuple[list[str], F64]:
    """Items with a reply at every rate of errors, and whether each was right: ``(items, rates)``."""
    every = [rows.pairs(hold, level, f"e{e}") for e in RATES]
    items = [i for i in every[0] if all(i in x for x in every)]
    return items, np.array([[x[i] for x in every] for i in items]).reshape(len(items), len(RATES))


DOSES = np.array(RATES) / 100
SLOPE = (DOSES - DOSES.mean()) / float(((DOSES - DOSES.mean()) ** 2).sum())
BEND = np.array([-0.5, 0.0, 1.0, 0.0, -0.5])
WHOLE = Contrast("dose", "", tuple(f"e{e}" for e in RATES), ())


def held_gate(at: LevelRows, name: str, hold: str, c: Contrast, *, ceiling: bool = True) -> Finding | None:
    """Why a contrast under a hold cannot be compared with nothing done, or None."""
    bad = at.gate(name, c) if ceiling else at.readable(name, "none", *c.conditions) or at.floor(name, "e0")
    return bad or at.readable(name, hold, *c.conditions)


def difference(name: str, mine: Pairs, base: Pairs, limit: float) -> tuple[Estimate, float]:
    """Mean over items of the change between two sides, and its p-value."""
    return of_items({i: mine[i] - base[i] for i in mine if i in base}, name, least=-limit, most=limit)
