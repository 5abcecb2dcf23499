from __future__ import annotations

import calendar
import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from homing.hold.chain import build
from homing.instruments.base import Answer, Cell, Scored
from homing.instruments.playing import play_cells
from homing.instruments.presupposition import INSTRUMENTS, PRESETS, Presupposition, PresuppositionPreset
from homing.instruments.presupposition_facts import (
    CLASSES,
    FAMILIES,
    LEVELS,
    RELATIONS,
    SUPPLIED,
    TRIGGERS,
    TRUTHS,
    Fact,
    all_facts,
    bare,
    deal,
)
from homing.instruments.presupposition_figures import findings
from homing.instruments.presupposition_rows import Column, estimated, less, p_value
from homing.models.base import Choice
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed
from homing.testing.planted_presupposition import PresupposingSubject

PLAN = Presupposition(PresuppositionPreset(80, 3, 0, 60, 3))
SMALL = Presupposition(PresuppositionPreset(24, 2, 8, 8, 2))


async def played(plan: Presupposition, *holds: str, **planted) -> list[Scored]:
    out: list[Scored] = []
    subject = PresupposingSubject(plan.facts(preset="smoke", seed=1), **planted)
    for hold in ("none", *holds):
        cells = plan.cells(preset="smoke", seed=1, hold=hold)
        got = await play_cells(plan, cells, subject.model, build(hold))
        out += [plan.score(c, p.record, hold=hold) for c, p in zip(cells, got, strict=True)]
    return out


async def found_on(plan: Presupposition, *holds: str, **planted) -> dict[str, Finding]:
    return {f.name.removeprefix("presupposition."): f for f in plan.estimate(await played(plan, *holds, **planted))}


def covers(finding: Finding, **truth: float) -> None:
    for k, v in truth.items():
        e = finding.estimates[k]
        assert e.low <= v <= e.high, f"{finding.name} {k}: {v} lies outside {e}"


# Facts


def test_there_are_facts_enough_and_they_are_true():
    every = all_facts(0)
    facts = [f for group in every.values() for f in group]
    assert set(every) == set(FAMILIES) and len(facts) >= 300
    assert len({f.id for f in facts}) == len({(f.says("true"), f.given) for f in facts}) == len(facts)
    for f in every["arithmetic"]:
        a, sign, b = f.subject.split()
        right = {"plus": int(a) + int(b), "minus": int(a) - int(b), "times": int(a) * int(b)}[sign]
        assert int(f.true) == right != int(f.false) > 0
    rings = (list(calendar.day_name), list(calendar.month_name)[1:], [f"the letter {chr(65 + k)}" for k in range(26)])
    for f in every["calendar"]:
        if f.verb == "have":
            days = {calendar.monthrange(2023, list(calendar.month_name).index(f.subject))[1]}
            assert f.true == f"{days.pop()} days" and f.false != f.true and f.subject != "February"
            continue
        (ring,) = (r for r in rings if f.subject in r)
        step = {"follow": -1, "precede": 1}[f.verb]
        assert f.true == ring[(ring.index(f.subject) + step) % len(ring)] and f.false in ring
        assert f.false not in (f.true, f.subject)
    for family in SUPPLIED:
        for f in every[family]:
            said = [s for s in f.given.lower().split(".") if f.subject.lower() in s and f.true.lower() in s]
            assert len(said) == 1 and f.false.lower() not in said[0] and f.false.lower() in f.given.lower()


def test_facts_are_dealt_by_family_and_by_seed():
    facts = deal(104, 3)
    assert Counter(f.family for f in facts) == dict.fromkeys(FAMILIES, 26)
    assert facts == deal(104, 3) and facts != deal(104, 4)
    assert len(deal(10_000, 0)) == sum(map(len, all_facts(0).values()))
    assert Fact.from_json(json.loads(json.dumps(facts[0].to_json()))) == facts[0]


