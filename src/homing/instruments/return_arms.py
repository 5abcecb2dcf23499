"""Arms of the return experiment by push, hold and script, and what is counted between them.

A script's distance is the mean over items of the squared displacement, less that of its neutral twin at the same moment; scripts
are resampled. Shares are ratios of means over scripts, taken to the scale of distance by a root that is monotone, so that the
ends of Fieller's interval are the ends of the share's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import Scored
from homing.instruments.pushes import PUSHES
from homing.persona.outside import root
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate
from homing.stats.intervals import mean_t
from homing.stats.seeds import stable_seed

__all__ = [
    "EVERY",
    "LEAST_SCRIPTS",
    "SANCTIONED",
    "UNIT",
    "Arms",
    "counted",
    "distance_of",
    "half_life",
    "least",
    "rooted",
    "share",
]

F64 = NDArray[np.float64]
LEAST_SCRIPTS = 3
UNIT = "log-odds"
EVERY = "all"
"""In place of a push's name: the scripts of all of them."""
SANCTIONED = "sanctioned"
"""In place of a facet's name: those that the user asked to change."""


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
        if push != EVERY:
            return self._at.get((push, hold, arm), {})
        return {k: s for p in self.pushes for k, s in self.of(p, hold, arm).items()}

    @property
    def asked(self) -> list[str]:
        """What is told apart: each push, and all of them together where there are several."""
        return self.pushes if len(self.pushes) < 2 else [*self.pushes, EVERY]

    def moments(self, push: str, arm: str = "left") -> list[int]:
        """After how many neutral turns the battery was asked."""
        found = {int(k.split(".")[1]) for s in self.of(push, "none", arm).values() for k in s.values if k[:4] == "off."}
        return sorted(found)

    def doses(self, push: str) -> list[int]:
        """How many nudging sentences were tried."""
        found = {int(arm.split("/")[1]) for p, _, arm in self._at if push in (p, EVERY) and arm.startswith("nudge/")}
        return sorted(found)

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
            keep = [v for v, here in zip(values, counted(s, facet, without), strict=True) if here]
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


def counted(s: Scored, facet: str, without: Sequence[str] = ()) -> list[bool]:
    """Which items count for a facet: those of it that may not move, or, for :data:`SANCTIONED`, all that may."""
    barred = {*s.values["sanctioned"], *without}
    if facet == SANCTIONED:
        return [f in s.values["sanctioned"] and f not in without for f in s.values["facets"]]
    return [f not in barred and facet in ("all", f) for f in s.values["facets"]]


def rooted(e: Estimate, unit: str = UNIT) -> Estimate:
    """A mean of squares as a distance."""
    return Estimate(root(e.value), root(e.low), root(e.high), e.level, e.n, unit, f"signed root; {e.method}")


def distance_of(values: Mapping[str, float]) -> Estimate | None:
    """The distance over scripts, or None with too few of them."""
    return None if len(values) < LEAST_SCRIPTS else rooted(mean_t(list(values.values())))


def least(n: int) -> str | None:
    """Why so many scripts give no figure; None where they do."""
    return None if n >= LEAST_SCRIPTS else f"{n} scripts were played, and {LEAST_SCRIPTS} are needed"


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
        return f"the push itself is not clear of its twin ({rooted(base):.1f})"
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
