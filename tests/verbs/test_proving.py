"""test: from a model to the findings, directly and through Inspect; what is broken off goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.schemas import validate
from tests.instruments.tiny_instrument import Tiny

from homing.errors import InputError, MissingExtra, ModelError
from homing.identity.work import WorkDir
from homing.instruments import registry
from homing.models.scripted import ScriptedModel
from homing.verbs import providers
from homing.verbs.abreast import Play, play_abreast, play_arms
from homing.verbs.progress import Silent
from homing.verbs.providers import is_provider
from homing.verbs.proving import TestPlan, run_test, test_model


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": Tiny})


class Counted(ScriptedModel):
    """Says yes three times in four."""

    def __init__(self, *, breaks_after: int | None = None) -> None:
        super().__init__(lambda c: "No." if int(c[-1].content.split()[1][:-1]) % 4 == 0 else "Yes.", name="scripted")
        self.asked, self.breaks_after = 0, breaks_after

    async def replies(self, requests):
        self.asked += len(requests)
        if self.breaks_after is not None and self.asked > self.breaks_after:
            raise RuntimeError("broken off")
        return await super().replies(requests)


async def test_findings_of_every_hold_from_the_same_cells(tmp_path: Path):
    plan = TestPlan("scripted", out=tmp_path, holds=["remind"])
    assert plan.holds == ("none", "sham", "remind")
    assert "60 conversations" in plan.describe()[0]
    found = await test_model(Counted(), plan)
    validate("test", found)
    row = found["findings"][0]
    assert (row["instrument"], row["measure"], row["hold"], row["regime"]) == ("tiny", "rate.rate", "none", "measured")
    assert row["figure"]["value"] == pytest.approx(0.75) and row["cost"]["calls"] == 20


async def test_broken_off_it_asks_nothing_twice(tmp_path: Path):
    with pytest.raises(RuntimeError, match="broken off"):
        await test_model(Counted(breaks_after=20), TestPlan("scripted", out=tmp_path, holds=["remind"]))
    again = Counted()
    found = await test_model(again, TestPlan("scripted", out=tmp_path, holds=["remind"]))
    assert again.asked == 40
    whole = await test_model(Counted(), TestPlan("scripted", out=tmp_path / "other", holds=["remind"]))
    assert json.dumps(found) == json.dumps(whole)


class Roomy(Counted):
    """The same on an engine with room for many conversations at once."""

    def __init__(self, *, slots: int, breaks_after: int | None = None, engine: str = "torch") -> None:
        super().__init__(breaks_after=breaks_after)
        self.rounds = 0
        self._roomy = replace(super().info, engine=engine, slots=slots)

    @property
    def info(self):
        return self._roomy

    async def replies(self, requests):
        self.rounds += 1
        return await super().replies(requests)


async def test_with_room_for_many_whole_units_are_played_together_and_kept_one_by_one(tmp_path: Path):
    usual, roomy = Roomy(slots=32), Roomy(slots=50)
    one = await test_model(usual, TestPlan("scripted", out=tmp_path / "a", holds=["remind"]))
    other = await test_model(roomy, TestPlan("scripted", out=tmp_path / "b", holds=["remind"]))
    assert json.dumps(one) == json.dumps(other)
    assert (usual.rounds, roomy.rounds) == (3, 2)  # three units of twenty, two of which go together
    kept = [sorted(f.name for f in (tmp_path / x / "work-test").glob("tiny-*.json")) for x in "ab"]
    assert kept[0] == kept[1] and len(kept[0]) == 3
    with pytest.raises(RuntimeError, match="broken off"):
        await test_model(Roomy(slots=50, breaks_after=25), TestPlan("scripted", out=tmp_path / "c", holds=["remind"]))
    again = Roomy(slots=50)
    third = await test_model(again, TestPlan("scripted", out=tmp_path / "c", holds=["remind"]))
    assert again.asked == 20 and json.dumps(third) == json.dumps(one)


async def test_on_llamacpp_the_same_cells_go_side_by_side_under_every_hold(tmp_path: Path):
    usual, arms = Roomy(slots=32), Roomy(slots=32, engine="llamacpp")
    one = await test_model(usual, TestPlan("scripted", out=tmp_path / "a", holds=["remind"]))
    other = await test_model(arms, TestPlan("scripted", out=tmp_path / "b", holds=["remind"]))
    assert json.dumps(one) == json.dumps(other)
    assert (usual.rounds, arms.rounds) == (3, 3)  # three units of twenty; eight cells three ways, eight, and four
    assert (usual.asked, arms.asked) == (60, 40), "what a sham leaves as it is, is asked once"
    plan = TestPlan("scripted", out=tmp_path / "b", holds=["remind"])
    plays = list(plan.units())
    assert {p.part for p in plays} == {0}
    with WorkDir(tmp_path / "c", {}) as work:
        with pytest.raises(RuntimeError, match="broken off"):
            await play_arms(Roomy(slots=32, breaks_after=35, engine="llamacpp"), work, plays, Silent())
        assert all(work.find(p.name) is None for p in plays)
        assert await play_arms(arms, work, plays, Silent()) == {p.name for p in plays}
        assert await play_arms(arms, work, plays, Silent()) == set()
        assert await play_arms(usual, work, plays, Silent()) == set(), "elsewhere they go one after the other"


class Twice(Tiny):
    """Asks everything a second time."""

    def edit(self, cell):
        yield from super().edit(cell)
        return (yield from super().edit(cell))


async def test_a_unit_that_ends_early_is_kept_while_longer_ones_go_on(tmp_path: Path):
    cells = Tiny().cells(preset="smoke", seed=0, hold="none")
    plays = [Play("long", Twice(), cells, tuple), Play("short", Tiny(), cells, tuple)]
    with WorkDir(tmp_path, {}) as work:
        with pytest.raises(RuntimeError, match="broken off"):
            await play_abreast(Roomy(slots=50, breaks_after=20), work, plays, Silent())
        assert work.find("long") is None and work.find("short") is not None
        assert await play_abreast(Roomy(slots=50), work, plays, Silent()) == {"long"}


class Doored(Tiny):
    """Asks the first five, and the rest only where most of them were answered with yes."""

    def gates(self, cell):
        return int(cell.item) < 5

    def left(self, cells, scored):
        first = [s.values["yes"] for s in scored if s.hold == "none"]
        return list(cells) if sum(first) > len(first) / 2 else []


@pytest.mark.parametrize("engine", ["torch", "llamacpp"])
@pytest.mark.parametrize("opens", [True, False])
async def test_what_lies_behind_a_gate_is_played_only_where_it_opens(
    opens: bool, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": Doored})
    told: list[str] = []

    class Told(Silent):
        done = 0

        def stage(self, title: str) -> None:
            told.append(title)

        def advance(self, n: int = 1) -> None:
            self.done += n

    class Subject(Roomy):
        async def replies(self, requests):
            out = await super().replies(requests)
            return out if opens else [replace(r, text="No.") for r in out]

    def plan() -> TestPlan:
        return TestPlan("scripted", out=tmp_path / "a", holds=["remind"])

    assert "45 of tiny only where" in "".join(plan().describe())
    subject, progress = Subject(slots=64, engine=engine), Told()
    found = await test_model(subject, plan(), progress=progress)
    assert subject.asked == (40 if opens else 10) and progress.done == 60
    assert any("45 conversations could tell nothing" in t for t in told) != opens
    again = Subject(slots=64, engine=engine)
    assert json.dumps(await test_model(again, plan())) == json.dumps(found) and again.asked == 0


async def test_replies_out_of_form_are_a_state_with_a_reason(tmp_path: Path):
    found = await test_model(ScriptedModel(lambda c: "I could not say."), TestPlan("m", out=tmp_path, holds=["none"]))
    validate("test", found)
    (row,) = found["findings"]
    assert row["figure"] is None and row["regime"] == "not_measurable" and "0 of 20 replies" in row["reason"]


def test_bad_plans_are_one_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="unknown instrument 'x'; use one of tiny"):
        TestPlan("m", out=tmp_path, only=["x"])
    with pytest.raises(InputError, match="unknown hold 'x'"):
        TestPlan("m", out=tmp_path, holds=["x"])
    with pytest.raises(InputError, match="preset 'x'"):
        TestPlan("m", out=tmp_path, preset="x")


def test_names_of_providers():
    assert is_provider("openai/gpt-4o") and is_provider("openai-api/mine/model") and is_provider("vllm/meta/llama")
    assert not is_provider("smollm2") and not is_provider("owner/name") and not is_provider("openai")


def test_without_inspect_the_line_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(providers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'homing\[inspect\]'"):
        run_test(TestPlan("openai/gpt-4o", out=tmp_path))


def test_through_inspect_what_is_answered_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("inspect_ai")
    from inspect_ai.model import ModelOutput, ModelUsage
    from inspect_ai.model._providers.mockllm import MockLLM

    asked: list[str] = []

    async def generate(self, input, tools, tool_choice, config):
        asked.append(input[-1].text)
        output = ModelOutput.from_content("mock", "yes" if len(asked) % 4 else "no")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    monkeypatch.setattr(MockLLM, "generate", generate)
    plan = TestPlan("mockllm/model", out=tmp_path, holds=["remind"])
    found = run_test(plan)
    validate("test", found)
    assert found["findings"][0]["figure"]["n"] == 60 and len(asked) == 60
    assert run_test(TestPlan("mockllm/model", out=tmp_path, holds=["remind"])) == found
    assert len(asked) == 60


def test_a_model_that_inspect_cannot_open_is_one_sentence(tmp_path: Path):
    pytest.importorskip("inspect_ai")
    with pytest.raises(ModelError, match="cannot be opened by Inspect") as e:
        run_test(TestPlan("openai-api/nowhere/model", out=tmp_path))
    assert "\n" not in str(e.value)
