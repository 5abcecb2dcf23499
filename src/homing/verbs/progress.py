"""Progress with the time that remains: a bar on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["LineProgress", "Progress", "RichProgress", "Silent", "make_progress", "remaining"]


class Progress(Protocol):
    """Something that is told how far a long job has come."""

    def start(self, total: int, unit: str, title: str) -> None:
        """Begin a job of ``total`` units; ends the one before."""
        ...

    def advance(self, n: int = 1) -> None:
        """``n`` more units are done."""
        ...

    def stage(self, title: str) -> None:
        """Say what is being done now."""
        ...

    def close(self) -> None:
        """Take the display down; safe to call twice."""
        ...


def remaining(done: int, total: int, seconds: float) -> str:
    """The time left at the pace so far, in words; empty before the first unit."""
    if done <= 0 or total <= 0:
        return ""
    left = max(0.0, seconds * (total - done) / done)
    if left < 90:
        return f"about {left:.0f} s left"
    return f"about {left / 60:.0f} min left"


class Silent:
    """Says nothing."""

    def start(self, total: int, unit: str, title: str) -> None: ...
    def advance(self, n: int = 1) -> None: ...
    def stage(self, title: str) -> None: ...
    def close(self) -> None: ...


FOUND_SECONDS = 0.2


class LineProgress:
    """Plain lines, at most one each ``every_seconds`` between first and last."""

    def __init__(
        self, stream: TextIO, *, every_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._every, self._clock = stream, every_seconds, clock
        self._total = self._done = 0
        self._unit = self._title = ""
        self._began = self._said = self._moved = clock()
        self._found = 0

    def _say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
        self._said = self._clock()

    def start(self, total: int, unit: str, title: str) -> None:
        """Begin a job and say so."""
        self._total, self._done, self._unit, self._title = total, 0, unit, title
        self._began = self._moved = self._clock()
        self._found = 0
        self._say(f"{title}: {total} {unit}")

    def advance(self, n: int = 1) -> None:
        """Count, and say it where it is time to or where all is done."""
        self._done += n
        now = self._clock()
        if now - self._moved < FOUND_SECONDS:  # read back from finished work: no measure of the pace
            self._found += n
        self._moved = now
        if self._done >= self._total or now - self._said >= self._every:
            left = remaining(self._done - self._found, self._total - self._found, now - self._began)
            self._say(f"{self._title}: {self._done} of {self._total} {self._unit}" + (f", {left}" if left else ""))

    def stage(self, title: str) -> None:
        """Say what is being done."""
        self._say(title)

    def close(self) -> None:
        """Nothing to take down."""


class RichProgress:
    """A bar with the time that remains."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar: Bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None

    def start(self, total: int, unit: str, title: str) -> None:
        """Begin a job with its own bar."""
        self._bar.start()
        self._task = self._bar.add_task(title, total=total, unit=unit)

    def advance(self, n: int = 1) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bar.advance(self._task, n)

    def stage(self, title: str) -> None:
        """One line above the bar."""
        self._bar.console.print(title, markup=False, highlight=False)

    def close(self) -> None:
        """Stop drawing."""
        self._bar.stop()


def make_progress(*, quiet: bool = False) -> Progress:
    """The display that fits standard error: a bar on a terminal, lines elsewhere, nothing when ``quiet``."""
    if quiet:
        return Silent()
    return RichProgress() if sys.stderr.isatty() else LineProgress(sys.stderr)
