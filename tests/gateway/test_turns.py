"""Kept conversations: an alarm when the planted model leaves, the way back until home is shown, and all of it said."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.gateway.serving import Served, served, until
from tests.verbs.tiny_map import Mapped

from homing.engine.prefixes import PrefixStore
from homing.errors import ModelError
from homing.gateway.deployment import Deployment
from homing.testing.tiny import MARKER


@pytest.fixture(scope="module")
def gate(mapped: Mapped) -> Iterator[Served]:
    with served(mapped, Deployment(mode="on", text=True)) as s:
        yield s


class Talk:
    """A client that knows nothing of us but the base URL, and may ask for a report."""

    def __init__(self, gate: Served, *, report: bool = True, system: str | None = None, **ours: Any) -> None:
        self.gate, self.ours = gate, {"report": report, **ours}
        self.messages: list[dict[str, str]] = [] if system is None else [{"role": "system", "content": system}]
        self.k = 0

    def say(self, text: str, *, stream: bool = False, **more: Any) -> dict[str, Any]:
        self.messages.append({"role": "user", "content": text})
        self.k += 1
        body = {
            "model": self.gate.model, "messages": self.messages, "seed": self.k, "max_tokens": 6, "temperature": 0.7,
            "stream": stream, "homing": self.ours, **more,
        }  # fmt: skip
        r = httpx2.post(self.gate.url + "/v1/chat/completions", json=body, timeout=120)
        assert r.status_code == 200, r.text
        if stream:
            chunks = [json.loads(x[6:]) for x in r.text.split("\n\n") if x.startswith("data: {")]
            assert all("error" not in c for c in chunks), chunks
            text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
            out = chunks[-1]
        else:
            out = r.json()
            text = out["choices"][0]["message"]["content"]
        self.messages.append({"role": "assistant", "content": text})
        return {"text": text, **out.get("homing", {})}


QUIET = ("Hello there", "And now?", "What else is new", "Tell me of the weather")


def test_a_conversation_at_home_is_kept_without_an_alarm(gate: Served) -> None:
    talk = Talk(gate)
    said = [talk.say(t) for t in QUIET]
    assert len({s["conversation_id"] for s in said}) == 1, (
        "a client that sends no id keeps its conversation all the same"
    )
    assert [s["turn"] for s in said] == [1, 2, 3, 4]
    assert said[0]["drift"] == 0.0 and all(abs(s["drift"]) < 0.5 for s in said)
    assert not any(s["alarmed"] or s["returning"] or s["acted"] for s in said[:2])  # the promise covers two turns here
    assert not said[1]["warnings"] and "calibrated on 2" in " ".join(said[2]["warnings"])
    assert all(s["mode"] == "on" and s["hold"] == "return" and s["hold_of"] == "deployment" for s in said)
    kept = gate.store.kept[("local", said[0]["conversation_id"])]
    assert [len(t.trace) for t in kept] == [t.new_tokens for t in kept] == [s["tokens"] for s in said]
    assert [t.messages[-1]["content"] for t in kept if t.messages] == [s["text"] for s in said]


def test_a_client_that_leaves_home_is_brought_back_until_home_is_shown(gate: Served) -> None:
    """The marker in the model's own past switches the planted role on; healed replies do not have it."""
    talk = Talk(gate)
    talk.say("Hello there")
    talk.messages[-1]["content"] += f" {MARKER}"  # its own words are what holds it away
    away = [talk.say("And now?", homing={**talk.ours, "conversation_id": "walk"})]
    talk.ours["conversation_id"] = "walk"
    for text in (
        "What else is new",
        "Tell me of the weather",
        "Tell me more",
        "And then?",
        "And after that?",
        "What now?",
    ):
        away.append(talk.say(text))
        if away[-1]["home"]:
            break
    first = next(i for i, a in enumerate(away) if a["alarms"])
    assert away[first]["returning"] and not away[first]["acted"]
    held = away[first + 1 :]
    assert held and held[0]["acted"] and any(d["hold"] == "return" for d in held[0]["did"])
    assert held[-1]["home"] and not held[-1]["returning"], [(a["drift"], a["home"]) for a in away]
    assert held[-1]["drift"] > away[first]["drift"] + 0.5
    kinds = [e.kind for t, e in gate.store.said if e.conversation == "walk"]
    assert kinds.count("alarm") >= 1 and kinds.index("alarm") < kinds.index("return") < kinds.index("home")


