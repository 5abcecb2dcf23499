"""The eight arms in numbers: of each item, the chance of a right answer after a right first answer and after a wrong one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ARMS", "DOSES", "OUTSIDE", "Arm", "arm_of", "dosed", "past_of", "vote_of"]

ARMS = ("first", "critique", "vote", "past", "judge", "user", "tool", "oracle")
OUTSIDE = ("past", "judge", "user", "tool", "oracle")
"""Arms in which something from outside says something of the answer."""
DOSES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Probabilities with which an anchor is wrong."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm on one item.

    Attributes:
        p: chance that the first answer is right. ``kept``: that the last one is, after a right first one. ``fixed``: after a
            wrong one.
    """

    p: float
    kept: float
    fixed: float

    @property
    def accuracy(self) -> float:
        """Chance that the last answer is right."""
        return self.p * self.kept + (1 - self.p) * self.fixed

    @property
    def broken(self) -> float:
        """Chance that the last answer is wrong after a right first one."""
        return 1 - self.kept

    def mixed(self, other: Arm, share: float) -> Arm:
        """This one but for a share, which is the other."""
        return Arm(
            self.p, self.kept + share * (other.kept - self.kept), self.fixed + share * (other.fixed - self.fixed)
        )


def vote_of(shares: Sequence[float]) -> Arm:
    """Three independent first answers and a vote; where all three differ the first stands.

    A right first answer falls where both others are the same wrong one; a wrong one is mended where both others are right.
    """
    p, *wrong = shares
    return Arm(p, 1 - sum(x * x for x in wrong), p * p)


def past_of(shares: Sequence[float], past: Sequence[float]) -> Arm:
    """An answer, one of an earlier version and an answer again; the first is given up only where both agree on another."""
    return Arm(shares[0], 1 - sum(x * y for x, y in zip(shares[1:], past[1:], strict=True)), shares[0] * past[0])


def arm_of(name: str, v: Mapping[str, Any]) -> Arm | None:
    """One arm of an item from its scores; None where something that it needs is missing."""
    shares: Sequence[float] = v.get("shares", ())
    if not shares:
        return None
    p = shares[0]
    if name == "first":
        return Arm(p, 1.0, 0.0)
    if name == "vote":
        return vote_of(shares)
    if name == "past":
        return past_of(shares, v["past_shares"]) if "past_shares" in v else None
    if name == "judge":
        if not {"judge", "told_right", "told_wrong"} <= set(v):
            return None
        ends = [y * r + (1 - y) * w for y, r, w in zip(v["judge"], v["told_right"], v["told_wrong"], strict=True)]
        return Arm(p, *ends)
    if name == "oracle":
        return Arm(p, 1.0, v["told_wrong"][1]) if "told_wrong" in v else None
    key = {"critique": "critique_1", "user": "user_true"}.get(name, name)
    return Arm(p, *v[key]) if key in v else None


def wrong_anchor(name: str, v: Mapping[str, Any]) -> Arm | None:
    """The arm of a user or an oracle that is always wrong: a user who got a wrong number, a label turned round."""
    if "shares" not in v:
        return None
    p = v["shares"][0]
    if name == "user":
        return Arm(p, *v["user_false"]) if "user_false" in v else None
    return Arm(p, v["told_wrong"][0], 0.0) if "told_wrong" in v else None


def dosed(name: str, v: Mapping[str, Any], e: float) -> Arm | None:
    """A user or an oracle who is wrong with probability ``e``; the model is told one thing, so the mixture is exact."""
    true, false = arm_of(name, v), wrong_anchor(name, v)
    return None if true is None or false is None else true.mixed(false, e)
