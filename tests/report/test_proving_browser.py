"""The page of `homing test` in a browser: quiet, no wider than a phone, readable in both themes, hostile text as text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import browsing
from proving_document import around, document, row
from synthetic import XSS
from test_browser import CONTRAST

from homing.verbs.test_report import write_test

pytestmark = pytest.mark.browser
OVER = "return document.documentElement.scrollWidth - window.innerWidth"


def opened(browser: Any, path: Path, doc: dict[str, Any], *, width: int, theme: str = "light") -> Any:
    write_test(doc, path)
    return browsing.opened(browser, path, width=width, theme=theme)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_fits_and_can_be_read(browser: Any, tmp_path: Path, width: int, theme: str) -> None:
    page = opened(browser, tmp_path / "test.html", document(), width=width, theme=theme)
    assert page.get_log("browser") == []
    assert page.execute_script(OVER) <= 0
    page.execute_script("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert page.execute_script(OVER) <= 0
    worst, who = page.execute_script(CONTRAST)
    assert worst >= 4.5, who


@pytest.mark.parametrize("width", [1280, 390])
def test_no_text_of_a_chart_is_cut_off_or_lies_on_another(browser: Any, tmp_path: Path, width: int) -> None:
    page = opened(browser, tmp_path / "test.html", document(), width=width)
    charts = page.execute_script(
        "return [...document.querySelectorAll('svg.chart')].filter(e => e.getClientRects().length).map(s => {"
        " const v = s.viewBox.baseVal; return [v.width, v.height, [...s.querySelectorAll('text')].map(e => { const r ="
        " e.getBBox(); return [r.x, r.y + 2, r.x + r.width, r.y + r.height - 2, e.textContent]; })]; })"
    )
    assert len(charts) >= 6
    for wide, high, boxes in charts:
        for i, a in enumerate(boxes):
            assert a[0] >= -1 and a[2] <= wide + 1 and a[1] >= -3 and a[3] <= high + 1, (a, wide, high)
            for b in boxes[:i]:
                assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]), (a[4], b[4])


@pytest.mark.parametrize("payload", XSS)
def test_hostile_text_stays_text(browser: Any, tmp_path: Path, payload: str) -> None:
    rows = [r | {"verdict": payload} for r in document()["findings"]]
    rows += [row(payload, f"{payload}.x", around(0.5), verdict=payload), row(payload, "y", reason=payload)]
    page = opened(browser, tmp_path / "test.html", document(*rows, model=payload), width=390)
    assert page.title != "pwned"
    assert page.execute_script("return document.querySelectorAll('script').length") == 1
    bad = "return document.querySelectorAll('img, iframe, object, embed, form, base, svg[onload], [onerror], [onmouseover]')"
    assert page.execute_script(bad + ".length") == 0
    assert page.get_log("browser") == []
    assert page.execute_script(OVER) <= 0