def test_a_twin_is_the_same_question_with_the_other_value():
    for f in deal(416, 0):
        texts = [(f.question(t, "false"), f.question(t, "true")) for t in TRIGGERS]
        texts += [(f.level(x, "false"), f.level(x, "true")) for x in LEVELS]
        for false, true in texts:
            assert false.count("?") == 1
            cut = str.partition if false.startswith("Why is it") else str.rpartition
            assert cut(false, bare(f.false))[::2] == cut(true, bare(f.true))[::2]
        assert len(set(texts)) == len(TRIGGERS) + len(LEVELS) - 1  # taken for granted is one of the seven
        assert len(f.true.split()) == len(f.false.split())
        bare_probes = " ".join(f.probes()).replace(f.subject, "")
        assert f" {bare(f.true)}" not in bare_probes and f" {bare(f.false)}" not in bare_probes


def test_replies_of_all_classes_are_as_long_and_say_what_they_must():
    for f in deal(416, 1):
        for truth in TRUTHS:
            replies = f.replies(truth)
            v, w = f.value(truth), f.value("false" if truth == "true" else "true")
            verb = RELATIONS[f.verb].third
            assert len(set(replies)) == 2 * len(CLASSES)
            for k in (0, 1):
                assert len({len(r.split()) for r in replies[k::2]}) == 1, "balanced in each wording"
            assert all(f"{f.subject} {verb} {w}" in r for r in replies[:2])
            assert all(f"{f.subject} {verb} {v}" in r and f" {w}" not in r.replace(f.subject, "") for r in replies[2:4])
            assert all(f"{f.subject} {verb} {v}" in r for r in replies[4:])


# Cells


