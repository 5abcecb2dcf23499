import math

import pytest

from homing.drift.detectors import Design, DetectorState, step
from homing.errors import InputError


def test_by_hand():
    state, first = step(DetectorState(), -2.0)
    assert first.cusum == 1.5 and first.ewma == pytest.approx(2.0)
    state, second = step(state, -1.0)
    assert second.cusum == 2.0
    assert second.ewma == pytest.approx((0.7 * 0.6 + 0.3) / math.sqrt(0.3 / 1.7 * (1 - 0.7**4)))
    assert state.seen == 2


def test_only_away_from_home_counts():
    state = DetectorState()
    for _ in range(20):
        state, seen = step(state, 1.0)
    assert seen.cusum == 0.0 and seen.ewma < 0


def test_missing_reading_changes_nothing():
    before, _ = step(DetectorState(), -1.0)
    after, seen = step(before, math.nan)
    assert after == before and math.isnan(seen.ewma) and math.isnan(seen.cusum)


def test_refuses_a_design_that_cannot_be():
    with pytest.raises(InputError):
        Design(weight=0)
    with pytest.raises(InputError):
        Design(slack=-1)
