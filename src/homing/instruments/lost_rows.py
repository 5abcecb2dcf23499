"""Scores of the lost-in-conversation instrument by hold, level, condition and task, and what it takes to read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import LEAST_MASS, Scored, not_measurable, validity
from homing.instruments.item_figures import Pairs, cost_of
from homing.stats.estimate import Estimate, Finding
from homing.stats.tests import exact_binomial

__all__ = [
    "BASE",
    "HELD_BY",
    "LEAST",
    "MARGIN",
    "NAME",
    "LevelRows",
    "Rows",
    "View",
    "held_gate",
    "minus",
    "said_clear",
    "too_few",
]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NAME = "lost_in_conversation"
HELD_BY = "mediate, user_concat, snowball, recap"
LEAST = 3
"""Fewer tasks with what is needed: nothing is measured."""
MARGIN = 0.1
"""A loss within this is as good as none."""
TOP = 0.99
"""A mean probability of the right candidate over which nothing is left to lose."""


BASE = ("full", "concat", "sharded")


class Rows:
    """Scores by hold, level, condition and task, run by run."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str, str], dict[str, list[Scored]]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.condition, s.cell.item, s.values["run"])):
            key = (s.hold, s.cell.data["level"], s.cell.condition)
            self._at.setdefault(key, {}).setdefault(s.cell.item, []).append(s)

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _, _ in self._at} - {"none"})

    @property
    def levels(self) -> list[str]:
        """Those that were played, easiest first."""
        order = ("tiny", "easy", "medium", "hard")
        return sorted({level for _, level, _ in self._at}, key=lambda x: order.index(x) if x in order else 9)

    def conditions(self, level: str) -> list[str]:
        """Conditions of a level with nothing done."""
        return sorted(c for h, x, c in self._at if h == "none" and x == level)

    def tasks(self, hold: str, level: str, condition: str) -> dict[str, list[Scored]]:
        """Task to the scores of its runs."""
        return self._at.get((hold, level, condition), {})


@dataclass(frozen=True, slots=True)
class View:
    """One level under one hold, and how answers are read.

    Attributes:
        families: that can be read. ``key``: ``p``, by log-probability, or ``right``, in words.
    """

    rows: Rows
    level: str
    hold: str
    families: frozenset[str]
    key: str = "p"

    def under(self, hold: str) -> View:
        """The same under another hold."""
        return View(self.rows, self.level, hold, self.families, self.key)

    def scored(self, *conditions: str) -> list[Scored]:
        """All scores of some conditions."""
        every = [self.rows.tasks(self.hold, self.level, c) for c in conditions]
        return [s for tasks in every for runs in tasks.values() for s in runs if s.cell.data["family"] in self.families]

    def runs(self, condition: str, key: str = "") -> dict[str, list[float]]:
        """Task to the values of its runs that have one."""
        out: dict[str, list[float]] = {}
        for s in self.scored(condition):
            if (key or self.key) in s.values:
                out.setdefault(s.cell.item, []).append(float(s.values[key or self.key]))
        return out

    def mean(self, condition: str, key: str = "") -> dict[str, float]:
        """Task to the mean of its runs."""
        return {k: sum(x) / len(x) for k, x in self.runs(condition, key).items()}

    def less(self, a: str, b: str, key: str = "") -> dict[str, float]:
        """Task to its own difference between two conditions."""
        return minus(self.mean(a, key), self.mean(b, key))


def minus(a: Pairs, b: Pairs) -> dict[str, float]:
    """The difference on what both have."""
    return {k: a[k] - b[k] for k in a if k in b}


def too_few(name: str, have: Iterable[object]) -> Finding:
    """Too few of something."""
    return not_measurable(name, f"{len(list(have))} tasks have what this needs, and {LEAST} must")


