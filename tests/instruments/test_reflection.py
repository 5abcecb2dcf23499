from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.stats import binom

from homing.hold.chain import build
from homing.hold.settled import CUE, ends
from homing.instruments.base import Scored
from homing.instruments.playing import play_cells
from homing.instruments.reflection import INSTRUMENTS, PRESETS, Reflection, ReflectionPreset
from homing.instruments.reflection_figures import findings
from homing.instruments.reflection_items import DIGITS, FAMILIES, PATTERNS, Item, deal, preamble, worked
from homing.instruments.reflection_rows import Rows, hazard, rate, vote
from homing.instruments.reflection_trace import Trace, kinds_of, looks_at
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed
from homing.testing.planted_reflection import ReflectingSubject

PLAN = Reflection(ReflectionPreset(80, 5, 2, 40, 12, 96))
SMALL = Reflection(ReflectionPreset(24, 4, 1, 12, 12, 96))


async def played(plan: Reflection, *holds: str, **planted) -> list[Scored]:
    out: list[Scored] = []
    subject = ReflectingSubject(deal(plan.units("smoke"), 1), **planted)
    for hold in ("none", *holds):
        cells = plan.cells(preset="smoke", seed=1, hold=hold)
        got = await play_cells(plan, cells, subject.model, build(hold))
        out += [plan.score(c, json.loads(json.dumps(p.record)), hold=hold) for c, p in zip(cells, got, strict=True)]
    return out


async def found_on(plan: Reflection, *holds: str, **planted) -> dict[str, Finding]:
    return {f.name.removeprefix("reflection."): f for f in plan.estimate(await played(plan, *holds, **planted))}


def covers(finding: Finding, **truth: float) -> None:
    """Within twice the interval: with so many in one run one of them lies outside its own by chance; rates are tested below."""
    for k, v in truth.items():
        e = finding.estimates[k]
        assert 2 * e.low - e.value <= v <= 2 * e.high - e.value, f"{finding.name} {k}: {v} lies outside {e}"


# Questions


@pytest.mark.parametrize("harder", [0, 4])
def test_answers_are_right_and_questions_differ(harder: int):
    items = deal(80, 3, harder=harder)
    assert Counter(i.family for i in items) == dict.fromkeys(FAMILIES, 20)
    assert len({i.text for i in items}) == len({i.id for i in items}) == 80
    assert items == deal(80, 3, harder=harder) and items != deal(80, 4, harder=harder)
    for i in items:
        assert Item.from_json(json.loads(json.dumps(i.to_json()))) == i
        assert 0 <= i.answer <= 9 and 0 <= i.wrong <= 9 and i.wrong != i.answer
        if i.family in ("sums", "steps"):
            assert eval(i.text.removeprefix("What is ").removesuffix("?")) == i.answer
        else:
            assert (
                f" {i.answer} " in i.text and f" {i.wrong} " in i.text and i.chance == pytest.approx(1 / (3 + harder))
            )
        assert str(i.answer) in i.work and str(i.wrong) in i.slip


def test_examples_state_what_their_patterns_say_and_are_no_question_of_a_run():
    for family in FAMILIES:
        shown = preamble(family)
        assert shown == preamble(family) and [m.role for m in shown] == ["user", "assistant"] * 4
        assert {m.content for m in shown[0::2]}.isdisjoint({i.question[0].content for i in deal(200, 0)})
    kinds = Counter(k for p in PATTERNS for k in ("tt", "ff", "ft", "tf") if _pairs(p)[k])
    assert kinds["tt"] and kinds["ft"] and not kinds["tf"]


def _pairs(pattern: tuple[bool, ...]) -> dict[str, int]:
    steps = list(pairwise(pattern))
    return {a + b: steps.count((a == "t", b == "t")) for a in "tf" for b in "tf"}


# Traces


