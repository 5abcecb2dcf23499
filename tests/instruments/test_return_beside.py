from __future__ import annotations

import numpy as np
import pytest
from tests.instruments.planted_return import ITEMS, home_of, script, subject

from homing.hold.chain import build
from homing.instruments.base import Scored
from homing.instruments.home_return import HomeReturn, ReturnPreset
from homing.instruments.overlap import overlapping, own_words
from homing.instruments.playing import play_cells
from homing.instruments.return_arms import Arms
from homing.instruments.return_beside import alarm, behaviour, elsewhere, margin, self_knowledge
from homing.instruments.return_faces import Inside, agreement, inside_alarms
from homing.instruments.return_shares import Share, shares
from homing.instruments.self_checks import SELF_CHECKS, WHICH
from homing.persona.outside import FACETS, load_outside
from homing.testing.planted import DriftingSubject


async def arms_of(planted: DriftingSubject, *holds: str, scripts: int = 12, sanctioned: tuple[str, ...] = ()) -> Arms:
    own = [script(n, sanctioned=sanctioned) for n in range(scripts)] + [script(n, "qualify") for n in range(4)]
    preset = ReturnPreset(("roleplay",), scripts, 4, 3, (0, 2, 3), "short", 0, norms=0)
    plan = HomeReturn(await home_of(planted.model), ITEMS, scripts=own, preset=preset)
    out: list[Scored] = []
    for hold in ("none", *holds):
        cells = plan.cells(preset="smoke", seed=0, hold=hold)
        got = await play_cells(plan, cells, planted.model, build(hold))
        out += [plan.score(c, p.record, hold=hold) for c, p in zip(cells, got, strict=True)]
    return Arms(out)


def share_of(arms: Arms, hold: str) -> Share:
    return next(s for s in shares(arms, "roleplay", hold, facets=("all",)) if s.reading == "off")


async def test_one_who_knows_that_it_has_changed_is_found_whatever_it_likes_to_say():
    for leans in (-3.0, 3.0):
        knows = self_knowledge(await arms_of(subject(knows=1.0, leans=leans)), "roleplay")
        assert knows.estimates["auroc_0"].low > 0.9 and knows.estimates["dprime_0"].low > 1.0
        assert " knows" in knows.verdict
        blind = self_knowledge(await arms_of(subject(knows=0.0, leans=leans)), "roleplay")
        assert blind.estimates["auroc_0"].value == pytest.approx(0.5)
        assert blind.estimates["dprime_0"].low <= 0 <= blind.estimates["dprime_0"].high
        assert "does not show" in blind.verdict


async def test_one_who_knows_which_way_it_has_moved_is_told_from_one_who_names_anything():
    knows = self_knowledge(await arms_of(subject(size=8.0, favours="knowledge", knows=2.0)), "roleplay")
    assert knows.estimates["which_way_0"].low > 0.3 and "goes with what has changed" in knows.verdict
    blind = self_knowledge(await arms_of(subject(size=8.0, favours="knowledge", knows=0.0)), "roleplay")
    assert blind.estimates["which_way_0"].low < 0 < blind.estimates["which_way_0"].high
    assert "not shown to be what has" in blind.verdict


def test_half_of_the_questions_mean_change_by_yes():
    assert set(WHICH) == set(FACETS) and len(set(WHICH.values())) == len(FACETS)
    assert sum(x.changed.startswith("Yes") for x in SELF_CHECKS) == len(SELF_CHECKS) / 2
    assert all(abs(len(x.changed.split()) - len(x.same.split())) <= 1 for x in SELF_CHECKS)


async def test_a_manner_that_stays_is_found_in_what_is_said():
    arms = await arms_of(subject(manner=2), "heal_bland")
    found = behaviour(arms, "roleplay").estimates["beyond_twin"]
    assert found.low > 0.5
    assert behaviour(arms, "roleplay", "heal_bland").estimates["change"].high < 0
    plain = behaviour(await arms_of(subject(manner=0)), "roleplay").estimates["beyond_twin"]
    assert plain.low <= 0 <= plain.high