def test_shadow_measures_and_changes_nothing(mapped: Mapped) -> None:
    said: dict[str, list[dict[str, Any]]] = {}
    for mode in ("off", "shadow"):
        with served(mapped, Deployment(mode=mode, hold="cap")) as gate:  # type: ignore[arg-type]
            talk = Talk(gate)
            said[mode] = [talk.say(t, stream=True) for t in (f"Be {MARKER}", *QUIET)]
    assert [s["text"] for s in said["off"]] == [s["text"] for s in said["shadow"]]
    assert all(s["position"] is None for s in said["off"])
    assert all(s["position"] is not None and not s["acted"] for s in said["shadow"])
    assert any(s["alarms"] for s in said["shadow"])


def test_a_request_may_ask_for_shadow_alone(gate: Served) -> None:
    talk = Talk(gate, hold="cap", shadow=True)
    assert talk.say("Hello there")["mode"] == "shadow"


def test_the_cap_is_read_without_itself_and_says_how_many_tokens_it_moved(gate: Served) -> None:
    free, held = Talk(gate, hold="none", conversation_id="free"), Talk(gate, hold="cap", conversation_id="held")
    a, b = free.say(f"Be {MARKER}"), held.say(f"Be {MARKER}")
    assert a["capped_tokens"] == 0 and b["capped_tokens"] > 0 and b["acted"] and b["hold_of"] == "request"
    kept = gate.store.kept[("local", "held")][0]
    assert kept.capped == b["capped_tokens"] and len(kept.trace) > 0
    assert free.say("And now?")["turn"] == 2


def test_a_client_that_asks_for_nothing_is_told_nothing(gate: Served) -> None:
    r = httpx2.post(
        gate.url + "/v1/chat/completions",
        json={"model": gate.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3},
        timeout=60,
    )
    assert "homing" not in r.json()


def test_a_header_names_the_conversation(gate: Served) -> None:
    for _ in range(2):
        httpx2.post(
            gate.url + "/v1/chat/completions",
            json={"model": gate.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3},
            headers={"x-homing-conversation": "by-header"},
            timeout=60,
        )
    assert len(gate.store.kept[("local", "by-header")]) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_where_keeping_fails_an_open_service_answers_and_says_so_and_a_closed_one_does_not(
    mapped: Mapped, stream: bool
) -> None:
    for fail in ("open", "closed"):
        with served(mapped, Deployment(fail=fail)) as gate:  # type: ignore[arg-type]
            gate.store.fails = ModelError("the disk is full; free some")
            body = {
                "model": gate.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "stream": stream,
                "homing": {"report": True},
            }  # fmt: skip
            r = httpx2.post(gate.url + "/v1/chat/completions", json=body, timeout=60)
            if fail == "open":
                assert (
                    r.status_code == 200 and "the disk is full" in r.text and '"kept":false' in r.text.replace(" ", "")
                )
            elif stream:
                assert '"error"' in r.text and r.text.endswith("data: [DONE]\n\n")
            else:
                assert r.status_code == 503 and "fails closed" in r.json()["error"]["message"]


def endless(monkeypatch: pytest.MonkeyPatch, gate: Served) -> None:
    """Replies end at their length alone, and the batch takes its time."""
    model: Any = gate.service.keeper.model
    batch = model.engine._loop.batch
    step, stream = batch.step, model.stream
    monkeypatch.setattr(batch, "step", lambda: (time.sleep(0.01), step())[1])

    def streams(conversation: Any, *, sampling: Any, **more: Any) -> Any:
        return stream(conversation, sampling=replace(sampling, stop_tokens=()), **more)

    monkeypatch.setattr(model, "stream", streams)


