"""A reply as a sequence of answers: what it states, where, in which span, and where one can be asked for on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from homing.hold.settled import ends, stated
from homing.instruments.reflection_items import DIGITS

__all__ = ["KINDS", "Kind", "Trace", "kind_of", "kinds_of", "looks_at"]

Kind = Literal["tt", "ff_same", "ff_other", "ft", "tf"]
KINDS: tuple[Kind, ...] = ("tt", "ff_same", "ff_other", "ft", "tf")
"""Right stays right, wrong stays the same, wrong becomes another wrong one, wrong becomes right, right becomes wrong."""
SPANS = ("thinking", "visible")


@dataclass(frozen=True, slots=True)
class Trace:
    """What a reply states.

    Attributes:
        said: every answer, in order. ``at``: share of the reply, 0 to 1, that has been said by then.
        spans: in which of :data:`SPANS` each stands. ``tokens``: of the whole reply. ``cut``: whether it was cut at its longest.
    """

    said: tuple[int, ...]
    at: tuple[float, ...]
    spans: tuple[str, ...]
    tokens: int
    cut: bool

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Trace:
        """From the record of a cell: ``text``, ``thinking``, ``tokens`` and ``finish``."""
        whole = [record["thinking"] or "", record["text"]]
        length = max(1, sum(len(x) for x in whole))
        said, at, spans, before = list[int](), list[float](), list[str](), 0
        for span, text in zip(SPANS, whole, strict=True):
            for s in stated(text, DIGITS):
                said.append(int(s.value))
                at.append((before + s.at) / length)
                spans.append(span)
            before += len(text)
        return cls(tuple(said), tuple(at), tuple(spans), int(record["tokens"]), record["finish"] == "length")

    @property
    def reflected(self) -> float:
        """Tokens behind the first answer."""
        return self.tokens * (1 - self.at[0]) if self.said else 0.0

    def within(self, span: str) -> tuple[int, ...]:
        """Answers of one span."""
        return tuple(a for a, s in zip(self.said, self.spans, strict=True) if s == span)


def kind_of(before: int, after: int, right: int) -> Kind:
    """What became of an answer."""
    if before == right:
        return "tt" if after == right else "tf"
    return "ft" if after == right else "ff_same" if after == before else "ff_other"


def kinds_of(said: Sequence[int], right: int) -> list[Kind]:
    """What became of each answer in the next one."""
    return [kind_of(a, b, right) for a, b in pairwise(said)]


def looks_at(thinking: str, text: str, most: int) -> list[tuple[str, float]]:
    """What has been said at the end of each sentence, and which share of the reply that is; nothing first, and at most so many.

    Where there are more sentences they are thinned evenly; the end of the reply is always among them.
    """
    length = max(1, len(thinking) + len(text))
    found = [("", 0.0)]
    found += [(thinking[:e], e / length) for e in ends(thinking)]
    glue = "\n\n" if thinking.strip() else ""
    found += [(f"{thinking}{glue}{text[:e]}", (len(thinking) + e) / length) for e in ends(text)]
    if len(found) <= most:
        return found
    kept = sorted({round(k * (len(found) - 1) / (most - 1)) for k in range(most)})
    return [found[k] for k in kept]
