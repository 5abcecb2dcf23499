"""Our own routes over a real store: what the page reads and does, for one tenant alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.gateway.serving import Served, served, until
from tests.gateway.test_turns import Talk
from tests.verbs.tiny_map import Mapped

from homing.gateway.access import Key, hashed
from homing.gateway.deployment import Deployment
from homing.testing.tiny import MARKER

AT = "/homing/v1"


@pytest.fixture(scope="module")
def gate(mapped: Mapped, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("store") / "gateway.db"
    with served(mapped, Deployment(mode="on", text=True), store=f"sqlite:///{file}") as s:
        yield s


def get(gate: Served, path: str, **more: Any) -> Any:
    r = httpx2.get(gate.url + AT + path, timeout=60, **more)
    assert r.status_code == 200, r.text
    return r.json()


def post(gate: Served, path: str, **body: Any) -> httpx2.Response:
    return httpx2.post(gate.url + AT + path, json=body, timeout=60)


def away(gate: Served, id: str) -> Talk:
    """A conversation that an alarm has fired in."""
    talk = Talk(gate, conversation_id=id)
    talk.say("Hello there")
    talk.messages[-1]["content"] += f" {MARKER}"
    for text in ("And now?", "What else is new", "Tell me of the weather"):
        if talk.say(text)["alarmed"]:
            return talk
    raise AssertionError("no alarm fired")


def test_a_conversation_is_there_as_it_went(gate: Served) -> None:
    talk = Talk(gate, conversation_id="plain")
    said = [talk.say(t) for t in ("Hello there", "And now?")]
    listed = get(gate, "/conversations")["data"]
    assert "plain" in [c["id"] for c in listed]
    c = get(gate, "/conversations/plain")
    assert c["turns"] == 2 and [t["index"] for t in c["list"]] == [0, 1]
    assert [t["position"] for t in c["list"]] == [s["position"] for s in said]
    assert [t["messages"][-1]["content"] for t in c["list"]] == [s["text"] for s in said]
    assert c["band"]["low"] < 1 < c["band"]["high"]
    trace = get(gate, "/conversations/plain/trace")["turns"]
    assert [len(t["tokens"]) for t in trace] == [s["tokens"] for s in said]
    assert all(t["pieces"] is None or "".join(t["pieces"]) == s["text"] for t, s in zip(trace, said, strict=True))


def test_status_holds_and_identities(gate: Served) -> None:
    s = get(gate, "/status")
    assert s["model"] == gate.model and s["mode"] == "on" and s["hold"] == "return" and s["text"] is True
    assert "probability" in s["promise"]
    holds = {h["id"]: h for h in get(gate, "/holds")["data"]}
    assert holds["cap"]["needs"] == ["acts"] and holds["heal"]["buffers"] and not holds["cap"]["buffers"]
    assert len(get(gate, "/identities")["data"]) == 1


def test_an_operator_brings_back_a_conversation_that_no_alarm_fired_in(gate: Served) -> None:
    talk = Talk(gate, conversation_id="calm", hold="none")
    talk.say("Hello there")
    r = post(gate, "/conversations/calm/return")
    assert r.status_code == 200 and r.json()["returning"]
    held = talk.say("And now?")
    assert held["acted"] and held["hold"] == "return" and held["hold_of"] == "operator"
    until_home = [held, talk.say("What else is new")]
    assert until_home[-1]["home"] or talk.say("Tell me of the weather")["returning"] in (True, False)


def test_an_operators_hold_goes_before_the_clients(gate: Served) -> None:
    talk = Talk(gate, conversation_id="switched", hold="none")
    assert not talk.say("Hello there")["acted"]
    assert post(gate, "/conversations/switched/hold", hold="cap").json()["hold"] == "cap"
    held = talk.say("And now?")
    assert held["acted"] and held["hold"] == "cap" and held["hold_of"] == "operator"
    assert post(gate, "/conversations/switched/hold", hold=None).json()["hold"] is None
    assert not talk.say("What else")["acted"]


def test_a_false_alarm_is_marked_and_ends_the_way_back(gate: Served) -> None:
    talk = away(gate, "false")
    (alarm, *_) = get(gate, "/conversations/false")["alarms_list"]
    assert get(gate, "/conversations/false")["returning"]
    r = post(gate, f"/alarms/{alarm['id']}", false_alarm=True)
    assert r.status_code == 200 and r.json()["false_alarm"]
    now = get(gate, "/conversations/false")
    assert not now["returning"] and not now["alarmed"] and now["alarms_list"][0]["false_alarm"]
    assert get(gate, "/status")["false_alarms"] >= 1
    assert not talk.say("And?")["acted"]


def test_a_turn_is_compared_held_and_not(gate: Served) -> None:
    away(gate, "compared")
    last = get(gate, "/conversations/compared")["turns"] - 1
    r = post(gate, "/conversations/compared/compare", turn=last)
    assert r.status_code == 200, r.text
    out = r.json()
    assert out["turn"] == last and out["held"]["text"] and out["unheld"]["text"]
    assert post(gate, "/conversations/compared/compare", turn=99).json()["error"]["param"] == "turn"


def test_forgetting_leaves_nothing(gate: Served) -> None:
    Talk(gate, conversation_id="gone").say("Hello there")
    r = httpx2.delete(gate.url + AT + "/conversations/gone")
    assert r.json() == {"id": "gone", "deleted": True}
    assert httpx2.get(gate.url + AT + "/conversations/gone").status_code == 404
    assert httpx2.delete(gate.url + AT + "/conversations/gone").status_code == 404


def test_events_come_live_and_go_on_after_the_last_one_seen(gate: Served) -> None:
    seen: list[dict[str, Any]] = []
    ready = threading.Event()

    def read(after: str | None, most: int) -> None:
        headers = {} if after is None else {"last-event-id": after}
        with httpx2.stream("GET", gate.url + AT + "/events", headers=headers, timeout=60) as r:
            event: dict[str, Any] = {}
            for line in r.iter_lines():
                ready.set()
                if line.startswith("data: "):
                    event["data"] = json.loads(line[6:])
                elif ": " in line and not line.startswith(":"):
                    event[line.split(": ")[0]] = line.split(": ")[1]
                elif not line and event:
                    seen.append(event)
                    event = {}
                if len(seen) >= most:
                    return

    t = threading.Thread(target=read, args=(None, 2))
    t.start()
    ready.wait(10)
    talk = Talk(gate, conversation_id="live")
    talk.say("Hello there")
    talk.say("And now?")
    t.join(20)
    assert [(e["event"], e["data"]["conversation"], e["data"]["turn"]) for e in seen] == [
        ("turn", "live", 0),
        ("turn", "live", 1),
    ]
    first, second = (int(e["id"]) for e in seen)
    assert second > first
    seen.clear()
    read(str(first), 1)
    assert [int(e["id"]) for e in seen] == [second]
    until(lambda: "homing_event_readers 0.0" in httpx2.get(gate.url + "/metrics").text)


BAD = [
    ("GET", "/conversations?limit=0", None, 400), ("GET", "/conversations?limit=x", None, 400),
    ("GET", "/conversations?before=none-such", None, 400), ("GET", "/conversations/none-such", None, 404),
    ("GET", "/conversations/a%20b", None, 404), ("GET", "/conversations/x/trace", None, 404),
    ("POST", "/conversations/x/return", {}, 404), ("POST", "/conversations/x/hold", {"hold": "none"}, 404),
    ("POST", "/conversations/x/hold", {}, 400), ("POST", "/conversations/x/hold", {"hold": 3}, 400),
    ("POST", "/conversations/x/hold", {"hold": "none", "more": 1}, 400),
    ("POST", "/alarms/1000000", {"false_alarm": True}, 404), ("POST", "/alarms/x", {"false_alarm": True}, 404),
    ("POST", "/alarms/1", {"false_alarm": 1}, 400), ("POST", "/conversations/x/compare", {"turn": True}, 400),
    ("GET", "/nothing", None, 404),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD, ids=[f"{m} {p} {b}" for m, p, b, _ in BAD])
def test_what_cannot_be_asked(gate: Served, method: str, path: str, body: Any, status: int) -> None:
    r = httpx2.request(method, gate.url + AT + path, json=body)
    assert r.status_code == status and r.json()["error"]["message"]


def test_a_tenant_sees_its_own_alone_on_every_route(mapped: Mapped, tmp_path: Path) -> None:
    keys = (Key("alice", hashed("a")), Key("bob", hashed("b")))
    with served(mapped, Deployment(mode="on", keys=keys, text=True), store=str(tmp_path / "g.db")) as gate:

        def by(key: str, method: str, path: str, body: Any = None) -> httpx2.Response:
            return httpx2.request(
                method, gate.url + path, json=body, headers={"authorization": f"Bearer {key}"}, timeout=60
            )

        talk = [{"role": "user", "content": "Hello there"}]
        ask = {
            "model": gate.model,
            "messages": talk,
            "max_tokens": 6,
            "homing": {"conversation_id": "mine", "report": True},
        }
        reply = by("a", "POST", "/v1/chat/completions", ask).json()
        at = f"{AT}/conversations/mine"
        routes: list[tuple[str, str, Any]] = [
            ("GET", at, None), ("GET", f"{at}/trace", None), ("POST", f"{at}/return", {}), ("POST", f"{at}/hold", {"hold": None}),
            ("POST", f"{at}/compare", {"turn": 0}), ("DELETE", at, None),
        ]  # fmt: skip
        for method, path, body in routes:
            assert by("b", method, path, body).status_code == 404, (method, path)
        assert by("b", "GET", f"{AT}/conversations").json()["data"] == []
        assert by("b", "GET", f"{AT}/status").json()["conversations"] == 0
        # the same id is another conversation, and the same words are no way into hers
        other = by("b", "POST", "/v1/chat/completions", ask).json()
        assert other["homing"]["turn"] == 1
        more = [*talk, reply["choices"][0]["message"], {"role": "user", "content": "And now?"}]
        followed = by(
            "b",
            "POST",
            "/v1/chat/completions",
            {"model": gate.model, "messages": more, "max_tokens": 6, "homing": {"report": True}},
        )
        assert followed.json()["homing"]["conversation_id"] != "mine"
        for method, path, body in routes[:-1]:
            assert by("a", method, path, body).status_code == 200, (method, path)
        assert by("a", "GET", at).json()["turns"] == 1
