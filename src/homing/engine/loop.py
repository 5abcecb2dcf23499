"""The engine thread: admits rows, steps the batch, slips scoring in between, sends what happened to the event loops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol

from homing.engine.base import Act, Finish, Result, Score, Step
from homing.engine.rows import Row
from homing.engine.score import ScoreJob
from homing.errors import Busy, EngineError

__all__ = ["Batch", "Left", "Loop"]

Left = tuple[Row, list[Step], Finish | None]
"""A row, the steps that leave now, and why it ended (None: it goes on)."""


class Batch(Protocol):
    """The running rows of one engine; only the engine thread touches them."""

    @property
    def rows(self) -> Sequence[Row]: ...

    def fits(self, rows: Sequence[Row], new: Row) -> bool:
        """Whether ``new`` may join together with ``rows``."""
        ...

    def join(self, new: list[Row]) -> list[Left]:
        """Run their prompts and draw their first tokens."""
        ...

    def step(self) -> list[Left]:
        """Feed every row's pending token, read, draw the next ones."""
        ...

    def update(self, row: Row) -> None:
        """Put a row's new acts in force."""
        ...

    def drop(self, row: Row) -> None:
        """Take a row out."""
        ...

    def reset(self) -> None:
        """Empty the batch and its memory."""
        ...

    def rest(self) -> None:
        """Leave the model as it was, until the next pass."""
        ...

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[list[Score]] | None]:
        """Score in slices; None after each, at last the scores."""
        ...

    def running(self) -> AbstractContextManager[Any]:
        """What the engine thread runs in."""
        ...

    def explained(self, error: BaseException) -> BaseException:
        """A failure of what lies beneath in our words, where it is one that the user can mend; else as it is."""
        ...


Event = tuple[Any, list[Step], Result | None, BaseException | None]


class Loop:
    """One thread that owns the model while the engine is open.

    Args:
        batch: the running batch. queue: most rows that may wait. on_idle: called when nothing is left to do.
    """

    def __init__(self, batch: Batch, *, queue: int) -> None:
        self.batch, self.queue = batch, queue
        # protects the three queues and the closing flag, which other threads write; rows belong to the thread
        self._lock = threading.Condition()
        self._waiting: deque[Row] = deque()
        self._scores: deque[tuple[Iterator[list[list[Score]] | None], Future[list[list[Score]]]]] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._closing = False
        self._events: list[Event] = []
        self._thread = threading.Thread(target=self._run, name="homing-engine", daemon=True)
        self._thread.start()

    def submit(self, rows: Sequence[Row]) -> None:
        """Queue rows together, in order.

        Raises:
            Busy: too many would wait. EngineError: the engine is closed.
        """
        with self._lock:
            self._open()
            if len(self._waiting) + len(rows) > self.queue:
                raise Busy(
                    f"{len(self._waiting)} rows wait already and at most {self.queue} may; wait before {len(rows)} more"
                )
            self._waiting.extend(rows)
            self._lock.notify()

    def score(self, jobs: Sequence[ScoreJob]) -> Future[list[list[Score]]]:
        """Queue scoring; its batches alternate with steps of the running rows."""
        future: Future[list[list[Score]]] = Future()
        with self._lock:
            self._open()
            self._scores.append((self.batch.score(jobs), future))
            self._lock.notify()
        return future

    def call(self, f: Callable[[], None]) -> None:
        """Run something in the engine thread at the next step boundary."""
        with self._lock:
            self._calls.append(f)
            self._lock.notify()

    def cancel(self, row: Row) -> None:
        """Drop a row at the next step boundary."""
        row.cancelled = True
        with self._lock:
            self._lock.notify()

    def update(self, row: Row, acts: tuple[Act, ...]) -> None:
        """Replace a row's acts at the next step boundary."""
        row.new_acts = acts

    def close(self) -> None:
        """Stop: running rows end as cancelled, and nothing acts on the model any more."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _open(self) -> None:
        if self._closing:
            raise EngineError("the engine is closed; open the model again")

    def _run(self) -> None:
        with self.batch.running():
            while True:
                with self._lock:
                    while not (self._waiting or self._scores or self._calls or self._closing or self.batch.rows):
                        self._lock.wait()
                    closing = self._closing
                    calls = list(self._calls)
                    self._calls.clear()
                for f in calls:
                    f()
                if closing:
                    self._stop(EngineError("the engine was closed before this was done"))
                    return
                try:
                    self._tick()
                except BaseException as e:
                    self._fail(e)
                self._send()

    def _tick(self) -> None:
        batch = self.batch
        with self._lock:
            waiting = list(self._waiting)
        for row in [r for r in (*batch.rows, *waiting) if r.cancelled or r.overdue]:
            self._end(row, "cancelled" if row.cancelled else "deadline")
        for row in batch.rows:
            if row.new_acts is not None:
                batch.update(row)
        new: list[Row] = []
        with self._lock:
            while self._waiting and batch.fits(new, self._waiting[0]):
                new.append(self._waiting.popleft())
        if new:
            now = time.monotonic()
            for row in new:
                row.admitted = now
            self._joining = new
            self._report(batch.join(new))
            self._joining = []
        if self._scores:
            self._slice()
        if batch.rows:
            self._report(batch.step())
        if not batch.rows:
            batch.rest()

    _joining: list[Row] = []  # noqa: RUF012 - replaced, never changed

    def _slice(self) -> None:
        work, future = self._scores[0]
        if not future.cancelled():
            try:
                got = next(work)
            except BaseException as e:
                self.batch.rest()
                self._scores.popleft()
                future.set_exception(self.batch.explained(e))
                return
            if got is None:
                return
            if future.set_running_or_notify_cancel():
                future.set_result(got)
        self._scores.popleft()

    def _end(self, row: Row, why: Finish) -> None:
        if row in self.batch.rows:
            self.batch.drop(row)
        else:
            with self._lock:
                self._waiting.remove(row)
        steps = row.finish(why)
        self._events.append((row.stream, steps, row.result(why), None))

    def _report(self, left: list[Left]) -> None:
        for row, steps, why in left:
            if why is not None:
                self._events.append((row.stream, steps, row.result(why), None))
            elif steps:
                self._events.append((row.stream, steps, None, None))

    def _fail(self, error: BaseException) -> None:
        """A pass failed: every row in it gets the error, the batch is emptied, nothing acts any more."""
        batch = self.batch
        batch.rest()
        rows = list(dict.fromkeys((*batch.rows, *self._joining)))
        self._joining = []
        batch.reset()
        said = batch.explained(error)
        for row in rows:
            self._events.append((row.stream, [], None, said))

    def _stop(self, error: EngineError) -> None:
        self.batch.rest()
        with self._lock:
            waiting = list(self._waiting)
        for row in (*list(self.batch.rows), *waiting):
            self._end(row, "cancelled")
        while self._scores:
            _, future = self._scores.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        self.batch.rest()
        self.batch.reset()
        self._send()

    def _send(self) -> None:
        """One wake-up a loop a step."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Event]] = {}
        for event in self._events:
            by_loop.setdefault(event[0].loop, []).append(event)
        self._events = []
        for loop, events in by_loop.items():
            try:
                loop.call_soon_threadsafe(_deliver, events)
            except RuntimeError:  # that loop was closed: nobody listens any more
                for stream, _, result, error in events:
                    if result is None and error is None:
                        stream.row.cancelled = True


def _deliver(events: list[Event]) -> None:
    for stream, steps, result, error in events:
        stream.deliver(steps, result, error)