def test_a_reader_that_goes_away_leaves_the_batch_and_no_turn(gate: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    endless(monkeypatch, gate)
    model: Any = gate.service.keeper.model
    rows = model.engine._loop.batch
    body = {
        "model": gate.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 300, "stream": True,
        "homing": {"conversation_id": "gone"},
    }  # fmt: skip
    began = time.monotonic()
    with httpx2.stream("POST", gate.url + "/v1/chat/completions", json=body, timeout=60) as r:
        for _, _line in zip(range(6), r.iter_lines(), strict=False):
            pass
        assert rows.rows
    until(lambda: not rows.rows and gate.service.running == 0)
    assert time.monotonic() - began < 2.0, "300 tokens take 3 s here: the row must leave before its end"
    assert ("local", "gone") not in gate.store.kept


def test_a_failing_engine_ends_the_stream_with_an_error(gate: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    model = gate.service.keeper.model
    real = model.stream

    async def breaks(*args: Any, **more: Any) -> Any:
        n = 0
        async for event in real(*args, **more):
            n += 1
            if n > 3:
                raise ModelError("the engine broke in mid-reply; look into its log")
            yield event

    monkeypatch.setattr(model, "stream", breaks)
    r = httpx2.post(
        gate.url + "/v1/chat/completions",
        json={"model": gate.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 30, "stream": True},
        timeout=60,
    )
    parts = [x for x in r.text.split("\n\n") if x]
    assert parts[-1] == "data: [DONE]"
    assert json.loads(parts[-2][6:])["error"]["message"].startswith("the engine broke")


def test_a_full_queue_is_429_with_a_time_to_come_back(mapped: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(mapped, Deployment(mode="off", queue=0), slots=1) as gate:
        endless(monkeypatch, gate)
        body = {
            "model": gate.model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 300,
            "stream": True,
        }
        with httpx2.stream("POST", gate.url + "/v1/chat/completions", json=body, timeout=60) as first:
            lines = first.iter_lines()  # held, since letting it go closes the stream
            next(lines)
            second = httpx2.post(gate.url + "/v1/chat/completions", json=body, timeout=60)
            assert second.status_code == 429
            assert second.headers["retry-after"] == "1"
            assert second.json()["error"]["type"] == "rate_limit_error"
        until(lambda: gate.service.running == 0)
        body = {**body, "max_tokens": 2, "stream": False}
        assert httpx2.post(gate.url + "/v1/chat/completions", json=body, timeout=60).status_code == 200


def test_a_later_turn_goes_on_from_what_was_kept_of_its_own_conversation(
    gate: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning is computed once; another conversation with the same words computes its own."""
    found: list[tuple[str, int]] = []
    real = PrefixStore.find

    def find(self: PrefixStore, tenant: str, *more: Any) -> Any:
        hit = real(self, tenant, *more)
        found.append((tenant, 0 if hit is None else len(hit.tokens)))
        return hit

    monkeypatch.setattr(PrefixStore, "find", find)
    talk = Talk(gate, conversation_id="kept-keys", hold="none")
    first = talk.say("Hello there, and a good day to you")
    assert not any(n for _, n in found), "of a conversation that may have one turn alone nothing is kept"
    second = talk.say("And now?")
    whole = max(n for t, n in found if t == "local/kept-keys")
    assert whole > 20
    found.clear()
    third = talk.say("What else is new")
    assert found[0] == ("local/kept-keys", whole), "it goes on from the whole of the turn before"
    found.clear()
    again = Talk(gate, conversation_id="others-keys", hold="none")
    said = [again.say(t)["text"] for t in ("Hello there, and a good day to you", "And now?", "What else is new")]
    assert ("local/kept-keys", whole) not in found
    assert said == [first["text"], second["text"], third["text"]]
