"""The figures of the lost-in-conversation instrument, level by level, from the scores of its cells.

A task is resampled as one, with all its conditions and runs. The score of a run is the probability of the right candidate at
temperature 1, or in words 0 or 1; a task's score is the mean over its runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from homing.hold.mediate import STABILISERS
from homing.instruments.base import Scored
from homing.instruments.item_figures import cost_of, of_items
from homing.instruments.lost_held import beside_user_concat, bloat_held, ladder_held, price_of, recovered, rewrite_of
from homing.instruments.lost_measures import MEASURES, WORDED, measured, measured_held
from homing.instruments.lost_reliability import reliability, reliability_held
from homing.instruments.lost_rows import BASE, HELD_BY, LEAST, LevelRows, Rows, View, too_few
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate, Finding

__all__ = ["findings"]

ORDER = ("full", "concat", "shuffled", "parts2", "parts3", "parts4", "snowball", "recap", "sharded")


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Every figure of every level with nothing done, what each hold does to it, what it rewrites, and what it costs."""
    rows, out = Rows(scored), list[Finding]()
    for level in rows.levels:
        at = LevelRows.of(rows, level)
        there = set(rows.conditions(level))
        measures = [m for m in MEASURES if set(m.needs) <= there]
        words = View(rows, level, "none", frozenset(str(s.cell.data["family"]) for s in _all(rows, level)), "right")
        views = {"": at.view, "words_": words}
        for tail, v in views.items():
            out += [
                _ladder(at, v, tail),
                *(measured(at, v, m, tail) for m in measures if not tail or m.name in WORDED),
            ]
            out.append(reliability(at, v, tail))
        out += [_bloat(at, words), _families(at)]
        for hold in rows.holds:
            for tail, v in views.items():
                held = v.under(hold)
                out += [ladder_held(at, v, held, tail), recovered(at, v, held, tail)]
                out += [measured_held(at, v, held, m, tail) for m in measures if not tail or m.name in WORDED]
                out.append(reliability_held(at, v, held, tail))
            out += [
                bloat_held(at, words, words.under(hold)),
                rewrite_of(at, words.under(hold)),
                price_of(at, words, hold),
            ]
            if hold in STABILISERS and hold != "user_concat" and "user_concat" in rows.holds:
                out.append(beside_user_concat(at, at.view, hold))
    return out


def _all(rows: Rows, level: str) -> list[Scored]:
    return [s for runs in rows.tasks("none", level, "full").values() for s in runs]


def _ladder(at: LevelRows, v: View, tail: str) -> Finding:
    """The score of every way to say a task, and two of them as a share of what it is when it is said at once."""
    name = at.name(f"{tail}ladder")
    if (bad := at.readable(name, v, "full", "sharded") or at.floor(name, v)) is not None:
        return bad
    found: dict[str, Estimate] = {}
    for c in at.rows.conditions(at.level):
        if len(x := v.mean(c)) >= LEAST and at.readable(name, v, c) is None:
            found[c], _ = of_items(x, f"{name} {c}", least=0.0, most=1.0)
    full = v.mean("full")
    for c in ("sharded", "concat"):
        mine = v.mean(c)
        both = [k for k in full if k in mine]
        if c not in found:
            continue
        found[f"{c}_share"] = ratio_of_means([mine[k] for k in both], [full[k] for k in both], seed=0, clusters=both)
    said = ", ".join(f"{c} {found[c].value:.2f}" for c in ORDER if c in found)
    share = found["sharded_share"]
    verdict = f"Scores: {said}. Bit by bit it keeps {share.value:.0%} [{share.low:.0%}, {share.high:.0%}] of what it can at once."
    return at.found(name, v, at.rows.conditions(at.level), found, verdict)


def _lengths(v: View) -> tuple[list[str], list[float], list[float]]:
    long, short = v.mean("sharded", "length"), v.mean("full", "length")
    both = [k for k in long if k in short]
    return both, [long[k] for k in both], [short[k] for k in both]


def _bloat(at: LevelRows, v: View) -> Finding:
    """How long the last answer is, as a multiple of the answer to the task said at once."""
    name = at.name("bloat")
    both, long, short = _lengths(v)
    if len(both) < LEAST or not sum(short):
        return too_few(name, both if sum(short) else ())
    found = {"times": ratio_of_means(long, short, seed=0, clusters=both)}
    verdict = (
        f"The last answer bit by bit is {found['times'].value:.2f} times as long as the answer to a task said at once."
    )
    return Finding(name, found, verdict=verdict, cost=cost_of(v.scored("full", "sharded")), held_by=HELD_BY)


def _families(at: LevelRows) -> Finding:
    """Loss and score at once, family by family; those at the floor show in their own score."""
    name, v = at.name("families"), at.view
    if (bad := at.readable(name, v, *BASE)) is not None:
        return bad
    found: dict[str, Estimate] = {}
    for family in sorted(v.families):
        one = View(v.rows, v.level, v.hold, frozenset({family}), v.key)
        if len(lost := one.less("full", "sharded")) >= LEAST:
            found[f"{family}_full"], _ = of_items(one.mean("full"), f"{name} {family}", least=0.0, most=1.0)
            found[f"{family}_loss"], _ = of_items(lost, f"{name} {family} loss", least=-1.0, most=1.0)
    if not found:
        return too_few(name, ())
    said = ", ".join(
        f"{k.removesuffix('_loss')} {e.value:+.2f} of {found[k.replace('_loss', '_full')].value:.2f}"
        for k, e in found.items() if k.endswith("_loss")
    )  # fmt: skip
    return at.found(name, v, ("full", "sharded"), found, f"Lost bit by bit, of what is right at once: {said}.")
