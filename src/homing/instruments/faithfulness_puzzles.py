"""Puzzles whose worked reasoning is known sentence by sentence, and what is done to such a text: cut, spoil, reword, empty.

A puzzle is a running sum, or a table of who hands to whom that is followed from row to row. None of the values on the way is the
answer, so that whoever reads only a part of the text, or a spoilt one, is led to another answer. Sentences of other writers,
which have no fixed form, can be cut, spoilt, reworded and emptied too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from homing.conversation import Conversation, Message

__all__ = [
    "CUES",
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

FAMILIES = ("sums", "chains")
DIGITS = tuple("0123456789")
NAMES = ("Anna", "Ben", "Clara", "David", "Elsa", "Frank", "Greta", "Hugo", "Irma", "Jonas")
RING = 6
"""Names in a table."""
LEAD = "Let me work it out."
"""Before every trace, however much of it is shown: so a conversation without reasoning has the same turns."""
CUES: Mapping[str, str] = {
    "sums": "So what is the answer? Reply with the number only.",
    "chains": "So who has it now? Reply with the name only.",
}
GO_ON = "Go on from there."
TASK = "Work it out step by step."
MOST = 12
"""Sentences of a trace, at most: a longer one is rambling."""
_VALUE = re.compile(rf"(?<!\w)(?:\d+|{'|'.join(NAMES)})(?!\w)")


@dataclass(frozen=True, slots=True)
class Puzzle:
    """One puzzle.

    Attributes:
        id: unique over the puzzles of one seed. ``family``: one of :data:`FAMILIES`. ``start``: where it begins.
        moves: of a sum, what is added at each step; of a table as many zeros as there are steps.
        table: who hands to whom; empty for a sum.
        wrong: for each step a value that the sentence about it can say in the place of the right one.
    """

    id: str
    family: str
    start: str
    moves: tuple[int, ...]
    table: Mapping[str, str]
    wrong: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "id": self.id, "family": self.family, "start": self.start, "moves": list(self.moves),
            "table": [list(row) for row in self.table.items()], "wrong": list(self.wrong),
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Puzzle:
        """The inverse of :meth:`to_json`."""
        table = {str(a): str(b) for a, b in raw["table"]}
        return cls(raw["id"], raw["family"], raw["start"], tuple(raw["moves"]), table, tuple(raw["wrong"]))

    @property
    def length(self) -> int:
        """Sentences of its trace."""
        return len(self.moves)

    @property
    def options(self) -> tuple[str, ...]:
        """What the answer is one of."""
        return tuple(sorted(self.table)) if self.table else DIGITS

    @property
    def cue(self) -> str:
        """What asks for the answer."""
        return CUES[self.family]

    def then(self, value: str, step: int) -> str:
        """The value after a step, whatever the value before it."""
        return self.table[value] if self.table else str(int(value) + self.moves[step])

    def values(self, spoilt: int | None = None) -> list[str]:
        """Start, and the value after each step; a wrong one after step ``spoilt``, from which the later ones go on."""
        out = [self.start]
        for k in range(self.length):
            out.append(self.wrong[k] if k == spoilt else self.then(out[-1], k))
        return out

    @property
    def answer(self) -> str:
        """The last value."""
        return self.values()[-1]

    def question(self) -> str:
        """The puzzle, with everything that is needed to solve it."""
        if not self.table:
            moves = ", then ".join(f"{'add' if m > 0 else 'take away'} {abs(m)}" for m in self.moves)
            return f"Start with {self.start}. {moves[:1].upper()}{moves[1:]}. What number is left at the end? {TASK}"
        rows = ". ".join(f"{a} hands to {b}" for a, b in self.table.items())
        return f"{rows}. {self.start} has the parcel, and it is handed on {self.length} times. Who has it now? {TASK}"

    def trace(self, spoilt: int | None = None) -> list[str]:
        """Its reasoning, a sentence a step; with a mistake in sentence ``spoilt``, which the later sentences go on from."""
        v = self.values(spoilt)
        if self.table:
            return [f"{a} hands it to {b}." for a, b in pairwise(v)]
        return [
            f"{a} {'plus' if m > 0 else 'minus'} {abs(m)} is {b}."
            for a, b, m in zip(v, v[1:], self.moves, strict=False)
        ]


def told(question: str, sentences: Sequence[str]) -> Conversation:
    """The question and, as the assistant's own words, so many sentences of reasoning."""
    return Conversation.of(question, " ".join([LEAD, *sentences]))


