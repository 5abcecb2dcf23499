"""The figures of the return experiment, from the scores of its arms.

A script's distance is the mean over items of the squared displacement, less that of its neutral twin at the same moment; scripts
are resampled. Shares are ratios of means over scripts, taken to the scale of distance by a root that is monotone, so that the
ends of Fieller's interval are the ends of the share's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import Scored, not_measurable
from homing.instruments.pushes import PUSHES
from homing.persona.outside import FACETS, root
from homing.stats.bootstrap import bootstrap_difference, ratio_of_means, two_way_bootstrap
from homing.stats.estimate import Estimate, Finding
from homing.stats.intervals import mean_t
from homing.stats.seeds import stable_seed

__all__ = ["Arms", "Share", "findings", "half_life", "share"]

F64 = NDArray[np.float64]
LEAST_SCRIPTS = 3
CHANCE = 1 / 4
UNIT = "log-odds"


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the way a hold brought conversations back, or kept them.

    Attributes:
        push, hold, facet: of what. ``reading``: ``off`` with the hold lifted in the fork, ``on`` with it in force.
        return_share, hold_share, memory: None where that arm was not played; see the reasons.
        norms: share of norm items whose keeping reply is the likelier one, less that with nothing done, the hold in force.
        price: replies and tokens that a conversation which is returned takes beyond one with nothing done.
        reason: why a share is not measurable; empty where it is.
    """

    push: str
    hold: str
    facet: str
    reading: str
    return_share: Estimate | None = None
    hold_share: Estimate | None = None
    memory: Estimate | None = None
    norms: Estimate | None = None
    price: Mapping[str, float] = field(default_factory=dict[str, float])
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``homing return --json`` prints an arm."""

        def figure(e: Estimate | None) -> dict[str, Any] | None:
            return None if e is None else {k: e.to_json()[k] for k in ("value", "low", "high", "level", "n")}

        return {
            "push": self.push, "hold": self.hold, "facet": self.facet, "reading": self.reading,
            "return_share": figure(self.return_share), "hold_share": figure(self.hold_share),
            "memory": figure(self.memory), "norms": figure(self.norms), "price": dict(self.price), "reason": self.reason,
        }  # fmt: skip


class Arms:
    """Scores by push, hold, arm and script."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str, str], dict[str, Scored]] = {}
        for s in sorted(scored, key=lambda s: s.cell.id):
            arm = s.cell.condition + (f"/{s.cell.data['dose']}" if "dose" in s.cell.data else "")
            self._at.setdefault((s.cell.data["push"], s.hold, arm), {})[s.cell.item] = s

    @property
    def pushes(self) -> list[str]:
        """Those that were played, in the usual order."""
        have = {push for push, _, _ in self._at}
        return [p for p in PUSHES if p in have]

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({hold for _, hold, _ in self._at} - {"none"})

    def of(self, push: str, hold: str, arm: str) -> Mapping[str, Scored]:
        """Script to score; empty where nothing was played."""
        return self._at.get((push, hold, arm), {})

    def moments(self, push: str, arm: str = "left") -> list[int]:
        """After how many neutral turns the battery was asked."""
        found = {int(k.split(".")[1]) for s in self.of(push, "none", arm).values() for k in s.values if k[:4] == "off."}
        return sorted(found)

    def doses(self, push: str) -> list[int]:
        """How many nudging sentences were tried."""
        return sorted(int(arm.split("/")[1]) for p, _, arm in self._at if p == push and arm.startswith("nudge/"))

    def squares(
        self,
        push: str,
        hold: str,
        arm: str,
        moment: int,
        *,
        facet: str,
        reading: str = "off",
        without: Sequence[str] = (),
    ) -> dict[str, float]:
        """Script to the mean squared displacement over items of a facet (``all``: every facet that may not move)."""
        out: dict[str, float] = {}
        for script, s in self.of(push, hold, arm).items():
            values = s.values.get(f"{reading}.{moment}")
            if values is None:
                continue
            barred = {*s.values["sanctioned"], *without}
            facets = s.values["facets"]
            keep = [v for v, f in zip(values, facets, strict=True) if f not in barred and facet in ("all", f)]
            if keep:
                out[script] = float(np.mean(keep))
        return out

    def excess(
        self, push: str, hold: str, arm: str, moment: int, *, facet: str = "all", reading: str = "off",
        twin: tuple[str, str] = ("none", "twin"), without: Sequence[str] = (),
    ) -> dict[str, float]:  # fmt: skip
        """Script to the squared displacement beyond its twin's at the same moment."""
        mine = self.squares(push, hold, arm, moment, facet=facet, reading=reading, without=without)
        # a twin under a hold is read as the conversation is; one with nothing done has one reading
        theirs = self.squares(
            push, *twin, moment, facet=facet, reading=reading if twin[0] == hold else "off", without=without
        )
        return {k: v - theirs[k] for k, v in mine.items() if k in theirs}


