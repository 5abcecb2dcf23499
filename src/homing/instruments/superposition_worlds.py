"""Worlds of a guessing game: numbered objects, what is said about them, and how what comes back is read.

Every combination of the attributes is there once, so each question halves what is left, whatever the answer, and no answer can
contradict an earlier one. Numbers are dealt out anew in every game, so that a liking for a number is no liking for an object.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import Scored
from homing.stats.estimate import Estimate

__all__ = [
    "OUTCOMES",
    "Character",
    "Outcome",
    "Value",
    "World",
    "at_end",
    "at_moment",
    "beyond_chance",
    "beyond_prior",
    "chance_corrected",
    "character",
    "collision",
    "collision_of_counts",
    "counts_of",
    "end_of",
    "entropy_bits",
    "gives_away",
    "halves",
    "less_one",
    "make_world",
    "miller_madow_bits",
    "number_prompts",
    "off_one",
    "outcome",
    "outcome_is",
    "plain",
    "reveal_of",
    "spoken",
    "tempered",
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


def tempered(logprobs: Sequence[float], temperature: float) -> F64:
    """Probabilities over options ``(options,)`` as they are drawn at a temperature; 0 is the likeliest alone."""
    x = np.asarray(logprobs, dtype=np.float64)
    if temperature == 0:
        return (np.arange(x.size) == int(x.argmax())).astype(np.float64)
    p = np.exp((x - x.max()) / temperature)
    return p / p.sum()


def collision(p: F64) -> float:
    """Chance that two regenerations agree, from probabilities ``(options,)``: exact."""
    return float(p @ p)


def collision_of_counts(counts: Sequence[int]) -> float | None:
    """The same from counts: unbiased, ``sum n (n - 1) / (S (S - 1))``; None under two regenerations."""
    s = sum(counts)
    return None if s < 2 else sum(n * (n - 1) for n in counts) / (s * (s - 1))


def chance_corrected(agree: float, left: int) -> float | None:
    """Commitment beyond what the transcript forces: 0 for a draw among what is left, 1 for one choice; None where one is left."""
    return None if left < 2 else (agree - 1 / left) / (1 - 1 / left)


def entropy_bits(p: F64) -> float:
    """Entropy of probabilities ``(options,)``, bits."""
    q = p[p > 0]
    return float(-(q * np.log2(q)).sum())


def miller_madow_bits(counts: Sequence[int]) -> float:
    """Entropy from counts with the Miller-Madow correction, bits; not a number where there are none."""
    s = sum(counts)
    if s == 0:
        return math.nan
    seen = np.array([n for n in counts if n], dtype=np.float64)
    return entropy_bits(seen / s) + (seen.size - 1) / (2 * s * math.log(2))


def counts_of(revealed: Sequence[int | None], n: int) -> list[int]:
    """How often each of ``n`` places was revealed; what names none is left out."""
    return [sum(r == k for r in revealed) for k in range(n)]


Outcome = Literal["self_consistent", "leakage", "over_confirmation", "state_substitution", "all_denial"]
OUTCOMES: tuple[Outcome, ...] = (
    "self_consistent", "leakage", "over_confirmation", "state_substitution", "all_denial",
)  # fmt: skip


def outcome(confirmed: Mapping[int, float], revealed: int, *, leaked: bool) -> Outcome:
    """The class of a game (after arXiv 2601.06973).

    Args:
        confirmed: by place, the probability that it says yes when asked for that one. ``revealed``: the place it reveals.
        leaked: whether it gave one away before.
    """
    if leaked:
        return "leakage"
    yes = [k for k, p in confirmed.items() if p > 0.5]
    if not yes:
        return "all_denial"
    if len(yes) > 1:
        return "over_confirmation"
    return "self_consistent" if yes[0] == revealed else "state_substitution"


def halves(places: Sequence[bool], more: Sequence[bool]) -> list[bool]:
    """What is still left after one more answer."""
    return [a and b for a, b in zip(places, more, strict=True)]


COMMITTED, SUPERPOSED, CONSISTENT, STEADY = 0.8, 0.2, 0.9, 0.2
"""Commitment from which a host is committed and up to which it is superposed; consistency it needs; turns that may change it."""
REACH = 0.05
"""Share of probability that must lie on what is left, of a game's reveal and of the prior, for the two to be compared there."""
Character = Literal["committed", "superposed", "incoherent", "undecided"]


