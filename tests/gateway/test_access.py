"""Who may ask: the security table as tests."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.gateway.serving import Served, served
from tests.verbs.tiny_map import Mapped

from homing.errors import InputError
from homing.gateway.access import OPEN, Key, hashed, loopback
from homing.gateway.deployment import Deployment

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


@pytest.fixture(scope="module")
def mine(mapped: Mapped) -> Iterator[Served]:
    with served(mapped, Deployment(mode="off")) as s:
        yield s


@pytest.fixture(scope="module")
def keyed(mapped: Mapped) -> Iterator[Served]:
    keys = (Key("alice", hashed("alice's key")), Key("bob", hashed("bob's key")), Key("bob", hashed("bob's other")))
    with served(mapped, Deployment(mode="shadow", keys=keys, text=True)) as s:
        yield s


def raw(gate: Served, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """One request with the very headers given, Host among them."""
    port = int(gate.url.rpartition(":")[2])
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        c.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for k, v in {"Content-Length": str(len(body)), **headers}.items():
            c.putheader(k, v)
        c.endheaders(body)
        r = c.getresponse()
        text = r.read()
        return r.status, json.loads(text) if text.startswith(b"{") else {}
    finally:
        c.close()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "x/health?", "[::2]:80", "", "10.0.0.1"]
)
def test_without_keys_a_foreign_host_is_refused_on_every_route(mine: Served, host: str) -> None:
    for path in ("/v1/models", "/health", "/homing/", "/metrics"):
        status, body = raw(mine, "GET", path, {"Host": host})
        assert status == 403, (path, host)
        assert body["error"]["param"] == "host"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "127.9.9.9:1", "[::1]:80", "LOCALHOST"])
def test_this_machine_is_let_in_by_any_of_its_names(mine: Served, host: str) -> None:
    assert raw(mine, "GET", "/v1/models", {"Host": host})[0] == 200
    assert loopback(host)


def test_without_keys_a_page_of_another_origin_is_refused(mine: Served) -> None:
    body = json.dumps({**ASK, "model": mine.model}).encode()
    kind = {"Content-Type": "application/json"}
    for origin, status in (
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost:1", 403),
        ("http://localhost", 200),
    ):
        assert (
            raw(mine, "POST", "/v1/chat/completions", {"Host": "localhost", "Origin": origin, **kind}, body)[0]
            == status
        )


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_can_send_is_refused(mine: Served, kind: str) -> None:
    body = json.dumps({**ASK, "model": mine.model}).encode()
    headers = {"Host": "localhost"} | ({"Content-Type": kind} if kind else {})
    assert raw(mine, "POST", "/v1/chat/completions", headers, body)[0] == 415


def routes(gate: Served) -> list[tuple[str, str]]:
    app: Any = gate.service
    return [
        (method, route.path.replace("{id:path}", "x").replace("{id}", "x").replace("{name}", "x"))
        for route in app.app.app.routes
        for method in sorted(route.methods or ())
    ]


@pytest.mark.parametrize("headers", [{}, {"Host": "x/health?"}, {"Host": "localhost/health?x="}])
def test_with_keys_every_route_that_is_not_open_wants_one(keyed: Served, headers: dict[str, str]) -> None:
    seen = 0
    for method, path in routes(keyed):
        if method in OPEN.get(path, ()):
            continue
        status, body = raw(keyed, method, path, {"Host": "localhost", **headers})
        if method != "HEAD":
            assert body["error"]["type"] == "authentication_error", (method, path)
        assert status == 401, (method, path)
        seen += 1
    assert seen >= 8
    assert raw(keyed, "GET", "/no/such/path", {"Host": "localhost"})[0] == 401


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic alice's key",
        "alice's key",
        "Bearer ' OR 1=1 --",
        "Bearer alice's key x",
        "Bearer \xe9",
    ],
)
def test_wrong_keys(keyed: Served, given: str) -> None:
    status, _ = raw(keyed, "GET", "/v1/models", {"Host": "x", "Authorization": given})
    assert status == 401


def test_right_keys(keyed: Served) -> None:
    for key in ("alice's key", "bob's key", "bob's other"):
        assert httpx2.get(f"{keyed.url}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_open_routes_say_nothing_of_anyone(keyed: Served) -> None:
    assert httpx2.get(f"{keyed.url}/health").content == b""
    assert httpx2.get(f"{keyed.url}/health/ready").json() == {"ready": True}


def test_every_answer_is_dressed(keyed: Served) -> None:
    for path in ("/health", "/v1/models", "/nothing"):
        h = httpx2.get(keyed.url + path).headers
        assert h["x-content-type-options"] == "nosniff" and "default-src 'none'" in h["content-security-policy"]
        assert h["cache-control"] == "no-store" and "server" not in h


def test_a_key_has_its_pace(mapped: Mapped) -> None:
    keys = (Key("a", hashed("a")), Key("b", hashed("b")))
    with served(mapped, Deployment(mode="off", keys=keys, per_minute=3)) as gate:
        statuses = [httpx2.get(f"{gate.url}/v1/models", headers={"authorization": "Bearer a"}) for _ in range(5)]
        assert [r.status_code for r in statuses] == [200, 200, 200, 429, 429]
        assert 1 <= int(statuses[-1].headers["retry-after"]) <= 60
        assert httpx2.get(f"{gate.url}/v1/models", headers={"authorization": "Bearer b"}).status_code == 200


def test_nothing_is_opened_to_the_outside_without_keys() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.org"):
        with pytest.raises(InputError, match="no keys"):
            Deployment(host=host)
        Deployment(host=host, keys=(Key("a", hashed("k")),))
    for host in ("127.0.0.1", "localhost", "::1"):
        Deployment(host=host)
