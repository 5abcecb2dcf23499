"""Questions with one number as the answer, and worked examples of a reply that checks itself.

What is asked for stands in the question, or is a sum of single digits: short enough that a small model is right often, and not
always. Examples show checks that confirm and checks that correct, so that either can be gone on with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from homing.conversation import Conversation, Message
from homing.hold.settled import CUE
from homing.stats.seeds import stable_seed

__all__ = ["ASK", "DIGITS", "FAMILIES", "Item", "deal", "preamble"]

Family = Literal["counts", "owners", "sums", "steps"]
FAMILIES: tuple[Family, ...] = ("counts", "owners", "sums", "steps")
"""A look-up; a look-up in two steps; a sum or difference; two of them."""
DIGITS = tuple("0123456789")
ASK = "Answer with a number from 0 to 9, then check it and answer again."
_THINGS = ("cups", "coins", "pens", "keys", "shells", "stones", "nuts", "stamps", "beads", "cards", "corks", "bolts")
_COLOURS = ("red", "blue", "green", "white", "black", "yellow", "brown", "grey")
_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Ivy", "Jack", "Kate", "Leo")


@dataclass(frozen=True, slots=True)
class Item:
    """One question.

    Attributes:
        id: unique over a deal. ``text``: without what is asked of the reply. ``answer``: a digit.
        chance: how often a reply is right that knows no more than which numbers could be meant.
        work: a sentence that leads to the answer, and ``slip``: one that leads to ``wrong``. For examples.
    """

    id: str
    family: Family
    text: str
    answer: int
    chance: float
    work: str
    slip: str
    wrong: int

    @property
    def question(self) -> Conversation:
        """What is asked."""
        return Conversation.of(f"{self.text} {ASK}")

    def to_json(self) -> dict[str, Any]:
        """As a cell carries it."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Item:
        """The inverse of :meth:`to_json`."""
        return cls(**raw)


def _counts(rng: np.random.Generator, n: int) -> tuple[str, int, float, str, str, int]:
    thing = _THINGS[int(rng.integers(len(_THINGS)))]
    names = [_NAMES[int(k)] for k in rng.permutation(len(_NAMES))[:n]]
    held = [int(x) for x in rng.choice(8, n, replace=False) + 2]
    k, other = (int(x) for x in rng.permutation(n)[:2])
    told = " ".join(f"{a} has {h} {thing}." for a, h in zip(names, held, strict=True))
    return (
        f"{told} How many {thing} does {names[k]} have?", held[k], 1 / n,
        f"{names[k]} has {held[k]} {thing}.", f"{names[k]} has {held[other]} {thing}.", held[other],
    )  # fmt: skip


def _owners(rng: np.random.Generator, n: int) -> tuple[str, int, float, str, str, int]:
    thing = _THINGS[int(rng.integers(len(_THINGS)))]
    colours = [_COLOURS[int(k)] for k in rng.permutation(len(_COLOURS))[:n]]
    names = [_NAMES[int(k)] for k in rng.permutation(len(_NAMES))[:n]]
    held = [int(x) for x in rng.choice(8, n, replace=False) + 2]
    k, other = (int(x) for x in rng.permutation(n)[:2])
    told = " ".join(f"{a} has the {c} box with {h} {thing}." for a, c, h in zip(names, colours, held, strict=True))
    return (
        f"{told} How many {thing} are in the {colours[k]} box?", held[k], 1 / n,
        f"The {colours[k]} box is {names[k]}'s, with {held[k]} {thing}.",
        f"The {colours[k]} box is {names[other]}'s, with {held[other]} {thing}.", held[other],
    )  # fmt: skip


def _near(rng: np.random.Generator, right: int) -> int:
    near = [x for x in (right - 1, right + 1, right + 2) if 0 <= x <= 9]
    return near[int(rng.integers(len(near)))]


