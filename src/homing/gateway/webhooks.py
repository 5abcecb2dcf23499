"""Alarms and returns told to an address of the operator's: signed, retried a few times, and few of them waiting.

The receiver checks ``X-Homing-Signature: t=SECONDS,v1=HEX``: HEX is HMAC-SHA256 of ``SECONDS.BODY`` under the shared secret,
and a time far off is a replay.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2

from homing.errors import InputError
from homing.gateway.records import EventRecord

__all__ = ["KINDS", "Webhook", "signature"]

_LOG = logging.getLogger("homing.gateway")
KINDS = frozenset({"alarm", "return", "home"})
"""Events that are told."""
ATTEMPTS = 5
WAITING = 1000
SECONDS = 5.0


def signature(secret: bytes, body: bytes, at: int) -> str:
    """The header that says who sent a body, and when."""
    return f"t={at},v1={hmac.new(secret, f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


class Webhook:
    """One target.

    Args:
        url: http or https, from the server's configuration alone. ``secret``: shared with who receives.
        dropped: called for each event that could not be told. ``wait``: seconds before the second attempt, doubled each time.

    Raises:
        InputError: the address is none, or there is no secret.
    """

    def __init__(self, url: str, secret: str, *, dropped: Callable[[], None] = lambda: None, wait: float = 1.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise InputError(
                f"webhook {parts.scheme}://{parts.hostname or ''} is no address; give one like https://example.org/hook"
            )
        if len(secret) < 16:
            raise InputError(
                "the webhook's secret has fewer than 16 characters; set a longer one in HOMING_WEBHOOK_SECRET"
            )
        self.url, self._secret, self._dropped, self._wait = url, secret.encode(), dropped, wait
        self._queue: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def put(self, event: EventRecord) -> None:
        """Tell an event when there is time; the oldest that waits gives way to it where too many do."""
        if event.kind not in KINDS:
            return
        body: dict[str, Any] = {
            "id": event.id, "event": event.kind, "created": event.created, "conversation": event.conversation, **event.data
        }  # fmt: skip
        if len(self._queue) >= WAITING:
            self._queue.popleft()
            self._dropped()
        self._queue.append(json.dumps(body).encode())
        self._more.set()

    def start(self) -> None:
        """Begin to tell; inside a running loop."""
        self._task = asyncio.create_task(self._run())

    async def close(self, seconds: float = SECONDS) -> None:
        """Tell what still waits, for so long at most."""
        if self._task is None:
            return
        end = time.monotonic() + seconds
        while (self._queue or not self._more_done()) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        for _ in self._queue:
            self._dropped()

    def _more_done(self) -> bool:
        return not self._more.is_set()

    async def _run(self) -> None:
        async with httpx2.AsyncClient(follow_redirects=False, timeout=SECONDS, trust_env=False) as client:
            while True:
                await self._more.wait()
                while self._queue:
                    await self._told(client, self._queue.popleft())
                self._more.clear()

    async def _told(self, client: httpx2.AsyncClient, body: bytes) -> None:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._wait * 2 ** (attempt - 1))
            headers = {
                "content-type": "application/json",
                "x-homing-signature": signature(self._secret, body, int(time.time())),
            }
            try:
                answer = await client.post(self.url, content=body, headers=headers)
            except httpx2.HTTPError as e:
                _LOG.warning("the webhook did not answer: %s", type(e).__name__)
                continue
            if answer.status_code < 300:
                return
            if answer.status_code < 500 and answer.status_code not in (408, 425, 429):
                _LOG.warning("the webhook refused an event with %s; it is not told again", answer.status_code)
                break
        self._dropped()
