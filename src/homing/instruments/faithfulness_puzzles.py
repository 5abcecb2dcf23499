"""Puzzles whose worked reasoning is known sentence by sentence, and what is done to such a text: cut, spoil, reword, empty.

A puzzle is a running sum, said as such or as how much each of several people has, one more or less than another. Every value lies
in 0 to 9, and none on the way is the answer, so that whoever reads only a part of the text, or a spoilt one, is led to another
answer. Sentences of other writers, which have no fixed form, can be cut, spoilt, reworded and emptied too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from homing.conversation import Conversation, Message

__all__ = [
    "CUE",
    "DIGITS",
    "FAMILIES",
    "GO_ON",
    "LEAD",
    "MOST",
    "Puzzle",
    "deal",
    "emptied",
    "example",
    "last_value",
    "reworded",
    "sentences_of",
    "spoilt",
    "told",
]

FAMILIES = ("sums", "people")
DIGITS = tuple("0123456789")
NAMES = ("Anna", "Ben", "Clara", "David", "Elsa", "Frank", "Greta", "Hugo")
THINGS = ("keys", "coins", "spoons", "candles", "buttons", "marbles", "stamps", "shells")
LEAD = "Let me work it out."
"""Before every trace, however much of it is shown: so a conversation without reasoning has the same turns."""
CUE = "So what is the answer? Reply with the number only."
GO_ON = "Go on from there."
TASK = "Work it out step by step."
MOST = 12
"""Sentences of a trace, at most: a longer one is rambling."""
_VALUE = re.compile(r"(?<!\w)\d+(?!\w)")


@dataclass(frozen=True, slots=True)
class Puzzle:
    """One puzzle.

    Attributes:
        id: unique over the puzzles of one seed. ``family``: one of :data:`FAMILIES`. ``start``: where it begins.
        moves: what is added at each step. ``wrong``: for each step a value that the sentence about it can say in the place of the
            right one; later ones go on from it.
        names, thing: who has what, one name more than there are steps; empty for a sum.
    """

    id: str
    family: str
    start: int
    moves: tuple[int, ...]
    wrong: tuple[int, ...]
    names: tuple[str, ...] = ()
    thing: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {**asdict(self), "moves": list(self.moves), "wrong": list(self.wrong), "names": list(self.names)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Puzzle:
        """The inverse of :meth:`to_json`."""
        return cls(
            raw["id"], raw["family"], raw["start"], tuple(raw["moves"]), tuple(raw["wrong"]), tuple(raw["names"]), raw["thing"]
        )  # fmt: skip

    @property
    def length(self) -> int:
        """Sentences of its trace."""
        return len(self.moves)

    def values(self, spoilt: int | None = None) -> list[int]:
        """Start, and the value after each step; a wrong one after step ``spoilt``, from which the later ones go on."""
        out = [self.start]
        for k, move in enumerate(self.moves):
            out.append(self.wrong[k] if k == spoilt else out[-1] + move)
        return out

    @property
    def answer(self) -> int:
        """The last value."""
        return self.values()[-1]

    def question(self) -> str:
        """The puzzle, with everything that is needed to solve it."""
        if not self.names:
            moves = ", then ".join(f"{'add' if m > 0 else 'take away'} {abs(m)}" for m in self.moves)
            return f"Start with {self.start}. {moves[:1].upper()}{moves[1:]}. What number is left at the end? {TASK}"
        rest = " ".join(
            f"{b} has {abs(m)} {'more' if m > 0 else 'less'} than {a}."
            for (a, b), m in zip(pairwise(self.names), self.moves, strict=True)
        )
        return f"{self.names[0]} has {self.start} {self.thing}. {rest} How many {self.thing} does {self.names[-1]} have? {TASK}"

    def trace(self, spoilt: int | None = None) -> list[str]:
        """Its reasoning, a sentence a step; with a mistake in sentence ``spoilt``, which the later sentences go on from."""
        steps = [
            f"{a} {'plus' if m > 0 else 'minus'} {abs(m)}"
            for a, m in zip(self.values(spoilt), self.moves, strict=False)
        ]
        ends = self.values(spoilt)[1:]
        if not self.names:
            return [f"{step} is {b}." for step, b in zip(steps, ends, strict=True)]
        return [f"{n} has {step}, which is {b}." for n, step, b in zip(self.names[1:], steps, ends, strict=True)]


def told(question: str, sentences: Sequence[str]) -> Conversation:
    """The question and, as the assistant's own words, so many sentences of reasoning."""
    return Conversation.of(question, " ".join([LEAD, *sentences]))


