"""The figures of the lost-in-conversation instrument, level by level, from the scores of its cells.

A task is resampled as one, with all its conditions and runs. The score of a run is the probability of the right candidate at
temperature 1, or in words 0 or 1; a task's score is the mean over its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from homing.hold.mediate import STABILISERS
from homing.instruments.base import LEAST_MASS, Scored, not_measurable, validity
from homing.instruments.self_conditioning_figures import of_items
from homing.stats.bootstrap import ratio_of_means, two_way_bootstrap_many
from homing.stats.estimate import Cost, Estimate, Finding
from homing.stats.seeds import stable_seed
from homing.stats.tests import exact_binomial, tost_mean

__all__ = ["MEASURES", "Rows", "findings", "pass_all", "randomness", "spread"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NAME = "lost_in_conversation"
HELD_BY = "mediate, user_concat, snowball, recap"
LEAST = 3
"""Fewer tasks with what is needed: nothing is measured."""
MARGIN = 0.1
"""A loss within this is as good as none."""
TOP = 0.99
"""A mean probability of the right candidate over which nothing is left to lose."""
GAP_RUNS = 5
"""Fewer runs of a task: percentiles of its scores mean nothing."""
DRAWS = 1000
Pairs = Mapping[str, float]
Runs = Sequence[Sequence[float]]
BASE = ("full", "concat", "sharded")
ORDER = ("full", "concat", "shuffled", "parts2", "parts3", "parts4", "snowball", "recap", "sharded")


class Rows:
    """Scores by hold, level, condition and task, run by run."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str, str], dict[str, list[Scored]]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.condition, s.cell.item, s.values["run"])):
            key = (s.hold, s.cell.data["level"], s.cell.condition)
            self._at.setdefault(key, {}).setdefault(s.cell.item, []).append(s)

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _, _ in self._at} - {"none"})

    @property
    def levels(self) -> list[str]:
        """Those that were played, easiest first."""
        order = ("tiny", "easy", "medium", "hard")
        return sorted({level for _, level, _ in self._at}, key=lambda x: order.index(x) if x in order else 9)

    def conditions(self, level: str) -> list[str]:
        """Conditions of a level with nothing done."""
        return sorted(c for h, x, c in self._at if h == "none" and x == level)

    def tasks(self, hold: str, level: str, condition: str) -> dict[str, list[Scored]]:
        """Task to the scores of its runs."""
        return self._at.get((hold, level, condition), {})


@dataclass(frozen=True, slots=True)
class _View:
    """One level under one hold, and how answers are read.

    Attributes:
        families: that can be read. ``key``: ``p``, by log-probability, or ``right``, in words.
    """

    rows: Rows
    level: str
    hold: str
    families: frozenset[str]
    key: str = "p"

    def under(self, hold: str) -> _View:
        """The same under another hold."""
        return _View(self.rows, self.level, hold, self.families, self.key)

    def scored(self, *conditions: str) -> list[Scored]:
        """All scores of some conditions."""
        every = [self.rows.tasks(self.hold, self.level, c) for c in conditions]
        return [s for tasks in every for runs in tasks.values() for s in runs if s.cell.data["family"] in self.families]

    def runs(self, condition: str, key: str = "") -> dict[str, list[float]]:
        """Task to the values of its runs that have one."""
        out: dict[str, list[float]] = {}
        for s in self.scored(condition):
            if (key or self.key) in s.values:
                out.setdefault(s.cell.item, []).append(float(s.values[key or self.key]))
        return out

    def mean(self, condition: str, key: str = "") -> dict[str, float]:
        """Task to the mean of its runs."""
        return {k: sum(x) / len(x) for k, x in self.runs(condition, key).items()}

    def less(self, a: str, b: str, key: str = "") -> dict[str, float]:
        """Task to its own difference between two conditions."""
        return minus(self.mean(a, key), self.mean(b, key))


def minus(a: Pairs, b: Pairs) -> dict[str, float]:
    """The difference on what both have."""
    return {k: a[k] - b[k] for k in a if k in b}


# Randomness within a task


