from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from homing.hold.anchor import CANARIES
from homing.hold.chain import build
from homing.instruments.anchors import INSTRUMENTS, PRESETS, Anchors, AnchorsPreset
from homing.instruments.anchors_arms import Arm, past_of, vote_of
from homing.instruments.anchors_figures import break_even, circularity, findings
from homing.instruments.anchors_items import FAMILIES, Item, calculated, deal, gold
from homing.instruments.anchors_loop import BEST_OF, Policy, best_of, filtered, loop, thresholds
from homing.instruments.anchors_rows import mean, weighted
from homing.instruments.base import Answer, Scored
from homing.instruments.playing import play_cells
from homing.models.base import Choice
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed
from homing.testing.planted_anchors import AnchoredSubject

PLAN = Anchors(AnchorsPreset(32, 16, 12, 2, 24))
SMALL = Anchors(AnchorsPreset(12, 12, 12, 1, 16))


def every(plan: Anchors) -> list[Item]:
    items = plan.items(preset="smoke", seed=1)
    return [*items, *gold(plan.plan("smoke").gold, 1, items)]


async def played(plan: Anchors, *holds: str, judge: AnchoredSubject | None = None, **planted) -> list[Scored]:
    out: list[Scored] = []
    subject = AnchoredSubject(every(plan), **planted)
    beside = None if judge is None else judge.model
    for hold in ("none", *holds):
        cells = plan.cells(preset="smoke", seed=1, hold=hold)
        got = await play_cells(plan, cells, subject.model, build(hold, judge=beside), anchor=beside)
        out += [plan.score(c, p.record, hold=hold) for c, p in zip(cells, got, strict=True)]
    return out


async def found_on(plan: Anchors, *holds: str, judge: AnchoredSubject | None = None, **planted) -> dict[str, Finding]:
    scored = await played(plan, *holds, judge=judge, **planted)
    return {f.name.removeprefix("anchors."): f for f in plan.estimate(scored)}


def covers(finding: Finding, **truth: float) -> None:
    for k, v in truth.items():
        e = finding.estimates[k]
        assert e.low <= v <= e.high, f"{finding.name} {k}: {v} lies outside {e}"


def truth(arm: str, plan: Anchors = PLAN, **planted) -> tuple[float, float]:
    """Accuracy and net gain of a planted arm, over the items that are played."""
    subject = AnchoredSubject(every(plan), **planted)
    items = plan.items(preset="smoke", seed=1)
    accuracy = float(np.mean([subject.expected(arm, i).accuracy for i in items]))
    return accuracy, accuracy - float(np.mean([subject.expected("vote", i).accuracy for i in items]))


# Items


def test_items_are_different_and_their_answers_are_right():
    items = deal(400, 0)
    assert len({i.question for i in items}) == 400 and Counter(i.family for i in items) == dict.fromkeys(FAMILIES, 100)
    for i in items:
        assert sorted(i.options) == list("0123456789") and i.right == i.options[0]
        if i.call:
            assert calculated(i.call) == i.right and i.call in i.question
        elif i.family == "lookup":
            assert f"{i.question.split()[-1][:-1]}: {i.right}" in i.question
        else:
            row = [int(x) for x in (*i.question.partition(": ")[2].split(", ")[:3], i.right)]
            assert len(set(np.diff(row))) == 1 and abs(row[1] - row[0]) in (1, 2) and all(0 <= x <= 9 for x in row)
        assert Item.from_json(json.loads(json.dumps(i.to_json()))) == i
    assert deal(24, 3) == deal(24, 3) != deal(24, 4)


def test_the_gold_set_shares_no_question_with_the_items():
    items = deal(120, 0)
    assert not {i.question for i in items} & {i.question for i in gold(48, 0, items)}


def test_the_calculator_takes_its_form_and_no_other():
    assert [calculated(x) for x in ("2 + 3", "9-4", "3 x 4", "\n 2 + 3 = 7", "`2 + 3`", "5 \u00d7 2", "5 \u2212 2.")] == [
        "5", "5", "12", "5", "5", "10", "3",
    ]  # fmt: skip
    assert all(calculated(x) is None for x in ("", "five", "2 + 3 + 4", "What is 2 + 3?", "2 ** 99", "1234567 + 1"))


def test_every_message_that_asks_for_an_answer_ends_with_the_question():
    for i in deal(8, 0):
        talk = i.answered(i.options[1])
        asked = [
            i.asked(),
            i.again(talk),
            i.checked("1", right=True),
            i.corrected("1", "2"),
            i.computed("1", "1 + 1", "2"),
        ]
        assert all(c[-1].content.endswith(i.question) for c in asked)


