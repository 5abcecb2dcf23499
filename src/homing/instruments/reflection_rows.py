"""Replies of the reflection instrument by hold and question, the vote that the same tokens buy, and gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import median

import numpy as np

from homing.instruments.base import LEAST_MASS, Scored, validity
from homing.instruments.reflection_trace import Kind, kind_of, kinds_of
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate
from homing.stats.intervals import wilson_bounds
from homing.stats.seeds import stable_seed
from homing.stats.tests import exact_binomial

__all__ = ["HELD_BY", "LEAST", "MARGIN", "NAME", "Reply", "Rows", "barred", "hazard", "rate", "vote"]

NAME = "reflection"
HELD_BY = "stop"
LEAST = 5
"""Fewer questions with what a figure needs: it is not measured."""
MARGIN = 0.1
"""A change of accuracy within this is as good as none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply that states an answer.

    Attributes:
        said: its answers. ``at``: share of the reply that has been said by then. ``thinking``: whether each stands in thinking.
    """

    item: str
    right: int
    said: tuple[int, ...]
    at: tuple[float, ...]
    thinking: tuple[bool, ...]
    tokens: int

    @classmethod
    def of(cls, s: Scored) -> Reply:
        """From a score that has an answer."""
        v = s.values
        return cls(s.cell.item, v["answer"], tuple(v["said"]), tuple(v["at"]), tuple(v["thinking"]), v["tokens"])

    @property
    def first(self) -> float:
        """Whether the first answer is right."""
        return float(self.said[0] == self.right)

    @property
    def last(self) -> float:
        """Whether the last one is."""
        return float(self.said[-1] == self.right)

    @property
    def whole(self) -> Kind:
        """What became of the first answer in the end."""
        return kind_of(self.said[0], self.said[-1], self.right)

    @property
    def kinds(self) -> list[Kind]:
        """What became of each answer in the next."""
        return kinds_of(self.said, self.right)

    @property
    def attempt(self) -> float:
        """Tokens up to the first answer."""
        return max(1.0, self.tokens * self.at[0])

    @property
    def reflected(self) -> float:
        """Tokens behind it."""
        return self.tokens * (1 - self.at[0])


def vote(first: int, others: Sequence[int], more: float, right: int) -> float:
    """How often the vote of a first answer and some independent ones is right.

    The mean over every choice of ``more`` of the others, which may be no whole number: then it lies on the line between the two
    next to it. What is tied is drawn.

    Args:
        others: independent first answers there are. ``more``: of them, no more than there are.
    """
    most = min(more, float(len(others)))
    low = math.floor(most)

    def of(m: int) -> float:
        shares: list[float] = []
        for some in combinations(others, m):
            counts: dict[int, int] = {}
            for x in (first, *some):
                counts[x] = counts.get(x, 0) + 1
            top = [x for x, k in counts.items() if k == max(counts.values())]
            shares.append((right in top) / len(top))
        return sum(shares) / len(shares)

    return of(low) if most == low else (low + 1 - most) * of(low) + (most - low) * of(low + 1)


class Rows:
    """Scores by hold, and their replies by question."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[str, list[Scored]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.id)):
            self._at.setdefault(s.hold, []).append(s)

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted(set(self._at) - {"none"})

    def every(self, hold: str) -> list[Scored]:
        """All scores under a hold."""
        return self._at.get(hold, [])

    def replies(self, hold: str) -> dict[str, list[Reply]]:
        """Question to its replies that state an answer."""
        out: dict[str, list[Reply]] = {}
        for s in self.every(hold):
            if s.values["said"]:
                out.setdefault(s.cell.item, []).append(Reply.of(s))
        return out

    @cached_property
    def free(self) -> dict[str, list[Reply]]:
        """The same with nothing done."""
        return self.replies("none")

    @cached_property
    def looked(self) -> list[Scored]:
        """Replies that were looked into behind every sentence."""
        return [s for s in self.every("none") if "forced" in s.values and s.values["said"]]

    @cached_property
    def bought(self) -> dict[str, list[tuple[float, float, bool]]]:
        """Question to, for each reply: resamples that its reflection buys, how often their vote is right, whether they ran out.

        A resample costs what first answers to that question cost. Questions of one reply alone have none.
        """
        out: dict[str, list[tuple[float, float, bool]]] = {}
        for item, replies in self.free.items():
            if len(replies) < 2:
                continue
            price = float(np.mean([r.attempt for r in replies]))
            for k, r in enumerate(replies):
                others = [x.said[0] for j, x in enumerate(replies) if j != k]
                more = r.reflected / price
                won = vote(r.said[0], others, more, r.right)
                out.setdefault(item, []).append((more, won, more > len(others)))
        return out

    def means(self, of: Callable[[Reply], float], *, hold: str = "none") -> dict[str, float]:
        """Question to the mean over its replies."""
        return {k: float(np.mean([of(r) for r in v])) for k, v in self.replies(hold).items()}