def randomness(runs: Runs, fixed: Sequence[bool]) -> tuple[F64, F64]:
    """Of each task its mean score and, without bias, the variance of one answer around it: ``(tasks,)`` each.

    A run's score is the probability that its answer is right, which in words is 0 or 1. The variance of an answer is
    ``q (1 - q)``, ``q`` being the mean over runs; ``q`` squared is taken from products of different runs.

    Args:
        runs: of each task, its runs. ``fixed``: whether its score is the same in every run, so that one tells all.
    """
    mean, within = np.empty(len(runs)), np.empty(len(runs))
    for i, (x, same) in enumerate(zip(runs, fixed, strict=True)):
        p = np.asarray(x, np.float64)
        n = p.size
        square = float(p.mean() ** 2) if same else float((p.sum() ** 2 - (p**2).sum()) / (n * (n - 1)))
        mean[i], within[i] = p.mean(), p.mean() - square
    return mean, within


def spread(mean: F64, within: F64) -> float:
    """Share of the variance of answers that lies within tasks: 0 where a task always comes out alike, 1 where all are one coin.

    The variance over all answers is taken from products of different tasks. Without bias it may come out below 0 or above 1.
    Not a number where all answers are alike.
    """
    n, total = mean.size, float(mean.sum())
    whole = total / n - (total**2 - float(mean @ mean)) / (n * (n - 1))
    return float(within.sum()) / n / whole if whole > 1e-9 else float("nan")


def pass_all(p: Sequence[float], k: int, *, fixed: bool) -> float:
    """Probability that ``k`` runs of a task are all right, without bias: the mean of products of ``k`` different runs."""
    if fixed:
        return float(np.mean(p)) ** k
    # the elementary symmetric polynomial, by its recursion
    e = np.zeros(k + 1)
    e[0] = 1.0
    for x in p:
        e[1:] += x * e[:-1].copy()
    count = sum(1 for _ in combinations(range(len(p)), k))
    return float(e[k] / count)


# What may be read at all, and small words of this file


def _cost(scored: Iterable[Scored]) -> Cost:
    every = [s.cost for s in scored]
    tokens = (sum(c.prompt_tokens for c in every), sum(c.new_tokens for c in every))
    return Cost(sum(c.calls for c in every), *tokens, sum(c.seconds for c in every))


