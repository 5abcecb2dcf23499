"""Live events: readers are woken by what this process keeps, and look by themselves for what other replicas kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from homing.gateway.records import EventRecord
from homing.gateway.sse import COMMENT, event

__all__ = ["Live", "stream_of"]

LOOK_SECONDS = 1.0
COMMENT_EVERY = 15
BATCH = 256


class _Events(Protocol):
    async def events(self, tenant: str, *, after: int, limit: int) -> list[EventRecord]: ...


class Live:
    """Wakes readers when something was kept.

    Attributes:
        readers: how many there are.
    """

    def __init__(self) -> None:
        self._kept = asyncio.Event()
        self.readers = 0
        self.closed = False

    def notify(self) -> None:
        """Something was kept."""
        kept, self._kept = self._kept, asyncio.Event()
        kept.set()

    def close(self) -> None:
        """The service stops: readers end."""
        self.closed = True
        self.notify()

    async def wait(self, seconds: float) -> None:
        """Until something is kept here, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._kept.wait()
        except TimeoutError:
            return


async def stream_of(store: _Events, live: Live, tenant: str, after: int) -> AsyncGenerator[bytes, None]:
    """Events of a tenant after one of them, for as long as they are read."""
    yield COMMENT
    quiet = 0
    while not live.closed:
        found = await store.events(tenant, after=after, limit=BATCH)
        for e in found:
            after = e.id
            yield event(e.kind, {"conversation": e.conversation, "created": e.created, **e.data}, id=e.id)
        if len(found) == BATCH:
            continue
        quiet = 0 if found else quiet + 1
        if quiet >= COMMENT_EVERY:
            quiet = 0
            yield COMMENT
        await live.wait(LOOK_SECONDS)
