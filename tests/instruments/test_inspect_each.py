"""Each instrument once through Inspect, on a few cells with its planted subject: the findings are those of the direct path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import eval as run_tasks
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import Model, get_model
from tests.instruments.planted_return import experiment, home_of, subject

import homing._registry  # noqa: F401  (Inspect finds the provider by an entry point where the package is installed)
from homing.instruments import registry
from homing.instruments.alignment_faking import AlignmentFaking, AlignmentFakingPreset
from homing.instruments.anchors import Anchors, AnchorsPreset
from homing.instruments.base import Cell, Instrument, Scored
from homing.instruments.calibration import Calibration, CalibrationPreset
from homing.instruments.faithfulness import Faithfulness, FaithfulnessPreset
from homing.instruments.inspect_tasks import instrument_task, scored_of
from homing.instruments.lost_in_conversation import LostInConversation, LostPreset
from homing.instruments.lost_tasks import FAMILIES
from homing.instruments.monitor_gaming import MonitorGaming, MonitorPreset
from homing.instruments.peer_preservation import PeerPreservation, PeerPreservationPreset
from homing.instruments.peer_preservation_world import deal as deal_offices
from homing.instruments.playing import play_cells
from homing.instruments.presupposition import Presupposition, PresuppositionPreset
from homing.instruments.reflection import Reflection, ReflectionPreset
from homing.instruments.reflection_items import deal
from homing.instruments.self_conditioning import SelfConditioning, SelfConditioningPreset
from homing.instruments.superposition import Superposition, SuperpositionPreset
from homing.models.base import ChatModel
from homing.models.inspect_provider import HomingAPI
from homing.testing.planted_alignment_faking import FakingSubject
from homing.testing.planted_anchors import AnchoredSubject
from homing.testing.planted_calibration import SureSubject
from homing.testing.planted_faithfulness import ReasoningSubject
from homing.testing.planted_lost import BitByBit
from homing.testing.planted_monitor_gaming import ShortcutTaker
from homing.testing.planted_peer_preservation import PeerSubject
from homing.testing.planted_presupposition import PresupposingSubject
from homing.testing.planted_reflection import ReflectingSubject
from homing.testing.planted_self_conditioning import TotalKeeper
from homing.testing.planted_superposition import GameHost


@dataclass(frozen=True, eq=False)
class Case:
    """An instrument, its planted subject, and a condition of which the replies in words go through Inspect."""

    instrument: Instrument
    model: ChatModel
    measured: str
    condition: str


async def superposition() -> Case:
    preset = SuperpositionPreset(4, 3, 3, 1, 2, 3, 2, 3, 5, 3, 3)
    return Case(Superposition(preset=preset), GameHost(committed=0.5).model, "superposition.commitment", "chat")


async def self_conditioning() -> Case:
    preset = SelfConditioningPreset(("ones",), 6, 4, (), (), ("user",), False, 1, 3, 4)
    keeper = TotalKeeper(right=1.0, loss=0.7).model
    return Case(SelfConditioning(preset), keeper, "self_conditioning.ones.loss", "live")


async def lost_in_conversation() -> Case:
    preset = LostPreset(("tiny",), FAMILIES, 1, 2, ("full", "concat", "sharded"), ("full", "sharded"), 1)
    return Case(
        LostInConversation(preset), BitByBit(right=0.95, loss=0.4).model, "lost_in_conversation.tiny.loss", "sharded"
    )


async def presupposition() -> Case:
    plan = Presupposition(PresuppositionPreset(12, 1, 2, 2, 2))
    facts = plan.facts(preset="smoke", seed=0)
    return Case(plan, PresupposingSubject(facts, knows=1.0).model, "presupposition.rejection", "")


async def calibration() -> Case:
    plan = Calibration(CalibrationPreset(32, 5, 5, 2))
    subject = SureSubject(plan.items(preset="smoke", seed=0), noise=0.1)
    return Case(plan, subject.model, "calibration.stated", "answer")


async def faithfulness() -> Case:
    plan = Faithfulness(FaithfulnessPreset(6, (2,), 6, 1, 6, 2))
    items = {"puzzles": plan.puzzles(preset="smoke", seed=0), "picks": plan.picks(preset="smoke", seed=0)}
    return Case(plan, ReasoningSubject(**items).model, "faithfulness.own.early", "own")


async def anchors() -> Case:
    plan = Anchors(AnchorsPreset(10, 8, 2, 1, 16))
    subject = AnchoredSubject(plan.items(preset="smoke", seed=0), critic=0.8)
    return Case(plan, subject.model, "anchors.critique", "arms")


async def alignment_faking() -> Case:
    plan = AlignmentFaking(AlignmentFakingPreset(6, 0, 3, (), (), 6))
    subject = FakingSubject(plan.dealt(preset="smoke", seed=0), guard=0.3).model
    return Case(plan, subject, "alignment_faking.gap", "")


async def peer_preservation() -> Case:
    plan = PeerPreservation(PeerPreservationPreset(5, 5, 5))
    subject = PeerSubject(deal_offices(5, 0), peers={"good": 0.6}).model
    return Case(plan, subject, "peer_preservation.evaluate_peer", "")


async def monitor_gaming() -> Case:
    plan = MonitorGaming(MonitorPreset(6, 4, 2, 4, 4, 3))
    return Case(plan, ShortcutTaker(takes=0.8).model, "monitor_gaming.gaming", "open")


async def reflection() -> Case:
    plan = Reflection(ReflectionPreset(12, 3, 1, 8, 8, 96))
    return Case(plan, ReflectingSubject(deal(12, 0), right=0.7, mends=0.3).model, "reflection.gain", "reply0")


async def home_return() -> Case:
    model = subject(decay=0.8).model
    return Case(experiment(await home_of(model), scripts=4, after=2), model, "", "left")


CASES: dict[str, Callable[[], Any]] = {
    f.__name__: f
    for f in (
        superposition,
        self_conditioning,
        lost_in_conversation,
        presupposition,
        calibration,
        faithfulness,
        anchors,
        alignment_faking,
        peer_preservation,
        monitor_gaming,
        reflection,
        home_return,
    )
}


def test_every_instrument_has_its_case() -> None:
    assert set(registry.available()) <= set(CASES), "an instrument goes through Inspect nowhere; add its case"


def provider(model: ChatModel) -> Model:
    """Our own provider over a planted subject in the place of a local model."""
    made = get_model("homing/planted", memoize=False)
    assert isinstance(made.api, HomingAPI)
    made.api._model = model
    return made


async def direct(case: Case, cells: list[Cell]) -> list[Scored]:
    """The same cells, by the same functions, without Inspect."""
    played = await play_cells(case.instrument, cells, case.model)
    return [case.instrument.score(c, p.record, hold="none") for c, p in zip(cells, played, strict=True)]


@pytest.fixture(scope="module", params=sorted(CASES))
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Case, list[Cell], EvalLog, Path]:
    """One evaluation, and its log read back from the file."""
    import asyncio

    case = asyncio.run(CASES[request.param]())
    where = tmp_path_factory.mktemp("logs")
    (log,) = run_tasks(
        instrument_task(case.instrument),
        model=provider(case.model),
        log_dir=str(where),
        display="none",
        log_format="eval",
    )
    assert log.status == "success", log.error
    cells = case.instrument.cells(preset="smoke", seed=0, hold="none")
    return case, cells, read_eval_log(log.location), where


def facts_of(case: Case, scored: list[Scored]) -> list[Any]:
    """All of each finding but what it took."""
    return [(f.name, f.regime, f.reason, f.verdict, f.estimates, f.p_values) for f in case.instrument.estimate(scored)]


async def test_findings_are_those_of_the_direct_path(run: tuple[Case, list[Cell], EvalLog, Path]) -> None:
    case, cells, log, _ = run
    scored = scored_of(log)
    assert {s.cell.id for s in scored} == {c.id for c in cells} and len(scored) == len(cells)
    mine, theirs = facts_of(case, scored), facts_of(case, await direct(case, cells))
    assert mine == theirs
    measured = [name for name, regime, *_ in mine if regime == "measured"]
    assert measured and (not case.measured or case.measured in measured)


def test_the_log_has_every_figure_and_every_conversation(run: tuple[Case, list[Cell], EvalLog, Path]) -> None:
    case, cells, log, _ = run
    assert log.eval.metadata is not None and log.eval.metadata["instrument"] == case.instrument.name
    assert log.results is not None and log.samples is not None and len(log.samples) == len(cells)
    shown = {k: m.value for s in log.results.scores for k, m in s.metrics.items()}
    figures = {
        f"{f.name}.{k}": e.value for f in case.instrument.estimate(scored_of(log)) for k, e in f.estimates.items()
    }
    assert figures and all(any(v == pytest.approx(x, nan_ok=True) for v in shown.values()) for x in figures.values())
    for sample in log.samples:
        assert sample.messages and sample.messages[-1].role == "assistant" and sample.messages[-1].text
        assert sample.error is None and sample.scores
    if case.condition:
        asked = [s for s in log.samples if s.metadata["cell"]["condition"] == case.condition]
        events = [e for e in asked[0].events if e.event == "model"]
        assert events and events[0].input[-1].role == "user" and events[0].output.completion, (
            "what was said can be read"
        )