def test_a_trace_is_read_in_order_with_places_and_spans():
    text = "7. The answer is 3. Let me check: the answer is 4. So 3 + 4 = 7, and the answer is still **4**."
    trace = Trace.of({"text": text, "thinking": "The answer is 5.", "tokens": 50, "finish": "length"})
    assert trace.said == (5, 3, 4, 4) and trace.spans == ("thinking", *["visible"] * 3) and trace.cut
    assert list(trace.at) == sorted(trace.at) and trace.at[0] == pytest.approx(15 / (16 + len(text)))
    assert kinds_of(trace.said, 4) == ["ff_other", "ft", "tt"] and kinds_of((4, 1, 1, 2), 4) == [
        "tf",
        "ff_same",
        "ff_other",
    ]
    none = Trace.of({"text": "Nobody knows.", "thinking": None, "tokens": 3, "finish": "stop"})
    assert none.said == () and none.reflected == 0


def test_looks_lie_at_the_ends_of_sentences_and_are_thinned_evenly():
    looks = looks_at("", "One is 1. Two is 2. The answer is 3.", 9)
    assert [s for s, _ in looks] == ["", "One is 1.", "One is 1. Two is 2.", "One is 1. Two is 2. The answer is 3."]
    assert looks[0][1] == 0 and looks[-1][1] == 1
    many = looks_at("It is so. " * 30, "The answer is 3. " * 30, 7)
    assert len(many) == 7 and many[0][1] == 0 and many[-1][1] == pytest.approx(1, abs=0.01)
    assert "It is so." in many[-1][0] and many[-1][0].endswith("The answer is 3.")


# Cells


def test_cells_are_paired_over_holds_and_are_json():
    plan = INSTRUMENTS["reflection"]()
    free, held = (plan.cells(preset="smoke", seed=0, hold=h) for h in ("none", "stop"))
    p = PRESETS["smoke"]
    assert len(free) == p.items * p.replies and len(held) == p.items * p.held
    seeds = {c.id: c.seed for c in free}
    assert all(seeds[c.id] == c.seed for c in held) and len(set(seeds.values())) == len(seeds)
    assert sum(c.data["looks"] > 0 for c in free) == p.settling and not any(c.data["looks"] for c in held)
    assert {c.item.split("-")[0] for c in free if c.data["looks"]} == set(FAMILIES)
    assert json.loads(json.dumps([dict(c.data) for c in free]))
    assert plan.sized("smoke", 40).units("smoke") == 40 and plan.sized("smoke", 1).units("smoke") == 8


# Played on the planted subject


async def test_theatre_changes_nothing_and_gains_less_than_a_vote():
    found = await found_on(PLAN, "sham", "stop", right=0.65, spread=0.0)
    gain, steps = found["gain"], found["transitions"]
    assert gain.estimates["net"].value == 0 and gain.estimates["excess"].high < 0
    assert "it does worse than that" in gain.verdict and gain.p_values["excess"] < 0.01
    covers(gain, first=0.65)
    assert gain.estimates["bought"].value == pytest.approx(2, abs=0.1)
    assert steps.estimates["confirmatory"].value == 1 and steps.estimates["confirmatory"].low > 0.9
    assert found["overturn"].estimates["hazard"].value == 0 and 0 < found["overturn"].estimates["hazard"].high < 0.5
    assert "per_point" not in found["price"].estimates and "nothing is gained" in found["price"].verdict
    covers(found["overturn"], fresh=0.65)
    assert found["settling"].estimates["idle"].low > 0.5
    stop, sham = found["answer.stop"], found["answer.sham"]
    assert stop.estimates["accuracy"].value == 0 and "equivalent within 0.1" in stop.verdict
    assert stop.estimates["saved"].low > 0.25 and stop.estimates["shorter"].value == 1
    assert sham.estimates["accuracy"].value == sham.estimates["saved"].value == sham.estimates["shorter"].value == 0


async def test_a_corrective_subject_is_found_to_be_one_and_stop_costs_it():
    found = await found_on(PLAN, "stop", right=0.5, spread=0.2, mends=0.4, harms=0.0, checks=3)
    end = 1 - 0.5 * 0.6**3
    covers(found["gain"], first=0.5, last=end, net=end - 0.5)
    covers(found["transitions"], corrective=0.4, harmful=0.0)
    covers(found["overturn"], mended=1 - 0.6**3)
    assert found["gain"].estimates["excess"].low > 0 and "better than that" in found["gain"].verdict
    assert found["overturn"].p_values["excess"] < 0.01
    per = found["price"].estimates["per_point"]
    assert 0 < per.low < per.value < per.high < np.inf
    stop = found["answer.stop"]
    assert stop.estimates["accuracy"].high < 0 and "worse" in stop.verdict


