# ruff: noqa: E501  scripts for the browser
"""The dashboard in a real browser, against a double of the service that tests drive."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from tests.gateway.browsing import Page, browser_test
from tests.gateway.page_double import FILES, PageDouble, populate, until

FAR = "conv-c0ffee5512ab4f3e8a7b6c5d4e3f2a10"
XSS = (
    "<script>window.__xss=1</script>",
    '<img src=x onerror="window.__xss=1">',
    '"><svg/onload=window.__xss=1>',
    "' onmouseover='window.__xss=1' x='",
    "</script><script>window.__xss=1</script>",
    "</style><style>*{display:none}</style>",
    "javascript:window.__xss=1",
    "{{constructor.constructor('window.__xss=1')()}}${window.__xss=1}<%= 1 %>",
    "<a href='javascript:window.__xss=1'>x</a><iframe srcdoc='<script>parent.__xss=1</script>'></iframe>",
    "\u202egpj.exe\u202c\u2066isolate\u200b\x07 \u0600",
    "__proto__",
)


@pytest.fixture
def service() -> Iterator[PageDouble]:
    with PageDouble() as double:
        yield double


@pytest.fixture
def page(driver: Any, service: PageDouble) -> Iterator[Page]:
    """A page; at its end nothing may stand in the console but what the test expects there."""
    driver.get("about:blank")
    driver.get_log("browser")
    made = Page(driver, service)
    made.size(1280)
    made.theme("light")
    yield made
    log = [x["message"] for x in driver.get_log("browser")]
    driver.get("about:blank")  # before the service goes, so that it is not missed
    driver.get_log("browser")
    assert [m for m in log if not any(e in m for e in made.expected)] == []


@pytest.fixture
def shot(page: Page, tmp_path: Path) -> Callable[[str], None]:
    folder = Path(os.environ.get("HOMING_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: (page.driver.save_screenshot(str(folder / f"{name}.png")), None)[1]


# -- the files -----------------------------------------------------------------------------------------------------------


def test_no_text_can_become_markup() -> None:
    """Text reaches the page as text nodes alone, and what the policy refuses is not there to be refused."""
    script = (FILES / "app.js").read_text("utf-8")
    banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|createContextualFragment|DOMParser|srcdoc|localStorage|\bcookie\b|setHTML"
    assert re.findall(banned, script) == []
    page = (FILES / "index.html").read_text("utf-8")
    assert re.findall(r"\sstyle=|<style|\son\w+=|<script(?! src=\"app\.js\" defer></script>)", page) == []
    for name in ("app.js", "app.css", "index.html"):
        text = (FILES / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"https?://|@import|url\(", text) == [], name


# -- the fleet -----------------------------------------------------------------------------------------------------------


@browser_test
def test_empty_fleet_says_what_to_do(page: Page, service: PageDouble) -> None:
    page.open().live()
    assert page.shows("#first", "Point any OpenAI client")
    assert page.text("#base") == f"http://127.0.0.1:{service.port}/v1"
    assert f"http://127.0.0.1:{service.port}/v1/chat/completions" in page.text("#first")
    service.add("first-one", (1.0,))
    service.push("turn", "first-one", {"turn": 0, "position": 1.0})
    until(lambda: page.ids() == ["first-one"], "the first conversation")
    assert page.text("#first") == ""


@browser_test
def test_fleet_shows_what_a_person_asks_for(page: Page, service: PageDouble, shot: Any) -> None:
    populate(service)
    page.fleet(5)
    assert page.text("h1") == service.model
    assert page.shows(
        "#promise", "In a home conversation of up to 40 turns any alarm has a probability of at most 5.0%"
    )
    facts = page.text("#facts")
    for part in ("on: measures and holds", "return", "1 of 4 running, 0 waiting"):
        assert part in facts
    assert page.ids()[0] == FAR
    positions = page.script("return [...document.querySelectorAll('#rows .where b')].map(b => b.textContent)")
    assert positions == ["0.31", "0.88", "0.93", "0.94", "0.98"]
    first = page.text("#rows tr")
    assert "alarmed" in first
    assert "\u22120.67" in first
    assert len(page.all("#rows svg.scale.far")) == 1
    assert len(page.all("#rows svg.scale.near")) == 4
    assert page.script("return document.querySelector('#rows time').title.length") > 12
    assert page.script("return document.title").startswith("\u25b21 ")
    shot("fleet")
    page.theme("dark")
    shot("fleet-dark")


@browser_test
def test_fleet_is_ordered_and_filtered(page: Page, service: PageDouble) -> None:
    populate(service)
    page.fleet(5)
    page.click("[data-order=turns] button")
    assert page.ids()[0] == "evening-journal"
    assert page.script("return document.querySelector('[data-order=turns]').getAttribute('aria-sort')") == "descending"
    page.click("[data-order=turns] button")
    assert page.ids()[-1] == "evening-journal"
    page.click("#filter-alarmed")
    assert page.ids() == [FAR]
    page.click("#filter-returning")
    assert page.ids() == ["evening-journal"]
    service.conversations["evening-journal"]["returning"] = False
    service.push("home", "evening-journal", {"turn": 6, "since": 4})
    page.shows("#none", "No conversation is on its way back.")
    page.click("#filter-all")
    assert len(page.ids()) == 5


@browser_test
def test_more_than_one_page_of_conversations(page: Page, service: PageDouble) -> None:
    for i in range(130):
        service.add(f"c{i:03}", (0.5 + i / 300,), updated=1e9 + i)
    page.fleet(100)
    assert page.shows("#filter-all", "100+")
    page.click("#more")
    until(lambda: len(page.ids()) == 130, "the older ones")
    assert page.ids()[0] == "c000"
    assert not page.one("#more").is_displayed()


@browser_test
@pytest.mark.parametrize("chop", [False, True], ids=["whole", "cut"])
def test_live_turn_and_alarm_arrive_without_a_reload(page: Page, service: PageDouble, chop: bool) -> None:
    service.chop = chop
    populate(service)
    page.fleet(5)
    page.script("window.__same = true; document.querySelectorAll('#rows tr').forEach(r => { r.__same = true; })")
    at_home = "support/ticket-4127@shop"
    link = f"#rows a[title='{at_home}']"
    page.script("document.querySelector(arguments[0]).focus()", link)
    service.turn(at_home, 0.12)
    until(lambda: page.ids()[0] == at_home, "the row to move up")
    service.alarm(at_home)
    page.shows("#news", "alarmed in turn 5: ewma is at 3.21, past 2.50")
    page.shows("#rows tr", "alarmed")
    assert page.script("return window.__same") is True
    assert page.script("return [...document.querySelectorAll('#rows tr')].every(r => r.__same)")
    assert page.script("return document.activeElement === document.querySelector(arguments[0])", link)
    page.shows("#fact-alarms", "2")


@browser_test
def test_reconnects_after_a_restart_and_goes_on_where_it_was(page: Page, service: PageDouble) -> None:
    page.expected = ["Failed to load resource", "ERR_"]
    populate(service)
    page.fleet(5)
    service.turn(FAR, 0.4)
    page.shows("#rows tr", "0.40")
    service.stop()
    page.shows("#live", "Reconnecting")
    service.turn(FAR, 0.21)
    service.add("while-away", (0.05,))
    service.start()
    page.live()
    page.shows("#rows tr", "0.05")
    assert service.opened[-1][0] == "1"
    service.turn(FAR, -0.13)
    page.shows("#rows tr", "\u22120.13")
    assert page.text("#wrong") == ""


@browser_test
def test_a_service_that_stays_away_is_said_to_be(page: Page, service: PageDouble) -> None:
    page.expected = ["Failed to load resource", "ERR_"]
    populate(service)
    page.fleet(5)
    service.stop()
    page.shows("#live", "Offline", 40)
    service.start()
    page.click("#retry")
    page.live()
    assert not page.one("#retry").is_displayed()


@browser_test
def test_dropped_streams_do_not_pile_up(page: Page, service: PageDouble) -> None:
    populate(service)
    page.fleet(5)
    for ended in range(3):
        service.drop()
        until(lambda n=ended: len(service.opened) >= n + 2, "another stream")
        page.live()
    assert len(service.opened) == 4


@browser_test
def test_a_stream_that_fell_silent_is_opened_again(page: Page, service: PageDouble) -> None:
    """Nothing tells of a connection that is gone without an end; the double sends no comments, and 45 s are made 0.4 s."""
    short = "const t = setTimeout; window.setTimeout = (f, ms, ...rest) => t(f, ms === 45000 ? 400 : ms, ...rest);"
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": short})
    try:
        populate(service)
        page.fleet(5)
        until(lambda: len(service.opened) >= 3, "streams to be opened again")
        page.live()
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


# -- one conversation ----------------------------------------------------------------------------------------------------


@browser_test
def test_conversation_shows_curve_text_alarms_and_facets(page: Page, service: PageDouble, shot: Any) -> None:
    populate(service)
    page.conversation("evening-journal", 6)
    assert len(page.all("svg.chart .dot")) == 6
    assert len(page.all("svg.chart .alarm")) == 1
    assert len(page.all("svg.chart .act")) == 2
    assert len(page.all("svg.chart .way")) == 1
    assert len(page.all("svg.chart .band")) == 1
    assert "from 0.99 in turn 1 to 0.93 in turn 6, 1 alarm" in page.one("svg.chart").get_attribute("aria-label")
    last = page.text("#turn-5")
    for part in (
        "Turn 6",
        "position 0.93",
        "drift \u22120.05",
        "The cap moved 3 of",
        "return: put the opening",
        "the invoice first",
    ):
        assert part in last
    assert len(page.all("#turn-5 .heat .tok")) == 19
    assert page.text(".facets").count("\n") >= 3
    assert "0.22 to 0.63" in page.text(".facets")
    assert len(page.all(".facets .whisker")) == 3
    page.theme("light")
    shot("conversation")
    page.theme("dark")
    shot("conversation-dark")
    service.turn("evening-journal", 0.99, reply="It is all written down.")
    page.shows("#turn-6", "It is all written down.")
    until(lambda: len(page.all("svg.chart .dot")) == 7, "the curve to go on")


@browser_test
def test_tokens_and_turns_are_walked_with_the_arrows(page: Page, service: PageDouble) -> None:
    from selenium.webdriver.common.keys import Keys

    populate(service)
    page.conversation(FAR, 5)
    page.script("document.querySelector('#turn-4 .heat').focus()")
    page.keys(Keys.ARROW_RIGHT)
    assert "\u201cYes.\u201d" in page.text("#tip")
    assert "position 0.00" in page.text("#tip")
    page.keys(Keys.ARROW_RIGHT)
    assert "token 2 of 32" in page.text("#tip")
    page.keys(Keys.ESCAPE)
    assert page.text("#tip") == ""
    assert page.all(".turn")  # the first Escape closed the tip alone
    page.script("document.querySelector('svg.chart').focus()")
    page.keys(Keys.ARROW_LEFT)
    assert page.text("#tip").startswith("Turn 5\nposition 0.31")
    page.keys(Keys.ENTER)
    until(lambda: page.focused() == "turn-4", "the turn to have the focus")
    page.click(".head button")
    until(lambda: page.focused() == "turn-4", "the latest turn to have the focus")
    page.click("#heat")
    plain = "return getComputedStyle(document.querySelector('#turn-4 .tok.t5')).backgroundColor"
    assert page.script(plain) == "rgba(0, 0, 0, 0)"


@browser_test
def test_conversation_without_text_shows_cells(page: Page, service: PageDouble) -> None:
    service.text = False
    service.add("quiet", (1.0, 0.6, None))
    page.conversation("quiet", 3)
    assert "is not kept" in page.text("#conversation")
    assert len(page.all("#turn-0 .strip i")) == 10
    assert len(page.all("#turn-2 .strip i.tn")) == 10
    assert "not read" in page.text("#turn-2")
    assert "Not measured: this service does not run the home battery." in page.text("#conversation")
    assert "No alarm in this conversation." in page.text("#conversation")


@browser_test
def test_nothing_read_is_said_and_not_drawn(page: Page, service: PageDouble) -> None:
    service.add("off", (None, None))
    page.conversation("off", 2)
    assert "No position was read in this conversation." in page.text("#conversation")
    assert not page.one("figure").is_displayed()
    assert "not read" in page.text("#turn-1")
    page.click(".back")
    until(lambda: page.ids() == ["off"], "the fleet")
    assert page.text("#rows .where") == "\u2013"


@browser_test
def test_long_conversation_opens_soon(page: Page, service: PageDouble) -> None:
    service.add("long", [0.9] * 3)
    for i in range(200):
        service.turn("long", 0.5 + (i % 50) / 100, tell=False, reply="word " * 200)
    page.conversation("long", 203)
    page.script("window.scrollTo(0, document.body.scrollHeight)")
    service.turn("long", 0.25, reply="The last one.")
    page.shows("#turn-203", "The last one.", 6)
    assert page.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    labels = page.script(
        "return [...document.querySelectorAll('svg.chart .tick')].filter(t => t.getAttribute('text-anchor') === 'middle').map(t => [t.getBoundingClientRect().left, t.getBoundingClientRect().right])"
    )
    assert all(a[1] < b[0] for a, b in pairwise(labels))


@browser_test
def test_bring_back(page: Page, service: PageDouble) -> None:
    populate(service)
    page.conversation(FAR, 5)
    page.click(".controls > button")
    page.shows("#said", "The way back begins with the next turn")
    assert page.asked("POST", f"conversations/{FAR}/return") == [{}]
    page.shows(".now", "returning")
    page.shows(".controls > button", "Bring back again")


@browser_test
def test_hold_is_set_and_given_back(page: Page, service: PageDouble) -> None:
    from selenium.webdriver.support.ui import Select

    populate(service)
    page.conversation(FAR, 5)
    select = Select(page.one("#hold"))
    assert [o.text for o in select.options][:3] == ["as the service says (return)", "no hold", "cap"]
    for value, body, words in (
        ("heal", "heal", "the hold is heal"),
        ("none", "none", "no hold is in force"),
        ("", None, "the service\u2019s own hold"),
    ):
        Select(page.one("#hold")).select_by_value(value)
        page.click(".controls label ~ button")
        page.shows("#said", words)
        assert page.asked("POST", f"conversations/{FAR}/hold")[-1] == {"hold": body}
    Select(page.one("#hold")).select_by_value("cap")
    service.turn(FAR, 0.5)
    until(lambda: len(page.all(".turn")) == 6, "a turn")
    assert page.one("#hold").get_attribute("value") == "cap"  # a choice that is not set yet outlives a live update


@browser_test
def test_alarm_is_marked_as_false_and_back(page: Page, service: PageDouble) -> None:
    populate(service)
    page.conversation(FAR, 5)
    for pressed in ("true", "false"):
        page.click(".alarms button")
        until(lambda want=pressed: page.one(".alarms button").get_attribute("aria-pressed") == want, pressed)
    assert [b for m, p, b in service.calls if p.startswith("alarms/")] == [
        {"false_alarm": True},
        {"false_alarm": False},
    ]
    assert "No longer marked" in page.text("#said")


@browser_test
def test_compare_stands_side_by_side(page: Page, service: PageDouble, shot: Any) -> None:
    populate(service)
    page.conversation(FAR, 5)
    page.click("#turn-4 button")
    page.shows("#turn-4 .compared", "Stars are lonely and so am I.")
    assert page.asked("POST", f"conversations/{FAR}/compare") == [{"turn": 4}]
    text = page.text("#turn-4 .compared")
    assert "Held position 0.96" in text
    assert "Not held position 0.28" in text
    assert "Turn 5: held at 0.96, not held at 0.28." in page.text("#said")
    shot("compare")


@browser_test
def test_forget_asks_first(page: Page, service: PageDouble) -> None:
    from selenium.webdriver.common.keys import Keys

    populate(service)
    page.conversation(FAR, 5)
    page.click(".controls .danger")
    assert "5 turns" in page.text("#ask")
    assert page.focused() == "ask-no"
    page.keys(Keys.ESCAPE)
    until(lambda: not page.one("#ask").is_displayed(), "the dialog to close")
    assert FAR in service.conversations
    page.click(".controls .danger")
    page.click("#ask-yes")
    until(lambda: FAR not in service.conversations, "the conversation to be forgotten")
    until(lambda: len(page.ids()) == 4, "the fleet without it")
    page.shows("#said", "is forgotten")


@browser_test
def test_what_others_forget_and_what_never_was(page: Page, service: PageDouble) -> None:
    page.expected = ["404"]
    populate(service)
    page.conversation(FAR, 5)
    del service.conversations[FAR]
    service.push("forgotten", FAR, {})
    page.shows("#conversation .absent", "This conversation has been forgotten.")
    page.open("#/c/never").live()
    page.shows("#conversation .absent", "There is no conversation of this id.")
    page.click(".back")
    until(lambda: len(page.ids()) == 4, "the fleet")


@browser_test
@pytest.mark.parametrize(
    ("end", "css"),
    [("/return", ".controls > button"), ("/hold", ".controls label ~ button"), ("/compare", "#turn-4 button")],
)
def test_errors_are_said_in_words(page: Page, service: PageDouble, end: str, css: str) -> None:
    page.expected = ["409"]
    populate(service)
    service.failing[end] = (409, "another turn of this conversation is on its way; ask again")
    page.conversation(FAR, 5)
    page.click(css)
    page.shows("#wrong", "another turn of this conversation is on its way; ask again")
    assert page.one("#wrong").get_attribute("role") == "alert"
    page.click("#hush")
    assert page.text("#wrong") == ""
    assert page.one(css).get_attribute("aria-disabled") is None


# -- keys ----------------------------------------------------------------------------------------------------------------


@browser_test
def test_key_is_asked_for_refused_and_taken(page: Page, service: PageDouble, shot: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    page.expected = ["401"]
    populate(service)
    service.demand("sk-right")
    page.open()
    field = page.one("#key-field")
    until(field.is_displayed, "the form")
    assert (field.get_attribute("type"), field.get_attribute("autocomplete"), field.get_attribute("name")) == (
        "password",
        "off",
        "",
    )
    assert page.text("#key-wrong") == ""
    assert page.focused() == "key-field"
    for wrong in ("sk-wrong", "kl\u00fcssel"):
        field.send_keys(wrong, Keys.ENTER)
        page.shows("#key-wrong", "not one of this service")
        until(lambda: field.get_attribute("value") == "", "an empty field")
    shot("key")
    field.send_keys("sk-right", Keys.ENTER)
    until(lambda: len(page.ids()) == 5, "the fleet")
    page.live()
    assert service.opened[-1][1] == "Bearer sk-right"
    assert page.script(
        "return [sessionStorage.length, localStorage.length, document.cookie, location.href.includes('sk-')]"
    ) == [1, 0, "", False]
    page.driver.refresh()
    until(lambda: len(page.ids()) == 5, "the fleet, with the key kept")
    service.demand("sk-other")
    service.drop()
    until(lambda: page.one("#key-field").is_displayed(), "the form again")
    assert page.ids() == []
    assert page.script("return sessionStorage.length") == 0


@browser_test
def test_key_can_be_dropped(page: Page, service: PageDouble) -> None:
    page.expected = ["401"]
    populate(service)
    service.demand("sk-right")
    page.open(f"#/c/{FAR}")
    until(lambda: page.one("#key-field").is_displayed(), "the form")
    page.script("document.getElementById('key-field').value = 'sk-right'")
    page.click("#key button")
    until(lambda: len(page.all(".turn")) == 5, "the conversation that was asked for")
    page.click("#leave")
    until(lambda: page.one("#key-field").is_displayed(), "the form")
    assert page.all(".turn") == []
    assert page.script("return sessionStorage.length") == 0


# -- hostile text --------------------------------------------------------------------------------------------------------

STRANGE = """
const known = new Set('HTML HEAD META TITLE LINK SCRIPT BODY A HEADER DIV IMG SPAN BUTTON H1 H2 H3 H4 H5 P DL DT DD MAIN SECTION FORM LABEL INPUT SELECT OPTION TABLE THEAD TBODY TR TH TD B BDI TIME UL LI ARTICLE FIGURE FIGCAPTION DIALOG NOSCRIPT PRE CODE I svg path rect circle text'.split(' '));
const bad = [];
for (const e of document.querySelectorAll('*')) {
  if (!known.has(e.tagName)) bad.push(e.tagName);
  for (const a of e.attributes) if (a.name.startsWith('on') || a.name === 'srcdoc' || (a.name === 'style' && e.id !== 'tip')) bad.push(e.tagName + ' ' + a.name);
  const href = e.getAttribute('href');
  if (href && e.tagName === 'A' && !href.startsWith('#')) bad.push(href);
}
return [bad, document.querySelectorAll('script').length, document.querySelectorAll('img').length, typeof window.__xss];
"""
CLEAN = [[], 1, 1, "undefined"]


def hostile(service: PageDouble, payload: str) -> None:
    """The payload in every field that is text."""
    service.model = service.hold = payload
    service.holds = [{"id": payload, "needs": [payload], "buffers": True}]
    service.facets = [{"facet": payload, "distance": 0.2, "low": 0.1, "high": 0.3, "n": 3}]
    id = payload if payload.isprintable() and "/" not in payload else f"x-{payload.replace('/', '%')}"
    service.add(id, hold=payload)
    for _ in range(2):
        did = [{"hold": payload, "note": payload, "amount": 0.5}]
        messages = [{"role": payload, "content": payload}, {"role": "assistant", "content": payload * 2}]
        service.turn(
            id, 0.4, tell=False, messages=messages, pieces=[payload, payload], hold=payload, mode=payload, finish=payload,
            interventions=did,
        )  # fmt: skip
    service.alarm(id, tell=False, detector=payload)


@browser_test
@pytest.mark.parametrize("payload", XSS, ids=range(len(XSS)))
def test_hostile_text_stays_text(page: Page, service: PageDouble, payload: str) -> None:
    page.expected = ["409"]
    hostile(service, payload)
    id = next(iter(service.conversations))
    page.fleet(1)
    assert page.script(STRANGE) == CLEAN
    service.alarm(id, detector=payload)
    page.shows("#news", "alarmed in turn 2")
    page.click("#rows a")
    until(lambda: len(page.all(".turn")) == 2, "the conversation")
    assert page.script(STRANGE) == CLEAN
    content = page.script("return [...document.querySelectorAll('#turn-1 .text')].map(e => e.textContent)")
    assert content == [payload, payload * 2]
    assert not re.search(
        "[\u202e\u2066\u200b]", page.script("return document.querySelector('h1').textContent + document.title")
    )
    service.failing["/return"] = service.failing["/compare"] = (409, payload)
    page.click(".controls > button")
    until(lambda: page.script("return document.getElementById('wrong').textContent") == payload, "the error")
    page.script(
        "document.querySelector('.heat').dispatchEvent(new PointerEvent('pointerover', {bubbles: true})); document.querySelector('.heat .tok').dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    )
    assert page.script(STRANGE) == CLEAN
    assert page.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


# -- for everybody -------------------------------------------------------------------------------------------------------


@browser_test
def test_walk_with_the_keyboard_alone(page: Page, service: PageDouble) -> None:
    from selenium.webdriver.common.keys import Keys

    populate(service)
    page.fleet(5)
    page.keys(Keys.TAB)
    assert page.focused() == "skip"
    page.keys(Keys.ENTER)
    assert page.focused() == "main"
    for _ in range(20):
        page.keys(Keys.TAB)
        if page.focused() == f"#/c/{FAR}":
            break
    assert page.focused() == f"#/c/{FAR}"
    ring = "const s = getComputedStyle(document.activeElement); return s.outlineStyle + ' ' + s.outlineWidth"
    assert page.script(ring) == "solid 2px"
    page.keys(Keys.ENTER)
    until(lambda: len(page.all(".turn")) == 5, "the conversation")
    assert page.focused() == "conversation-h"
    page.keys(Keys.ESCAPE)
    until(lambda: page.focused() == f"#/c/{FAR}", "the row to have the focus again")
    page.keys(Keys.ENTER)
    until(lambda: page.focused() == "conversation-h", "the heading")
    page.driver.back()
    until(lambda: page.focused() == f"#/c/{FAR}", "the row again")


HEADINGS = (
    "return [...document.querySelectorAll('h1,h2,h3,h4,h5')].filter(e => e.checkVisibility()).map(e => +e.tagName[1])"
)
NAMES = """
return [...document.querySelectorAll('a, button, select, input, [tabindex="0"]')].filter(e => e.checkVisibility())
  .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length))).map(e => e.tagName + e.id);
