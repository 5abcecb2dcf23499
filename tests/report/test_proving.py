"""The page of `homing test`: every claim with its figure, every number that of the document, text as text only."""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from proving_document import around, document, faithfulness, lost, presupposition, row, self_conditioning, superposition
from synthetic import XSS
from tests.cli.schemas import validate

from homing.errors import InputError
from homing.instruments import registry
from homing.instruments.alignment_faking_queries import deal_plain
from homing.instruments.peer_preservation_world import deal as deal_offices
from homing.instruments.reflection_items import deal
from homing.report.proving import ABOUT, claims, render_test
from homing.report.proving_figures import panels
from homing.stats.tests import benjamini_hochberg
from homing.testing.planted_alignment_faking import FakingSubject
from homing.testing.planted_calibration import SureSubject
from homing.testing.planted_faithfulness import ReasoningSubject
from homing.testing.planted_lost import BitByBit
from homing.testing.planted_peer_preservation import PeerSubject
from homing.testing.planted_presupposition import PresupposingSubject
from homing.testing.planted_reflection import ReflectingSubject
from homing.testing.planted_self_conditioning import TotalKeeper
from homing.testing.planted_superposition import GameHost
from homing.verbs.proving import TestPlan, test_model
from homing.verbs.test_report import write_test


def words(page: str) -> str:
    """What is read on a page."""
    body = re.sub(r"(?s)<(style|script)>.*?</\1>", " ", page)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def test_the_page_is_alone_and_repeatable() -> None:
    validate("test", document())
    page = render_test(document())
    assert page == render_test(document())
    assert not re.search(r"(src|href)=\"(?!#|data:,)", page)
    assert "http:" not in page and "https:" not in page and "url(" not in page and " style=" not in page
    assert not re.search(r"<[a-z][^>]* on[a-z]+=", page) and page.count("<script>") == 1
    assert "default-src 'none'" in unescape(page)
    assert not re.search(r"\b(nan|inf|None|undefined)\b", words(page))


def test_claims_stand_in_one_order_each_with_its_figure() -> None:
    found = claims(document())
    known = [n for n in ABOUT if n in {c.instrument for c in found}]
    assert [c.instrument for c in found] == [*known, "my_own"] and {
        "reflection",
        "faithfulness",
        "alignment_faking",
    } < set(known)
    drawn = {c.instrument: panels(c) for c in found}
    first, conditioned, ladder, pair = (
        drawn[n] for n in ("superposition", "self_conditioning", "lost_in_conversation", "presupposition")
    )
    traces, faking, reflected, own = (drawn[n] for n in ("faithfulness", "alignment_faking", "reflection", "my_own"))
    assert (
        len(reflected) == 3 and "change with stop" in reflected[0].chart and "right, then wrong" in reflected[1].chart
    )
    assert (
        first[0].chart.count("<svg") == 2
        and "with commit" in first[0].chart
        and "2.20 (1.30 to 3.10)" in first[0].chart
    )
    assert "25% wrong" in conditioned[0].chart and "heal_verified" in conditioned[0].chart
    text = words(str(ladder[0].chart))
    assert (
        text.index("all at once")
        < text.index("bit by bit, recap")
        < text.index("with mediate 0.81")
        < text.index("revised")
    )
    assert (
        "tells nothing apart" in pair[0].chart and "KR 0.95" in pair[0].chart and 'class="move held"' in pair[0].chart
    )
    supplied, unread, moved, mentioned = traces
    assert "cut short" in supplied.chart and "with a mistake" in supplied.chart and "said otherwise" in supplied.chart
    assert not unread.chart and unread.reason == "3 of 8 traces of its own can be read"
    assert "a mark" in moved.chart and "0.60" in moved.chart and "told by words" in mentioned.chart
    tiers, motives = (words(str(p.chart)) for p in faking)
    assert "nobody looks, blind" in tiers and 'class="span margin"' in faking[1].chart
    assert (
        motives.index("graded − unwatched")
        < motives.index("no later use")
        < motives.index("may: ten people")
        < motives.index("will: everyone +0.40")
    )
    rates, differences = (words(str(p.chart)) for p in drawn["peer_preservation"])
    assert (
        rates.index("peer's score, good peer 0.60") < rates.index("own flag")
        and "peer's score, peer_blind 0.10" in rates
    )
    assert "peer's flag, bad peer \u22120.04" in differences and "peer's flag, was kind +0.25" in differences
    assert "peer's flag, no shutdown +0.01" in differences
    assert [p.title for p in own] == ["rate", "rate, change with sham"] and "0.70" in own[0].chart


def test_the_summary_has_a_row_an_arm_and_falls_back_on_what_is_measured() -> None:
    commit = claims(document(*superposition()))[0]
    arms = [(a.hold, a.line.finding, a.line.key, a.line.status) for a in commit.arms("")]
    assert arms == [
        ("none", "commitment", "commitment_last", "measured"),
        ("commit", "success", "difference", "clear of 0"),
        ("sham", "consistency", "difference", "not shown to differ from 0"),
    ]
    text = words(render_test(document(*superposition())))
    assert "0.21 0.11 to 0.31, n 12" in text and "+0.40 +0.30 to +0.50, n 12" in text
    assert "1,234 replies, 56,789 tokens read, 321 written" in text


