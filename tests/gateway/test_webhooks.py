"""Webhooks: signed, retried, bounded, and never sent on by a redirect."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import homing.gateway.webhooks as webhooks
from homing.errors import InputError
from homing.gateway.records import EventRecord
from homing.gateway.webhooks import Webhook, signature

SECRET = "sixteen letters or more"


class Target:
    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                target.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status = target.answers.pop(0) if target.answers else 200
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{target.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def target() -> Iterator[Target]:
    t = Target()
    yield t
    t.close()


def event(i: int, kind: str = "alarm") -> EventRecord:
    return EventRecord(i, 1.5, kind, "c", {"turn": i})


async def sent(hook: Webhook, *events: EventRecord) -> None:
    hook.start()
    for e in events:
        hook.put(e)
    await hook.close()


async def test_alarms_are_told_in_their_order_and_signed(target: Target) -> None:
    await sent(Webhook(target.url, SECRET), event(1), event(2, "turn"), event(3, "home"))
    assert [json.loads(b)["id"] for _, b in target.got] == [1, 3]
    headers, body = target.got[0]
    assert json.loads(body) == {"id": 1, "event": "alarm", "created": 1.5, "conversation": "c", "turn": 1}
    at = int(headers["x-homing-signature"].split(",")[0][2:])
    assert headers["x-homing-signature"] == signature(SECRET.encode(), body, at)
    assert headers["x-homing-signature"] != signature(b"another", body, at)


async def test_what_fails_is_told_again_and_in_the_end_dropped(target: Target) -> None:
    dropped: list[int] = []
    target.answers = [500, 429, 200, *[503] * webhooks.ATTEMPTS, 400]
    hook = Webhook(target.url, SECRET, dropped=lambda: dropped.append(1), wait=0.001)
    await sent(hook, event(1), event(2), event(3), event(4))
    ids = [json.loads(b)["id"] for _, b in target.got]
    assert ids == [1, 1, 1, *[2] * webhooks.ATTEMPTS, 3, 4]
    assert len(dropped) == 2


async def test_a_redirect_is_not_followed(target: Target) -> None:
    target.answers = [302]
    await sent(Webhook(target.url, SECRET, wait=0.001), event(1))
    assert len(target.got) == 1


async def test_a_target_that_is_down_holds_nothing_up_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "WAITING", 3)
    dropped: list[int] = []
    hook = Webhook("http://127.0.0.1:9/", SECRET, dropped=lambda: dropped.append(1), wait=60)
    hook.start()
    await asyncio.sleep(0)
    for i in range(10):
        hook.put(event(i))
    await hook.close(0.1)
    assert len(dropped) >= 9


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "http://u:secret@x/", "nothing"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError, match="no address") as e:
        Webhook(url, SECRET)
    assert "secret" not in str(e.value).replace("webhook's secret", "")


def test_a_short_secret() -> None:
    with pytest.raises(InputError, match="16 characters"):
        Webhook("http://127.0.0.1/", "short")
