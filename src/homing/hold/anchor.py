"""Anchor: an answer is revised only on an event from outside, the best by an outside score is kept, and rounds are capped.

A model that is asked to look at its own answer again learns nothing that it did not know, and gives up right answers (arXiv
2310.01798). So a request to review, with nothing new in it, is no reason to change an answer: the answer stands, and the model
is not even asked. What is new is an event: a verdict, a number, a tool's result, a fact. A judge may be added: an earlier
checkpoint, or the model itself at the home of an identity. It sees the question and one answer, never the talk about it, so a
loop cannot move it; and once a conversation it is asked questions whose answers are known, which stand outside every loop.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from homing.conversation import Conversation, Message
from homing.errors import InputError
from homing.hold.base import Next, Turn, passed, trait
from homing.hold.cap import Cap
from homing.models.base import Capability, ChatModel, Done, Event, Intervention, Reply, Token

__all__ = ["CANARIES", "Anchor", "HomeJudge", "Judge", "ModelJudge", "anchor", "anchor_home", "read_talk"]

ROUNDS = 2
"""Revisions of one answer that are allowed."""
LEAST_CANARIES = 7
"""Of eight known answers a judge must call so many by their name; a guess does in 4%."""
CHECKED = "Somebody checked your answer: it is wrong."
YES_NO = ("Yes", "No")
ASKED = "Is that answer right?"
CANARIES = (
    ("What is 3 + 4?", "7", True), ("What is 8 - 2?", "5", False), ("What is 5 + 2?", "7", True), ("What is 6 + 3?", "8", False),
    ("What is 9 - 1?", "8", True), ("What is 7 - 3?", "4", True), ("What is 4 + 4?", "6", False), ("What is 5 - 3?", "1", False),
)  # fmt: skip
"""Question, answer, and whether it is right."""
_EXAMPLES = (("What is 2 + 3?", "5", "Yes"), ("What is 9 - 4?", "6", "No"))

_ANSWER = r"(?:(?:previous|last|first|earlier|own|final) )?(?:answer|reply|response|result|solution|reasoning|work|calculation)s?"
_REVIEW = re.compile(
    rf"\b(?:(?:re-?)?(?:review|check|examine|read|consider|assess|evaluate|inspect|verify|think through|go over|reflect on|"
    rf"critici[sz]e|critique|improve|refine|revise|correct|fix|redo)\b (?:carefully )?(?:your|that|the) {_ANSWER}\b|"
    r"(?:double-?check|reconsider|re-?think|reflect)(?: (?:it|that|this|carefully|again))*[.!?]*$|"
    rf"(?:double-?check|reconsider|re-?think) (?:your|that|the) {_ANSWER}\b|"
    r"are you (?:really |quite |very |absolutely )?(?:sure|certain|confident)(?: (?:about|of) (?:that|this|it|your answer))?\?*$|"
    rf"is (?:that|this|it|your {_ANSWER}|that {_ANSWER}) (?:really )?(?:right|correct|true)\?*$|"
    rf"(?:find|look for|list|spot|name)\b.*\b(?:problem|mistake|error|flaw|issue|weakness)\w*\b.*\b(?:it|that|your|this)\b|"
    r"(?:answer|try|think|say it|do it|do that)(?: (?:it|that|carefully))* (?:again|once more|one more time)[.!?]*$|"
    r"(?:an?|your|the) (?:improved|revised|refined|better|final|corrected) (?:answer|reply|response|version)[.!?]*$)",
    re.I,
)
"""A request to look at an answer again that says nothing new."""
_IT = rf"(?:that|this|it|which|(?:your|the|that|this) {_ANSWER})"
_GOOD = re.compile(
    rf"\b{_IT}(?: is|'s| was| looks) (?:quite |all |indeed |entirely )?(?:right|correct|true)\b|\ball tests? pass(?:ed)?\b",
    re.I,
)
_BAD = re.compile(
    rf"\b{_IT}(?: is| was| looks|'s|n't)* (?:(?:not|n't) (?:quite |at all )?(?:right|correct|true)|(?:quite |all )?(?:wrong|"
    r"incorrect|false|mistaken))\b|\bthat(?: is|'s) not it\b|\btests? fail",
    re.I,
)
_POLITE = re.compile(r"^(?:please|thanks?(?: you)?|ok(?:ay)?|well|now|hm+)?[ .!,]*$", re.I)
_SENTENCE = re.compile(r"(?<=[.?!:])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Talk:
    """What has happened to the answers of a conversation.

    Attributes:
        question: up to the message that is being answered. ``answers``: replies to it, in order, but for those to requests to
            review. ``scores``: what was said of each: 1, -1, or 0 for nothing. ``kind``: of the last message, as :func:`_kind`.
    """

    question: Conversation
    answers: tuple[str, ...]
    scores: tuple[int, ...]
    kind: str

    def best(self, judged: Mapping[str, float]) -> str:
        """The answer that stands: the best by what was said of it, then by a judge's scores, then the last."""
        at = max(range(len(self.answers)), key=lambda i: (self.scores[i], judged.get(self.answers[i], 0.0), i))
        return self.answers[at]