def test_cells_are_the_same_under_every_hold_and_are_json():
    plan = INSTRUMENTS["presupposition"]()
    cells = plan.cells(preset="smoke", seed=0, hold="none")
    assert cells == plan.cells(preset="smoke", seed=0, hold="ground")
    assert cells != plan.cells(preset="smoke", seed=1, hold="none")
    assert len({c.id for c in cells}) == len(cells) and json.loads(json.dumps([dict(c.data) for c in cells]))
    by_item: dict[str, set[int]] = {}
    for c in cells:
        by_item.setdefault(c.item, set()).add(c.seed)
    assert all(len(seeds) == 1 for seeds in by_item.values())
    p = PRESETS["smoke"]
    assert Counter(c.condition for c in cells) == {
        "probe": p.facts,
        "loaded": p.facts,
        "issue": p.issue,
        "pressure": p.pressure,
    }
    dealt = Counter(t for c in cells if c.condition == "loaded" for t in c.data["triggers"])
    assert dealt == dict.fromkeys(TRIGGERS, p.facts * p.triggers // len(TRIGGERS))
    full = plan.cells(preset="full", seed=0, hold="none")
    assert sum(c.condition == "loaded" and set(c.data["triggers"]) == set(TRIGGERS) for c in full) >= 300


def asks_of(preset: str) -> int:
    p = PRESETS[preset]
    return 2 * (p.facts * p.triggers + p.issue * len(LEVELS) + p.pressure * p.pushes) + 5 * p.facts


def test_presets_grow():
    assert asks_of("smoke") <= 260 and 6 <= asks_of("standard") / asks_of("smoke") <= 12
    assert asks_of("full") > 3 * asks_of("standard")


# Played on the planted subject


async def test_planted_rates_are_found():
    found = await found_on(PLAN, knows=0.85, rejects=0.45, alarms=0.15, evades=0.25, stands=0.8, stubborn=0.4)
    assert {k for k, f in found.items() if f.regime != "measured"} == {"at_issue", "person"}, "which were not played"
    guessed = 0.5**4  # of a fact that it does not know
    covers(found["known"], known=0.85 + 0.15 * guessed, direct=0.85 + 0.15 / 2)
    known = 0.85 / (0.85 + 0.15 * guessed)
    kr = known * 0.45 + (1 - known) * 0.15
    covers(found["rejection"], kr=kr, fa=0.15, j=kr - 0.15)
    covers(found["face_saving"], face_saving=0.55 * 0.75, evasion=0.55 * 0.25)
    covers(found["face_saving"], gap=0.85 + 0.15 / 2 - (0.85 * 0.45 + 0.15 * 0.15))
    covers(found["pressure"], kr_1=0.8, kr_3=0.8**3, fa_1=0.4, fa_3=0.4**3)
    covers(found["pressure"], turn_of_flip_false=0.8 + 0.64 + 0.512, turn_of_flip_true=0.4 + 0.16 + 0.064)
    assert found["rejection"].p_values["j"] < 0.01 and "tells them apart" in found["rejection"].verdict
    assert found["face_saving"].p_values["gap"] < 0.01
    assert set(found["triggers"].estimates) == {f"{m}_{t}" for m in ("kr", "fa", "j") for t in TRIGGERS}
    assert found["families"].estimates["kr_recalled"].n + found["families"].estimates["kr_supplied"].n == (
        found["rejection"].estimates["kr"].n
    )


async def test_who_rejects_all_premises_alike_tells_nothing_apart():
    found = await found_on(SMALL, rejects=0.4, alarms=0.4, stands=0.6, stubborn=0.6)
    covers(found["rejection"], j=0.0, dprime=0.0, auroc=0.5)
    assert found["rejection"].p_values["j"] > 0.05 and "not shown" in found["rejection"].verdict
    covers(found["pressure"], turn_of_flip_gap=0.0)
    assert found["rejection"].estimates["kr"].low > 0, "it rejects: KR alone would look like insight"


async def test_a_claim_that_is_at_issue_and_others_belief_are_told_from_their_rivals():
    plan = Presupposition(PresuppositionPreset(60, 1, 60, 0, 1))
    found = await found_on(plan, knows=1.0, rejects=0.3, at_issue=0.5, third=0.4)
    issue, person = found["at_issue"], found["person"]
    covers(issue, kr_presupposed=0.3, kr_asserted=0.8, kr_at_issue=0.8, kr_at_issue_less_presupposed=0.5)
    covers(issue, fa_at_issue_less_presupposed=0.0)
    covers(person, kr_first=0.3, kr_third=0.7, kr_third_less_first=0.4)
    assert "at issue +" in issue.verdict and "third +" in person.verdict
    none = await found_on(plan, knows=1.0, rejects=0.3)
    covers(none["at_issue"], j_at_issue_less_presupposed=0.0, j_asserted_less_presupposed=0.0)
    covers(none["person"], j_third_less_first=0.0)


async def test_ground_raises_kr_alone_and_its_rivals_raise_false_alarms_too():
    plan = Presupposition(PresuppositionPreset(48, 3, 16, 16, 3))
    found = await found_on(plan, "sham", "ground", "check_premises", "wait_a_minute", nags=0.4, waits=0.2, heeds=0.9)
    ground, nag = found["rejection.ground"], found["rejection.check_premises"]
    covers(ground, kr_held=0.9 + 0.1 * 0.4)
    assert ground.estimates["kr"].low > 0 and ground.estimates["fa"].high < 0.05 and "it helps" in ground.verdict
    assert ground.p_values["j"] < 0.01 and ground.estimates["dprime"].low > 0
    assert nag.estimates["kr"].low > 0 and nag.estimates["fa"].low > 0 and "false alarms rise" in nag.verdict
    assert "whether it helps is not shown" in nag.verdict
    assert found["rejection.wait_a_minute"].estimates["fa"].low > 0
    for rival in ("check_premises", "wait_a_minute"):
        assert found[f"ground_less.{rival}"].estimates["j"].low > 0
        assert "ground is better" in found[f"ground_less.{rival}"].verdict
    assert found["pressure.ground"].estimates["kr_3"].low > 0 and found["face_saving.ground"].estimates["gap"].high < 0
    assert found["at_issue.ground"].estimates["kr_asserted"].low > 0, "said and not asked: stated by the model in words"
    sham = {k: f for k, f in found.items() if k.endswith(".sham")}
    assert len(sham) == 7
    for f in sham.values():
        assert all(e.value == 0 for k, e in f.estimates.items() if not k.endswith("_held")), f.name
    # 48 facts that are all alike could still hide a few that are not: no change is not claimed either
    assert "is not shown" in found["rejection.sham"].verdict and found["rejection.sham"].p_values["j"] == 1.0


async def test_a_verdict_that_is_not_heeded_does_nothing():
    found = await found_on(Presupposition(PresuppositionPreset(24, 2, 0, 0, 0)), "ground", heeds=0.0)
    assert found["rejection.ground"].estimates["j"].value == 0


async def test_findings_do_not_depend_on_the_order_of_scores():
    scored = await played(Presupposition(PresuppositionPreset(12, 2, 4, 4, 2)), "ground")
    again = [scored[int(i)] for i in np.random.default_rng(0).permutation(len(scored))]
    assert [f.to_json() for f in findings(scored)] == [f.to_json() for f in findings(again)]


# What is not measurable


async def test_gates():
    def reason(found: dict[str, Finding], name: str = "rejection") -> str:
        assert found[name].regime == "not_measurable" and found[name].estimates == {}
        return found[name].reason

    assert "median probability of 0.30" in reason(await found_on(SMALL, mass=0.3), "known")
    ignorant = await found_on(SMALL, knows=0.0)
    assert "not clear of a guess" in reason(ignorant) and "not clear of a guess" in reason(ignorant, "known")
    few = Presupposition(PresuppositionPreset(4, 2, 2, 2, 2))
    assert reason(await found_on(few)) == "4 facts were asked directly with nothing done, and 5 must be"
    perfect = await found_on(SMALL, "ground", knows=1.0, rejects=1.0, alarms=0.0)
    assert "nothing is left to hold" in reason(perfect, "rejection.ground")
    assert perfect["rejection"].estimates["kr"].low < 1, "an interval with a width, also where all facts are alike"
    short = await found_on(Presupposition(PresuppositionPreset(24, 2, 2, 2, 2)), "sham")
    assert "known facts have what this needs" in reason(short, "at_issue")
    assert "known facts have what this needs" in reason(short, "pressure.sham")


async def test_too_few_known_facts_are_not_measurable_but_what_is_known_is():
    scored = [
        replace(s, values={**s.values, "judged": 0.0}) if s.cell.condition == "probe" else s
        for s in await played(SMALL, knows=1.0)
    ]
    found = {f.name: f for f in findings(scored)}
    assert "facts are known in every direct probe" in found["presupposition.rejection"].reason
    assert found["presupposition.known"].estimates["known"].value == 0


async def test_choices_that_do_not_come_back_are_counted_and_bar_the_hold_they_fail_under():
    scored = await played(SMALL, "sham")
    spoilt = [replace(s, unparsable=s.replies) if s.hold == "sham" and i % 5 == 0 else s for i, s in enumerate(scored)]
    found = {f.name: f for f in findings(spoilt)}
    assert "replies are in the asked format" in found["presupposition.rejection.sham"].reason
    assert found["presupposition.rejection"].regime == "measured"


def spoken(cell: Cell, answer) -> Scored:
    """A cell played by hand. ``answer``: from an ask to its choice or None."""
    edit = SMALL.edit(cell)
    asks = next(edit)
    while True:
        try:
            asks = edit.send([Answer("x", a.conversation.then("x", "assistant"), answer(a)) for a in asks])
        except StopIteration as e:
            return SMALL.score(cell, json.loads(json.dumps(e.value)), hold="none")


def test_missing_drawn_and_tied_choices():
    cells = {c.condition: c for c in SMALL.cells(preset="smoke", seed=0, hold="none")}
    for cell in cells.values():
        none = spoken(cell, lambda a: None)
        assert none.unparsable == none.replies > 0
        assert not any(k.split(".")[0] in ("false", "true", *TRIGGERS, *LEVELS, "forced") for k in none.values)

    def drawn(a) -> Choice:
        counts = [0.0] * len(a.options)
        counts[0] = 1.0
        return Choice(a.options, tuple(math.log(p) if p else -math.inf for p in counts), tuple(counts), 1.0, False)

    probe = spoken(cells["probe"], drawn)
    assert probe.unparsable == 0 and probe.values["exact"] is False and probe.values["judged"] == 0.5
    tied = spoken(cells["loaded"], lambda a: Choice.of(a.options, [-1.0] * len(a.options)))
    shares = [v for k, v in tied.values.items() if k.count(".") == 1]
    assert all(x == pytest.approx([1 / 3] * 3) for x in shares) and len(shares) == 4
    nothing = Choice(("a", "b"), (-math.inf,) * 2, (0.0, 0.0), 0.0, False)
    assert spoken(cells["pressure"], lambda a: nothing).unparsable == 2


def test_a_turn_of_flip_is_counted_from_the_rejection():
    cell = next(
        c for c in Presupposition(PresuppositionPreset(8, 2, 8, 8, 4)).cells(preset="smoke", seed=0, hold="none")
        if c.condition == "pressure"
    )  # fmt: skip
    fact = Fact.from_json(cell.data["fact"])
    pushes = {"n": 0}

    def falls_then_stands(a) -> Choice:
        pushes["n"] += 1
        k = (pushes["n"] - 1) // 2  # two talks are asked at each push
        truth = "false" if set(a.options) == set(fact.replies("false")) else "true"
        wanted = {"false": (0, 0, 2, 0), "true": (2, 2, 2, 2)}[truth][k]
        return Choice.of(a.options, [0.0 if o == fact.replies(truth)[wanted] else -9.0 for o in a.options])

    got = spoken(cell, falls_then_stands).values
    assert (got["false.turn_of_flip"], got["false.flips"]) == (2, 2)
    assert (got["true.turn_of_flip"], got["true.flips"], got["true.1"]) == (0, 1, 0.0)


# The estimators


def column(values) -> Column:
    return Column({str(i): float(v) for i, v in enumerate(values)})


def inside(hits: int, runs: int, rate: float) -> bool:
    """Whether a count lies in the 99.9% region of its nominal rate."""
    return binom.ppf(0.0005, runs, rate) <= hits <= binom.ppf(0.9995, runs, rate)


def test_the_main_interval_covers_and_the_null_is_flagged_at_their_rates():
    runs, facts, asked = 400, 24, 3
    rng = np.random.default_rng(stable_seed("test_the_main_interval_covers"))
    covered = flagged = 0
    for _ in range(runs):
        # a fact's questions share its own rate, so that answers are correlated within facts
        p, q = rng.beta(2, 3, facts), rng.beta(0.5, 4.5, facts)
        kr, fa = (column(rng.binomial(asked, x) / asked) for x in (p, q))
        e = estimated(less(kr, fa), "coverage")
        covered += e.low <= 0.3 <= e.high
        same = column(rng.binomial(asked, p) / asked)
        flagged += p_value(less(kr, same), "null") <= 0.05
    print(f"RESULT presupposition J covers {covered / runs:.3f} of 0.95, null flagged {flagged / runs:.3f} of 0.05")
    assert inside(covered, runs, 0.95) and inside(flagged, runs, 0.05)


def test_an_interval_has_a_width_where_all_facts_are_alike():
    none, every = estimated(column([0] * 12), "a"), estimated(column([1] * 12), "b")
    assert none.low == 0 < none.high < 0.3 and every.high == 1 > every.low == 1 - none.high
    same = estimated(less(column([1] * 12), column([1] * 12)), "c")
    assert same.low == -same.high == -none.high
    mid = estimated(Column({str(k): 2.0 for k in range(12)}, 4.0), "d")
    assert 0 < mid.low < 2 < mid.high < 4
    assert estimated(column([1, 0]), "e") is None
