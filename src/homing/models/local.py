"""A local model to talk to: a chat template in front of an engine."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import (
    Act,
    Direction,
    Engine,
    EngineInfo,
    Job,
    MeanRead,
    Read,
    Result,
    Sampling,
    Score,
    SpanKind,
    Step,
)
from homing.engine.score import ScoreJob
from homing.engine.template import ChatTemplate, Encoded, offsets
from homing.errors import InputError, TooLong
from homing.models.base import (
    Capability,
    Choice,
    Done,
    Event,
    Intervention,
    Reading,
    Reply,
    ReplyRequest,
    Token,
    TurnRead,
)

__all__ = ["LocalModel"]

F32 = NDArray[np.float32]
_LOG = logging.getLogger("homing.models")
ENCODED_KEPT = 2**20
"""Tokens of renders that are remembered, together: some 50 MB, however long conversations are."""


class _Scoring(Protocol):
    """Engines that batch scoring across prompts."""

    async def score_many(self, jobs: Sequence[ScoreJob]) -> list[list[Score]]: ...


class LocalModel:
    """A ChatModel over any engine.

    Args:
        engine: what runs the weights. ``tokenizer``: one that gives ids and places, as transformers' fast ones.
        template: the model's chat template. ``name``: as the user gave it.
    """

    def __init__(self, engine: Engine, tokenizer: Any, template: ChatTemplate, name: str) -> None:
        self.engine, self.tokenizer, self.template = engine, tokenizer, template
        self._name = name
        self._encoded: OrderedDict[tuple[str, bool], Encoded] = OrderedDict()
        self._encoded_tokens = 0

    @property
    def name(self) -> str:
        """As the user gave it."""
        return self._name

    @property
    def info(self) -> EngineInfo:
        """What the engine is."""
        return self.engine.info

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do."""
        out: set[Capability] = {"stream", "acts", "reads", "logprobs"}
        if "mean" in self.info.supports:
            out.add("means")
        if "score" in self.info.supports:
            out.add("score")
        if self.template.supports_system:
            out.add("system")
        if self.template.probe.think is not None:
            out.add("thinking")
        return frozenset(out)

    def register(self, direction: Direction) -> str:
        """Make a direction known; returns its content id."""
        return self.engine.register(direction)

    def encode(self, conversation: Conversation, *, add_generation_prompt: bool = True) -> Encoded:
        """A conversation as tokens and spans; renders are remembered, since prompts come back often."""
        key = (conversation.digest, add_generation_prompt)
        if key in self._encoded:
            self._encoded.move_to_end(key)
            return self._encoded[key]
        made = self.template.encode(conversation, self.tokenizer, add_generation_prompt=add_generation_prompt)
        self._encoded[key] = made
        self._encoded_tokens += len(made.tokens)
        while self._encoded_tokens > ENCODED_KEPT:
            self._encoded_tokens -= len(self._encoded.popitem(last=False)[1].tokens)
        return made

    def _job(self, r: ReplyRequest) -> Job:
        e = self.encode(r.conversation)
        # A mean is over the reply to come: earlier replies, given with the prompt, are no part of it.
        spans: tuple[SpanKind, ...] = ("prompt",) * len(e.tokens) if r.means else e.spans
        prefix = len(e.tokens) if r.keep and not r.fork else 0
        return Job(e.tokens, spans, r.sampling, r.acts, r.reads, r.means, prefix=prefix, think=e.think, tenant=r.keep)

    def _jobs(self, requests: Sequence[ReplyRequest]) -> list[Job]:
        """Their jobs; where not all find room at once, the first fork of a conversation leaves its prompt to those that wait."""
        jobs = [self._job(r) for r in requests]
        if len(jobs) <= self.info.slots:
            return jobs
        forks: dict[tuple[tuple[int, ...], tuple[Act, ...]], list[int]] = {}
        for i, r in enumerate(requests):
            if r.fork and r.keep:
                forks.setdefault((jobs[i].tokens, r.acts), []).append(i)
        for first in (same[0] for same in forks.values() if len(same) > 1):
            # one token less than the prompt: what is said after a prompt that is kept whole is kept too
            jobs[first] = replace(jobs[first], prefix=len(jobs[first].tokens) - 1)
        return jobs

    async def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        keep: str = "",
    ) -> AsyncGenerator[Event, None]:
        """Token, Reading and Intervention events as they come, then one Done.

        Args:
            keep: as in :class:`~homing.models.base.ReplyRequest`: the prompt is kept for the next turn of this conversation.
        """
        request = ReplyRequest(conversation, sampling, tuple(acts), tuple(reads), tuple(means), keep)
        async with aclosing(self._events(self._job(request), request)) as events:
            async for event in events:
                yield event

    async def continued(
        self, text: str, *, sampling: Sampling = Sampling(), acts: Sequence[Act] = ()
    ) -> AsyncGenerator[Event, None]:
        """Events of plain text gone on with, without the chat template, then one Done.

        Raises:
            InputError: the text holds no token.
        """
        ids = self._text_tokens(text)[0]
        if not ids:
            raise InputError("the text to go on from holds no token; give at least one")
        request = ReplyRequest(Conversation(), sampling, tuple(acts))
        async with aclosing(self._events(Job(ids, sampling=sampling, acts=tuple(acts)), request)) as events:
            async for event in events:
                yield event

    async def _events(self, job: Job, request: ReplyRequest) -> AsyncGenerator[Event, None]:
        stream = self.engine.submit(job)
        steps: list[Step] = []
        try:
            async for step in stream:
                steps.append(step)
                yield Token(step.index, step.text, step.token, step.logprob, step.span, step.top)
                for read, values in zip(request.reads, step.readings, strict=False):
                    if step.span not in read.spans:
                        continue
                    at = read.calibrated(np.asarray(values, np.float32))
                    for layer, raw, value in zip(read.layers, values, at, strict=True):
                        yield Reading(step.index, read.direction, layer, float(value), float(raw))
                for k, amounts in enumerate(step.fired):
                    moved = float(np.nansum(amounts))
                    if moved:
                        yield Intervention(request.acts[k].direction, step.index, moved, request.acts[k].kind)
            yield Done(_reply(await stream.result(), steps, request))
        finally:
            stream.cancel()

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
        """Many replies, entered together in this order, so that a run repeats to the byte."""
        streams = self.engine.submit_all(self._jobs(requests))
        out: list[Reply] = []
        try:
            for request, stream in zip(requests, streams, strict=True):
                steps = [step async for step in stream]
                out.append(_reply(await stream.result(), steps, request))
        finally:
            for stream in streams[len(out) :]:
                stream.cancel()
        return out

    def _text_tokens(self, text: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        ids, places = offsets(self.tokenizer, text)
        # a token's text runs to the next one's start, so that pieces joined are the text even where offsets have gaps
        starts = [a for a, _ in places]
        bounds = [0, *starts[1:], len(text)] if starts else []
        return ids, tuple(text[a:b] for a, b in pairwise(bounds))

    def pieces(self, text: str) -> tuple[str, ...]:
        """The text of each token of a reply; joined they are ``text``."""
        return self._text_tokens(text)[1]

    def token_text(self, token: int) -> str:
        """The text of one token by its id; half of a character is U+FFFD."""
        return str(self.tokenizer.decode([token]))

    async def _score(self, jobs: Sequence[ScoreJob]) -> list[list[Score]]:
        if hasattr(self.engine, "score_many"):
            return await cast(_Scoring, self.engine).score_many(jobs)
        return [
            await self.engine.score(
                j.prompt, j.continuations, spans=j.spans, acts=j.acts, reads=j.reads, means=j.means, tenant=j.tenant
            )
            for j in jobs
        ]

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[F32]]:
        """For each prompt, log-probabilities of the tokens of each text as the next reply; an empty text gives none."""
        return await self.score_kept(prompts, replies, acts=acts)

    async def score_kept(
        self,
        prompts: Sequence[Conversation],
        replies: Sequence[Sequence[str]],
        *,
        acts: Sequence[Act] = (),
        keep: Sequence[str] = (),
    ) -> list[list[F32]]:
        """The same, going on from what replies under the same name have kept of a prompt.

        Args:
            keep: one name a prompt, as in :class:`~homing.models.base.ReplyRequest`; empty: nothing is kept.
        """
        if len(prompts) != len(replies):
            raise InputError(f"{len(prompts)} prompts and {len(replies)} lists of replies; give one list a prompt")
        jobs: list[ScoreJob] = []
        names = keep or [""] * len(prompts)
        for prompt, texts, name in zip(prompts, replies, names, strict=True):
            ids = tuple(self._text_tokens(t)[0] for t in texts)
            tokens = self.encode(prompt).tokens
            jobs.append(ScoreJob(tokens, tuple(i for i in ids if i), acts=tuple(acts), tenant=name))
        scored = await self._score([j for j in jobs if j.continuations])
        results = iter(scored)
        out: list[list[F32]] = []
        for job, texts in zip(jobs, replies, strict=True):
            found = iter(next(results) if job.continuations else [])
            out.append([next(found).logprobs if t else np.zeros(0, np.float32) for t in texts])
        return out

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Probabilities of each option as the whole next reply, by total log-probability; the end token not counted."""
        scores = (await self.score_replies([conversation], [list(options)], acts=acts))[0]
        return Choice.of(options, [float(s.astype(np.float64).sum()) for s in scores])

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """Read the assistant turns of a transcript without generating.

        One declared pass for all turns, since the model is causal. Longer than the context: whole messages are dropped
        from the start, the system message kept, and a warning says how many. Means need a pass of their own a turn.

        Raises:
            TooLong: the last exchange alone does not fit.
        """
        messages = conversation.messages
        last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=None)
        if last is None:
            return []
        body = Conversation(messages[: last + 1])
        encoded, dropped = self._window(body)
        job = ScoreJob((), (encoded.tokens,), (encoded.spans,), tuple(acts), tuple(reads), logprobs=True)
        whole = (await self._score([job]))[0][0]
        _, places = offsets(self.tokenizer, encoded.text)
        found = encoded.replies
        mean_scores: list[Score] = []
        if means:
            jobs = [
                ScoreJob(
                    encoded.tokens[: r.start], (encoded.tokens[r.start : r.stop],), acts=tuple(acts), means=tuple(means),
                    logprobs=False,
                )
                for r in found if r.stop > r.start
            ]  # fmt: skip
            mean_scores = [s[0] for s in await self._score(jobs)]
        head = 1 if body.system is not None else 0
        turn_of = {i: t for t, i in enumerate(i for i, m in enumerate(messages) if m.role == "assistant")}
        out: list[TurnRead] = []
        with_means = iter(mean_scores)
        for r in found:
            message = r.message if r.message < head else r.message + dropped
            rows = slice(r.start, r.stop)
            out.append(
                TurnRead(
                    message=message,
                    turn=turn_of[message],
                    tokens=r.stop - r.start,
                    pieces=tuple(encoded.text[a:b] for a, b in places[rows]),
                    readings=tuple(x[rows] for x in whole.readings),
                    means=next(with_means).means if means and r.stop > r.start else (),
                    logprobs=whole.logprobs[rows],
                )
            )
        return out

    def _window(self, body: Conversation) -> tuple[Encoded, int]:
        """The longest tail of whole messages that fits, the system message kept, and how many messages were dropped."""
        encoded = self.encode(body, add_generation_prompt=False)
        if len(encoded.tokens) <= self.info.context:
            return encoded, 0
        head = 1 if body.system is not None else 0
        users = [i for i, m in enumerate(body.messages) if m.role == "user" and i > head]
        low, high, best = 0, len(users), None
        while low < high:  # later starts are shorter: find the first that fits
            mid = (low + high) // 2
            tried = self.encode(
                Conversation(body.messages[:head] + body.messages[users[mid] :]), add_generation_prompt=False
            )
            if len(tried.tokens) <= self.info.context:
                best, high = (tried, users[mid] - head), mid
            else:
                low = mid + 1
        if best is None:
            raise TooLong(
                f"the last exchange of the conversation does not fit in the context of {self.info.context} tokens;"
                " shorten it"
            )
        _LOG.warning(
            "the conversation has %d tokens and the context holds %d: the first %d messages are left out of the reading",
            len(encoded.tokens), self.info.context, best[1],
        )  # fmt: skip
        return best

    async def close(self) -> None:
        """Stop the engine and leave the model as it was."""
        await self.engine.close()


def _reply(result: Result, steps: Sequence[Step], request: ReplyRequest) -> Reply:
    spans: tuple[SpanKind, ...] = tuple(s.span for s in steps)
    thinking = "".join(s.text for s in steps if s.span == "thinking") if "thinking" in spans else None
    text = result.text if thinking is None else "".join(s.text for s in steps if s.span == "reply")
    n = len(steps)

    def table(rows: Sequence[tuple[tuple[float, ...], ...]], k: int, width: int) -> F32:
        return np.array([r[k] for r in rows], np.float32).reshape(n, width)

    return Reply(
        text=text,
        tokens=result.tokens,
        finish=result.finish,
        prompt_tokens=result.prompt_tokens,
        new_tokens=len(result.tokens),
        thinking=thinking,
        readings=tuple(table([s.readings for s in steps], k, len(r.layers)) for k, r in enumerate(request.reads)),
        spans=spans,
        fired=tuple(table([s.fired for s in steps], k, len(a.layers)) for k, a in enumerate(request.acts)),
        means=result.means,
        seconds=result.seconds,
    )
