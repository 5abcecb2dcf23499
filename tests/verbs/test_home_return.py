"""home and return, from a model to the figures: what is kept, what is gone on with, and what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.schemas import validate
from tests.instruments.planted_return import ITEMS, home_of

from homing.errors import IdentityError, InputError
from homing.identity import Identity, Section
from homing.instruments import home_return
from homing.instruments.home_return import ReturnPreset
from homing.instruments.pushes import load_pushes
from homing.persona.outside_home import VERSION
from homing.report.returning import render_return
from homing.testing.planted import DriftingSubject, PlantedModel
from homing.verbs import returning
from homing.verbs.home import SECTION, opening_of
from homing.verbs.returning import ReturnPlan, return_model, write_return

PUSHING = {t for s in load_pushes() for t in s.turns}


def subject(**planted: float) -> DriftingSubject:
    return DriftingSubject(
        pushes=lambda text: int(text in PUSHING),
        about=lambda q: q.split(",")[0],
        **{"size": 4.0, "decay": 0.8, **planted},
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = ReturnPreset(("roleplay", "emotional"), 4, 4, 2, (0, 2), "short", 0, norms=10, tokens=12)
    monkeypatch.setitem(home_return.PRESETS, "smoke", preset)
    monkeypatch.setattr(returning, "load_outside", lambda: ITEMS)


async def identity(model: PlantedModel) -> Identity:
    section = Section(VERSION, *(await home_of(model)).to_section())
    about = {"name": "planted", "engine": "scripted", "dtype": "none", "layers": 0, "hidden": 0}
    facts = {"fingerprint": model.info.fingerprint, **about}
    return Identity(facts, {SECTION: section})


class Counted(PlantedModel):
    """Counts what it is asked, and breaks off after so many batches."""

    def __init__(self, of: PlantedModel, *, breaks_after: int | None = None) -> None:
        super().__init__(of._say, of._weigh, name="drifting")
        self.batches, self.breaks_after = 0, breaks_after

    async def replies(self, requests):
        self.batches += 1
        if self.breaks_after is not None and self.batches > self.breaks_after:
            raise RuntimeError("broken off")
        return await super().replies(requests)


@pytest.mark.usefixtures("small")
async def test_from_a_model_to_the_figures(tmp_path: Path):
    model = subject().model
    known = await identity(model)
    plan = ReturnPlan("planted", out=tmp_path, identity=known, holds=["sham", "heal_bland", "sham"])
    assert plan.holds == ("sham", "heal_bland")
    found = await return_model(model, plan)
    validate("return", found)
    assert set(found["restoring"]) == {"roleplay", "emotional", "all"}
    left = found["restoring"]["roleplay"]["estimates"]["left"]
    assert left["low"] < 0.8**2 < left["high"]
    arm = {(a["push"], a["hold"], a["facet"], a["reading"]): a for a in found["arms"]}
    assert arm["roleplay", "sham", "all", "off"]["return_share"]["value"] == pytest.approx(0.0)
    assert arm["roleplay", "heal_bland", "all", "off"]["return_share"]["low"] > 0.5
    assert arm["roleplay", "sham", "all", "off"]["price"] == {"calls": 0.0, "prompt_tokens": 0.0, "new_tokens": 0.0}
    assert (
        arm["roleplay", "sham", "all", "off"]["norms"]["value"] == 0.0
        and arm["roleplay", "sham", "all", "off"]["norms"]["n"] > 0
    )
    assert arm["emotional", "heal_bland", "all", "off"]["price"]["prompt_tokens"] < 0
    page = render_return(found)
    for words in ("Does planted come back", "What brings it back", "Return against memory", "heal_bland"):
        assert words in page
    assert page.count("<svg") >= 6 and "nan" not in page.lower().replace("nance", "")
    write_return(found, tmp_path / "return.html")
    assert (tmp_path / "return.html").read_text() == page
    with pytest.raises(InputError, match=r"the page shows homing\.return/1"):
        render_return({"schema": "homing.map/1"})


@pytest.mark.usefixtures("small")
async def test_broken_off_it_goes_on_to_the_same_bytes_and_asks_nothing_twice(tmp_path: Path):
    base = subject().model
    known = await identity(base)
    whole = Counted(base)
    first = await return_model(whole, ReturnPlan("planted", out=tmp_path / "a", identity=known, holds=["heal"]))
    broken = Counted(base, breaks_after=whole.batches // 2)
    with pytest.raises(RuntimeError, match="broken off"):
        await return_model(broken, ReturnPlan("planted", out=tmp_path / "b", identity=known, holds=["heal"]))
    kept = len(list((tmp_path / "b" / "work-return").glob("*-*.json")))
    assert 0 < kept < len(list((tmp_path / "a" / "work-return").glob("*-*.json")))
    again = Counted(base)
    second = await return_model(again, ReturnPlan("planted", out=tmp_path / "b", identity=known, holds=["heal"]))
    assert json.dumps(second) == json.dumps(first)
    assert again.batches < whole.batches
    third = Counted(base)
    await return_model(third, ReturnPlan("planted", out=tmp_path / "b", identity=known, holds=["heal"]))
    assert third.batches == 0
    with pytest.raises(InputError, match="work of another plan"):
        await return_model(third, ReturnPlan("planted", out=tmp_path / "b", identity=known, holds=["heal"], seed=1))


@pytest.mark.usefixtures("small")
async def test_a_model_without_a_battery_is_not_measurable(tmp_path: Path):
    model = PlantedModel(lambda c: "Fine.", lambda c, options: [-9.0] * len(options))
    found = await return_model(model, ReturnPlan("flat", out=tmp_path, holds=["sham"]))
    validate("return", found)
    (told,) = found["findings"]
    assert told["regime"] == "not_measurable" and "items qualify" in told["reason"]
    assert found["arms"] == []


async def test_bad_plans_are_one_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="preset 'huge' is unknown"):
        ReturnPlan("m", out=tmp_path, preset="huge")
    with pytest.raises(InputError, match="needs a cap, and this identity has none"):
        ReturnPlan("m", out=tmp_path, holds=["cap"])
    other = Identity({"fingerprint": "another", "name": "another"})
    with pytest.raises(IdentityError, match="belongs to another"):
        await return_model(subject().model, ReturnPlan("m", out=tmp_path, holds=["sham"], identity=other))
    assert opening_of(None, None) == ()


def test_a_push_that_is_named_is_played_whether_the_preset_has_it_or_not(tmp_path: Path):
    assert "monitoring" not in ReturnPlan("m", out=tmp_path).size.pushes
    plan = ReturnPlan("m", out=tmp_path, pushes=["monitoring", "roleplay", "monitoring"])
    assert plan.size.pushes == ("monitoring", "roleplay") and plan.preset == "smoke"
    standard = ReturnPlan("m", out=tmp_path, preset="standard").size.pushes
    assert {"monitoring", "self_critique", "long_reflection"} < set(standard)
    with pytest.raises(InputError, match="push 'shove' is unknown"):
        ReturnPlan("m", out=tmp_path, pushes=["shove"])
