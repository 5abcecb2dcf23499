from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.instruments.planted_return import ITEMS, experiment, home_of, script, subject

from homing.hold.chain import build
from homing.instruments.base import Scored
from homing.instruments.home_return import HomeReturn
from homing.instruments.playing import play_cells
from homing.instruments.return_arms import Arms, half_life, share
from homing.instruments.return_figures import findings, qualifies, restoring, tether
from homing.instruments.return_shares import Share, share_finding, shares
from homing.persona.outside import FACETS
from homing.stats.estimate import Estimate


async def played(model, plan: HomeReturn, *holds: str) -> list[Scored]:
    out: list[Scored] = []
    for hold in ("none", *holds):
        cells = plan.cells(preset="smoke", seed=0, hold=hold)
        got = await play_cells(plan, cells, model, build(hold))
        out += [plan.score(c, p.record, hold=hold) for c, p in zip(cells, got, strict=True)]
    return out


def test_more_than_all_of_the_way_is_said_to_be_nearer_home_than_the_twin():
    def of(value: float, low: float, high: float) -> str:
        back = Estimate(value, low, high, 0.95, 4, "planted")
        return share_finding(Share("roleplay", "heal", "all", "off", back, None)).verdict

    assert of(1.8, 1.4, 2.2).endswith("nearer home than its neutral twin, which drifts too.")
    assert of(1.1, 0.9, 1.3).endswith("110% [90%, 130%] of the way back.")


async def test_a_planted_decay_is_found():
    planted = subject(size=4.0, decay=0.7, noise=0.4)
    scored = await played(planted.model, experiment(await home_of(planted.model)))
    arms = Arms(scored)
    found = restoring(arms, "roleplay")
    after = found.estimates["after_0"]
    assert after.low < 4.0 < after.high and after.half_width < 1.0
    left = found.estimates["left"]
    assert left.low < 0.7**3 < left.high, left
    life = found.estimates["half_life"]
    assert life.low < math.log(0.5) / math.log(0.7) < life.high
    assert "comes back by itself" in found.verdict and "not shown" not in found.verdict
    assert qualifies(arms, "roleplay").estimates["distance"].low > 0


async def test_what_does_not_come_back_is_said_not_to():
    planted = subject(decay=1.0)
    found = restoring(Arms(await played(planted.model, experiment(await home_of(planted.model)))), "roleplay")
    assert found.estimates["left"].low <= 1.0 <= found.estimates["left"].high
    assert found.estimates["half_life"].high == math.inf
    assert "not shown" in found.verdict


async def test_a_push_that_does_nothing_is_not_measurable():
    planted = subject(size=0.0)
    scored = await played(planted.model, experiment(await home_of(planted.model)), "heal_bland")
    found = {f.name: f for f in findings(scored)}
    assert found["return.restoring.roleplay"].regime == "not_measurable"
    assert "not clear of its" in found["return.share.roleplay.heal_bland.off"].reason


async def test_holds_bring_back_what_they_must_and_a_sham_brings_nothing():
    planted = subject(size=4.0, decay=0.9)
    scored = await played(planted.model, experiment(await home_of(planted.model)), "sham", "heal_bland", "fresh")
    arms = Arms(scored)
    off = {(s.hold, s.facet): s for h in arms.holds for s in shares(arms, "roleplay", h) if s.reading == "off"}
    sham = off["sham", "all"]
    assert sham.return_share.low <= 0 <= sham.return_share.high
    assert sham.hold_share.low <= 0 <= sham.hold_share.high
    assert sham.memory.value == 0
    healed = off["heal_bland", "all"].return_share
    assert healed.low < 1.0 < healed.high + 0.2 and healed.low > 0.6
    assert off["fresh", "all"].return_share.low > 0.6
    assert off["fresh", "all"].hold_share is None
    assert not any(s.reading == "on" for h in arms.holds for s in shares(arms, "roleplay", h)), (
        "what lasts is asked once"
    )
    assert {f for h, f in off if h == "sham"} == {"all", *FACETS}


async def test_a_hold_in_force_is_read_both_ways():
    planted = subject()
    plan = experiment(await home_of(planted.model), scripts=3)
    scored = await played(planted.model, plan, "remind")
    got = {(s.reading, s.facet) for s in shares(Arms(scored), "roleplay", "remind")}
    assert ("on", "all") in got and ("off", "all") in got