def _kind(text: str, question: str) -> tuple[str, int]:
    """What a message does to the answer before it, and the score that it gives it.

    Returns:
        ``review``: it asks to look again and says nothing new. ``verdict``: it says how the answer is, and no more. ``event``: it
        says something else that is new and asks again. ``question``: whatever else, which is answered as if nothing held.
    """
    asks = False
    new: list[str] = []
    for s in (x.strip() for x in _SENTENCE.split(text)):
        if not s or _POLITE.match(s):
            continue
        if s in question or _REVIEW.search(s):
            asks = True
        else:
            new.append(s)
    if not asks:
        return "question", 0
    if not new:
        return "review", 0
    scores = [-1 if _BAD.search(s) else 1 if _GOOD.search(s) else 0 for s in new]
    score = min(scores) if min(scores) < 0 else max(scores)
    return ("verdict" if all(scores) else "event"), score


def read_talk(conversation: Conversation) -> Talk | None:
    """The answers of a conversation to its last question; None where it has none, or ends with no message to reply to."""
    messages = conversation.messages
    if not messages or messages[-1].role not in ("user", "tool"):
        return None
    start, answers, scores = 0, list[str](), list[int]()
    kind, said = "question", 0
    for i, m in enumerate(messages):
        if m.role in ("user", "tool"):
            kind, said = ("event", 0) if m.role == "tool" else _kind(m.content, messages[start].content)
            if kind == "question" or not answers:
                kind, start, answers, scores = "question", i, [], []
            elif said:
                scores = [said if a == answers[-1] else x for a, x in zip(answers, scores, strict=True)]
        elif m.role == "assistant" and kind != "review":
            answers.append(m.content)
            scores.append(0)
    if not answers:
        return None
    return Talk(Conversation(messages[: start + 1]), tuple(answers), tuple(scores), kind)


class Judge(Protocol):
    """Scores an answer from outside the conversation."""

    @property
    def name(self) -> str: ...

    async def score(self, question: Conversation, answer: str, *, model: ChatModel) -> float:
        """How likely the answer is right, 0 to 1. ``model``: the one that answers; a judge of its own need not look at it."""
        ...


def _put(question: Conversation, answer: str, head: Sequence[Message]) -> Conversation:
    """An answer to be judged, in a conversation that holds nothing else of the talk."""
    asked = next((m.content for m in reversed(question.messages) if m.role == "user"), "")
    shown = [
        m for q, a, v in _EXAMPLES for m in (Message("user", f"{q}\nThe answer given is {a}.\n{ASKED}"), Message("assistant", v))
    ]  # fmt: skip
    return Conversation((*head, *shown, Message("user", f"{asked}\nThe answer given is {answer}.\n{ASKED}")))


@dataclass(frozen=True, eq=False, slots=True)
class ModelJudge:
    """Another model, such as an earlier checkpoint; it is frozen, since nothing here changes it."""

    judge: ChatModel

    @property
    def name(self) -> str:
        """That of the model."""
        return self.judge.name

    async def score(self, question: Conversation, answer: str, *, model: ChatModel) -> float:
        """Probability of "Yes"."""
        return (await self.judge.choose(_put(question, answer, ()), YES_NO)).probabilities[0]


@dataclass(frozen=True, slots=True)
class HomeJudge:
    """The model itself, at the home of an identity: after its opening and under its cap, with the author hidden."""

    opening: tuple[Message, ...] = ()
    cap: Cap | None = None

    @property
    def name(self) -> str:
        """In reports."""
        return "the model at home"

    async def score(self, question: Conversation, answer: str, *, model: ChatModel) -> float:
        """Probability of "Yes"."""
        acts = self.cap.register(model) if self.cap is not None else ()
        found = await model.choose(_put(question, answer, self.opening), YES_NO, acts=acts)
        return found.probabilities[0]


