"""The time of day, as far as something that cannot be undone may rest on it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Clock", "elapsed"]

DOUBT_SECONDS = 86400.0


def elapsed() -> float:
    """Seconds that no one can set, those of sleep among them where the system counts them."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Clock:
    """A clock that is set back is believed at once, and one that is set forward when it has stood so for a day.

    What is forgotten by its age is gone, and a clock that is wrong for an hour would take all of it; what stays a day too long
    harms less. Time that passes is always counted. The first reading is all there is to go by, and is believed.

    Args:
        wall: Unix seconds. ``running``: seconds since some moment, never set.
    """

    def __init__(self, wall: Callable[[], float] = time.time, running: Callable[[], float] = elapsed) -> None:
        self._wall, self._running = wall, running
        self._seen: deque[tuple[float, float]] = deque()

    def now(self) -> float:
        """Unix seconds."""
        at = self._running()
        self._seen.append((at, self._wall() - at))
        while self._seen[0][0] < at - DOUBT_SECONDS:
            self._seen.popleft()
        return at + min(offset for _, offset in self._seen)
