"""Keeps a busy neighbour from making every step a hundred times slower.

The library's threads spin at some nine hundred barriers a step. Where another process takes one of their cores, each
barrier waits for the scheduler; one thread alone has nothing to wait for.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from statistics import median

from homing.engine.llamacpp.context import Context

__all__ = ["ThreadGuard"]

_LOG = logging.getLogger("homing.engine")


class ThreadGuard:
    """Drops to one thread when steps of one size take over ten times their median, and tries again later.

    Args:
        threads: wanted. ``factor``: over the median. ``strikes``: so many such steps in a row. ``again``: steps on one thread
            before all are tried again, doubled each time that this was too early.
    """

    def __init__(self, threads: int, *, factor: float = 10.0, strikes: int = 3, again: int = 500) -> None:
        self.threads, self.factor, self.strikes, self.again = threads, factor, strikes, again
        self.dropped = 0
        self._times: dict[int, deque[float]] = {}
        self._slow = 0
        self._alone = 0

    @contextmanager
    def step(self, context: Context, rows: int) -> Generator[None]:
        """Time one decode of so many rows."""
        start = time.perf_counter()
        yield
        self.saw(context, rows, time.perf_counter() - start)

    def saw(self, context: Context, rows: int, seconds: float) -> None:
        """Take in one step."""
        if self.threads < 2:
            return
        if context.threads == 1:
            self._alone += 1
            if self._alone >= self.again:
                context.set_threads(self.threads)
                self._alone, self._slow = 0, 0
                self.again *= 2
            return
        times = self._times.setdefault(rows, deque(maxlen=64))
        if len(times) >= 8 and seconds > self.factor * median(times):
            self._slow += 1
            if self._slow >= self.strikes:
                context.set_threads(1)
                self.dropped += 1
                self._slow = 0
                _LOG.warning(
                    "a step of %d rows took %.0f ms, %.0f times the usual: something else keeps the processor busy; going on"
                    " with one thread", rows, 1000 * seconds, seconds / median(times),
                )  # fmt: skip
            return
        self._slow = 0
        times.append(seconds)
