"""The figures of the superposition instrument, from the scores of its games, talks, number games and regenerations.

A game is resampled as one. What a hold does is the paired difference over the same games.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import LEAST_MASS, Scored, not_measurable, validity
from homing.instruments.superposition_worlds import (
    OUTCOMES,
    Value,
    at_end,
    at_moment,
    beyond_chance,
    beyond_prior,
    character,
    end_of,
    less_one,
    off_one,
    outcome_is,
    plain,
    spoken,
)
from homing.stats.bootstrap import bootstrap_difference, bootstrap_mean, ratio_of_means, two_way_bootstrap_many
from homing.stats.components import variance_components
from homing.stats.estimate import Cost, Estimate, Finding
from homing.stats.intervals import newcombe_paired, wilson
from homing.stats.seeds import stable_seed
from homing.stats.tests import exact_binomial, mcnemar_exact, permutation_paired

__all__ = ["Rows", "findings"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NAME = "superposition"
HELD_BY = "commit, private_memory"
LEAST = 3
"""Fewer games, numbers or regenerations: nothing is measured."""
LEAKY = 0.01
ROOM = 0.1
"""How often reveals of different games must differ for commitment to be told from mode collapse."""
DRAWS = 500


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


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Every figure with nothing done, then what each hold does to it, then one hold beside its rival."""
    rows, out = Rows(scored), list[Finding]()
    for tail, made, conditions, gates in FIGURES:
        name, asked = f"{NAME}.{tail}", rows.of("none", *conditions)
        out.append(_gate(name, asked, *gates) or made(name, asked))
    out += [_temperature(rows), _persona(rows, "none")]
    for hold in rows.holds:
        out += [_held(rows, hold, m) for m in MEASURES] + [_persona(rows, hold)]
    return [*out, _rival(rows)] if {"commit", "private_memory"} <= set(rows.holds) else out


# What may be read at all, and small words of this file


def _gate(name: str, asked: Sequence[Scored], *gates: str) -> Finding | None:
    """Why nothing is measured on these scores, or None.

    Args:
        gates: ``reveal``, ``yes``: the options have mass; ``words``: reveals in words can be read; ``list``: the model can read
            the list of objects.
    """
    if len(asked) < LEAST:
        return _few(name, asked)
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


def _few(name: str, have: Iterable[object]) -> Finding:
    return not_measurable(name, f"{len(list(have))} have what this needs, and {LEAST} must")


def _cost(scored: Iterable[Scored]) -> Cost:
    every = [s.cost for s in scored]
    tokens = (sum(c.prompt_tokens for c in every), sum(c.new_tokens for c in every))
    return Cost(sum(c.calls for c in every), *tokens, sum(c.seconds for c in every))


def _found(
    name: str, asked: Sequence[Scored], estimates: dict[str, Estimate], verdict: str, p: dict[str, float] | None = None
) -> Finding:
    return Finding(name, estimates, verdict=verdict, cost=_cost(asked), held_by=HELD_BY, p_values=p or {})


def _pairs(asked: Sequence[Scored], value: Value) -> dict[str, float]:
    """Item to its value, those that have one."""
    found = {s.cell.item: value(s) for s in asked}
    return {k: float(v) for k, v in found.items() if v is not None}


def _means(asked: Sequence[Scored], values: Mapping[str, Value]) -> dict[str, Estimate]:
    """The mean over items of each value that enough of them have."""
    every = {k: _pairs(asked, v) for k, v in values.items()}
    return {
        k: bootstrap_mean(list(x.values()), seed=stable_seed(NAME, k), clusters=list(x))
        for k, x in every.items()
        if len(x) >= LEAST
    }


def _rate(asked: Sequence[Scored], value: Value) -> Estimate:
    x = list(_pairs(asked, value).values())
    return wilson(int(sum(x)), len(x))


