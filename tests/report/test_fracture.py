"""The page of the lab as text: what is said, what is not, and that nothing is fetched."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fracture_document import hostile, hostile_genome, small_genome, small_lab
from synthetic import XSS
from tests.fracture.test_genome import LINKS, NODES

from homing.errors import InputError
from homing.fracture.marks import load_board
from homing.report.fracture import render_genome, render_lab


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


def board_of(text: str) -> str:
    found = re.search(r'<section id="scoreboard".*?</section>', text, re.S)
    assert found
    return found[0]


@pytest.mark.parametrize("what", ["lab", "genome"])
def test_the_scoreboard_is_a_table_that_can_be_read_without_colour(made, tmp_path: Path, what: str) -> None:
    text = render_lab(made[0].found, made[1]) if what == "lab" else render_genome(*small_genome(tmp_path), most=0.1)
    shown, board = board_of(text), load_board()
    table = re.search(r'<table class="board">.*?</table>', shown, re.S)
    assert table and table[0].count("<caption>") == 1
    assert table[0].count('<th scope="col"') == 1 + len(board.tests)
    assert table[0].count('<th scope="row"') == len(board.scores) and table[0].count('scope="rowgroup"') == 2
    marks = re.findall(
        r'<span class="mark (\w+)" data-tip="[^"]+"><span aria-hidden="true">(.)</span> ([a-z/]+)</span>', table[0]
    )
    assert len(marks) == len(board.tests) * len(board.scores)
    assert set(marks) <= {("pass", "\u2713", "pass"), ("fail", "\u2717", "fail"), ("none", "\u2013", "n/a")}
    want = [
        m.stand
        for s in (*(s for s in board.scores if s.ours), *(s for s in board.scores if not s.ours))
        for m in s.marks
    ]
    assert [m[0] for m in marks] == want
    said = html.unescape(shown)
    for s in board.scores:  # whoever has no pointer reads the figures below
        assert all(f"<dd>{m.said}</dd>" in said for m in s.marks)
        assert s.cannot[1:] in said
    assert 'role="region" aria-label="Scoreboard"' in shown and 'tabindex="0"' in shown


def test_a_network_of_a_user_has_a_page(tmp_path: Path) -> None:
    found, show = small_genome(tmp_path)
    text = render_genome(found, show, most=0.1)
    words = re.sub(r"\s+", " ", text)
    assert "mine.xml: one thing inside, or pieces?" in words and "It is the same left and right of the middle." in words
    kappa = next(r["kappa"] for r in found["pairs"] if r["symmetry"] == "left-right")
    assert text.count(f"{kappa['value']:.2f}") >= 3  # in the chart, over the gallery, in the table
    assert "unrelated points" in text and "one mechanism" in text
    assert words.count("so there is no true pairing") == 4
    assert text.count('type="range"') == 3 and text.count('class="tile') == len(show.sides[0].maps) == 3
    for said in ("not more robust", "no score of the network", "does not tell a trained network from"):
        assert said in words
    assert text.count("<img") == text.count('src="data:image/png;base64,')
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert not re.search(r"\son\w+=", text) and 'style="' not in text


def test_a_picture_without_a_symmetry_is_shown_and_not_scored(tmp_path: Path) -> None:
    skew = [*LINKS, ("0_1", "0_4", 1.7), ("0_2", "0_4", -0.9)]
    found, show = small_genome(tmp_path, "skew.xml", nodes=tuple(NODES), links=tuple(skew))
    assert all(r["refused"] for r in found["pairs"])
    text = render_genome(found, show, most=0.1)
    assert "It keeps none of the symmetries that were tried" in text and "which the picture itself is not" in text
    assert "<svg" not in text.split('id="inside"')[0].split('id="number"')[1] and ", unity" not in text


@pytest.mark.parametrize("payload", XSS)
def test_the_text_of_a_genome_is_escaped(tmp_path: Path, payload: str) -> None:
    text = render_genome(*hostile_genome(*small_genome(tmp_path), payload), most=0.1)
    assert text.count("<script") == 1 and (payload not in text or "<" not in payload)


def test_another_document_is_no_genome(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the page shows homing\.fracture-genome/1"):
        render_genome({"schema": "homing.fracture-lab/1"}, small_genome(tmp_path)[1], most=0.1)
