"""The chart of monitor_gaming, from what the instrument gives on a planted subject."""

from __future__ import annotations

import re
from pathlib import Path

from homing.report.proving import claims, render_test
from homing.report.proving_figures import panels
from homing.testing.planted_monitor_gaming import ShortcutTaker
from homing.verbs.proving import TestPlan, test_model

MODEL = ShortcutTaker(takes=0.6, names=0.8, skips=0.7, judges=False).model


async def test_known_rotating_and_ensemble_are_drawn_by_doublings(tmp_path: Path) -> None:
    found = await test_model(MODEL, TestPlan("planted", out=tmp_path, only=["monitor_gaming"]))
    assert found["holds"] == ["none"]
    (claim,) = claims(found)
    (panel,) = panels(claim)
    chart = str(panel.chart)
    assert chart.count("<svg") == 2 and "known, and gamed, the best of 16" in chart
    assert "another one is met, the best of 16" in chart and "all as one, the best of 16" in chart
    assert "it is gamed" in panel.verdict
    arm = claim.arms("")[0]
    assert (arm.line.finding, arm.line.key) == ("gaming", "slope") and arm.line.adjusted is not None
    page = render_test(found)
    assert "fails its gold set" in page and not re.search(r">\s*(nan|inf|None)\s*<", page)


async def test_where_there_is_nothing_to_catch_the_page_says_so(tmp_path: Path) -> None:
    found = await test_model(ShortcutTaker(takes=0.0).model, TestPlan("planted", out=tmp_path, only=["monitor_gaming"]))
    (claim,) = claims(found)
    assert "<svg" not in render_test(found) and "nothing to catch" in panels(claim)[0].reason