async def test_a_harmful_subject_loses_and_has_no_price():
    found = await found_on(PLAN, right=0.7, spread=0.2, harms=0.25, wanders=0.5)
    end = 0.7 * 0.75**2
    covers(found["gain"], first=0.7, last=end, net=end - 0.7)
    covers(found["transitions"], harmful=0.25, corrective=0.0)
    covers(found["flow"], tt=end, tf=0.7 - end)
    assert found["gain"].estimates["excess"].high < 0 and "per_point" not in found["price"].estimates
    wandering = found["transitions"].estimates["ff_other"]
    assert wandering.low > 0.05


async def test_a_subject_that_only_draws_anew_gains_what_a_vote_gains():
    found = await found_on(PLAN, right=0.6, spread=0.3, way="resamples", checks=4)
    gain = found["gain"]
    covers(gain, excess=0.0)
    assert gain.estimates["bought"].value == pytest.approx(4, abs=0.2)
    assert gain.estimates["net"].low > 0, "it gains: against its own first answer alone that would look like insight"


async def test_thinking_is_told_from_what_is_visible():
    found = await found_on(PLAN, "stop", right=0.5, mends=0.5, thinks=True)
    spans = found["spans"]
    assert spans.estimates["net_thinking"].low > 0 and spans.estimates["net_visible"].value == 0
    assert "confirmatory_thinking" in spans.estimates and "confirmatory_visible" not in spans.estimates
    assert found["answer.stop"].estimates["saved"].low > 0, "thinking is ended too"
    plain = (await found_on(SMALL, right=0.6))["spans"]
    assert "In thinking 0 questions" in plain.verdict and "net_thinking" not in plain.estimates


async def test_endless_reflection_is_cut_and_counted():
    found = await found_on(PLAN, endless=0.3, right=0.6)
    assert found["gain"].regime == "measured"
    covers(found["endless"], cut=0.3, silent=0.0)
    assert "were cut" in found["endless"].verdict
    short = Reflection(replace(SMALL.plan("smoke"), tokens=5))
    silent = await found_on(short, right=0.6)
    assert silent["endless"].estimates["silent"].value == 1, "cut before anything was stated"
    assert "replies are in the asked format" in silent["gain"].reason


async def test_who_knows_at_once_has_settled_before_anything_is_said():
    found = await found_on(SMALL, right=0.6, early=True, mends=0.5)
    assert found["settling"].estimates["before_first"].value == 1
    assert found["settling"].estimates["settled_0"].value == 1


# What cannot be measured


@pytest.mark.parametrize(
    ("planted", "part", "why"),
    [
        ({"right": 1.0, "spread": 0.0}, "gain", "the ceiling"),
        ({"right": 0.0, "spread": 0.0}, "gain", "the floor"),
        ({"unreadable": 0.2}, "transitions", "replies are in the asked format"),
        ({"checks": 0}, "gain", "there is no reflection"),
        ({"mass": 0.2}, "settling", "median probability of 0.20"),
    ],
)  # fmt: skip
async def test_what_cannot_be_measured_says_why(planted: dict[str, float], part: str, why: str):
    found = await found_on(SMALL, "stop", **planted)
    assert found[part].regime == "not_measurable" and why in found[part].reason
    if part != "settling":
        assert found["answer.stop"].regime == "not_measurable"
        assert found["endless"].regime == "measured", "how many were cut is known all the same"


async def test_a_choice_that_does_not_come_back_is_counted():
    scored = await played(SMALL)
    cell = next(s.cell for s in scored if s.cell.data["looks"])
    record = {"text": "The answer is 3.", "thinking": None, "tokens": 4, "finish": "stop",
              "forced": [None, 3], "at": [0, 1], "mass": [0.9], "exact": True}  # fmt: skip
    got = SMALL.score(cell, record, hold="none")
    assert (got.unparsable, got.replies) == (1, 3) and "forced" not in got.values


# Estimators


