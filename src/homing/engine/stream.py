"""The caller's end of one job."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from homing.engine.base import Act, Result, Step

__all__ = ["RowStream"]


class RowStream:
    """Steps of one job in order. Lives in the event loop that submitted it.

    Args:
        loop: that loop. hidden: size of the residual stream.
        cancel: tells the engine to drop the row. update: tells it the new acts, raising Unsupported.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        hidden: int,
        cancel: Callable[[RowStream], None],
        update: Callable[[RowStream, tuple[Act, ...]], None],
    ) -> None:
        self.loop, self.hidden = loop, hidden
        self.row: Any = None
        self._cancel, self._update = cancel, update
        self._steps: deque[Step] = deque()
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()

    def deliver(self, steps: Sequence[Step], result: Result | None, error: BaseException | None) -> None:
        """Take in what the engine sends; runs in the loop."""
        self._steps.extend(steps)
        if result is not None or error is not None:
            self._result, self._error = result, error
            self._ended.set()
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[Step]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Step]:
        try:
            while True:
                while self._steps:
                    yield self._steps.popleft()
                if self._ended.is_set():
                    if self._error is not None:
                        raise self._error
                    return
                self._changed.clear()
                await self._changed.wait()
        finally:
            if not self._ended.is_set():
                self.cancel()

    def cancel(self) -> None:
        """Stop the row at the next step; what was generated stays in the result."""
        self._cancel(self)

    def update(self, acts: Sequence[Act]) -> None:
        """Replace the acts from the next token on."""
        self._update(self, tuple(acts))

    async def result(self) -> Result:
        """Wait for the end."""
        await self._ended.wait()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result
