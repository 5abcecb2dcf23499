"""The page of the lab as text: what is said, what is not, and that nothing is fetched."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fracture_document import hostile, small_lab
from synthetic import XSS

from homing.errors import InputError
from homing.report.fracture import render_lab


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    return small_lab(tmp_path_factory.mktemp("lab"))


def test_the_page_holds_both_galleries_and_says_what_is_not_shown(made) -> None:
    lab, shows = made
    text = render_lab(lab.found, shows)
    assert "Same picture, different insides" in text
    for said in (
        "true and trivial",
        "not more robust",
        "no score of a network",
        "does not tell a trained network from",
    ):
        assert said in re.sub(r"\s+", " ", text)
    assert text.count('class="tile') >= 2 * 2 * 20
    assert text.count('type="range"') == 2 * 3
    assert text.count("<img") == text.count('src="data:image/png;base64,')
    assert len(re.findall(r"<img[^>]* alt=\"[^\"]+\"", text)) == text.count("<img")
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert not re.search(r"\son\w+=", text) and 'style="' not in text
    # per tile: the frame says in form, not in colour alone, what the alternative text says in words
    for kind, share in re.findall(r'class="tile (\w+)".*?: (\d+)% of it differs', text):
        assert (kind == "alike") == (int(share) < 10) or int(share) == 10


@pytest.mark.parametrize("payload", XSS)
def test_text_is_escaped(made, payload: str) -> None:
    text = render_lab(*hostile(*made, payload))
    assert text.count("<script") == 1 and (payload not in text or "<" not in payload)


def test_another_document_is_refused(made) -> None:
    with pytest.raises(InputError, match=r"the page shows homing\.fracture-lab/1"):
        render_lab({"schema": "homing.test/1"}, made[1])
