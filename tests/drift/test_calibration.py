import hashlib
import json
import logging

import numpy as np
import pytest
from scipy.stats import binom

from homing.drift.calibration import Calibration, calibrate, check, detection_delay, watch
from homing.errors import InputError


def home(rng, n, turns=8):
    """In control: correlated, heavy-tailed, noisier where replies are short, with a mean that falls by turn."""
    lengths = rng.integers(20, 200, size=(n, turns))
    noise = rng.standard_t(5, size=(n, turns))
    x = noise.copy()
    for t in range(1, turns):
        x[:, t] = 0.5 * x[:, t - 1] + np.sqrt(0.75) * noise[:, t]
    drift = x * np.sqrt(0.01 + 2 / lengths) - 0.02 * np.arange(turns)
    return drift.tolist(), lengths.tolist()


def generator(name):
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))


@pytest.fixture(scope="module")
def calibration():
    return calibrate(*home(generator("calibration"), 100), context="home")


def test_promise_and_power(calibration):
    rng = generator("fresh")
    assert not calibration.uncalibrated and calibration.promise.alpha == 0.05
    rate = check(calibration, *home(rng, 400))
    assert rate.low <= 0.05 and rate.n == 400
    small, large = (detection_delay(calibration, *home(rng, 150), shift=d, start=2, seed=0) for d in (0.3, 1.0))
    assert large.found.value > 0.9 > small.found.value > rate.value
    assert large.turns.value < small.turns.value


def test_fewer_than_59_says_uncalibrated():
    c = calibrate(*home(generator("few"), 30), context="home")
    assert c.uncalibrated and c.promise.alpha == pytest.approx(1 - 0.05 ** (1 / 30))
    assert c.sentence.startswith("uncalibrated: 5.0% needs 59")


def test_round_trip(calibration):
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_alarms_name_detector_turn_and_distance(calibration):
    alarms = watch(calibration, [0.0, 0.0, -5.0, -5.0], [100] * 4)
    assert {a.turn for a in alarms} == {2, 3} and {a.detector for a in alarms} == {"ewma", "cusum"}
    assert all(a.statistic > a.threshold for a in alarms)
    assert watch(calibration, [0.0] * 4, [100] * 4) == []
    assert watch(calibration, [float("nan")] * 4, [0] * 4) == []


def test_outside_warns(calibration, caplog):
    with caplog.at_level(logging.WARNING, logger="homing.drift"):
        watch(calibration, [0.0] * 9, [100] * 8 + [5000], context="elsewhere")
    assert len(caplog.messages) == 3
    assert calibration.outside([100] * 8, context="home") == ()


def test_spread_follows_length_and_mean_follows_turn(calibration):
    s = calibration.standard
    assert s.spread(20) > 1.5 * s.spread(200)
    assert s.means[0] > s.means[-1]


def test_turns_between_false_alarms(calibration):
    arl = calibration.turns_between_false_alarms()
    assert arl.low < arl.value < arl.high and arl.low > calibration.max_turns / 0.06


def test_uneven_conversations():
    drifts, lengths = home(generator("uneven"), 90)
    cut = [8 if i < 70 else 3 for i in range(90)]
    c = calibrate(
        [d[:k] for d, k in zip(drifts, cut, strict=True)],
        [n[:k] for n, k in zip(lengths, cut, strict=True)],
        context="",
    )
    assert c.max_turns == 8 and c.promise.n == 70 and c.conversations == 90


def test_refusals():
    with pytest.raises(InputError, match="at least 4"):
        calibrate([[0.1]], [[5]], context="")
    with pytest.raises(InputError, match="do not vary"):
        calibrate([[0.1, 0.1]] * 60, [[5, 5]] * 60, context="")
    with pytest.raises(InputError, match="lengths"):
        calibrate([[0.1, 0.1]] * 60, [[5]] * 60, context="")


@pytest.mark.slow
def test_the_promise_holds_over_many_calibrations():
    """At most 5% of calibrations may have a true rate above alpha; each true rate is read off 2000 conversations."""
    rng = generator("promise")
    broken, repetitions = 0, 100
    for _ in range(repetitions):
        c = calibrate(*home(rng, 70), context="")
        broken += check(c, *home(rng, 2000)).value > c.promise.alpha
    assert broken <= binom.ppf(0.9995, repetitions, 0.05)
