"""Render chat templates in a child process with limits on time, memory and output; one child serves the whole program."""

from __future__ import annotations

import atexit
import datetime
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from homing.errors import TemplateError

__all__ = ["DATE", "TemplateFailed", "TemplateRaised", "render_template"]

SECONDS = 2.0
"""Processor time of one render; a real template needs a thousandth of it."""
SIZE = 64_000_000
"""Most characters that one render may write."""
DATE = "2025-01-01"
"""What ``strftime_now`` shows unless asked otherwise: a prompt that changes from day to day would make figures that do, too."""
_WALL = 20.0  # the child measures processor time itself; this is for code that never gives control back


class TemplateRaised(TemplateError):
    """The template refused this conversation itself, as templates do with a role or an order they do not know."""


class TemplateFailed(TemplateError):
    """The template broke on this conversation: an undefined value, or an operation that does not fit."""


class _Worker:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        frame = json.dumps(request).encode()
        with self._lock:
            process = self._running()
            assert process.stdin is not None and process.stdout is not None
            limit = time.monotonic() + _WALL + len(frame) / 5e6
            try:
                self._write(process, struct.pack(">I", len(frame)) + frame, limit)
                size = struct.unpack(">I", self._read(process.stdout.fileno(), 4, limit))[0]
                return cast("dict[str, Any]", json.loads(self._read(process.stdout.fileno(), size, limit)))
            except (TimeoutError, EOFError, BrokenPipeError) as e:
                self._stop()
                slow = isinstance(e, TimeoutError)
                return {
                    "error": "it runs without end" if slow else "its renderer died, most likely of memory",
                    "kind": "limit",
                }

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None or self._pid != os.getpid():
            here = Path(__file__).with_name("render_worker.py")
            self._process = subprocess.Popen(  # noqa: S603 - our own file, our own interpreter
                [sys.executable, "-P", str(here)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={
                    k: v
                    for k, v in os.environ.items()
                    if k in ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "TZ")
                },
            )
            self._pid = os.getpid()
        return self._process

    @staticmethod
    def _write(process: subprocess.Popen[bytes], data: bytes, limit: float) -> None:
        assert process.stdin is not None
        fd, view = process.stdin.fileno(), memoryview(data)
        while view:
            if not select.select([], [fd], [], max(0.0, limit - time.monotonic()))[1]:
                raise TimeoutError
            view = view[os.write(fd, view[:4096]) :]  # a pipe that select calls ready takes this much without blocking

    @staticmethod
    def _read(fd: int, count: int, limit: float) -> bytes:
        out = bytearray()
        while len(out) < count:
            if not select.select([fd], [], [], max(0.0, limit - time.monotonic()))[0]:
                raise TimeoutError
            piece = os.read(fd, min(count - len(out), 1 << 20))
            if not piece:
                raise EOFError
            out += piece
        return bytes(out)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or self._pid != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()

    def close(self) -> None:
        with self._lock:
            self._stop()


_worker = _Worker()
atexit.register(_worker.close)


def render_template(
    source: str,
    context: Mapping[str, Any],
    *,
    seconds: float = SECONDS,
    size: int = SIZE,
    date: str | None = None,
) -> str:
    """Render one chat template with plain data as its context.

    Args:
        source: the jinja2 text. context: JSON values only. seconds: processor time. size: most characters written.
        date: ISO date that ``strftime_now`` shows, or ``today``; None: ``HOMING_TEMPLATE_DATE``, else :data:`DATE`.

    Raises:
        TemplateRaised: the template refused the context in words of its own. TemplateFailed: it broke on it.
        TemplateError: it is not a template, loops, grows, or tries to escape; or the date is none.
    """
    day = date or os.environ.get("HOMING_TEMPLATE_DATE") or DATE
    try:
        day = (
            datetime.datetime.now().astimezone() if day == "today" else datetime.datetime.fromisoformat(day)
        ).isoformat()
    except ValueError:
        raise TemplateError(f"template date {day!r} is no date; give one such as {DATE}, or today") from None
    request = {"source": source, "context": dict(context), "seconds": seconds, "size": size, "date": day}
    answer = _worker.ask(request)
    if "error" in answer:
        kind = _KINDS.get(answer["kind"], TemplateError)
        raise kind(f"the chat template cannot be used: {answer['error']}")
    return str(answer["text"])


_KINDS: dict[str, type[TemplateError]] = {"raised": TemplateRaised, "failed": TemplateFailed}
