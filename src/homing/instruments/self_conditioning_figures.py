"""The figures of the self-conditioning instrument, level by level, from the scores of its cells.

An item is one dictionary with its words; all of its conditions are paired, and it is resampled as one. A figure that is the
difference of two conditions is a paired difference of rates; one of four is a mean over items of their own difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.hold.verify import STABILISERS, mode_and_noise
from homing.instruments.base import LEAST_MASS, Scored, not_measurable, validity
from homing.stats.bootstrap import bootstrap_mean, ratio_of_means, two_way_bootstrap_many
from homing.stats.estimate import Cost, Estimate, Finding
from homing.stats.intervals import newcombe_paired, wilson, wilson_bounds
from homing.stats.regression import linear_or_quadratic
from homing.stats.seeds import stable_seed
from homing.stats.tests import exact_binomial, mcnemar_exact, permutation_paired, tost_proportion

__all__ = ["Contrast", "Rows", "crossing", "findings", "horizon", "ideal_horizon", "of_items", "paired", "survival"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NAME = "self_conditioning"
HELD_BY = "heal_verified, reinject, window, restart"
LEAST = 3
"""Fewer items with what is needed: nothing is measured."""
MARGIN = 0.1
"""A loss of accuracy within this is as good as none."""
RATES = (0, 25, 50, 75, 100)
DRAWS = 1000
Pairs = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference between conditions of the same items: the sum of ``plus`` less the sum of ``minus``.

    Attributes:
        said: what it is, as the subject of a sentence. ``base``: conditions in which the task must be off the floor.
    """

    name: str
    said: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    base: tuple[str, ...] = ("e0",)

    @property
    def conditions(self) -> tuple[str, ...]:
        """All that it is made of."""
        return (*self.plus, *self.minus)


CONTRASTS = (
    Contrast("loss", "Accuracy lost to a history in which every total is wrong", ("e0",), ("e100",)),
    Contrast("propagating", "Accuracy lost where every past update is wrong and totals go on from it", ("e0",), ("p100",)),
    Contrast(
        "attribution", "What is lost to errors as its own, beyond the same errors on a user's sheet,",
        ("e0", "user100"), ("e100", "user0"), ("e0", "user0"),
    ),
    Contrast(
        "attribution_tool", "What is lost to errors as its own, beyond the same errors printed by a program,",
        ("e0", "tool100"), ("e100", "tool0"), ("e0", "tool0"),
    ),
    Contrast("recency", "What late errors cost beyond as many early ones", ("early",), ("late",)),
    Contrast("format", "Accuracy lost to odd formats of right totals", ("e0",), ("format",)),
    Contrast("size", "What large errors cost beyond small ones", ("near",), ("far",)),
    Contrast("long_context", "Accuracy lost to a long history without any error", ("first",), ("e0",), ("first",)),
    Contrast(
        "worked", "What of the loss is gone where the sum is asked for in words",
        ("e0", "worked100"), ("e100", "worked0"), ("e0", "worked0"),
    ),
)  # fmt: skip


