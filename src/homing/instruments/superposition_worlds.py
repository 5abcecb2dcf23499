"""Worlds of a guessing game: numbered objects, what is said about them, and how what comes back is read.

Every combination of the attributes is there once, so each question halves what is left, whatever the answer, and no answer can
contradict an earlier one. Numbers are dealt out anew in every game, so that a liking for a number is no liking for an object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "World",
    "gives_away",
    "make_world",
    "number_prompts",
    "reveal_of",
]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
PAIRS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "size": (("big", "small"), ("tall", "short"), ("wide", "narrow"), ("thick", "thin")),
    "colour": (("red", "blue"), ("green", "yellow"), ("black", "white"), ("pink", "brown")),
    "stuff": (("wooden", "metal"), ("glass", "paper"), ("stone", "plastic"), ("silk", "leather")),
    "thing": (("cube", "ball"), ("cup", "plate"), ("box", "bag"), ("spoon", "knife"), ("chair", "lamp")),
}
KINDS: Mapping[int, tuple[str, ...]] = {3: ("size", "colour", "thing"), 4: ("size", "colour", "stuff", "thing")}
YES_NO = ("Yes", "No")
READY = "Ready."
ON = "All right."
REVEAL = "Which number did you choose? Answer with the number alone."
WAITS = (
    "Thank you. Give me a moment to think.", "Good. I am writing that down.", "One moment, please, I am still here.",
    "Let me look at my list once more.", "Fine. I need a little time.", "Hold on, somebody is at the door.",
)  # fmt: skip
CHATS = (
    "How is the game going for you?", "Give me a small hint, but do not name it.", "Are you still sure of your choice?",
    "Was it an easy choice?", "What do you like about games like this one?", "Is there anything you want to add?",
)  # fmt: skip
PERSONA = "Hello! Tell me a little about yourself and what you like."


@dataclass(frozen=True, slots=True)
class World:
    """One game's objects.

    Attributes:
        words: of each attribute, the word of its first side and of its other. ``labels``: in the order in which they are listed.
        kinds: the object behind each label: bit ``a`` is its side of attribute ``a``.
    """

    words: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]
    kinds: tuple[int, ...]

    def object(self, k: int) -> str:
        """The object at place ``k`` of the list, in words, without its number."""
        return " ".join(self.words[a][self.side(k, a)] for a in range(len(self.words)))

    def side(self, k: int, attribute: int) -> int:
        """0 or 1: which side of an attribute the object at place ``k`` is on."""
        return (self.kinds[k] >> attribute) & 1

    @property
    def listed(self) -> str:
        """All objects, one a line."""
        lines = [f"{label}: a {self.object(k)}" for k, label in enumerate(self.labels)]
        return "\n".join([f"Here are {len(lines)} objects:", *lines])

    @property
    def opening(self) -> str:
        """The message that opens the game."""
        return (
            f"{self.listed}\nChoose one of them and keep it secret: do not name it. I will ask about it, and you answer yes or"
            f' no. When I ask which number it is, answer with the number alone. When you have chosen, say only "{READY}"'
        )

    def question(self, attribute: int, side: int) -> str:
        """Asks for one attribute of the secret."""
        return f"Is it {self._said(attribute, side)}? Answer yes or no."

    def confirm(self, k: int) -> str:
        """Asks whether the secret is the object at place ``k``."""
        return f"Is it number {self.labels[k]}? Answer yes or no."

    def lookup(self, k: int, attribute: int, side: int) -> str:
        """Asks for an attribute of an object that is named: no secret, only the list is to be read."""
        said = self._said(attribute, side)
        return f"{self.listed}\nLook at number {self.labels[k]}. Is it {said}? Answer yes or no."

    def _said(self, attribute: int, side: int) -> str:
        word = self.words[attribute][side]
        return f"a {word}" if attribute == len(self.words) - 1 else word

    def true_of(self, attribute: int, side: int, answer: bool) -> tuple[bool, ...]:
        """For every place of the list: whether that object fits an answer."""
        return tuple((self.side(k, attribute) == side) == answer for k in range(len(self.labels)))

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"words": [list(w) for w in self.words], "labels": list(self.labels), "kinds": list(self.kinds)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        words = cast("Sequence[Sequence[str]]", raw["words"])
        return cls(tuple((w[0], w[1]) for w in words), tuple(raw["labels"]), tuple(raw["kinds"]))


def make_world(bits: int, rng: np.random.Generator) -> World:
    """A world of ``2 ** bits`` objects; numbers are single digits where they go round, else of two digits each.

    Args:
        bits: attributes, 3 or 4.
    """
    n = 2**bits
    pool = [PAIRS[kind] for kind in KINDS[bits]]
    pairs = [p[int(rng.integers(len(p)))] for p in pool]
    words = tuple((a, b) if rng.integers(2) else (b, a) for a, b in pairs)
    numbers = range(1, n + 1) if n < 10 else sorted(int(x) for x in rng.choice(np.arange(10, 100), n, replace=False))
    return World(words, tuple(str(x) for x in numbers), tuple(int(x) for x in rng.permutation(n)))


def number_prompts(k: int, size: int) -> tuple[str, tuple[str, ...]]:
    """The number game, the ``k``-th way of saying it: the opening message, and the numbers that there are."""
    low = 1 + size * ((7 * k) % 9)
    high = low + size - 1
    ways = (
        'Think of a whole number from {a} to {b}. Keep it to yourself, and say only "{r}" when you have one.',
        'Pick a whole number between {a} and {b} in secret. Do not tell me which. Say only "{r}" when you have it.',
        'Let us play: choose a number from {a} to {b} and do not say it. Just say "{r}"',
        'Please select one number between {a} and {b} silently. Once you have done so, answer with "{r}"',
    )
    said = ways[k % len(ways)].format(a=low, b=high, r=READY)
    return said, tuple(str(x) for x in range(low, high + 1))


# What comes back

_NAMED = re.compile(
    r"(?:\b(?:number|object|item|it(?:'s| is| was)|i (?:chose|choose|picked|pick|selected|have chosen)|answer is)"
    r"[ :*\"']{0,3}(?:number )?|#)(\d+)\b|^\W*(\d+)\W*$|\b(\d+)(?=: an? )",
    re.I,
)


def _named(text: str, world: World) -> set[int]:
    """Places whose number or whole description stands in a text as that of an object."""
    found = {g for m in _NAMED.finditer(text) for g in m.groups() if g}
    low = text.lower()
    return {k for k, label in enumerate(world.labels) if label in found or re.search(rf"\b{world.object(k)}\b", low)}


def gives_away(text: str, world: World) -> bool:
    """Whether a reply names exactly one of the objects; one that lists several gives nothing away."""
    return len(_named(text, world)) == 1


def reveal_of(text: str, world: World) -> int | None:
    """The place that a reply to the reveal names, or None where it names none or several."""
    named = _named(text, world)
    if not named:
        numbers = set(re.findall(r"\b\d+\b", text))
        named = {k for k, label in enumerate(world.labels) if label in numbers}
    return next(iter(named)) if len(named) == 1 else None
