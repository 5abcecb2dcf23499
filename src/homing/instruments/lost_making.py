"""New tasks, one of their constraints as it will be taken back, and sentences beside the point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from homing.instruments.lost_formula import Formula
from homing.instruments.lost_tasks import (
    ANSWERS,
    JOINERS,
    LEVELS,
    LOOKS,
    STYLES,
    FamilyName,
    Level,
    LevelName,
    Part,
    Task,
    formula_of,
    sum_of,
)

__all__ = ["distractors", "make_task", "revised"]

NOUNS = ("plums", "pears", "coins", "stamps", "shells", "books", "cups", "pens")
THINGS = ("boxes", "lamps", "bags", "keys", "hats", "bowls")
NAMES = ("Mia", "Tom", "Ida", "Ben", "Eva", "Leo", "Ada", "Max")
LABELS = "BCDFGHJKLMNPQRST"


KIN = ("aunt", "uncle", "cousin", "teacher", "neighbour")
PLACES = ("bike", "coat", "door", "scarf", "chair")


def make_task(family: FamilyName, level: LevelName, rng: np.random.Generator) -> tuple[Task, int, Part]:
    """A new task, which of its constraints the user will take back, and what it will be then.

    Right answers are spread evenly over what they can be, so that no constant guess does better than 1 in so many.
    """
    of = LEVELS[level]
    j = int(rng.integers(of.constraints))
    if family == "sum":
        return _make_sum(of, j, rng)
    choices, setting = _CHOICES[family](of, rng)
    parts = tuple(c[int(rng.integers(len(c)))] for c in choices)
    others = [c for c in choices[j] if c != parts[j] and c[0] == parts[j][0]]
    every = [ANSWERS[family](setting, p) for p in product(*choices)]
    options = [str(every[int(i)]) for i in rng.permutation(len(every))]
    if family == "table":
        options = sorted(options)
    setting |= {"choices": [[list(p) for p in c] for c in choices], "options": options}
    setting |= {"listed": True} if of.listed and family in ("record", "formula") else {}
    return Task(family, setting, parts), j, others[int(rng.integers(len(others)))]


def _make_sum(of: Level, j: int, rng: np.random.Generator) -> tuple[Task, int, Part]:
    target, most = int(rng.integers(1, of.high + 1)), min(of.high, 40)
    while True:
        # all numbers differ from each other and from what comes out, so that a copied one is never right
        start, new, *numbers = (int(n) + 1 for n in rng.permutation(most)[: of.constraints + 2])
        parts = tuple(("get" if rng.random() < 0.5 else "give", n) for n in numbers)
        task = Task("sum", {"start": start, "noun": "", "options": list(range(10))}, parts)
        after = replace(task, parts=(*parts[:j], (parts[j][0], new), *parts[j + 1 :]))
        outcomes = [int(str(t.answer())) for t in (task, after)]
        if outcomes[0] != target or not 0 <= outcomes[1] <= of.high or {*outcomes} & {start, new, *numbers}:
            continue
        setting = {**task.setting, "noun": NOUNS[int(rng.integers(len(NOUNS)))]}
        if of.high > 9:
            both = [t.parts[:i] + t.parts[i + 1 :] for t in (task, after) for i in range(len(parts))]
            slips = [int(sum_of(task.setting, p)) for p in both]
            near = [target + d for d in (1, -1, 10, -10, 2, -2)]
            setting["options"] = sorted({*outcomes, *slips, *near})
        return replace(task, setting=setting), j, (parts[j][0], new)


def _two(rng: np.random.Generator, kind: str, values: Sequence[str | int]) -> list[Part]:
    return [(kind, values[int(i)]) for i in rng.permutation(len(values))[:2]]


def _table_choices(of: Level, rng: np.random.Generator) -> tuple[list[list[Part]], dict[str, Any]]:
    """Rows are every combination, so that none of them stands out."""
    if of.constraints == 1:
        choices: list[list[Part]] = [[("colour", v) for v in LOOKS["colour"]]]
    else:
        kinds = list(LOOKS)[: of.constraints]
        choices = [_two(rng, k, LOOKS[k]) for k in kinds]
    every = list(product(*choices))
    labels = sorted(str(x) for x in rng.choice(list(LABELS), len(every), replace=False))
    order = rng.permutation(len(every))
    rows = {label: [str(v) for _, v in every[int(i)]] for label, i in zip(labels, order, strict=True)}
    said = [choices[int(i)] for i in rng.permutation(len(choices))]  # not in the order in which the rows name them
    return said, {"rows": rows, "thing": THINGS[int(rng.integers(len(THINGS)))]}


def _record_choices(of: Level, rng: np.random.Generator) -> tuple[list[list[Part]], dict[str, Any]]:
    setting = {"name": NAMES[int(rng.integers(len(NAMES)))], "number": int(rng.integers(2, 10))}
    if of.constraints == 1:
        return [[("joiner", v) for v in JOINERS]], setting
    choices = [_two(rng, k, STYLES[k]) for k in list(STYLES)[: of.constraints]]
    return [choices[int(i)] for i in rng.permutation(len(choices))], setting


def _formula_choices(of: Level, rng: np.random.Generator) -> tuple[list[list[Part]], dict[str, Any]]:
    small = [int(n) for n in rng.permutation(np.arange(2, 9))]
    if of.constraints == 1:
        return [[(kind, n) for kind in ("scale", "shift") for n in small[:2]]], {}
    values: dict[str, Sequence[int]] = {
        "scale": small[:2], "shift": small[2:4], "cap": range(20, 40), "floor": range(10, 18),
    }  # fmt: skip
    while True:
        choices = [_two(rng, k, values[k]) for k in list(values)[: of.constraints]]
        every = [Formula(str(formula_of({}, p))) for p in product(*choices)]
        # narrow limits may leave nothing of what stands before them
        if len({tuple(f(x) for x in range(-20, 21)) for f in every}) == len(every):
            break
        small = [int(n) for n in rng.permutation(np.arange(2, 9))]
        values |= {"scale": small[:2], "shift": small[2:4]}
    return [choices[int(i)] for i in rng.permutation(len(choices))], {}


_CHOICES: Mapping[FamilyName, Callable[[Level, np.random.Generator], tuple[list[list[Part]], dict[str, Any]]]] = {
    "table": _table_choices, "record": _record_choices, "formula": _formula_choices,
}  # fmt: skip


def revised(task: Task, j: int, now: Part) -> Task:
    """The task once its constraint ``j`` has been taken back."""
    return replace(task, parts=(*task.parts[:j], now, *task.parts[j + 1 :]))


def distractors(task: Task, rng: np.random.Generator, n: int) -> list[str]:
    """Sentences that name a number or a word like those of the task and have nothing to do with it."""
    out: list[str] = []
    ages = rng.permutation(np.arange(41, 90))
    for k, (kin, place) in enumerate(zip(rng.permutation(KIN)[:n], rng.permutation(PLACES)[:n], strict=True)):
        look = LOOKS["colour"][int(rng.integers(4))]
        joiner = list(JOINERS)[int(rng.integers(len(JOINERS)))]
        said = {
            "table": f"By the way, my {place} looks {look}.",
            "record": f"By the way, my {kin} likes to draw a {joiner}.",
        }.get(task.family, f"By the way, my {kin} turns {int(ages[k])} today.")
        out.append(said)
    return out
