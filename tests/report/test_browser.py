# ruff: noqa: E501  scripts for the browser
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import XSS, bare, full, hostile

pytestmark = pytest.mark.browser

CONTRAST = """
const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; });
  return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const paper = lum(getComputedStyle(document.body).backgroundColor);
const ratio = c => { const l = lum(c); return (Math.max(l, paper) + .05) / (Math.min(l, paper) + .05); };
let worst = 99, who = '';
for (const e of document.querySelectorAll('p, h1, h2, h3, td, th, .ci, .verdict, svg text, .who b, .user')) {
  if (!e.getClientRects().length) continue;
  const s = getComputedStyle(e); const r = ratio(e instanceof SVGElement ? s.fill : s.color);
  if (r < worst) { worst = r; who = e.outerHTML.slice(0, 90); }
}
return [worst, who];
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_page_is_quiet_fits_and_can_be_read(show: Any, width: int, theme: str) -> None:
    page = show(full(), width=width, theme=theme)
    assert page.get_log("browser") == []
    over = page.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert over <= 0
    for i in range(3):
        page.execute_script(f"document.querySelectorAll('[role=tab]')[{i}].click()")
        assert page.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
    worst, who = page.execute_script(CONTRAST)
    assert worst >= 4.5, who


def test_absent_sections_fit_and_say_why(show: Any) -> None:
    page = show(bare(), width=375)
    assert page.get_log("browser") == []
    assert page.execute_script("return document.querySelectorAll('.absent').length") >= 8


def test_theme_button_turns_the_page(show: Any) -> None:
    page = show(full(24))
    colour = "return getComputedStyle(document.body).backgroundColor"
    before = page.execute_script(colour)
    page.execute_script("document.getElementById('theme').click()")
    assert page.execute_script(colour) != before
    page.execute_script("document.getElementById('theme').click()")
    assert page.execute_script(colour) == before


def test_tooltip_by_pointer_and_by_keyboard(show: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    page = show(full(24))
    tip = page.find_element(By.ID, "tip")
    assert not tip.is_displayed()
    dot = page.find_element(By.CSS_SELECTOR, ".only-wide svg.scatter .dot.home")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", dot)
    # the pointer rests where another page left it: only a pointer that moves is noticed
    ActionChains(page).move_to_element_with_offset(dot, 40, 40).pause(0.1).move_to_element(dot).perform()
    WebDriverWait(page, 5).until(lambda _: tip.is_displayed())
    assert "position 1.00" in tip.text
    chart = page.find_element(By.CSS_SELECTOR, ".only-wide svg.scatter")
    chart.send_keys(Keys.ESCAPE)
    page.execute_script("arguments[0].focus()", chart)
    chart.send_keys(Keys.ARROW_RIGHT)
    first = tip.text
    chart.send_keys(Keys.ARROW_RIGHT)
    assert tip.is_displayed()
    assert tip.text != first


def test_tabs_walk_with_arrows_and_paper_shows_all(show: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = show(full(24))
    visible = "return [...document.querySelectorAll('.talk')].map(e => getComputedStyle(e).display !== 'none')"
    assert page.execute_script(visible) == [True, False, False]
    page.find_element(By.ID, "tab-1").send_keys(Keys.ARROW_RIGHT)
    assert page.execute_script(visible) == [False, True, False]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert page.execute_script(visible) == [True, True, True]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@pytest.mark.parametrize("width", [1280, 375])
def test_labels_of_the_map_do_not_overlap(show: Any, width: int) -> None:
    page = show(full(), width=width)
    boxes = page.execute_script(
        "return [...document.querySelectorAll('svg.scatter text.name')].filter(e => e.getClientRects().length)"
        ".map(e => { const r = e.getBBox(); return [r.x, r.y + 2, r.x + r.width, r.y + r.height - 2, e.textContent]; })"
    )
    assert len(boxes) >= (18 if width > 500 else 5)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]), (a[4], b[4])


@pytest.mark.parametrize("payload", XSS)
def test_hostile_text_stays_text(show: Any, payload: str) -> None:
    page = show(hostile(payload), width=375)
    assert "pwned" not in page.title.replace(payload, "") or page.title.startswith(payload[:5])
    assert page.title != "pwned"
    assert page.execute_script("return document.querySelectorAll('script').length") == 1
    bad = "return document.querySelectorAll('img, iframe, object, embed, form, base, svg[onload], [onerror], [onmouseover]')"
    assert page.execute_script(bad + ".length") == 0
    links = page.execute_script("return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert all(link.startswith("#") for link in links)
    assert page.get_log("browser") == []
    assert page.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