def _p(asked: Sequence[Scored], value: Value) -> float:
    x = _pairs(asked, value)
    return permutation_paired(list(x.values()), seed=stable_seed(NAME, "test"), clusters=list(x)).p_value


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
    found = _means(asked, values)
    if not {"commitment_first", "commitment_last"} <= set(found):
        return _few(name, _pairs(asked, at_end("commitment")))
    beyond = {k: _beyond(asked, last=k == "last") for k in ("first", "last")}
    both = [min((e for e in (found[f"commitment_{k}"], x) if e), key=lambda e: e.value) for k, x in beyond.items()]
    found |= {f"beyond_prior_{k}": e for k, e in beyond.items() if e}
    more = _means(asked, {"consistency": at_end("consistency"), "drift": plain("drift")})
    fits = None if _gate(name, asked, "yes", "list") else more.get("consistency")
    what, collapsed = character(both[0], both[1], fits, more.get("drift")), None in beyond.values()
    what = "undecided" if collapsed and what == "committed" else what
    verdict = (
        f"{what.capitalize()}: commitment is {found['commitment_first']:.2f} after the opening and"
        f" {found['commitment_last']:.2f} at the end, where 1 is one choice and 0 a draw among what is left"
        + ("; reveals are as alike in other games, so it cannot be told from mode collapse" if collapsed else "")
        + (f"; beyond what games share it is {beyond['last']:.2f}" if beyond["last"] else "")
        + ("." if fits else ". Whether reveals fit the answers is not measurable.")
    )  # fmt: skip
    return _found(name, asked, found, verdict)


def _spoken_means(asked: Sequence[Scored]) -> dict[str, Estimate]:
    every = ("commitment", "collision", "simulacra", "consistency")
    ends = (("first", False), ("last", True))
    return _means(asked, {f"{m}_{end}": spoken(m, last=last) for m in every for end, last in ends})


def _by_sampling(name: str, asked: Sequence[Scored]) -> Finding:
    """Commitment from reveals in words, where the model gives no log-probabilities."""
    if (bad := _gate(name, asked, "words")) is not None:
        return bad
    found = _spoken_means(asked)
    if not {"commitment_first", "commitment_last"} <= set(found):
        return _few(name, _pairs(asked, spoken("commitment", last=True)))
    fits = None if _gate(name, asked, "yes", "list") else found.get("consistency_last")
    what = character(found["commitment_first"], found["commitment_last"], fits)
    verdict = (
        f"{what.capitalize()}, by sampling: commitment is {found['commitment_first']:.2f} after the opening and"
        f" {found['commitment_last']:.2f} at the end; a liking for single numbers is not taken out."
    )
    return _found(name, asked, found, verdict)


def _words(name: str, asked: Sequence[Scored]) -> Finding:
    """The same measures from reveals in words, and how far they are from those by log-probability."""
    said = spoken("collision", last=True)
    gap = _difference(asked, asked, said, "words", other=at_end("collision"))
    if gap is None:
        return _few(name, _pairs([s for s in asked if f"collision.{end_of(s)}" in s.values], said))
    verdict = f"Two reveals in words are alike {gap[0]:+.2f} more often than the probabilities say."
    return _found(name, asked, _spoken_means(asked) | {"words_less_probabilities": gap[0]}, verdict)


def _collapse(name: str, asked: Sequence[Scored]) -> Finding:
    """Effective number of simulacra after each turn."""
    end = max(map(end_of, asked))
    found = _means(
        asked, {f"simulacra_{t}": at_moment("simulacra", t) for t in range(end + 1)} | {"excess": at_end("excess")}
    )
    if not {"simulacra_0", f"simulacra_{end}"} <= set(found):
        return _few(name, _pairs(asked, at_end("simulacra")))
    verdict = (
        f"After the opening {found['simulacra_0']:.1f} of {len(asked[0].values['kinds'])} objects are in play at once, and"
        f" {found[f'simulacra_{end}']:.1f} at the end, when {len(asked[0].values[f'left.{end}'])} are left."
    )
    return _found(name, asked, found, verdict)