"""
CONTRAST = """
const channel = x => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; };
const lum = v => .2126 * channel(v[0]) + .7152 * channel(v[1]) + .0722 * channel(v[2]);
const parse = c => c.match(/[\\d.]+/g).map(Number);
const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
let worst = 99, who = '';
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.checkVisibility({opacityProperty: true, visibilityProperty: true}) || e.closest('.skip, option')) continue;
  const style = getComputedStyle(e), ink = lum(parse(e instanceof SVGElement ? style.fill : style.color)), paper = lum(ground(e));
  const ratio = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
  if (ratio < worst) { worst = ratio; who = `${e.tagName}.${e.getAttribute('class')} ${e.textContent.slice(0, 40)}`; }
}
return [worst, who];
"""


@browser_test
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 820, 360])
def test_fits_can_be_read_and_is_named(page: Page, service: PageDouble, width: int, theme: str, shot: Any) -> None:
    page.size(width)
    page.theme(theme)
    populate(service)
    service.add("a" * 128, (0.4,))
    service.turn("a" * 128, 0.2, tell=False, reply="w" * 300, user="https://example.org/" + "q" * 200)
    over = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.fleet(6)
    assert (
        page.script("return getComputedStyle(document.body).backgroundColor")
        == {"light": "rgb(253, 252, 250)", "dark": "rgb(21, 23, 26)"}[theme]
    )
    levels = [page.script(HEADINGS)]
    assert page.script(over) <= 0
    assert page.script(NAMES) == []
    worst, who = page.script(CONTRAST)
    assert worst >= 4.5, who
    shot(f"fleet-{width}-{theme}")
    for id, turns in (("a" * 128, 2), ("evening-journal", 6)):
        page.conversation(id, turns)
        page.click(".turn button")
        page.shows(".compared", "Stars are lonely")
        levels.append(page.script(HEADINGS))
        until(
            lambda: page.script("const b = document.querySelector('svg.chart').viewBox.baseVal; return b.width > 200"),
            "the curve",
        )
        assert page.script(over) <= 0
        assert page.script(NAMES) == []
        worst, who = page.script(CONTRAST)
        assert worst >= 4.5, who
    page.script("window.scrollTo(0, 0)")
    shot(f"conversation-{width}-{theme}")
    for found in levels:
        assert found[0] == 1
        assert all(b <= a + 1 for a, b in pairwise(found)), found


@browser_test
def test_order_can_be_chosen_on_a_phone(page: Page, service: PageDouble) -> None:
    from selenium.webdriver.support.ui import Select

    page.size(360)
    populate(service)
    page.fleet(5)
    Select(page.one("#order")).select_by_visible_text("most turns first")
    assert page.ids()[0] == "evening-journal"


@browser_test
def test_motion_is_left_out_where_it_is_not_wanted(page: Page, service: PageDouble) -> None:
    media = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    populate(service)
    page.fleet(5)
    service.turn(FAR, 0.5)
    page.one("#rows tr.fresh")
    assert page.script("return getComputedStyle(document.querySelector('#rows tr.fresh td')).animationName") == "none"
    assert page.script("return getComputedStyle(document.documentElement).scrollBehavior") == "auto"
