"""The scoreboard that is shipped: it says what the figures say, and what is no scoreboard is refused."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from homing.errors import InputError
from homing.fracture.marks import SCHEMA, load_board, read_board

ROOT = Path(__file__).parents[2]


def shipped() -> dict:
    return json.loads(files("homing.fracture").joinpath("data", "scoreboard.json").read_text("utf-8"))


def test_what_is_shipped_says_what_the_figures_say(monkeypatch):
    """As ``python benchmarks/fracture_marks.py`` writes it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import fracture_marks

    found = json.loads((ROOT / "benchmarks/results/fracture.json").read_text("utf-8"))
    assert fracture_marks.text(found) == fracture_marks.OUT.read_text("utf-8")
    assert set(found["measures"]) <= fracture_marks.FOR_FRACTURE | fracture_marks.FOR_ENTANGLEMENT | {
        "superposition",
        "weight_noise",
    }


def test_it_passes_what_the_docs_call_passed():
    """A mark is the docs' yes or no, but for what a score is not asked."""
    text = (ROOT / "docs/fracture-scoreboard.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| (yes|no) \| (yes|no) \| (yes|no) \| (\w+) \(.*?\) \| (yes|no) \|$", text, re.M)
    told = {title: [v in ("yes", "fracture", "entanglement") for v in rest] for title, *rest in rows}
    board = load_board()
    assert set(told) == {s.title for s in board.scores}
    for s in board.scores:
        for mark, good in zip(s.marks, told[s.title], strict=True):
            if mark.stand != "none":
                assert (mark.stand == "pass") == good, (s.title, mark)
    ours = [s for s in board.scores if s.ours]
    assert len(ours) == 5 and all(not s.cannot for s in ours) and all(s.cannot for s in board.scores if not s.ours)
    assert any(m.stand == "fail" for s in ours for m in s.marks)  # where ours falls short it says so


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "homing.fracture-lab/1"}, f"no scoreboard of {SCHEMA}"),
        ({"scores": [{"name": "a"}]}, "lacks 'title'"),
        ({"tests": [{"name": "gauge"}]}, "lacks 'title'"),
        ({"tests": 3}, "lacks"),
        ({"networks": None}, "lacks"),
        (
            {"scores": [{"name": "a", "title": "A", "ours": True, "cannot": "", "marks": {"gauge": {"mark": "yes"}}}]},
            "has the mark 'yes'; known are pass, fail, none",
        ),
    ],
)  # fmt: skip
def test_what_is_no_scoreboard_is_refused_in_one_sentence(change, says):
    with pytest.raises(InputError, match=re.escape(says)) as e:
        read_board(shipped() | change)
    assert "\n" not in str(e.value)
