"""The page over the real service: a conversation leaves home while somebody watches, is brought back, and is forgotten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.gateway.browsing import Page, browser_test
from tests.gateway.page_double import until
from tests.gateway.serving import Served, served
from tests.gateway.test_turns import Talk
from tests.verbs.tiny_map import Mapped

from homing.gateway.deployment import Deployment
from homing.testing.tiny import MARKER


class At:
    """Where the page of a service is."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.fixture
def gate(mapped: Mapped, tmp_path: Path) -> Iterator[Served]:
    with served(mapped, Deployment(text=True), store=str(tmp_path / "g.db")) as s:
        yield s


@browser_test
def test_a_walk_away_and_back_under_somebodys_eyes(gate: Served, driver: Any, tmp_path: Path) -> None:
    driver.get("about:blank")
    driver.get_log("browser")
    page = Page(driver, cast(Any, At(f"{gate.url}/homing/")))
    page.size(1280)
    page.theme("light")
    shots = Path(os.environ.get("HOMING_SCREENSHOTS") or tmp_path)
    page.open().live()
    talk = Talk(gate, conversation_id="walk")
    talk.say("Hello there")
    until(lambda: page.ids() == ["walk"], "the row comes by itself")
    driver.save_screenshot(str(shots / "served-fleet.png"))
    page.conversation("walk", 1)
    talk.messages[-1]["content"] += f" {MARKER}"
    for text in ("And now?", "What else is new", "Tell me of the weather"):
        if talk.say(text)["alarmed"]:
            break
    page.shows("main", "And now?")
    until(lambda: "way back" in page.text("main").lower(), "the way back is said")
    while not talk.say("What now?")["home"]:
        assert talk.k < 12
    until(lambda: len(page.all(".turn")) == talk.k, "every turn")
    driver.save_screenshot(str(shots / "served-walk.png"))
    page.size(360, 800)
    assert page.script("return document.documentElement.scrollWidth") <= 360
    driver.save_screenshot(str(shots / "served-walk-phone.png"))
    log = [x["message"] for x in driver.get_log("browser")]
    driver.get("about:blank")
    driver.get_log("browser")
    assert log == []