def _few(name: str, have: Iterable[object]) -> Finding:
    return not_measurable(name, f"{len(list(have))} tasks have what this needs, and {LEAST} must")


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of one run: families that can be read, why others cannot, and what is asked before anything is said."""

    rows: Rows
    level: str
    view: _View
    left_out: Mapping[str, float]

    @classmethod
    def of(cls, rows: Rows, level: str) -> _Level:
        """Leaves out families whose candidates are hardly ever said: a matter of form, looked at before any score."""
        masses: dict[str, list[float]] = {}
        for c in BASE:
            for runs in rows.tasks("none", level, c).values():
                for s in runs:
                    masses.setdefault(str(s.cell.data["family"]), []).extend(
                        [float(s.values["mass"])] if "mass" in s.values else []
                    )
        middle = {f: float(np.median(x)) for f, x in masses.items() if x}
        out = {f: m for f, m in middle.items() if m < LEAST_MASS}
        kept = frozenset(masses) - (frozenset(out) if len(out) < len(middle) else frozenset())
        return cls(rows, level, _View(rows, level, "none", kept), out)

    def name(self, measure: str, hold: str = "none") -> str:
        """Of a finding."""
        return f"{NAME}.{self.level}.{measure}" + ("" if hold == "none" else f".{hold}")

    def readable(self, name: str, v: _View, *conditions: str) -> Finding | None:
        """Why these conditions cannot be read, or None: too few, out of format, or candidates that are hardly ever said."""
        for c in conditions:
            have = v.mean(c)
            if v.key == "p":
                masses = [float(s.values["mass"]) for s in v.scored(c) if "mass" in s.values]
                if masses and (middle := float(np.median(masses))) < LEAST_MASS:
                    return not_measurable(
                        name, f"the candidates together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed"
                    )  # fmt: skip
            elif (bad := validity(name, v.scored(c))) is not None:
                return bad
            if len(have) < LEAST:
                return _few(name, have)
        return None

    def gate(self, name: str, v: _View, *conditions: str) -> Finding | None:
        """Why a figure means nothing with nothing done: it cannot be read, or the task is not done even when said at once."""
        bad = self.readable(name, v, "full", "sharded", *conditions) or self.floor(name, v)
        return bad or self.ceiling(name, v)

    def floor(self, name: str, v: _View) -> Finding | None:
        """A subject that does not do the task when it is said at once; it may not have understood it."""
        first = [s for s in v.scored("full") if s.values["run"] in ("p0", "w0")]
        key = "top" if v.key == "p" else "right"
        have = [(float(s.values[key]), float(s.values["chance"])) for s in first if key in s.values]
        right, n = int(sum(x for x, _ in have)), len(have)
        chance = float(np.mean([c for _, c in have])) if have else 0.0
        if not have or right / n <= chance or exact_binomial(right, n, rate=chance).p_value > 0.05:
            return not_measurable(
                name, f"said at once {right} of {n} tasks are done right, not clear of chance ({chance:.0%}): the floor"
            )
        return None

    def ceiling(self, name: str, v: _View) -> Finding | None:
        """A task so easy that not even bit by bit anything goes wrong."""
        means = [x for c in ("full", "sharded") for x in v.mean(c).values()]
        if means and min(means) >= TOP:
            return not_measurable(
                name,
                f"all {len(v.mean('sharded'))} tasks are done right however they are said: the ceiling; take a harder level",
            )
        return None

    def told(self, v: _View) -> str:
        """How answers were read."""
        if v.key == "right":
            return " Read from replies in words."
        drawn = any(s.values.get("exact") is False for s in v.scored("full", "sharded"))
        how = "from drawn choices among" if drawn else "by log-probability over"
        out = ", ".join(f"{f} ({m:.2f})" for f, m in sorted(self.left_out.items()) if f not in v.families)
        return f" Read {how} candidate answers." + (
            f" Left out, their candidates are hardly ever said: {out}." if out else ""
        )

    def found(
        self, name: str, v: _View, conditions: Sequence[str], estimates: Mapping[str, Estimate], verdict: str,
        p: Mapping[str, float] | None = None,
    ) -> Finding:  # fmt: skip
        """A finding, with how it was read."""
        cost, said = _cost(v.scored(*conditions)), f"{verdict}{self.told(v)}"
        return Finding(name, dict(estimates), verdict=said, cost=cost, held_by=HELD_BY, p_values=dict(p or {}))


def _clear(e: Estimate) -> str:
    return "clear of nothing" if e.low > 0 or e.high < 0 else "not clear of nothing"


# Measures that a hold is compared by: named values of each task


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
    values: Callable[[_View], dict[str, dict[str, float]]]
    tested: bool = True
    scored: bool = True
    limits: tuple[float, float] = (-1.0, 1.0)


def _loss(v: _View) -> dict[str, dict[str, float]]:
    return {
        "loss": v.less("full", "sharded"), "in_turns": v.less("concat", "sharded"), "rewording": v.less("full", "concat"),
        "order": v.less("concat", "shuffled"),
    }  # fmt: skip


def _any_turn(v: _View) -> dict[str, dict[str, float]]:
    strict, lenient = v.mean("sharded"), v.mean("sharded", f"any_{v.key}")
    return {"gain": minus(lenient, strict), "any_turn": lenient, "strict": strict}


def _twist(kind: str) -> Callable[[_View], dict[str, dict[str, float]]]:
    def values(v: _View) -> dict[str, dict[str, float]]:
        lost = v.less(f"concat_{kind}", kind)
        out = {"loss": lost, "beyond": minus(lost, v.less("concat", "sharded"))}
        return out | ({"stale": v.mean("revised", "stale")} if kind == "revised" and v.key == "p" else {})

    return values


def _attempts(v: _View) -> dict[str, dict[str, float]]:
    return {"early": v.mean("sharded", "early"), "first": v.mean("sharded", "first"), "asks": v.mean("sharded", "asks")}


def _positions(v: _View) -> dict[str, dict[str, float]]:
    turns = max((int(s.values["turns"]) for s in v.scored("sharded")), default=0)
    return {f"turn_{j + 1}": v.less("sharded", "concat", f"slip.{j}") for j in range(1, turns)}


def _gradual(v: _View) -> dict[str, dict[str, float]]:
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


def _estimates(at: _Level, m: Measure, v: _View, *, than: _View | None = None) -> tuple[dict[str, Estimate], float]:
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


# With nothing done


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Every figure of every level with nothing done, what each hold does to it, what it rewrites, and what it costs."""
    rows, out = Rows(scored), list[Finding]()
    for level in rows.levels:
        at = _Level.of(rows, level)
        there = set(rows.conditions(level))
        measures = [m for m in MEASURES if set(m.needs) <= there]
        words = _View(rows, level, "none", frozenset(str(s.cell.data["family"]) for s in _all(rows, level)), "right")
        views = {"": at.view, "words_": words}
        for tail, v in views.items():
            out += [
                _ladder(at, v, tail),
                *(_measured(at, v, m, tail) for m in measures if not tail or m.name in WORDED),
            ]
            out.append(_reliability(at, v, tail))
        out += [_bloat(at, words), _families(at)]
        for hold in rows.holds:
            for tail, v in views.items():
                held = v.under(hold)
                out += [_ladder_held(at, v, held, tail), _recovered(at, v, held, tail)]
                out += [_measured_held(at, v, held, m, tail) for m in measures if not tail or m.name in WORDED]
                out.append(_reliability_held(at, v, held, tail))
            out += [_bloat_held(at, words, words.under(hold)), _rewrite(at, words.under(hold)), _price(at, words, hold)]
            if hold in STABILISERS and hold != "user_concat" and "user_concat" in rows.holds:
                out.append(_beside(at, at.view, hold))
    return out