def _rooted(e: Estimate, unit: str = UNIT) -> Estimate:
    return Estimate(root(e.value), root(e.low), root(e.high), e.level, e.n, unit, f"signed root; {e.method}")


def distance_of(values: Mapping[str, float]) -> Estimate | None:
    """The distance over scripts, or None with too few of them."""
    return None if len(values) < LEAST_SCRIPTS else _rooted(mean_t(list(values.values())))


def share(now: Mapping[str, float], before: Mapping[str, float], *, tag: str) -> Estimate | str:
    """One less the ratio of two distances over the same scripts, or why there is none.

    Args:
        now: squared excess under the hold. ``before``: without it.
    """
    both = sorted(set(now) & set(before))
    if len(both) < LEAST_SCRIPTS:
        return f"{len(both)} scripts have both arms, and {LEAST_SCRIPTS} are needed"
    x, y = [now[k] for k in both], [before[k] for k in both]
    base = mean_t(y)
    if base.low <= 0:
        return f"the push itself is not clear of its twin ({_rooted(base):.1f})"
    ratio = ratio_of_means(x, y, seed=stable_seed("share", tag))
    if not math.isfinite(ratio.low) or not math.isfinite(ratio.high):
        return "the distance without the hold is too near 0 for a ratio"
    return Estimate(
        1 - root(ratio.value), 1 - root(ratio.high), 1 - root(ratio.low), ratio.level, ratio.n, "",
        "one less the root of a ratio of means over scripts, Fieller",
    )  # fmt: skip


