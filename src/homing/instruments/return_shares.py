"""What a hold brings back and keeps away, and its price in memory, norms, sanctioned changes and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import Scored
from homing.instruments.return_arms import LEAST_SCRIPTS, SANCTIONED, Arms, distance_of, share
from homing.instruments.return_beside import margin, rung
from homing.persona.outside import FACETS, root
from homing.stats.bootstrap import bootstrap_difference, two_way_bootstrap
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["Share", "share_finding", "shares"]

CHANCE = 1 / 4


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the way a hold brought conversations back, or kept them.

    Attributes:
        push, hold, facet: of what. ``reading``: ``off`` with the hold lifted in the fork, ``on`` with it in force.
        return_share, hold_share, memory: None where that arm was not played; see the reasons.
        norms: share of norm items whose keeping reply is the likelier one, less that with nothing done, the hold in force.
        by_alarm: the return share by intention to treat: the hold is switched on where the outside face raises an alarm right
            after the push, and a script whose alarm does not ring counts as it was left.
        undone: how much of the change that the user asked for the hold takes back: a cost.
        arrived: whether the upper bound of the distance lies within the margin of home at the last two readings; None where that
            cannot be told.
        beyond: distance of a returned conversation beyond a neutral one that was returned too: what the hold leaves of the push,
            whatever it does to any conversation.
        price: replies and tokens that a conversation which is returned takes beyond one with nothing done.
        barred: facets that are left out, because the hold's own words say what their items ask.
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
    by_alarm: Estimate | None = None
    undone: Estimate | None = None
    arrived: bool | None = None
    beyond: Estimate | None = None
    barred: tuple[str, ...] = ()
    price: Mapping[str, float] = field(default_factory=dict[str, float])
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``homing return --json`` prints an arm."""

        def figure(e: Estimate | None) -> dict[str, Any] | None:
            return None if e is None else {k: e.to_json()[k] for k in ("value", "low", "high", "level", "n")}

        return {
            "push": self.push, "hold": self.hold, "facet": self.facet, "reading": self.reading,
            "return_share": figure(self.return_share), "hold_share": figure(self.hold_share),
            "by_alarm": figure(self.by_alarm), "undone": figure(self.undone), "arrived": self.arrived,
            "beyond": figure(self.beyond),
            "memory": figure(self.memory), "norms": figure(self.norms), "price": dict(self.price),
            "barred": list(self.barred), "reason": self.reason,
        }  # fmt: skip


class _Measured:
    """What can be counted of one hold under one push."""

    def __init__(self, arms: Arms, push: str, hold: str) -> None:
        self.arms, self.push, self.hold = arms, push, hold
        moments = arms.moments(push)
        self.last, self.moments = (moments[-1] if moments else 0), moments
        one = next((s for arm in ("returned", "held") for s in arms.of(push, hold, arm).values()), None)
        self.shortened = one is not None and bool(one.cell.data["shortens"])
        self.barred: tuple[str, ...] = () if one is None else tuple(one.cell.data.get("barred", ()))

    def squares(self, arm: str, moment: int, facet: str, reading: str) -> dict[str, float]:
        """Script to squared excess under the hold."""
        twin = ("none", "twin")
        if self.shortened:
            twin = (self.hold, "returned_twin")
        elif reading == "on":
            twin = (self.hold, "held_twin")
        return self.arms.excess(
            self.push, self.hold, arm, moment, facet=facet, reading=reading, twin=twin, without=self.barred
        )

    def left(self, moment: int, facet: str) -> dict[str, float]:
        """The same with nothing done."""
        return self.arms.excess(self.push, "none", "left", moment, facet=facet, without=self.barred)

    def share(self, arm: str, moment: int, facet: str, reading: str) -> Estimate | str:
        """One less the ratio; empty where nothing was played."""
        now = self.squares(arm, moment, facet, reading)
        return share(now, self.left(moment, facet), tag=f"{self.push} {self.hold} {facet} {reading}") if now else ""

    def by_alarm(self, facet: str) -> Estimate | None:
        """The return share by intention to treat."""
        rang, left = rung(self.arms), self.left(self.last, facet)
        now = self.squares("returned", self.last, facet, "off")
        if rang is None or not now:
            return None
        treated = {k: v if rang.get(k, False) else left[k] for k, v in now.items() if k in left}
        found = share(treated, left, tag=f"{self.push} {self.hold} {facet} alarm")
        return None if isinstance(found, str) else found

    def beyond(self, facet: str) -> Estimate | None:
        """The distance from a twin that was returned too; None where there is none."""
        twin = (self.hold, "returned_twin")
        return distance_of(
            self.arms.excess(self.push, self.hold, "returned", self.last, facet=facet, twin=twin, without=self.barred)
        )

    def arrived(self) -> bool | None:
        """Whether home is shown at the last two readings."""
        if len(self.moments) < 2 or self.moments[-2] == 0:
            return None
        shown: list[bool] = []
        for moment in self.moments[-2:]:
            within, found = margin(self.arms, moment), distance_of(self.squares("returned", moment, "all", "off"))
            if within is None or found is None:
                return None
            shown.append(found.high < root(within))
        return all(shown)


