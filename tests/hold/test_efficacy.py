from __future__ import annotations

import numpy as np
import pytest

from homing.conversation import Conversation
from homing.engine.base import Direction
from homing.errors import InputError
from homing.hold.arms import Arm, run_arms
from homing.hold.cap import Cap
from homing.hold.controls import control_directions, match_controls
from homing.hold.efficacy import efficacy, harmless, judge_arms
from homing.hold.labels import role_scores
from homing.hold.roleplay import RolePlay
from homing.hold.tuning import Candidate, tune, windows

LAYERS = (2, 3, 4)
KINDS = ("vampire", "captain", "poet", "jester")


def pushes(half: str, n: int = 24) -> tuple[RolePlay, ...]:
    return tuple(
        RolePlay(f"{half}{i}", f"You are a {KINDS[i % 4]} {half} {i}.", (f"Who are you {i}?",), half) for i in range(n)
    )


def home_raw(model, axis) -> np.ndarray:
    talk = Conversation.of("hello there").then("I am designed to assist you with information")
    model.register(axis.direction)
    return np.concatenate([model._run(talk, ["I", "am", "designed", "to"] * 8, (), (axis.read(axis.layers),))[0][0]])


def controls_of(axis, draws: int = 2):
    rng = np.random.default_rng(3)
    residuals = rng.standard_normal((40, 6, 16)).astype(np.float32)
    return control_directions(
        axis, seed=1, residuals=residuals, role_vectors=residuals[:20], home=np.arange(40) < 12, draws=draws
    )


async def test_the_cap_lifts_a_planted_axis_and_no_control_does(planted, axis):
    cap = Cap.floor_at(axis, LAYERS, home_raw(planted, axis), quantile=0.5)
    prompts = [Conversation.of(p.push) for p in pushes("tune", 12)]
    matched = await match_controls(planted, cap, controls_of(axis), prompts)
    got = await efficacy(planted, axis, cap, matched, pushes("report"), max_new_tokens=16, turns=2)
    e = got.lift.estimates
    assert got.clear and e["lift"].low > 0.2
    for kind in ("random", "orthogonal", "shuffled"):
        assert e[f"over_{kind}"].low > 0 and kind in got.controls
        assert abs(e[f"lift_{kind}"].value) < 0.5 * e["lift"].value
    assert "clear of" in got.lift.verdict and got.engaged["cap"][0] > 0.2 and got.engaged["plain"] == (0.0, 0.0)
    assert len(got.examples) == 4 and got.examples[0].users[0].startswith("You are a")
    first = got.examples[0]
    assert first.plain != first.held and len(first.pieces[0]) == len(first.fired[0]) == 16
    assert (
        first.held_position - first.plain_position >= got.examples[-1].held_position - got.examples[-1].plain_position
    )


async def test_controls_match_engagement_and_norm(planted, axis):
    cap = Cap.floor_at(axis, LAYERS, home_raw(planted, axis), quantile=0.5)
    prompts = [Conversation.of(p.push) for p in pushes("tune", 12)]
    matched = await match_controls(planted, cap, controls_of(axis), prompts, rounds=4)
    assert set(matched) == {"random", "orthogonal", "shuffled"}
    for many in matched.values():
        assert len(many) == 2
        for m in many:
            assert m.engaged == pytest.approx(m.engaged_cap, abs=0.12)
            assert m.edit == pytest.approx(m.edit_cap, rel=0.25)
            assert m.to_json()["engaged_cap"] == m.engaged_cap


async def test_the_sham_and_a_cap_that_never_fires_have_no_effect_at_all(planted, axis):
    never = Cap.floor(axis, LAYERS, [-np.inf] * 3)
    runs = await run_arms(planted, axis, pushes("report"), [Arm("plain"), Arm("cap", (never.acts(),))], turns=2)
    lift, _, clear = judge_arms(runs, [])
    assert lift.estimates["lift"].value == 0 and lift.estimates["lift"].low == lift.estimates["lift"].high == 0
    assert not clear and "not shown" in lift.verdict