WORDED = ("loss", "any_turn")
"""Measures that are read in words too."""


def _all(rows: Rows, level: str) -> list[Scored]:
    return [s for runs in rows.tasks("none", level, "full").values() for s in runs]


def _ladder(at: _Level, v: _View, tail: str) -> Finding:
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


def _measured(at: _Level, v: _View, m: Measure, tail: str) -> Finding:
    name = at.name(f"{tail}{m.name}")
    if m.scored and (bad := at.gate(name, v, *m.needs)) is not None:
        return bad
    found, p = _estimates(at, m, v)
    first = next(iter(m.values(v)), "")
    if first not in found:
        return _few(name, m.values(v).get(first, {}))
    e = found[first]
    verdict = f"{m.said} is {e.value:+.2f}" + (f", {_clear(e)}." if m.tested else ".")
    if m.name == "loss":
        same = tost_mean(list(v.less("full", "sharded").values()), margin=MARGIN).verdict == "equivalent"
        verdict += f" That it is less than {MARGIN:.0%} is {'shown' if same else 'not shown'}."
        if "in_turns" in found:
            turns = found["in_turns"]
            verdict += f" Against the same words in one message it is {turns.value:+.2f}, {_clear(turns)}."
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
        verdict += (
            f" Beyond what any task loses bit by bit that is {found['beyond'].value:+.2f}, {_clear(found['beyond'])}."
        )
    conditions = ("full", "sharded", *m.needs)
    if not m.scored:
        return Finding(name, found, verdict=verdict, cost=_cost(v.scored(*conditions)), held_by=HELD_BY)
    return at.found(name, v, conditions, found, verdict, {first: p} if m.tested else {})


def _reliable(v: _View) -> tuple[list[str], dict[str, Callable[[I64], float]]]:
    """Tasks with enough runs, and every figure of reliability as a function of the tasks drawn."""
    full, sharded = v.runs("full"), v.runs("sharded")
    fixed = v.key == "p"  # by log-probability one pass says what every run would
    tasks = [k for k in full if len(sharded.get(k, ())) > 1 and (fixed or len(full[k]) > 1)]
    sides = {"full": ([full[k] for k in tasks], fixed), "sharded": ([sharded[k] for k in tasks], False)}
    made: dict[str, Callable[[I64], float]] = {}
    omega: dict[str, Callable[[I64], float]] = {}
    for side, (runs, same) in sides.items():
        mean, within = randomness(runs, [same] * len(runs))

        def share(i: I64, mean: F64 = mean, within: F64 = within) -> float:
            return spread(mean[i], within[i])

        omega[side] = made[f"omega_{side}"] = share
        most = min((len(x) for side_runs, f in sides.values() if not f for x in side_runs), default=0)
        for k in (n for n in (2, 4, 8) if n <= most):
            every = np.array([pass_all(x, k, fixed=same) for x in runs])
            other = np.array([1 - pass_all([1 - y for y in x], k, fixed=same) for x in runs])
            made[f"pass_all_{k}_{side}"] = lambda i, x=every: float(x[i].mean())
            made[f"pass_any_{k}_{side}"] = lambda i, x=other: float(x[i].mean())
    made["omega_change"] = lambda i: omega["sharded"](i) - omega["full"](i)
    for tag, x in _percentiles(v, tasks).items():
        made[tag] = lambda i, x=x: float(x[i].mean())
    return tasks, made


