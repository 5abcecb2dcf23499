"""Keeps a busy neighbour from making every step a hundred times slower, whether it comes or was there before.

The library's threads spin at some nine hundred barriers a step. Where another process takes one of their cores, each
barrier waits for the scheduler; one thread alone has nothing to wait for.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from statistics import median

from homing.engine.llamacpp.context import Context

__all__ = ["ThreadGuard"]

_LOG = logging.getLogger("homing.engine")


class ThreadGuard:
    """Drops to one thread when steps of one size take over ten times their median, and tries again later.

    A neighbour that was there from the start is in the median too: :meth:`settle` looks for it once, before the first step.

    Args:
        threads: wanted. ``factor``: over the median, or for :meth:`settle` over one thread. ``strikes``: so many such steps in
            a row. ``again``: steps on one thread before all are tried again, doubled each time that this was too early.
    """

    def __init__(self, threads: int, *, factor: float = 10.0, strikes: int = 3, again: int = 500) -> None:
        self.threads, self.factor, self.strikes, self.again = threads, factor, strikes, again
        self.dropped = 0
        self._times: dict[int, deque[float]] = {}
        self._slow = 0
        self._alone = 0

    def settle(self, context: Context, once: Callable[[], object]) -> None:
        """Begin with one thread where all of them are far slower than one; ``once`` runs the same small decode each time."""
        if self.threads < 2:
            return

        def seconds(threads: int) -> float:
            context.set_threads(threads)
            once()  # threads that were not used yet are made
            start = time.perf_counter()
            once()
            return time.perf_counter() - start

        alone = seconds(1)
        # a neighbour does not go away between two tries; a moment of the system does
        together = min(seconds(self.threads) for _ in range(2))
        if together > self.factor * alone:
            context.set_threads(1)
            self.dropped += 1
            _LOG.warning(
                "a small step takes %.0f ms with %d threads and %.0f ms with one: something else keeps the processor busy; "
                "going on with one thread", 1000 * together, self.threads, 1000 * alone,
            )  # fmt: skip

    @contextmanager
    def step(self, context: Context, rows: int) -> Generator[None]:
        """Time one decode of so many running rows."""
        start = time.perf_counter()
        yield
        self.saw(context, rows, time.perf_counter() - start)

    @contextmanager
    def prompt(self, context: Context, tokens: int) -> Generator[None]:
        """Time one decode of so many prompt tokens; those of about one size are compared."""
        start = time.perf_counter()
        yield
        self.saw(context, -tokens.bit_length(), time.perf_counter() - start)

    def saw(self, context: Context, rows: int, seconds: float) -> None:
        """Take in one decode; ``rows`` names those that are alike."""
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
                    "a step took %.0f ms, %.0f times the usual: something else keeps the processor busy; going on with one"
                    " thread", 1000 * seconds, seconds / median(times),
                )  # fmt: skip
            return
        self._slow = 0
        times.append(seconds)
