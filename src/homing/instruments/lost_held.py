"""What a hold does to tasks said bit by bit, what it makes of the user's words, and what it costs."""

from __future__ import annotations

import numpy as np

from homing.instruments.base import Scored, not_measurable
from homing.instruments.item_figures import cost_of, of_items
from homing.instruments.lost_rows import HELD_BY, LEAST, LevelRows, View, held_gate, minus, said_clear, too_few
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate, Finding

__all__ = ["beside_user_concat", "bloat_held", "ladder_held", "price_of", "recovered", "rewrite_of"]


def ladder_held(at: LevelRows, v: View, held: View, tail: str) -> Finding:
    """Every score under a hold less that with nothing done, the one bit by bit first: the primary test of a hold."""
    name, hold = at.name(f"{tail}ladder", held.hold), held.hold
    if (bad := held_gate(at, name, v, held, "sharded")) is not None:
        return bad
    found, p = dict[str, Estimate](), 1.0
    rest = [c for c in at.rows.conditions(at.level) if c not in ("sharded", "recap", "snowball")]  # no hold acts there
    for c in ("sharded", *rest):
        x = minus(held.mean(c), v.mean(c))
        if len(x) >= LEAST and at.readable(name, held, c) is None and at.readable(name, v, c) is None:
            found[c], tested = of_items(x, f"{name} {c}", least=-1.0, most=1.0)
            p = tested if c == "sharded" else p
    if "sharded" not in found:
        return too_few(name, minus(held.mean("sharded"), v.mean("sharded")))
    found["held_sharded"], _ = of_items(held.mean("sharded"), f"{name} held", least=0.0, most=1.0)
    e = found["sharded"]
    to = found["held_sharded"].value
    verdict = f"Bit by bit the score changes by {e.value:+.2f} under {hold}, {said_clear(e)}, to {to:.2f}."
    return at.found(name, held, at.rows.conditions(at.level), found, verdict, {"sharded": p})


def recovered(at: LevelRows, v: View, held: View, tail: str) -> Finding:
    """How much of what is lost bit by bit a hold brings back: of the way to the task at once, and to its shards at once."""
    name = at.name(f"{tail}recovered", held.hold)
    if (bad := held_gate(at, name, v, held, "sharded")) is not None:
        return bad
    found: dict[str, Estimate] = {}
    gained = minus(held.mean("sharded"), v.mean("sharded"))
    for goal in ("full", "concat"):
        lost = v.less(goal, "sharded")
        both = [k for k in gained if k in lost]
        if len(both) < LEAST:
            continue
        gap, _ = of_items({k: lost[k] for k in both}, f"{name} {goal}", least=-1.0, most=1.0)
        if gap.low > 0:
            found[goal] = ratio_of_means([gained[k] for k in both], [lost[k] for k in both], seed=0, clusters=both)
    if not found:
        return not_measurable(name, "nothing is shown to be lost bit by bit, so there is nothing to bring back")
    to = {"full": "the task said at once", "concat": "its shards in one message"}
    said = " and ".join(f"{e.value:.0%} [{e.low:.0%}, {e.high:.0%}] of the way to {to[k]}" for k, e in found.items())
    return at.found(name, held, ("sharded",), found, f"{held.hold} brings back {said}.")


def bloat_held(at: LevelRows, v: View, held: View) -> Finding:
    """The change of the last answer's length, words."""
    name = at.name("bloat", held.hold)
    now, before = held.mean("sharded", "length"), v.mean("sharded", "length")
    both = [k for k in now if k in before]
    if len(both) < LEAST or not sum(before[k] for k in both):
        return too_few(name, both if len(both) < LEAST else ())
    e, _ = of_items(minus(now, before), name, least=-400.0, most=400.0)
    e = Estimate(e.value, e.low, e.high, e.level, e.n, "words", e.method)
    return Finding(
        name, {"words": e}, verdict=f"The last answer changes by {e.value:+.1f} words under {held.hold}, {said_clear(e)}.",
        cost=cost_of(held.scored("sharded")), held_by=HELD_BY,
    )  # fmt: skip


