"""``homing serve`` as a process: it answers, drains, loses no turn to SIGKILL, and refuses a bad start in a sentence."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.cli.running import run
from tests.gateway.serving import running
from tests.verbs.tiny_map import Mapped, save_model

from homing.gateway.deployment import Deployment
from homing.gateway.serve import listen
from homing.testing.tiny import planted_model

HELLO = [{"role": "user", "content": "Hello there"}]


def ask(url: str, **more: Any) -> httpx2.Response:
    body = {"model": httpx2.get(f"{url}/v1/models").json()["data"][0]["id"], "messages": HELLO, "max_tokens": 6, **more}
    return httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=60)


def test_it_answers_and_keeps_and_every_acknowledged_turn_outlives_a_kill(mapped: Mapped, tmp_path: Path) -> None:
    store = tmp_path / "g.db"
    acknowledged: list[int] = []
    with running(mapped.model, "--identity", mapped.home, "--store", store) as (url, p):
        stop = threading.Event()

        def talk() -> None:
            k = 0
            while not stop.is_set():
                try:
                    r = ask(url, stream=True, seed=k, homing={"conversation_id": "kept", "report": True})
                except httpx2.HTTPError:
                    return
                if r.text.endswith("data: [DONE]\n\n"):
                    last = [x for x in r.text.split("\n\n") if x.startswith("data: {")][-1]
                    acknowledged.append(json.loads(last[6:])["homing"]["turn"])
                k += 1

        t = threading.Thread(target=talk)
        t.start()
        end = time.monotonic() + 30
        while len(acknowledged) < 8 and time.monotonic() < end:
            time.sleep(0.01)
        p.send_signal(signal.SIGKILL)
        stop.set()
        t.join(60)
    assert len(acknowledged) >= 8
    with running(mapped.model, "--identity", mapped.home, "--store", store) as (url, p):
        c = httpx2.get(f"{url}/homing/v1/conversations/kept").json()
        kept = [x["index"] + 1 for x in c["list"]]
        assert kept == list(range(1, len(kept) + 1)), "each once"
        assert set(acknowledged) <= set(kept) and len(kept) <= len(acknowledged) + 1
        assert ask(url, homing={"conversation_id": "kept", "report": True}).json()["homing"]["turn"] == len(kept) + 1


def test_sigterm_lets_a_stream_end_and_takes_nothing_new(mapped: Mapped, tmp_path: Path) -> None:
    with running(mapped.model, "--identity", mapped.home, "--store", tmp_path / "g.db", "--hold", "none") as (url, p):
        model = httpx2.get(f"{url}/v1/models").json()["data"][0]["id"]
        body = {"model": model, "messages": HELLO, "max_tokens": 200, "stream": True, "seed": 1, "n": 8}
        with httpx2.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as r:
            lines = r.iter_lines()
            next(lines)
            p.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert "data: [DONE]" in rest and not any('"error"' in x for x in rest)
        assert p.wait(30) == 0


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    code, out, err = run(capsys, "serve", *args)
    said = [x for x in err.splitlines() if x]
    assert code == 2 and not out and len(said) == 1 and said[0].startswith("error: "), err
    return said[0]


def test_a_bad_start_is_one_sentence(mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good: list[object] = [mapped.model, "--identity", mapped.home, "--store", tmp_path / "g.db", "--check"]
    code, out, err = run(capsys, "serve", *good, "--json")
    assert code == 0 and json.loads(out)["slots"] >= 1, err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "--port" in refused(capsys, *good, "--port", taken.getsockname()[1])
    assert "--hold off" in refused(capsys, mapped.model, "--store", tmp_path / "g.db", "--check")
    assert "keys" in refused(capsys, *good, "--host", "0.0.0.0")
    keys = tmp_path / "keys.json"
    keys.write_text('{"alice": "plain key"}')
    assert "SHA-256" in refused(capsys, *good, "--keys", keys)
    assert "unknown hold" in refused(capsys, *good, "--hold", "nothing_like_it")
    assert "HOMING_WEBHOOK_SECRET" in refused(capsys, *good, "--webhook", "http://127.0.0.1:9/")
    with contextlib.closing(sqlite3.connect(tmp_path / "g.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer" in refused(capsys, *good)
    other = save_model(planted_model(strength=3.0), tmp_path / "other")
    said = refused(capsys, other, "--identity", mapped.home, "--store", tmp_path / "h.db", "--check")
    assert "identity" in said


def test_forgetting_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "forget", "never-was", "--store", tmp_path / "g.db")
    assert code == 2 and "never-was" in err


def test_no_answer_waits_for_an_acknowledgement() -> None:
    with listen(Deployment(port=0)) as server:
        server.listen()
        with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
