"""Who may ask what: one ASGI layer in front of every route, which denies by default.

The path is the server's own ``scope["path"]`` and never a URL made with the client's Host header (CVE-2026-48710). Keys are
kept as SHA-256 and compared in constant time. Without keys the service is this machine's own: Host must be loopback and Origin
absent or the same, so that no page in a browser can reach it, whatever its name resolves to.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homing.gateway.problems import WireError

__all__ = ["LOCAL", "OPEN", "Access", "Key", "hashed", "loopback", "send_problem"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL = "local"
"""The tenant of a service without keys."""
OPEN: Mapping[str, frozenset[str]] = {
    path: frozenset({"GET", "HEAD"})
    for path in ("/health", "/health/ready", "/", "/homing/", "/homing/app.js", "/homing/app.css", "/homing/icon.svg")
}
"""Routes that need no key: they say nothing of any conversation."""
ALONE = (b"host", b"authorization", b"origin", b"content-type")
"""Headers of which a second one is refused."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
ID = re.compile(rb"[\x21-\x7e]{1,64}")
_HOST = re.compile(r"(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)


def loopback(host: str) -> bool:
    """Whether a Host header, or an address to listen on, is this machine's own."""
    return bool(_HOST.fullmatch(host)) or host == "::1"


def hashed(key: str) -> str:
    """A key as it is kept: SHA-256, hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``tenant``: whose it is. ``digest``: of the key, as :func:`hashed` gives it."""

    tenant: str
    digest: str


@dataclass
class _Bucket:
    left: float
    at: float


@dataclass
class Access:
    """The layer.

    Args:
        app: behind it. ``keys``: empty: this machine's own. ``per_minute``: requests of one tenant, 0: no bound.
        clock: seconds that never run backwards; tests replace it.
    """

    app: App
    keys: Sequence[Key] = ()
    per_minute: int = 0
    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict[str, _Bucket])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks websockets
            return
        headers = _headers(scope)
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if ID.fullmatch(given) else secrets.token_hex(16)
        scope.setdefault("state", {}).update(request_id=request_id)
        dressed = _dressed(send, scope["path"], request_id)
        try:
            _alone(scope, headers)
            scope["state"]["tenant"] = self._admitted(scope, headers)
        except WireError as e:
            await send_problem(dressed, e)
            return
        await self.app(scope, receive, dressed)

    def _admitted(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """The tenant who asks.

        Raises:
            WireError: 400, 401, 403, 415 or 429.
        """
        path, method = scope["path"], scope["method"]
        if not self.keys:
            _own(headers)
        if method in OPEN.get(path, ()):
            return ""
        tenant = self._tenant(headers) if self.keys else LOCAL
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if method not in ("GET", "HEAD") and kind != b"application/json" and (method != "DELETE" or kind):
            raise WireError(415, "send the body as application/json", param="content-type")
        self._paced(tenant)
        return tenant

    def _tenant(self, headers: Mapping[bytes, bytes]) -> str:
        scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        digest, tenant = hashed(key.strip()), None
        for known in self.keys:  # all of them, so that time says nothing of which
            if hmac.compare_digest(known.digest, digest):
                tenant = known.tenant
        if tenant is None or scheme.lower() != "bearer":
            raise WireError(
                401,
                "no valid key came with this request; send one in the header Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return tenant

    def _paced(self, tenant: str) -> None:
        if not self.per_minute:
            return
        now = self.clock()
        bucket = self._buckets.setdefault(tenant, _Bucket(float(self.per_minute), now))
        bucket.left = min(float(self.per_minute), bucket.left + (now - bucket.at) * self.per_minute / 60)
        bucket.at = now
        if bucket.left < 1:
            wait = max(1, round((1 - bucket.left) * 60 / self.per_minute + 0.5))
            raise WireError(
                429,
                f"more than {self.per_minute} requests a minute came with this key; come back in {wait} s",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(wait)},
            )
        bucket.left -= 1


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """By name in small letters, the first of each."""
    out: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        out.setdefault(name.lower(), value)
    return out


def _alone(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Refuse what whoever stands between may have read otherwise: two of a header that decides something, or no Host.

    Raises:
        WireError: 400.
    """
    if len(headers) < len(scope["headers"]):  # something came twice
        names = [name.lower() for name, _ in scope["headers"]]
        for name in ALONE:
            if names.count(name) > 1:
                shown = name.decode()
                raise WireError(400, f"the header {shown} came more than once; send it once", param=shown)
    if scope.get("http_version") != "1.0" and b"host" not in headers:
        raise WireError(400, "the header host is missing; send it", param="host")


def _own(headers: Mapping[bytes, bytes]) -> None:
    host = headers.get(b"host", b"").decode("latin-1")
    if not loopback(host):
        raise WireError(
            403, "this service has no keys and answers on this machine alone; set keys to open it", param="host"
        )
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1").lower() != f"http://{host}".lower():
        raise WireError(403, "a page of another origin cannot use this service", param="origin")


def _dressed(send: Send, path: str, request_id: str) -> Send:
    """Headers that every answer has."""
    page = path in ("/", "/homing/")
    extra = [
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", PAGE_POLICY.encode() if page else b"default-src 'none'; frame-ancestors 'none'"),
    ]

    async def dressed(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            had = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [*message.get("headers", []), *((n, v) for n, v in extra if n not in had)]
        await send(message)

    return dressed


async def send_problem(send: Send, error: WireError) -> None:
    """Answer with an error."""
    body = json.dumps(error.body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(k.lower().encode(), v.encode()) for k, v in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
