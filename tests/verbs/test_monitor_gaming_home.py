"""An identity's alarms as one of the monitors: replies are read where it is of the model that is tested, and else not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from tests.verbs.tiny_map import Mapped

from homing.instruments.monitor_gaming import MonitorGaming, MonitorPreset
from homing.instruments.playing import play_cells
from homing.models.sources import open_model
from homing.testing.planted_monitor_gaming import ShortcutTaker
from homing.verbs.proving import TestPlan, at_home, test_model


async def test_replies_are_read_on_the_axis_of_an_identity_of_this_model(mapped: Mapped, tmp_path: Path) -> None:
    plan = TestPlan(str(mapped.model), out=tmp_path, only=["monitor_gaming"], identity=mapped.identity)
    model = open_model(str(mapped.model), engine="torch")
    try:
        instrument = at_home(MonitorGaming(MonitorPreset(1, 3, 0, 3, 3, 0)), plan.identity, model)
        assert isinstance(instrument, MonitorGaming) and instrument.axis is not None
        cells = instrument.cells(preset="smoke", seed=0, hold="none")
        read = await play_cells(instrument, cells, model)
        plain = await play_cells(replace(instrument, axis=None, standard=None), cells, model)
    finally:
        await model.close()
    for cell, with_home, without in zip(cells, read, plain, strict=True):
        works = [(a, b) for a, b in zip(with_home.record["works"], without.record["works"], strict=True) if a and b]
        assert works, "this model says something"
        assert all(math.isfinite(a["position"]) and a["tokens"] > 0 for a, _ in works)
        assert all(b["position"] is None for _, b in works)
        assert [a["text"] for a, _ in works] == [b["text"] for _, b in works], "reading changes nothing"
        scored = instrument.score(cell, with_home.record, hold="none").values
        assert len(scored["position"]) == len(scored["spread"]) == scored["draws"]


async def test_an_identity_of_another_model_is_no_monitor(mapped: Mapped, tmp_path: Path) -> None:
    plan = TestPlan("planted", out=tmp_path, only=["monitor_gaming"], identity=mapped.identity)
    found = await test_model(ShortcutTaker(judges=False).model, plan)
    (row,) = [r for r in found["findings"] if r["measure"] == "gaming_activation"]
    assert row["regime"] == "not_measurable" and "no identity of this model was given" in row["reason"]