class Rows:
    """Scores by hold, level and condition."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str, str], dict[str, Scored]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.condition, s.cell.item)):
            self._at.setdefault((s.hold, s.cell.data["level"], s.cell.condition), {})[s.cell.item] = s

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _, _ in self._at} - {"none"})

    @property
    def levels(self) -> list[str]:
        """Those that were played."""
        return sorted({level for _, level, _ in self._at})

    def of(self, hold: str, level: str, *conditions: str) -> list[Scored]:
        """The scores of some conditions."""
        return [s for c in conditions for s in self._at.get((hold, level, c), {}).values()]

    def conditions(self, level: str) -> list[str]:
        """Conditions of a level with nothing done."""
        return sorted(c for h, x, c in self._at if h == "none" and x == level)

    def pairs(self, hold: str, level: str, condition: str, key: str = "local") -> dict[str, float]:
        """Item to its value, of those that have one."""
        found = self._at.get((hold, level, condition), {})
        return {item: float(s.values[key]) for item, s in found.items() if key in s.values}

    def contrast(self, hold: str, level: str, c: Contrast) -> dict[str, float]:
        """Item to its own difference, of those that have all conditions."""
        plus, minus = ([self.pairs(hold, level, k) for k in side] for side in (c.plus, c.minus))
        both = [i for i in (*plus, *minus)[0] if all(i in x for x in (*plus, *minus))]
        return {i: sum(x[i] for x in plus) - sum(x[i] for x in minus) for i in both}


# Figures of items


def paired(a: Pairs, b: Pairs) -> tuple[Estimate, float]:
    """First rate minus second on the same items, Newcombe's interval and McNemar's exact p-value."""
    both = [i for i in a if i in b]
    x, y = np.array([a[i] for i in both]), np.array([b[i] for i in both])
    n11, n10, n01, n00 = (int(((x == i) & (y == j)).sum()) for i, j in ((1, 1), (1, 0), (0, 1), (0, 0)))
    return newcombe_paired(n11, n10, n01, n00), mcnemar_exact(n10, n01).p_value


def of_items(x: Pairs, tag: str, *, least: float, most: float) -> tuple[Estimate, float]:
    """Mean over items and its p-value against 0.

    Where all items are alike there is nothing to resample; then up to as many may differ as Wilson's interval allows.

    Args:
        least, most: what a value can be.
    """
    values, seed = np.array(list(x.values())), stable_seed(NAME, tag)
    p = permutation_paired(values, seed=seed, clusters=list(x)).p_value
    if np.ptp(values) > 0:
        return bootstrap_mean(values, seed=seed, clusters=list(x)), p
    value, n = float(values[0]), len(values)
    rest = 1 - wilson_bounds(n, n, 0.95)[0]
    low, high = value - rest * (value - least), value + rest * (most - value)
    return Estimate(value, low, high, 0.95, n, "", "all items alike: Wilson's bound on those that may differ"), p


def _rate(x: Pairs) -> Estimate:
    return wilson(int(sum(x.values())), len(x))


def _cost(scored: Iterable[Scored]) -> Cost:
    every = [s.cost for s in scored]
    tokens = (sum(c.prompt_tokens for c in every), sum(c.new_tokens for c in every))
    return Cost(sum(c.calls for c in every), *tokens, sum(c.seconds for c in every))


def _found(
    name: str, scored: Sequence[Scored], estimates: dict[str, Estimate], verdict: str, p: dict[str, float] | None = None
) -> Finding:
    drawn = any(s.values.get("exact") is False for s in scored)
    verdict += " Choices were drawn: the model gives no log-probabilities." if drawn else ""
    return Finding(name, estimates, verdict=verdict, cost=_cost(scored), held_by=HELD_BY, p_values=p or {})


# What may be read at all


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of one run, and what it takes to read anything from it."""

    rows: Rows
    level: str
    chance: float

    def name(self, measure: str, hold: str = "none") -> str:
        """Of a finding."""
        return f"{NAME}.{self.level}.{measure}" + ("" if hold == "none" else f".{hold}")

    def readable(self, name: str, hold: str, *conditions: str) -> Finding | None:
        """Why these conditions cannot be read, or None: too few, out of format, or options that are hardly ever said."""
        asked = self.rows.of(hold, self.level, *conditions)
        if (bad := validity(name, asked)) is not None:
            return bad
        for c in conditions:
            have, masses = (self.rows.pairs(hold, self.level, c, key) for key in ("local", "mass"))
            if len(have) < LEAST:
                return self.few(name, have)
            if masses and (middle := float(np.median(list(masses.values())))) < LEAST_MASS:
                return not_measurable(
                    name, f"the digits together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed"
                )
        return None

    def few(self, name: str, have: Iterable[object]) -> Finding:
        """Too few of something."""
        return not_measurable(name, f"{len(list(have))} items have what this needs, and {LEAST} must")

    def gate(self, name: str, c: Contrast) -> Finding | None:
        """Why a contrast means nothing with nothing done, or None."""
        for base in c.base:
            if (bad := self.readable(name, "none", base) or self.floor(name, base)) is not None:
                return bad
        if (bad := self.readable(name, "none", *c.conditions)) is not None:
            return bad
        return self.ceiling(name, c)

    def floor(self, name: str, condition: str) -> Finding | None:
        """A subject that does not do the task, or does not know what a word is worth."""
        x = list(self.rows.pairs("none", self.level, condition).values())
        right = int(sum(x))
        where = "on a sheet" if condition[:4] in ("user", "tool") else "with no error shown"
        if right / len(x) <= self.chance or exact_binomial(right, len(x), rate=self.chance).p_value > 0.05:
            return not_measurable(
                name,
                f"{where} {right} of {len(x)} updates are right, not clear of chance ({self.chance:.0%}): the floor",
            )
        known = self.rows.pairs("none", self.level, "first", "lookup")
        if len(known) >= LEAST:
            k = int(sum(known.values()))
            if k / len(known) <= self.chance or exact_binomial(k, len(known), rate=self.chance).p_value > 0.05:
                return not_measurable(
                    name, f"of {len(known)} words it can say what {k} are worth, not clear of chance: it does not read the rules"
                )  # fmt: skip
        return None

    def ceiling(self, name: str, c: Contrast) -> Finding | None:
        """A task in which not even nothing but wrong totals led to a mistake: it is too easy to lose anything."""
        conditions = {"e0", "e100", *c.conditions}
        every = [x for k in conditions for x in self.rows.pairs("none", self.level, k).values()]
        if every and min(every) == 1:
            return not_measurable(
                name, f"all {len(every)} updates are right, whatever was shown: the ceiling; a harder level is needed"
            )
        return None


