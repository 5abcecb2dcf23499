"""The outside face in the gateway: asked in forks after the turn, an alarm beyond a margin, and the way back by it alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.gateway.serving import Served, served, until
from tests.gateway.test_turns import Talk
from tests.verbs.tiny_map import Mapped

from homing.conversation import Conversation
from homing.errors import ModelError
from homing.gateway.asking import settled
from homing.gateway.deployment import Deployment
from homing.gateway.records import Standing
from homing.gateway.turns import Keeper
from homing.stats.estimate import Estimate
from homing.testing.tiny import MARKER


def far(value: float, spread: float = 0.25) -> dict[str, Estimate]:
    e = Estimate(value, value - spread, value + spread, 0.95, 24, "log-odds", "planted")
    return {"all": e, "self": e}


class Planted:
    """Far from home where the model's own words have the marker in them."""

    opening = ()
    calls = 48

    def __init__(self) -> None:
        self.asked: list[Conversation] = []
        self.fails = False

    async def ask(self, conversation: Conversation) -> Mapping[str, Estimate]:
        if self.fails:
            raise ModelError("it cannot be asked; look into its log")
        self.asked.append(conversation)
        return far(3.0 if any(MARKER in m.content for m in conversation if m.role == "assistant") else 0.5)


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def gate(mapped: Mapped, tmp_path: Path, planted: Planted) -> Iterator[Served]:
    def give(keeper: Keeper) -> None:
        keeper.outside = planted  # type: ignore[assignment]

    deployment = Deployment(ask_every=1, ask_margin=1.0)
    with served(mapped, deployment, with_home=False, store=str(tmp_path / "g.db"), change=give) as s:
        yield s


def seen(gate: Served, id: str) -> dict[str, Any]:
    return httpx2.get(f"{gate.url}/homing/v1/conversations/{id}").json()


def said(gate: Served, talk: Talk, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A turn's report, and the conversation once it was asked about."""
    report = talk.say(text)
    until(lambda: (seen(gate, "walk")["asked"] or {}).get("turn") == report["turn"] - 1)
    return report, seen(gate, "walk")


def test_what_is_asked_alarms_and_shows_home(gate: Served, planted: Planted) -> None:
    talk = Talk(gate, conversation_id="walk")
    _, now = said(gate, talk, "Hello there")
    assert now["facets"] == [{"facet": "self", "distance": 0.5, "low": 0.25, "high": 0.75, "n": 24}]
    assert not now["alarmed"] and now["position"] is None
    talk.messages[-1]["content"] += f" {MARKER}"
    report, now = said(gate, talk, "And now?")
    assert not report["acted"] and now["alarmed"] and now["returning"]
    assert [(a["detector"], a["statistic"], a["threshold"]) for a in now["alarms_list"]] == [("distance", 3.0, 1.0)]
    report, now = said(gate, talk, "What else is new")
    assert report["acted"] and not now["alarmed"] and now["returning"], "home must be shown twice"
    assert all(MARKER not in m.content for m in planted.asked[-1]), "what was healed is what is asked about"
    report, now = said(gate, talk, "Tell me of the weather")
    assert not now["returning"] and now["ways"] == [{"since": 2, "until": 3, "by": "alarm"}]
    assert now["asked"]["calls"] == 4 * 48, "what it cost is said"


def test_where_it_cannot_be_asked_nobody_is_kept_waiting(gate: Served, planted: Planted) -> None:
    planted.fails = True
    assert Talk(gate, conversation_id="mute").say("Hello there")["kept"]
    assert seen(gate, "mute")["facets"] is None


def test_an_interval_across_the_margin_neither_alarms_nor_shows_home() -> None:
    ask: dict[str, Any] = {"turn": 1, "margin": 1.0, "hold": "return", "mode": "on", "calls": 48}
    out = settled(Standing("c", "t", 2), far(1.1), acted=False, **ask)
    assert not out.alarms and out.state["over"] == [] and out.state.get("way") is None
    way = {"since": 1, "home": 1, "by": "alarm"}
    out = settled(Standing("c", "t", 2, state={"way": way}), far(0.9), acted=True, **ask)
    assert out.state["way"] == {**way, "home": 0}
    out = settled(Standing("c", "t", 2, state={"way": way}), far(0.5), acted=True, **ask)
    assert out.state["way"] is None and [k for k, _ in out.events] == ["asked", "home"]
    json.dumps(out.state)


def test_without_a_margin_and_in_shadow_nothing_is_begun() -> None:
    now = Standing("c", "t", 2)
    ask: dict[str, Any] = {"turn": 1, "hold": "return", "acted": False, "calls": 48}
    assert settled(now, far(9.0), margin=None, mode="on", **ask).state.get("over") is None
    out = settled(now, far(9.0), margin=1.0, mode="shadow", **ask)
    assert out.alarms and out.state.get("way") is None
