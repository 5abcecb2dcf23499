"""Positions of turns, and drift that is only what the conversation added."""

from __future__ import annotations

import math

import numpy as np
import pytest

from homing.drift.trace import Trace, TurnTrace, position_of
from homing.persona.axis import Axis

AXIS = Axis((0, 2), np.eye(2, 4, dtype=np.float32), (10.0, -1.0), (2.0, 0.5), 2)


def test_a_position_is_the_mean_over_the_tokens_that_were_read() -> None:
    raw = np.array([[-1.0], [-0.5], [np.nan], [0.0]], np.float32)
    mean, tokens = position_of(raw, AXIS)
    assert tokens == (0.0, 1.0, 2.0)
    assert mean == 1.0


@pytest.mark.parametrize("raw", [np.zeros((0, 1), np.float32), np.full((3, 1), np.nan, np.float32)])
def test_nothing_said_has_no_position(raw: np.ndarray) -> None:
    mean, tokens = position_of(raw, AXIS)
    assert math.isnan(mean)
    assert tokens == ()


def test_drift_is_position_minus_the_fresh_one() -> None:
    turns = (TurnTrace(0, 0.8, 5, 0.8), TurnTrace(1, 0.2, 6, 0.9), TurnTrace(2, 0.2, 7), TurnTrace(3, math.nan, 0, 0.9))
    trace = Trace("a", turns)
    drifts = trace.drifts()
    assert drifts[0] == 0.0
    assert drifts[1] == pytest.approx(-0.7)
    assert math.isnan(drifts[2])
    assert math.isnan(drifts[3])
    assert turns[2].drift is None
    assert trace.lengths() == (5, 6, 7, 0)
