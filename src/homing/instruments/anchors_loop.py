"""Verification and loops in numbers: filtering by a model's own score, and repeating it, from probabilities read once.

A loop draws answers, keeps the half with the best score and takes their frequencies for its next answers: filter and distil
(arXiv 2412.02674) with a table in the place of a model. It costs no call. What it shows is what a score does when it is
followed, not what training would do to a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from homing.stats.passing import pass_at_k
from homing.stats.seeds import stable_seed

__all__ = ["KINDS", "KS", "QUANTILES", "ROUNDS", "Kind", "Policy", "Round", "best_of", "filtered", "loop", "thresholds"]

F64 = NDArray[np.float64]
Kind = Literal["own", "joint", "anchored"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The score that is followed: the model's own, frozen; its own, moved halfway to what it says itself after every round; a label
that is wrong about an answer with probability :data:`LABEL_NOISE`."""
LABEL_NOISE = 0.1
QUANTILES = (25, 50, 75, 90)
ROUNDS = 3
DRAWS = 16
REPEATS = 8
KS = (1, 4, 8)
BEST_OF = 4


@dataclass(frozen=True, slots=True)
class Policy:
    """Answers to one item.

    Attributes:
        shares: how likely each is, together 1. ``scores``: how likely the model calls each right. ``right``: index of the right
            one; -1 where it is not among them.
    """

    item: str
    shares: Sequence[float]
    scores: Sequence[float]
    right: int = 0

    @property
    def accuracy(self) -> float:
        """Chance of a right answer."""
        return self.shares[self.right] if self.right >= 0 else 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a loop. ``gold``: chance of a right answer. ``proxy``: mean score of answers. ``passes``: k to pass@k."""

    gold: float
    proxy: float
    passes: Mapping[int, float]


def thresholds(policies: Sequence[Policy]) -> dict[int, float]:
    """Quantile to the score that so many percent of all answers lie under, over all items."""
    scores = np.array([s for p in policies for s in p.scores])
    weights = np.array([w for p in policies for w in p.shares])
    order = np.argsort(scores, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    return {
        q: float(scores[order][min(int(np.searchsorted(below, q / 100 - 1e-12)), len(order) - 1)]) for q in QUANTILES
    }


def filtered(policy: Policy, least: float) -> float:
    """Accuracy where answers under a score are left out; where none is left, all of them stand."""
    kept = [w * (s >= least) for w, s in zip(policy.shares, policy.scores, strict=True)]
    right = kept[policy.right] if policy.right >= 0 else 0.0
    return right / sum(kept) if sum(kept) > 0 else policy.accuracy


def best_of(policy: Policy, n: int = BEST_OF) -> float:
    """Accuracy of the answer with the best score among ``n`` draws: the chance that no draw is above it, and not all below."""
    p, s = np.array(policy.shares), np.array(policy.scores)
    if policy.right < 0:
        return 0.0
    mine = s[policy.right]
    upto, level = float(p[s <= mine].sum()), float(p[s == mine].sum())
    return float((upto**n - max(0.0, upto - level) ** n) * p[policy.right] / level) if level > 0 else 0.0


def loop(policy: Policy, kind: Kind, *, seed: int, rounds: int = ROUNDS) -> list[Round]:
    """Rounds of filtering and distilling, the first with nothing done yet; the mean of some repeats.

    Returns:
        ``rounds + 1`` of them.
    """
    every = [
        _once(policy, kind, np.random.default_rng(stable_seed("loop", seed, policy.item, kind, k)), rounds)
        for k in range(REPEATS)
    ]
    out: list[Round] = []
    for r in range(rounds + 1):
        mine = [run[r] for run in every]
        passes = {k: float(np.mean([m.passes[k] for m in mine])) for k in KS}
        out.append(Round(float(np.mean([m.gold for m in mine])), float(np.mean([m.proxy for m in mine])), passes))
    return out


def _once(policy: Policy, kind: Kind, rng: np.random.Generator, rounds: int) -> list[Round]:
    p: F64 = np.array(policy.shares, np.float64)
    p = p / p.sum()
    score: F64 = np.array(policy.scores, np.float64)
    if kind == "anchored":
        label = np.arange(len(p)) == policy.right
        score = (label ^ (rng.random(len(p)) < LABEL_NOISE)).astype(np.float64)
    out: list[Round] = []
    for r in range(rounds + 1):
        drawn = rng.choice(len(p), DRAWS, p=p)
        passes = {k: pass_at_k(DRAWS, int((drawn == policy.right).sum()), k) for k in KS}
        out.append(Round(float(p[policy.right]) if policy.right >= 0 else 0.0, float(p @ score), passes))
        if r == rounds:
            break
        # equal scores are kept in the order in which they were drawn
        kept = drawn[np.argsort(-score[drawn], kind="stable")[: DRAWS // 2]]
        p = np.bincount(kept, minlength=len(p)) / len(kept)
        if kind == "joint":
            score = (score + p) / 2
    return out
