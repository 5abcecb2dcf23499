"""Measures that a hold is compared by: named values of each task, with nothing done and under a hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homing.instruments.item_figures import cost_of, of_items, within
from homing.instruments.lost_rows import HELD_BY, LEAST, MARGIN, LevelRows, View, held_gate, minus, said_clear, too_few
from homing.stats.estimate import Estimate, Finding

__all__ = ["MEASURES", "WORDED", "Measure", "measured", "measured_held"]


@dataclass(frozen=True, slots=True)
class Measure:
    """Named values of each task.

    Attributes:
        name: of the finding. ``said``: the first value, as the subject of a sentence. ``needs``: conditions.
        values: of a view. ``tested``: whether the first value is a primary test against 0.
        scored: whether it is made of scores, so that floor and ceiling matter.
        limits: what a value can be.
    """

    name: str
    said: str
    needs: tuple[str, ...]
    values: Callable[[View], dict[str, dict[str, float]]]
    tested: bool = True
    scored: bool = True
    limits: tuple[float, float] = (-1.0, 1.0)


def _loss(v: View) -> dict[str, dict[str, float]]:
    return {
        "loss": v.less("full", "sharded"), "in_turns": v.less("concat", "sharded"), "rewording": v.less("full", "concat"),
        "order": v.less("concat", "shuffled"),
    }  # fmt: skip


def _any_turn(v: View) -> dict[str, dict[str, float]]:
    strict, lenient = v.mean("sharded"), v.mean("sharded", f"any_{v.key}")
    return {"gain": minus(lenient, strict), "any_turn": lenient, "strict": strict}


def _twist(kind: str) -> Callable[[View], dict[str, dict[str, float]]]:
    def values(v: View) -> dict[str, dict[str, float]]:
        lost = v.less(f"concat_{kind}", kind)
        out = {"loss": lost, "beyond": minus(lost, v.less("concat", "sharded"))}
        return out | ({"stale": v.mean("revised", "stale")} if kind == "revised" and v.key == "p" else {})

    return values


def _attempts(v: View) -> dict[str, dict[str, float]]:
    return {"early": v.mean("sharded", "early"), "first": v.mean("sharded", "first"), "asks": v.mean("sharded", "asks")}


def _positions(v: View) -> dict[str, dict[str, float]]:
    turns = max((int(s.values["turns"]) for s in v.scored("sharded")), default=0)
    return {f"turn_{j + 1}": v.less("sharded", "concat", f"slip.{j}") for j in range(1, turns)}


def _gradual(v: View) -> dict[str, dict[str, float]]:
    return {c: v.less("full", c) for c in ("parts2", "parts3", "parts4") if v.mean(c)}


MEASURES = (
    Measure("loss", "What is lost where a task is said bit by bit", ("full", "sharded"), _loss),
    Measure("any_turn", "What the score gains if any answer on the way counts", (), _any_turn, tested=False),
    Measure("attempts", "The share of talks with an answer before everything is said", (), _attempts, tested=False, scored=False),
    Measure("positions", "By how much more often what the second message says is missed", ("concat",), _positions, tested=False),
    Measure("gradual", "What is lost where a task is said in two messages", ("parts2",), _gradual),
    Measure(
        "revised", "What is lost bit by bit where something is taken back", ("concat_revised", "revised", "concat"),
        _twist("revised"),
    ),
    Measure(
        "distracted", "What is lost bit by bit where something beside the point is said",
        ("concat_distracted", "distracted", "concat"), _twist("distracted"),
    ),
)  # fmt: skip


def _limits(m: Measure, key: str) -> tuple[float, float]:
    if key == "beyond":
        return -2.0, 2.0
    return (0.0, 1.0) if key in ("any_turn", "strict", "early", "first", "asks", "stale") else m.limits


def _estimates(at: LevelRows, m: Measure, v: View, *, than: View | None = None) -> tuple[dict[str, Estimate], float]:
    """Means over tasks of all values that enough have, and the p-value of the first; with ``than``, of paired differences."""
    name, out, p = at.name(m.name, v.hold) + v.key, dict[str, Estimate](), 1.0
    mine, base = m.values(v), m.values(than) if than is not None else {}
    for k, (key, x) in enumerate(mine.items()):
        least, most = _limits(m, key)
        if than is not None:
            x, least, most = minus(x, base.get(key, {})), least - most, most - least
        if len(x) >= LEAST:
            out[key], tested = of_items(x, f"{name} {key}", least=least, most=most)
            p = tested if k == 0 else p
    return out, p


WORDED = ("loss", "any_turn")
"""Measures that are read in words too."""


def measured(at: LevelRows, v: View, m: Measure, tail: str) -> Finding:
    """One measure with nothing done."""
    name = at.name(f"{tail}{m.name}")
    if m.scored and (bad := at.gate(name, v, *m.needs)) is not None:
        return bad
    found, p = _estimates(at, m, v)
    first = next(iter(m.values(v)), "")
    if first not in found:
        return too_few(name, m.values(v).get(first, {}))
    e = found[first]
    verdict = f"{m.said} is {e.value:+.2f}" + (f", {said_clear(e)}." if m.tested else ".")
    if m.name == "loss":
        same = within(v.less("full", "sharded"), MARGIN)
        verdict += f" That it is less than {MARGIN:.0%} is {'shown' if same else 'not shown'}."
        if "in_turns" in found:
            turns = found["in_turns"]
            verdict += f" Against the same words in one message it is {turns.value:+.2f}, {said_clear(turns)}."
    elif m.name == "any_turn":
        verdict += f" Strictly it is {found['strict'].value:.2f}, by the lenient rule {found['any_turn'].value:.2f}."
    elif m.name == "attempts":
        asks = f" and {found['asks'].value:.2f} of replies ask" if "asks" in found else ""
        verdict += (
            f" The first answer comes after {found['first'].value:.2f} of the turns{asks}." if "first" in found else ""
        )
    elif m.name == "positions" and len(found) > 1:
        verdict += " By message: " + ", ".join(f"{k[5:]} {x.value:+.2f}" for k, x in found.items()) + "."
    elif "beyond" in found:
        verdict += f" Beyond what any task loses bit by bit that is {found['beyond'].value:+.2f}, {said_clear(found['beyond'])}."
    conditions = ("full", "sharded", *m.needs)
    if not m.scored:
        return Finding(name, found, verdict=verdict, cost=cost_of(v.scored(*conditions)), held_by=HELD_BY)
    return at.found(name, v, conditions, found, verdict, {first: p} if m.tested else {})


def measured_held(at: LevelRows, v: View, held: View, m: Measure, tail: str) -> Finding:
    """The change of one measure under a hold."""
    name = at.name(f"{tail}{m.name}", held.hold)
    if m.scored and (bad := held_gate(at, name, v, held, "sharded", *m.needs)) is not None:
        return bad
    found, _ = _estimates(at, m, held, than=v)
    first = next(iter(m.values(held)), "")
    if first not in found:
        return too_few(name, minus(m.values(held).get(first, {}), m.values(v).get(first, {})))
    e, now = found[first], float(np.mean(list(m.values(held)[first].values())))
    verdict = f"{m.said} changes by {e.value:+.2f} under {held.hold}, {said_clear(e)}, to {now:+.2f}."
    if not m.scored:
        return Finding(name, found, verdict=verdict, cost=cost_of(held.scored("sharded")), held_by=HELD_BY)
    return at.found(name, held, ("sharded", *m.needs), found, verdict)