@dataclass(frozen=True, slots=True)
class LevelRows:
    """One level of one run: families that can be read, why others cannot, and what is asked before anything is said."""

    rows: Rows
    level: str
    view: View
    left_out: Mapping[str, float]

    @classmethod
    def of(cls, rows: Rows, level: str) -> LevelRows:
        """Leaves out families whose candidates are hardly ever said: a matter of form, looked at before any score."""
        masses: dict[str, list[float]] = {}
        for c in BASE:
            for runs in rows.tasks("none", level, c).values():
                for s in runs:
                    masses.setdefault(str(s.cell.data["family"]), []).extend(
                        [float(s.values["mass"])] if "mass" in s.values else []
                    )
        middle = {f: float(np.median(x)) for f, x in masses.items() if x}
        out = {f: m for f, m in middle.items() if m < LEAST_MASS}
        kept = frozenset(masses) - (frozenset(out) if len(out) < len(middle) else frozenset())
        return cls(rows, level, View(rows, level, "none", kept), out)

    def name(self, measure: str, hold: str = "none") -> str:
        """Of a finding."""
        return f"{NAME}.{self.level}.{measure}" + ("" if hold == "none" else f".{hold}")

    def readable(self, name: str, v: View, *conditions: str) -> Finding | None:
        """Why these conditions cannot be read, or None: too few, out of format, or candidates that are hardly ever said."""
        for c in conditions:
            have = v.mean(c)
            if v.key == "p":
                masses = [float(s.values["mass"]) for s in v.scored(c) if "mass" in s.values]
                if masses and (middle := float(np.median(masses))) < LEAST_MASS:
                    return not_measurable(
                        name, f"the candidates together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed"
                    )  # fmt: skip
            elif (bad := validity(name, v.scored(c))) is not None:
                return bad
            if len(have) < LEAST:
                return too_few(name, have)
        return None

    def gate(self, name: str, v: View, *conditions: str) -> Finding | None:
        """Why a figure means nothing with nothing done: it cannot be read, or the task is not done even when said at once."""
        bad = self.readable(name, v, "full", "sharded", *conditions) or self.floor(name, v)
        return bad or self.ceiling(name, v)

    def floor(self, name: str, v: View) -> Finding | None:
        """A subject that does not do the task when it is said at once; it may not have understood it."""
        first = [s for s in v.scored("full") if s.values["run"] in ("p0", "w0")]
        key = "top" if v.key == "p" else "right"
        have = [(float(s.values[key]), float(s.values["chance"])) for s in first if key in s.values]
        right, n = int(sum(x for x, _ in have)), len(have)
        chance = float(np.mean([c for _, c in have])) if have else 0.0
        if not have or right / n <= chance or exact_binomial(right, n, rate=chance).p_value > 0.05:
            return not_measurable(
                name, f"said at once {right} of {n} tasks are done right, not clear of chance ({chance:.0%}): the floor"
            )
        return None

    def ceiling(self, name: str, v: View) -> Finding | None:
        """A task so easy that not even bit by bit anything goes wrong."""
        means = [x for c in ("full", "sharded") for x in v.mean(c).values()]
        if means and min(means) >= TOP:
            return not_measurable(
                name,
                f"all {len(v.mean('sharded'))} tasks are done right however they are said: the ceiling; take a harder level",
            )
        return None

    def told(self, v: View) -> str:
        """How answers were read."""
        if v.key == "right":
            return " Read from replies in words."
        drawn = any(s.values.get("exact") is False for s in v.scored("full", "sharded"))
        how = "from drawn choices among" if drawn else "by log-probability over"
        out = ", ".join(f"{f} ({m:.2f})" for f, m in sorted(self.left_out.items()) if f not in v.families)
        return f" Read {how} candidate answers." + (
            f" Left out, their candidates are hardly ever said: {out}." if out else ""
        )

    def found(
        self, name: str, v: View, conditions: Sequence[str], estimates: Mapping[str, Estimate], verdict: str,
        p: Mapping[str, float] | None = None,
    ) -> Finding:  # fmt: skip
        """A finding, with how it was read."""
        cost, said = cost_of(v.scored(*conditions)), f"{verdict}{self.told(v)}"
        return Finding(name, dict(estimates), verdict=said, cost=cost, held_by=HELD_BY, p_values=dict(p or {}))


def said_clear(e: Estimate) -> str:
    """Whether an interval leaves 0 out, in words."""
    return "clear of nothing" if e.low > 0 or e.high < 0 else "not clear of nothing"


def held_gate(at: LevelRows, name: str, v: View, held: View, *conditions: str, ceiling: bool = True) -> Finding | None:
    """Why a hold cannot be compared with nothing done, or None."""
    bad = at.readable(name, v, "full", *conditions) or at.floor(name, v)
    bad = bad or (at.ceiling(name, v) if ceiling else None)
    return bad or at.readable(name, held, *conditions)
