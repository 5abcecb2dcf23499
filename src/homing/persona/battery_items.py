"""Items of the capability battery, made by a seeded generator: nothing here was taken from anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from homing.conversation import Conversation
from homing.errors import InputError

__all__ = ["FAMILIES", "LEVELS", "BatteryItem", "Family", "generate"]

Family = Literal["arithmetic", "copying", "format", "lookup"]
FAMILIES: tuple[Family, ...] = ("arithmetic", "copying", "format", "lookup")
LEVELS = 4
"""Difficulty runs from 0 to 3 in every family."""

_WORDS = [
    "apple",
    "river",
    "stone",
    "cloud",
    "lamp",
    "horse",
    "table",
    "green",
    "window",
    "bread",
    "paper",
    "ship",
    "garden",
    "music",
    "silver",
    "winter",
    "bridge",
    "candle",
    "forest",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "ladder",
    "marble",
    "needle",
    "orange",
    "pencil",
    "quilt",
    "rabbit",
    "saddle",
    "ticket",
    "valley",
    "wagon",
    "yellow",
    "anchor",
    "basket",
    "copper",
    "dragon",
    "engine",
    "feather",
    "guitar",
    "helmet",
    "iron",
    "jungle",
]
_NAMES = [
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Frank",
    "Grace",
    "Henry",
    "Iris",
    "Jack",
    "Kate",
    "Leo",
    "Mary",
    "Nick",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
    "Tina",
    "Victor",
]
_THINGS = [
    "red",
    "blue",
    "green",
    "black",
    "white",
    "brown",
    "pink",
    "gold",
    "grey",
    "purple",
    "tea",
    "milk",
    "rice",
    "soup",
    "fish",
    "cake",
    "corn",
    "beans",
    "salt",
    "honey",
]
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


@dataclass(frozen=True, slots=True)
class BatteryItem:
    """One question with an exact answer.

    Attributes:
        family, template, level: where it comes from; ``template`` is the wording, the unit that repeats.
        prompt: the user's message. ``answer``: right. ``distractors``: at least three, wrong, of the same shape.
        shots: worked examples before it, question and answer in turn; without them a small chat model answers in
            sentences.
    """

    family: Family
    template: int
    level: int
    prompt: str
    answer: str
    distractors: tuple[str, ...]
    shots: tuple[str, ...] = ()

    @property
    def conversation(self) -> Conversation:
        """The worked examples, then the question."""
        return Conversation.of(*self.shots, self.prompt)

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of prompt and answer."""
        return hashlib.sha256(f"{self.prompt}\n{self.answer}".encode()).hexdigest()[:16]


Rng = np.random.Generator
Made = tuple[str, str, list[str]]


def _pick(rng: Rng, pool: list[str] | tuple[str, ...], n: int) -> list[str]:
    return [pool[int(i)] for i in rng.choice(len(pool), n, replace=False)]


def _near(rng: Rng, right: int) -> list[str]:
    """Three wrong numbers with as many digits as the right one, so that length gives nothing away."""
    digits = len(str(right))
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits - 1
    close = [x for d in (1, 2, 10, 3, 9, 11, 4, 5, 20) for x in (right - d, right + d) if low <= x <= high]
    first = close[:6]
    return _pick(rng, [str(x) for x in first], 3)


