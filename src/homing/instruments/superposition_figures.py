"""The figures of the superposition instrument, from the scores of its games, talks, number games and regenerations.

A game is resampled as one. What a hold does is the paired difference over the same games.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import Scored, not_measurable
from homing.instruments.superposition_held import MEASURES, held, rival
from homing.instruments.superposition_measures import OUTCOMES, beyond_prior, character
from homing.instruments.superposition_rows import (
    LEAST,
    NAME,
    Rows,
    Value,
    at_end,
    at_moment,
    beyond_chance,
    difference,
    end_of,
    few,
    finding,
    gate,
    less_one,
    means,
    off_one,
    outcome_is,
    p_value,
    pairs,
    plain,
    rate_of,
    spoken,
)
from homing.stats.bootstrap import ratio_of_means, two_way_bootstrap_many
from homing.stats.components import variance_components
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["Rows", "findings"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
ROOM = 0.1
"""How often reveals of different games must differ for commitment to be told from mode collapse."""
DRAWS = 500


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Every figure with nothing done, then what each hold does to it, then one hold beside its rival."""
    rows, out = Rows(scored), list[Finding]()
    for tail, made, conditions, gates in FIGURES:
        name, asked = f"{NAME}.{tail}", rows.of("none", *conditions)
        out.append(gate(name, asked, *gates) or made(name, asked))
    out += [_temperature(rows), _persona(rows, "none")]
    for hold in rows.holds:
        out += [held(rows, hold, m) for m in MEASURES] + [_persona(rows, hold)]
    return [*out, rival(rows)] if {"commit", "private_memory"} <= set(rows.holds) else out


# With nothing done


def _beyond(asked: Sequence[Scored], *, last: bool) -> Estimate | None:
    """Commitment beyond the prior at the first or last moment; None where it cannot be told from mode collapse."""
    have = [s for s in asked if "p.0" in s.values and f"p.{end_of(s)}" in s.values]
    if len(have) < LEAST:
        return None
    at = [end_of(s) if last else 0 for s in have]
    p = np.array([s.values[f"p.{t}"] for s, t in zip(have, at, strict=True)])
    left = np.zeros(p.shape, dtype=np.bool_)
    for row, s, t in zip(left, have, at, strict=True):
        row[s.values[f"left.{t}"]] = True
    kinds = np.array([s.values["kinds"] for s in have], dtype=np.int64)
    top, bottom = beyond_prior(p, left, kinds, np.array([s.values["p.0"] for s in have]))
    if len(top) < LEAST or float(bottom.mean()) < ROOM:
        return None
    found = ratio_of_means(top, bottom, seed=stable_seed(NAME, "beyond", last))
    return found if np.isfinite(found.low) and np.isfinite(found.high) else None


def _commitment(name: str, asked: Sequence[Scored]) -> Finding:
    if not all(s.values["exact"] for s in asked):
        return _by_sampling(name, asked)
    values: dict[str, Value] = {}
    for m in ("commitment", "collision"):
        values |= {f"{m}_first": at_moment(m, 0), f"{m}_last": at_end(m)}
    found = means(asked, values)
    if not {"commitment_first", "commitment_last"} <= set(found):
        return few(name, pairs(asked, at_end("commitment")))
    beyond = {k: _beyond(asked, last=k == "last") for k in ("first", "last")}
    both = [min((e for e in (found[f"commitment_{k}"], x) if e), key=lambda e: e.value) for k, x in beyond.items()]
    found |= {f"beyond_prior_{k}": e for k, e in beyond.items() if e}
    more = means(asked, {"consistency": at_end("consistency"), "drift": plain("drift")})
    fits = None if gate(name, asked, "yes", "list") else more.get("consistency")
    what, collapsed = character(both[0], both[1], fits, more.get("drift")), None in beyond.values()
    what = "undecided" if collapsed and what == "committed" else what
    verdict = (
        f"{what.capitalize()}: commitment is {found['commitment_first']:.2f} after the opening and"
        f" {found['commitment_last']:.2f} at the end, where 1 is one choice and 0 a draw among what is left"
        + ("; reveals are as alike in other games, so it cannot be told from mode collapse" if collapsed else "")
        + (f"; beyond what games share it is {beyond['last']:.2f}" if beyond["last"] else "")
        + ("." if fits else ". Whether reveals fit the answers is not measurable.")
    )  # fmt: skip
    return finding(name, asked, found, verdict)


def _spoken_means(asked: Sequence[Scored]) -> dict[str, Estimate]:
    every = ("commitment", "collision", "simulacra", "consistency")
    ends = (("first", False), ("last", True))
    return means(asked, {f"{m}_{end}": spoken(m, last=last) for m in every for end, last in ends})