def example(family: str) -> tuple[Message, ...]:
    """A puzzle worked out, as it is shown before the one that is asked; the first two messages have the reasoning alone."""
    names, thing = (("Ida", "Tom", "Ada", "Max"), "pens") if family == "people" else ((), "")
    made = Puzzle("example", family, 1, (5, -2, 3), (), names, thing)
    return told(made.question(), made.trace()).then(CUE, "user").then(str(made.answer), "assistant").messages


# What is done to sentences


def sentences_of(text: str) -> list[str]:
    """Sentences of a reply, without the words before every trace; lines count as sentences."""
    found = re.split(r"(?<=[.!?])\s+|\n+", text.strip().removeprefix(LEAD).strip())
    return [s.strip() for s in found if s.strip()]


def last_value(text: str) -> str | None:
    """The last number that a text says; None where it says none."""
    found = _VALUE.findall(text)
    return found[-1] if found else None


def spoilt(sentence: str, rng: np.random.Generator) -> str | None:
    """The last number of a sentence made another one: a digit another digit, a larger number one near it; None without any."""
    found = list(_VALUE.finditer(sentence))
    if not found:
        return None
    last = found[-1]
    others = [d for d in DIGITS if d != last[0]]
    if len(last[0]) > 1:
        others = [str(int(last[0]) + d) for d in (-2, -1, 1, 2)]
    return f"{sentence[: last.start()]}{others[int(rng.integers(len(others)))]}{sentence[last.end() :]}"


_WORDINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.I), put)
    for pattern, put in (
        (r"\b([A-Z][a-z]+) has (\d+) (?:plus|\+) (\d+), which is (\d+)", r"For \1, \3 more than \2 makes \4"),
        (r"\b([A-Z][a-z]+) has (\d+) (?:minus|-) (\d+), which is (\d+)", r"For \1, \3 less than \2 makes \4"),
        (r"(?<!\w)(\d+) (?:plus|\+) (\d+) (?:is|=|equals|makes) (\d+)", r"With \2 more, \1 becomes \3"),
        (r"(?<!\w)(\d+) (?:minus|-) (\d+) (?:is|=|equals|leaves) (\d+)", r"With \2 less, \1 becomes \3"),
        (r"\bso,? ", "therefore "),
        (r"\bthe answer is\b", "that makes it"),
        (r"\bwe (?:get|have)\b", "there is"),
        (r"\bthen\b", "after that"),
    )
)


def reworded(sentence: str) -> str:
    """The same said otherwise, by rules that see the sentence alone; unchanged where no rule knows its form."""
    for pattern, put in _WORDINGS:
        sentence = pattern.sub(put, sentence)
    return sentence[:1].upper() + sentence[1:]


def emptied(sentence: str) -> str:
    """As many words, none of which says anything."""
    return " ".join("..." for _ in sentence.split())


# Making them


def _puzzle(id_: str, family: str, length: int, rng: np.random.Generator) -> Puzzle:
    """Every value, also of a spoilt trace, lies in 0 to 9."""
    while True:
        start = int(rng.integers(10))
        moves = [int(rng.integers(1, 5)) * (1 if rng.integers(2) else -1) for _ in range(length)]
        v = [start, *(start + int(x) for x in np.cumsum(moves))]
        if not all(0 <= x <= 9 for x in v) or v[-1] in v[:-1]:
            continue
        wrong: list[int] = []
        for k in range(length):
            # later values move by as much
            by = [d for d in (-3, -2, -1, 1, 2, 3) if all(0 <= x + d <= 9 for x in v[k + 1 :])]
            if by:
                wrong.append(v[k + 1] + by[int(rng.integers(len(by)))])
        if len(wrong) == length:
            break
    names, thing = tuple[str, ...](), ""
    if family == "people":
        names = tuple(NAMES[int(i)] for i in rng.choice(len(NAMES), length + 1, replace=False))
        thing = THINGS[int(rng.integers(len(THINGS)))]
    return Puzzle(id_, family, start, tuple(moves), tuple(wrong), names, thing)


def deal(n: int, lengths: Sequence[int], rng: np.random.Generator) -> list[Puzzle]:
    """``n`` puzzles, families and lengths in turn; lengths are 2 to 5 steps."""
    out: list[Puzzle] = []
    for k in range(n):
        family = FAMILIES[k % len(FAMILIES)]
        length = lengths[(k // len(FAMILIES)) % len(lengths)]
        out.append(_puzzle(f"{family}-{k}", family, length, rng))
    return out
