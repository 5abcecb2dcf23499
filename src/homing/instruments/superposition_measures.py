"""Formulae of the guessing game: what reveals agree to, how many objects are in play, how a game ends, what the host is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from homing.stats.estimate import Estimate

__all__ = [
    "OUTCOMES",
    "Character",
    "Outcome",
    "beyond_prior",
    "chance_corrected",
    "character",
    "collision",
    "collision_of_counts",
    "counts_of",
    "entropy_bits",
    "halves",
    "miller_madow_bits",
    "outcome",
    "tempered",
]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


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
