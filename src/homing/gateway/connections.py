"""How connections are served: by llhttp, and no longer than a client keeps saying what it wants."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, MutableMapping
from typing import Any, TypeVar, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from homing.gateway.access import App, Receive, Scope, Send
from homing.gateway.problems import WireError

__all__ = ["DRAIN_SECONDS", "configured", "run"]

T = TypeVar("T")
DRAIN_SECONDS = 30
"""Longest that replies on their way may go on once the service is told to stop."""
HEAD_SECONDS = 30.0
"""Longest that a client may take over the head of a request, from its connection or from the last answer on."""
HEAD_BYTES = 64 * 1024
"""Bytes that may come of a head, or of what stands between the pieces of a body, before it is whole."""


class Patience(HttpToolsProtocol):
    """Lets go of a client that connects and does not say what it wants, says it a byte at a time, or without an end.

    llhttp refuses what could be read in two ways, but bounds neither the length of a head nor its time.
    """

    _waits: asyncio.TimerHandle | None = None
    _unfinished = 0
    _headed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The head of the first request is waited for."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """A part of a head, or of what follows it."""
        self._unfinished += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError as e:
            said = "its target is no path" if isinstance(e, httptools.HttpParserCallbackError) else str(e)
            self.send_400_response(f"this is no request that can be read: {said}")
        if self._unfinished > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"more than {HEAD_BYTES} bytes came of a head that is not whole; shorten it")
        self._look()

    def _feed(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                self.parser.feed_data(left)
                return
            except httptools.HttpParserUpgrade as e:
                # llhttp takes what follows for another protocol; none is spoken here, so it is the body that the head tells of
                left = left[e.args[0] :]
                kept = [n + b": " + v + b"\r\n" for n, v in self.headers if n != b"upgrade"]
                version = self.parser.get_http_version().encode()
                line = self.parser.get_method() + b" " + self.url + b" HTTP/" + version + b"\r\n"
                self.parser = httptools.HttpRequestParser(self)
                self.parser.feed_data(line + b"".join(kept) + b"\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        super().connection_lost(exc)
        self._rest()

    def send_400_response(self, msg: str) -> None:
        """Let go, and where no answer to anything else is owed or under way, tell why as every other error is told."""
        if not self._answers() or (self.cycle.more_body and not self.cycle.response_started):
            body = json.dumps(WireError(400, msg).body).encode()
            head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._headed = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes behind a body changes nothing that was decided by the head, and is dropped."""
        if not self._headed:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._headed, self._unfinished = True, 0
        if not self._fed_again():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body is there."""
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._unfinished = 0
        if not self._fed_again():
            super().on_message_complete()

    def _fed_again(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(
            cycle, cast(Any, _unchunked(app, cycle)) if cycle.scope["http_version"] == "1.0" else app
        )

    def _look(self) -> None:
        """Wait for so long while no request is being answered; begun once: more bytes of the same head buy no more time."""
        if self._answers():
            self._rest()
        elif self._waits is None and not self.transport.is_closing():
            self._waits = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _answers(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _rest(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None


def _unchunked(app: App, cycle: RequestResponseCycle) -> App:
    """For HTTP/1.0, which knows no chunks: what has no length ends with its connection (RFC 9112, 6.1 and 6.3)."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        sized = True

        async def unchunked(message: MutableMapping[str, Any]) -> None:
            nonlocal sized
            if message["type"] == "http.response.start":
                sized = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                cycle.chunked_encoding = None if sized else False
            elif not sized:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, unchunked)

    return served


def configured(app: Any, *, drain: int = DRAIN_SECONDS) -> uvicorn.Config:
    """What ``homing serve`` serves an application with.

    Args:
        drain: seconds that replies on their way have when the service is told to stop.
    """
    return uvicorn.Config(
        app, http=Patience, log_config=None, access_log=False, server_header=False, date_header=False, lifespan="on",
        timeout_graceful_shutdown=drain, timeout_keep_alive=30, ws="none",
    )  # fmt: skip


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end on the loop that a service runs on: uvloop, whose sockets and threads wake each other sooner."""
    if sys.platform == "win32":  # it has no uvloop
        return asyncio.run(main)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