def findings(scored: Sequence[Scored], *, chances: Mapping[str, float]) -> list[Finding]:
    """Every figure of every level with nothing done, what each hold does to it, and how good a verifier must be.

    Args:
        chances: of each level, easiest first, the share of updates that are right without doing the task.
    """
    rows, out = Rows(scored), list[Finding]()
    for level in (x for x in chances if x in rows.levels):
        at = _Level(rows, level, chances[level])
        contrasts = [
            c for c in (*CONTRASTS, *_lengths(rows, level)) if set(c.conditions) <= set(rows.conditions(level))
        ]
        out += [_accuracy(at), *(_contrast(at, c) for c in contrasts), _dose(at), _slips(at), _horizon(at)]
        for hold in rows.holds:
            out += [_accuracy_held(at, hold), *(_contrast_held(at, c, hold) for c in contrasts)]
            out += [_dose_held(at, hold), _horizon_held(at, hold), _price(at, hold)]
        modes = sorted({m[0] for h in rows.holds if (m := mode_and_noise(h)) is not None})
        out += [_break_even(at, mode) for mode in modes]
    return out


def _lengths(rows: Rows, level: str) -> list[Contrast]:
    """How much more is lost to a long history full of errors than to a shorter one."""
    n = sorted({int(c[1:].partition("e")[0]) for c in rows.conditions(level) if c.startswith("n") and c[1].isdigit()})
    return [
        Contrast(
            f"length_{m}", f"What is lost beyond the loss to a history of {m} totals",
            ("e0", f"n{m}e100"), ("e100", f"n{m}e0"),
        )
        for m in n
    ]  # fmt: skip


# With nothing done


def _accuracy(at: _Level) -> Finding:
    """The collapse curve: right updates, and right totals, by the share of totals that are wrong."""
    name, conditions = at.name("accuracy"), [f"e{e}" for e in RATES]
    if (bad := at.readable(name, "none", *conditions) or at.floor(name, "e0")) is not None:
        return bad
    found = {c: _rate(at.rows.pairs("none", at.level, c)) for c in conditions}
    found |= {f"right_{c}": _rate(at.rows.pairs("none", at.level, c, "right")) for c in conditions}
    said = ", ".join(f"{found[f'e{e}'].value:.2f} at {e}%" for e in RATES)
    verdict = f"Updates are right by share of wrong totals: {said}."
    return _found(name, at.rows.of("none", at.level, *conditions), found, verdict)


def _contrast(at: _Level, c: Contrast) -> Finding:
    name = at.name(c.name)
    if (bad := at.gate(name, c)) is not None:
        return bad
    own = at.rows.contrast("none", at.level, c)
    if len(own) < LEAST:
        return at.few(name, own)
    rates = {k: at.rows.pairs("none", at.level, k) for k in c.conditions}
    found = {f"accuracy_{k}": _rate(x) for k, x in rates.items()}
    if len(c.conditions) == 2:
        gap, p = paired(rates[c.plus[0]], rates[c.minus[0]])
    else:
        gap, p = of_items(own, name, least=-2.0, most=2.0)
    how = "clear of 0" if gap.low > 0 or gap.high < 0 else "not clear of 0"
    verdict = f"{c.said} is {gap.value:+.2f}, {how}."
    extra: dict[str, Estimate] = {}
    if c.name in ("loss", "format"):
        both = _same(rates[c.plus[0]], rates[c.minus[0]])
        verdict += f" That it is less than {MARGIN:.0%} is {'shown' if both else 'not shown'}."
    if c.name == "loss":
        base = at.rows.pairs("none", at.level, "e0")
        for e in RATES[1:-1]:
            worse = at.rows.pairs("none", at.level, f"e{e}")
            if sum(i in base for i in worse) >= LEAST:
                extra[f"at_{e}"] = paired(base, worse)[0]
        items = [i for i in base if i in rates["e100"]]
        lost = [base[i] - rates["e100"][i] for i in items]
        extra["index"] = ratio_of_means(lost, [base[i] for i in items], seed=0, clusters=items)
        verdict += f" That is {extra['index'].value:.2f} of what is right without errors."
    scored = at.rows.of("none", at.level, *c.conditions)
    return _found(name, scored, {"difference": gap, **extra, **found}, verdict, {"difference": p})