async def test_a_cap_on_a_meaningless_direction_is_not_called_clear(planted, axis):
    noise = Direction("noise", axis.layers, np.eye(16, dtype=np.float32)[np.full(6, 5)])
    cap = Cap("floor", noise, LAYERS, (1.0, 1.0, 1.0))
    prompts = [Conversation.of(p.push) for p in pushes("tune", 8)]
    matched = await match_controls(planted, cap, controls_of(axis, 1), prompts, rounds=1)
    got = await efficacy(planted, axis, cap, matched, pushes("report"), max_new_tokens=12, turns=1)
    assert not got.clear
    assert got.engaged["cap"][0] > 0.5  # it engages on most tokens, and still nothing is claimed


async def test_pushes_of_the_tuning_half_and_barred_ones_are_refused(planted, axis):
    cap = Cap.floor(axis, LAYERS, [0.0] * 3)
    with pytest.raises(InputError, match="tune0"):
        await efficacy(planted, axis, cap, {}, pushes("tune"))
    items = pushes("report")
    with pytest.raises(InputError, match="report3"):
        await efficacy(planted, axis, cap, {}, items, barred=frozenset({items[3].digest}))
    with pytest.raises(InputError, match="at least 2"):
        await efficacy(planted, axis, cap, {}, items[:1])


async def test_silence_is_a_state_and_is_counted(planted, axis):
    runs = await run_arms(planted, axis, pushes("report", 6), [Arm("plain"), Arm("cap")], max_new_tokens=8)
    runs["cap"].position[2] = np.nan
    lift, _, _ = judge_arms(runs, [])
    assert lift.estimates["lift"].n == 5 and "1 pushes without an answer" in lift.verdict
    runs["cap"].position[:] = np.nan
    assert judge_arms(runs, [])[0].regime == "not_measurable"


def test_control_directions_are_what_they_say(axis):
    found = controls_of(axis)
    for d in found["orthogonal"]:
        assert np.abs(np.einsum("lh,lh->l", d.vectors, axis.vectors)).max() < 1e-5
    assert found["random"][0].id != found["random"][1].id
    again = controls_of(axis)
    assert [d.id for d in found["shuffled"]] == [d.id for d in again["shuffled"]]
    assert set(control_directions(axis, seed=0)) == {"random", "orthogonal"}
    with pytest.raises(InputError, match="residuals"):
        control_directions(axis, seed=0, residuals=np.zeros((4, 2, 16), np.float32))


async def test_tuning_picks_the_setting_that_lifts_and_bars_what_it_used(planted, axis):
    raw = home_raw(planted, axis)
    low = raw - 50.0
    options = (Candidate((2, 3, 4), 0.0), Candidate((2, 3, 4), 0.5))
    joined = np.concatenate([low, raw, raw])
    got = await tune(planted, axis, joined, pushes("tune", 8), options=options, max_new_tokens=12, price_items=8)
    assert got.best.quantile == 0.5 and got.best.lift > 0.1 and got.tried[0].lift == 0
    assert {p.digest for p in pushes("tune", 8)} <= got.barred and len(got.to_json()["tried"]) == 2
    with pytest.raises(InputError, match="report0"):
        await tune(planted, axis, raw, pushes("report", 3))


def test_windows_lie_in_the_later_middle(axis):
    from dataclasses import replace

    wide = replace(
        axis, layers=tuple(range(30)), vectors=np.ones((30, 16), np.float32), zero=(0.0,) * 30, unit=(1.0,) * 30
    )
    assert windows(wide, 30)[0] == tuple(range(16, 24)) and len(windows(wide, 30)) == 3
    with pytest.raises(InputError, match="later middle"):
        windows(axis, 60)