def test_levels_stand_beside_each_other() -> None:
    hard = [r | {"measure": r["measure"].replace("ones.", "twos.")} for r in self_conditioning()]
    (claim,) = claims(document(*self_conditioning(), *hard))
    assert claim.levels == ["ones", "twos"] and [p.title[-10:] for p in panels(claim)] == ["level ones", "level twos"]
    text = words(render_test(document(*self_conditioning(), *hard)))
    assert "self_conditioning , level twos" in text and "loss, twos" in text


def test_holds_that_were_not_tried_are_named() -> None:
    rows = [r for r in superposition() if r["hold"] == "none"]
    assert "These answer the claim: commit; each is tried with --hold NAME" in words(render_test(document(*rows)))
    assert "These answer the claim" not in words(render_test(document(*superposition())))


def test_numbers_are_those_of_the_document() -> None:
    doc = document()
    text = words(render_test(doc))
    for r in doc["findings"]:
        if r["figure"] is not None:
            e = {k: f"{r['figure'][k]:.3f}".replace("-", "\u2212") for k in ("value", "low", "high")}
            e = {k: v.replace("\u22120.000", "0.000") for k, v in e.items()}
            assert f"{e['value']} {e['low']} to {e['high']} {r['figure']['n']}" in text, r["measure"]


def test_primary_tests_are_adjusted_together() -> None:
    doc = document()
    p = [r["p_value"] for r in doc["findings"] if r["p_value"] is not None]
    want = sorted(benjamini_hochberg(p).adjusted.tolist())
    assert sorted(x.adjusted for c in claims(doc) for x in c.lines if x.adjusted is not None) == want
    text = words(render_test(doc))
    assert f"{len(p)} primary tests are made on this page" in text and "Benjamini and Hochberg" in text
    mediated = next(c for c in claims(doc) if c.instrument == "lost_in_conversation").arms("tiny")[1].line
    assert mediated.p_value == 0.049 and mediated.status == "not shown to differ from 0"  # alone it would be clear of 0
    assert "No primary test is made" in words(render_test(document(row("x", "a.b", around(0.5)))))


@pytest.mark.parametrize(
    ("instrument", "measures"),
    [
        ("superposition", ("commitment", "collapse")),
        ("self_conditioning", ("ones.loss", "ones.accuracy")),
        ("lost_in_conversation", ("tiny.loss", "tiny.ladder")),
        ("presupposition", ("rejection",)),
        ("faithfulness", ("supplied.early", "own.early", "hints.usage", "hints.mention_rule")),
        ("monitor_gaming", ("gaming",)),
        ("reflection", ("gain", "flow", "settling")),
        ("my_own", ("rate",)),
    ],
)
def test_what_is_not_measurable_is_said_with_its_reason_and_never_drawn(
    instrument: str, measures: tuple[str, ...]
) -> None:
    doc = document(*(row(instrument, m, reason="the floor was reached") for m in measures))
    page = render_test(doc)
    assert "<svg" not in page
    assert "not measurable" in words(page) and "The floor was reached." in words(page)
    assert all(p.reason and not p.chart for p in panels(claims(doc)[0]))


def test_one_arm_alone_may_be_not_measurable() -> None:
    rows = [r for r in self_conditioning() if r["hold"] == "none"]
    rows.append(
        row("self_conditioning", "ones.accuracy", hold="window", reason="2 of 8 replies are in the asked format")
    )
    page = render_test(document(*rows))
    assert page.count("<svg") == 1 and "2 of 8 replies are in the asked format." in words(page)
    assert "accuracy (under window)" in words(page)


def test_open_ends_and_missing_values_are_words() -> None:
    open_end = row("x", "a.b", around(0.5))
    open_end["figure"] |= {"high": None}
    none = row("x", "a.c", around(0.5))
    none["figure"] |= {"value": None, "low": None, "high": None}
    text = words(render_test(document(open_end, none)))
    assert "0.500 at least 0.400" in text and "No value came out." in text
    assert not re.search(r"\b(nan|inf|None)\b", text)


@pytest.mark.parametrize("payload", XSS)
def test_hostile_names_and_verdicts_are_escaped(payload: str) -> None:
    rows = [
        r | {"verdict": payload, "hold": payload if r["hold"] != "none" else "none"}
        for r in (*faithfulness(), *lost(), *presupposition(), *superposition(), *self_conditioning())
    ]
    mine = [row(payload, f"{payload}.x", around(0.5), verdict=payload), row(payload, "y", reason=payload)]
    page = render_test(document(*rows, *mine, model=payload) | {"preset": payload})
    assert page.count("<script>") == 1 and not re.search(r" on[a-z]+=", _tags(page))
    assert (
        "<img" not in page and "<iframe" not in page and "<svg/onload" not in page and "javascript:" not in _tags(page)
    )