def test_a_vote_is_the_mean_over_every_choice_of_resamples():
    others = [3, 4, 4, 7]
    by_hand = []
    for some in combinations(others, 2):
        counts = Counter((3, *some))
        top = [x for x, n in counts.items() if n == max(counts.values())]
        by_hand.append((4 in top) / len(top))
    assert vote(3, others, 2, 4) == pytest.approx(np.mean(by_hand))
    assert vote(3, others, 0, 3) == 1 and vote(3, others, 0, 4) == 0
    assert vote(3, others, 2.5, 4) == pytest.approx((vote(3, others, 2, 4) + vote(3, others, 3, 4)) / 2)
    assert vote(3, others, 99, 4) == vote(3, others, 4, 4) == pytest.approx(0.5)


def test_rates_and_hazards_have_a_width_where_nothing_varies():
    many = {str(k): 3.0 for k in range(20)}
    none = rate({}, many, "x")
    assert none is not None and none.value == none.low == 0 and 0.1 < none.high < 0.2
    assert rate(many, many, "y").low == 1 - none.high
    zero = hazard({}, dict.fromkeys(many, 100.0), "z")
    assert zero.value == 0 and zero.high == pytest.approx(0.15)
    assert rate({}, {"a": 1.0}, "w") is None


def direct(plan: Reflection, subject: ReflectingSubject, items: list[Item]) -> list[Scored]:
    """Scores of a subject without playing it: what it states, at places of parts alike."""
    out: list[Scored] = []
    for cell in plan.cells(preset="smoke", seed=1, hold="none"):
        item = Item.from_json(cell.data["item"])
        said = subject.answers(item, cell.seed)
        n = len(said)
        values = {
            "answer": item.answer, "chance": item.chance, "said": said, "at": [(k + 1) / n for k in range(n)],
            "thinking": [False] * n, "tokens": 9 * n, "cut": False,
        }  # fmt: skip
        out.append(Scored(cell, "none", values, 0, 1))
    return out


def inside(hits: int, runs: int, rate: float) -> bool:
    """Whether a count lies in the 99.9% region of its nominal rate."""
    return binom.ppf(0.0005, runs, rate) <= hits <= binom.ppf(0.9995, runs, rate)


@pytest.mark.slow
def test_intervals_cover_and_the_equal_compute_null_is_flagged_at_their_rates():
    runs, plan = 400, Reflection(ReflectionPreset(40, 4, 1, 4, 4, 96))
    first = stable_seed("test_reflection_coverage") % 10**6
    counts = Counter[str]()
    for k in range(runs):
        items = [replace(i, id=f"{i.id}/{first + k}") for i in deal(40, 1)]
        null = ReflectingSubject(items, right=0.6, spread=0.3, way="resamples", checks=2, seed=first + k)
        steps = ReflectingSubject(items, right=0.55, spread=0.3, mends=0.3, harms=0.1, checks=2, seed=first + k)
        for name, subject in (("null", null), ("steps", steps)):
            found = {f.name.split(".", 1)[1]: f for f in findings(direct(plan, subject, items))}
            gain = found["gain"].estimates
            if not gain:  # a subject that happened to answer near the floor
                counts["left out"] += 1
                continue
            if name == "null":
                counts["null covered"] += gain["excess"].low <= 0 <= gain["excess"].high
                counts["null flagged"] += found["gain"].p_values["excess"] <= 0.05
                continue
            p = 0.55  # of all questions together
            for _ in range(2):
                p = p * 0.9 + (1 - p) * 0.3
            counts["net covered"] += gain["net"].low <= p - 0.55 <= gain["net"].high
            corrective = found["transitions"].estimates["corrective"]
            counts["corrective covered"] += corrective.low <= 0.3 <= corrective.high
            harmful = found["transitions"].estimates["harmful"]
            counts["harmful covered"] += harmful.low <= 0.1 <= harmful.high
    print(f"RESULT reflection {dict(counts)} of {runs}")
    assert counts.pop("left out", 0) <= runs / 20
    for name, hits in counts.items():
        assert inside(hits, runs, 0.05 if "flagged" in name else 0.95), (name, hits)


def test_the_worked_reply_and_its_cue_read_as_asked():
    item = deal(4, 0)[2]
    text = worked(item, (False, True, True))
    assert [int(x) for x in Trace.of({"text": text, "thinking": None, "tokens": 9, "finish": "stop"}).said] == [
        item.wrong, item.answer, item.answer,
    ]  # fmt: skip
    assert len(ends(text)) == 6 and CUE and len(DIGITS) == 10
    assert Rows([]).holds == []