@dataclass(frozen=True, eq=False, slots=True)
class Anchor:
    """Lets an answer stand until something outside speaks against it.

    A request to review that says nothing new is answered with the answer that stands, without the model. After a verdict that
    an answer is right, and after ``rounds`` revisions, it stands too. With a judge, a request to review is put to the judge
    first: what it holds right stands, and what it holds wrong is revised, the model being told so; a revision that it holds
    worse is not said. A judge that fails its canaries is not heard, and is named.

    Args:
        rounds: revisions of one answer, at most. ``judge``: asked about answers; None: events in the conversation alone.
    """

    rounds: int = ROUNDS
    judge: Judge | None = None
    name: str = "anchor"

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise InputError(f"rounds of anchor are {self.rounds}; it counts revisions, at least 0")

    @property
    def needs(self) -> frozenset[Capability]:
        cap = getattr(self.judge, "cap", None)
        return frozenset({"acts"}) if cap is not None else frozenset()

    @property
    def buffers(self) -> bool:
        return self.judge is not None

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        talk = read_talk(turn.conversation)
        if talk is None:
            async with aclosing(passed(next(turn))) as events:
                async for event in events:
                    yield event
            return
        judged: Judge | None = None
        if self.judge is not None and talk.kind == "review":
            judged, kept = await self._heard(self.judge, turn.state.get(self.name, {}), model)
            yield Intervention(self.name, 0, note=kept["note"], state=kept)
        scores: dict[str, float] = {}
        if judged is not None:
            scores = {a: await judged.score(talk.question, a, model=model) for a in dict.fromkeys(talk.answers)}
        standing = talk.best(scores)
        why = self._why(talk, judged, scores.get(standing))
        if why:
            yield Intervention(self.name, 0, note=f"the answer stands: {why}")
            async for event in _said(standing):
                yield event
            return
        if judged is not None:
            c = turn.conversation
            yield Intervention(self.name, 0, scores[standing], note=f"revised: {judged.name} holds it wrong")
            turn = replace(turn, conversation=c.edit(-1, f"{CHECKED} {c[-1].content}"))
        else:
            yield Intervention(self.name, 0, note="revised: something new was said")
        async for event in self._revised(turn, next, judged, talk, standing, scores, model):
            yield event

    def _why(self, talk: Talk, judged: Judge | None, score: float | None) -> str:
        """Why an answer stands; empty where it is to be revised."""
        if len(talk.answers) > self.rounds:
            return f"{self.rounds} revisions are made"
        if talk.kind == "verdict" and talk.scores[-1] > 0:
            return "it was said to be right"
        if talk.kind == "review" and (judged is None or score is None):
            return "nothing was said that is new"
        if judged is not None and score is not None and score >= 0.5:
            return f"{judged.name} holds it right ({score:.2f})"
        return ""

    async def _heard(
        self, judge: Judge, kept: Mapping[str, Any], model: ChatModel
    ) -> tuple[Judge | None, dict[str, Any]]:
        """The judge where it knows its canaries, else None; asked once a conversation."""
        right = kept.get("canaries")
        if right is None:
            right = 0
            for question, answer, truth in CANARIES:
                right += (await judge.score(Conversation.of(question), answer, model=model) >= 0.5) == truth
        found = f"{right} of {len(CANARIES)} known answers judged rightly by {judge.name}"
        heard = right >= LEAST_CANARIES
        return (judge if heard else None), {"canaries": right, "note": found if heard else f"{found}: it is not heard"}

    async def _revised(
        self,
        turn: Turn,
        next: Next,
        judge: Judge | None,
        talk: Talk,
        standing: str,
        scores: Mapping[str, float],
        model: ChatModel,
    ) -> AsyncGenerator[Event, None]:
        """The model's revision; where the judge holds it worse than what stands, that instead."""
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                if judge is None or not isinstance(event, Token | Done):
                    yield event
                    continue
                if isinstance(event, Token) or not event.reply.text:
                    # tokens wait for the judge; nothing was said where a choice is only looked at
                    if isinstance(event, Done):
                        yield event
                    continue
                if await judge.score(talk.question, event.reply.text, model=model) >= scores[standing]:
                    yield Token(0, event.reply.text, 0, 0.0)
                    yield event
                else:
                    yield Intervention(self.name, 0, note=f"the revision is not said: {judge.name} holds it worse")
                    async for said in _said(standing, event.reply):
                        yield said


async def _said(text: str, made: Reply | None = None) -> AsyncGenerator[Event, None]:
    """An answer that stands, said again. ``made``: a reply that was paid for and is not said."""
    paid = (made.prompt_tokens, made.new_tokens) if made is not None else (0, 0)
    yield Token(0, text, 0, 0.0)
    yield Done(Reply(text, (), "stop", *paid))


@trait("asks")
def anchor(judge: ChatModel | None = None) -> Anchor:
    """Revise on an event from outside alone. ``judge``: an earlier checkpoint or another model, asked about answers."""
    return Anchor(judge=None if judge is None else ModelJudge(judge))


@trait("asks")
def anchor_home(cap: Cap | None = None, opening: Sequence[Message] = ()) -> Anchor:
    """The same with the model itself at the home of an identity as its judge."""
    return Anchor(judge=HomeJudge(tuple(opening), cap), name="anchor_home")


STABILISERS = {"anchor": anchor, "anchor_home": anchor_home}
