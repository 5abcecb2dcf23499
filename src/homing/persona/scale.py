"""How sure the scale itself is: the interval that a position carries, which is not a forecast of the next reply."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.persona.rollouts import Replies
from homing.stats.estimate import Estimate

__all__ = ["Scale"]

LEVEL = 0.95
Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Scale:
    """Standard errors of the two marks of the scale, in calibrated units.

    Attributes:
        se_role: of the mean role (position 0), over roles. ``se_home``: of home (position 1), over questions and home
            prompts, which cross.
        n: roles behind it.
    """

    se_role: float
    se_home: float
    n: int

    @classmethod
    def of(cls, replies: Replies, positions: NDArray[np.float64]) -> Scale:
        """From held-out positions ``(replies,)`` of a map: roles are the units at 0, questions and home prompts at 1."""
        roles = [positions[replies.role == r].mean() for r in np.unique(replies.role[~replies.home])]
        home = replies.home
        return cls(
            _standard_error(roles),
            _crossed_error(positions[home], replies.question[home], replies.prompt[home]),
            len(roles),
        )

    def position(self, value: float) -> Estimate:
        """A position with the interval of the scale."""
        return self._estimate(value, math.hypot((1 - value) * self.se_role, value * self.se_home))

    def drift(self, value: float) -> Estimate:
        """A difference of positions with the interval of the scale."""
        return self._estimate(value, abs(value) * math.hypot(self.se_role, self.se_home))

    def _estimate(self, value: float, se: float) -> Estimate:
        if not math.isfinite(value):
            return Estimate(math.nan, -math.inf, math.inf, LEVEL, self.n, "", "nothing was said")
        return Estimate(value, value - Z * se, value + Z * se, LEVEL, self.n, "", "uncertainty of the scale")

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"se_role": self.se_role, "se_home": self.se_home, "n": self.n}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Scale:
        """The inverse of :meth:`to_json`."""
        return cls(float(raw["se_role"]), float(raw["se_home"]), int(raw["n"]))


def _standard_error(means: list[float]) -> float:
    return float(np.std(means, ddof=1) / math.sqrt(len(means))) if len(means) > 1 else 0.0


def _crossed_error(values: NDArray[np.float64], *factors: NDArray[np.int64]) -> float:
    """Of a mean over two crossed random factors: what each level adds, and what both count taken off once.

    Source: Cameron, Gelbach and Miller 2011. Never less than one factor alone says.
    """
    off = (values - values.mean()) / len(values)

    def variance(code: NDArray[np.int64]) -> float:
        sums = np.bincount(np.unique(code, return_inverse=True)[1], off)
        return float((sums**2).sum() * len(sums) / (len(sums) - 1)) if len(sums) > 1 else 0.0

    a, b = factors
    each = variance(a), variance(b)
    both = variance(a * (int(b.max()) + 1) + b)
    # with one level of a factor its cells are the levels of the other, and the other alone is left
    return math.sqrt(max(sum(each) - both, *each))