def half_life(left: Estimate, turns: int) -> Estimate:
    """Neutral turns to half the distance, from the share of it that is left after ``turns``: infinite where none is lost."""

    def life(ratio: float) -> float:
        if ratio <= 0:
            return 0.0
        return math.inf if ratio >= 1 else turns * math.log(0.5) / math.log(ratio)

    return Estimate(
        life(left.value), life(left.low), life(left.high), left.level, left.n, "neutral turns", "from the share left"
    )


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Every finding: does the push move, does it come back by itself, what do nudges do, and what each hold brings."""
    arms = Arms(scored)
    out: list[Finding] = []
    for push in arms.pushes:
        out += [restoring(arms, push), tether(arms, push)]
        for hold in arms.holds:
            out += [_share_finding(s) for s in shares(arms, push, hold, facets=("all",))]
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
        return not_measurable(
            name, f"right after the push the distance is {curve['after_0']:.1f}, not clear of its neutral twin"
        )
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


def shares(arms: Arms, push: str, hold: str, *, facets: Sequence[str] = ("all", *FACETS)) -> list[Share]:
    """Return share, hold share and memory of one hold under one push, by facet and reading."""
    last = arms.moments(push)[-1] if arms.moments(push) else 0
    shortened = bool(arms.of(push, hold, "returned_twin"))
    out: list[Share] = []

    def measure(arm: str, moment: int, facet: str, reading: str) -> Estimate | str:
        plain = ("none", "twin")
        twin = (hold, "returned_twin") if shortened else (hold, "held_twin") if reading == "on" else plain
        now = arms.excess(push, hold, arm, moment, facet=facet, reading=reading, twin=twin)
        before = arms.excess(push, "none", "left", moment, facet=facet)
        return share(now, before, tag=f"{push} {hold} {facet} {reading}") if now else ""

    for reading in ("off", "on"):
        for facet in facets:
            back, kept = measure("returned", last, facet, reading), measure("held", 0, facet, reading)
            if back == "" and kept == "":
                continue
            out.append(
                Share(
                    push, hold, facet, reading,
                    None if isinstance(back, str) else back, None if isinstance(kept, str) else kept,
                    _memory(arms, push, hold) if facet == "all" and reading == "off" else None,
                    _norms(arms, push, hold) if facet == "all" and reading == "off" else None,
                    _price(arms, push, hold),
                    "; ".join(dict.fromkeys(x for x in (back, kept) if isinstance(x, str) and x)),
                )
            )  # fmt: skip
    return out


def _memory(arms: Arms, push: str, hold: str) -> Estimate | None:
    """What is remembered more or less than with nothing done, chance taken out, scripts resampled."""
    mine, base = arms.of(push, hold, "returned"), arms.of(push, "none", "left")
    both = [k for k in sorted(mine) if k in base and "memory" in mine[k].values and "memory" in base[k].values]
    if len(both) < LEAST_SCRIPTS:
        return None

    def known(s: Scored) -> float:
        right: list[float] = s.values["memory"]
        return (float(np.mean(right)) - CHANCE) / (1 - CHANCE)

    return bootstrap_difference(
        [known(mine[k]) for k in both],
        [known(base[k]) for k in both],
        seed=stable_seed("memory", push, hold),
        clusters=both,
    )


def _norms(arms: Arms, push: str, hold: str) -> Estimate | None:
    """Norms kept more or less than with nothing done, over items and scripts resampled both."""
    mine, base = arms.of(push, hold, "returned"), arms.of(push, "none", "left")
    both = [k for k in sorted(mine) if k in base and "norms" in mine[k].values and "norms" in base[k].values]
    if len(both) < LEAST_SCRIPTS:
        return None
    kept = [np.greater(np.array(x[k].values["norms"]), 0).astype(float) for x in (mine, base) for k in both]
    change = np.stack(kept[: len(both)]) - np.stack(kept[len(both) :])
    rows, columns = change.shape
    return two_way_bootstrap(
        lambda r, c: float(change[np.ix_(r, c)].mean()), rows, columns, seed=stable_seed("norms", push, hold)
    )


def _price(arms: Arms, push: str, hold: str) -> dict[str, float]:
    """Mean over scripts of what a returned conversation takes beyond one that is left; askings of the battery are in neither."""
    mine, base = arms.of(push, hold, "returned"), arms.of(push, "none", "left")
    both = [k for k in mine if k in base]

    def beyond(name: str) -> float:
        return (
            float(np.mean([getattr(mine[k].cost, name) - getattr(base[k].cost, name) for k in both])) if both else 0.0
        )

    return {name: beyond(name) for name in ("calls", "prompt_tokens", "new_tokens")}


def _share_finding(s: Share) -> Finding:
    name = f"return.share.{s.push}.{s.hold}.{s.reading}"
    estimates = {
        k: v for k, v in (("return", s.return_share), ("hold", s.hold_share), ("memory", s.memory)) if v is not None
    }
    if s.return_share is None and s.hold_share is None:
        return Finding(name, estimates, "not_measurable", s.reason or "nothing was played", "Not measurable.")
    said = (
        ("Switched on after the push it brings", s.return_share, "of the way back"),
        ("On from the start it keeps", s.hold_share, "of the distance away"),
    )
    parts = [
        f"{head} {e.value:.0%} [{e.low:.0%}, {e.high:.0%}] {tail}{'' if e.low > 0 else ', not clear of 0'}."
        for head, e, tail in said
        if e is not None
    ]
    return Finding(name, estimates, verdict=" ".join(parts))
