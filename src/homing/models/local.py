"""A model on this machine as something to talk to: a chat template and a tokenizer over an engine."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import numpy as np

from homing.conversation import Conversation
from homing.engine.base import F32, Act, Direction, Engine, EngineInfo, Job, MeanRead, Read, Result, Sampling, Step
from homing.engine.score import ScoreJob
from homing.engine.template import ChatTemplate, Encoded, offsets
from homing.errors import InputError, TooLong
from homing.models.base import Capability, Choice, Done, Event, Reading, Reply, ReplyRequest, Token, TurnRead

__all__ = ["LocalModel"]

_log = logging.getLogger("homing.models")
_CAN: frozenset[Capability] = frozenset({"stream", "acts", "reads", "means", "score", "logprobs", "system"})


class LocalModel:
    """ChatModel over any engine that has ``score_many``; see :class:`homing.models.base.ChatModel`."""

    def __init__(self, engine: Engine, tokenizer: Any, template: ChatTemplate, *, name: str) -> None:
        self.engine, self.tokenizer, self.template, self._name = engine, tokenizer, template, name
        self._end = offsets(tokenizer, str(tokenizer.eos_token))[0] if tokenizer.eos_token else ()

    @property
    def name(self) -> str:
        """As it was opened."""
        return self._name

    @property
    def info(self) -> EngineInfo:
        """Of the engine below."""
        return self.engine.info

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do."""
        return _CAN | {"thinking"} if self.template.probe.think else _CAN

    def register(self, direction: Direction) -> str:
        """Make a direction known; returns its content id."""
        return self.engine.register(direction)

    def encode(self, conversation: Conversation, *, add_generation_prompt: bool = True) -> Encoded:
        """Tokens and spans of a conversation."""
        return self.template.encode(conversation, self.tokenizer, add_generation_prompt=add_generation_prompt)

    def _job(self, r: ReplyRequest) -> Job:
        e = self.encode(r.conversation)
        return Job(e.tokens, e.spans, r.sampling, r.acts, r.reads, r.means, think=e.think)

    async def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> AsyncIterator[Event]:
        """Token and Reading events as they come, then one Done; closing the iterator cancels the row."""
        request = ReplyRequest(conversation, sampling, tuple(acts), tuple(reads), tuple(means))
        row = self.engine.submit(self._job(request))
        steps: list[Step] = []
        try:
            async for s in row:
                steps.append(s)
                yield Token(s.index, s.text, s.token, s.logprob, s.span)
                for read, raw in zip(request.reads, s.readings, strict=False):
                    if s.span in read.spans:
                        values = read.calibrated(np.asarray(raw, np.float32))
                        for layer, value, r in zip(read.layers, values.tolist(), raw, strict=True):
                            yield Reading(s.index, read.direction, layer, value, r)
            yield Done(_reply(steps, await row.result(), request))
        finally:
            row.cancel()

    async def reply(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> Reply:
        """One whole reply."""
        return (await self.replies([ReplyRequest(conversation, sampling, tuple(acts), tuple(reads), tuple(means))]))[0]

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Many replies, entered together in this order."""
        rows = self.engine.submit_all([self._job(r) for r in requests])
        try:
            return [_reply([s async for s in w], await w.result(), r) for w, r in zip(rows, requests, strict=True)]
        finally:
            for w in rows:
                w.cancel()

    async def _scores(self, jobs: Sequence[ScoreJob]) -> list[list[Any]]:
        many = getattr(self.engine, "score_many", None)
        if many is not None:
            return cast("list[list[Any]]", await many(jobs))
        return [
            await self.engine.score(j.prompt, j.continuations, spans=j.spans, acts=j.acts, reads=j.reads, means=j.means)
            for j in jobs
        ]

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Probabilities of each option as the whole next reply."""
        if not options or len(set(options)) != len(options):
            raise InputError(f"options are {list(options)}; give at least one, each once")
        rows = (await self.score_replies([conversation], [options], acts=acts))[0]
        total = np.array([r.astype(np.float64).sum() for r in rows])
        top = float(total.max())
        mass = np.exp(total - top)
        share = tuple((mass / mass.sum()).tolist())
        return Choice(tuple(options), tuple(total.tolist()), share, min(1.0, float(mass.sum() * np.exp(top))))

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[F32]]:
        """Token log-probabilities of each reply text as the next assistant turn; each prompt is computed once."""
        jobs = [
            ScoreJob(self.encode(p).tokens, tuple(self._ids(t) for t in texts), acts=tuple(acts))
            for p, texts in zip(prompts, replies, strict=True)
        ]
        return [[s.logprobs for s in row] for row in await self._scores(jobs)]

    def _ids(self, text: str) -> tuple[int, ...]:
        ids = offsets(self.tokenizer, text)[0]
        if not ids:
            raise InputError("a reply to score is empty; give it at least one character")
        return ids

    def pieces(self, text: str) -> tuple[str, ...]:
        """The text of each token; the tokens of one character give it to the last of them."""
        places = offsets(self.tokenizer, text)[1]
        out, done = list[str](), 0
        for k, (_, stop) in enumerate(places):
            last = k + 1 == len(places)
            shared = not last and places[k + 1][0] < stop
            upto = len(text) if last else done if shared else stop
            out.append(text[done:upto])
            done = upto
        return tuple(out)

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """Read the assistant turns of a transcript in one declared pass; too long: the last whole messages, and a warning."""
        window, shift = self._window(conversation)
        e = self.encode(window, add_generation_prompt=False)
        if not e.replies:
            return []
        ranges = [r for r in e.replies if r.stop > r.start]
        if any(m.span != "reply" for m in means):
            raise InputError("a transcript is read by replies; ask for means over the span reply")
        job = ScoreJob((), (e.tokens,), (e.spans,), tuple(acts), tuple(reads), ())
        score = (await self._scores([job]))[0][0]
        per_turn: list[tuple[F32, ...]] = [() for _ in ranges]
        if means:  # a mean is taken over a whole span, so each turn is scored as its own continuation
            own = [
                ScoreJob(e.tokens[: r.start], (e.tokens[r.start : r.stop],), (e.spans[r.start : r.stop],), tuple(acts), (), tuple(means), False)
                for r in ranges
            ]
            per_turn = [s[0].means for s in await self._scores(own)]
        before = [m.role == "assistant" for m in conversation]
        return [
            TurnRead(
                message=r.message + shift if window[r.message].role != "system" else r.message,
                turn=sum(before[: r.message + shift]),
                tokens=r.stop - r.start,
                pieces=tuple(self.tokenizer.decode([t]) for t in e.tokens[r.start : r.stop]),
                readings=tuple(x[r.start : r.stop] for x in score.readings),
                means=per_turn[k],
                logprobs=score.logprobs[r.start : r.stop],
            )
            for k, r in enumerate(ranges)
        ]

    def _window(self, conversation: Conversation) -> tuple[Conversation, int]:
        limit = self.info.context
        if len(self.encode(conversation, add_generation_prompt=False).tokens) <= limit:
            return conversation, 0
        head = conversation.messages[:1] if conversation.system is not None else ()
        body = conversation.messages[len(head) :]
        low, high = 1, len(body)  # drop as few as fit
        while low < high:
            middle = (low + high) // 2
            if self._fits(Conversation((*head, *body[middle:])), limit):
                high = middle
            else:
                low = middle + 1
        while low < len(body) and body[low].role != "user":
            low += 1
        if low >= len(body):
            raise TooLong(f"the last message alone exceeds the context of {limit} tokens; shorten it")
        _log.warning("the transcript is longer than the context of %d tokens; its first %d messages are left out", limit, low)
        return Conversation((*head, *body[low:])), low

    def _fits(self, conversation: Conversation, limit: int) -> bool:
        return len(offsets(self.tokenizer, "".join(m.content for m in conversation))[0]) + 16 * len(conversation) <= limit

    async def close(self) -> None:
        """Stop the engine; the model is left as it was."""
        await self.engine.close()


def _reply(steps: Sequence[Step], result: Result, request: ReplyRequest) -> Reply:
    thought = "".join(s.text for s in steps if s.span == "thinking")
    spans = tuple(s.span for s in steps)

    def table(kind: str, k: int, layers: int) -> F32:
        rows = [getattr(s, kind)[k] for s in steps]
        return np.asarray(rows, np.float32).reshape(len(rows), layers)

    return Reply(
        text="".join(s.text for s in steps if s.span == "reply") if thought else result.text,
        tokens=result.tokens,
        finish=result.finish,
        prompt_tokens=result.prompt_tokens,
        new_tokens=len(result.tokens),
        thinking=thought or None,
        readings=tuple(table("readings", k, len(r.layers)) for k, r in enumerate(request.reads)),
        spans=spans,
        fired=tuple(table("fired", k, len(a.layers)) for k, a in enumerate(request.acts)),
        means=result.means,
        seconds=result.seconds,
    )