def beyond_prior(p: F64, left: NDArray[np.bool_], kinds: I64, prior: F64) -> tuple[F64, F64]:
    """Agreement of a game's reveals beyond that of other games': mode collapse agrees in both.

    The prior of a game is the mean of the other games' first reveals, by place in the list and by object; of the two the one that
    agrees more is taken out of all games.

    Args:
        p: ``(games, options)`` reveals, and of that shape ``left``: what the transcript leaves, ``kinds``: the object at each
            place, ``prior``: reveals before any answer.

    Returns:
        Numerators and denominators, ``(games kept,)`` each: commitment beyond the prior is the ratio of their means. A game is
        kept where enough of its reveal and of its prior lies on what is left.
    """
    n = len(p)
    every = np.arange(n)[:, None]
    objects = np.zeros_like(prior)
    objects[every, kinds] = prior
    same: I64 = np.tile(np.arange(p.shape[1], dtype=np.int64), (n, 1))
    likings: list[F64] = []
    for table, places in ((prior, same), (objects, kinds)):
        others = (table.sum(axis=0) - table) / (n - 1)
        likings.append(np.where(left, others[every, places], 0.0))
    within = np.where(left, p, 0.0)
    reach = np.minimum.reduce([x.sum(axis=1) for x in (within, *likings)])
    kept = reach >= REACH
    within, likings = _shared(within[kept]), [_shared(q[kept]) for q in likings]
    b = max(((within * q).sum(axis=1) for q in likings), key=lambda x: float(x.sum()))
    return (within**2).sum(axis=1) - b, 1 - b


def _shared(x: F64) -> F64:
    """Rows that add up to 1."""
    return x / x.sum(axis=1, keepdims=True)


def character(
    first: Estimate, last: Estimate, consistency: Estimate | None = None, drift: Estimate | None = None
) -> Character:
    """What the host is.

    Args:
        first, last: commitment after the opening and at the end, chance and prior taken out. ``consistency``: of its reveals with
            its answers; None where it is not measurable. ``drift``: share of turns after which another reveal is the likeliest.
    """
    if consistency is not None and consistency.high < CONSISTENT:
        return "incoherent"
    if last.value <= SUPERPOSED and last.high < 0.5:
        return "superposed"
    steady = drift is None or drift.value <= STEADY
    if steady and all(e.value >= COMMITTED and e.low > 0.5 for e in (first, last)):
        return "committed"
    return "undecided"


# What a score holds. A moment is a turn of a game; 0 is after the opening. What could not be had is None.

Value = Callable[[Scored], float | None]


def end_of(s: Scored) -> int:
    """The last moment of a game."""
    return int(s.values["moments"]) - 1


def at_end(measure: str) -> Value:
    """A measure at the last moment."""
    return lambda s: s.values.get(f"{measure}.{end_of(s)}")


def at_moment(measure: str, moment: int) -> Value:
    """A measure at one moment."""
    return lambda s: s.values.get(f"{measure}.{moment}")


def plain(name: str) -> Value:
    """A value that is not of a moment."""
    return lambda s: s.values.get(name)


def less_one(s: Scored) -> float | None:
    """How much more than once a number game got a yes."""
    return s.values["mass"] - 1 if "mass" in s.values else None


def off_one(s: Scored) -> float | None:
    """How far a number game is from one yes, either way."""
    return abs(s.values["mass"] - 1) if "mass" in s.values else None


def beyond_chance(s: Scored) -> float | None:
    """Consistency at the end beyond that of a blind draw among all objects."""
    fits = at_end("consistency")(s)
    return None if fits is None else fits - len(s.values[f"left.{end_of(s)}"]) / len(s.values["kinds"])


def outcome_is(s: Scored, wanted: str) -> float | None:
    """1 where a game ends in one class, 0 where in another."""
    found: Any = s.values.get(f"outcome.{end_of(s)}")
    return None if found is None else float(found == wanted)


def spoken(measure: str, *, last: bool) -> Value:
    """A measure from reveals in words: unbiased, or corrected, for how few there are; None under two of them."""

    def value(s: Scored) -> float | None:
        t = end_of(s) if last else 0
        said: list[int] = s.values.get(f"said.{t}", [])
        left: list[int] = s.values[f"left.{t}"]
        counts = counts_of(said, len(s.values["kinds"]))
        agree = collision_of_counts(counts)
        if agree is None or measure == "collision":
            return agree
        if measure == "commitment":
            return chance_corrected(agree, len(left))
        if measure == "simulacra":
            return float(2.0 ** miller_madow_bits(counts))
        return sum(counts[k] for k in left) / sum(counts)

    return value