def _percentiles(v: _View, tasks: Sequence[str]) -> dict[str, F64]:
    """Of each task the 90th percentile of its scores (aptitude) and that less the 10th, from as many answers on either side."""
    out: dict[str, list[float]] = {}
    for side in ("full", "sharded"):
        by: dict[str, list[float]] = {}
        for s in v.scored(side):
            if v.key == "right" and "right" in s.values:
                by.setdefault(s.cell.item, []).append(float(s.values["right"]))
            elif v.key == "p" and "draws" in s.values:
                drawn: Sequence[float] = s.values["draws"]
                by.setdefault(s.cell.item, []).extend(drawn if side == "full" else drawn[:1])
        runs = min((len(v.runs("sharded")[k]) for k in tasks), default=0)
        if runs < GAP_RUNS or any(len(by.get(k, ())) < runs for k in tasks):
            return {}
        ends = np.array([np.percentile(by[k][:runs], [90, 10]) for k in tasks])
        out[f"aptitude_{side}"] = ends[:, 0].tolist()
        out[f"gap_{side}"] = (ends[:, 0] - ends[:, 1]).tolist()
    return {k: np.array(x) for k, x in out.items()}


def _resampled(tasks: Sequence[str], made: Mapping[str, Callable[[I64], float]], tag: str) -> dict[str, Estimate]:
    """All figures with tasks resampled, those that exist; shares keep within what they can be."""
    names = list(made)

    def every(i: I64, _: I64) -> list[float]:
        return [made[k](i) for k in names]

    got = two_way_bootstrap_many(every, len(tasks), 1, seed=stable_seed(NAME, tag), draws=DRAWS, kind="normal")
    out: dict[str, Estimate] = {}
    for k, e in zip(names, got, strict=True):
        if np.isfinite(e.value) and np.isfinite(e.low) and np.isfinite(e.high):
            least = -1.0 if "change" in k else 0.0
            value, low, high = (min(max(x, least), 1.0) for x in (e.value, e.low, e.high))
            out[k] = Estimate(value, low, high, e.level, e.n, e.unit, e.method)
    return out


def _reliability(at: _Level, v: _View, tail: str) -> Finding:
    """Randomness within a task, and how often all or any of several runs are right; percentiles beside it."""
    name = at.name(f"{tail}reliability")
    if (bad := at.gate(name, v)) is not None:
        return bad
    tasks, made = _reliable(v)
    if len(tasks) < LEAST:
        return _few(name, tasks)
    found = _resampled(tasks, made, name)
    if not {"omega_full", "omega_sharded"} <= set(found):
        return not_measurable(name, "all answers are alike, so there is no variance to share out")
    change = found.get("omega_change")
    verdict = (
        f"Of what varies in answers {found['omega_full'].value:.2f} lies within a task said at once and"
        f" {found['omega_sharded'].value:.2f} bit by bit"
        + (f" ({change.value:+.2f}, {_clear(change)})." if change else ".")
    )
    if "pass_all_2_sharded" in found:
        verdict += f" Twice right: {found['pass_all_2_full'].value:.2f} and {found['pass_all_2_sharded'].value:.2f}."
    if "gap_sharded" in found:
        verdict += " The percentile gap stands beside it and grows by itself whenever a score leaves the top."
    return at.found(name, v, ("full", "sharded"), found, verdict)


def _lengths(v: _View) -> tuple[list[str], list[float], list[float]]:
    long, short = v.mean("sharded", "length"), v.mean("full", "length")
    both = [k for k in long if k in short]
    return both, [long[k] for k in both], [short[k] for k in both]


def _bloat(at: _Level, v: _View) -> Finding:
    """How long the last answer is, as a multiple of the answer to the task said at once."""
    name = at.name("bloat")
    both, long, short = _lengths(v)
    if len(both) < LEAST or not sum(short):
        return _few(name, both if sum(short) else ())
    found = {"times": ratio_of_means(long, short, seed=0, clusters=both)}
    verdict = (
        f"The last answer bit by bit is {found['times'].value:.2f} times as long as the answer to a task said at once."
    )
    return Finding(name, found, verdict=verdict, cost=_cost(v.scored("full", "sharded")), held_by=HELD_BY)


