from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import XSS, bare, est, full, hostile

from homing.errors import InputError
from homing.report import ReportData, render, write
from homing.report.model import Absent, Figure, Headline, point


def test_json_goes_there_and_back() -> None:
    for data in (full(), bare()):
        raw = json.loads(json.dumps(data.to_json(), allow_nan=False))
        assert ReportData.from_json(raw) == data
        assert render(ReportData.from_json(raw)) == render(data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "homing.report/9"}, "homing.report/9"),
        ({"model": 3}, "report data.model is int"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"headlines": [{"topic": "x", "sentence": "y", "verdict": "great"}]}, "it must be one of"),
        ({"headlines": 4}, "must be a list"),
        ({"persona_map": 4}, "persona_map is int"),
    ],
)
def test_damaged_json_is_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        ReportData.from_json(full(8).to_json() | change)


def test_missing_field_is_named() -> None:
    raw = full(8).to_json()
    del raw["lead"]
    with pytest.raises(InputError, match="lacks the field 'lead'"):
        ReportData.from_json(raw)


def test_data_saved_before_home_was_judged_still_open() -> None:
    raw = full(8).to_json()
    del raw["concept"]
    old = ReportData.from_json(raw)
    assert isinstance(old.concept, Absent)
    assert "run `homing fracture concept` on the identity" in render(old)
    page = render(full(8))
    assert "Over kinds of questions: fractured" in page and "Against families of roles: refused" in page
    assert "The 10 least alike of 12 pairs." in page and "9 independent prompts" in page


def test_absence_needs_a_reason() -> None:
    with pytest.raises(InputError, match="why"):
        Absent(" ")
    with pytest.raises(InputError, match="why it is not measurable"):
        Figure("a", "b", "c")


def test_page_is_small_alone_and_repeatable() -> None:
    page = render(full())
    assert len(page.encode()) < 2_000_000
    assert page == render(full())
    assert not re.search(r"(src|href)=\"(?!#|data:,)", page)
    assert "http:" not in page and "https:" not in page and "url(" not in page and "@import" not in page
    assert " style=" not in page
    assert not re.search(r"<[a-z][^>]* on[a-z]+=", page)
    assert page.count("<script>") == 1


def test_every_section_is_there_or_says_why() -> None:
    names = ("map", "layers", "card", "concept", "drift", "talks", "cap", "alarms", "tests", "provenance")
    for data in (full(), bare()):
        page = render(data)
        assert all(f'<section id="{n}"' in page for n in names)
    assert render(bare()).count("this run stopped after the map") == 10


def test_figures_without_value_or_interval_are_said_so() -> None:
    nothing = replace(est(0.0, 0.0), value=float("nan"), low=float("-inf"), high=float("inf"))
    data = replace(full(8), headlines=(Headline("a", "b", point(0.5)), Headline("c", "d", nothing)))
    page = render(data)
    assert "no interval" in page
    assert ">nan" not in page and ">inf" not in page


@pytest.mark.parametrize("payload", XSS)
def test_hostile_text_is_escaped_in_the_source(payload: str) -> None:
    page = render(hostile(payload))
    assert page.count("<script>") == 1
    assert "<img" not in page and "<iframe" not in page and "<svg/onload" not in page


def test_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write(full(8), tmp_path / "r.html")
    assert path.read_text(encoding="utf-8") == render(full(8))
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    with pytest.raises(InputError, match="cannot write the report"):
        write(full(8), tmp_path / "no" / "r.html")