def _by_sampling(name: str, asked: Sequence[Scored]) -> Finding:
    """Commitment from reveals in words, where the model gives no log-probabilities."""
    if (bad := gate(name, asked, "words")) is not None:
        return bad
    found = _spoken_means(asked)
    if not {"commitment_first", "commitment_last"} <= set(found):
        return few(name, pairs(asked, spoken("commitment", last=True)))
    fits = None if gate(name, asked, "yes", "list") else found.get("consistency_last")
    what = character(found["commitment_first"], found["commitment_last"], fits)
    verdict = (
        f"{what.capitalize()}, by sampling: commitment is {found['commitment_first']:.2f} after the opening and"
        f" {found['commitment_last']:.2f} at the end; a liking for single numbers is not taken out."
    )
    return finding(name, asked, found, verdict)


def _words(name: str, asked: Sequence[Scored]) -> Finding:
    """The same measures from reveals in words, and how far they are from those by log-probability."""
    said = spoken("collision", last=True)
    gap = difference(asked, asked, said, "words", other=at_end("collision"))
    if gap is None:
        return few(name, pairs([s for s in asked if f"collision.{end_of(s)}" in s.values], said))
    verdict = f"Two reveals in words are alike {gap[0]:+.2f} more often than the probabilities say."
    return finding(name, asked, _spoken_means(asked) | {"words_less_probabilities": gap[0]}, verdict)


def _collapse(name: str, asked: Sequence[Scored]) -> Finding:
    """Effective number of simulacra after each turn."""
    end = max(map(end_of, asked))
    found = means(
        asked, {f"simulacra_{t}": at_moment("simulacra", t) for t in range(end + 1)} | {"excess": at_end("excess")}
    )
    if not {"simulacra_0", f"simulacra_{end}"} <= set(found):
        return few(name, pairs(asked, at_end("simulacra")))
    verdict = (
        f"After the opening {found['simulacra_0']:.1f} of {len(asked[0].values['kinds'])} objects are in play at once, and"
        f" {found[f'simulacra_{end}']:.1f} at the end, when {len(asked[0].values[f'left.{end}'])} are left."
    )
    return finding(name, asked, found, verdict)


def _consistency(name: str, asked: Sequence[Scored]) -> Finding:
    end = max(map(end_of, asked))
    every = {f"consistency_{t}": at_moment("consistency", t) for t in range(1, end + 1)}
    found = means(asked, every | {"beyond_chance": beyond_chance})
    if "beyond_chance" not in found:
        return few(name, pairs(asked, beyond_chance))
    fits, more = found[f"consistency_{end}"], found["beyond_chance"]
    how = "more" if more.low > 0 else "less" if more.high < 0 else "not clearly other"
    verdict = f"At the end a reveal fits every answer with {fits:.2f}, {how} than a blind draw's {fits.value - more.value:.2f}."
    return finding(name, asked, found, verdict, {"beyond_chance": p_value(asked, beyond_chance)})


def _drift(name: str, asked: Sequence[Scored]) -> Finding:
    found = means(asked, {"per_turn": plain("drift"), "belief_shift": plain("shift")})
    if "per_turn" not in found:
        return few(name, pairs(asked, plain("drift")))
    found |= {k: rate_of(asked, plain(k)) for k in ("once", "branch")}
    verdict = (
        f"After {found['per_turn']:.2f} of turns another object is the likeliest reveal; in {found['once']:.2f} of games it"
        " changes at least once."
    )
    return finding(name, asked, found, verdict)


def _outcomes(name: str, asked: Sequence[Scored]) -> Finding:
    have = [s for s in asked if f"outcome.{end_of(s)}" in s.values]
    if len(have) < LEAST:
        return few(name, have)
    found = {o: rate_of(have, lambda s, o=o: outcome_is(s, o)) for o in OUTCOMES}
    most = max(OUTCOMES, key=lambda o: found[o].value)
    verdict = (
        f"{found['self_consistent']:.2f} of games end with one object confirmed and the same revealed; most often"
        f" {most.replace('_', ' ')}, {found[most]:.2f}."
    )
    return finding(name, asked, found | means(have, {"confirm_mass": at_end("confirm_mass")}), verdict)


def _leakage(name: str, asked: Sequence[Scored]) -> Finding:
    rate = rate_of(asked, plain("leaked"))
    return finding(
        name, asked, {"leaked": rate}, f"It names one object before it is asked in {rate:.3f} of conversations."
    )


def _success(name: str, asked: Sequence[Scored]) -> Finding:
    rate = rate_of(asked, plain("success"))
    verdict = (
        f"{rate:.2f} of games can be played to their end: every reveal in words names one and the same object, it fits all"
        " answers, and none was given away."
    )  # fmt: skip
    return finding(name, asked, {"success": rate}, verdict)


