"""A service out of this process that speaks the OpenAI wire: where it is, with which key, how long it is waited for.

The key travels to that address and nowhere else: redirects are not followed, proxies and ``.netrc`` of the environment are not
heeded, and whatever is said of the service is said without it.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, fields
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

from homing.errors import InputError, MissingExtra
from homing.models.chunks import Event, Events, Garbage, object_of

try:
    import httpx2
except ImportError:
    raise MissingExtra("what talks to a service", "pip install 'homing[gateway]'") from None

__all__ = ["MiB", "Remote"]

MiB = 2**20
HIDDEN = "***"
"""What a key is shown as."""
LAST_SECONDS = 0.1
"""Longest that the end of an answer is waited for that has said that nothing follows, so that its connection serves again."""


@dataclass(frozen=True, slots=True)
class Remote:
    """One service.

    Args:
        url: base address with scheme, such as ``http://127.0.0.1:8000/v1``. ``key_variable``: environment variable that holds
            its key, read once, now; empty: none is sent.
        connect_seconds: until a connection stands. ``read_seconds``: until an answer is whole, or the first bytes of one that
            is streamed have come. ``idle_seconds``: between two parts of a stream.
        connections: open at once at most. ``max_answer``: bytes of an answer, ``max_event``: of one event or line of a stream.

    Raises:
        InputError: the address is not http or https, or carries a user name, a password, a query or a fragment; the variable
            is not set, or holds what can be no key; a bound is not over 0.
    """

    url: str
    key_variable: str = ""
    connect_seconds: float = 10.0
    read_seconds: float = 600.0
    idle_seconds: float = 120.0
    connections: int = 64
    max_answer: int = 32 * MiB
    max_event: int = MiB
    key: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            httpx2.URL(self.url)
        except (ValueError, httpx2.InvalidURL):
            raise InputError("the upstream's address cannot be read; give one like http://127.0.0.1:8000/v1") from None
        if parts.username is not None or parts.password is not None:
            raise InputError("an upstream with a user name or password in its address is not used; give its key apart")
        if not known or parts.query or parts.fragment or re.search(r"[\s\x00-\x1f\x7f]", self.url):
            raise InputError(f"upstream {self.url!r} is no base address; give one like http://127.0.0.1:8000/v1")
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, int | float) and not 0 < value < float("inf"):
                raise InputError(f"{f.name} of upstream {self.url} is {value}; it must be over 0 and finite")
        object.__setattr__(self, "url", self.url.rstrip("/"))
        if self.key_variable:
            object.__setattr__(self, "key", self._read_key())

    def _read_key(self) -> str:
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise InputError(
                f"environment variable {self.key_variable} holds no key for {self.url}; set it, or name none"
            )
        if not re.fullmatch(r"[\x21-\x7e]{1,4096}", key):
            raise InputError(f"environment variable {self.key_variable} holds what can be no key; set the right one")
        return key

    def hidden(self, text: str) -> str:
        """A text without the key in it."""
        return text.replace(self.key, HIDDEN) if self.key else text

    def hidden_bytes(self, raw: bytes) -> bytes:
        """Bytes without the key in them."""
        return raw.replace(self.key.encode(), HIDDEN.encode()) if self.key else raw

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries: the key, and that answers come as they are, not compressed."""
        fixed = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "homing"}
        return fixed | ({"Authorization": f"Bearer {self.key}"} if self.key else {})

    def client(self) -> httpx2.AsyncClient:
        """A client for this service alone, to be closed; cookies are neither kept nor sent, since callers differ."""
        secure = self.url.startswith("https:")
        return httpx2.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            verify=ssl.create_default_context() if secure else False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=httpx2.Timeout(
                max(self.read_seconds, self.idle_seconds), connect=self.connect_seconds, pool=self.connect_seconds
            ),
            limits=httpx2.Limits(
                max_connections=self.connections, max_keepalive_connections=self.connections, keepalive_expiry=15.0
            ),
        )

    async def read(self, response: httpx2.Response) -> bytes:
        """A whole answer.

        Raises:
            Garbage: longer than ``max_answer``, or compressed. TransportError: of httpx2; it broke off.
        """
        _uncompressed(response)
        parts: list[bytes] = []
        size = 0
        async with aclosing(response.aiter_raw()) as raw:
            async for chunk in raw:
                size += len(chunk)
                if size > self.max_answer:
                    raise Garbage(f"it is longer than {self.max_answer:,} bytes")
                parts.append(chunk)
        return b"".join(parts)

    async def events(self, response: httpx2.Response) -> AsyncGenerator[list[Event], None]:
        """The events of a stream, those together that came together; nothing is read before it is asked for.

        Raises:
            Garbage: no stream, an event or the whole too long, no UTF-8. TimeoutError: nothing came for ``idle_seconds``.
            TransportError: of httpx2; it broke off.
        """
        _uncompressed(response)
        events, size, done = Events(self.max_event), 0, False
        async with aclosing(response.aiter_raw()) as raw:
            while not done:
                async with asyncio.timeout(self.idle_seconds if size else self.read_seconds):
                    chunk = await anext(raw, None)
                if chunk is None:
                    break
                size += len(chunk)
                if size > self.max_answer:
                    raise Garbage(f"it is longer than {self.max_answer:,} bytes")
                found: list[Event] = []
                wrong: Garbage | None = None
                try:
                    for event in events.feed(chunk):
                        found.append(event)
                        done = done or event.done
                except Garbage as e:
                    wrong = None if done else e
                if found:
                    yield found
                if wrong is not None:
                    raise wrong
            if done:
                with suppress(TimeoutError, httpx2.TransportError):
                    async with asyncio.timeout(LAST_SECONDS):
                        await anext(raw, None)
                return
        rest = events.rest()
        if rest is None or rest.data is None:
            return
        if not rest.done:
            try:
                object_of(rest.data)
            except Garbage:
                return  # it was cut in the middle of an event
        yield [Event(rest.raw + b"\n\n", rest.data)]


def _uncompressed(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Garbage("it is compressed, which was not asked for")