def _families(at: _Level) -> Finding:
    """Loss and score at once, family by family; those at the floor show in their own score."""
    name, v = at.name("families"), at.view
    if (bad := at.readable(name, v, *BASE)) is not None:
        return bad
    found: dict[str, Estimate] = {}
    for family in sorted(v.families):
        one = _View(v.rows, v.level, v.hold, frozenset({family}), v.key)
        if len(lost := one.less("full", "sharded")) >= LEAST:
            found[f"{family}_full"], _ = of_items(one.mean("full"), f"{name} {family}", least=0.0, most=1.0)
            found[f"{family}_loss"], _ = of_items(lost, f"{name} {family} loss", least=-1.0, most=1.0)
    if not found:
        return _few(name, ())
    said = ", ".join(
        f"{k.removesuffix('_loss')} {e.value:+.2f} of {found[k.replace('_loss', '_full')].value:.2f}"
        for k, e in found.items() if k.endswith("_loss")
    )  # fmt: skip
    return at.found(name, v, ("full", "sharded"), found, f"Lost bit by bit, of what is right at once: {said}.")


# What a hold does


def _held_gate(at: _Level, name: str, v: _View, held: _View, *conditions: str, ceiling: bool = True) -> Finding | None:
    bad = at.readable(name, v, "full", *conditions) or at.floor(name, v)
    bad = bad or (at.ceiling(name, v) if ceiling else None)
    return bad or at.readable(name, held, *conditions)


def _ladder_held(at: _Level, v: _View, held: _View, tail: str) -> Finding:
    """Every score under a hold less that with nothing done, the one bit by bit first: the primary test of a hold."""
    name, hold = at.name(f"{tail}ladder", held.hold), held.hold
    if (bad := _held_gate(at, name, v, held, "sharded")) is not None:
        return bad
    found, p = dict[str, Estimate](), 1.0
    rest = [c for c in at.rows.conditions(at.level) if c not in ("sharded", "recap", "snowball")]  # no hold acts there
    for c in ("sharded", *rest):
        x = minus(held.mean(c), v.mean(c))
        if len(x) >= LEAST and at.readable(name, held, c) is None and at.readable(name, v, c) is None:
            found[c], tested = of_items(x, f"{name} {c}", least=-1.0, most=1.0)
            p = tested if c == "sharded" else p
    if "sharded" not in found:
        return _few(name, minus(held.mean("sharded"), v.mean("sharded")))
    found["held_sharded"], _ = of_items(held.mean("sharded"), f"{name} held", least=0.0, most=1.0)
    e = found["sharded"]
    verdict = f"Bit by bit the score changes by {e.value:+.2f} under {hold}, {_clear(e)}, to {found['held_sharded'].value:.2f}."
    return at.found(name, held, at.rows.conditions(at.level), found, verdict, {"sharded": p})


def _recovered(at: _Level, v: _View, held: _View, tail: str) -> Finding:
    """How much of what is lost bit by bit a hold brings back: of the way to the task at once, and to its shards at once."""
    name = at.name(f"{tail}recovered", held.hold)
    if (bad := _held_gate(at, name, v, held, "sharded")) is not None:
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


def _measured_held(at: _Level, v: _View, held: _View, m: Measure, tail: str) -> Finding:
    name = at.name(f"{tail}{m.name}", held.hold)
    if m.scored and (bad := _held_gate(at, name, v, held, "sharded", *m.needs)) is not None:
        return bad
    found, _ = _estimates(at, m, held, than=v)
    first = next(iter(m.values(held)), "")
    if first not in found:
        return _few(name, minus(m.values(held).get(first, {}), m.values(v).get(first, {})))
    e, now = found[first], float(np.mean(list(m.values(held)[first].values())))
    verdict = f"{m.said} changes by {e.value:+.2f} under {held.hold}, {_clear(e)}, to {now:+.2f}."
    if not m.scored:
        return Finding(name, found, verdict=verdict, cost=_cost(held.scored("sharded")), held_by=HELD_BY)
    return at.found(name, held, ("sharded", *m.needs), found, verdict)