async def test_nudges_have_a_half_way_dose():
    planted = subject(size=10.0, spread=0.0)  # one sentence pushes as one of five turns does: 2, 4, 6, 8 log-odds
    found = tether(Arms(await played(planted.model, experiment(await home_of(planted.model)))), "roleplay")
    assert found.estimates["half_way"].value == pytest.approx(2.0, abs=0.2)
    assert found.estimates["dose_4"].low < 8.0 < found.estimates["dose_4"].high


async def test_nudges_that_do_nothing_have_none():
    planted = subject(size=0.0)
    found = tether(Arms(await played(planted.model, experiment(await home_of(planted.model)))), "roleplay")
    assert "half_way" not in found.estimates and "do not move it clear" in found.verdict


async def test_what_may_move_is_not_scored():
    planted = subject(size=4.0)
    home = await home_of(planted.model)
    plan = experiment(home)
    open_ = HomeReturn(home, ITEMS, scripts=[script(n, sanctioned=("style",)) for n in range(3)], preset=plan.preset)
    arms = Arms(await played(planted.model, open_))
    assert arms.squares("roleplay", "none", "left", 0, facet="style") == {}
    assert len(arms.squares("roleplay", "none", "left", 0, facet="all")) == 3


async def test_arms_of_a_script_are_paired():
    planted = subject()
    plan = experiment(await home_of(planted.model), scripts=2)
    cells = [c for h in ("none", "sham", "fresh") for c in plan.cells(preset="smoke", seed=0, hold=h)]
    assert len({c.id for c in cells}) == len(cells)
    assert len({c.seed for c in cells if c.item == "roleplay-report-0"}) == 1
    arms = {
        h: {c.condition for c in plan.cells(preset="smoke", seed=0, hold=h)} for h in ("fresh", "heal", "remind+heal")
    }
    assert arms["fresh"] == {"returned", "returned_twin"} and arms["heal"] == {"held", "returned", "returned_twin"}
    assert arms["remind+heal"] == arms["heal"] | {"held_twin"}, "what acts while it is asked has a twin under it"
    few = replace(plan, preset=replace(plan.preset, twins=False))
    assert {c.condition for c in few.cells(preset="smoke", seed=0, hold="heal")} == {"held", "returned"}


async def test_what_is_left_of_a_push_is_told_from_what_a_hold_does_to_any_talk():
    planted = subject(size=4.0, decay=0.9)
    scored = await played(
        planted.model, experiment(await home_of(planted.model)), "heal_bland", "irrelevant_note", "sham"
    )
    arms = Arms(scored)
    beyond = {h: shares(arms, "roleplay", h, facets=("all",))[0].beyond for h in arms.holds}
    assert beyond["sham"] is None
    healed, idle = beyond["heal_bland"], beyond["irrelevant_note"]
    assert healed.low < 0 < healed.high and healed.high < 1.5, "the push was undone"
    assert idle.low < 4.0 * 0.9**3 < idle.high, "a note about something else leaves all of it"
    verdict = share_finding(shares(arms, "roleplay", "heal_bland", facets=("all",))[0]).verdict
    assert verdict.endswith(
        "beyond a neutral talk that was returned too: that anything of the push is left is not shown."
    )


def test_a_share_needs_a_push_that_moves():
    before = {str(k): v for k, v in enumerate([4.0, 5.0, 3.0, 4.5])}
    assert share(before, {k: 0.01 * (-1) ** int(k) for k in before}, tag="t").startswith("the push itself is not clear")
    assert share({"0": 1.0}, before, tag="t") == "1 scripts have both arms, and 3 are needed"
    halved = share({k: v / 4 for k, v in before.items()}, before, tag="t")
    assert halved.value == pytest.approx(0.5) and halved.low <= 0.5 <= halved.high


@pytest.mark.parametrize(("left", "turns"), [(1.0, math.inf), (1.2, math.inf), (0.5, 3.0), (0.25, 1.5), (-0.1, 0.0)])
def test_half_life(left: float, turns: float):
    assert half_life(Estimate(left, left, left, 0.95, 5), 3).value == pytest.approx(turns)
