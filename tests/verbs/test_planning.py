"""Sizes from a wanted precision and from a budget: the precision is reached, the budget is kept, and what is odd is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.running import run
from tests.instruments.tiny_instrument import Tiny

from homing.errors import InputError
from homing.hold.chain import build
from homing.instruments import registry
from homing.instruments.base import Sized
from homing.instruments.playing import play_cells
from homing.testing.planted import PlantedModel
from homing.testing.planted_presupposition import PresupposingSubject
from homing.testing.planted_self_conditioning import TotalKeeper
from homing.verbs.planning import Budget, Price, half_width, least_items, price_of
from homing.verbs.proving import TestPlan, run_test, test_model
from homing.verbs.rehearsal import Load, Rehearsal, tokens_of

SIZED = (
    "superposition", "self_conditioning", "lost_in_conversation", "presupposition", "faithfulness", "monitor_gaming",
    "peer_preservation",
)  # fmt: skip


def plan(out: Path, *only: str, **more: object) -> TestPlan:
    return TestPlan("m", out=out, only=only, **{"holds": ["none"], **more})


# The rule


def test_the_rule_and_its_inverse() -> None:
    assert least_items(0.1, 0.5) == 97 and least_items(0.1, 1.0) == 385  # the textbook's 96.04 and 384.1
    for w in (0.02, 0.11, 0.5):
        n = least_items(w, 0.7)
        assert half_width(n, 0.7) <= w < half_width(n - 1, 0.7)


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize("preset", ["smoke", "standard"])
def test_instruments_are_made_larger_and_smaller(name: str, preset: str) -> None:
    i = registry.get(name)
    assert isinstance(i, Sized)
    same = i.sized(preset, i.units(preset))
    assert same.cells(preset=preset, seed=0, hold="none") == i.cells(preset=preset, seed=0, hold="none")
    more, least = i.sized(preset, 41), i.sized(preset, 1)
    assert 41 <= more.units(preset) <= 44 and 3 <= least.units(preset) <= 12
    few, many = (
        {(c.id, c.seed) for c in x.cells(preset=preset, seed=0, hold="none")} for x in (least, i.sized(preset, 300))
    )
    assert {c for c, _ in few} <= {c for c, _ in many} or name == "presupposition"
    assert few and len(many) > len(few)


def test_there_are_no_more_facts_than_there_are() -> None:
    found = registry.get("presupposition").sized("smoke", 5000)
    assert 300 < found.units("smoke") < 500


async def test_the_planned_half_width_of_self_conditioning_is_reached(tmp_path: Path) -> None:
    i = plan(tmp_path, "self_conditioning", precision=0.15).instruments["self_conditioning"]
    cells = [c for c in i.cells(preset="smoke", seed=0, hold="none") if c.condition in ("first", "e0", "e100")]
    got = await play_cells(i, cells, TotalKeeper(right=0.5).model)
    found = {
        f.name: f for f in i.estimate([i.score(c, p.record, hold="none") for c, p in zip(cells, got, strict=True)])
    }
    e = found["self_conditioning.ones.loss"].estimates["difference"]
    assert e.low <= 0 <= e.high and e.n == least_items(0.15, 0.5**0.5)
    assert e.half_width == pytest.approx(0.15, rel=0.15)


async def test_the_planned_half_width_of_presupposition_is_reached(tmp_path: Path) -> None:
    """Two triggers a fact make it narrower than one would, down to 0.71 of it."""
    i = plan(tmp_path, "presupposition", precision=0.15).instruments["presupposition"]
    subject = PresupposingSubject(i.facts(preset="smoke", seed=0), knows=1.0, rejects=0.5, alarms=0.5)
    cells = [c for c in i.cells(preset="smoke", seed=0, hold="none") if c.condition in ("probe", "loaded")]
    got = await play_cells(i, cells, subject.model)
    found = {
        f.name: f for f in i.estimate([i.score(c, p.record, hold="none") for c, p in zip(cells, got, strict=True)])
    }
    e = found["presupposition.rejection"].estimates["j"]
    assert e.low <= 0 <= e.high and e.n >= 80
    assert 0.9 * 0.15 * 0.71 <= e.half_width <= 0.15


# What it takes


class Counting(PlantedModel):
    """Counts what is asked of another."""

    def __init__(self, planted: PlantedModel) -> None:
        super().__init__(planted._say, planted._weigh)
        self.calls, self.tokens = 0, 0.0

    async def replies(self, requests):
        made = await super().replies(requests)
        self.calls += len(made)
        self.tokens += sum(sum(tokens_of(m.content) for m in r.conversation) for r in requests)
        self.tokens += sum(tokens_of(r.text) for r in made)
        return made

    async def score_replies(self, prompts, replies, **more):
        self.calls += len(prompts)
        self.tokens += sum(sum(tokens_of(m.content) for m in c) for c in prompts)
        self.tokens += sum(tokens_of(t) for texts in replies for t in texts)
        return await super().score_replies(prompts, replies, **more)


async def spent(test: TestPlan, model: PlantedModel) -> Counting:
    counting = Counting(model)
    await test_model(counting, test)
    return counting


@pytest.mark.parametrize("budget", ["900", "2500", "150ktok"])
async def test_a_budget_is_used_and_never_exceeded(tmp_path: Path, budget: str) -> None:
    test = plan(tmp_path, "self_conditioning", holds=["heal_verified"], budget=budget)
    found = await spent(test, TotalKeeper(right=0.9, loss=0.5).model)
    limit, kind = Budget.of(budget).amount, Budget.of(budget).kind
    used = found.calls if kind == "calls" else found.tokens / 1000
    assert (0.7 if kind == "calls" else 0.5) * limit < used <= limit


async def test_a_budget_is_kept_by_a_hold_that_asks_in_forks(tmp_path: Path) -> None:
    test = plan(tmp_path, "presupposition", holds=["ground"], budget="3000")
    subject = PresupposingSubject(test.instruments["presupposition"].facts(preset="smoke", seed=0), unreadable=0.0)
    found = await spent(test, subject.model)
    assert 0.5 * 3000 < found.calls <= 3000


def test_larger_sizes_are_multiples(tmp_path: Path) -> None:
    test = plan(tmp_path, "self_conditioning", precision=0.1)
    (i,) = test.instruments.values()
    cells = i.cells(preset="smoke", seed=0, hold="none")
    load = Rehearsal(preset="smoke", seed=0, holds={"self_conditioning": ("none",)}, chain=build).load_of(
        "self_conditioning", i
    )
    assert load.cells == pytest.approx(len(cells), rel=0.01)


def test_what_is_expected_is_said_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = plan(tmp_path, "self_conditioning", "presupposition").describe()
    assert "self_conditioning 10 (0.44)" in lines[1] and lines[-1].startswith("expected: at most 433 calls")
    assert "minutes on two cores with the embedded model" in lines[-1]
    given, drawn = (
        TestPlan(f"{who}/m", out=tmp_path, only=["presupposition"], holds=["none"]).describe()[-1]
        for who in ("openai", "anthropic")
    )
    assert "at most 490 calls" in given and "8,085 calls if it gives no probabilities" in given
    assert "at most 8,085 calls" in drawn and "minutes" not in drawn
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": Tiny})
    lines = plan(tmp_path, precision=0.1, holds=["remind"]).describe()
    assert "tiny 60 conversations" in lines[0] and lines[1].endswith("since it cannot be planned: tiny")
    assert "at most 60 calls" in lines[-1] and "240 new ones" in lines[-1]


def test_minutes_are_a_budget_of_local_models() -> None:
    price = price_of(Load(cells=1, replies=10, reply_prompts=1000, fresh_tokens=1000, new_tokens=100), provider=None)
    assert price.calls == 10 and 0 < price.amount("min") < 1 and price.amount("ktok") == 1.1
    with pytest.raises(InputError, match="how fast a provider answers is not known"):
        Price(1, 1, 1, None).amount("min")
    longer = TestPlan("smollm2", out=Path("x"), only=["self_conditioning"], budget="20min")
    assert longer.instruments["self_conditioning"].units("smoke") > 20


# Bad input, and work that is there


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--precision", "0"), "precision is 0; it is the wanted half width"),
        (("--precision", "2"), "precision is 2; it is the wanted half width"),
        (("--precision", "nan"), "precision is nan; it is the wanted half width"),
        (("--budget", "abc"), "budget 'abc' is not understood"),
        (("--budget", "0"), "budget '0' is not understood"),
        (("--budget", "12"), "budget 12 is too small: the least that can be measured takes"),
        (("--precision", "0.1", "--budget", "100"), "both a precision and a budget are given"),
    ],
)
def test_bad_sizes_are_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(
        capsys, "test", "smollm2", *arguments, "--only", "self_conditioning", "--out", tmp_path / "o", "--json"
    )
    assert code == 2 and out == "" and says in err
    assert len(err.strip().splitlines()) == 1 and not (tmp_path / "o").exists()


async def test_work_of_another_size_is_not_gone_on_with(tmp_path: Path) -> None:
    model = TotalKeeper().model
    await test_model(model, plan(tmp_path, "self_conditioning", precision=0.5))
    for other in ({"precision": 0.45}, {}):
        with pytest.raises(InputError, match=r"work of another plan \(different: sizes\)"):
            await test_model(model, plan(tmp_path, "self_conditioning", **other))
    logs = [
        plan(tmp_path, "presupposition", **x).logs
        for x in ({}, {"precision": 0.2}, {"precision": 0.1}, {"preset": "full"}, {"seed": 1})
    ]
    assert len(set(logs)) == 5


class Planned(Tiny):
    """Tiny, with a size."""

    planning_sd = 0.5
    asked = 20

    def units(self, preset):
        return self.asked

    def sized(self, preset, items):
        made = Planned()
        made.asked = min(items, 20)
        return made

    def cells(self, **more):
        return super().cells(**more)[: self.asked]


def test_logs_of_another_size_are_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect tells tasks apart by name and model alone, and would give the answers of the smaller one."""
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
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": Planned})
    for precision, n, so_far in ((0.4, 7, 7), (0.3, 11, 18), (0.4, 7, 18)):
        found = run_test(TestPlan("mockllm/model", out=tmp_path, precision=precision, holds=["none"]))
        assert found["findings"][0]["figure"]["n"] == n and len(asked) == so_far


def test_tokens_are_words_digits_and_signs() -> None:
    assert tokens_of("Hello there, 42!") == pytest.approx(1.1 * 6)
    assert tokens_of("uncharacteristically\n") == pytest.approx(1.1 * 4)
