"""What breaks around the service, over the wire: a database that is held or full, a clock that is set, a client that goes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.gateway.serving import Served, served, until
from tests.gateway.test_turns import Talk
from tests.gateway.test_webhooks import SECRET, Target
from tests.verbs.tiny_map import Mapped

import homing.gateway.bodies as bodies
import homing.gateway.connections as connections
import homing.gateway.routes as routes
import homing.gateway.serve as serving
from homing.errors import HomingError
from homing.gateway.access import Key, hashed
from homing.gateway.clock import Clock
from homing.gateway.deployment import Deployment
from homing.gateway.remembered import EACH, Remembered
from homing.gateway.store import base
from homing.gateway.webhooks import Webhook
from homing.testing.tiny import MARKER

HOLDER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Another process that writes to the database and does not come to an end."""
    p = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert p.stdin is not None and p.stdout is not None
    try:
        assert p.stdout.readline() == "held\n"
        yield
    finally:
        p.stdin.close()
        p.wait(20)
        p.stdout.close()


def body_of(gate: Served, id: str, **more: Any) -> dict[str, Any]:
    return {
        "model": gate.model, "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 4, "seed": 1,
        "stream": True, "homing": {"conversation_id": id, "report": True}, **more,
    }  # fmt: skip


def streamed(gate: Served, id: str) -> list[dict[str, Any]]:
    """The chunks of a stream that was ended as one is."""
    r = httpx2.post(gate.url + "/v1/chat/completions", json=body_of(gate, id), timeout=60)
    assert r.status_code == 200 and r.text.endswith("data: [DONE]\n\n"), r.text
    return [json.loads(x[6:]) for x in r.text.split("\n\n") if x.startswith("data: {")]


def turns_of(gate: Served, id: str) -> list[dict[str, Any]]:
    r = httpx2.get(f"{gate.url}/homing/v1/conversations/{id}", timeout=60)
    return [] if r.status_code == 404 else r.json()["list"]


# -- the database is held ----------------------------------------------------------------------------------------------


def test_a_turn_waits_for_another_process_and_is_kept(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "BUSY_SECONDS", 20.0)
    with served(mapped, store=str(tmp_path / "g.db")) as gate, ThreadPoolExecutor(1) as pool:
        assert streamed(gate, "a")[-1]["homing"]["kept"]
        with held(tmp_path / "g.db"):
            second = pool.submit(streamed, gate, "a")
            time.sleep(1.0)
            assert not second.done()
            assert len(turns_of(gate, "a")) == 1, "who reads waits for nobody who writes"
        assert second.result(20)[-1]["homing"] | {"kept": True, "turn": 2} == second.result()[-1]["homing"]


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_a_database_that_stays_held_is_a_sentence_for_each_stream_and_all_is_well_once_it_is_free(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Any
) -> None:
    """However many stand in line, none waits longer than one does."""
    monkeypatch.setattr(base, "BUSY_SECONDS", 1.0)
    n = 12
    deployment = Deployment(fail=fail)
    with served(mapped, deployment, store=str(tmp_path / "g.db")) as gate, ThreadPoolExecutor(n) as pool:
        assert streamed(gate, "c0")[-1]["homing"]["turn"] == 1
        began = time.monotonic()
        with held(tmp_path / "g.db"):
            ends = [s[-1] for s in pool.map(lambda k: streamed(gate, f"c{k}"), range(n))]
            assert time.monotonic() - began < 0.5 * n, "they waited one after the other"
            if fail == "open":
                assert not any(e["homing"]["kept"] for e in ends)
                told = {w for e in ends for w in e["homing"]["warnings"]}
            else:
                assert {e["error"]["code"] for e in ends} == {"not_kept"}
                told = {e["error"]["message"] for e in ends}
            assert len(told) == 1 and "another process holds it; end that process, or try again" in told.pop()
            r = httpx2.post(gate.url + "/homing/v1/conversations/c0/hold", json={"hold": "none"}, timeout=60)
            assert (r.status_code, r.json()["error"]["code"], r.headers["retry-after"]) == (503, "store_error", "1")
        for k in range(n):
            assert streamed(gate, f"c{k}")[-1]["homing"]["turn"] == (2 if k == 0 else 1)
            assert len(turns_of(gate, f"c{k}")) == (2 if k == 0 else 1), "what was not acknowledged is not there"
        assert gate.service.running == 0


