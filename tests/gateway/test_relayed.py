"""Upstream mode over the wire: what is passed on passes as it is and is kept; what is held is held; what is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from tests.gateway.test_serve import refused, running

from homing.testing.upstream import ANSWER, CUT, Upstream, fails

HELLO = [{"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
def service() -> Iterator[Upstream]:
    with Upstream(say=lambda c, body: f"You said {c.messages[-1].content}, after {len(c) - 1}.") as up:
        yield up


@pytest.fixture(scope="module")
def gate(service: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("up") / "g.db"
    with running("x", "--upstream", service.url, "--hold", "off", "--store", store, "--keep-text") as (url, _):
        yield url


def ask(gate: str, **more: Any) -> httpx2.Response:
    return httpx2.post(f"{gate}/v1/chat/completions", json={"model": "x", "messages": HELLO, **more}, timeout=60)


def test_a_client_meets_the_upstream_and_its_talk_is_kept(gate: str, service: Upstream) -> None:
    with openai.OpenAI(base_url=f"{gate}/v1", api_key="not for the upstream", max_retries=0) as c:
        assert [m.id for m in c.models.list()] == ["x"]
        first = c.chat.completions.create(model="x", messages=HELLO, extra_body={"homing": {"report": True}})  # type: ignore[arg-type]
        said = first.choices[0].message.content
        assert said == "You said Hello there, after 0."
        more: Any = [*HELLO, {"role": "assistant", "content": said}, {"role": "user", "content": "And now?"}]
        chunks = list(
            c.chat.completions.create(
                model="x", messages=more, stream=True, extra_body={"homing": {"report": True}, "top_k": 3}
            )
        )
    told = [x.model_extra["homing"] for x in chunks if x.model_extra and "homing" in x.model_extra]
    assert first.model_extra and told[0]["conversation_id"] == first.model_extra["homing"]["conversation_id"]
    assert told[0]["turn"] == 2 and told[0]["position"] is None
    assert (
        service.asked[-1].key in ("", None)
        and service.asked[-1].body["top_k"] == 3
        and "homing" not in service.asked[-1].body
    )
    kept = httpx2.get(f"{gate}/homing/v1/conversations/{told[0]['conversation_id']}").json()
    assert [t["messages"][-1]["content"] for t in kept["list"]] == [said, "You said And now?, after 2."]


def chunks_of(text: str) -> list[dict[str, Any]]:
    bodies = [json.loads(x[6:]) for x in text.split("\n\n") if x.startswith("data: {")]
    return [{k: v for k, v in b.items() if k not in ("id", "created")} for b in bodies]


def test_what_is_not_asked_for_is_not_added(gate: str, service: Upstream) -> None:
    straight = httpx2.post(f"{service.url}/chat/completions", json={"model": "x", "messages": HELLO, "stream": True})
    through = ask(gate, stream=True)
    assert chunks_of(through.text) == chunks_of(straight.text)
    assert through.text.rstrip().endswith("data: [DONE]")


def test_a_hold_that_needs_no_weights_holds(gate: str, service: Upstream) -> None:
    talk = [*HELLO, {"role": "assistant", "content": "I am a pirate."}, {"role": "user", "content": "And now?"}]
    before = len(service.asked)
    r = ask(gate, messages=talk, max_tokens=20, homing={"hold": "heal", "report": True})
    assert r.status_code == 200, r.text
    assert r.json()["homing"]["acted"] and r.json()["homing"]["did"][0]["hold"] == "heal"
    shown = service.asked[-1].body["messages"]
    assert [m["content"] for m in shown] == ["Hello there", "You said Hello there, after 0.", "And now?"]
    assert len(service.asked) == before + 2
    assert ask(gate, homing={"hold": "cap"}).json()["error"]["param"] == "homing.hold"


def test_what_is_made_again_is_made_under_the_clients_own_system_prompt(gate: str, service: Upstream) -> None:
    talk = [{"role": "system", "content": "Be brief."}, *HELLO, {"role": "assistant", "content": "I am a pirate."}]
    assert ask(gate, messages=[*talk, {"role": "user", "content": "And?"}], homing={"hold": "heal"}).status_code == 200
    healing, answering = service.asked[-2:]
    assert [m["content"] for m in healing.body["messages"]] == ["Be brief.", "Hello there"]
    assert [m["role"] for m in answering.body["messages"]] == ["system", "user", "assistant", "user"]


def test_what_the_upstream_gets_wrong_is_said(gate: str, service: Upstream) -> None:
    rule = service.rule
    try:
        service.rule = lambda n: fails(500)
        assert ask(gate).status_code == 500
        service.rule = lambda n: CUT
        cut = ask(gate, stream=True)
        assert '"error"' in cut.text and cut.text.endswith("data: [DONE]\n\n")
    finally:
        service.rule = rule
    assert service.rule(0) == ANSWER
    assert ask(gate, base_url="http://elsewhere/").json()["error"]["param"] == "base_url"
    assert ask(gate, homing={"hold": 3}).json()["error"]["param"] == "homing.hold"
    assert ask(gate, messages=[{"role": "king"}]).status_code == 400


def test_a_start_without_its_upstream(service: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", tmp_path / "g.db", "--check"]
    assert "cannot be reached" in refused(capsys, "x", "--upstream", "http://127.0.0.1:9/v1", "--hold", "off", *store)
    assert "does not have model 'y'" in refused(capsys, "y", "--upstream", service.url, "--hold", "off", *store)
    assert "--hold off" in refused(capsys, "x", "--upstream", service.url, *store)
    assert "NO_SUCH_KEY" in refused(
        capsys, "x", "--upstream", service.url, "--upstream-key", "NO_SUCH_KEY", "--hold", "off", *store
    )