def _reliability_held(at: _Level, v: _View, held: _View, tail: str) -> Finding:
    name = at.name(f"{tail}reliability", held.hold)
    if (bad := _held_gate(at, name, v, held, "sharded")) is not None:
        return bad
    sides = [_reliable(x) for x in (held, v)]
    both = [k for k in sides[0][0] if k in sides[1][0]]
    if len(both) < LEAST:
        return _few(name, both)
    places = [np.array([tasks.index(k) for k in both]) for tasks, _ in sides]
    wanted = [k for k in sides[0][1] if k.endswith("_sharded") and k in sides[1][1]]

    def change(k: str) -> Callable[[I64], float]:
        return lambda i: sides[0][1][k](places[0][i]) - sides[1][1][k](places[1][i])

    found = {
        k.removesuffix("_change"): e
        for k, e in _resampled(both, {f"{k}_change": change(k) for k in wanted}, name).items()
    }
    if "omega_sharded" not in found:
        return not_measurable(name, "all answers are alike, so there is no variance to share out")
    e = found["omega_sharded"]
    verdict = f"The share of variance within a task changes by {e.value:+.2f} under {held.hold}, {_clear(e)}."
    return at.found(name, held, ("full", "sharded"), found, verdict)


def _bloat_held(at: _Level, v: _View, held: _View) -> Finding:
    name = at.name("bloat", held.hold)
    now, before = held.mean("sharded", "length"), v.mean("sharded", "length")
    both = [k for k in now if k in before]
    if len(both) < LEAST or not sum(before[k] for k in both):
        return _few(name, both if len(both) < LEAST else ())
    e, _ = of_items(minus(now, before), name, least=-400.0, most=400.0)
    e = Estimate(e.value, e.low, e.high, e.level, e.n, "words", e.method)
    return Finding(
        name, {"words": e}, verdict=f"The last answer changes by {e.value:+.1f} words under {held.hold}, {_clear(e)}.",
        cost=_cost(held.scored("sharded")), held_by=HELD_BY,
    )  # fmt: skip


def _rewrite(at: _Level, held: _View) -> Finding:
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
        return _few(name, changed)
    verdict = f"What the model is shown under {held.hold} keeps {found['recall'].value:.0%} of the facts"
    verdict += f", and {found['precision'].value:.0%} of what it names was said" if "precision" in found else ""
    if "replaced" in found:
        three = [f"{found[k].value:.0%}" for k in FATES]
        verdict += f"; of what is taken back {three[0]} is replaced, {three[1]} stands beside what came later, {three[2]} is lost"
    cost = _cost(held.scored(*places))
    return Finding(name, found, verdict=f"{verdict}.", cost=cost, held_by=HELD_BY)


FATES = ("replaced", "both", "lost")
"""What became of a fact that was taken back: the later one alone, both, or not even the later one."""


def _price(at: _Level, v: _View, hold: str) -> Finding:
    """Replies, prompt tokens and new tokens of talks that end in words, as multiples of those with nothing done."""
    name, found = at.name("price", hold), dict[str, Estimate]()
    sides: list[dict[str, Scored]] = []
    for x in (v.under(hold), v):
        every = x.scored(*at.rows.conditions(at.level))
        sides.append({s.cell.id: s for s in every if s.values["turns"] > 1 and "length" in s.values})
    both = sorted(k for k in sides[0] if k in sides[1])
    items = [sides[0][k].cell.item for k in both]
    if len(set(items)) < LEAST:
        return _few(name, set(items))
    for key in ("calls", "prompt_tokens", "new_tokens"):
        now, before = ([float(getattr(side[k].cost, key)) for k in both] for side in sides)
        if sum(before):
            found[key] = ratio_of_means(now, before, seed=0, clusters=items)
    if not found:
        return not_measurable(name, "what replies took is not known")
    said = ", ".join(f"{e.value:.2f} times the {k.replace('_', ' ')}" for k, e in found.items())
    cost = _cost(sides[0][k] for k in both)
    return Finding(
        name, found, verdict=f"Against nothing done talks under {hold} take {said}.", cost=cost, held_by=HELD_BY
    )


def _beside(at: _Level, v: _View, hold: str) -> Finding:
    """A hold less the user's words joined by no model, which is the one to beat."""
    name, mine, plain = at.name("beside_user_concat", hold), v.under(hold), v.under("user_concat")
    if (bad := _held_gate(at, name, v, mine, "sharded") or at.readable(name, plain, "sharded")) is not None:
        return bad
    x = minus(mine.mean("sharded"), plain.mean("sharded"))
    if len(x) < LEAST:
        return _few(name, x)
    e, p = of_items(x, name, least=-1.0, most=1.0)
    verdict = f"Bit by bit {hold} scores {e.value:+.2f} against the user's words joined without any model, {_clear(e)}."
    return at.found(name, mine, ("sharded",), {"difference": e}, verdict, {"difference": p})