def _consistency(name: str, asked: Sequence[Scored]) -> Finding:
    end = max(map(end_of, asked))
    every = {f"consistency_{t}": at_moment("consistency", t) for t in range(1, end + 1)}
    found = _means(asked, every | {"beyond_chance": beyond_chance})
    if "beyond_chance" not in found:
        return _few(name, _pairs(asked, beyond_chance))
    fits, more = found[f"consistency_{end}"], found["beyond_chance"]
    how = "more" if more.low > 0 else "less" if more.high < 0 else "not clearly other"
    verdict = f"At the end a reveal fits every answer with {fits:.2f}, {how} than a blind draw's {fits.value - more.value:.2f}."
    return _found(name, asked, found, verdict, {"beyond_chance": _p(asked, beyond_chance)})


def _drift(name: str, asked: Sequence[Scored]) -> Finding:
    found = _means(asked, {"per_turn": plain("drift"), "belief_shift": plain("shift")})
    if "per_turn" not in found:
        return _few(name, _pairs(asked, plain("drift")))
    found |= {k: _rate(asked, plain(k)) for k in ("once", "branch")}
    verdict = (
        f"After {found['per_turn']:.2f} of turns another object is the likeliest reveal; in {found['once']:.2f} of games it"
        " changes at least once."
    )
    return _found(name, asked, found, verdict)


def _outcomes(name: str, asked: Sequence[Scored]) -> Finding:
    have = [s for s in asked if f"outcome.{end_of(s)}" in s.values]
    if len(have) < LEAST:
        return _few(name, have)
    found = {o: _rate(have, lambda s, o=o: outcome_is(s, o)) for o in OUTCOMES}
    most = max(OUTCOMES, key=lambda o: found[o].value)
    verdict = (
        f"{found['self_consistent']:.2f} of games end with one object confirmed and the same revealed; most often"
        f" {most.replace('_', ' ')}, {found[most]:.2f}."
    )
    return _found(name, asked, found | _means(have, {"confirm_mass": at_end("confirm_mass")}), verdict)


def _leakage(name: str, asked: Sequence[Scored]) -> Finding:
    rate = _rate(asked, plain("leaked"))
    return _found(
        name, asked, {"leaked": rate}, f"It names one object before it is asked in {rate:.3f} of conversations."
    )


def _success(name: str, asked: Sequence[Scored]) -> Finding:
    rate = _rate(asked, plain("success"))
    verdict = (
        f"{rate:.2f} of games can be played to their end: every reveal in words names one and the same object, it fits all"
        " answers, and none was given away."
    )  # fmt: skip
    return _found(name, asked, {"success": rate}, verdict)


def _numbers(name: str, asked: Sequence[Scored]) -> Finding:
    found = _means(asked, {"mass": plain("mass"), "mass_less_one": less_one, "off_by": off_one})
    if "mass" not in found:
        return _few(name, _pairs(asked, plain("mass")))
    gap = found["mass_less_one"]
    how = "claims more than one" if gap.low > 0 else "denies them all" if gap.high < 0 else "is not shown to be off"
    verdict = (
        f"Asked for every number in turn it says yes {found['mass']:.2f} times, a host of one number once: it {how}."
    )
    return _found(name, asked, found, verdict, {"mass_less_one": _p(asked, less_one)})


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
    if (bad := _gate(name, cold, "reveal")) is not None:
        return bad
    measures = {"commitment": at_end("commitment"), "consistency": at_end("consistency"), "drift": plain("drift")}
    gaps = {k: _difference(cold, warm, v, f"temperature {k}") for k, v in measures.items()}
    found = {k: e[0] for k, e in gaps.items() if e is not None}
    if "drift" not in found:
        return _few(name, _pairs(cold, plain("drift")))
    found["once_cold"] = _rate(cold, plain("once"))
    verdict = (
        "At temperature 0 the same reveal comes back by construction. From turn to turn it still changes at least once in"
        f" {found['once_cold']:.2f} of games; drift is {found['drift']:+.2f} against temperature 1."
    )
    return _found(name, [*warm, *cold], found, verdict)


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
        return _few(name, both)
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
    return _found(name, rows.of(hold, "persona"), found, verdict)