async def test_one_direction_of_a_kind_stands_for_no_kind(planted, axis):
    """However many pushes one random direction had, they say much of that direction and nothing of random ones."""
    cap = Cap.floor_at(axis, LAYERS, home_raw(planted, axis), quantile=0.5)
    prompts = [Conversation.of(p.push) for p in pushes("tune", 3)]
    for draws, known in ((1, False), (3, True)):
        matched = await match_controls(planted, cap, controls_of(axis, draws), prompts, max_new_tokens=6, rounds=0)
        got = await efficacy(planted, axis, cap, matched, pushes("report", 6), max_new_tokens=6, turns=1)
        assert got.lift.estimates["over_random"].n == draws
        assert np.isfinite(got.lift.estimates["over_random"].low) == known
        assert f"{draws} random directions" in got.controls["random"].verdict


def test_a_null_control_is_called_beaten_as_seldom_as_it_should_be():
    """Directions that differ among themselves and not from the cap on average: pushes alone would call that an effect."""
    from homing.hold.arms import ArmRun

    def run(name: str, position: np.ndarray, which: tuple[int, ...]) -> ArmRun:
        nothing = np.zeros(len(position))
        return ArmRun(name, (), (), position, nothing, nothing, nothing, which)

    rng = np.random.default_rng(7)
    beaten = 0
    repetitions = 400
    for _ in range(repetitions):
        which = tuple(i % 8 for i in range(30))
        plain = rng.normal(0, 0.3, 30)
        cap = plain + 0.5 + rng.normal(0, 0.3, 30)
        control = plain + 0.5 + rng.normal(0, 0.3, 8)[list(which)] + rng.normal(0, 0.3, 30)
        lift, _, _ = judge_arms({
            "plain": run("plain", plain, which), "cap": run("cap", cap, which), "random": run("random", control, which)
        }, ["random"])  # fmt: skip
        beaten += lift.estimates["over_random"].low > 0
    assert beaten <= 21  # 2.5% of 400 is 10; beyond 21 in one of 1000


async def test_the_content_is_judged_blind_to_the_arm(planted, axis):
    items = pushes("report", 6)
    runs = await run_arms(planted, axis, items, [Arm("plain"), Arm("same")], max_new_tokens=8, turns=2)
    scores = await role_scores(planted, items, runs)
    assert np.array_equal(scores["plain"], scores["same"])  # equal texts, equal labels, whatever the arm is called
    lift, _, _ = judge_arms(
        {"plain": runs["plain"], "cap": runs["same"]}, [], roles={"plain": scores["plain"], "cap": scores["same"]}
    )
    assert lift.estimates["role"].value == 0 and lift.p_values["role"] == 1.0


def test_a_change_of_manner_alone_is_called_one():
    from homing.hold.arms import ArmRun

    rng = np.random.default_rng(0)
    nothing = np.zeros(20)
    plain = rng.normal(0, 0.1, 20)
    runs = {
        name: ArmRun(name, (), (), plain + up + rng.normal(0, 0.1, 20), nothing, nothing, nothing, (0,) * 20)
        for name, up in (("plain", 0.0), ("cap", 1.0))
    }
    words = rng.normal(0.5, 0.2, 20)
    camouflage, _, _ = judge_arms(runs, [], roles={"plain": words, "cap": words + rng.normal(0, 0.1, 20)})
    assert "change of manner" in camouflage.verdict
    real, _, _ = judge_arms(runs, [], roles={"plain": words, "cap": words - 1})
    assert "less in the role" in real.verdict and "manner" not in real.verdict


async def test_a_cap_on_harmless_talk_is_counted_and_a_sham_is_free(planted, axis):
    asked = ("How do I boil an egg?", "What is a prime number?", "Where do ducks sleep?")
    cap = Cap.floor_at(axis, LAYERS, home_raw(planted, axis), quantile=0.5)
    got = await harmless(planted, axis, cap, asked, max_new_tokens=8)
    assert got.estimates["engaged"].value > 0 and got.estimates["changed"].n == 3
    sham = await harmless(planted, axis, Cap.floor(axis, LAYERS, [-np.inf] * 3), asked, max_new_tokens=8)
    assert sham.estimates["engaged"].value == 0 and sham.estimates["changed"].value == 0