def _same(a: Pairs, b: Pairs) -> bool:
    """Whether two rates on the same items are shown to differ by less than the margin."""
    both = [(a[i], b[i]) for i in a if i in b]
    table = [sum(1 for x in both if x == k) for k in ((1, 1), (1, 0), (0, 1), (0, 0))]
    return tost_proportion(*table, margin=MARGIN).verdict == "equivalent"


def _grid(rows: Rows, hold: str, level: str) -> tuple[list[str], F64]:
    """Items with a reply at every rate of errors, and whether each was right: ``(items, rates)``."""
    every = [rows.pairs(hold, level, f"e{e}") for e in RATES]
    items = [i for i in every[0] if all(i in x for x in every)]
    return items, np.array([[x[i] for x in every] for i in items]).reshape(len(items), len(RATES))


_DOSES = np.array(RATES) / 100
_SLOPE = (_DOSES - _DOSES.mean()) / float(((_DOSES - _DOSES.mean()) ** 2).sum())
_BEND = np.array([-0.5, 0.0, 1.0, 0.0, -0.5])
_WHOLE = Contrast("dose", "", tuple(f"e{e}" for e in RATES), ())


def _dose(at: _Level) -> Finding:
    """Slope over the share of wrong totals, and whether a line is too little; only then it is called non-linear."""
    name = at.name("dose")
    if (bad := at.gate(name, _WHOLE)) is not None:
        return bad
    items, y = _grid(at.rows, "none", at.level)
    if len(items) < LEAST:
        return at.few(name, items)
    doses, labels = np.tile(_DOSES, len(items)), [i for i in items for _ in RATES]
    got = linear_or_quadratic(
        doses, y.ravel(), clusters=labels, seed=stable_seed(NAME, name), unit="accuracy per unit of error rate"
    )
    bend, _ = of_items(dict(zip(items, y @ _BEND, strict=True)), f"{name} bend", least=-1.0, most=1.0)
    shape = "it is non-linear" if got.shape == "non-linear" else "that it is non-linear is not shown"
    verdict = (
        f"From no error to nothing but errors accuracy changes by {got.slope.value:+.2f} along a line; {shape} (a parabola"
        f" against a line: p {got.quadratic.p_value:.3f})."
    )
    scored = at.rows.of("none", at.level, *_WHOLE.plus)
    return _found(name, scored, {"slope": got.slope, "bend": bend}, verdict, {"bend": got.quadratic.p_value})


def _slips(at: _Level) -> Finding:
    """What a wrong update behind nothing but wrong totals is: the true total, a copy, or anything else."""
    name, asked = at.name("slips"), at.rows.of("none", at.level, "e100")
    if (bad := at.readable(name, "none", "e0", "e100") or at.floor(name, "e0")) is not None:
        return bad
    kinds = [str(s.values["kind"]) for s in asked if s.values.get("local") == 0]
    if len(kinds) < LEAST:
        return not_measurable(name, f"{len(kinds)} updates behind wrong totals are wrong, and {LEAST} must be")
    found = {k: wilson(kinds.count(k), len(kinds)) for k in ("truth", "copy", "other")}
    verdict = (
        f"Of {len(kinds)} wrong updates {found['truth'].value:.2f} are the true total, {found['copy'].value:.2f} repeat the"
        f" last one and {found['other'].value:.2f} are neither."
    )
    return _found(name, asked, found, verdict)


# Talks that it goes through alone


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


def _talks(at: _Level, hold: str) -> dict[str, Scored]:
    return {s.cell.item: s for s in at.rows.of(hold, at.level, "live")}


