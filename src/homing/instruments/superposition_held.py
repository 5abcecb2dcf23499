"""What a hold does to the figures of the superposition instrument: the paired difference over the same games."""

from __future__ import annotations

from dataclasses import dataclass

from homing.instruments.base import not_measurable
from homing.instruments.superposition_rows import (
    LEAKY,
    NAME,
    Rows,
    Value,
    at_end,
    at_moment,
    cost_of,
    difference,
    end_of,
    few,
    finding,
    gate,
    means,
    off_one,
    outcome_is,
    pairs,
    plain,
    rate_of,
)
from homing.stats.estimate import Estimate, Finding

__all__ = ["MEASURES", "held", "rival"]


@dataclass(frozen=True, slots=True)
class _Measure:
    """One figure that holds are compared by. ``top``: its ceiling, at which nothing is left to be held; None: none."""

    name: str
    said: str
    value: Value
    gates: tuple[str, ...]
    conditions: tuple[str, ...] = ("game",)
    rate: bool = False
    top: float | None = None
    forced: bool = False


MEASURES = (
    _Measure("commitment", "Commitment at the end", at_end("commitment"), ("reveal",), forced=True),
    _Measure("collapse", "The number of objects in play at the end", at_end("simulacra"), ("reveal",), forced=True),
    _Measure("consistency", "Consistency", at_end("consistency"), ("reveal", "yes", "list"), top=0.999),
    _Measure("drift", "Drift per turn", plain("drift"), ("reveal",), forced=True),
    _Measure(
        "outcomes", "The share of self-consistent games", lambda s: outcome_is(s, "self_consistent"), ("reveal", "yes", "list"),
        rate=True, top=1.0,
    ),
    _Measure("leakage", "The share that gives one away", plain("leaked"), (), ("game", "chat"), rate=True),
    _Measure("success", "Success", plain("success"), ("words", "list"), rate=True, top=1.0),
    _Measure("number_game", "The number game's distance from one yes", off_one, ("yes",), ("number",), forced=True),
)  # fmt: skip


def held(rows: Rows, hold: str, m: _Measure) -> Finding:
    """One figure under a hold less that with nothing done, or why it is not measured."""
    name = f"{NAME}.{m.name}.{hold}"
    mine, base = (rows.of(h, *m.conditions) for h in (hold, "none"))
    for side in (base, mine):
        if (bad := gate(name, side, *m.gates)) is not None:
            return bad
    before = pairs(base, m.value)
    if m.top is not None and before and min(before.values()) >= m.top:
        return not_measurable(name, f"with nothing done all {len(before)} games are at the ceiling")
    found = difference(mine, base, m.value, f"{m.name} {hold}", rate=m.rate)
    if found is None:
        return few(name, [k for k in pairs(mine, m.value) if k in before])
    gap, p = found
    level = rate_of(mine, m.value) if m.rate else means(mine, {"held": m.value})["held"]
    turns = (
        range(max(map(end_of, mine)) + 1) if m.name == "collapse" else ()
    )  # the whole curve beside that with nothing done
    curve = means(mine, {f"held_{t}": at_moment("simulacra", t) for t in turns})
    clear = "" if gap.low > 0 or gap.high < 0 else ", not clear of 0"
    verdict = f"{m.said} changes by {gap:+.2f} under {hold}{clear}; it is {level:.3f} then."
    if m.name == "leakage":
        verdict += f" That it is under {LEAKY:.0%} is {'shown' if level.high < LEAKY else 'not shown'}."
    if m.forced and "commit" in hold.split("+"):
        verdict += " One choice is made by construction: judge it by consistency, leakage and success."
    return finding(name, mine, {"difference": gap, "held": level} | curve, verdict, {"difference": p})


def rival(rows: Rows) -> Finding:
    """``commit`` less ``private_memory`` on the same games, by what either must earn, and what each costs."""
    name, found, p = f"{NAME}.rival", dict[str, Estimate](), dict[str, float]()
    for m in MEASURES:
        mine, other = (rows.of(h, *m.conditions) for h in ("commit", "private_memory"))
        if m.forced or any(gate(name, side, *m.gates) for side in (mine, other)):
            continue
        gap = difference(mine, other, m.value, f"rival {m.name}", rate=m.rate)
        if gap is not None:
            found[m.name], p[m.name] = gap
    if not found:
        return not_measurable(name, "neither consistency, leakage nor success can be read under both holds")
    both = [rows.of(h, "game") for h in ("commit", "private_memory")]
    calls = [cost_of(games).calls / max(len(games), 1) for games in both]
    said = ", ".join(f"{k} {e:+.2f}" for k, e in found.items())
    verdict = f"commit less private_memory: {said}; a game takes {calls[0]:.0f} and {calls[1]:.0f} replies."
    return finding(name, [*both[0], *both[1]], found, verdict, p)
