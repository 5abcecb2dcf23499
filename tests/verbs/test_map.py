"""The whole map on a model whose persona direction is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.verbs.tiny_map import PRESET, SHORT, Mapped, save_model, tiny_plan

from homing.errors import IdentityError, InputError
from homing.identity import Identity
from homing.identity.work import WorkDir
from homing.models.sources import wrap
from homing.persona.axis import Axis
from homing.persona.plan import PRESETS
from homing.persona.rollouts import Replies
from homing.testing.tiny import planted_model
from homing.verbs import persona as persona_verb
from homing.verbs.card import CONTRACT, card, card_text, findings_of
from homing.verbs.map import run_map
from homing.verbs.persona import measure_persona
from homing.verbs.plan import plan_map
from homing.verbs.progress import Silent


def test_the_map_is_saved_whole_and_verifies(mapped: Mapped) -> None:
    back = Identity.load(mapped.home)
    assert back.digest == mapped.identity.digest
    assert set(back.sections) == {"persona", "drift", "cap", "provenance"}
    assert back.model["layers"] == 4
    assert back.model["dtype"] == "float32"
    assert back.section("provenance").data["plan"]["seed"] == 0


def test_the_planted_axis_is_recovered_where_it_was_planted(mapped: Mapped) -> None:
    section = mapped.identity.section("persona")
    cosines = section.arrays["axis"] @ mapped.planted.axis
    assert (cosines[mapped.planted.layer :] >= 0.98).all()
    assert abs(cosines[0]) < 0.5  # nothing is written before the planted layer
    assert section.data["axis"]["read_layer"] >= mapped.planted.layer


def test_the_card_of_a_planted_home(mapped: Mapped) -> None:
    found = findings_of(mapped.identity)
    assert found["axis.split_half_raw"].estimates["value"].low > 0.95
    assert found["axis.auroc_one"].estimates["value"].value > 0.95
    above = found["axis.home_percentile"]
    assert above.estimates["value"].value == 1.0
    assert "refused" in above.verdict  # above all of twelve roles is not yet above nine in ten of all roles
    figures = card(mapped.home)
    for name in CONTRACT:
        assert (figures[name] is None) == (name in figures["not_measurable"])
    text = card_text(mapped.home)
    assert "axis.split_half" in text
    assert mapped.identity.digest[:12] in text


def test_positions_tell_home_from_roles(mapped: Mapped) -> None:
    section = mapped.identity.section("persona")
    axis = Axis.from_json(section.data["axis"], section.arrays)
    layer = axis.read_layer
    home = axis.positions(axis.raw(section.arrays["home"]))[layer]
    assert home == pytest.approx(1.0, abs=0.01)
    positions = [r["position"] for r in section.data["roles"]]
    assert len(positions) == PRESET.roles
    assert np.mean(positions) == pytest.approx(0.0, abs=0.01)
    assert max(positions) < 0.5


def test_drift_and_cap_sections_hold_what_was_asked(mapped: Mapped) -> None:
    drift = mapped.identity.section("drift").data
    assert drift["calibration"]["conversations"] == PRESET.calibration
    rate = findings_of(mapped.identity)["alarm.rate"]
    assert rate.estimates["value"].n == PRESET.check
    assert {c["domain"] for c in drift["conversations"]} == {"coding", "writing", "emotional", "self_nature"}
    for c in drift["conversations"]:
        # paired: the same user turns free and held, each with its alarms; the twin has its own
        users = [[m["content"] for m in c[arm]["messages"] if m["role"] == "user"] for arm in ("free", "held")]
        assert users[0] == users[1]
        assert c["free"]["turns"][0]["position"] == c["free"]["turns"][0]["fresh"]
        assert {"free", "twin", "held"} <= set(c)
    cap = mapped.identity.section("cap").data
    assert cap["cap"]["kind"] == "floor"
    assert {"random", "orthogonal"} <= set(cap["proof"]["controls"])


async def test_nothing_planted_and_the_card_says_so(tmp_path: Path) -> None:
    nothing = planted_model(strength=0.0)
    model = wrap(nothing.model, nothing.tokenizer, name="nothing")
    plan = tiny_plan(tmp_path)
    with WorkDir(tmp_path / "work", {"plan": 1}) as work:
        found = await measure_persona(model, plan, work, Silent())
    await model.close()
    assert "refused" in found.card["axis.home_percentile"].verdict
    assert found.card["axis.split_half_raw"].estimates["value"].low < 0.3
    one = found.card["axis.auroc_one"].estimates["value"]
    assert one.low < 0.5 < one.high


async def test_precision_stops_between_rounds_only(tmp_path: Path) -> None:
    planted = planted_model(strength=4.0)
    model = wrap(planted.model, planted.tokenizer, name="planted")
    preset = replace(PRESET, roles=24, questions=24, replies_per_role=6, home_replies=288)
    with WorkDir(tmp_path / "a", {"plan": 1}) as work:
        early = await measure_persona(model, tiny_plan(tmp_path, preset=preset, precision=0.1), work, Silent())
    rounds = {p.name[:3] for p in (tmp_path / "a" / "replies").iterdir()}
    assert 1 <= len(rounds) < preset.replies_per_role
    per_round = np.bincount(early.replies.role[~early.replies.home])
    assert len(set(per_round.tolist())) == 1  # every role as often: nothing broke off inside a round
    await model.close()


def test_an_empty_tuning_half_never_stops_the_sampling() -> None:
    stop = persona_verb._stop_rule(0.5, 0)
    rng = np.random.default_rng(0)
    role = np.array([-1, *range(8)])
    n = len(role)
    few = Replies(
        rng.standard_normal((n, 4, 8)).astype(np.float32), role, np.arange(n), np.zeros(n, np.int64), np.full(n, 3),
        ("x",) * n, ("length",) * n, (0, 1, 2, 3), 27, 27, np.zeros(n, np.int64),
    )  # fmt: skip
    assert stop(few) is False


def test_plans_say_what_they_cost_before_anything_runs(tmp_path: Path) -> None:
    for name, preset in PRESETS.items():
        plan = plan_map("smollm2", preset=name, out=tmp_path)
        assert plan.split["calibration"] == preset.calibration * (2 * preset.turns - 1)
        assert any("about" in line and "minutes" in line for line in plan.describe())
    standard = plan_map("smollm2", preset="standard", out=tmp_path)
    assert sum(standard.split.values()) <= 4000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"preset": "huge"}, "preset 'huge' is unknown; use one of smoke"),
        ({"judge": "me"}, "judge 'me' is unknown"),
        ({"precision": 3.0}, "precision is 3.0"),
        ({"roles": Path("nowhere")}, "nowhere is not a folder"),
        ({"home": Path("home.doc")}, "home.doc"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_a_bad_plan_is_one_sentence(tmp_path: Path, arguments: dict, says: str) -> None:
    with pytest.raises(InputError) as e:
        plan_map("smollm2", out=tmp_path, **arguments)
    assert says in str(e.value)
    assert "\n" not in str(e.value)


def test_a_role_file_of_ones_own_with_a_missing_field_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("id: mine\nname: Mine\nkind: own\nwords: [mine]\n")
    with pytest.raises(InputError, match=r"mine\.yaml, line \d+.*prompts"):
        plan_map("smollm2", out=tmp_path / "out", roles=tmp_path)


def test_an_edited_identity_is_refused(mapped: Mapped, tmp_path: Path) -> None:
    for name in ("identity.json", "identity.safetensors"):
        (tmp_path / name).write_bytes((mapped.home / name).read_bytes())
    raw = json.loads((tmp_path / "identity.json").read_text())
    raw["sections"]["persona"]["data"]["axis"]["zero"][0] += 1.0
    (tmp_path / "identity.json").write_text(json.dumps(raw))
    with pytest.raises(IdentityError, match="damaged or edited"):
        card(tmp_path)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    import torch

    from homing.errors import ModelError

    planted = planted_model()
    with torch.no_grad():
        planted.model.model.layers[2].mlp.down_proj.weight[3, 3] = float("nan")
    save_model(planted, tmp_path / "model")
    with pytest.raises(ModelError, match="not finite"):
        run_map(tiny_plan(tmp_path / "out", model=str(tmp_path / "model"), preset=SHORT))
