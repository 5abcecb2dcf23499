"""Completions of plain text, as of old: no chat template, no conversation, so nothing is kept of them and nothing alarms."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol, cast

from homing.engine.base import Act, Sampling
from homing.gateway.chat import FINISH, side_by_side, text_of, usage_of
from homing.gateway.problems import WireError, problem_of
from homing.gateway.sse import DONE, data
from homing.gateway.turns import Keeper
from homing.gateway.wire import CompletionRequest
from homing.hold.cap import CapStabiliser
from homing.models.base import Done, Event, Reply, Token

__all__ = ["Plain"]

DEFAULT_TOKENS = 16
"""What the wire gives where nothing is said."""


class _Continues(Protocol):
    def continued(self, text: str, *, sampling: Sampling, acts: tuple[Act, ...]) -> AsyncGenerator[Event, None]: ...


class Plain:
    """One request.

    Raises:
        WireError: the model cannot go on from plain text, or a hold other than the cap is asked for.
    """

    def __init__(self, keeper: Keeper, asked: CompletionRequest) -> None:
        self.keeper, self.asked = keeper, asked
        if not hasattr(keeper.model, "continued"):
            raise WireError(400, "prompt: this model takes messages alone; use /v1/chat/completions", param="prompt")
        self.acts = self._acts()
        self.id = f"cmpl-{secrets.token_hex(12)}"
        self.created = int(time.time())

    def _acts(self) -> tuple[Act, ...]:
        hold = self.asked.ours.hold
        if hold in (None, "none") or self.keeper.deployment.mode != "on" or self.asked.ours.shadow:
            return ()
        chain = self.keeper.built(hold or "none", "homing.hold")
        if len(chain) != 1 or not isinstance(chain[0], CapStabiliser):
            raise WireError(
                400, "homing.hold: plain text is held by cap or none; others need messages", param="homing.hold"
            )
        return chain[0].cap.register(self.keeper.model)

    def _rows(self) -> list[tuple[str, Sampling]]:
        a, most = self.asked, self.keeper.deployment.max_new_tokens
        texts = [p for p in a.prompts for _ in range(a.n or 1)]
        tokens = min(a.max_tokens or DEFAULT_TOKENS, most)
        return list(zip(texts, a.samplings(len(texts), tokens, a.logprobs or 0), strict=True))

    def _events(self, text: str, sampling: Sampling) -> AsyncGenerator[Event, None]:
        return cast(_Continues, self.keeper.model).continued(text, sampling=sampling, acts=self.acts)

    async def _one(self, text: str, sampling: Sampling) -> tuple[Reply, list[Token]]:
        tokens: list[Token] = []
        async with aclosing(self._events(text, sampling)) as events:
            async for event in events:
                if isinstance(event, Token):
                    tokens.append(event)
                elif isinstance(event, Done):
                    return event.reply, tokens
        raise WireError(502, "the model ended without a reply", code="model_error")

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.asked.model}

    async def whole(self) -> dict[str, Any]:
        """The whole answer."""
        made = await side_by_side([self._one(*row) for row in self._rows()])
        choices = [
            {
                "index": k,
                "text": reply.text,
                "logprobs": self._logprobs(tokens) if self.asked.logprobs is not None else None,
                "finish_reason": FINISH.get(reply.finish, "stop"),
            }
            for k, (reply, tokens) in enumerate(made)
        ]
        return {**self._head(), "choices": choices, "usage": usage_of([r for r, _ in made])}

    def _logprobs(self, tokens: list[Token]) -> dict[str, Any]:
        texts = [text_of(self.keeper, t.token) for t in tokens]
        starts = [sum(map(len, texts[:k])) for k in range(len(texts))]
        tops = [{text_of(self.keeper, i): p for i, p in t.top} for t in tokens]
        return {
            "tokens": texts, "token_logprobs": [t.logprob for t in tokens], "top_logprobs": tops, "text_offset": starts
        }  # fmt: skip

    async def start(self) -> AsyncGenerator[bytes, None]:
        """The stream, one prompt after the other; what is wrong before the first event is raised here."""
        events = self._all()
        try:
            first = await anext(events)
        except BaseException:
            await events.aclose()
            raise
        return self._stream(first, events)

    async def _all(self) -> AsyncGenerator[tuple[int, Event], None]:
        for k, (text, sampling) in enumerate(self._rows()):
            async with aclosing(self._events(text, sampling)) as events:
                async for event in events:
                    yield k, event

    async def _stream(
        self, first: tuple[int, Event], events: AsyncGenerator[tuple[int, Event], None]
    ) -> AsyncGenerator[bytes, None]:
        replies: list[Reply] = []
        at: tuple[int, Event] | None = first
        try:
            async with aclosing(events):
                while at is not None:
                    k, event = at
                    choice: dict[str, Any] = {"index": k, "text": "", "logprobs": None, "finish_reason": None}
                    if isinstance(event, Token):
                        logprobs = self._logprobs([event]) if self.asked.logprobs is not None else None
                        yield data({**self._head(), "choices": [{**choice, "text": event.text, "logprobs": logprobs}]})
                    elif isinstance(event, Done):
                        replies.append(event.reply)
                        finish = FINISH.get(event.reply.finish, "stop")
                        yield data({**self._head(), "choices": [{**choice, "finish_reason": finish}]})
                    at = await anext(events, None)
        except Exception as e:  # whatever it is, a stream must not end as if it were whole
            yield data(problem_of(e).body)
            yield DONE
            if problem_of(e).status == 500:
                raise
            return
        if self.asked.stream_options is not None and self.asked.stream_options.include_usage:
            yield data({**self._head(), "choices": [], "usage": usage_of(replies)})
        yield DONE
