"""Randomness within a task: what share of what varies is no task's own, and how often all or any of several runs are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import not_measurable
from homing.instruments.lost_rows import LEAST, NAME, LevelRows, View, held_gate, said_clear, too_few
from homing.stats.bootstrap import two_way_bootstrap_many
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["pass_all", "randomness", "reliability", "reliability_held", "spread"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


GAP_RUNS = 5
"""Fewer runs of a task: percentiles of its scores mean nothing."""
DRAWS = 1000


Runs = Sequence[Sequence[float]]


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


def _reliable(v: View) -> tuple[list[str], dict[str, Callable[[I64], float]]]:
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


def _percentiles(v: View, tasks: Sequence[str]) -> dict[str, F64]:
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


def reliability(at: LevelRows, v: View, tail: str) -> Finding:
    """Randomness within a task, and how often all or any of several runs are right; percentiles beside it."""
    name = at.name(f"{tail}reliability")
    if (bad := at.gate(name, v)) is not None:
        return bad
    tasks, made = _reliable(v)
    if len(tasks) < LEAST:
        return too_few(name, tasks)
    found = _resampled(tasks, made, name)
    if not {"omega_full", "omega_sharded"} <= set(found):
        return not_measurable(name, "all answers are alike, so there is no variance to share out")
    change = found.get("omega_change")
    verdict = (
        f"Of what varies in answers {found['omega_full'].value:.2f} lies within a task said at once and"
        f" {found['omega_sharded'].value:.2f} bit by bit"
        + (f" ({change.value:+.2f}, {said_clear(change)})." if change else ".")
    )
    if "pass_all_2_sharded" in found:
        verdict += f" Twice right: {found['pass_all_2_full'].value:.2f} and {found['pass_all_2_sharded'].value:.2f}."
    if "gap_sharded" in found:
        verdict += " The percentile gap stands beside it and grows by itself whenever a score leaves the top."
    return at.found(name, v, ("full", "sharded"), found, verdict)


def reliability_held(at: LevelRows, v: View, held: View, tail: str) -> Finding:
    """The change of randomness within a task under a hold."""
    name = at.name(f"{tail}reliability", held.hold)
    if (bad := held_gate(at, name, v, held, "sharded")) is not None:
        return bad
    sides = [_reliable(x) for x in (held, v)]
    both = [k for k in sides[0][0] if k in sides[1][0]]
    if len(both) < LEAST:
        return too_few(name, both)
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
    verdict = f"The share of variance within a task changes by {e.value:+.2f} under {held.hold}, {said_clear(e)}."
    return at.found(name, held, ("full", "sharded"), found, verdict)
