"""--anchor-model: an earlier checkpoint is opened beside the model, answers for itself, and is closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cli.schemas import validate

from homing.errors import InputError, ModelError
from homing.instruments import registry
from homing.instruments.anchors import Anchors, AnchorsPreset
from homing.instruments.anchors_items import gold
from homing.instruments.playing import play_cells
from homing.models.sources import wrap
from homing.testing.planted_anchors import AnchoredSubject
from homing.verbs.proving import TestPlan, run_test, test_model

FEW = Anchors(AnchorsPreset(8, 8, 8, 1, 4))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registry", lambda: {"anchors": lambda: FEW})


def tiny(*, noise: float = 0.0) -> Any:
    """A tiny model, or a copy of it whose weights were moved: the checkpoint before."""
    import torch

    from homing.testing.tiny import tiny_llama

    model, tokenizer = tiny_llama()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for p in model.parameters():
            p += noise * p.std() * torch.randn_like(p)
    return model, tokenizer


async def test_an_earlier_checkpoint_answers_for_itself():
    cells = [c for c in FEW.cells(preset="smoke", seed=0, hold="none") if c.condition == "arms"][:1]
    now = wrap(*tiny(), name="now")
    twin, earlier = wrap(*tiny(), name="twin"), wrap(*tiny(noise=0.5), name="earlier")
    try:
        for other, same in ((twin, True), (earlier, False)):
            for p in await play_cells(FEW, cells, now, anchor=other):
                shares, past = p.record["shares"], p.record["past_shares"]
                assert p.record["who"] == other.name and sum(past) == pytest.approx(1, abs=1e-4)
                assert (past == pytest.approx(shares, abs=1e-3)) is same
                assert len(p.record["judge"]) == 2 and p.record["missing"] == 0
    finally:
        for m in (now, twin, earlier):
            await m.close()


def test_it_is_opened_by_name_and_stands_in_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, noise in (("now", 0.0), ("earlier", 0.5)):
        model, tokenizer = tiny(noise=noise)
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    out, names = tmp_path / "out", [str(tmp_path / x) for x in ("now", "earlier")]
    monkeypatch.setattr(registry, "_registry", lambda: {"anchors": lambda: Anchors(AnchorsPreset(2, 1, 1, 1, 2))})
    plan = TestPlan(names[0], out=out, holds=["none"], anchor_model=names[1])
    assert f"anchored by {names[1]}" in plan.describe()[0]
    found = run_test(plan, slots=8)
    validate("test", found)
    reasons = {r["measure"]: r["reason"] for r in found["findings"]}
    assert reasons["past"] == "2 questions were answered, and 8 must be", "what bars it is no want of an anchor"
    with pytest.raises(InputError, match="anchor"):  # work of one anchor is not gone on with beside another
        run_test(TestPlan(names[0], out=out, holds=["none"], anchor_model=names[0]), slots=8)


async def test_all_arms_are_measured_and_the_anchor_is_a_judge_of_the_hold(tmp_path: Path):
    items = FEW.items(preset="smoke", seed=0)
    every = [*items, *gold(8, 0, items)]
    past = AnchoredSubject(every, knows=0.8, seed=3, tells=3.0, name="earlier").model
    plan = TestPlan("now", out=tmp_path, anchor_model="earlier")
    found = await test_model(AnchoredSubject(every).model, plan, anchor=past)
    validate("test", found)
    measured = {(r["measure"], r["hold"]) for r in found["findings"] if r["regime"] == "measured"}
    assert {
        ("past.net", "none"),
        ("judge.net", "none"),
        ("judge.change", "anchor"),
        ("author_judge.preference", "none"),
    } <= measured
    (hold,) = plan.chain("anchor")
    assert getattr(hold, "judge").name == "earlier"  # noqa: B009  (a stabiliser is known by its protocol alone)
    alone = await test_model(AnchoredSubject(every).model, TestPlan("now", out=tmp_path / "alone"))
    reasons = {(r["measure"], r["hold"]): r["reason"] for r in alone["findings"]}
    assert "--anchor-model" in reasons["past", "none"] and "--anchor-model" in reasons["judge", "anchor"]


def test_an_anchor_that_is_not_there_is_one_sentence(tmp_path: Path):
    with pytest.raises(ModelError, match="model 'nowhere' is unknown"):
        run_test(TestPlan("smollm2", out=tmp_path / "out", anchor_model="nowhere"))
