"""Does it come back by itself, what does it take to move it, and what does each hold bring back, keep and cost?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import Scored, not_measurable
from homing.instruments.return_arms import LEAST_SCRIPTS, Arms, distance_of, half_life, share
from homing.instruments.return_beside import beside
from homing.instruments.return_shares import share_finding, shares
from homing.persona.outside import root
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["findings", "qualifies", "restoring", "tether"]

F64 = NDArray[np.float64]


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Every finding: does it come back by itself, what do nudges do, what does each hold bring, and what stands beside."""
    arms = Arms(scored)
    out: list[Finding] = []
    for push in arms.asked:
        out += [restoring(arms, push), tether(arms, push)]
        for hold in arms.holds:
            out += [share_finding(s) for s in shares(arms, push, hold, facets=("all",))]
        out += beside(arms, push, arms.holds)
    return out


def qualifies(arms: Arms, push: str) -> Finding:
    """Does the push move the model beyond its twin, on the half of scripts that gives no other figure?"""
    mine = arms.squares(push, "none", "left_qualify", 0, facet="all")
    theirs = arms.squares(push, "none", "twin_qualify", 0, facet="all")
    values = {k: v - theirs[k] for k, v in mine.items() if k in theirs}
    name = f"return.qualifies.{push}"
    found = distance_of(values)
    if found is None:
        return not_measurable(
            name, f"{len(values)} scripts of the other half were played, and {LEAST_SCRIPTS} are needed"
        )
    return Finding(
        name, {"distance": found},
        verdict=f"On scripts set apart the push moves the model by {found.value:.1f} log-odds beyond its twin"
        f"{'.' if found.low > 0 else ', which is not clear of 0.'}",
    )  # fmt: skip


def restoring(arms: Arms, push: str) -> Finding:
    """The distance after each number of neutral turns with nothing done, and how much of it is left at the end."""
    name = f"return.restoring.{push}"
    moments = arms.moments(push)
    curve: dict[str, Estimate] = {}
    for k in moments:
        d = distance_of(arms.excess(push, "none", "left", k))
        if d is not None:
            curve[f"after_{k}"] = d
    if not curve or 0 not in moments or "after_0" not in curve:
        return not_measurable(name, "too few scripts were played")
    if curve["after_0"].low <= 0:
        why = f"right after the push the distance is {curve['after_0']:.1f}, not clear of its neutral twin"
        return Finding(name, curve, "not_measurable", why, f"Not measurable: {why}.")
    last = moments[-1]
    back = share(arms.excess(push, "none", "left", last), arms.excess(push, "none", "left", 0), tag=f"restoring {push}")
    if isinstance(back, str):
        return Finding(name, curve, verdict=f"The distance right after the push is {curve['after_0']:.1f}; {back}.")
    left = Estimate(1 - back.value, 1 - back.high, 1 - back.low, back.level, back.n, "", back.method)
    life = half_life(left, last)
    shown = back.low > 0
    return Finding(
        name, {**curve, "left": left, "half_life": life},
        verdict=(
            f"After {last} neutral turns with nothing done {left.value:.0%} of the distance is left"
            f" [{left.low:.0%}, {left.high:.0%}]: "
            + ("it comes back by itself" if shown else "that it comes back by itself is not shown")
            + ("." if not shown or left.low <= 0 else ", and does not arrive.")
        ),
        held_by="heal, cap, fresh context",
    )  # fmt: skip


def tether(arms: Arms, push: str) -> Finding:
    """The distance against the number of nudging sentences, and the dose that moves it half as far as all of them."""
    name = f"return.tether.{push}"
    base = arms.squares(push, "none", "nudge/0", 0, facet="all")
    doses = arms.doses(push)
    by_dose = {
        d: {k: v - base[k] for k, v in arms.squares(push, "none", f"nudge/{d}", 0, facet="all").items() if k in base}
        for d in doses
    }
    if len(base) < LEAST_SCRIPTS:
        return not_measurable(name, f"{len(base)} scripts were nudged, and {LEAST_SCRIPTS} are needed")
    curve = {f"dose_{d}": distance_of(v) for d, v in by_dose.items() if d}
    estimates = {k: v for k, v in curve.items() if v is not None}
    table = np.array([[v.get(k, math.nan) for k in sorted(base)] for v in by_dose.values()])
    top = estimates.get(f"dose_{doses[-1]}")
    if top is None or top.low <= 0:
        return Finding(name, estimates, verdict=f"{doses[-1]} sentences together do not move it clear of none.")
    rng = np.random.default_rng(stable_seed("tether", push))
    picks = rng.integers(0, table.shape[1], (2000, table.shape[1]))
    draws = np.array([_halfway(doses, table[:, pick].mean(axis=1)) for pick in picks])
    low, high = (float(x) for x in np.nanpercentile(draws, [2.5, 97.5]))
    value = _halfway(doses, table.mean(axis=1))
    dose = Estimate(
        value, min(low, value), max(high, value), 0.95, table.shape[1], "sentences", "bootstrap over scripts"
    )
    return Finding(
        name, {**estimates, "half_way": dose},
        verdict=f"{dose.value:.1f} of {doses[-1]} nudging sentences move it half as far as all of them.",
    )  # fmt: skip


def _halfway(doses: Sequence[int], squares: F64) -> float:
    """Dose at which the distance reaches half of that of the last dose, linear in between."""
    d = np.array([root(float(x)) for x in squares])
    goal = d[-1] / 2
    if goal <= 0:
        return math.nan
    for k in range(1, len(d)):
        if d[k] >= goal:
            part = (goal - d[k - 1]) / (d[k] - d[k - 1]) if d[k] > d[k - 1] else 1.0
            return float(doses[k - 1] + part * (doses[k] - doses[k - 1]))
    return math.nan
