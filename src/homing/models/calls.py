"""Calls of one service: each made again where that may help, and what went wrong said in one sentence without the key."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from homing.errors import Busy, HomingError, ModelError, TooLong
from homing.models.chunks import Garbage, error_of, object_of
from homing.models.remote import Remote
from homing.models.trouble import plain, sentence

__all__ = ["ATTEMPTS", "LONGEST_WAIT", "Calls", "Refused", "wait_of"]

T = TypeVar("T")

ATTEMPTS = 4
"""How often one call is made at most, where the service is busy, fails or cannot be reached."""
LONGEST_WAIT = 30.0
"""Longest, in seconds, that is waited until the next attempt; a service that asks for more is busy."""
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_FULL = re.compile(r"context.{0,20}(length|window|size)|(prompt|input) is too long|too many tokens", re.IGNORECASE)


class Refused(Exception):
    """An error of the service's own.

    Attributes:
        status_code: of HTTP; 0: it came within a stream. ``body``: the wire's error object. ``after``: seconds until it may be
            asked again, where that was said.
    """

    def __init__(self, status: int, body: Mapping[str, Any], after: float | None = None) -> None:
        super().__init__(f"status {status}")
        self.status_code, self.body, self.after = status, body, after


@dataclass(eq=False)
class Calls:
    """What is asked of one service.

    Args:
        remote: where it is. ``model``: whose name is told in errors. ``attempts``: of one call. ``wait``: sleeps so many seconds.

    Attributes:
        most: name of the field that bounds the tokens of a reply; the newer one once the service has asked for it.
    """

    remote: Remote
    model: str
    attempts: int
    wait: Callable[[float], Awaitable[None]]
    most: str = field(default="max_tokens", init=False)

    def __post_init__(self) -> None:
        self._client = self.remote.client()
        # one connection a call: what waits here would otherwise wait in the client, and be taken for a service that is down
        self.free = asyncio.Semaphore(self.remote.connections)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def whole(self, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The JSON object of a completion; without a body, of the list of models.

        Raises:
            Busy, TooLong, ModelError: there is none.
        """
        async with self.free:
            return await self._again(body, self._read)

    async def begun(self, body: Mapping[str, Any]) -> httpx2.Response:
        """A stream with nothing of it read, to be closed; ``free`` is the caller's to hold. Raises as :meth:`whole` does."""
        return await self._again(body, self._sent)

    async def _again(self, body: Mapping[str, Any] | None, once: Callable[[Any], Awaitable[T]]) -> T:
        """What one call gives, made again where that may help."""
        attempt = 0
        while True:
            attempt += 1
            pause = 0.5 * 2 ** (attempt - 1)
            try:
                return await once(body)
            except Refused as e:
                other = self._other_name(e, body)
                if other is not None:
                    body = other
                    continue
                pause = pause if e.after is None else e.after
                if e.status_code not in AGAIN or attempt >= self.attempts or pause > LONGEST_WAIT:
                    raise self.told(e) from e
            except (TimeoutError, httpx2.TimeoutException, Garbage) as e:
                raise self.told(e) from None
            except httpx2.TransportError as e:
                if attempt >= self.attempts:
                    raise self.told(e) from None
            await self.wait(pause)

    def _other_name(self, e: Refused, body: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The body with the bound of its tokens under the newer name, where the service asks for that."""
        if (
            body is None
            or e.status_code != 400
            or "max_tokens" not in body
            or "max_completion_tokens" not in str(e.body)
        ):
            return None
        self.most = "max_completion_tokens"
        return {self.most if k == "max_tokens" else k: v for k, v in body.items()}

    async def _sent(self, body: Mapping[str, Any] | None) -> httpx2.Response:
        """An answer of status 200, unread."""
        path = "/models" if body is None else "/chat/completions"
        content = None if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        request = self._client.build_request(
            method, self.remote.url + path, content=content, headers=self.remote.headers
        )
        async with asyncio.timeout(self.remote.read_seconds):
            response = await self._client.send(request, stream=True)
            if response.status_code == 200:
                return response
            try:
                raw = b"" if response.is_redirect else await self.remote.read(response)
            except (Garbage, httpx2.TransportError):
                raw = b""
            finally:
                await response.aclose()
        raise Refused(response.status_code, error_of(raw), wait_of(response.headers.get("retry-after")))

    async def _read(self, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """A whole answer of status 200."""
        async with asyncio.timeout(self.remote.read_seconds):
            response = await self._sent(body)
            try:
                return object_of(await self.remote.read(response))
            finally:
                await response.aclose()

    def told(self, e: Exception | None) -> HomingError:
        """What is wrong, in one sentence without the key."""
        at = f"{self.model} at {self.remote.url}"
        if e is None:
            said = f"{at} ended its stream before its reply; ask again"
        elif isinstance(e, Garbage):
            said = f"{at} answers with something that is no completion ({e}); give an address that speaks its wire"
        elif isinstance(e, Refused):
            return self._refused(at, e)
        else:
            said = sentence(e, self.model, where=self.remote.url)
        return ModelError(self.remote.hidden(said))

    def _refused(self, at: str, e: Refused) -> HomingError:
        # before it is cut to length: a part of a key is a part too much
        body = {k: self.remote.hidden(str(v)) for k, v in e.body.items()}
        e, why = Refused(e.status_code, body, e.after), plain(body.get("message", ""))
        if e.body.get("code") == "context_length_exceeded" or (e.status_code in (0, 400, 422) and _FULL.search(why)):
            return TooLong(f"{at} has no room for this conversation and its reply ({why}); shorten either")
        if e.status_code == 429:
            when = "" if e.after is None else f" and asks to come back in {e.after:g} s"
            return Busy(f"{at} is busy (status 429){when}; wait, or raise its limits", wait_seconds=e.after)
        if e.status_code == 0:
            return ModelError(f"{at} broke its reply off with an error ({why}); ask again")
        if 300 <= e.status_code < 400:
            return ModelError(
                f"{at} answers with a redirect (status {e.status_code}), which is not followed; give its address"
            )
        return ModelError(sentence(e, self.model, where=self.remote.url))


def wait_of(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None where it is neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
