"""What comes over a connection, byte by byte: read in one way only, bounded, and answered or let go."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.gateway.serving import Served, served
from tests.verbs.tiny_map import Mapped

from homing.gateway.connections import HEAD_BYTES

POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"


@pytest.fixture(scope="module")
def gate(mapped: Mapped) -> Iterator[Served]:
    with served(mapped, with_home=False) as s:
        yield s


def said(gate: Served, *parts: bytes, until: bytes | None = None) -> bytes:
    """What is answered until the service lets go, or says ``until``."""
    got = b""
    with socket.create_connection(("127.0.0.1", int(gate.url.rpartition(":")[2])), timeout=20) as s:
        try:
            for part in parts:
                s.sendall(part)
            while (until is None or until not in got) and (more := s.recv(65536)):
                got += more
        except (ConnectionResetError, BrokenPipeError):
            pass  # it was let go while it still spoke
    return got


def asking(gate: Served, **more: Any) -> bytes:
    return json.dumps(
        {"model": gate.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, **more}
    ).encode()


def length(body: bytes) -> bytes:
    return b"content-length: %d\r\n" % len(body)


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n" % (len(body), body)


@pytest.mark.parametrize(
    "head",
    [
        POST + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
        POST + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        POST + b"content-length: +2\r\n\r\n{}",
        POST + b"content-length: 2 2\r\n\r\n{}",
        POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        HEALTH + b"x: a\r\n folded\r\n\r\n",
        HEALTH + b"x: a\x00b\r\n\r\n",
        HEALTH + b"no colon\r\n\r\n",
        b"GET /health HTTP/1.1\nhost: localhost\n\n",
        b"GET /health HTTP/9.9\r\nhost: localhost\r\n\r\n",
        b"FETCH /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_could_be_read_in_two_ways_is_read_in_none(gate: Served, head: bytes) -> None:
    """Else whatever stands between a client and this service might see other requests than it (RFC 9112, 11.2)."""
    got = said(gate, head)
    assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1 ") == 1
    assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", ["host", "authorization", "origin", "content-type"])
def test_a_header_that_decides_comes_once(gate: Served, name: str) -> None:
    twice = {"host": b"host: localhost\r\n"}.get(name, f"{name}: a\r\n{name}: a\r\n".encode())
    got = said(gate, HEALTH + twice + b"connection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    error = json.loads(got.partition(b"\r\n\r\n")[2])["error"]
    assert error["param"] == name and "more than once; send it once" in error["message"]


def test_a_request_names_its_host(gate: Served) -> None:
    got = said(gate, b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ") and b"the header host is missing; send it" in got
    assert said(gate, b"GET /health HTTP/1.0\r\nhost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "before",
    [
        b"GET /",
        HEALTH + b"x: ",
        HEALTH + b"x",
        POST + b"transfer-encoding: chunked\r\n\r\n1;",
        POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nx: ",
    ],
    ids=["path", "value", "name", "extension", "trailer"],
)
def test_what_has_no_end_is_let_go(gate: Served, before: bytes) -> None:
    more = [b"a" * 8192] * (4 * HEAD_BYTES // 8192)
    got = said(gate, before, *more)
    assert not got or got.startswith(b"HTTP/1.1 400 ")
    assert httpx2.get(f"{gate.url}/health").status_code == 200
    assert not gate.service.running


def test_many_headers_have_no_end_either(gate: Served) -> None:
    got = said(gate, HEALTH, *[b"x: y\r\n" * 1024] * 64)
    assert not got or b"of a head that is not whole; shorten it" in got


def test_a_long_body_is_no_long_head(gate: Served) -> None:
    body = asking(gate, user="x" * (3 * HEAD_BYTES))
    for head, sent in ((length(body), body), (b"transfer-encoding: chunked\r\n", chunked(body) + b"\r\n")):
        got = said(
            gate, POST + head + b"connection: close\r\n\r\n", *[sent[k : k + 999] for k in range(0, len(sent), 999)]
        )
        assert got.startswith(b"HTTP/1.1 200 ") and b'"chat.completion"' in got


def test_what_comes_behind_a_body_decides_nothing(gate: Served) -> None:
    """A proxy that takes headers out of a head may let trailers pass."""
    body = asking(gate, homing={"report": True})
    behind = b"x-homing-conversation: another\r\nx-request-id: another\r\n\r\n"
    got = said(gate, POST + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n" + chunked(body) + behind)
    assert got.startswith(b"HTTP/1.1 200 ") and b"another" not in got


def test_two_requests_at_once_are_answered_one_after_the_other(gate: Served) -> None:
    body = asking(gate)
    got = said(gate, POST + length(body) + b"\r\n" + body + HEALTH + b"connection: close\r\n\r\n")
    assert [a.partition(b"\r\n")[0] for a in got.split(b"HTTP/1.1 ")[1:]] == [b"200 OK", b"200 OK"]
    assert got.index(b'"chat.completion"') < got.rindex(b"HTTP/1.1")


def test_a_client_that_would_speak_another_protocol_is_answered_in_this_one(gate: Served) -> None:
    """Clients of Java ask with each request whether they may speak HTTP/2."""
    body = asking(gate)
    upgrade = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n"
    one = POST + upgrade + length(body) + b"\r\n" + body
    got = said(
        gate, one, HEALTH + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n", HEALTH + b"connection: close\r\n\r\n"
    )
    assert got.count(b"HTTP/1.1 200 ") == 3 and got.count(b"HTTP/1.1 ") == 3
    many = (HEALTH + b"upgrade: h2c\r\nconnection: upgrade\r\n\r\n") * 1500
    got = said(gate, many, HEALTH + b"connection: close\r\n\r\n")
    assert got.count(b"HTTP/1.1 200 ") == 1501 and got.count(b"HTTP/1.1 ") == 1501


def test_a_client_of_old_gets_a_stream_without_chunks(gate: Served) -> None:
    body = asking(gate, stream=True)
    got = said(gate, POST.replace(b"HTTP/1.1", b"HTTP/1.0") + length(body) + b"connection: keep-alive\r\n\r\n" + body)
    head, _, rest = got.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head and b"connection: close" in head
    assert rest.startswith(b"data: {") and rest.endswith(b"\n\ndata: [DONE]\n\n")
    got = said(gate, b"HEAD /health HTTP/1.0\r\nhost: localhost\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"\r\n\r\n")


def test_a_client_that_asks_whether_to_go_on_is_told(gate: Served) -> None:
    body = asking(gate)
    got = said(gate, POST + b"expect: 100-continue\r\n" + length(body) + b"\r\n", until=b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 100 ")