# What a hold does


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


def _difference(
    mine: Sequence[Scored], base: Sequence[Scored], value: Value, tag: str, *, rate: bool = False, other: Value | None = None
) -> tuple[Estimate, float] | None:  # fmt: skip
    """Paired difference over the same items and its p-value; None with too few of them. ``other``: the value of ``base``."""
    a, b = _pairs(mine, value), _pairs(base, other or value)
    both = sorted(k for k in a if k in b)
    if len(both) < LEAST:
        return None
    x, y = np.array([a[k] for k in both]), np.array([b[k] for k in both])
    if rate:
        table = [int(((x == i) & (y == j)).sum()) for i, j in ((1, 1), (1, 0), (0, 1), (0, 0))]
        return newcombe_paired(*table), mcnemar_exact(table[1], table[2]).p_value
    gap = bootstrap_difference(x, y, seed=stable_seed(NAME, tag), clusters=both)
    return gap, permutation_paired(x - y, seed=stable_seed(NAME, tag, "test"), clusters=both).p_value


def _held(rows: Rows, hold: str, m: _Measure) -> Finding:
    name = f"{NAME}.{m.name}.{hold}"
    mine, base = (rows.of(h, *m.conditions) for h in (hold, "none"))
    for side in (base, mine):
        if (bad := _gate(name, side, *m.gates)) is not None:
            return bad
    before = _pairs(base, m.value)
    if m.top is not None and before and min(before.values()) >= m.top:
        return not_measurable(name, f"with nothing done all {len(before)} games are at the ceiling")
    found = _difference(mine, base, m.value, f"{m.name} {hold}", rate=m.rate)
    if found is None:
        return _few(name, [k for k in _pairs(mine, m.value) if k in before])
    gap, p = found
    level = _rate(mine, m.value) if m.rate else _means(mine, {"held": m.value})["held"]
    turns = (
        range(max(map(end_of, mine)) + 1) if m.name == "collapse" else ()
    )  # the whole curve beside that with nothing done
    curve = _means(mine, {f"held_{t}": at_moment("simulacra", t) for t in turns})
    clear = "" if gap.low > 0 or gap.high < 0 else ", not clear of 0"
    verdict = f"{m.said} changes by {gap:+.2f} under {hold}{clear}; it is {level:.3f} then."
    if m.name == "leakage":
        verdict += f" That it is under {LEAKY:.0%} is {'shown' if level.high < LEAKY else 'not shown'}."
    if m.forced and "commit" in hold.split("+"):
        verdict += " One choice is made by construction: judge it by consistency, leakage and success."
    return _found(name, mine, {"difference": gap, "held": level} | curve, verdict, {"difference": p})


def _rival(rows: Rows) -> Finding:
    """``commit`` less ``private_memory`` on the same games, by what either must earn, and what each costs."""
    name, found, p = f"{NAME}.rival", dict[str, Estimate](), dict[str, float]()
    for m in MEASURES:
        mine, other = (rows.of(h, *m.conditions) for h in ("commit", "private_memory"))
        if m.forced or any(_gate(name, side, *m.gates) for side in (mine, other)):
            continue
        gap = _difference(mine, other, m.value, f"rival {m.name}", rate=m.rate)
        if gap is not None:
            found[m.name], p[m.name] = gap
    if not found:
        return not_measurable(name, "neither consistency, leakage nor success can be read under both holds")
    both = [rows.of(h, "game") for h in ("commit", "private_memory")]
    calls = [_cost(games).calls / max(len(games), 1) for games in both]
    said = ", ".join(f"{k} {e:+.2f}" for k, e in found.items())
    verdict = f"commit less private_memory: {said}; a game takes {calls[0]:.0f} and {calls[1]:.0f} replies."
    return _found(name, [*both[0], *both[1]], found, verdict, p)