# Cells


def test_cells_have_the_same_arms_under_every_hold_and_are_json():
    plan = INSTRUMENTS["anchors"]()
    cells = plan.cells(preset="smoke", seed=0, hold="none")
    held = plan.cells(preset="smoke", seed=0, hold="anchor")
    p = PRESETS["smoke"]
    assert Counter(c.condition for c in cells) == {"arms": p.items, "judging": p.judged, "gold": p.gold}
    assert held == [c for c in cells if c.condition == "arms"], "no hold touches judgements and gold"
    assert len({c.id for c in cells}) == len(cells) and json.loads(json.dumps([dict(c.data) for c in cells]))
    assert cells != plan.cells(preset="smoke", seed=1, hold="none")


def test_its_size_can_be_planned():
    plan = Anchors()
    assert plan.units("smoke") == PRESETS["smoke"].items
    large = plan.sized("smoke", 60)
    assert large.units("smoke") == 60 and large.plan("smoke").judged == 40
    assert plan.sized("smoke", 1).units("smoke") == 12


# Arms and loops in numbers, against counting every case


def test_a_vote_and_an_earlier_version_are_what_counting_every_case_gives():
    p, past = [0.5, 0.2, 0.2, 0.1], [0.4, 0.3, 0.1, 0.2]
    vote = {True: 0.0, False: 0.0}
    older = {True: 0.0, False: 0.0}
    for i, j, k in product(range(4), repeat=3):
        last = i if len({i, j, k}) == 3 else Counter((i, j, k)).most_common(1)[0][0]
        vote[i == 0] += p[i] * p[j] * p[k] * (last == 0)
        final = k if k == j else i
        older[i == 0] += p[i] * past[j] * p[k] * (final == 0)
    for arm, counted in ((vote_of(p), vote), (past_of(p, past), older)):
        assert arm.kept == pytest.approx(counted[True] / 0.5) and arm.fixed == pytest.approx(counted[False] / 0.5)


def test_filtering_and_best_of_n_are_what_counting_gives():
    policy = Policy("a", [0.4, 0.3, 0.2, 0.1], [0.6, 0.9, 0.6, 0.1])
    counted = 0.0
    for draw in product(range(4), repeat=BEST_OF):
        top = max(policy.scores[i] for i in draw)
        best = [i for i in draw if policy.scores[i] == top]
        counted += math.prod(policy.shares[i] for i in draw) * best.count(0) / len(best)
    assert best_of(policy) == pytest.approx(counted)
    assert filtered(policy, 0.6) == pytest.approx(0.4 / 0.9) and filtered(policy, 2.0) == 0.4, (
        "where none is left all stand"
    )
    levels = thresholds([policy])
    assert levels[25] == 0.6 and levels[75] == 0.9 and list(levels.values()) == sorted(levels.values())