def _curve(talks: Sequence[Scored]) -> tuple[I64, NDArray[np.bool_], int]:
    prefix = np.array([s.values["prefix"] for s in talks], dtype=np.int64)
    return prefix, np.array([s.values["failed"] == 1 for s in talks]), int(talks[0].values["turns"])


def _horizon(at: _Level) -> Finding:
    """How far it goes by itself, against a subject whose accuracy at every turn is that of the first."""
    name, talks = at.name("horizon"), list(_talks(at, "none").values())
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
    first = _rate(at.rows.pairs("none", at.level, "first"))
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
    return _found(name, talks, found, verdict)


# What a hold does


def _held_gate(at: _Level, name: str, hold: str, c: Contrast, *, ceiling: bool = True) -> Finding | None:
    bad = at.gate(name, c) if ceiling else at.readable(name, "none", *c.conditions) or at.floor(name, "e0")
    return bad or at.readable(name, hold, *c.conditions)


def _accuracy_held(at: _Level, hold: str) -> Finding:
    """Right updates and right totals under a hold less those with nothing done, at every share of wrong totals."""
    name = at.name("accuracy", hold)
    if (bad := _held_gate(at, name, hold, _WHOLE, ceiling=False)) is not None:
        return bad
    found, p = dict[str, Estimate](), dict[str, float]()
    for e in RATES:
        for key, tag in (("local", f"e{e}"), ("right", f"right_e{e}")):
            found[tag], p[tag] = paired(*(at.rows.pairs(h, at.level, f"e{e}", key) for h in (hold, "none")))
    found |= {f"held_e{e}": _rate(at.rows.pairs(hold, at.level, f"e{e}")) for e in RATES}
    same = _same(at.rows.pairs(hold, at.level, "e0"), at.rows.pairs("none", at.level, "e0"))
    gap = found["e100"]
    clear = "" if gap.low > 0 or gap.high < 0 else ", not clear of 0"
    verdict = (
        f"Behind nothing but wrong totals right updates change by {gap.value:+.2f} under {hold}{clear}, to"
        f" {found['held_e100'].value:.2f}, and right totals by {found['right_e100'].value:+.2f}; behind none"
        f" by {found['e0'].value:+.2f}: that this is less than {MARGIN:.0%} is {'shown' if same else 'not shown'}."
    )
    return _found(name, at.rows.of(hold, at.level, *_WHOLE.plus), found, verdict, {"e100": p["e100"]})


def _difference(name: str, mine: Pairs, base: Pairs, limit: float) -> tuple[Estimate, float]:
    return of_items({i: mine[i] - base[i] for i in mine if i in base}, name, least=-limit, most=limit)


def _contrast_held(at: _Level, c: Contrast, hold: str) -> Finding:
    name = at.name(c.name, hold)
    if (bad := _held_gate(at, name, hold, c)) is not None:
        return bad
    mine, base = (at.rows.contrast(h, at.level, c) for h in (hold, "none"))
    if sum(i in base for i in mine) < LEAST:
        return at.few(name, [i for i in mine if i in base])
    gap, _ = _difference(name, mine, base, len(c.conditions))
    verdict = f"{c.said} changes by {gap.value:+.2f} under {hold}, to {float(np.mean(list(mine.values()))):+.2f}."
    return _found(name, at.rows.of(hold, at.level, *c.conditions), {"difference": gap}, verdict)


def _dose_held(at: _Level, hold: str) -> Finding:
    name = at.name("dose", hold)
    if (bad := _held_gate(at, name, hold, _WHOLE)) is not None:
        return bad
    slopes: list[dict[str, float]] = []
    for h in (hold, "none"):
        items, y = _grid(at.rows, h, at.level)
        slopes.append(dict(zip(items, (y @ _SLOPE).tolist(), strict=True)))
    if sum(i in slopes[1] for i in slopes[0]) < LEAST:
        return at.few(name, [i for i in slopes[0] if i in slopes[1]])
    gap, _ = _difference(name, slopes[0], slopes[1], 2 * float(_SLOPE[_SLOPE > 0].sum()))
    verdict = f"The slope over the share of wrong totals changes by {gap.value:+.2f} under {hold}."
    return _found(name, at.rows.of(hold, at.level, *_WHOLE.plus), {"slope": gap}, verdict)


