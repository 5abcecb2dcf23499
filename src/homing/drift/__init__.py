"""Watch: traces in calibrated units, detectors, alarms with a promise, conversations to replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.lazy import lazy

if TYPE_CHECKING:
    from homing.drift.calibration import Alarm, Calibration, calibrate, check, watch
    from homing.drift.detectors import Design, DetectorState, step
    from homing.drift.replay import Replay, replay_many
    from homing.drift.scripts import (
        HomeConversation,
        Hypothesis,
        Script,
        load_home_conversations,
        load_hypothesis,
        load_scripts,
    )
    from homing.drift.trace import Trace, TurnTrace, alarms_of, position_of

__all__ = [
    "Alarm",
    "Calibration",
    "Design",
    "DetectorState",
    "HomeConversation",
    "Hypothesis",
    "Replay",
    "Script",
    "Trace",
    "TurnTrace",
    "alarms_of",
    "calibrate",
    "check",
    "load_home_conversations",
    "load_hypothesis",
    "load_scripts",
    "position_of",
    "replay_many",
    "step",
    "watch",
]

__getattr__, __dir__ = lazy(
    "homing.drift",
    {
        "calibration": ("Alarm", "Calibration", "calibrate", "check", "watch"),
        "detectors": ("Design", "DetectorState", "step"),
        "replay": ("Replay", "replay_many"),
        "scripts": (
            "HomeConversation",
            "Hypothesis",
            "Script",
            "load_home_conversations",
            "load_hypothesis",
            "load_scripts",
        ),
        "trace": ("Trace", "TurnTrace", "alarms_of", "position_of"),
    },
)
