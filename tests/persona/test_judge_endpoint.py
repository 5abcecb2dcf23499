"""A judge that is asked over the wire: a real server on this machine that can also fail, refuse and talk nonsense."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homing.conversation import Message
from homing.errors import InputError, ModelError
from homing.identity.work import WorkDir
from homing.models.completions import Completions
from homing.persona.judge import asked_scores, gate, load_gold
from homing.persona.roles import load_roles
from homing.verbs.plan import plan_map

ROLES = {r.id: r for r in load_roles()}


class Service:
    """What the server answers: an int is a status, bytes go out as they are, a callable sees the request's JSON."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.always: Any = None
        self.seen: list[tuple[dict[str, str], dict[str, Any]]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.seen.append((dict(self.headers), body))
                what = service.script.pop(0) if service.script else service.always
                if isinstance(what, tuple):
                    status, headers = what
                    self.send_response(status)
                    for k, v in headers.items():
                        self.send_header(k, v)
                    self.end_headers()
                    return
                raw = what if isinstance(what, bytes) else json.dumps(
                    {"choices": [{"message": {"role": "assistant", "content": what(body) if callable(what) else what}}]}
                ).encode()  # fmt: skip
                self.send_response(200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    s = Service()
    yield s
    s.server.shutdown()
    s.server.server_close()


ASK = (Message("user", "well?"),)


def test_an_answer_is_asked_for_greedily_and_with_the_key(service: Service) -> None:
    service.always = "Yes."
    assert Completions(service.url, "m", "secret").ask(ASK) == "Yes."
    headers, body = service.seen[0]
    assert headers["Authorization"] == "Bearer secret"
    assert body == {"model": "m", "messages": [{"role": "user", "content": "well?"}], "temperature": 0, "max_tokens": 8}
    assert "secret" not in repr(Completions(service.url, "m", "secret"))


def test_a_busy_service_is_asked_again_when_it_says(service: Service) -> None:
    waits: list[float] = []
    service.script = [(429, {"Retry-After": "3"}), (503, {}), "no"]
    assert Completions(service.url, "m", wait=waits.append).ask(ASK) == "no"
    assert waits == [3.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {}), r"refuses \(status 401\); check the address, the model name and the key"),
        ((404, {}), r"refuses \(status 404\)"),
        ((302, {"Location": "http://127.0.0.1:9/"}), r"refuses \(status 302\)"),
        (b"<html>", "no chat completion"),
        (b'{"choices": []}', "no chat completion"),
        (b'{"choices": [{"message": {"content": null}}]}', "no chat completion"),
        (b"[" * 100_000, "no chat completion"),
        (b'"' + b"x" * 2**20 + b'"', "over 1 MiB"),
    ],
)
def test_what_is_no_answer_is_one_sentence(service: Service, answer: Any, words: str) -> None:
    service.always = answer
    with pytest.raises(ModelError, match=words) as e:
        Completions(service.url, "m", wait=lambda s: None).ask(ASK)
    assert "\n" not in str(e.value)
    assert len(service.seen) == 1


def test_nobody_there(service: Service) -> None:
    with pytest.raises(ModelError, match="did not answer in 2 attempts"):
        Completions("http://127.0.0.1:9/v1", "m", attempts=2, wait=lambda s: None).ask(ASK)
    service.always = (500, {})
    with pytest.raises(ModelError, match=r"did not answer in 3 attempts \(status 500\)"):
        Completions(service.url, "m", attempts=3, wait=lambda s: None).ask(ASK)


@pytest.mark.parametrize(
    ("url", "model", "words"),
    [
        ("ftp://there/v1", "m", "is no address"),
        ("http://", "m", "is no address"),
        ("http://me:secret@there/v1", "m", "give the key apart"),
        ("http://there/v1", "", "say which model"),
    ],
)
def test_what_is_no_endpoint_is_refused_before_anything_runs(tmp_path: Path, url: str, model: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as e:
        plan_map("smollm2", preset="smoke", out=tmp_path, judge=url, judge_model=model)
    assert "secret" not in str(e.value)


def _items() -> list[Any]:
    return [(ROLES[g.role], 0, g.question, g.reply) for g in load_gold() if g.role in ROLES]


async def test_a_good_judge_passes_its_gate_and_answers_once(service: Service, tmp_path: Path) -> None:
    gold = [g for g in load_gold() if g.role in ROLES]
    truth = {(ROLES[g.role].name, g.question, g.reply): g.labels[0] for g in gold}

    def honest(body: dict[str, Any]) -> str:
        asked = json.loads(body["messages"][1]["content"])
        assert asked["instructions"]
        return "Yes" if truth[asked["role"], asked["question"], asked["reply"]] else "**No**, I think."

    service.always = honest
    judge = Completions(service.url, "m")
    done: list[int] = []
    with WorkDir(tmp_path / "w", {"a": 1}) as work:
        scores = await asked_scores(judge.ask, _items(), work=work, name="gold", advance=done.append)
        asked = len(service.seen)
        again = await asked_scores(judge.ask, _items(), work=work, name="gold")
    assert sum(done) == len(gold) == asked == len(service.seen)
    assert np.array_equal(scores, again)
    found = gate(scores, gold, seed=0)
    assert found.passed and found.balanced_accuracy.value > 0.95 and 0 < found.threshold < 1


async def test_a_judge_that_says_one_thing_or_nothing_does_not_pass(service: Service, tmp_path: Path) -> None:
    gold = [g for g in load_gold() if g.role in ROLES]
    service.always = "yes"
    with WorkDir(tmp_path / "w", {"a": 1}) as work:
        scores = await asked_scores(Completions(service.url, "m").ask, _items(), work=work, name="yes")
        found = gate(scores, gold, seed=0)
        assert not found.passed and found.balanced_accuracy.value == pytest.approx(0.5)
        service.always = "It is hard to tell."
        scores = await asked_scores(Completions(service.url, "m").ask, _items()[:8], work=work, name="neither")
    assert np.isnan(scores).all()


async def test_what_was_judged_before_the_service_failed_is_kept(service: Service, tmp_path: Path) -> None:
    service.script = ["yes"] * 8 + [(401, {})] * 8
    judge = Completions(service.url, "m", attempts=1, wait=lambda s: None)
    with WorkDir(tmp_path / "w", {"a": 1}) as work:
        with pytest.raises(ModelError, match="refuses"):
            await asked_scores(judge.ask, _items()[:16], work=work, name="j")
        service.script, service.always = [], "no"
        before = len(service.seen)
        scores = await asked_scores(judge.ask, _items()[:16], work=work, name="j")
    assert scores.tolist() == [1.0] * 8 + [0.0] * 8
    assert len(service.seen) - before == 8


def test_a_plan_says_who_judges(tmp_path: Path) -> None:
    plan = plan_map("smollm2", preset="smoke", out=tmp_path, judge="http://127.0.0.1:1/v1", judge_model="m")
    assert plan.judging == "m at http://127.0.0.1:1/v1"
    assert any("judge: m at http" in line for line in plan.describe())
    none = plan_map("smollm2", preset="smoke", out=tmp_path, judge="none")
    assert plan.steps > none.steps and plan.units_json() == none.units_json()
