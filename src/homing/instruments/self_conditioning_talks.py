"""Talks that a model goes through alone: how far it comes before its first mistake, with nothing done and under a hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import Scored, validity
from homing.instruments.item_figures import of_items
from homing.instruments.self_conditioning_rows import (
    DRAWS,
    I64,
    LEAST,
    NAME,
    LevelRows,
    difference,
    finding_of,
    rate_of,
)
from homing.stats.bootstrap import two_way_bootstrap_many
from homing.stats.estimate import Estimate, Finding
from homing.stats.intervals import wilson
from homing.stats.seeds import stable_seed

__all__ = ["horizon", "horizon_alone", "horizon_held", "ideal_horizon", "survival", "talks_of"]

F64 = NDArray[np.float64]


def survival(prefix: I64, failed: NDArray[np.bool_], turns: int) -> F64:
    """Probability that every total up to each turn is right (Kaplan and Meier): ``(turns,)``.

    Args:
        prefix: ``(n,)`` right totals before the first that is not. ``failed``: whether that one was wrong; else it could not be
            read, and the talk counts up to it. ``turns``: of a talk.
    """
    t = np.arange(1, turns + 1)[:, None]
    wrong = ((prefix == t - 1) & failed).sum(axis=1)
    at_risk = (prefix >= t).sum(axis=1) + wrong
    alive: F64 = np.cumprod(1 - wrong / np.maximum(at_risk, 1), dtype=np.float64)
    return alive


def horizon(alive: F64, share: float) -> int:
    """First turn at which less than a share of talks is still right; one past the last where there is none."""
    below = np.flatnonzero(alive < share)
    return int(below[0]) + 1 if below.size else len(alive) + 1


def ideal_horizon(p: float, share: float) -> float:
    """The same of a subject that is right with probability ``p`` at every turn whatever stands before: ceil(ln share / ln p)."""
    if p >= 1:
        return math.inf
    return 1.0 if p <= 0 else float(math.ceil(math.log(share) / math.log(p)))


def talks_of(at: LevelRows, hold: str) -> dict[str, Scored]:
    """Item to the score of its talk."""
    return {s.cell.item: s for s in at.rows.of(hold, at.level, "live")}


def _curve(talks: Sequence[Scored]) -> tuple[I64, NDArray[np.bool_], int]:
    prefix = np.array([s.values["prefix"] for s in talks], dtype=np.int64)
    return prefix, np.array([s.values["failed"] == 1 for s in talks]), int(talks[0].values["turns"])


def horizon_alone(at: LevelRows) -> Finding:
    """How far it goes by itself, against a subject whose accuracy at every turn is that of the first."""
    name, talks = at.name("horizon"), list(talks_of(at, "none").values())
    bad = validity(name, talks) or (at.few(name, talks) if len(talks) < LEAST else None)
    if (bad := bad or at.readable(name, "none", "first") or at.floor(name, "first")) is not None:
        return bad
    prefix, failed, turns = _curve(talks)

    def figures(i: I64, _: I64) -> list[float]:
        alive = survival(prefix[i], failed[i], turns)
        return [float(alive.sum()), horizon(alive, 0.5), horizon(alive, 0.9)]

    made = two_way_bootstrap_many(figures, len(talks), 1, seed=stable_seed(NAME, name), draws=DRAWS, unit="turns")
    right = made[0]
    if np.ptp(prefix) == 0:
        alike = {s.cell.item: float(s.values["prefix"]) for s in talks}
        right = of_items(alike, name, least=0.0, most=float(turns))[0]
    whole = sum(int(s.values["prefix"]) == turns for s in talks)
    share = at.rows.pairs("none", at.level, "live", "right")
    found = {"turns_right": right, "whole": wilson(whole, len(talks))}
    if len(share) >= LEAST:
        found["right"] = of_items(share, f"{name} share", least=0.0, most=1.0)[0]
    first = rate_of(at.rows.pairs("none", at.level, "first"))
    ends = (first.value, first.low, first.high)
    ideal, low, high = (float(sum(p**t for t in range(1, turns + 1))) for p in ends)
    found["ideal_turns"] = Estimate(
        ideal, low, high, 0.95, first.n, "turns", "from Wilson's interval at the first turn"
    )
    for part, e in ((50, made[1]), (90, made[2])):
        if e.value <= turns:
            top = e.high if e.high <= turns else math.inf
            found[f"horizon_{part}"] = Estimate(
                e.value, min(e.low, e.value), max(top, e.value), e.level, e.n, "turns", e.method
            )
        would = [ideal_horizon(p, part / 100) for p in ends]
        if math.isfinite(would[0]):
            how = "ceil(ln share / ln p) of Wilson's interval"
            found[f"ideal_{part}"] = Estimate(would[0], would[1], would[2], 0.95, first.n, "turns", how)
    short = "it falls short of that" if right.high < low else "that it falls short of that is not shown"
    half = f"from turn {found['horizon_50'].value:.0f} on" if "horizon_50" in found else "at no turn"
    verdict = (
        f"By itself it gives {right.value:.1f} right totals of {turns} before its first mistake; less than half of its talks are"
        f" right {half}. With its first turn's accuracy, {first.value:.2f}, throughout it would be {ideal:.1f}: {short}."
    )  # fmt: skip
    return finding_of(name, talks, found, verdict)


def horizon_held(at: LevelRows, hold: str) -> Finding:
    """How much later the first mistake comes under a hold."""
    name, mine, base = at.name("horizon", hold), talks_of(at, hold), talks_of(at, "none")
    both = [i for i in mine if i in base]
    talks = [[side[i] for i in both] for side in (mine, base)]
    bad = at.few(name, both) if len(both) < LEAST else validity(name, talks[0]) or validity(name, talks[1])
    if (bad := bad or at.readable(name, "none", "first") or at.floor(name, "first")) is not None:
        return bad
    (p1, f1, turns), (p0, f0, _) = (_curve(t) for t in talks)

    def gap(i: I64, _: I64) -> float:
        return float(survival(p1[i], f1[i], turns).sum() - survival(p0[i], f0[i], turns).sum())

    if np.ptp(p1 - p0) > 0:
        seed = stable_seed(NAME, name)
        found = two_way_bootstrap_many(gap, len(both), 1, seed=seed, draws=DRAWS, unit="turns")[0]
    else:
        found = of_items(dict(zip(both, (p1 - p0).astype(float), strict=True)), name, least=-turns, most=turns)[0]
    estimates = {"turns_right": found}
    verdict = f"Under {hold} the first mistake comes {found.value:+.1f} turns of {turns} later than with nothing done"
    shares = [at.rows.pairs(h, at.level, "live", "right") for h in (hold, "none")]
    if sum(i in shares[1] for i in shares[0]) < LEAST:
        return finding_of(name, talks[0], estimates, f"{verdict}.")
    estimates["right"], p = difference(f"{name} share", shares[0], shares[1], 1.0)
    verdict += f"; of all totals {estimates['right'].value:+.2f} more are right."
    return finding_of(name, talks[0], estimates, verdict, {"right": p})
