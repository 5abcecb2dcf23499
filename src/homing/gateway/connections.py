"""How connections are served: by h11 with its bounds, and no longer than a client keeps saying what it wants."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["DRAIN_SECONDS", "configured", "run"]

T = TypeVar("T")
DRAIN_SECONDS = 30
"""Longest that replies on their way may go on once the service is told to stop."""
HEADER_SECONDS = 30.0
"""Longest that a client may take over the head of a request, from its connection or from the head's first byte on."""


class Patience(H11Protocol):
    """Lets go of a client that connects and does not say what it wants, or says it a byte at a time."""

    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The head of the first request is waited for."""
        super().connection_made(transport)
        self._look(waiting=True)

    def data_received(self, data: bytes) -> None:
        """A part of a head, or of what follows it."""
        super().data_received(data)
        # between requests nothing is owed: that is what uvicorn's own time for an idle connection is for
        self._look(waiting=self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self._look(waiting=False)
        super().connection_lost(exc)

    def _look(self, *, waiting: bool) -> None:
        if not waiting and self._waits is not None:
            self._waits.cancel()
            self._waits = None
        elif waiting and self._waits is None:  # begun once: more bytes of the same head buy no more time
            self._waits = self.loop.call_later(HEADER_SECONDS, self.transport.close)


def configured(app: Any, *, drain: int = DRAIN_SECONDS) -> uvicorn.Config:
    """What ``homing serve`` serves an application with.

    Args:
        drain: seconds that replies on their way have when the service is told to stop.
    """
    return uvicorn.Config(
        app, http=Patience, log_config=None, access_log=False, server_header=False, date_header=False, lifespan="on",
        timeout_graceful_shutdown=drain, timeout_keep_alive=30, h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end on the loop that a service runs on: uvloop, whose sockets and threads wake each other sooner."""
    if sys.platform == "win32":  # it has no uvloop
        return asyncio.run(main)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
