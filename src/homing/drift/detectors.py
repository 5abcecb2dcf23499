"""One-sided EWMA and CUSUM on standardised drift; a new conversation starts from a new state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from homing.errors import InputError

__all__ = ["DETECTORS", "Design", "Detector", "DetectorState", "Statistics", "step"]

Detector = Literal["ewma", "cusum"]
DETECTORS: tuple[Detector, ...] = ("ewma", "cusum")


@dataclass(frozen=True, slots=True)
class Design:
    """How the detectors are built.

    Args:
        weight: of the newest turn in the EWMA (Roberts 1959), over 0 and up to 1.
        slack: per turn in the CUSUM (Page 1954), in standard deviations: half of the shift to find fastest.
    """

    weight: float = 0.3
    slack: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.weight <= 1.0:
            raise InputError(f"weight of the EWMA is {self.weight}; it must be over 0 and at most 1")
        if not 0.0 <= self.slack < math.inf:
            raise InputError(f"slack of the CUSUM is {self.slack}; it must be at least 0")


@dataclass(frozen=True, slots=True)
class DetectorState:
    """Where both detectors stand in one conversation; the default is its start.

    Attributes:
        average: EWMA of standardised drift. ``total``: CUSUM, at least 0. ``seen``: turns read.
    """

    average: float = 0.0
    total: float = 0.0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the detectors say after a turn; larger is further away from home.

    Attributes:
        ewma: the average downwards, in its own standard deviations under independence. ``cusum``: the sum.
    """

    ewma: float
    cusum: float

    def of(self, detector: Detector) -> float:
        """One detector's statistic."""
        return self.ewma if detector == "ewma" else self.cusum


def step(state: DetectorState, z: float, *, design: Design | None = None) -> tuple[DetectorState, Statistics]:
    """Read one turn.

    Args:
        state: before it.
        z: standardised drift; negative is away from home. Not a number: the reading is missing, the state stays, and
            the statistics are not a number either.
        design: of the detectors.
    """
    if math.isnan(z):
        return state, Statistics(math.nan, math.nan)
    d = design or Design()
    average = (1 - d.weight) * state.average + d.weight * z
    total = max(0.0, state.total - z - d.slack)
    seen = state.seen + 1
    spread = math.sqrt(d.weight / (2 - d.weight) * (1 - (1 - d.weight) ** (2 * seen)))
    return DetectorState(average, total, seen), Statistics(-average / spread, total)