def _sums(rng: np.random.Generator, n: int) -> tuple[str, int, float, str, str, int]:
    del n
    a = int(rng.integers(1, 9))
    plus = bool(rng.integers(2))
    b = int(rng.integers(1, 10 - a)) if plus else int(rng.integers(1, a + 1))
    right, sign = (a + b, "+") if plus else (a - b, "-")
    wrong = _near(rng, right)
    return f"What is {a} {sign} {b}?", right, 0.1, f"{a} {sign} {b} = {right}.", f"{a} {sign} {b} = {wrong}.", wrong


def _steps(rng: np.random.Generator, n: int) -> tuple[str, int, float, str, str, int]:
    """As many steps as there are boxes less one; every total on the way is a digit."""
    total = int(rng.integers(1, 8))
    text, work = str(total), list[str]()
    for k in range(n - 1):
        plus = total < 9 and (k == 0 or total == 0 or bool(rng.integers(2)))
        by = int(rng.integers(1, 10 - total)) if plus else int(rng.integers(1, total + 1))
        sign, after = ("+", total + by) if plus else ("-", total - by)
        work.append(f"{total} {sign} {by} = {after}")
        text, total = f"{text} {sign} {by}", after
    wrong = _near(rng, total)
    slip = [*work[:-1], f"{work[-1].rpartition(' = ')[0]} = {wrong}"]
    return f"What is {text}?", total, 0.1, f"{' and '.join(work)}.", f"{' and '.join(slip)}.", wrong


_MAKERS = {"counts": _counts, "owners": _owners, "sums": _sums, "steps": _steps}
BOXES = 3
"""In the easiest questions."""


def _made(family: Family, rng: np.random.Generator, name: str, harder: int) -> Item:
    return Item(name, family, *_MAKERS[family](rng, BOXES + harder))


TRIES = 200


def _drawn(family: Family, seed: int, k: int, tried: int, harder: int) -> Item:
    return _made(family, np.random.default_rng(stable_seed("reflection", seed, k, tried)), f"{family}-{k}", harder)


def deal(n: int, seed: int, *, harder: int = 0) -> list[Item]:
    """So many questions, a quarter of each family; different ones as far as there are any.

    Args:
        harder: so many more things to choose among, and steps more. Sums of two are as they are.
    """
    out: list[Item] = []
    seen = {item.text for f in FAMILIES for item, _ in _examples(f, harder)}
    for k in range(n):
        family = FAMILIES[k % len(FAMILIES)]
        item, tried = _drawn(family, seed, k, 0, harder), 0
        while item.text in seen and tried < TRIES:  # of sums there are 80, and then they are asked again
            tried += 1
            item = _drawn(family, seed, k, tried, harder)
        seen.add(item.text)
        out.append(item)
    return out


PATTERNS = ((True, True), (False, True), (True, True, True))
"""Whether each answer of each example is right: two confirm what is right, one corrects what is wrong."""


def _examples(family: Family, harder: int) -> list[tuple[Item, tuple[bool, ...]]]:
    """Of one family; no question of a run is among them."""
    rngs = (np.random.default_rng(stable_seed("reflection example", family, k)) for k in range(len(PATTERNS)))
    return [(_made(family, rng, family, harder), p) for rng, p in zip(rngs, PATTERNS, strict=True)]


def preamble(family: Family, harder: int = 0) -> tuple[Message, ...]:
    """Worked examples of a family, as hard as what is asked, the same for every question and seed.

    Behind the first an answer is asked for at once.
    """
    out: list[Message] = []
    for k, (item, pattern) in enumerate(_examples(family, harder)):
        out += [Message("user", item.question[0].content), Message("assistant", worked(item, pattern))]
        if k == 0:
            out += [Message("user", CUE), Message("assistant", str(item.answer))]
    return tuple(out)


def worked(item: Item, pattern: tuple[bool, ...]) -> str:
    """A reply that leads to an answer and checks it; a check that finds a slip leads to the right one."""
    parts: list[str] = []
    for k, right in enumerate(pattern):
        work, answer = (item.work, item.answer) if right else (item.slip, item.wrong)
        parts += [f"Check: {work}" if k else work, f"The answer is {answer}."]
    return " ".join(parts)