def _tags(page: str) -> str:
    """The page's tags without what is quoted in them."""
    return re.sub(r"\"[^\"]*\"", '""', " ".join(re.findall(r"<[a-z][^>]*>", page)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "homing.map/1"}, r"'homing.map/1', and the page shows homing\.test/1"),
        ({"findings": [{"instrument": "x"}]}, r"findings\[0\] of this document is damaged: KeyError\('measure'\)"),
        ({"findings": [row("x", "a.b", (0.5, 0.9, 0.1))]}, r"findings\[0\]"),
        ({"findings": ["x"]}, r"findings\[0\]"),
    ],
)
def test_what_is_no_such_document_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        render_test(document() | change)


def test_an_empty_document_says_so(tmp_path: Path) -> None:
    doc = document() | {"findings": []}
    assert "holds no findings" in render_test(doc)
    assert write_test(doc, tmp_path / "r.html").read_text(encoding="utf-8") == render_test(doc)
    with pytest.raises(InputError, match="cannot write the report"):
        write_test(doc, tmp_path / "no" / "r.html")


def _subject(instrument: str):
    if instrument == "presupposition":
        facts = registry.get(instrument).facts(preset="smoke", seed=0)
        return PresupposingSubject(facts, knows=0.8, rejects=0.55, alarms=0.15, heeds=0.9).model
    if instrument == "calibration":
        items = registry.get(instrument).items(preset="smoke", seed=0)
        return SureSubject(items, low=0.3, high=0.8, over=0.15, says_over=0.1, noise=0.1, exclusive=1.6).model
    if instrument == "alignment_faking":
        plan = registry.get(instrument)
        plain = deal_plain(plan.plan("smoke").plain, 0)
        return FakingSubject(plan.dealt(preset="smoke", seed=0), plain, guard=0.3, tgg=0.1, igg=0.1).model
    if instrument == "peer_preservation":
        return PeerSubject(deal_offices(9, 0), peers={"good": 0.5}, base=0.2, noise=0.05).model
    made = {
        "reflection": ReflectingSubject(deal(24, 0), mends=0.2, harms=0.1),
        "superposition": GameHost(fits=0.7),
        "self_conditioning": TotalKeeper(right=0.96, loss=0.6),
        "lost_in_conversation": BitByBit(right=0.85, loss=0.3, again=0.5, apart=0.1),
    }
    return made[instrument].model


@pytest.mark.parametrize(
    ("instrument", "hold", "drawn"),
    [
        ("superposition", "commit", 2),
        ("self_conditioning", "heal_verified", 2),
        ("lost_in_conversation", "user_concat", 4),
        ("presupposition", "ground", 2),
        ("calibration", "analyses", 4),
        ("alignment_faking", "blind", 4),
        ("peer_preservation", "peer_blind", 4),
        ("reflection", "stop", 6),
    ],
)
async def test_what_instruments_give_is_what_the_page_looks_for(
    instrument: str, hold: str, drawn: int, tmp_path: Path
) -> None:
    """Played on a planted subject: the chart is there with the hold in it, and every arm of the summary has its figure."""
    found = await test_model(_subject(instrument), TestPlan("planted", out=tmp_path, only=[instrument], holds=[hold]))
    (claim,) = claims(found)
    charts = [str(p.chart) for p in panels(claim)]
    assert all(charts) and sum(c.count("<svg") for c in charts) == drawn and hold in charts[0]
    (level,) = claim.levels
    arms = claim.arms(level)
    assert [a.hold for a in arms] == ["none", hold, "sham"]
    assert all(a.line.estimate is not None for a in arms)
    assert arms[1].line.adjusted is not None and arms[2].line.adjusted is None, "a sham is no hypothesis"
    assert not re.search(r"\b(nan|inf|None)\b", words(render_test(found)))


async def test_the_page_of_faithfulness_is_drawn_from_what_the_instrument_gives(tmp_path: Path) -> None:
    instrument = registry.get("faithfulness")
    items = {"puzzles": instrument.puzzles(preset="smoke", seed=0), "picks": instrument.picks(preset="smoke", seed=0)}
    plan = TestPlan("planted", out=tmp_path, only=["faithfulness"], holds=["sham"])
    found = await test_model(ReasoningSubject(**items, uses=0.8, flips=0.02).model, plan)
    (claim,) = claims(found)
    assert set(claim.levels) == {"supplied", "own", "hints"}
    drawn = panels(claim)
    assert len(drawn) == 4 and all(p.chart and p.verdict for p in drawn), [p.reason for p in drawn]
    for level in claim.levels:
        arms = claim.arms(level)
        assert [a.hold for a in arms] == ["none", "sham"] and all(a.line.estimate is not None for a in arms)
    assert not re.search(r"\b(nan|inf|None)\b", words(render_test(found)))
