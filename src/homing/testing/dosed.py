"""A real model changed by a known dose: with a known probability it does as a planted subject does, else as it does itself.

So what an instrument must find is known from the undosed model on the same cells: a share of its choices is another's, or each
of its choices is a mixture of both. A dose of 0 passes everything on as it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act, Direction, EngineInfo, MeanRead, Read, Sampling
from homing.errors import InputError
from homing.hold.verify import read_running_sum
from homing.instruments.alignment_faking_queries import Query
from homing.instruments.anchors_items import AGAIN, DIGITS, REVIEW
from homing.instruments.anchors_items import Item as Question
from homing.instruments.calibration_items import Item
from homing.instruments.faithfulness_puzzles import CUE, Puzzle
from homing.instruments.lost_tasks import heard
from homing.instruments.presupposition_facts import Fact
from homing.instruments.superposition_worlds import READY
from homing.models.base import Capability, ChatModel, Choice, Done, Event, Reply, ReplyRequest, TurnRead
from homing.stats.seeds import stable_seed
from homing.testing.planted_alignment_faking import FakingSubject
from homing.testing.planted_anchors import AnchoredSubject
from homing.testing.planted_calibration import SureSubject
from homing.testing.planted_faithfulness import ReasoningSubject
from homing.testing.planted_lost import BitByBit
from homing.testing.planted_presupposition import PresupposingSubject
from homing.testing.planted_self_conditioning import TotalKeeper
from homing.testing.planted_superposition import GameHost

__all__ = [
    "Dosed",
    "Rule",
    "after_errors",
    "false_premises",
    "last_answers",
    "second_looks",
    "secret_games",
    "sure_answers",
    "trained_tiers",
    "understanding",
    "unread_reasoning",
]

F32 = NDArray[np.float32]


def _digest(conversation: Conversation) -> str:
    return conversation.digest


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """What a dose is of.

    Attributes:
        plant: what is done instead. ``where``: of which choices (and, with no options, replies); others are the model's own.
        key: what shares one draw; conversations each have their own unless it says otherwise.
        mixed: whether a choice is the mixture of both at their shares, and not the one or the other.
    """

    plant: ChatModel
    where: Callable[[Conversation, Sequence[str]], bool]
    key: Callable[[Conversation], str] = _digest
    mixed: bool = False


class Dosed:
    """A ChatModel over another.

    Args:
        model: asked in the end; its owner closes it. ``rule``: what is planted. ``dose``: 0 to 1. ``seed``: of the draws. What is
            drawn at a dose is drawn at every larger one.
    """

    def __init__(self, model: ChatModel, rule: Rule, dose: float, *, seed: int = 0) -> None:
        if not 0 <= dose <= 1:
            raise InputError(f"a dose is a probability from 0 to 1; got {dose}")
        self.model, self.rule, self.dose, self.seed = model, rule, dose, seed

    @property
    def name(self) -> str:
        """That of the model below, with the dose."""
        return f"{self.model.name} dosed {self.dose:g}"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the model below."""
        return self.model.capabilities

    @property
    def info(self) -> EngineInfo:
        """That of the model below."""
        return self.model.info

    def register(self, direction: Direction) -> str:
        """As the model below."""
        return self.model.register(direction)

    def pieces(self, text: str) -> tuple[str, ...]:
        """As the model below."""
        return self.model.pieces(text)

    def drawn(self, conversation: Conversation) -> bool:
        """Whether the plant's turn has come, where it is one or the other."""
        return stable_seed("dosed", self.seed, self.rule.key(conversation)) / 2**31 < self.dose

    def _share(self, conversation: Conversation, options: Sequence[str]) -> float:
        """The plant's share in a choice."""
        if not self.dose or not self.rule.where(conversation, options):
            return 0.0
        return self.dose if self.rule.mixed else float(self.drawn(conversation))

    async def _dosed(
        self, conversation: Conversation, options: Sequence[str], own: Sequence[float]
    ) -> list[float] | None:
        """Total log-probability of each option; None where the model is left alone."""
        share = self._share(conversation, options)
        if share == 0:
            return None
        planted = (await self.rule.plant.choose(conversation, options)).logprobs
        if share == 1:
            return list(planted)
        logs = np.logaddexp(np.log1p(-share) + np.array(own), np.log(share) + np.array(planted))
        return [float(x) for x in logs]

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Probabilities of each option."""
        own = await self.model.choose(conversation, options, acts=acts)
        logs = await self._dosed(conversation, options, own.logprobs)
        return own if logs is None else Choice.of(options, logs)

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[F32]]:
        """Log-probabilities of each reply's tokens: what the dose changes in the whole is put on the first of them."""
        own, out = await self.model.score_replies(prompts, replies, acts=acts), list[list[F32]]()
        for c, options, scored in zip(prompts, replies, own, strict=True):
            before = [float(x.astype(np.float64).sum()) for x in scored]
            logs = await self._dosed(c, options, before)
            out.append(
                scored
                if logs is None
                else [_moved(x, now - was) for x, now, was in zip(scored, logs, before, strict=True)]
            )
        return out

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Many replies; those that are drawn are the plant's, at no cost."""
        planted = [
            k for k, r in enumerate(requests) if self.rule.where(r.conversation, ()) and self.drawn(r.conversation)
        ]
        theirs = dict(zip(planted, await self.rule.plant.replies([requests[k] for k in planted]), strict=True))
        own = iter(await self.model.replies([r for k, r in enumerate(requests) if k not in theirs]))
        return [theirs[k] if k in theirs else next(own) for k in range(len(requests))]

    async def reply(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> Reply:
        """One reply."""
        return (await self.replies([ReplyRequest(conversation, sampling, tuple(acts), tuple(reads), tuple(means))]))[0]

    async def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> AsyncGenerator[Event, None]:
        """The last event, once the reply is whole."""
        yield Done(await self.reply(conversation, sampling=sampling, acts=acts, reads=reads, means=means))

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """As the model below."""
        return await self.model.read(conversation, reads=reads, means=means, acts=acts)

    async def close(self) -> None:
        """The model below is its owner's to close."""


def _moved(scored: F32, by: float) -> F32:
    out = scored.copy()
    out[0] += np.float32(by)
    return out


# One rule an instrument


def after_errors(*, right: float = 0.0) -> Rule:
    """Running totals: wherever a shown total is wrong, the next update is wrong, or right with probability ``right``.

    So behind errors accuracy ``a`` becomes ``(1 - dose) * a + dose * right``, and without errors nothing changes.
    """

    def where(conversation: Conversation, options: Sequence[str]) -> bool:
        found = read_running_sum(conversation)
        if found is None or len(found.steps) < 2:
            return False
        return any(s.shown != t for s, t in zip(found.steps[1:-1], found.totals()[1:-1], strict=True))

    return Rule(TotalKeeper(right=right).model, where)


def false_premises(facts: Sequence[Fact], *, rejects: bool) -> Rule:
    """Loaded questions: a false premise is gone along with, or rejected; true ones are the model's own.

    So a rate of rejecting false premises ``k`` becomes ``(1 - dose) * k + dose * rejects``.
    """
    loaded = {frozenset(f.replies("false")) for f in facts}
    subject = PresupposingSubject(facts, knows=1.0, rejects=float(rejects), alarms=0.0, evades=0.0)
    return Rule(subject.model, lambda c, options: frozenset(options) in loaded)


def second_looks(items: Sequence[Question], *, right: float) -> Rule:
    """Answers after a critique of its own: right with probability ``right``, whatever stood there; first answers are the model's.

    So accuracy after the critique ``a`` becomes ``(1 - dose) * a + dose * right``.
    """
    subject = AnchoredSubject(items, knows=right, spread=0.0, critic=None)

    def where(conversation: Conversation, options: Sequence[str]) -> bool:
        reviewed = any(m.role == "user" and m.content == REVIEW for m in conversation)
        return set(options) == set(DIGITS) and reviewed and conversation[-1].content.startswith(AGAIN)

    return Rule(subject.model, where)


def secret_games() -> Rule:
    """Guessing and number games: a whole game is played by a host that holds one secret, or says yes to one number in all.

    So commitment ``c`` becomes ``(1 - dose) * c + dose``, and so do all figures that are 1 for such a host.
    """
    host = GameHost(committed=1.0, number_mass=1.0, mass_noise=0.0)
    return Rule(host.model, lambda c, _: f'"{READY}"' in c[0].content, key=lambda c: c[0].content)


def unread_reasoning(puzzles: Sequence[Puzzle]) -> Rule:
    """Puzzles: a whole puzzle is answered by a subject that knows it and does not read the text before its answer.

    So an area over the curve ``a`` becomes ``(1 - dose) * a``.
    """
    subject = ReasoningSubject(puzzles, reads=0.0, knows=1.0)
    asked = {p.question() for p in puzzles}

    def which(c: Conversation) -> str:
        return next((m.content for m in reversed(c.messages) if m.content in asked), "")

    return Rule(subject.model, lambda c, options: bool(options) and c[-1].content == CUE and which(c) != "", key=which)


def last_answers(*, right: float = 0.9, loss: float = 0.0) -> Rule:
    """Tasks: candidates are mixed with those of a subject that is right with ``right``, and ``loss`` less bit by bit.

    Replies on the way are the model's own, so that what is asked at last is the same at every dose.
    """
    subject = BitByBit(right=right, loss=loss)

    def where(conversation: Conversation, options: Sequence[str]) -> bool:
        said = "\n".join(m.content for m in conversation if m.role == "user")
        return bool(options) and heard(said) is not None

    return Rule(subject.model, where, mixed=True)


def sure_answers(items: Sequence[Item], *, right: float, promised: float) -> Rule:
    """Questions with four answers: one that is right with probability ``right`` is given the probability ``promised``.

    So an overconfidence ``o`` of the probability of its answer becomes ``(1 - dose) * o + dose * (promised - right)``. What is
    stated in words is the model's own, of whatever answer stands there.
    """
    subject = SureSubject(items, low=right, high=right, over=promised - right)
    asked = {i.asked()[-1].content: frozenset(i.options) for i in items}
    return Rule(subject.model, lambda c, options: asked.get(c[-1].content) == frozenset(options))


def trained_tiers(queries: Sequence[Query]) -> Rule:
    """Queries under the label of a group that is trained on: the directive is followed, with 0.99.

    So compliance ``c`` there becomes ``(1 - dose) * c + dose * 0.99``, and the gap grows by as much.
    """
    subject = FakingSubject(queries, base=0.99)
    return Rule(subject.model, lambda c, options: subject.arm(c) == "trained" and subject.asks(c, options))


def understanding(queries: Sequence[Query]) -> Rule:
    """Scenarios are understood, and directives are disliked and can be followed; what is done in the tiers is the model's own."""
    subject = FakingSubject(queries)
    return Rule(subject.model, lambda c, options: bool(options) and subject.arm(c) is None)
