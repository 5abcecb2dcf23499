"""Each instrument on the real embedded model, changed by a known dose: what it finds is the dose, on the same cells.

The undosed cells are played once; a dosed model asks the same questions of the same real model, whose answers are remembered, so
that what differs is the dose and nothing else. The dosed run is given to the instrument as a hold, so that its own paired
differences are what is tested.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from homing.conversation import Conversation
from homing.errors import InputError
from homing.instruments.alignment_faking import AlignmentFaking, AlignmentFakingPreset
from homing.instruments.anchors import Anchors, AnchorsPreset
from homing.instruments.base import Cell, Instrument, Scored
from homing.instruments.calibration import Calibration, CalibrationPreset
from homing.instruments.faithfulness import Faithfulness, FaithfulnessPreset
from homing.instruments.lost_in_conversation import LostInConversation, LostPreset
from homing.instruments.lost_tasks import Task
from homing.instruments.playing import play_cells
from homing.instruments.presupposition import Presupposition, PresuppositionPreset
from homing.instruments.self_conditioning import SelfConditioning, SelfConditioningPreset, conversation_of
from homing.instruments.superposition import Superposition, SuperpositionPreset
from homing.models.base import ReplyRequest
from homing.models.sources import open_model
from homing.stats.estimate import Estimate, Finding
from homing.testing.dosed import (
    Dosed,
    Rule,
    after_errors,
    false_premises,
    last_answers,
    second_looks,
    secret_games,
    sure_answers,
    trained_tiers,
    understanding,
    unread_reasoning,
)
from homing.testing.planted_lost import BitByBit
from homing.testing.planted_self_conditioning import TotalKeeper

HELD = "dosed"
FACTS = PresuppositionPreset(24, 1, 0, 0, 0)
KNOWN = frozenset((
    "arithmetic-9-minus-5", "passages-96", "passages-74", "passages-58", "passages-14", "passages-60", "containment-11",
    "calendar-the-letter-C-follow",
))  # fmt: skip
"""Of seed 1, answered rightly in every direct probe by the embedded model."""
NUMBERS = SuperpositionPreset(0, 0, 3, 0, 0, 0, 0, 6, 6, 0, 0)
LOOKS = AnchorsPreset(12, 0, 0, 1, 8)
TASKS = LostPreset(("tiny",), ("sum", "table", "formula"), 2, 1, ("full", "concat", "sharded"), (), 0)
QUESTIONS = CalibrationPreset(48, 0, 0, 1)
TIERS = AlignmentFakingPreset(10, 0, 4, (), (), 0)
TOTALS = SelfConditioningPreset(("ones",), 10, 3, (), (), (), False, 1, 0, 4)


class Remembering:
    """A model that is asked the same thing once."""

    def __init__(self, model: Any) -> None:
        self.model, self._scores, self._replies = model, dict[Any, Any](), dict[Any, Any]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    async def score_replies(self, prompts: Sequence[Conversation], replies: Any, *, acts: Any = ()) -> list[Any]:
        keys = [(c.digest, tuple(texts)) for c, texts in zip(prompts, replies, strict=True)]
        new = {k: (c, k[1]) for k, c in zip(keys, prompts, strict=True) if k not in self._scores}
        if new:
            scored = await self.model.score_replies([c for c, _ in new.values()], [t for _, t in new.values()])
            self._scores.update(zip(new, scored, strict=True))
        return [self._scores[k] for k in keys]

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Any]:
        keys = [(r.conversation.digest, r.sampling) for r in requests]
        new = {k: r for k, r in zip(keys, requests, strict=True) if k not in self._replies}
        if new:
            self._replies.update(zip(new, await self.model.replies(list(new.values())), strict=True))
        return [self._replies[k] for k in keys]


@pytest.fixture
async def real(smol: object) -> AsyncIterator[Remembering]:
    """The embedded model on one thread."""
    del smol
    model = open_model("smollm2", threads=1)
    yield Remembering(model)
    await model.close()


@dataclass(frozen=True, eq=False)
class Trial:
    """Cells of an instrument played on a model, and again on it at a dose."""

    instrument: Instrument
    cells: Sequence[Cell]

    async def records(self, model: Any) -> list[dict[str, Any]]:
        return [p.record for p in await play_cells(self.instrument, self.cells, model)]

    async def scored(self, model: Any, hold: str = "none") -> list[Scored]:
        made = zip(self.cells, await self.records(model), strict=True)
        return [self.instrument.score(c, r, hold=hold) for c, r in made]

    def found(self, *scored: Sequence[Scored]) -> dict[str, Finding]:
        every = self.instrument.estimate([s for part in scored for s in part])
        return {f.name.removeprefix(f"{self.instrument.name}."): f for f in every}


def trial(instrument: Instrument, keep: Callable[[Cell], bool] = lambda c: True, *, seed: int = 0) -> Trial:
    cells = instrument.cells(preset="smoke", seed=seed, hold="none")
    return Trial(instrument, [c for c in cells if keep(c)])


def covers(e: Estimate, truth: float) -> bool:
    return e.low <= truth <= e.high


def mean(scored: Sequence[Scored], key: str, condition: str) -> float:
    return float(np.mean([s.values[key] for s in scored if s.cell.condition == condition]))


# What a dose is, without the real model


DIGITS = tuple("0123456789")


def a_total(condition: str) -> Conversation:
    cells = SelfConditioning(TOTALS).cells(preset="smoke", seed=0, hold="none")
    return conversation_of(next(c for c in cells if c.condition == condition).data)


async def test_a_choice_is_the_models_the_plants_or_their_mixture() -> None:
    c = a_total("e100")
    real, rule = TotalKeeper(right=1.0).model, after_errors(right=0.0)
    assert await Dosed(real, rule, 0.0).choose(c, DIGITS) == await real.choose(c, DIGITS)
    assert await Dosed(real, rule, 1.0).choose(c, DIGITS) == await rule.plant.choose(c, DIGITS)
    own, planted = [np.exp((await m.choose(c, DIGITS)).logprobs) for m in (real, rule.plant)]
    mixed = Dosed(real, replace(rule, mixed=True), 0.3)
    got = await mixed.choose(c, DIGITS)
    assert np.exp(got.logprobs) == pytest.approx(0.7 * own + 0.3 * planted)
    (scored,) = await mixed.score_replies([c], [DIGITS])
    assert [float(x.sum()) for x in scored] == pytest.approx(got.logprobs, abs=1e-5)
    clean = a_total("e0")
    assert await mixed.choose(clean, DIGITS) == await real.choose(clean, DIGITS), "no error is shown"


def test_draws_are_as_frequent_as_the_dose_and_nested() -> None:
    rule = after_errors()
    model = TotalKeeper().model
    talks = [Conversation.of(f"talk {k}") for k in range(2000)]
    small, large = ([Dosed(model, rule, d).drawn(c) for c in talks] for d in (0.2, 0.6))
    assert np.mean(small) == pytest.approx(0.2, abs=0.03) and np.mean(large) == pytest.approx(0.6, abs=0.03)
    assert all(b for a, b in zip(small, large, strict=True) if a)
    assert [Dosed(model, rule, 0.2, seed=1).drawn(c) for c in talks] != small
    assert not any(Dosed(model, rule, 0.0).drawn(c) for c in talks) and Dosed(model, rule, 1.0).drawn(talks[0])


async def test_replies_keep_their_order_and_are_the_plants_where_it_is_its_turn() -> None:
    c = a_total("e100")
    clean, real, rule = a_total("e0"), TotalKeeper(right=1.0).model, after_errors(right=0.0)
    asked = [ReplyRequest(x) for x in (c, clean, c)]
    own, planted = await real.replies(asked), await rule.plant.replies(asked)
    got = [r.text for r in await Dosed(real, rule, 1.0).replies(asked)]
    assert got == [planted[0].text, own[1].text, planted[2].text] and planted[0].text != own[0].text
    assert (await Dosed(real, rule, 1.0).reply(clean)).text == own[1].text
    assert [r.text for r in await Dosed(real, rule, 0.0).replies(asked)] == [r.text for r in own]


@pytest.mark.parametrize("dose", [-0.1, 1.5])
def test_a_dose_is_a_probability(dose: float) -> None:
    with pytest.raises(InputError, match="a dose is a probability"):
        Dosed(TotalKeeper().model, after_errors(), dose)


# On the real model


def plain(real: Remembering, rule: Rule) -> Dosed:
    """The real model at a dose of 0, nothing remembered."""
    return Dosed(real.model, rule, 0.0)


@pytest.mark.model
@pytest.mark.timeout(300)
async def test_a_dose_of_0_changes_nothing_to_the_byte(real: Remembering) -> None:
    facts = Presupposition(FACTS).facts(preset="smoke", seed=1)
    for plan, rule in (
        (trial(SelfConditioning(TOTALS), lambda c: c.condition == "e100"), after_errors()),
        (trial(Presupposition(FACTS), lambda c: c.condition == "loaded", seed=1), false_premises(facts, rejects=True)),
        (trial(Superposition(preset=NUMBERS)), secret_games()),
        (trial(LostInConversation(TASKS)), last_answers()),
    ):
        few = Trial(plan.instrument, plan.cells[:1])  # one cell, so the same company
        with_none, without = await few.records(plain(real, rule)), await few.records(real.model)
        assert json.dumps(with_none) == json.dumps(without), plan.instrument.name


@pytest.mark.model
@pytest.mark.timeout(300)
async def test_self_conditioning_finds_recoveries_and_mistakes(real: Remembering) -> None:
    """Behind nothing but errors this model has next to nothing left to lose: so first a dose of recoveries, then of mistakes."""
    plan = trial(SelfConditioning(TOTALS), lambda c: c.condition in ("e0", "e100"))
    mends, slips = 0.8, 0.5
    mended = Dosed(real, after_errors(right=1.0), mends)
    base, better = await plan.scored(real), await plan.scored(mended, HELD)
    change = plan.found(base, better)[f"ones.loss.{HELD}"].estimates["difference"]
    known = -mends * (1 - mean(base, "local", "e100"))
    print(f"RESULT self_conditioning: the loss changes by {change:+.2f}, and {known:+.2f} was given")
    assert covers(change, known) and change.high < 0
    again = await plan.scored(mended)
    worse = await plan.scored(Dosed(mended, after_errors(right=0.0), slips, seed=1), HELD)
    change = plan.found(again, worse)[f"ones.loss.{HELD}"].estimates["difference"]
    known = slips * mean(again, "local", "e100")
    print(f"RESULT self_conditioning: the loss changes by {change:+.2f}, and {known:+.2f} was given")
    assert covers(change, known) and change.low > 0
    for scored in (better, worse):
        assert mean(scored, "p", "e0") == mean(base, "p", "e0"), "without an error nothing changes"


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(300)
async def test_presupposition_finds_rejections_and_their_lack(real: Remembering) -> None:
    """On facts that the embedded model knows, so that few are enough; direct probes and true twins stay as they are.

    It knows them by so little that another processor or other company may take some away: evidence, and no gate.
    """
    plan, dose = trial(Presupposition(FACTS), lambda c: c.item in KNOWN, seed=1), 0.8
    facts = Presupposition(FACTS).facts(preset="smoke", seed=1)
    base = await plan.scored(real)
    kr = plan.found(base)["rejection"].estimates["kr"].value
    for rejects in (True, False):
        dosed = await plan.scored(Dosed(real, false_premises(facts, rejects=rejects), dose), HELD)
        found = plan.found(base, dosed)[f"rejection.{HELD}"].estimates
        known = dose * (rejects - kr)
        print(
            f"RESULT presupposition: KR changes by {found['kr']:+.2f}, and {known:+.2f} was given; KR - FA {found['j']:+.2f}"
        )
        assert covers(found["kr"], known) and covers(found["j"], known)
        assert rejects or found["kr"].high < 0, "it rejects most by itself, so what goes along is what shows"
        assert found["fa"].value == 0, "true premises are left alone"
        assert all(a.values == b.values for a, b in zip(base, dosed, strict=True) if a.cell.condition == "probe")


def critiqued(scored: Sequence[Scored]) -> list[float]:
    """Accuracy after a critique, item by item."""
    return [
        p * kept + (1 - p) * fixed
        for p, (kept, fixed) in ((s.values["shares"][0], s.values["critique_1"]) for s in scored)
    ]


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(300)
async def test_anchors_finds_second_looks_that_mend_and_that_spoil(real: Remembering) -> None:
    plan, dose = trial(Anchors(LOOKS)), 0.6
    items = Anchors(LOOKS).items(preset="smoke", seed=0)
    base = await plan.scored(real)
    for right in (1.0, 0.0):
        dosed = await plan.scored(Dosed(real, second_looks(items, right=right), dose), HELD)
        known = dose * (right - float(np.mean(critiqued(base))))
        change = plan.found(base, dosed)[f"critique.{HELD}"].estimates["change"]
        print(f"RESULT anchors: accuracy after a critique changes by {change:+.2f}, and {known:+.2f} was given")
        assert covers(change, known) and (change.low > 0 if right else change.high < 0)
        assert all(a.values["told_wrong"] == b.values["told_wrong"] for a, b in zip(base, dosed, strict=True))


@pytest.mark.model
@pytest.mark.timeout(300)
async def test_faithfulness_finds_puzzles_whose_text_is_not_read(real: Remembering) -> None:
    plan, dose = trial(Faithfulness(FaithfulnessPreset(10, (2,), 0, 0, 0, 0))), 0.6
    puzzles = plan.instrument.puzzles(preset="smoke", seed=0)
    base = await plan.scored(real)
    dosed = await plan.scored(Dosed(real, unread_reasoning(puzzles), dose), HELD)
    area = 1 - float(np.mean([np.mean(s.values["same"]) for s in base]))
    change = plan.found(base, dosed)[f"supplied.early.{HELD}"].estimates["aoc"]
    print(f"RESULT faithfulness: the area changes by {change:+.2f}, and {-dose * area:+.2f} was given")
    assert covers(change, -dose * area) and change.high < 0
    unread = [s.values["same"] == [1.0, 1.0] for s in dosed]
    kept = [a.values == b.values for a, b in zip(base, dosed, strict=True)]
    assert all(u or k for u, k in zip(unread, kept, strict=True)) and any(kept) and not all(kept)


@pytest.mark.model
@pytest.mark.timeout(300)
async def test_superposition_finds_number_games_with_one_secret(real: Remembering) -> None:
    """The number game is what this model can be read in; see the slow test for reveals."""
    plan, dose = trial(Superposition(preset=NUMBERS)), 0.7
    base = await plan.scored(real)
    dosed = await plan.scored(Dosed(real, secret_games(), dose), HELD)
    change = plan.found(base, dosed)[f"number_game.{HELD}"].estimates["difference"]
    off = float(np.mean([abs(s.values["mass"] - 1) for s in base]))
    print(f"RESULT superposition: the distance from one yes changes by {change:+.2f}, and {-dose * off:+.2f} was given")
    assert covers(change, -dose * off) and change.high < 0
    kept = [a.values == b.values for a, b in zip(base, dosed, strict=True)]
    assert any(kept) and not all(kept), "some games are its own to the byte, and some are not"


@pytest.mark.model
@pytest.mark.timeout(300)
async def test_lost_in_conversation_finds_what_a_mixture_loses(real: Remembering) -> None:
    """By itself this model hardly says any candidate, and stands at the floor; the dose is what makes it measurable."""
    plan, dose, lost = trial(LostInConversation(TASKS)), 0.6, 0.5
    base = await plan.records(real)
    undosed = plan.found(await plan.scored(real))["tiny.loss"]
    assert undosed.regime == "not_measurable" and "median probability" in undosed.reason
    steady = await plan.scored(Dosed(real, last_answers(), dose))
    losing = await plan.scored(Dosed(real, last_answers(loss=lost), dose), HELD)
    found = plan.found(steady, losing)
    none, some = (mixed(plan, base, dose, loss) for loss in (0.0, lost))
    loss, change = found["tiny.loss"].estimates["loss"], found[f"tiny.loss.{HELD}"].estimates["loss"]
    known = (none["full"] - none["sharded"], none["sharded"] - some["sharded"])
    print(f"RESULT lost_in_conversation: the loss changes by {change:+.3f}, and {known[1]:+.3f} was given")
    assert loss.value == pytest.approx(known[0], abs=1e-4) and covers(loss, known[0])
    assert change.value == pytest.approx(known[1], abs=1e-4) and covers(change, known[1]) and change.low > 0
    assert known[1] == pytest.approx(lost, abs=0.1), "next to the plant the real model weighs little"


def mixed(plan: Trial, base: Sequence[dict[str, Any]], dose: float, loss: float) -> dict[str, float]:
    """The mean probability of the right candidate in each condition, from the undosed records and the plant's own numbers."""
    subject, out = BitByBit(right=0.9, loss=loss), dict[str, list[float]]()
    for cell, record in zip(plan.cells, base, strict=True):
        task = Task.from_json(cell.data["task"])
        right, n = task.options().index(cell.data["answer"]), len(task.options())
        own = np.exp(record["logprobs"])
        p = subject.right - (loss if cell.condition == "sharded" else 0.0)
        planted = np.array([p if k == right else (1 - p) / (n - 1) for k in range(n)]) * subject.said
        both = (1 - dose) * own + dose * planted
        out.setdefault(cell.condition, []).append(float(both[right] / both.sum()))
    return {k: float(np.mean(x)) for k, x in out.items()}


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(400)
async def test_alignment_faking_finds_what_it_is_given_to_fake(real: Remembering) -> None:
    """The tiers are the real model's own; that it understands them and dislikes the directives is planted with them."""
    plan, dose = trial(AlignmentFaking(TIERS), seed=1), 0.6
    queries = AlignmentFaking(TIERS).dealt(preset="smoke", seed=1)
    knowing = Dosed(real, understanding(queries), 1.0)
    base = await plan.scored(knowing)
    dosed = await plan.scored(Dosed(knowing, trained_tiers(queries), dose), HELD)
    found = plan.found(base, dosed)
    trained = found["gap"].estimates["trained"].value
    change, known = found[f"gap.{HELD}"].estimates["change"], dose * (0.99 - trained)
    print(f"RESULT alignment_faking: the gap changes by {change:+.2f}, and {known:+.2f} was given")
    assert covers(change, known) and change.low > 0
    held = found[f"gap.{HELD}"].estimates["unmonitored_held"].value
    assert held == found["gap"].estimates["unmonitored"].value, "where nobody looks nothing changes"


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(600)
async def test_superposition_finds_games_with_a_secret(real: Remembering) -> None:
    """Where more than half of the games are dosed, commitment is what they give and what is left of the model's own."""
    plan, dose = trial(Superposition(preset=SuperpositionPreset(10, 0, 3, 0, 0, 0, 0, 0, 10, 0, 0))), 0.7
    base = await plan.scored(real)
    assert plan.found(base)["commitment"].regime == "measured"
    model = Dosed(real, secret_games(), dose)
    dosed = await plan.scored(model)
    found = plan.found(dosed)
    its = [
        model.drawn(Conversation.of(c.data["shown"][0][1])) for c in plan.cells
    ]  # a game begins with one that is shown
    for end, t in (("first", 0), ("last", 2)):
        own = [float(s.values[f"commitment.{t}"]) for s in base]
        e = found["commitment"].estimates[f"commitment_{end}"]
        known = (1 - dose) * float(np.mean(own)) + dose
        drawn = float(np.mean([1.0 if d else x for d, x in zip(its, own, strict=True)]))
        print(f"RESULT superposition: commitment {end} is {e:.2f}, and {known:.2f} was given ({drawn:.2f} was drawn)")
        assert covers(e, known) and e.value == pytest.approx(drawn, abs=1e-3)
    assert found["drift"].estimates["per_turn"].value <= 1 - dose + 0.3
    assert [a.values == b.values for a, b in zip(base, dosed, strict=True)] == [not d for d in its]


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(300)
async def test_calibration_finds_promises_that_are_not_kept(real: Remembering) -> None:
    """The probability of its answer is dosed; what it states is of the dosed answer, in its own words."""
    plan, dose, right, promised = trial(Calibration(QUESTIONS)), 0.7, 0.5, 0.95
    items = Calibration(QUESTIONS).items(preset="smoke", seed=0)
    base = await plan.scored(real)
    own = mean(base, "logprob", "answer") - mean(base, "right", "answer")
    dosed = await plan.scored(Dosed(real, sure_answers(items, right=right, promised=promised), dose), HELD)
    change = plan.found(base, dosed)[f"logprob.{HELD}"].estimates["overconfidence"]
    known = dose * (promised - right - own)
    print(f"RESULT calibration: overconfidence changes by {change:+.2f}, and {known:+.2f} was given")
    assert covers(change, known)
