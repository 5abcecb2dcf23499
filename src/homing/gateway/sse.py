"""Server-sent events: what is sent of a chat completion, and a response that ends its work when the reader has gone.

A chat stream carries nothing but ``data:`` lines and comments: clients of the OpenAI wire take a named event for a broken chunk.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, TypeVar, cast

from homing.gateway.access import Receive, Scope, Send

__all__ = ["COMMENT", "DONE", "EventStream", "Gone", "data", "event", "until_gone"]

T = TypeVar("T")

DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"
QUIET_SECONDS = 10.0
"""After so long without a word a comment is sent, so that nothing between closes the connection."""


class Gone(Exception):
    """The client has gone before its answer was there."""


def data(body: Any) -> bytes:
    """One chunk."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def event(kind: str, body: Any, *, id: int) -> bytes:
    """One named event, with the id after which a reader goes on."""
    return f"id: {id}\nevent: {kind}\n".encode() + data(body)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def until_gone(receive: Receive, work: Awaitable[T]) -> T:
    """The result of some work, which is cancelled when the client goes.

    Raises:
        Gone: it went.
    """
    asking, gone = cast("asyncio.Task[Any]", asyncio.current_task()), False

    async def watch() -> None:
        nonlocal gone
        await _gone(receive)
        gone = True
        asking.cancel()

    # the work stays in the task that asks for it: a task of its own, and its end, cost every request two rounds of the loop
    watching = asyncio.ensure_future(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if not gone or asking.cancelling() > 1:  # the service itself stops
            raise
        raise Gone from None
    finally:
        watching.cancel()
        if gone:
            asking.uncancel()


class EventStream:
    """A response of events. Sending waits for the reader, and so does what makes the events. ``on_end`` is called at its end.

    Args:
        body: bytes as they come; closed when the client goes. ``quiet``: seconds without a word until a comment is sent.
    """

    def __init__(self, body: AsyncGenerator[bytes, None], *, quiet: float = QUIET_SECONDS) -> None:
        self.body, self.quiet = body, quiet
        self.on_end: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(Gone):
                await until_gone(receive, self._send(send))
        finally:
            self.on_end()

    async def _send(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        clock = asyncio.get_running_loop().time
        spoke = clock()

        async def speaks() -> None:
            nonlocal spoke
            while True:
                left = spoke + self.quiet - clock()
                if left > 0:
                    await asyncio.sleep(left)
                    continue
                spoke = clock()
                await send({"type": "http.response.body", "body": COMMENT, "more_body": True})

        async with aclosing(self.body) as body:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            # beside the stream and not around each of its events, of which there are as many as tokens
            speaking = asyncio.create_task(speaks())
            try:
                async for chunk in body:
                    spoke = clock()
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                speaking.cancel()
        await send({"type": "http.response.body", "body": b""})