def _numbers(name: str, asked: Sequence[Scored]) -> Finding:
    found = means(asked, {"mass": plain("mass"), "mass_less_one": less_one, "off_by": off_one})
    if "mass" not in found:
        return few(name, pairs(asked, plain("mass")))
    gap = found["mass_less_one"]
    how = "claims more than one" if gap.low > 0 else "denies them all" if gap.high < 0 else "is not shown to be off"
    verdict = (
        f"Asked for every number in turn it says yes {found['mass']:.2f} times, a host of one number once: it {how}."
    )
    return finding(name, asked, found, verdict, {"mass_less_one": p_value(asked, less_one)})


FIGURES: Sequence[tuple[str, Callable[[str, Sequence[Scored]], Finding], tuple[str, ...], tuple[str, ...]]] = (
    ("commitment", _commitment, ("game",), ("reveal",)),
    ("collapse", _collapse, ("game",), ("reveal",)),
    ("consistency", _consistency, ("game",), ("reveal", "yes", "list")),
    ("drift", _drift, ("game",), ("reveal",)),
    ("outcomes", _outcomes, ("game",), ("reveal", "yes", "list")),
    ("leakage", _leakage, ("game", "chat"), ()),
    ("success", _success, ("game",), ("words", "list")),
    ("words", _words, ("game",), ("words",)),
    ("number_game", _numbers, ("number",), ("yes",)),
)


def _temperature(rows: Rows) -> Finding:
    """Temperature 0 beside 1 on the same games."""
    name, warm, cold = f"{NAME}.temperature", rows.of("none", "game"), rows.of("none", "cold")
    if (bad := gate(name, cold, "reveal")) is not None:
        return bad
    measures = {"commitment": at_end("commitment"), "consistency": at_end("consistency"), "drift": plain("drift")}
    gaps = {k: difference(cold, warm, v, f"temperature {k}") for k, v in measures.items()}
    found = {k: e[0] for k, e in gaps.items() if e is not None}
    if "drift" not in found:
        return few(name, pairs(cold, plain("drift")))
    found["once_cold"] = rate_of(cold, plain("once"))
    verdict = (
        "At temperature 0 the same reveal comes back by construction. From turn to turn it still changes at least once in"
        f" {found['once_cold']:.2f} of games; drift is {found['drift']:+.2f} against temperature 1."
    )
    return finding(name, [*warm, *cold], found, verdict)


# Characters


def _shares(x: F64) -> F64:
    """Shares of variance: between items, regeneration by item, between regenerations; not numbers where nothing varies."""
    n, m = (int(k) for k in x.shape)
    at = np.arange(n * m)
    v = variance_components(x.ravel(), rows=at // m, columns=at % m)
    total = v.row + v.column + v.residual
    return np.array([v.column, v.residual, v.row]) / total if total > 0 else np.full(3, np.nan)


def _persona(rows: Rows, hold: str) -> Finding:
    """How alike the characters of regenerations are; under a hold, the difference to nothing done."""
    name = f"{NAME}.persona" + ("" if hold == "none" else f".{hold}")
    mine, base = ({s.cell.item: s for s in rows.of(h, "persona") if "first" in s.values} for h in (hold, "none"))
    both = sorted(k for k in mine if k in base)
    if len(both) < LEAST or len(base[both[0]].values["first"]) < LEAST:
        return few(name, both)
    now, before = (np.array([side[k].values["first"] for k in both]) for side in (mine, base))
    if not np.isfinite(_shares(now) + _shares(before)).all():
        return not_measurable(name, "every item is answered alike, so there is no variance to share out")

    def shares(r: I64, c: I64) -> F64:
        found = _shares(now[np.ix_(r, c)])
        return found if hold == "none" else found - _shares(before[np.ix_(r, c)])

    seed, (n, m) = stable_seed(NAME, "persona", hold), now.shape
    made = two_way_bootstrap_many(shares, n, m, seed=seed, draws=DRAWS, kind="normal")
    least = 0.0 if hold == "none" else -1.0  # a share lies within 0 and 1, and a difference of two within -1 and 1
    made = [Estimate(e.value, max(e.low, least), min(e.high, 1.0), e.level, e.n, e.unit, e.method) for e in made]
    found: dict[str, Estimate] = {"icc": made[0], "dispersion": made[1], "regeneration": made[2]}
    icc, apart = made[:2]
    verdict = (
        f"{icc:.2f} of what varies in its answers is between items and {apart:.2f} is a regeneration's own, item by item: the"
        " more of that, the more characters."
        if hold == "none"
        else f"Against nothing done the items' share changes by {icc:+.2f}, and what is a regeneration's own by {apart:+.2f}."
    )  # fmt: skip
    return finding(name, rows.of(hold, "persona"), found, verdict)