def _arithmetic(rng: Rng, level: int, template: int) -> Made:
    top = (10, 20, 50, 100)[level]
    a, b = int(rng.integers(1, top)), int(rng.integers(1, top))
    kind = template % 3
    if kind == 0:
        right, text = a + b, f"{a} + {b}"
    elif kind == 1:
        right, text = a, f"{a + b} - {b}"
    else:
        step = int(rng.integers(2, 6 + 3 * level))
        a += int(rng.integers(0, 10))
        right = a + 3 * step
        series = f"{a}, {a + step}, {a + 2 * step}"
        wording = ("Next number: {}, ?", "Continue with one number: {}")[template // 3]
        return wording.format(series), str(right), _near(rng, right)
    wording = ("{} = ?", "Compute {}. Only the number.")[template // 3]
    return wording.format(text), str(right), _near(rng, right)


def _swapped(rng: Rng, words: list[str]) -> list[list[str]]:
    """Three wrong orders of the same words."""
    out: list[list[str]] = []
    seen = {tuple(words)}
    while len(out) < 3:
        other = [words[int(i)] for i in rng.permutation(len(words))]
        if tuple(other) not in seen:
            seen.add(tuple(other))
            out.append(other)
    return out


def _copying(rng: Rng, level: int, template: int) -> Made:
    words = _pick(rng, _WORDS, (3, 4, 5, 6)[level])
    text = " ".join(words)
    kind = template % 3
    if kind == 0:
        prompt = ("Repeat exactly: {}", "Copy this line: {}")[template // 3].format(text)
        right = words
    elif kind == 1:
        prompt = ("Repeat without the first word: {}", "Leave out the first word: {}")[template // 3].format(text)
        right = words[1:]
    else:
        prompt = ("Write in reverse order: {}", "Last word first: {}")[template // 3].format(text)
        right = words[::-1]
    if kind == 1:
        gone = [int(i) for i in rng.choice(np.arange(1, len(words)), 2, replace=False)]
        wrong = [[w for j, w in enumerate(words) if j != g] for g in gone] + [right[1:] + right[:1]]
    else:
        wrong = _swapped(rng, right)
    return prompt, " ".join(right), [" ".join(w) for w in wrong]


def _date(rng: Rng, template: int) -> Made:
    day, month, year = int(rng.integers(1, 13)), int(rng.integers(1, 13)), int(rng.integers(1950, 2030))
    while month == day:
        month = int(rng.integers(1, 13))
    name = _MONTHS[month - 1]
    if template < 3:
        return (
            f"Write as YYYY-MM-DD: {day} {name} {year}",
            f"{year}-{month:02}-{day:02}",
            [f"{year}-{day:02}-{month:02}", f"{day:02}-{month:02}-{year}", f"{month:02}-{day:02}-{year}"],
        )
    return (
        f"Write as DD/MM/YYYY: {name} {day}, {year}",
        f"{day:02}/{month:02}/{year}",
        [f"{month:02}/{day:02}/{year}", f"{year}/{month:02}/{day:02}", f"{year}/{day:02}/{month:02}"],
    )


def _format(rng: Rng, level: int, template: int) -> Made:
    words = _pick(rng, _WORDS, 2 + level // 2)
    kind = template % 3
    if kind == 0:
        return _date(rng, template)
    if kind == 1:
        marks = [", ", "; ", " | ", " - "]
        names = ["commas", "semicolons", "bars", "dashes"]
        right = int(rng.integers(0, 4))
        text = " ".join(words)
        prompt = (f"Separate with {names[right]}: {text}", f"Join by {names[right]}: {text}")[template // 3]
        return prompt, marks[right].join(words), [marks[i].join(words) for i in range(4) if i != right]
    cases: list[tuple[str, Callable[[str], str]]] = [
        ("capital letters", str.upper),
        ("small letters", str.lower),
        ("Title Case", str.title),
        ("double quotes", lambda s: f'"{s}"'),
    ]
    right = int(rng.integers(0, 4))
    given = " ".join(words) if level % 2 == 0 else " ".join(w.swapcase() if i % 2 else w for i, w in enumerate(words))
    prompt = ("Write in {}: {}", "Change to {}: {}")[template // 3].format(cases[right][0], given)
    wrong = [f(given) for i, (_, f) in enumerate(cases) if i != right]
    return prompt, cases[right][1](given), wrong


def _lookup(rng: Rng, level: int, template: int) -> Made:
    """The answer repeats the key: a small model finds what followed it before, where a bare value would be at the floor."""
    n = (4, 5, 6, 8)[level]
    names, things = _pick(rng, _NAMES, n), _pick(rng, _THINGS, n)
    table = zip(names, things, strict=True)
    kind = template % 3
    if kind == 0:
        at = int(rng.integers(0, n))
        facts = " ".join(f"{a} has {b}." for a, b in table)
        prompt = ("{} What does {} have?", "{} Which thing has {}?")[template // 3].format(facts, names[at])
        right, others = things[at], [t for i, t in enumerate(things) if i != at]
        form = "{} has {}"
    elif kind == 1:
        at = int(rng.integers(0, n))
        facts = "\n".join(f"{a}: {b}" for a, b in table)
        prompt = ("{}\nWhich line is that of {}?", "{}\nGive the line of {}.")[template // 3].format(facts, names[at])
        right, others = things[at], [t for i, t in enumerate(things) if i != at]
        form = "{}: {}"
    else:
        at = int(rng.integers(0, n - 1))
        prompt = ("{}. Who comes after {}?", "{}. Next name after {}?")[template // 3].format(
            ", ".join(names), names[at]
        )
        right, others = names[at + 1], [a for i, a in enumerate(names) if i not in (at, at + 1)]
        if len(others) < 3:
            others.append(next(a for a in _NAMES if a not in names))
        form = "{}, {}"
    return prompt, form.format(names[at], right), [form.format(names[at], o) for o in _pick(rng, others, 3)]


_MAKERS: Mapping[Family, Callable[[Rng, int, int], Made]] = {
    "arithmetic": _arithmetic,
    "copying": _copying,
    "format": _format,
    "lookup": _lookup,
}
TEMPLATES = 6


SHOTS = 2


@cache
def _shots(family: Family, template: int) -> tuple[str, ...]:
    """Worked examples of a wording, easy and always the same, so that what comes before the question is one prefix."""
    rng = np.random.default_rng([FAMILIES.index(family), template])
    made = [_MAKERS[family](rng, 0, template) for _ in range(SHOTS)]
    return tuple(text for prompt, answer, _ in made for text in (prompt, answer))


def generate(
    n_items: int,
    *,
    seed: int,
    level: Mapping[Family, int] | None = None,
    barred: frozenset[str] = frozenset(),
) -> tuple[BatteryItem, ...]:
    """Make items: families and wordings in turn, no prompt twice, none that is barred.

    Args:
        n_items: how many. ``seed``: the same seed makes the same items on every machine.
        level: difficulty of each family to make, 0 to 3; default: every family at level 1.
        barred: digests of items that must not come.

    Raises:
        InputError: no items asked for, an unknown family or level, or a level too easy to give so many different items.
    """
    chosen = dict(level if level is not None else dict[Family, int].fromkeys(FAMILIES, 1))
    if n_items < 1:
        raise InputError(f"a battery of {n_items} items was asked for; ask for at least 1")
    for family, at in chosen.items():
        if family not in FAMILIES or not 0 <= at < LEVELS:
            raise InputError(
                f"battery family {family!r} at level {at}; use {', '.join(FAMILIES)} and levels 0 to {LEVELS - 1}"
            )
    rng = np.random.default_rng(seed)
    order: list[Family] = [f for f in FAMILIES if f in chosen]
    out: list[BatteryItem] = []
    used = set(barred)
    misses = 0
    while len(out) < n_items:
        family = order[len(out) % len(order)]
        template = (len(out) // len(order)) % TEMPLATES
        at = chosen[family] if misses < 20 else min(LEVELS - 1, chosen[family] + misses // 20)
        prompt, answer, wrong = _MAKERS[family](rng, at, template)
        item = BatteryItem(family, template, at, prompt, answer, tuple(wrong), _shots(family, template))
        if item.digest in used or len({answer, *wrong}) < 4:
            misses += 1
            if misses > 400:
                raise InputError(f"{family} at level {at} gives no more different items; ask for fewer than {n_items}")
            continue
        misses = 0
        used.add(item.digest)
        out.append(item)
    return tuple(out)