def test_what_is_kept_after_its_client_left_is_told_all_the_same(mapped: Mapped, tmp_path: Path) -> None:
    told: list[str] = []
    with served(mapped, store=str(tmp_path / "g.db")) as gate:
        real = gate.service.keeper.kept

        def kept(change: Any) -> None:
            real(change)
            told.extend(e.kind for e in change.events)

        gate.service.keeper.kept = kept
        with held(tmp_path / "g.db"):
            body = body_of(gate, "a")
            with httpx2.stream("POST", gate.url + "/v1/chat/completions", json=body, timeout=60) as r:
                lines = r.iter_lines()
                next(lines)
                until(lambda: bool(gate.store._tasks))  # it is spoken, and waits for the database
            until(lambda: gate.service.running == 0)
            assert not told
        until(lambda: len(turns_of(gate, "a")) == 1)
        until(lambda: told == ["turn"])


# -- the disk is full --------------------------------------------------------------------------------------------------


def limited(gate: Served, pages: int) -> None:
    """What the file may have, on every connection of the service: SQLite then fails as it does on a full disk."""
    base = gate.store._base

    def limit(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").all()

    asyncio.run_coroutine_threadsafe(base.write(limit), gate.loop).result(60)
    with contextlib.ExitStack() as stack:
        for connection in [stack.enter_context(base._engine.connect()) for _ in range(base._engine.pool.size() - 1)]:
            limit(connection)


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_a_full_disk_is_one_sentence_and_no_turn_that_was_acknowledged_is_lost(
    mapped: Mapped, tmp_path: Path, fail: Any
) -> None:
    with served(mapped, Deployment(fail=fail), store=str(tmp_path / "g.db")) as gate:
        acknowledged = [streamed(gate, f"c{k}")[-1]["homing"]["turn"] for k in range(3)]
        assert acknowledged == [1, 1, 1]
        limited(gate, 1)  # no less than it has
        kept, failed = {f"c{k}" for k in range(3)}, list[str]()
        for k in range(3, 400):
            end = streamed(gate, f"c{k}")[-1]
            if end.get("homing", {}).get("kept"):
                kept.add(f"c{k}")
                continue
            failed.append(end["error"]["message"] if "error" in end else end["homing"]["warnings"][-1])
            if len(failed) == 3:
                break
        assert len(failed) == 3 and len(set(failed)) == 1 and "the disk is full; make room" in failed[0]
        listed = httpx2.get(gate.url + "/homing/v1/conversations?limit=200", timeout=60).json()["data"]
        assert {c["id"] for c in listed} == kept and all(c["turns"] == 1 for c in listed)
        limited(gate, 2**30)
        assert streamed(gate, "c0")[-1]["homing"]["turn"] == 2
        assert streamed(gate, "new")[-1]["homing"]["kept"]


# -- the clock is set --------------------------------------------------------------------------------------------------


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the clock on the wall is wrong."""
    by, real = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: real() + by[0])
    return by


def test_turns_and_alarms_keep_their_order_whatever_the_clock_says(
    mapped: Mapped, tmp_path: Path, shift: list[float]
) -> None:
    with served(mapped, store=str(tmp_path / "g.db")) as gate:
        talk, other = Talk(gate, conversation_id="a"), Talk(gate, conversation_id="b")
        talk.say("Hello there")
        talk.messages[-1]["content"] += f" {MARKER}"
        said = []
        for by in (0.0, -3600.0, -3600.0, 86400.0, 0.0):
            shift[0] = by
            said.append(talk.say("And now?", homing={"conversation_id": "a", "report": True, "hold": "none"}))
            other.say("And you?")
        assert [s["turn"] for s in said] == [2, 3, 4, 5, 6]
        assert any(s["alarms"] for s in said)
        found = httpx2.get(gate.url + "/homing/v1/conversations/a").json()
        assert [t["index"] for t in found["list"]] == list(range(6))
        assert all(0 <= t["seconds"] < 60 and 0 <= t["added_seconds"] <= t["seconds"] for t in found["list"])
        assert [a["turn"] for a in found["alarms_list"]] == sorted(a["turn"] for a in found["alarms_list"])
        marks = [e.id for e in asyncio.run_coroutine_threadsafe(
            gate.store.events("local", after=0, limit=1000), gate.loop).result(10)]  # fmt: skip
        assert marks == sorted(set(marks))
        changed = found["updated"]
        shift[0] = -3600.0
        httpx2.post(gate.url + "/homing/v1/conversations/a/hold", json={"hold": "none"})
        again = httpx2.get(gate.url + "/homing/v1/conversations/a").json()
        assert again["updated"] >= changed, "what is listed newest first never moves back"


def test_the_pace_of_a_key_goes_by_time_that_passes(mapped: Mapped, shift: list[float]) -> None:
    with served(mapped, Deployment(keys=(Key("a", hashed("a")),), per_minute=3)) as gate:

        def status() -> int:
            return httpx2.get(gate.url + "/v1/models", headers={"authorization": "Bearer a"}).status_code

        assert [status() for _ in range(3)] == [200] * 3
        shift[0] = 86400.0
        assert status() == 429
        shift[0] = -3600.0
        assert status() == 429


async def test_a_webhook_is_signed_with_the_time_of_each_attempt(shift: list[float]) -> None:
    target = Target()
    target.answers = [503]
    hook = Webhook(target.url, SECRET, wait=0.3)
    hook.start()
    from tests.gateway.test_webhooks import event

    hook.put(event(1))
    while not target.got:
        await asyncio.sleep(0.01)
    shift[0] = 86400.0
    await hook.close()
    target.close()
    times: list[int] = []
    for headers, body in target.got:
        at, mark = headers["x-homing-signature"].removeprefix("t=").split(",v1=")
        assert hmac.compare_digest(
            mark, hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        )
        times.append(int(at))
    assert len(times) == 2 and 86000 < times[1] - times[0] < 87000


def test_a_clock_that_is_set_forward_forgets_nobody(
    mapped: Mapped, tmp_path: Path, shift: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []
    monkeypatch.setattr(serving, "FORGET_SECONDS", 0.05)
    with served(mapped, store=str(tmp_path / "g.db")) as gate:
        real = gate.store.forget_before

        async def forget_before(unix_seconds: float) -> int:
            looked.append(unix_seconds)
            return await real(unix_seconds)

        gate.store.forget_before = forget_before
        streamed(gate, "a")
        forgetting = asyncio.run_coroutine_threadsafe(serving._forgets(gate.store, 30), gate.loop)
        until(lambda: len(looked) >= 2)
        shift[0] = 400 * 86400.0
        seen = len(looked)
        until(lambda: len(looked) >= seen + 3)
        assert len(turns_of(gate, "a")) == 1
        streamed(gate, "a")
        forgetting.cancel()
        assert len(turns_of(gate, "a")) == 2


def test_a_clock_is_believed_backwards_at_once_and_forwards_after_a_day() -> None:
    running, wall = [1000.0], [0.0]
    clock = Clock(lambda: running[0] + wall[0], lambda: running[0])

    def later(seconds: float) -> float:
        for _ in range(int(seconds // 600)):
            running[0] += 600
            clock.now()
        return clock.now() - running[0]

    assert later(600) == 0
    wall[0] = 1e6
    assert later(86400 - 600) == 0
    assert later(1800) == 1e6
    wall[0] = 5e5
    assert later(0) == 5e5
    wall[0] = 1e6
    assert later(3600) == 5e5
    assert later(86400) == 1e6 and len(clock._seen) < 200


# -- what is remembered ------------------------------------------------------------------------------------------------


def test_what_is_remembered_of_conversations_has_an_end() -> None:
    kept: Remembered[str] = Remembered(most=10 * (EACH + 100))
    for k in range(100):
        kept.put(("t", str(k)), "x", 100)
        assert kept.get(("t", "0")) == ("x" if k < 10 or kept.get(("t", "0")) else None)
    assert len(kept) == 10 and kept.used <= kept.most
    assert kept.get(("t", "0")) == "x", "what is asked for again stays"
    kept.put(("t", "long"), "x", 2 * kept.most)
    assert kept.get(("t", "long")) is None
    kept.forget(("t", "none"))
    kept.put(("t", "a"), "y", 5)
    kept.forget(("t", "a"))
    assert kept.used == 0 and not len(kept)


def test_renders_are_remembered_by_their_tokens(mapped: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    import homing.models.local as local
    from homing import Conversation
    from homing.models.sources import open_model

    monkeypatch.setattr(local, "ENCODED_KEPT", 1000)
    model = open_model(str(mapped.model), slots=1)
    try:
        for k in range(40):
            model.encode(Conversation.of(f"{k} " + "x" * (k * 10)))
            assert sum(len(e.tokens) for e in model._encoded.values()) == model._encoded_tokens <= 1000
        first = model.encode(Conversation.of("again"))
        assert model.encode(Conversation.of("again")) is first
    finally:
        asyncio.run(model.close())


# -- who sends ---------------------------------------------------------------------------------------------------------


def test_a_body_that_does_not_come_is_given_up(mapped: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    with served(mapped, with_home=False) as gate:
        host, port = gate.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as s:
            s.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                b"content-length: 500\r\n\r\n{"
            )
            got = b""
            while piece := s.recv(65536):
                got += piece
        assert got.startswith(b"HTTP/1.1 408 ") and b"did not come within" in got
        assert gate.service.running == 0


HEAD = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n"


@pytest.mark.parametrize("said", [(), (HEAD,), (HEAD + b"\r\n", HEAD)], ids=["nothing", "half", "half-of-the-second"])
def test_a_request_that_is_never_made_is_given_up(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch, said: tuple[bytes, ...]
) -> None:
    """A byte now and then buys no more time; one who has asked and been answered may rest."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with served(mapped, with_home=False) as gate:
        host, port = gate.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as s:
            for part in said:
                s.sendall(part)
                if part.endswith(b"\r\n\r\n"):
                    assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
                    time.sleep(1.3)
            began = time.monotonic()
            closed = False
            while not closed and time.monotonic() - began < 10:
                with contextlib.suppress(TimeoutError):
                    s.settimeout(0.1)
                    closed = s.recv(1) == b""
                if said and not closed:
                    with contextlib.suppress(OSError):
                        s.sendall(b"x")
            assert closed and time.monotonic() - began < 5
        until(lambda: not gate.server.server_state.connections)


def test_so_many_listen_and_no_more(mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "LISTENERS", 2)
    with served(mapped, with_home=False, store=str(tmp_path / "g.db")) as gate, contextlib.ExitStack() as held:
        url = f"{gate.url}/homing/v1/events"
        client = held.enter_context(httpx2.Client(timeout=20))
        first, second = (client.stream("GET", url) for _ in range(2))
        assert first.__enter__().status_code == second.__enter__().status_code == 200
        refused = client.get(url)
        assert refused.status_code == 429 and refused.headers["retry-after"] == "30"
        assert refused.json()["error"]["code"] == "too_many_listeners"
        first.__exit__(None, None, None)
        until(lambda: gate.service.live.readers == 1)
        with client.stream("GET", url) as again:
            assert again.status_code == 200
        second.__exit__(None, None, None)
        until(lambda: gate.service.live.readers == 0)


def test_askings_that_no_client_waits_for_are_few(mapped: Mapped) -> None:
    """What is asked of a conversation takes its time, and turns do not wait for it."""
    started: list[int] = []
    hang = threading.Event()

    class Slow:
        calls = 2

        async def ask(self, conversation: Any) -> Any:
            started.append(1)
            while not hang.is_set():
                await asyncio.sleep(0.01)
            raise HomingError("nothing was found")

    def change(keeper: Any) -> None:
        keeper.outside = Slow()

    with served(mapped, Deployment(ask_every=1), slots=3, change=change) as gate:
        for k in range(8):
            Talk(gate, conversation_id=f"c{k}").say("Hello there")
        assert len(gate.service.keeper._asking) == 3
        hang.set()
        until(lambda: not gate.service.keeper._asking)
        Talk(gate, conversation_id="c9").say("Hello there")
        until(lambda: len(started) == 4)
