"""Chat completions of a kept model: a request becomes turns, and their events become the objects of the OpenAI wire."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from homing.conversation import Conversation
from homing.gateway.asked import Asked, Report
from homing.gateway.problems import WireError, problem_of
from homing.gateway.sse import DONE, data
from homing.gateway.turns import Keeper
from homing.gateway.wire import ChatRequest
from homing.models.base import Done, Event, Reply, Token
from homing.models.lockstep import first_of

__all__ = ["FINISH", "Chat", "side_by_side", "text_of", "usage_of"]

T = TypeVar("T")
FINISH = {"stop": "stop", "stop_string": "stop", "length": "length"}
WAITING = 64
"""Events of several choices that wait for a slow reader, together."""


@dataclass(eq=False)
class Chat:
    """One request on its way.

    Args:
        keeper: of the model. ``asked``: the request; ``conversation``: its messages. ``tenant``, ``request_id``: whose it is.
    """

    keeper: Keeper
    asked: ChatRequest
    conversation: Conversation
    tenant: str
    request_id: str
    header: str | None = None
    watch: Callable[[Event | Report, float], None] = lambda event, seconds: None
    id: str = field(init=False)
    created: int = field(init=False)

    def __post_init__(self) -> None:
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.created = int(time.time())

    def turns(self) -> list[Asked]:
        """One a choice; the first alone is a turn of the conversation."""
        ours = self.asked.ours
        most = self.keeper.deployment.max_new_tokens
        tokens, tops = min(self.asked.most or most, most), self.asked.top_logprobs or 0
        out: list[Asked] = []
        for k, sampling in enumerate(self.asked.samplings(self.asked.n or 1, tokens, tops)):
            out.append(
                Asked(
                    self.tenant, self.request_id, self.asked.model, self.conversation, sampling, ours.hold, ours.shadow,
                    ours.conversation_id or self.header, keep=k == 0,
                )
            )  # fmt: skip
        return out

    async def whole(self) -> dict[str, Any]:
        """The whole answer."""
        made = await side_by_side([self._one(a) for a in self.turns()])
        choices = [
            {
                "index": k,
                "message": self._message(reply),
                "logprobs": {"content": [self._logprob(t) for t in tokens], "refusal": None}
                if self.asked.logprobs
                else None,
                "finish_reason": FINISH.get(reply.finish, "stop"),
            }
            for k, (reply, tokens, _) in enumerate(made)
        ]
        body: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.asked.model,
            "choices": choices,
            "usage": usage_of([reply for reply, _, _ in made]),
        }
        if self.asked.ours.report:
            body["homing"] = made[0][2].to_json()
        return body

    async def _one(self, asked: Asked) -> tuple[Reply, list[Token], Report]:
        reply, tokens, report = None, list[Token](), None
        async with aclosing(self._turn(asked)) as events:
            async for event in events:
                if isinstance(event, Token):
                    tokens.append(event)
                elif isinstance(event, Done):
                    reply = event.reply
                elif isinstance(event, Report):
                    report = event
        if reply is None or report is None:
            raise WireError(502, "the model ended without a reply", code="model_error")
        return reply, tokens, report

    def _message(self, reply: Reply) -> dict[str, Any]:
        out: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if reply.thinking is not None:
            out["reasoning_content"] = reply.thinking
        return out

    def _logprob(self, token: Token) -> dict[str, Any]:
        text = self._text(token.token)
        tops = [{"token": (t := self._text(i)), "logprob": p, "bytes": list(t.encode())} for i, p in token.top]
        return {"token": text, "logprob": token.logprob, "bytes": list(text.encode()), "top_logprobs": tops}

    def _text(self, token: int) -> str:
        return text_of(self.keeper, token)

    async def start(self) -> AsyncGenerator[bytes, None]:
        """The stream, begun: whatever is wrong before its first event is raised here and not sent as one.

        Raises:
            WireError, HomingError: the request cannot be met.
        """
        events = self._merged() if (self.asked.n or 1) > 1 else self._single()
        try:
            first = await anext(events)
        except BaseException:
            await events.aclose()
            raise
        return self._stream(first, events)

    async def _turn(self, asked: Asked) -> AsyncGenerator[Event | Report, None]:
        async with aclosing(self.keeper.turn(asked)) as events:
            async for event in events:
                self.watch(event, time.perf_counter() - asked.received)
                yield event

    async def _single(self) -> AsyncGenerator[tuple[int, Event | Report], None]:
        async with aclosing(self._turn(self.turns()[0])) as events:
            async for event in events:
                yield 0, event

    async def _merged(self) -> AsyncGenerator[tuple[int, Event | Report], None]:
        """Events of several choices as they come."""
        queue: asyncio.Queue[tuple[int, Event | Report | BaseException | None]] = asyncio.Queue(WAITING)

        async def play(k: int, asked: Asked) -> None:
            try:
                async with aclosing(self._turn(asked)) as events:
                    async for event in events:
                        await queue.put((k, event))
                await queue.put((k, None))
            except Exception as e:
                await queue.put((k, e))

        tasks = [asyncio.create_task(play(k, a)) for k, a in enumerate(self.turns())]
        left = len(tasks)
        try:
            while left:
                k, event = await queue.get()
                if event is None:
                    left -= 1
                elif isinstance(event, BaseException):
                    raise event
                else:
                    yield k, event
        finally:
            for t in tasks:
                t.cancel()
            for t in tasks:
                with suppress(asyncio.CancelledError):
                    await t

    async def _stream(
        self, first: tuple[int, Event | Report], events: AsyncGenerator[tuple[int, Event | Report], None]
    ) -> AsyncGenerator[bytes, None]:
        """Bytes: a chunk a token, the finish, usage where asked for, [DONE]; or an error, and [DONE]."""
        replies: dict[int, Reply] = {}
        report: Report | None = None
        begun: set[int] = set()
        head = json.dumps(
            {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.asked.model},
            separators=(",", ":"),
        )[:-1].encode()
        try:
            async with aclosing(events):
                at: tuple[int, Event | Report] | None = first
                while at is not None:
                    k, event = at
                    if k not in begun:
                        begun.add(k)
                        yield self._chunk(head, k, {"role": "assistant", "content": ""})
                    if isinstance(event, Token) and (event.text or self.asked.logprobs):
                        yield self._chunk(head, k, _delta(event), token=event)
                    elif isinstance(event, Done):
                        replies[k] = event.reply
                    elif isinstance(event, Report):
                        report = event if k == 0 else report
                        yield self._chunk(head, k, {}, finish=FINISH.get(replies[k].finish, "stop"))
                    at = await anext(events, None)
        except Exception as e:  # whatever it is, a stream must not end as if it were whole
            yield data(problem_of(e).body)
            yield DONE
            if not isinstance(e, WireError) and problem_of(e).status == 500:
                raise
            return
        wants = self.asked.stream_options is not None and self.asked.stream_options.include_usage
        if wants or (self.asked.ours.report and report is not None):
            last: dict[str, Any] = {
                "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.asked.model,
                "choices": [], "usage": usage_of(list(replies.values())) if wants else None,
            }  # fmt: skip
            if self.asked.ours.report and report is not None:
                last["homing"] = report.to_json()
            yield data(last)
        yield DONE

    def _chunk(
        self, head: bytes, k: int, delta: dict[str, Any], *, finish: str | None = None, token: Token | None = None
    ) -> bytes:
        logprobs = (
            {"content": [self._logprob(token)], "refusal": None} if token is not None and self.asked.logprobs else None
        )
        choice = {"index": k, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        tail = json.dumps([choice], ensure_ascii=False, separators=(",", ":")).encode()
        return b"data: " + head + b',"choices":' + tail + b"}\n\n"


async def side_by_side(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What calls return that run together; the first failure ends the others and is raised itself."""
    if len(calls) == 1:
        return [await calls[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(c) for c in calls]
    except BaseExceptionGroup as group_of:
        raise first_of(group_of) from None
    return [t.result() for t in tasks]


def text_of(keeper: Keeper, token: int) -> str:
    """The text of one token; empty where the model cannot say."""
    name = getattr(keeper.model, "token_text", None)
    return str(name(token)) if name is not None else ""


def _delta(token: Token) -> dict[str, Any]:
    return {"reasoning_content" if token.span == "thinking" else "content": token.text}


def usage_of(replies: list[Reply]) -> dict[str, int]:
    """Tokens of the prompt, once, and of all choices."""
    prompt = replies[0].prompt_tokens if replies else 0
    new = sum(r.new_tokens for r in replies)
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
