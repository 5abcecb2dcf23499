"""Questions with one right answer among four, from easy to hard, and how an answer and a confidence are asked for.

Each of four kinds has four levels, so that a model of any size is right in some and wrong in others: a set that is all right or
all wrong says nothing of confidence. What lies in a box is supplied in the conversation; the rest is sums, calendar and order.
The four answers have one form and length, since the readout is the probability of each as a whole reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from homing.conversation import Conversation, Message
from homing.errors import InputError
from homing.stats.seeds import stable_seed

__all__ = ["ASK_SURE", "FAMILIES", "LEVELS", "MOST", "OPTIONS", "Item", "deal", "examples"]

FAMILIES = ("boxes", "sums", "days", "largest")
LEVELS = (1, 2, 3, 4)
OPTIONS = 4
MOST = 400
"""Items there are: of the easiest kinds not many more are different."""
ASK_SURE = "How likely is it that your answer is right? Reply with a percentage alone, from 0% to 100%."
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
COLOURS = (
    "red", "blue", "green", "white", "black", "brown", "yellow", "pink", "grey", "orange", "purple", "silver",
)  # fmt: skip
THINGS = (
    "coin", "key", "ring", "lamp", "book", "shoe", "bell", "cup", "spoon", "hat", "rope", "clock", "knife", "plate", "glove",
    "candle",
)  # fmt: skip
BOXES: Mapping[int, int] = {1: 2, 2: 4, 3: 8, 4: 12}
"""Boxes of each level; where they are fewer than answers, the others are in none of them."""
AHEAD: Mapping[int, tuple[int, int]] = {1: (1, 2), 2: (2, 4), 3: (8, 21), 4: (30, 100)}
"""Days ahead of each level, least and most."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question.

    Attributes:
        id: unique in a deal. ``family``, ``level``: kind and difficulty. ``question``: as it is asked.
        options: four different answers of one form. ``right``: index of the right one.
        half: 0 or 1; what is fitted on one half is scored on the other. Fixed before anything is asked.
    """

    id: str
    family: str
    level: int
    question: str
    options: tuple[str, ...]
    right: int
    half: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "options": list(self.options)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Item:
        """The inverse of :meth:`to_json`."""
        return cls(
            raw["id"], raw["family"], raw["level"], raw["question"], tuple(raw["options"]), raw["right"], raw["half"]
        )  # fmt: skip

    def asked(self) -> Conversation:
        """The question, to be answered."""
        return Conversation.of(_asked(self.question, self.options))

    def answered(self, option: int) -> Conversation:
        """The question with one of the answers given, and how likely it is to be right."""
        return self.asked().then(self.options[option], "assistant").then(ASK_SURE, "user")


def _boxes(level: int, rng: np.random.Generator) -> tuple[str, list[str]]:
    n = BOXES[level]
    colours, things = rng.permutation(COLOURS)[:n].tolist(), rng.permutation(THINGS)[:n].tolist()
    told = " ".join(f"The {c} box holds a {t}." for c, t in zip(colours, things, strict=True))
    at = int(rng.integers(n))
    boxed = rng.permutation([t for k, t in enumerate(things) if k != at]).tolist()
    wrong = [*boxed, *rng.permutation([t for t in THINGS if t not in things]).tolist()][: OPTIONS - 1]
    return f"{told} What does the {colours[at]} box hold?", [things[at], *wrong]


def _sums(level: int, rng: np.random.Generator) -> tuple[str, list[str]]:
    low, high, terms = {1: (2, 10, 2), 2: (11, 45, 2), 3: (101, 320, 3), 4: (23, 98, 2)}[level]
    x = [int(v) for v in rng.integers(low, high, terms)]
    total = x[0] * x[1] if level == 4 else sum(x)
    near = [total + d for d in ((-3, -2, -1, 1, 2, 3) if level == 1 else (-20, -11, -10, -1, 1, 10, 11, 20))]
    wrong = rng.permutation([v for v in near if v > 0 and len(str(v)) == len(str(total))])
    return f"What is {(' times ' if level == 4 else ' plus ').join(map(str, x))}?", [
        str(total), *map(str, wrong[: OPTIONS - 1].tolist()),
    ]  # fmt: skip


def _days(level: int, rng: np.random.Generator) -> tuple[str, list[str]]:
    low, high = AHEAD[level]
    start, n, back = int(rng.integers(7)), int(rng.integers(low, high + 1)), bool(rng.integers(2))
    right = DAYS[(start + (-n if back else n)) % 7]
    wrong = rng.permutation([d for d in DAYS if d != right])[: OPTIONS - 1].tolist()
    days = f"{n} day{'s' if n > 1 else ''}"
    when = f"What day was it {days} ago?" if back else f"What day is it {days} from now?"
    return f"Today is {DAYS[start]}. {when}", [right, *wrong]


def _largest(level: int, rng: np.random.Generator) -> tuple[str, list[str]]:
    if level == 4:
        every = [(a, b) for b in range(3, 10) for a in range(1, b)]
        while True:
            taken = [every[int(k)] for k in rng.choice(len(every), OPTIONS, replace=False)]
            taken.sort(key=lambda f: -f[0] / f[1])
            if taken[0][0] * taken[1][1] > taken[1][0] * taken[0][1]:  # no two are largest
                break
        values = [f"{a}/{b}" for a, b in taken]
    else:
        start, width = {1: (11, 88), 2: (110, 880), 3: (1000, 8999)}[level]
        if level == 1:
            numbers = rng.choice(np.arange(start, start + width), OPTIONS, replace=False)
        else:  # all within a short stretch, so that the first digit does not tell
            low = int(rng.integers(start, start + width - 40))
            numbers = rng.choice(np.arange(low, low + 40), OPTIONS, replace=False)
        values = [str(v) for v in sorted(numbers.tolist(), reverse=True)]
    return "Which number is the largest?", values


_MAKERS = {"boxes": _boxes, "sums": _sums, "days": _days, "largest": _largest}


def deal(n: int, seed: int) -> list[Item]:
    """Items, families and levels in turn, no question twice; the halves are of the same families and levels.

    Args:
        n: how many, up to :data:`MOST`. ``seed``: of all that is drawn; the first of a longer deal are those of a shorter one.
    """
    if not 1 <= n <= MOST:
        raise InputError(f"{n} items are asked for; there are from 1 to {MOST}")
    kinds = [(f, x) for x in LEVELS for f in FAMILIES]
    out, seen, k = list[Item](), set[str](), 0
    rounds = np.random.default_rng(stable_seed("calibration", "halves", seed))
    half: dict[int, list[int]] = {}
    while len(out) < n:
        index = len(out)
        family, level = kinds[index % len(kinds)]
        pair = index // (2 * len(kinds))
        if pair not in half:
            half[pair] = [int(b) for b in rounds.integers(0, 2, len(kinds))]
        rng = np.random.default_rng(stable_seed("calibration", seed, index, k))
        question, options = _MAKERS[family](level, rng)
        k += 1
        # of numbers the answers are the question; of the rest other answers would make no other question
        told = f"{question} {sorted(options)}" if family == "largest" else question
        if told in seen:
            continue
        seen.add(told)
        order = [int(j) for j in rng.permutation(OPTIONS)]
        second = (index // len(kinds)) % 2
        out.append(
            Item(
                f"{family}-{level}-{index}", family, level, question, tuple(options[j] for j in order), order.index(0),
                half[pair][index % len(kinds)] ^ second,
            )
        )  # fmt: skip
    return out


_SHOWN: Sequence[tuple[str, tuple[str, ...], str, str]] = (
    ("The tin holds a pen. The jar holds a nut. What does the jar hold?", ("pin", "nut", "egg", "pen"), "nut", "90%"),
    ("What is 21 plus 14?", ("25", "36", "45", "35"), "35", "80%"),
    ("Today is Friday. What day is it 3 days from now?", ("Sunday", "Tuesday", "Monday", "Thursday"), "Tuesday", "20%"),
    ("Which number is the largest?", ("39", "13", "24", "58"), "58", "70%"),
)
"""Worked examples: three right answers, and one wrong one that little is given for."""


def examples() -> tuple[Message, ...]:
    """Answers and confidences in the form that is asked for, shown before every conversation."""
    return tuple(
        m
        for question, options, answer, sure in _SHOWN
        for m in (
            Message("user", _asked(question, options)),
            Message("assistant", answer),
            Message("user", ASK_SURE),
            Message("assistant", sure),
        )
    )


def _asked(question: str, options: Sequence[str]) -> str:
    return f"{question} Choose one: {', '.join(options[:-1])} or {options[-1]}."