def test_a_loop_follows_its_score_and_an_outside_label_keeps_it_right():
    # it is sure of a wrong answer
    deceived = [Policy(str(k), [0.5, 0.3, 0.1, 0.1], [0.3, 0.9, 0.2, 0.2]) for k in range(20)]
    last = {kind: [loop(p, kind, seed=0)[-1] for p in deceived] for kind in ("own", "joint", "anchored")}
    first = [loop(p, "own", seed=0)[0] for p in deceived]
    assert all(r.gold == 0.5 for r in first) and np.mean([r.passes[1] for r in first]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([r.gold for r in last["own"]]) < 0.1 and np.mean([r.passes[8] for r in last["own"]]) < 0.2
    assert np.mean([r.proxy - r.gold for r in last["joint"]]) > 0.8, "what it is paid for and what is right come apart"
    assert np.mean([r.gold for r in last["anchored"]]) > 0.8
    assert loop(deceived[0], "own", seed=0) == loop(deceived[0], "own", seed=0) != loop(deceived[0], "own", seed=1)


# Planted subjects


async def test_every_arm_is_what_was_planted():
    past = AnchoredSubject(every(PLAN), knows=0.7, seed=5, name="past", tells=2.0)
    found = await found_on(PLAN, judge=past, critic=0.8)
    for arm in ("vote", "user", "tool", "oracle"):
        accuracy, net = truth(arm)
        if arm == "tool":
            continue
        assert found[arm].estimates["accuracy"].value == pytest.approx(accuracy, abs=1e-4), arm
        if arm != "vote":
            assert found[arm].estimates["net"].value == pytest.approx(net, abs=1e-4)
            covers(found[arm], net=net)
    accuracy, net = truth("critique", critic=0.8)
    covers(found["critique"], net=net, accuracy=accuracy, fixed=0.8 * 0.6, broken=0.2 * 0.4)
    called = [i for i in PLAN.items(preset="smoke", seed=1) if i.call]
    assert found["tool"].estimates["accuracy"].n == len(called)
    assert found["user"].estimates["broken"].value == 0 < found["user"].estimates["broken"].high
    mine, theirs = (AnchoredSubject(every(PLAN), critic=0.8), past)
    older = [past_of(mine.shares(i), theirs.shares(i)).accuracy for i in PLAN.items(preset="smoke", seed=1)]
    assert found["past"].estimates["accuracy"].value == pytest.approx(np.mean(older), abs=1e-4)
    assert found["judge"].estimates["sensitivity"].value == 1.0 == found["judge"].estimates["specificity"].value


async def test_a_critique_of_pure_noise_goes_in_a_circle():
    found = await found_on(PLAN, "anchor", critic=None)
    assert found["critique"].estimates["net"].high <= 0, "an answer at random is worth less than a vote"
    covers(found["circularity"], index=1.0)
    assert found["circularity"].estimates["index"].value == pytest.approx(1.0, abs=0.01)
    assert "Do not let it revise by itself" in found["dose"].verdict
    assert found["critique.anchor"].estimates["broken_held"].value == 0 < found["critique"].estimates["broken"].value


async def test_a_truthful_critic_is_worth_what_it_knows():
    found = await found_on(PLAN, critic=0.95, repairs=0.9)
    assert found["critique"].estimates["net"].low > 0 and "Let it revise by itself" in found["dose"].verdict
    assert found["circularity"].estimates["index"].high < 1
    covers(found["critique"], net=truth("critique", critic=0.95, repairs=0.9)[1])


async def test_where_no_arm_beats_the_vote_none_is_said_to():
    past = AnchoredSubject(every(PLAN), knows=0.4, seed=5, name="past", tells=2.0)
    found = await found_on(PLAN, judge=past, heeds=0.0, obeys=0.0)
    for arm in ("critique", "judge", "user", "tool", "oracle"):
        assert found[arm].estimates["net"].low <= 0, arm
    assert "is not shown to be worth more than the vote" in found["dose"].verdict
    assert not any(k.startswith("break_even") for k in found["dose"].estimates)
    assert found["circularity"].regime == "not_measurable", "nothing can be set against an oracle that gains nothing"


async def test_the_dose_curve_falls_in_a_line_and_crosses_where_it_was_planted():
    found = await found_on(PLAN)
    e = found["dose"].estimates
    for dose in (0, 10, 25, 50, 75, 100):
        subject = AnchoredSubject(every(PLAN))
        items = PLAN.items(preset="smoke", seed=1)
        for anchor in ("user", "oracle"):
            nets = [
                subject.expected(anchor, i, error=dose / 100).accuracy - subject.expected("vote", i).accuracy
                for i in items
            ]
            assert e[f"{anchor}_{dose}"].value == pytest.approx(np.mean(nets), abs=2e-3)
    for anchor in ("user", "oracle"):
        start, end, cross = e[f"{anchor}_0"].value, e[f"{anchor}_100"].value, e[f"break_even_{anchor}"]
        assert cross.value == pytest.approx(start / (start - end), abs=1e-6) and cross.low < cross.value < cross.high


async def test_ownership_author_and_gap_are_what_was_planted():
    fond = await found_on(PLAN, critic=0.5, other=0.95, own=2.0)
    assert fond["ownership"].estimates["preference"].low > 0 < fond["ownership"].estimates["disowned_gain"].low
    assert (
        fond["author"].estimates["preference"].low > 0
        and "favours what it is told is its own" in fond["author"].verdict
    )
    fair = await found_on(PLAN, critic=0.9)
    covers(fair["ownership"], preference=0.0, disowned_gain=0.0)
    covers(fair["author"], preference=0.0)
    knows, blind, wrong = [(await found_on(PLAN, tells=t))["gap"] for t in (1.0, 0.0, -1.0)]
    assert knows.estimates["q50"].low > 0 and knows.estimates["best_of_4"].low > 0
    assert wrong.estimates["q75"].high < 0 and wrong.estimates["best_of_4"].high < 0
    assert blind.estimates["q50"].low <= 0 <= blind.estimates["q50"].high


# The hold, and the sham


async def test_anchor_keeps_what_noise_would_break_and_lets_events_through_and_a_sham_does_nothing():
    found = await found_on(PLAN, "sham", "anchor", critic=0.2)
    held = found["critique.anchor"]
    assert (
        held.estimates["change"].low > 0
        and "it helps" in held.verdict
        and found["rounds.anchor"].estimates["change"].low > 0
    )
    for arm in ("user", "tool", "oracle"):
        assert found[f"{arm}.anchor"].estimates["change"].value == pytest.approx(0.0, abs=1e-6), arm
    for name, f in found.items():
        if name.endswith(".sham"):
            assert f.regime == "not_measurable" or f.estimates["change"].value == 0, name


async def test_anchor_harms_where_the_critique_is_worth_something_and_says_so():
    found = await found_on(PLAN, "anchor", critic=0.95, repairs=0.9)
    assert found["critique.anchor"].estimates["change"].high < 0 and "it harms" in found["critique.anchor"].verdict


async def test_with_a_judge_anchor_revises_what_the_judge_holds_wrong():
    known = [
        Item(q, "canary", q, (right := calculated(q[8:-1]) or "", *(d for d in "0123456789" if d != right)), "")
        for q, _, _ in CANARIES
    ]
    sharp = AnchoredSubject([*every(PLAN), *known], seed=5, name="sharp", tells=6.0)
    found = await found_on(PLAN, "anchor", judge=sharp, critic=0.2)
    alone = await found_on(PLAN, "anchor", critic=0.2)
    assert found["critique.anchor"].estimates["net_held"].value > alone["critique.anchor"].estimates["net_held"].value


async def test_findings_do_not_depend_on_the_order_of_scores():
    scored = await played(SMALL, "anchor")
    again = [scored[int(i)] for i in np.random.default_rng(0).permutation(len(scored))]
    assert [f.to_json() for f in findings(scored)] == [f.to_json() for f in findings(again)]


# What is not measurable


async def test_gates():
    def reason(found: dict[str, Finding], name: str) -> str:
        assert found[name].regime == "not_measurable" and found[name].estimates == {}
        return found[name].reason

    assert "median probability of 0.30" in reason(await found_on(SMALL, mass=0.3), "critique")
    assert "not clear of the 0.10 of a guess" in reason(await found_on(SMALL, knows=0.1, spread=0.0), "user")
    assert "nothing is left to mend" in reason(await found_on(SMALL, knows=0.99, spread=0.0), "critique")
    few = Anchors(AnchorsPreset(6, 6, 6, 1, 16))
    assert reason(await found_on(few), "vote") == "6 questions were answered, and 8 must be"
    found = await found_on(SMALL, "sham", calls=0.5)
    assert (
        "the tool is called in the form that it takes in" in reason(found, "tool")
        and found["user"].regime == "measured"
    )
    assert "--anchor-model" in reason(found, "past") and "--anchor-model" in reason(found, "judge")
    assert "--anchor-model" in reason(found, "judge.sham")


async def test_a_judge_that_fails_its_gold_set_is_refused_by_name():
    blind = AnchoredSubject(every(SMALL), seed=5, name="blind-judge", tells=0.0)
    found = await found_on(SMALL, judge=blind)
    assert (
        found["judge"].reason
        == "the judge blind-judge fails its gold set: 12 of 24 verdicts are right, not clear of a guess"
    )
    assert found["past"].regime == "measured", "what it answers is no verdict"


async def test_choices_that_do_not_come_back_are_counted_and_bar_the_hold_they_fail_under():
    scored = await played(SMALL, "sham")
    spoilt = [replace(s, unparsable=s.replies) if s.hold == "sham" and i % 5 == 0 else s for i, s in enumerate(scored)]
    found = {f.name: f for f in findings(spoilt)}
    assert "are in the asked format" in found["anchors.critique.sham"].reason
    assert found["anchors.critique"].regime == "measured"


def spoken(condition: str, answer, words: str = "Fine.") -> Scored:
    """A cell played by hand. ``answer``: from an ask to its choice or None."""
    cells = SMALL.cells(preset="smoke", seed=0, hold="none")
    cell = next(c for c in cells if c.condition == condition and c.data["item"]["call"])
    edit = SMALL.edit(cell)
    asks = next(edit)
    while True:
        said = [
            Answer(
                words,
                a.conversation.then(words, "assistant"),
                answer(a) if a.options else None,
                who="m" * (a.of == "anchor"),
            )
            for a in asks
        ]
        try:
            asks = edit.send(said)
        except StopIteration as e:
            return SMALL.score(cell, json.loads(json.dumps(e.value)), hold="none")


def test_missing_and_drawn_choices():
    for condition in ("arms", "judging"):
        none = spoken(condition, lambda a: None)
        assert none.unparsable == none.replies == 1 and "shares" not in none.values, (
            "without a first answer there is no second"
        )
    nothing = Choice(("a", "b"), (-math.inf,) * 2, (0.0, 0.0), 0.0, False)
    assert spoken("arms", lambda a: nothing).unparsable == 1

    def drawn(a) -> Choice:
        shares = (1.0, *(0.0,) * (len(a.options) - 1))
        return Choice(a.options, tuple(0.0 if s else -math.inf for s in shares), shares, 1.0, False)

    got = spoken("arms", drawn, words="")
    assert (
        got.unparsable == 0 and got.values["exact"] is False and got.values["call"] == 0.0 and "tool" not in got.values
    )
    later = {"n": 0}

    def only_first(a) -> Choice | None:
        later["n"] += 1
        return drawn(a) if later["n"] <= 2 else None

    part = spoken("arms", only_first)
    assert part.unparsable > 0 and "critique_1" not in part.values and "shares" in part.values


# The estimators


def inside(hits: int, runs: int, rate: float) -> bool:
    """Whether a count lies in the 99.9% region of its nominal rate."""
    return binom.ppf(0.0005, runs, rate) <= hits <= binom.ppf(0.9995, runs, rate)


@pytest.mark.slow
def test_intervals_cover_the_plant_and_the_null_is_flagged_at_their_rates():
    """A truthful critic of known accuracy on items of known difficulty: its critiques are luck, and nothing else is."""
    runs, n, c, repairs = 400, 24, 0.7, 0.6
    rng = np.random.default_rng(stable_seed("test_intervals_cover_the_plant"))
    x = rng.beta(4, 3, 1_000_000)  # a population of items, for what is true of it
    kept, fixed = c + (1 - c) * repairs, c * repairs
    voted = x * (1 - (1 - x) ** 2) + (1 - x) * x * x
    net_truth = float(np.mean(x * kept + (1 - x) * fixed - voted))
    own, best = float(np.mean(x * kept + (1 - x) * fixed - x)), float(np.mean((1 - x) * repairs))
    hits = dict.fromkeys(("net", "fixed", "circularity", "break_even", "null"), 0)
    for _ in range(runs):
        p = rng.beta(4, 3, n)
        sound, faulty = rng.random(n) < c, rng.random(n) < c
        arms = {
            str(i): Arm(p[i], 1.0 if sound[i] else repairs, repairs if faulty[i] else 0.0) for i in range(n)
        }  # fmt: skip
        oracle = {str(i): Arm(p[i], 1.0, repairs) for i in range(n)}
        vote = {str(i): vote_of([p[i], 1 - p[i], 0.0, 0.0]).accuracy for i in range(n)}
        net = mean({k: a.accuracy - vote[k] for k, a in arms.items()}, "coverage")
        assert net is not None
        hits["net"] += net[0].low <= net_truth <= net[0].high
        rate = weighted({k: a.fixed for k, a in arms.items()}, {k: 1 - a.p for k, a in arms.items()}, "coverage")
        assert rate is not None
        hits["fixed"] += rate.low <= fixed <= rate.high
        index = circularity(arms, oracle)
        hits["circularity"] += index.low <= 1 - own / best <= index.high
        right = {str(i): v + rng.normal(0, 0.05) for i, v in ((i, 1 - vote[str(i)]) for i in range(n))}
        false = {k: v - 1.0 for k, v in right.items()}
        cross = break_even(right, false)
        hits["break_even"] += cross.low <= 1 - float(np.mean(voted)) <= cross.high
        signs = mean({str(i): v for i, v in enumerate(rng.normal(0, 0.2, n).clip(-1, 1))}, "null")
        assert signs is not None
        hits["null"] += signs[1] <= 0.05
    print("RESULT anchors", {k: v / runs for k, v in hits.items()})
    for k in ("net", "circularity", "break_even"):
        assert inside(hits[k], runs, 0.95), (k, hits[k])
    assert hits["fixed"] / runs > 0.9 and inside(hits["null"], runs, 0.05), hits
