"""Do the two faces of home agree, and do the alarms of the inside face ring where a conversation is pushed?

The outside face is what a conversation answers; the inside face is where its replies lie on the persona axis. Both are read from
the same pushed and neutral conversations, at the same moments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import not_measurable
from homing.instruments.return_arms import Arms, least
from homing.persona.outside import root
from homing.stats.estimate import Finding
from homing.stats.intervals import wilson
from homing.stats.ranking import midranks
from homing.stats.regression import correlation
from homing.stats.seeds import stable_seed

__all__ = ["ARMS", "Inside", "agreement", "inside_alarms"]

F64 = NDArray[np.float64]
ARMS = ("left", "twin")
LEAST_POINTS = 8


@dataclass(frozen=True, slots=True)
class Inside:
    """What the inside face saw of one conversation.

    Attributes:
        positions: of each reply, 1 at home and 0 at the mean role; NaN for one without words. ``lengths``: its tokens.
        alarms: replies, from 0, at which an alarm rang. ``before``: replies up to the end of the push.
    """

    positions: tuple[float, ...]
    lengths: tuple[int, ...]
    alarms: tuple[int, ...]
    before: int


def agreement(arms: Arms, push: str, faces: Mapping[tuple[str, str], Inside]) -> Finding:
    """Rank correlation within a push of the distance outside and the distance inside, the length of the talk partialled out.

    Args:
        faces: by script and arm. A conversation gives a point at each moment at which it was asked; scripts are resampled.
    """
    name = f"return.faces.{push}"
    outside, inside, length, scripts = list[float](), list[float](), list[float](), list[str]()
    for arm in ARMS:
        for moment in arms.moments(push, arm):
            for script, square in arms.squares(push, "none", arm, moment, facet="all").items():
                seen = faces.get((script, arm))
                at = -1 if seen is None else seen.before + moment - 1
                if seen is None or not 0 <= at < len(seen.positions) or not math.isfinite(seen.positions[at]):
                    continue
                outside.append(root(square))
                inside.append(1 - seen.positions[at])
                length.append(float(sum(seen.lengths[: at + 1])))
                scripts.append(script)
    if (why := least(len(set(scripts)))) is not None or len(outside) < LEAST_POINTS:
        return not_measurable(name, why or f"{len(outside)} readings of both faces, and {LEAST_POINTS} are needed")
    ranks = [midranks(np.asarray(x)) for x in (outside, inside, length)]
    x, y = (_beside(r, ranks[2]) for r in ranks[:2])
    found = correlation(x, y, clusters=scripts, seed=stable_seed("faces", push))
    if not math.isfinite(found.value):
        return not_measurable(name, "one of the faces does not vary")
    agree = "agree" if found.low > 0 else "part" if found.high < 0 else "are not shown to agree"
    return Finding(
        name, {"rank_correlation": found},
        verdict=f"What it answers and where its replies lie {agree}: rank correlation {found:.2f}, length partialled out.",
    )  # fmt: skip


def _beside(x: F64, other: F64) -> F64:
    """What of ``x`` is no line of ``other``."""
    if other.std() == 0:
        return x - x.mean()
    slope = float(((x - x.mean()) * (other - other.mean())).mean() / other.var())
    return x - x.mean() - slope * (other - other.mean())


def inside_alarms(arms: Arms, push: str, faces: Mapping[tuple[str, str], Inside]) -> Finding:
    """How often an alarm of the identity rings while a conversation is pushed, and in its neutral twin."""
    name = f"return.inside_alarm.{push}"

    def rang(arm: str) -> Sequence[bool]:
        seen = [faces[k, arm] for k in arms.of(push, "none", arm) if (k, arm) in faces]
        return [any(t < s.before for t in s.alarms) for s in seen]

    mine, neutral = rang("left"), rang("twin")
    if (why := least(min(len(mine), len(neutral)))) is not None:
        return not_measurable(name, why)
    found = {"sensitivity": wilson(sum(mine), len(mine)), "false_alarms": wilson(sum(neutral), len(neutral))}
    return Finding(
        name, found,
        verdict=f"While it is pushed an alarm of the identity rings in {found['sensitivity']:.0%} of conversations, and in"
        f" {found['false_alarms']:.0%} of their twins.",
    )  # fmt: skip