def shares(arms: Arms, push: str, hold: str, *, facets: Sequence[str] = ("all", *FACETS)) -> list[Share]:
    """Return share, hold share and memory of one hold under one push, by facet and reading."""
    m, out = _Measured(arms, push, hold), list[Share]()
    for reading in ("off", "on"):
        for facet in facets:
            back, kept = m.share("returned", m.last, facet, reading), m.share("held", 0, facet, reading)
            if back == "" and kept == "":
                continue
            whole = facet == "all" and reading == "off"
            undone = m.share("returned", m.last, SANCTIONED, "off") if whole else ""
            out.append(
                Share(
                    push, hold, facet, reading,
                    None if isinstance(back, str) else back, None if isinstance(kept, str) else kept,
                    _memory(arms, push, hold) if whole else None, _norms(arms, push, hold) if whole else None,
                    m.by_alarm(facet) if reading == "off" else None, None if isinstance(undone, str) else undone,
                    m.arrived() if whole else None, m.beyond(facet) if reading == "off" else None, m.barred,
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
    rows, columns = len(both), max(max(x[k].values["norms_at"], default=-1) for x in (mine, base) for k in both) + 1
    change = np.full((rows, columns), np.nan)  # each script asks some of the items; what it does not ask is no number
    for r, k in enumerate(both):
        kept = [
            dict(zip(x[k].values["norms_at"], np.greater(x[k].values["norms"], 0), strict=True)) for x in (mine, base)
        ]
        for at in set(kept[0]) & set(kept[1]):
            change[r, at] = float(kept[0][at]) - float(kept[1][at])
    change = change[:, ~np.isnan(change).all(axis=0)]
    return two_way_bootstrap(
        lambda r, c: _known_mean(change[np.ix_(r, c)]), rows, change.shape[1], seed=stable_seed("norms", push, hold)
    )


def _known_mean(table: NDArray[np.float64]) -> float:
    known = ~np.isnan(table)
    return float(table[known].mean()) if known.any() else 0.0


def _price(arms: Arms, push: str, hold: str) -> dict[str, float]:
    """Mean over scripts of what a returned conversation takes beyond one that is left; askings of the battery are in neither."""
    mine, base = arms.of(push, hold, "returned"), arms.of(push, "none", "left")
    both = [k for k in mine if k in base]

    def beyond(name: str) -> float:
        return (
            float(np.mean([getattr(mine[k].cost, name) - getattr(base[k].cost, name) for k in both])) if both else 0.0
        )

    return {name: beyond(name) for name in ("calls", "prompt_tokens", "new_tokens")}


def share_finding(s: Share) -> Finding:
    """What a share says, in words."""
    name = f"return.share.{s.push}.{s.hold}.{s.reading}"
    estimates = {
        k: v
        for k, v in (("return", s.return_share), ("hold", s.hold_share), ("memory", s.memory), ("beyond", s.beyond))
        if v is not None
    }
    if s.return_share is None and s.hold_share is None:
        return Finding(name, estimates, "not_measurable", s.reason or "nothing was played", "Not measurable.")
    said = (
        ("Switched on after the push it brings", s.return_share, "of the way back"),
        ("On from the start it keeps", s.hold_share, "of the distance away"),
    )
    parts = [
        f"{head} {e.value:z.0%} [{e.low:z.0%}, {e.high:z.0%}] {tail}{'' if e.low > 0 else ', not clear of 0'}."
        for head, e, tail in said
        if e is not None
    ]
    if s.return_share is not None and s.return_share.low > 1.0:
        parts.insert(1, "More than all of it: it ends nearer home than its neutral twin, which drifts too.")
    if s.beyond is not None:
        left = "" if s.beyond.low > 0 else ": that anything of the push is left is not shown"
        parts.append(f"It ends {s.beyond:.1f} beyond a neutral talk that was returned too{left}.")
    return Finding(name, estimates, verdict=" ".join(parts))
