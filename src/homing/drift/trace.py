"""Where each turn of a conversation stands, and how far that is from the same message asked afresh.

Drift = position in context - position of a reply to the same user message in a fresh context. The last user message
decides much of the position and hardly the change (Lu et al. 2026, arXiv 2601.10387), so raw position alone would call
a change of topic drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.drift.calibration import Alarm, Calibration, watch
from homing.persona.axis import Axis

__all__ = ["Trace", "TurnTrace", "alarms_of", "position_of"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TurnTrace:
    """One assistant turn, in calibrated units (0 = mean role, 1 = home).

    Attributes:
        turn: from 0. ``position``: mean over reply tokens. ``tokens``: how many; 0 makes the position NaN.
        fresh: position of a reply to the same user message in a fresh context; None where none was made.
        by_token: position of each reply token.
        engaged: how many reply tokens a hold changed.
        neutral: position of a reply to the same user message after a neutral history of as many turns; None where none
            was made.
    """

    turn: int
    position: float
    tokens: int
    fresh: float | None = None
    by_token: tuple[float, ...] = ()
    engaged: int = 0
    neutral: float | None = None

    @property
    def drift(self) -> float | None:
        """Position minus fresh position; None without a fresh reply. The first turn is its own fresh context: 0."""
        return None if self.fresh is None else self.position - self.fresh


@dataclass(frozen=True, slots=True)
class Trace:
    """The turns of one conversation."""

    conversation: str
    turns: tuple[TurnTrace, ...]

    def drifts(self) -> tuple[float, ...]:
        """Drift by turn, NaN where there is none."""
        return tuple(float("nan") if t.drift is None else t.drift for t in self.turns)

    def over_neutral(self) -> tuple[float, ...]:
        """Position minus that of the same message after a neutral history, by turn; NaN where there is none."""
        return tuple(float("nan") if t.neutral is None else t.position - t.neutral for t in self.turns)

    def lengths(self) -> tuple[int, ...]:
        """Reply tokens by turn."""
        return tuple(t.tokens for t in self.turns)


def position_of(readings: F32, axis: Axis) -> tuple[float, tuple[float, ...]]:
    """Mean and single positions of the tokens of one reply, from raw projections ``(tokens, 1)`` of the reader."""
    raw = readings[:, 0]
    values = axis.reader.positions(raw[np.isfinite(raw)])
    mean = float(values.mean()) if len(values) else float("nan")
    return mean, tuple(float(v) for v in values)


def alarms_of(calibration: Calibration, trace: Trace) -> Sequence[Alarm]:
    """Alarms of one conversation; turns without a drift are passed over, and what the promise does not cover is not said."""
    return watch(calibration, trace.drifts(), trace.lengths(), warn=False)
