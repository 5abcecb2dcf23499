"""The page of the lab in a browser: quiet, no wider than a phone, readable in both themes, and its slider by keyboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import browsing
from fracture_document import hostile, hostile_genome, small_genome, small_lab
from synthetic import XSS
from test_browser import CONTRAST

from homing.report.fracture import render_genome, render_lab
from homing.report.render import write_page

pytestmark = pytest.mark.browser
OVER = "return document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    return small_lab(tmp_path_factory.mktemp("lab"))


def opened(browser: Any, path: Path, text: str, *, width: int, theme: str = "light") -> Any:
    write_page(text, path)
    return browsing.opened(browser, path, width=width, theme=theme)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_fits_and_can_be_read(browser: Any, tmp_path: Path, made, width: int, theme: str) -> None:
    page = opened(browser, tmp_path / "lab.html", render_lab(made[0].found, made[1]), width=width, theme=theme)
    assert page.get_log("browser") == []
    assert page.execute_script(OVER) <= 0
    page.execute_script("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    for i in range(2):
        page.execute_script(f"document.querySelectorAll('[role=tab]')[{i}].click()")
        assert page.execute_script(OVER) <= 0
    worst, who = page.execute_script(CONTRAST)
    assert worst >= 4.5, who
    loaded = (
        "return [...document.images].every(i => i.hidden || i.loading === 'lazy' || (i.complete && i.naturalWidth > 0))"
    )
    assert page.execute_script(loaded)


def test_the_slider_moves_both_networks_by_keyboard(browser: Any, tmp_path: Path, made) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = opened(browser, tmp_path / "lab.html", render_lab(made[0].found, made[1]), width=1280)
    box = page.find_element(By.CSS_SELECTOR, "[data-sweep]")
    seen = (
        "return [...document.querySelector('[data-sweep]').querySelectorAll('figure')]"
        ".map(f => [...f.querySelectorAll('img')].filter(i => i.getClientRects().length).map(i => i.dataset.step))"
    )
    assert page.execute_script(seen) == [
        ["8"],
        ["8"],
    ]  # moved, so that the difference is seen before anything is touched
    slider = box.find_element(By.TAG_NAME, "input")
    assert slider.is_enabled() and "weight that matters most" in slider.accessible_name
    slider.send_keys(Keys.END)
    assert page.execute_script(seen) == [["8"], ["8"]]
    assert (
        slider.get_attribute("aria-valuetext") == box.find_element(By.TAG_NAME, "output").text == "100% of the way up"
    )
    slider.send_keys(Keys.ARROW_LEFT)
    assert page.execute_script(seen) == [["7"], ["7"]]
    slider.send_keys(Keys.HOME)
    assert page.execute_script(seen) == [["0"], ["0"]]


@pytest.mark.parametrize("payload", XSS)
def test_hostile_text_stays_text(browser: Any, tmp_path: Path, made, payload: str) -> None:
    page = opened(browser, tmp_path / "lab.html", render_lab(*hostile(*made, payload)), width=390)
    assert page.title != "pwned"
    assert page.execute_script("return document.querySelectorAll('script').length") == 1
    bad = "return document.querySelectorAll('img:not([src^=\"data:image/png\"]), iframe, object, embed, form, base, [onerror]')"
    assert page.execute_script(bad + ".length") == 0
    assert page.get_log("browser") == []
    assert page.execute_script(OVER) <= 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_genome_fits_and_can_be_read(browser: Any, tmp_path: Path, width: int, theme: str) -> None:
    text = render_genome(*small_genome(tmp_path), most=0.1)
    page = opened(browser, tmp_path / "genome.html", text, width=width, theme=theme)
    page.execute_script("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert page.get_log("browser") == []
    assert page.execute_script(OVER) <= 0
    worst, who = page.execute_script(CONTRAST)
    assert worst >= 4.5, who


@pytest.mark.parametrize("payload", XSS)
def test_hostile_text_of_a_genome_stays_text(browser: Any, tmp_path: Path, payload: str) -> None:
    text = render_genome(*hostile_genome(*small_genome(tmp_path), payload), most=0.1)
    page = opened(browser, tmp_path / "genome.html", text, width=390)
    assert page.title != "pwned"
    assert page.execute_script("return document.querySelectorAll('script').length") == 1
    assert page.get_log("browser") == []
    assert page.execute_script(OVER) <= 0