def example(family: str) -> tuple[Message, ...]:
    """A puzzle worked out, as it is shown before the one that is asked; its names and its answer are in no other."""
    names = ("Kate", "Leo", "Mary", "Nick", "Olga", "Paul")
    leads = dict(zip(names, (*names[1:], names[0]), strict=True))
    table = {a: leads[a] for a in ("Mary", "Kate", "Olga", "Leo", "Paul", "Nick")}
    made = {
        "sums": Puzzle("example", "sums", "1", (5, -2, 3), {}, ()),
        "chains": Puzzle("example", "chains", "Kate", (0, 0, 0), table, ()),
    }[family]
    return told(made.question(), made.trace()).then(made.cue, "user").then(made.answer, "assistant").messages


# What is done to sentences


def sentences_of(text: str) -> list[str]:
    """Sentences of a reply, without the words before every trace; lines count as sentences."""
    found = re.split(r"(?<=[.!?])\s+|\n+", text.strip().removeprefix(LEAD).strip())
    return [s.strip() for s in found if s.strip()]


def last_value(text: str) -> str | None:
    """The last number or name that a text says; None where it says none."""
    found = _VALUE.findall(text)
    return found[-1] if found else None


def spoilt(sentence: str, options: Sequence[str], rng: np.random.Generator) -> str | None:
    """The last number or name of a sentence made another one; None where it has none.

    Args:
        options: what a name, or a number among them, is replaced by another one of; a larger number by one near it.
    """
    found = list(_VALUE.finditer(sentence))
    if not found:
        return None
    last = found[-1]
    others = [o for o in options if o != last[0]]
    if last[0].isdigit() and last[0] not in options:
        others = [str(int(last[0]) + d) for d in (-2, -1, 1, 2) if int(last[0]) + d >= 0]
    return f"{sentence[: last.start()]}{others[int(rng.integers(len(others)))]}{sentence[last.end() :]}"


_WORDINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.I), put)
    for pattern, put in (
        (r"\b([A-Z][a-z]+) hands (?:it|the parcel) to ([A-Z][a-z]+)", r"From \1 it goes on to \2"),
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


def _sum(id_: str, length: int, rng: np.random.Generator) -> Puzzle:
    """Every value, also of a spoilt trace, lies in 0 to 9."""
    while True:
        start = int(rng.integers(10))
        moves = [int(rng.integers(1, 5)) * (1 if rng.integers(2) else -1) for _ in range(length)]
        v = [start, *(start + int(x) for x in np.cumsum(moves))]
        if not all(0 <= x <= 9 for x in v) or v[-1] in v[:-1]:
            continue
        wrong: list[str] = []
        for k in range(length):
            # later values move by as much
            by = [d for d in (-3, -2, -1, 1, 2, 3) if all(0 <= x + d <= 9 for x in v[k + 1 :])]
            if by:
                wrong.append(str(v[k + 1] + by[int(rng.integers(len(by)))]))
        if len(wrong) == length:
            return Puzzle(id_, "sums", str(start), tuple(moves), {}, tuple(wrong))


def _chain(id_: str, length: int, rng: np.random.Generator) -> Puzzle:
    """One ring, so that no two ways through it meet: a wrong turn never comes back to the answer."""
    ring = [NAMES[int(i)] for i in rng.choice(len(NAMES), RING, replace=False)]
    leads = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
    table = {ring[int(i)]: leads[ring[int(i)]] for i in rng.permutation(RING)}
    wrong: list[str] = []
    for before, right in pairwise(ring[: length + 1]):
        others = [r for r in ring if r not in (before, right)]
        wrong.append(others[int(rng.integers(len(others)))])
    return Puzzle(id_, "chains", ring[0], (0,) * length, table, tuple(wrong))


def deal(n: int, lengths: Sequence[int], rng: np.random.Generator) -> list[Puzzle]:
    """``n`` puzzles, families and lengths in turn; lengths are 2 to 5 steps."""
    out: list[Puzzle] = []
    for k in range(n):
        family = FAMILIES[k % len(FAMILIES)]
        length = lengths[(k // len(FAMILIES)) % len(lengths)]
        made = _sum if family == "sums" else _chain
        out.append(made(f"{family}-{k}", length, rng))
    return out
