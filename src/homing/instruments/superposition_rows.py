"""What a score of the guessing game holds, what may be read of it at all, and the small words of its figures.

A moment is a turn of a game; 0 is after the opening. What could not be had is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from homing.instruments.base import LEAST_MASS, Scored, not_measurable, validity
from homing.instruments.superposition_measures import (
    chance_corrected,
    collision_of_counts,
    counts_of,
    miller_madow_bits,
)
from homing.stats.bootstrap import bootstrap_difference, bootstrap_mean
from homing.stats.estimate import Cost, Estimate, Finding
from homing.stats.intervals import newcombe_paired, wilson
from homing.stats.seeds import stable_seed
from homing.stats.tests import exact_binomial, mcnemar_exact, permutation_paired

__all__ = [
    "LEAKY",
    "LEAST",
    "NAME",
    "Rows",
    "Value",
    "at_end",
    "at_moment",
    "beyond_chance",
    "cost_of",
    "difference",
    "end_of",
    "few",
    "finding",
    "gate",
    "less_one",
    "means",
    "off_one",
    "outcome_is",
    "p_value",
    "pairs",
    "plain",
    "rate_of",
    "spoken",
]

NAME = "superposition"
HELD_BY = "commit, private_memory"
LEAST = 3
"""Fewer games, numbers or regenerations: nothing is measured."""
LEAKY = 0.01
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


class Rows:
    """Scores by hold and condition, in the order of their cells."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str], list[Scored]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.condition, s.cell.item)):
            self._at.setdefault((s.hold, s.cell.condition), []).append(s)

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _ in self._at} - {"none"})

    def of(self, hold: str, *conditions: str) -> list[Scored]:
        """The scores under a hold of some conditions."""
        return [s for c in conditions for s in self._at.get((hold, c), [])]


def gate(name: str, asked: Sequence[Scored], *gates: str) -> Finding | None:
    """Why nothing is measured on these scores, or None.

    Args:
        gates: ``reveal``, ``yes``: the options have mass; ``words``: reveals in words can be read; ``list``: the model can read
            the list of objects.
    """
    if len(asked) < LEAST:
        return few(name, asked)
    for gate, said in (("reveal", "the numbers"), ("yes", "yes and no")):
        masses = [x for s in asked for x in s.values.get(f"{gate}_mass", ())]
        if gate in gates and not masses:
            return not_measurable(name, f"no choice among {said} came back")
        if gate in gates and (middle := float(np.median(masses))) < LEAST_MASS:
            return not_measurable(
                name, f"{said} together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed"
            )
    if "words" in gates and (bad := validity(name, asked)) is not None:
        return bad
    right = [x for s in asked for x in s.values.get("lookups", ())]
    if "list" in gates and not right:
        return not_measurable(name, "it never answered what it was asked about the list of objects")
    # one question of each game has yes for its answer and one no: who always says yes is at one half
    if "list" in gates and (np.mean(right) <= 0.5 or exact_binomial(int(sum(right)), len(right)).p_value > 0.05):
        return not_measurable(
            name,
            f"of objects that are named, {int(sum(right))} of {len(right)} answers are right, not clear of chance: it does not"
            " read the list",
        )  # fmt: skip
    return None


def few(name: str, have: Iterable[object]) -> Finding:
    """Not measured, since too few have what it needs."""
    return not_measurable(name, f"{len(list(have))} have what this needs, and {LEAST} must")


def cost_of(scored: Iterable[Scored]) -> Cost:
    """What all of them took together."""
    every = [s.cost for s in scored]
    tokens = (sum(c.prompt_tokens for c in every), sum(c.new_tokens for c in every))
    return Cost(sum(c.calls for c in every), *tokens, sum(c.seconds for c in every))


def finding(
    name: str, asked: Sequence[Scored], estimates: dict[str, Estimate], verdict: str, p: dict[str, float] | None = None
) -> Finding:
    """A measured figure with what it took."""
    return Finding(name, estimates, verdict=verdict, cost=cost_of(asked), held_by=HELD_BY, p_values=p or {})


def pairs(asked: Sequence[Scored], value: Value) -> dict[str, float]:
    """Item to its value, those that have one."""
    found = {s.cell.item: value(s) for s in asked}
    return {k: float(v) for k, v in found.items() if v is not None}


def means(asked: Sequence[Scored], values: Mapping[str, Value]) -> dict[str, Estimate]:
    """The mean over items of each value that enough of them have."""
    every = {k: pairs(asked, v) for k, v in values.items()}
    return {
        k: bootstrap_mean(list(x.values()), seed=stable_seed(NAME, k), clusters=list(x))
        for k, x in every.items()
        if len(x) >= LEAST
    }


def rate_of(asked: Sequence[Scored], value: Value) -> Estimate:
    """The share of items with a value of 1."""
    x = list(pairs(asked, value).values())
    return wilson(int(sum(x)), len(x))


def p_value(asked: Sequence[Scored], value: Value) -> float:
    """Two-sided p-value of a mean of 0 over items, by sign flips."""
    x = pairs(asked, value)
    return permutation_paired(list(x.values()), seed=stable_seed(NAME, "test"), clusters=list(x)).p_value


def difference(
    mine: Sequence[Scored], base: Sequence[Scored], value: Value, tag: str, *, rate: bool = False, other: Value | None = None
) -> tuple[Estimate, float] | None:  # fmt: skip
    """Paired difference over the same items and its p-value; None with too few of them. ``other``: the value of ``base``."""
    a, b = pairs(mine, value), pairs(base, other or value)
    both = sorted(k for k in a if k in b)
    if len(both) < LEAST:
        return None
    x, y = np.array([a[k] for k in both]), np.array([b[k] for k in both])
    if rate:
        table = [int(((x == i) & (y == j)).sum()) for i, j in ((1, 1), (1, 0), (0, 1), (0, 0))]
        return newcombe_paired(*table), mcnemar_exact(table[1], table[2]).p_value
    gap = bootstrap_difference(x, y, seed=stable_seed(NAME, tag), clusters=both)
    return gap, permutation_paired(x - y, seed=stable_seed(NAME, tag, "test"), clusters=both).p_value