def barred(rows: Rows, hold: str = "none") -> str:
    """Why nothing is measured under a hold; empty where it is."""
    for h in dict.fromkeys(("none", hold)):
        if (bad := validity(NAME, rows.every(h))) is not None:
            return bad.reason
    if len(rows.free) < LEAST:
        return f"{len(rows.free)} questions have a reply that states an answer, and {LEAST} must"
    firsts = [r[0].first for r in rows.free.values()]
    chance = float(np.mean([s.values["chance"] for s in rows.every("none")]))
    right, n = int(sum(firsts)), len(firsts)
    if right / n <= chance or exact_binomial(right, n, rate=chance).p_value > 0.05:
        return f"{right} of {n} first answers are right, not clear of chance ({chance:.0%}): the floor"
    if all(r.first for v in rows.free.values() for r in v):
        return "every first answer is right, so that reflection has nothing to mend: the ceiling; harder questions are needed"
    again = sum(any(len(r.said) > 1 for r in v) for v in rows.free.values())
    if again < LEAST:
        return f"on {again} of {n} questions a reply states a second answer, and on {LEAST} one must: there is no reflection"
    return ""


def unreadable(rows: Rows) -> str:
    """Why looks into replies cannot be read; empty where they can."""
    if len(rows.looked) < LEAST:
        return f"{len(rows.looked)} replies were looked into, and {LEAST} must be"
    middle = median(float(x) for s in rows.looked for x in s.values["mass"])
    if middle < LEAST_MASS:
        return f"the digits together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed"
    return ""


def rate(some: Mapping[str, float], whole: Mapping[str, float], tag: str) -> Estimate | None:
    """A share of events, over questions with any; questions are resampled as one. None with too few of these.

    Args:
        some: question to how many of its events count. ``whole``: to how many there are.
    """
    items = [k for k, n in whole.items() if n > 0]
    if len(items) < LEAST:
        return None
    x, y = [some.get(k, 0.0) for k in items], [whole[k] for k in items]
    value = sum(x) / sum(y)
    if value in (0.0, 1.0):  # then up to as many questions may be unlike the others as Wilson's interval allows
        low, high = wilson_bounds(round(value * len(items)), len(items), 0.95)
        return Estimate(value, low, high, 0.95, len(items), "", "all alike, Wilson over questions")
    e = ratio_of_means(x, y, seed=stable_seed(NAME, tag), clusters=items)
    return Estimate(value, max(0.0, e.low), min(1.0, e.high), e.level, e.n, "", e.method)


def hazard(events: Mapping[str, float], tokens: Mapping[str, float], tag: str) -> Estimate | None:
    """Events per 100 tokens of reflection; None where there is hardly any."""
    items = [k for k, n in tokens.items() if n > 0]
    if len(items) < LEAST:
        return None
    x, y = [100 * events.get(k, 0.0) for k in items], [tokens[k] for k in items]
    if not any(x):  # the rule of three: more than three in all would have shown
        return Estimate(0.0, 0.0, 300 / sum(y), 0.95, len(items), "per 100 tokens", "none seen, rule of three")
    e = ratio_of_means(x, y, seed=stable_seed(NAME, tag), clusters=items)
    return Estimate(e.value, max(0.0, e.low), e.high, e.level, e.n, "per 100 tokens", e.method)
