"""Tests of one report, adjusted together; figures of alarms from planted conversations."""

from __future__ import annotations

import numpy as np

from homing.conversation import Conversation
from homing.drift.calibration import calibrate
from homing.drift.replay import Replay
from homing.drift.trace import Trace, TurnTrace
from homing.stats.estimate import Estimate, Finding
from homing.verbs.drifts import alarm_findings
from homing.verbs.verdicts import primary_tests


def finding(name: str, **p_values: float) -> Finding:
    return Finding(name, {k: Estimate(0.5, 0.1, 0.9, 0.95, 30) for k in p_values}, verdict="so.", p_values=p_values)


def test_one_small_p_value_among_many_is_not_shown() -> None:
    alone = primary_tests({"a": finding("a", lift=0.03)})
    assert [t.shown for t in alone] == [True]
    many = primary_tests(
        {"a": finding("a", lift=0.03), "b": finding("b", **{f"x{i}": 0.2 + i / 20 for i in range(12)})}
    )
    assert len(many) == 13 and not any(t.shown for t in many)
    assert many[0].finding == "a" and many[0].adjusted >= many[0].p_value


def test_nothing_planted_is_seldom_shown_and_a_planted_effect_is_found() -> None:
    rng = np.random.default_rng(0)
    null = [
        any(
            t.shown
            for t in primary_tests({"a": finding("a", **{f"x{i}": float(p) for i, p in enumerate(rng.random(13))})})
        )
        for _ in range(1000)
    ]
    assert np.mean(null) < 0.075  # 0.05, beyond the 99.9% region of 1000 repetitions
    mixed = primary_tests({"a": finding("a", planted=0.0005, **{f"x{i}": 0.3 + i / 20 for i in range(12)})})
    assert [t.estimate for t in mixed if t.shown] == ["planted"]


def conversations(n: int, seed: int) -> list[Replay]:
    rng = np.random.default_rng(seed)
    return [
        Replay(
            str(k), Conversation(()),
            Trace(str(k), tuple(TurnTrace(t, float(rng.normal(0, 0.2)), 20, 0.0) for t in range(4))),
            ("",) * 4, ((),) * 4, ((),) * 4, (),
        )
        for k in range(n)
    ]  # fmt: skip


def test_alarms_tell_their_rate_and_how_soon_they_find_a_planted_shift() -> None:
    home = conversations(100, 1)
    calibration = calibrate([r.trace.drifts() for r in home], [r.trace.lengths() for r in home], context="planted")
    found = alarm_findings(calibration, conversations(200, 2), seed=0)
    assert found["alarm.rate"].estimates["value"].low <= 0.05
    delay = found["alarm.delay"].estimates
    assert delay["value"].value > 0.9  # five standard deviations down
    assert 1 <= delay["turns"].value < 2
    assert calibration.turns_between_false_alarms().value > 4 / 0.05
