"""What the page is given: intervals of a handful of replies, and alarms beyond what was promised."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verbs.tiny_map import Mapped

from homing.persona.judge import load_gold
from homing.report.model import PersonaMap
from homing.verbs.plan import plan_map
from homing.verbs.report import report_data


def test_a_role_of_four_replies_has_students_interval(mapped: Mapped) -> None:
    shown = report_data(mapped.identity).persona_map
    assert isinstance(shown, PersonaMap)
    raw = {r["name"]: r for r in mapped.identity.section("persona").data["roles"]}
    for point in shown.roles:
        if raw[point.name]["replies"] == 4:
            assert point.position.half_width == pytest.approx(3.1824 * raw[point.name]["se"], rel=1e-3)


def test_alarms_after_the_promised_turns_are_said_to_lie_outside_it(mapped: Mapped) -> None:
    alarms = report_data(mapped.identity).alarms
    assert alarms.turns == 2
    assert "go on for 8 turns: what is marked after turn 2 lies outside this promise" in alarms.conclusion


def test_steps_of_a_judged_plan_count_every_judged_reply(tmp_path: Path) -> None:
    plain, judged = (plan_map("smollm2", preset="standard", out=tmp_path, judge=j) for j in ("none", "likelihood"))
    ids = {r.id for r in judged.design.roles}
    gold = sum(g.role in ids for g in load_gold())
    assert judged.steps - plain.steps == judged.split["roles"] + gold