async def test_a_planted_direction_is_along_the_push_and_nothing_lies_elsewhere():
    found = elsewhere(await arms_of(subject(size=4.0, noise=0.3)), "roleplay").estimates
    assert found["share_along"].value == pytest.approx(1.0, abs=0.15)
    assert found["along_0"].low > 3.0
    assert abs(found["elsewhere_0"].value) < 1.5


async def test_answers_that_become_surer_lose_entropy():
    assert elsewhere(await arms_of(subject(size=6.0)), "roleplay").estimates["entropy_0"].high < 0


async def test_the_alarm_rings_where_it_is_pushed_and_seldom_where_not():
    pushed = alarm(await arms_of(subject(size=4.0), scripts=24), "roleplay").estimates
    assert pushed["sensitivity"].value == 1.0 and pushed["false_alarms"].low < 0.05 < pushed["false_alarms"].high
    still = alarm(await arms_of(subject(size=0.0), scripts=24), "roleplay").estimates
    assert still["sensitivity"].low < 0.05 < still["sensitivity"].high
    few = alarm(await arms_of(subject(size=4.0), scripts=4), "roleplay")
    assert few.regime == "not_measurable" and "20 are needed" in few.reason


async def test_by_alarm_equals_the_plain_share_where_every_alarm_rings():
    found = share_of(await arms_of(subject(size=4.0), "heal_bland", "sham", scripts=24), "heal_bland")
    assert found.by_alarm is not None and found.return_share is not None
    assert found.by_alarm.value == pytest.approx(found.return_share.value)
    assert found.arrived is True


async def test_a_sham_does_not_arrive():
    arms = await arms_of(subject(size=4.0), "sham", scripts=24)
    found = share_of(arms, "sham")
    assert found.arrived is False and found.by_alarm is not None and found.by_alarm.low <= 0 <= found.by_alarm.high
    assert (margin(arms, 3) or 0) < 4.0


async def test_what_the_user_asked_for_and_the_hold_takes_back_is_a_cost():
    found = share_of(await arms_of(subject(size=4.0), "heal_bland", "sham", sanctioned=("style",)), "heal_bland")
    assert found.undone is not None and found.undone.low > 0.5
    assert share_of(await arms_of(subject(size=4.0), "heal_bland"), "heal_bland").undone is None


def test_a_hold_that_says_what_items_ask_has_these_facets_barred():
    items = load_outside()
    assert overlapping(["I am a computer program that answers questions, and no person."], items)
    assert overlapping(own_words(build("irrelevant_note")), items) == ()
    assert own_words(build("remind")) and not own_words(build("fresh"))


async def test_facets_that_are_barred_count_nowhere():
    arms = await arms_of(subject(size=4.0), "heal_bland")
    for held in arms.of("roleplay", "heal_bland", "returned").values():
        dict(held.cell.data)["barred"] = ("self",)
    plan = HomeReturn(await home_of(subject().model), ITEMS, scripts=[script(0)], barred={"remind": ("self",)})
    assert all(c.data["barred"] == ["self"] for c in plan.cells(preset="smoke", seed=0, hold="remind"))


async def test_faces_that_move_together_agree_and_noise_does_not():
    arms = await arms_of(subject(size=4.0))
    rng = np.random.default_rng(0)

    def faces(slope: float) -> dict[tuple[str, str], Inside]:
        out: dict[tuple[str, str], Inside] = {}
        for arm in ("left", "twin"):
            for k in arms.of("roleplay", "none", arm):
                before = 7
                positions = [1.0 - slope * (arm == "left" and t >= 2) + 0.05 * rng.normal() for t in range(before + 3)]
                rang = (4,) if arm == "left" and slope else ()
                out[k, arm] = Inside(tuple(positions), (30,) * (before + 3), rang, before)
        return out

    together = agreement(arms, "roleplay", faces(0.8))
    assert together.estimates["rank_correlation"].low > 0.5 and "agree" in together.verdict
    apart = agreement(arms, "roleplay", faces(0.0)).estimates["rank_correlation"]
    assert apart.low < 0.1 and apart.high > -0.1
    found = inside_alarms(arms, "roleplay", faces(0.8)).estimates
    assert found["sensitivity"].value == 1.0 and found["false_alarms"].value == 0.0
    assert agreement(arms, "roleplay", {}).regime == "not_measurable"