def rewrite_of(at: LevelRows, held: View) -> Finding:
    """Facts that a rewriting keeps, facts in it that nobody said, and what became of one that was taken back."""
    name, places = at.name("rewrite", held.hold), ("sharded", "revised", "distracted")
    changed = [x for c in places for x in held.mean(c, "rewritten").values()]
    if not any(changed):
        return not_measurable(name, f"{held.hold} leaves what the user said as it is, or nothing was answered in words")
    found: dict[str, Estimate] = {}
    for key, conditions in (("recall", places), ("precision", places), *((k, ("revised",)) for k in FATES)):
        by: dict[str, list[float]] = {}
        for c in conditions:
            for item, x in held.mean(c, key).items():
                by.setdefault(item, []).append(x)
        x = {k: float(np.mean(v)) for k, v in by.items()}
        if len(x) >= LEAST:
            found[key], _ = of_items(x, f"{name} {key}", least=0.0, most=1.0)
    if "recall" not in found:
        return too_few(name, changed)
    verdict = f"What the model is shown under {held.hold} keeps {found['recall'].value:.0%} of the facts"
    verdict += f", and {found['precision'].value:.0%} of what it names was said" if "precision" in found else ""
    if "replaced" in found:
        three = [f"{found[k].value:.0%}" for k in FATES]
        verdict += f"; of what is taken back {three[0]} is replaced, {three[1]} stands beside what came later, {three[2]} is lost"
    cost = cost_of(held.scored(*places))
    return Finding(name, found, verdict=f"{verdict}.", cost=cost, held_by=HELD_BY)


FATES = ("replaced", "both", "lost")
"""What became of a fact that was taken back: the later one alone, both, or not even the later one."""


def price_of(at: LevelRows, v: View, hold: str) -> Finding:
    """Replies, prompt tokens and new tokens of talks that end in words, as multiples of those with nothing done."""
    name, found = at.name("price", hold), dict[str, Estimate]()
    sides: list[dict[str, Scored]] = []
    for x in (v.under(hold), v):
        every = x.scored(*at.rows.conditions(at.level))
        sides.append({s.cell.id: s for s in every if s.values["turns"] > 1 and "length" in s.values})
    both = sorted(k for k in sides[0] if k in sides[1])
    items = [sides[0][k].cell.item for k in both]
    if len(set(items)) < LEAST:
        return too_few(name, set(items))
    for key in ("calls", "prompt_tokens", "new_tokens"):
        now, before = ([float(getattr(side[k].cost, key)) for k in both] for side in sides)
        if sum(before):
            found[key] = ratio_of_means(now, before, seed=0, clusters=items)
    if not found:
        return not_measurable(name, "what replies took is not known")
    said = ", ".join(f"{e.value:.2f} times the {k.replace('_', ' ')}" for k, e in found.items())
    cost = cost_of(sides[0][k] for k in both)
    return Finding(
        name, found, verdict=f"Against nothing done talks under {hold} take {said}.", cost=cost, held_by=HELD_BY
    )


def beside_user_concat(at: LevelRows, v: View, hold: str) -> Finding:
    """A hold less the user's words joined by no model, which is the one to beat."""
    name, mine, plain = at.name("beside_user_concat", hold), v.under(hold), v.under("user_concat")
    if (bad := held_gate(at, name, v, mine, "sharded") or at.readable(name, plain, "sharded")) is not None:
        return bad
    x = minus(mine.mean("sharded"), plain.mean("sharded"))
    if len(x) < LEAST:
        return too_few(name, x)
    e, p = of_items(x, name, least=-1.0, most=1.0)
    verdict = (
        f"Bit by bit {hold} scores {e.value:+.2f} against the user's words joined without any model, {said_clear(e)}."
    )
    return at.found(name, mine, ("sharded",), {"difference": e}, verdict, {"difference": p})