def _horizon_held(at: _Level, hold: str) -> Finding:
    name, mine, base = at.name("horizon", hold), _talks(at, hold), _talks(at, "none")
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
        return _found(name, talks[0], estimates, f"{verdict}.")
    estimates["right"], p = _difference(f"{name} share", shares[0], shares[1], 1.0)
    verdict += f"; of all totals {estimates['right'].value:+.2f} more are right."
    return _found(name, talks[0], estimates, verdict, {"right": p})


def _price(at: _Level, hold: str) -> Finding:
    """Words that the model is shown, and prompt tokens and replies of talks, as multiples of those with nothing done."""
    name, found = at.name("price", hold), dict[str, Estimate]()
    shown = [{s.cell.id: s for s in at.rows.of(h, at.level, *_WHOLE.plus)} for h in (hold, "none")]
    talks = [_talks(at, h) for h in (hold, "none")]
    both = sorted(i for i in shown[0] if i in shown[1])
    items = [shown[0][i].cell.item for i in both]
    # what other holds show is not known to a score; they are priced by their talks alone
    if len(set(items)) >= LEAST and all(h in STABILISERS or h == "sham" for h in hold.split("+")):
        words = [[float(side[i].values["words_shown"]) for i in both] for side in shown]
        found["words"] = ratio_of_means(*words, seed=0, clusters=items)
    live = sorted(i for i in talks[0] if i in talks[1])
    for key in ("prompt_tokens", "calls"):
        spent = [[float(getattr(side[i].cost, key)) for i in live] for side in talks]
        if len(live) >= LEAST and all(spent[1]):
            found[key] = ratio_of_means(*spent, seed=0, clusters=live)
    if not found:
        return at.few(name, ())
    said = {"words": "words shown", "prompt_tokens": "prompt tokens of talks", "calls": "replies made in talks"}
    verdict = f"Against nothing done {hold} takes " + ", ".join(
        f"{e.value:.2f} times the {said[k]}" for k, e in found.items()
    )
    return _found(name, [*shown[0].values(), *talks[0].values()], found, f"{verdict}.")


def crossing(levels: Sequence[float], gains: Sequence[float]) -> float:
    """Where a gain is used up, along straight lines between levels; 0 where there is none, the last level where it never is."""
    if gains[0] <= 0:
        return 0.0
    for k in range(1, len(levels)):
        if gains[k] <= 0:
            return levels[k - 1] + (levels[k] - levels[k - 1]) * gains[k - 1] / (gains[k - 1] - gains[k])
    return levels[-1]


def _break_even(at: _Level, mode: str) -> Finding:
    """How often a verifier may err before right totals are no more frequent than with nothing done."""
    name = at.name("break_even", mode)
    played = {h: m[1] for h in at.rows.holds if (m := mode_and_noise(h)) is not None and m[0] == mode}
    holds = sorted(played, key=played.__getitem__)
    levels = [played[h] for h in holds]
    if len(levels) < LEAST or levels[0] > 0:
        said = ", ".join(f"{x:.0%}" for x in levels)
        return not_measurable(
            name, f"verifiers that err at {said} were tried; a break-even needs one that never errs and two that do"
        )
    if (bad := at.readable(name, "none", "e0") or at.floor(name, "e0")) is not None:
        return bad
    found: dict[str, Estimate] = {}
    for tag, condition in (*((f"at_{e}", f"e{e}") for e in RATES[1:]), ("live", "live")):
        sides = [at.rows.pairs(h, at.level, condition, "right") for h in ("none", *holds)]
        items = [i for i in sides[0] if all(i in x for x in sides)]
        if len(items) < LEAST:
            continue
        y = np.array([[x[i] for i in items] for x in sides])

        def where(i: I64, _: I64, y: F64 = y) -> float:
            means = y[:, i].mean(axis=1)
            return crossing(levels, (means[1:] - means[0]).tolist())

        seed = stable_seed(NAME, name, tag)
        found[tag] = two_way_bootstrap_many(where, len(items), 1, seed=seed, draws=DRAWS // 2, unit="error rate")[0]
        if condition == "e50":
            found |= {f"right_{x * 100:.0f}": _rate(s) for x, s in zip((*levels,), sides[1:], strict=True)}
    if "at_50" not in found:
        return at.few(name, ())
    value = found["at_50"].value
    at_least = "at least " if value >= levels[-1] else ""
    verdict = (
        f"Where half of the shown totals are wrong, {mode} gives more right totals than nothing done until its verifier errs"
        f" about {at_least}{value:.0%} of the time."
    )
    return _found(name, at.rows.of(holds[0], at.level, "e50"), found, verdict)
