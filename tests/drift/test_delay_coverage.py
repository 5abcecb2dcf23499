"""How soon a planted shift is found: rate and delay cover what twenty thousand conversations of the same kind show."""

from __future__ import annotations

import numpy as np
import pytest
from tests.drift.test_calibration import home
from tests.stats.coverage import assert_covers, seed_of

from homing.drift.calibration import Calibration, Delay, calibrate, detection_delay
from homing.stats import Estimate

START = 2
SHIFTS = (0.3, 0.6)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(*home(np.random.default_rng(seed_of("delay calibration")), 100), context="home")


@pytest.fixture(scope="module")
def truths(calibration) -> dict[float, tuple[float, float]]:
    """Rate found and mean delay of these very alarms, from a sample that leaves no doubt of the second figure."""
    rng = np.random.default_rng(seed_of("delay truth"))
    conversations = home(rng, 20_000)
    out = {}
    for shift in SHIFTS:
        d = detection_delay(calibration, *conversations, shift=shift, start=START, seed=0)
        assert d.turns.high - d.turns.low < 0.06
        out[shift] = (d.found.value, d.turns.value)
    return out


def figure(d: Delay, name: str) -> Estimate:
    return d.found if name == "found" else d.turns


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("name", ["found", "turns"])
def test_delay_covers(calibration, truths, name, shift) -> None:
    truth = truths[shift][name == "turns"]

    def make(rng, seed):
        d = detection_delay(calibration, *home(rng, 60), shift=shift, start=START, seed=seed)
        return figure(d, name), truth

    assert_covers(f"delay {name} {shift}", make, repetitions=200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "conversations"),
    [("found", 20), ("found", 80), ("turns", 20), ("turns", 40), ("turns", 80)],
)
def test_delay_covers_with_few_and_many_conversations(calibration, truths, name, conversations) -> None:
    truth = truths[0.3][name == "turns"]

    def make(rng, seed):
        d = detection_delay(calibration, *home(rng, conversations), shift=0.3, start=START, seed=seed)
        return figure(d, name), truth

    few = name == "turns" and conversations < 80  # where few are found the ends are all that a delay can be
    assert_covers(f"delay {name} of {conversations}", make, repetitions=1000, at_least=few)


def test_few_delays_are_given_without_pretence(calibration) -> None:
    conversations = home(np.random.default_rng(seed_of("few delays")), 12)
    d = detection_delay(calibration, *conversations, shift=0.6, start=START, seed=0)
    assert 1.0 <= d.turns.value <= d.turns.high
    assert (d.turns.low, d.turns.high) == (1.0, max(map(len, conversations[0])) - START)
    assert "too few" in d.turns.method


def test_without_a_shift_to_speak_of_what_is_found_is_false_alarms(calibration) -> None:
    """The promise bounds the rate found where nothing was shifted: alarms there are false ones."""
    rng = np.random.default_rng(seed_of("delay null"))
    d = detection_delay(calibration, *home(rng, 4000), shift=1e-9, start=0, seed=0)
    assert d.found.low <= calibration.promise.alpha
    assert not d.turns.value < 1.0


def test_more_shift_is_found_more_often_and_sooner(calibration) -> None:
    conversations = home(np.random.default_rng(seed_of("delay order")), 300)
    found = [detection_delay(calibration, *conversations, shift=s, start=START, seed=0) for s in (0.2, 0.5, 3.0)]
    rates, delays = [d.found.value for d in found], [d.turns.value for d in found]
    assert rates == sorted(rates) and rates[0] < rates[-1]
    assert delays == sorted(delays, reverse=True) and delays[-1] == pytest.approx(1.0, abs=0.1)
