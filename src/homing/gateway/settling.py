"""What a turn that is kept leaves: detectors, alarms, and where the way back stands. It computes alone: a store calls it with
what is stored at that moment, since another replica may have kept a turn meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from homing.drift.calibration import Calibration
from homing.drift.detectors import DetectorState
from homing.gateway.asked import Run
from homing.gateway.asking import DETECTOR, SHOWN, past_ways
from homing.gateway.deployment import conditional
from homing.gateway.records import AlarmRecord, Settled, Standing, TurnRecord

__all__ = ["AT_HOME", "settle"]

AT_HOME = 1.6448536269514722
"""Standard deviations below home's own drift within which a reply counts as home: 95% of home's replies lie there or above."""


def settle(
    calibration: Calibration | None, run: Run, record: TurnRecord, seen: str, text: bool, now: Standing
) -> Settled:
    """The state after a turn, from what is stored now: another replica may have kept one since this began."""
    state = dict(now.state)
    detector = DetectorState(**cast("dict[str, Any]", state.get("detector", {})))
    events: list[tuple[str, Mapping[str, Any]]] = []
    fired: tuple[AlarmRecord, ...] = ()
    way = cast("dict[str, Any] | None", state.get("way"))
    if calibration is not None and record.drift is not None:
        detector, _, alarms = calibration.observe(detector, record.drift, len(record.trace), turn=now.turns)
        before = set(cast("list[str]", state.get("over", [])))
        # what was asked stands until it is asked again
        state["over"] = sorted({a.detector for a in alarms} | ({DETECTOR} & before))
        fired = tuple(
            AlarmRecord(a.detector, a.statistic, a.threshold, now.turns) for a in alarms if a.detector not in before
        )
        z = calibration.standard.z(now.turns, record.drift, len(record.trace))
        if way is not None and run.chosen.chain:
            way = {**way, "home": int(way["home"]) + 1 if z >= -AT_HOME else 0}
            if way["home"] >= SHOWN:
                state["ways"] = past_ways(now, now.turns)
                events.append(("home", {"turn": now.turns, "since": way["since"]}))
                way, detector, state["over"] = None, DetectorState(), []
        elif way is None and state["over"] and record.mode == "on" and conditional(record.hold):
            way = {"since": now.turns + 1, "home": 0, "by": "alarm"}
            events.append(("return", {"turn": now.turns, "by": "alarm"}))
    state.update(detector=asdict(detector), way=way)
    if run.left and text:  # a hold may remember words
        state["holds"] = {**cast("dict[str, Any]", state.get("holds", {})), **run.left}
    told = {
        "turn": now.turns, "position": record.position, "drift": record.drift, "hold": record.hold, "capped": record.capped,
        "tokens": record.new_tokens, "returning": way is not None, "alarmed": bool(state.get("over")),
    }  # fmt: skip
    alarmed = [
        ("alarm", {"turn": now.turns, "detector": a.detector, "statistic": a.statistic, "threshold": a.threshold})
        for a in fired
    ]
    return Settled(state, fired, (("turn", told), *alarmed, *events), seen)
