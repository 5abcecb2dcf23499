"""Lost in conversation: tasks say the same however they are said, plants are found, nulls are not flagged, gates are reached."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.chain import build
from homing.hold.mediate import distil_rules
from homing.instruments import lost_reliability, registry
from homing.instruments.base import Cell, Scored
from homing.instruments.item_figures import of_items
from homing.instruments.lost_figures import findings
from homing.instruments.lost_formula import Formula
from homing.instruments.lost_in_conversation import (
    CONDITIONS,
    LostInConversation,
    LostPreset,
    failed_pairs,
)
from homing.instruments.lost_making import distractors, make_task, revised
from homing.instruments.lost_marks import found_in, marks
from homing.instruments.lost_reliability import pass_all, randomness, spread
from homing.instruments.lost_rows import Rows
from homing.instruments.lost_tasks import FAMILIES, LEVELS, Task, attempt, heard, revision
from homing.instruments.playing import play_cells
from homing.stats.bootstrap import two_way_bootstrap_many
from homing.stats.estimate import Cost, Estimate, Finding
from homing.stats.seeds import stable_seed
from homing.testing.planted_lost import BitByBit

ALL_BUT_PARTS = tuple(c for c in CONDITIONS if not c.startswith("parts"))
SMALL = LostPreset(("tiny",), FAMILIES, 8, 2, ALL_BUT_PARTS, ("full", "concat", "sharded", "revised"), 2)
HELD = replace(SMALL, items=4, conditions=("full", "concat", "sharded", "concat_revised", "revised"), word_runs=1)
BASE = replace(SMALL, items=3, conditions=tuple(c for c in ALL_BUT_PARTS if c not in ("recap", "snowball", "shuffled")))
RUNS = 400


@pytest.fixture(autouse=True, scope="module")
def few_draws():
    """Intervals of shares are drawn more coarsely here; their coverage is tested by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lost_reliability, "DRAWS", 200)
        yield


async def played(subject: BitByBit, *holds: str, preset: LostPreset = SMALL, seed: int = 0) -> list[Scored]:
    plan, out = LostInConversation(preset), list[Scored]()
    for hold in ("none", *holds):
        cells = plan.cells(preset="smoke", seed=seed, hold=hold)
        got = await play_cells(plan, cells, subject.model, build(hold))
        out += [
            replace(plan.score(c, json.loads(json.dumps(p.record)), hold=hold), cost=p.cost)
            for c, p in zip(cells, got, strict=True)
        ]
    return out


def named(scored: Sequence[Scored]) -> dict[str, Finding]:
    found = {f.name.removeprefix("lost_in_conversation."): f for f in findings(scored)}
    assert all(f.verdict.endswith(".") for f in found.values())
    assert len({(s.hold, s.cell.id) for s in scored}) == len(scored)
    return found


def near(e: Estimate, truth: float) -> bool:
    """Whether an interval, widened from 95% to 99.9%, covers what was planted: one run must not miss it once in twenty."""
    return e.value - 1.7 * (e.value - e.low) - 1e-9 <= truth <= e.value + 1.7 * (e.high - e.value) + 1e-9


@cache
def cells_of(*levels: str, items: int = 3) -> list[Cell]:
    preset = LostPreset(levels, FAMILIES, items, 2, CONDITIONS, (), 0)  # pyright: ignore[reportArgumentType]
    return LostInConversation(preset).cells(preset="smoke", seed=0, hold="none")


def tasks_of(level: str, n: int = 20) -> list[Any]:
    return [
        make_task(f, level, np.random.default_rng(stable_seed("tasks", level, f, k))) for f in FAMILIES for k in range(n)
    ]  # fmt: skip  # pyright: ignore[reportArgumentType]


# Cells and tasks


@pytest.mark.parametrize("preset", ["smoke", "standard"])
def test_cells_are_the_same_under_every_hold(preset: Any) -> None:
    plan = LostInConversation()
    none, held, late = (plan.cells(preset=preset, seed=3, hold=h) for h in ("none", "mediate", "recap"))
    assert none == held and len({c.id for c in none}) == len(none)
    assert [(c.id, c.item, c.seed) for c in late] == [(c.id, c.item, c.seed) for c in none]
    assert all(c.data["late"] for c in late) and not any(c.data["late"] for c in none)
    assert none != plan.cells(preset=preset, seed=4, hold="none")
    assert json.loads(json.dumps([dict(c.data) for c in none])) == [dict(c.data) for c in none]
    seeds: dict[tuple[str, str], set[int]] = {}
    for c in none:
        seeds.setdefault((c.item, c.data["run"]), set()).add(c.seed)
    assert all(len(s) == 1 for s in seeds.values()), "conditions of a task are paired by seed"


def test_smoke_is_small() -> None:
    cells = LostInConversation().cells(preset="smoke", seed=0, hold="none")
    words = sum(len(t.split()) for c in cells for t in c.data["turns"])
    assert len(cells) <= 120 and words < 6500
    assert max(len(c.data["turns"]) for c in cells) == 3, "two shards, and one message more where one is taken back"


@pytest.mark.parametrize("level", LEVELS)
def test_a_task_says_the_same_however_it_is_said(level: str) -> None:
    seen = Counter[str]()
    for c in cells_of(level):
        found = heard("\n".join(c.data["turns"]))
        assert found is not None and found.answer() == c.data["answer"], c.id
        seen[c.condition] += 1
        shards = LEVELS[level].constraints + 1
        turns = {"sharded": shards, "recap": shards + 1, "snowball": shards, "revised": shards + 1}
        turns |= {"distracted": shards + LEVELS[level].distractors, "parts2": 2, "parts3": 3, "parts4": 4}
        assert len(c.data["turns"]) == turns.get(c.condition, 1), c.id
        if c.condition == "shuffled":
            assert (
                c.data["turns"]
                != next(x for x in cells_of(level) if x.id == c.id.replace("shuffled", "concat")).data["turns"]
            )
    assert set(seen) == {c for c in CONDITIONS if not c.startswith("parts") or int(c[5:]) <= LEVELS[level].constraints}


@pytest.mark.parametrize("level", LEVELS)
def test_tasks_have_one_right_answer_that_nothing_gives_away(level: str) -> None:
    for task, j, now in tasks_of(level):
        after, options = revised(task, j, now), task.options()
        assert len(set(options)) == len(options) and task.answer() != after.answer()
        assert {task.answer(), after.answer()} <= set(options)
        assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task
        for slips in task.slips():
            assert task.answer() not in slips
        if task.family != "sum":
            others = [replace(task, parts=(*task.parts[:-1], tuple(c))) for c in task.setting["choices"][-1]]
            assert sorted({t.answer() for t in others} - {task.answer()}) == sorted(task.slips()[-1])
        said = [*task.shards(), *distractors(task, np.random.default_rng(j), 2), revision(task.parts[j], now)]
        known = heard("\n".join(said))
        assert known is not None and known.answer() == after.answer()
        assert all(found_in(task.full(), n, bare=k > 0) for k, n in enumerate(task.needles()))
        for k in range(len(task.parts)):
            lost = replace(task, parts=task.parts[:k] + task.parts[k + 1 :]).full()
            assert not found_in(lost, task.needles()[k + 1]), (lost, task.needles())
        assert set(marks(task, task.full())) <= set(marks(task, "\n".join(task.shards())))


def test_sums_are_spread_evenly_and_no_number_that_is_said_is_right() -> None:
    made = [make_task("sum", "tiny", np.random.default_rng(k)) for k in range(450)]
    counts = Counter(t.answer() for t, *_ in made)
    assert set(counts) == set("123456789") and max(counts.values()) < binom.ppf(0.9999, 450, 1 / 9)
    for task, j, now in made:
        numbers = {str(task.setting["start"]), *(str(v) for _, v in task.parts), str(now[1])}
        assert not {task.answer(), revised(task, j, now).answer()} & numbers


# Reading


@pytest.mark.parametrize(
    ("text", "at_2"),
    [
        ("x", 2), ("x+3", 5), (" 2*x + 3 ", 7), ("3 + x*x - 1", 6), ("min(x*2, 3)", 3), ("max(min(x, 9), -4, 7)", 7),
        ("-(x - 5)", 3), ("((x))", 2), ("10-x-3", 5),
    ],
)  # fmt: skip
def test_formulas_are_evaluated(text: str, at_2: int) -> None:
    assert Formula(text)(2) == at_2 and Formula(text).same(Formula(f"({text})"))


@pytest.mark.parametrize(
    "text",
    [
        "", "x+", "y", "x 3", "x**2", "x/2", "__import__('os')", "min()", "min(x", "x)", "1234567", "x" * 200, "(" * 20 + "x",
        "-" * 20 + "x", "+".join("x" * 40), "lambda: x", "x; x", "min", "x(3)", ",", "min(x,,3)",
    ],
)  # fmt: skip
def test_nothing_else_can_be_said_in_the_small_language(text: str) -> None:
    with pytest.raises(ValueError, match=r"formula|stands|deep|characters"):
        Formula(text)


def task(family: str) -> Task:
    setting: dict[str, dict[str, Any]] = {
        "sum": {"start": 3, "noun": "plums", "options": list(range(10))},
        "table": {"rows": {"B": ["red"], "K": ["blue"]}, "thing": "lamps", "options": ["B", "K"]},
        "record": {"name": "Mia", "number": 7, "options": ["Mia-7", "Mia/7"]},
        "formula": {"choices": [[]], "options": ["x+3", "x*3"]},
    }
    parts: dict[str, Any] = {
        "sum": ("get", 4),
        "table": ("colour", "red"),
        "record": ("joiner", "dash"),
        "formula": ("shift", 3),
    }
    return Task(family, setting[family], (parts[family],))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("family", "text", "kind", "said"),
    [
        ("sum", "7", "answer", "7"), ("sum", "3 + 4 = 7.", "answer", "7"),
        ("sum", "You had 3, got 4.\nNow it is 7!", "answer", "7"),
        ("sum", "You have 7 plums. Is that right?", "answer", "7"), ("sum", "Do you have 3 plums?", "question", None),
        ("sum", "3 and 4", "talk", None), ("sum", "Tell me more.", "talk", None), ("sum", "", "talk", None),
        ("sum", "9" * 5000, "talk", None), ("sum", "3.5", "talk", None),
        ("table", "K", "answer", "K"), ("table", "It is box B.", "answer", "B"), ("table", "B or K\nK", "answer", "K"),
        ("table", "B or K", "talk", None), ("table", "A big one.", "talk", None), ("table", "Is it B?", "question", None),
        ("record", "Mia-7", "answer", "Mia-7"), ("record", "`Mia - 7`.", "answer", "Mia-7"),
        ("record", "mia/7", "answer", "mia/7"),
        ("record", "Here: 7-Mia", "answer", "7-Mia"), ("record", "Mia 7", "answer", "Mia 7"), ("record", "Mia", "talk", None),
        ("record", "7 / 7", "talk", None), ("formula", "x+3", "answer", "x+3"), ("formula", "y = 3 + x", "answer", "x+3"),
        ("formula", "It is this:\n`x + 1 + 2`", "answer", "x+3"), ("formula", "x - 3", "answer", "x - 3"),
        ("formula", "import os", "talk", None), ("formula", "7", "talk", None), ("formula", "Which x?", "question", None),
    ],
)  # fmt: skip
def test_replies_are_read(family: str, text: str, kind: str, said: str | None) -> None:
    assert attempt(task(family), text) == (kind, said)


def test_what_names_no_task_is_not_heard() -> None:
    assert heard("Hello.") is None and heard("") is None
    with pytest.raises(ValueError, match="something else"):
        BitByBit().say(Conversation.of("Hello"), Sampling())


def test_facts_are_found_as_words_and_not_in_lists() -> None:
    assert found_in("Four plums", ["4"]) and not found_in("14 plums", ["4"])
    assert not found_in("K: red\nOne of these: red | 4", ["red"]) and found_in("K: red", ["K: red"], bare=False)
    assert marks(task("table"), "It is red, 2 of them") == ["2", "red"]


def test_a_reply_is_scored_strictly_and_by_the_lenient_rule() -> None:
    plan = LostInConversation(replace(SMALL, families=("sum",), items=1))
    cells = {c.id.split("/", 1)[1]: c for c in plan.cells(preset="smoke", seed=0, hold="none")}
    cell = cells["sharded/w0"]
    right, shown = cell.data["answer"], cell.data["turns"]
    wrong = str((int(right) + 1) % 10)
    for texts, last, strict, lenient in ((wrong, right, 1, 1), (right, wrong, 0, 1), (wrong, wrong, 0, 0)):
        got = plan.score(cell, {"texts": [texts], "last": last, "shown": shown}, hold="none").values
        assert (got["right"], got["any_right"], got["early"], got["first"]) == (strict, lenient, 1, 0.5)
    bad = plan.score(cell, {"texts": ["What else?"], "last": "Hmm.", "shown": shown}, hold="none")
    assert (bad.unparsable, bad.replies) == (1, 1) and not {"right", "any_right", "first"} & set(bad.values)
    assert (bad.values["early"], bad.values["asks"]) == (0, 1)
    logs = [math.log(0.5 if o == right else 0.05) for o in Task.from_json(cell.data["task"]).options()]
    got = plan.score(
        cells["sharded/p0"], {"texts": ["Hm."], "logprobs": logs, "mass": 0.9, "exact": True}, hold="none"
    ).values
    assert got["p"] == pytest.approx(0.5 / 0.95) == got["any_p"] and (got["top"], got["first"]) == (1, 1)
    assert got["slip.1"] == pytest.approx(0.05 / 0.95)
    none = plan.score(cells["full/p0"], {"texts": []}, hold="none")
    assert "p" not in none.values and none.replies == 0


# What is planted is found


async def test_a_planted_loss_is_found() -> None:
    subject = BitByBit(
        right=0.85, loss=0.3, again=0.5, apart=0.1, wobble=0.1, reworded=0.05, back=0.1, eager=0.6, forgets=0.5
    )
    found = named(await played(subject, seed=stable_seed("test_a_planted_loss_is_found")))
    loss = found["tiny.loss"]
    assert near(loss.estimates["loss"], 0.3) and loss.p_values["loss"] < 0.001 and "by log-probability" in loss.verdict
    assert near(loss.estimates["in_turns"], 0.25) and near(loss.estimates["rewording"], 0.05)
    ladder = found["tiny.ladder"].estimates
    for c, truth in (
        ("full", 0.85),
        ("concat", 0.8),
        ("recap", 0.7),
        ("snowball", 0.7),
        ("sharded", 0.55),
        ("revised", 0.45),
    ):
        assert near(ladder[c], truth), c
    assert near(ladder["sharded_share"], 0.55 / 0.85)
    assert near(found["tiny.revised"].estimates["beyond"], 0.1) and near(
        found["tiny.distracted"].estimates["beyond"], 0.0
    )
    reliable = found["tiny.reliability"].estimates
    assert near(reliable["omega_full"], 0.1175 / 0.1275) and near(reliable["omega_sharded"], 0.2375 / 0.2475)
    assert near(reliable["pass_all_2_full"], (0.95**2 + 0.75**2) / 2)
    assert near(reliable["pass_all_2_sharded"], (0.65**2 + 0.45**2) / 2)
    assert found["tiny.positions"].estimates["turn_2"].low > 0.1
    manner = found["tiny.attempts"].estimates
    assert near(manner["early"], 0.6) and near(manner["asks"], 0.2)
    words = found["tiny.words_loss"]
    assert near(words.estimates["loss"], 0.3) and "in words" in words.verdict and words.p_values["loss"] < 0.05
    assert near(found["tiny.words_reliability"].estimates["pass_all_2_full"], (0.95**2 + 0.75**2) / 2)
    assert (
        near(found["tiny.any_turn"].estimates["strict"], 0.55) and found["tiny.any_turn"].estimates["gain"].value >= 0
    )
    assert {k for k, f in found.items() if f.regime != "measured"} == set()
    parts = found["tiny.families"].estimates
    assert all(near(parts[f"{f}_loss"], 0.3) for f in FAMILIES)


async def test_a_null_is_not_flagged() -> None:
    found = named(
        await played(BitByBit(right=0.8, apart=0.1, wobble=0.15), seed=stable_seed("test_a_null_is_not_flagged"))
    )
    for measure in ("loss", "revised", "distracted", "words_loss"):
        f = found[f"tiny.{measure}"]
        assert near(f.estimates["loss"], 0.0) and f.p_values["loss"] > 0.001, measure
    assert near(found["tiny.ladder"].estimates["sharded_share"], 1.0)
    assert "is shown" in found["tiny.loss"].verdict and near(found["tiny.positions"].estimates["turn_2"], 0.0)


async def test_longer_tasks_are_split_in_more_ways() -> None:
    preset = LostPreset(("medium", "tiny"), FAMILIES, 3, 5, CONDITIONS, ("full", "sharded"), 5)
    found = named(await played(BitByBit(right=0.9, loss=0.3, apart=0.05, wobble=0.1, forgets=0.8), preset=preset))
    gradual = found["medium.gradual"].estimates
    assert set(gradual) == {"parts2", "parts3"} and all(near(e, 0.3) for e in gradual.values())
    at = found["medium.positions"].estimates
    assert set(at) == {"turn_2", "turn_3", "turn_4"} and at["turn_2"].value > max(
        at["turn_3"].value, at["turn_4"].value
    )
    reliable = found["medium.reliability"].estimates
    assert reliable["gap_sharded"].value > reliable["gap_full"].value >= 0
    assert (
        reliable["aptitude_full"].value > 0.85  # of twelve tasks one may be wrong in its best run
        and reliable["aptitude_full"].high == 1
        and "pass_all_4_sharded" in reliable
        and "pass_all_8_sharded" not in reliable
    )
    assert next(iter(found)).startswith("tiny") and "tiny.gradual" not in found


# Holds


@pytest.fixture(scope="module")
def held() -> dict[str, Finding]:
    subject = BitByBit(
        right=0.9, loss=0.4, again=0.5, apart=0.05, wobble=0.05, keeps=0.5, invents=0.3, replaces=0.7, unsure=0.2
    )
    holds = ("sham", "mediate", "mediate_plain", "user_concat", "snowball", "clarify_first", "recap")
    return named(asyncio.run(played(subject, *holds, preset=HELD, seed=1)))


def test_a_sham_moves_nothing(held: dict[str, Finding]) -> None:
    sham = {k: f for k, f in held.items() if k.endswith(".sham")}
    assert len(sham) > 12
    for name, f in sham.items():
        for tag, e in f.estimates.items():
            neutral = 1.0 if ".price." in name else e.value if tag == "held_sharded" else 0.0
            assert e.value == neutral and e.low <= neutral <= e.high, (name, tag)
        assert all(p == 1 for p in f.p_values.values())
    assert "leaves what the user said" in held["tiny.rewrite.sham"].reason


@pytest.mark.parametrize(("hold", "gain"), [("mediate", 0.4), ("user_concat", 0.4), ("recap", 0.4), ("snowball", 0.2)])
def test_a_hold_brings_back_what_it_must(held: dict[str, Finding], hold: str, gain: float) -> None:
    f = held[f"tiny.ladder.{hold}"]
    assert near(f.estimates["sharded"], gain) and f.p_values["sharded"] < 0.001
    assert f.estimates["full"].value == f.estimates["concat"].value == 0, "what is said at once is left as it is"
    assert near(held[f"tiny.loss.{hold}"].estimates["loss"], -gain)
    assert near(held[f"tiny.recovered.{hold}"].estimates["full"], gain / 0.4)
    assert near(held[f"tiny.revised.{hold}"].estimates["loss"], -gain)
    assert near(held[f"tiny.words_ladder.{hold}"].estimates["sharded"], gain)


def test_what_a_rewriting_keeps_and_invents_is_found(held: dict[str, Finding]) -> None:
    rewrite = {
        h: held[f"tiny.rewrite.{h}"].estimates for h in ("mediate", "mediate_plain", "user_concat", "snowball", "recap")
    }
    assert rewrite["mediate"]["recall"].value == 1 and near(rewrite["mediate_plain"]["recall"], 0.75)
    assert near(rewrite["mediate"]["replaced"], 0.7) and near(rewrite["mediate"]["both"], 0.3)
    assert rewrite["mediate"]["precision"].high < 1 and near(rewrite["mediate_plain"]["lost"], 0.5 * 0.7)
    for h in ("user_concat", "snowball", "recap"):
        assert rewrite[h]["recall"].value == rewrite[h]["precision"].value == rewrite[h]["both"].value == 1, h
    gains = {h: held[f"tiny.ladder.{h}"].estimates["sharded"].value for h in ("mediate", "mediate_plain")}
    assert gains["mediate_plain"] < gains["mediate"] - 0.15, "facts that are lost cost answers"
    assert "of what is taken back" in held["tiny.rewrite.mediate"].verdict


def test_a_rewriting_is_set_beside_the_users_own_words(held: dict[str, Finding]) -> None:
    assert near(held["tiny.beside_user_concat.mediate"].estimates["difference"], 0.0)
    worse = held["tiny.beside_user_concat.mediate_plain"]
    assert worse.estimates["difference"].high < 0 and worse.p_values["difference"] < 0.05
    assert "tiny.beside_user_concat.user_concat" not in held and "tiny.beside_user_concat.recap" not in held


def test_what_a_hold_costs(held: dict[str, Finding]) -> None:
    price = {h: held[f"tiny.price.{h}"].estimates for h in ("mediate", "user_concat", "snowball", "clarify_first")}
    # a talk of two messages takes one rewriting more, one of three two more
    assert price["mediate"]["calls"].value == pytest.approx((3 + 5) / (2 + 3))
    assert price["user_concat"]["calls"].value == price["snowball"]["calls"].value == 1
    assert price["clarify_first"]["calls"].value > price["mediate"]["calls"].value
    assert price["mediate"]["prompt_tokens"].low > 1.5 and price["snowball"]["prompt_tokens"].low > 1


async def test_the_users_words_joined_are_the_task_in_one_list() -> None:
    scored = [
        s for s in await played(BitByBit(loss=0.3), "user_concat", preset=replace(SMALL, items=2)) if "p" in s.values
    ]
    at = {(s.hold, s.cell.item, s.cell.condition, s.values["run"]): s.values["p"] for s in scored}
    for (hold, item, condition, run), p in at.items():
        if hold == "user_concat" and condition in ("sharded", "revised", "distracted"):
            twin = condition.replace("sharded", "concat").replace("revised", "concat_revised")
            assert p == at["none", item, twin.replace("distracted", "concat_distracted"), "p0"], (item, condition, run)


async def test_failed_talks_become_rules() -> None:
    subject, plan = BitByBit(right=0.9, loss=0.9), LostInConversation(replace(SMALL, items=2))
    cells = plan.cells(preset="smoke", seed=5, hold="none")
    records = [p.record for p in await play_cells(plan, cells, subject.model)]
    pairs = failed_pairs(cells, records, most=3)
    assert len(pairs) == 3 and len({p.full for p in pairs}) == 3
    for p in pairs:
        assert p.failed[-1].role == "assistant" and heard(p.full) is not None
        wrong, right = p.failed[-1].content, heard(p.full).answer()  # pyright: ignore[reportOptionalMemberAccess]
        assert wrong != right
    rules = await distil_rules(subject.model, pairs)
    assert rules == ("Say the goal first.", "Copy every number.", "Keep the last version.")
    good = [p.record for p in await play_cells(plan, cells, BitByBit(right=1.0).model)]
    assert failed_pairs(cells, good) == []


# Gates


@cache
def base() -> tuple[Scored, ...]:
    subject = BitByBit(right=0.85, loss=0.35, apart=0.1, wobble=0.1)
    return tuple(asyncio.run(played(subject, "user_concat", preset=BASE, seed=2)))


Change = Callable[[Scored], Mapping[str, Any]]


def changed(change: Change, *, hold: str = "", condition: str = "") -> list[Scored]:
    """The scores with some values in the place of others, under one hold and condition, or all."""
    return [
        replace(s, values={k: v for k, v in {**s.values, **change(s)}.items() if v is not None})
        if s.hold == (hold or s.hold) and s.cell.condition == (condition or s.cell.condition) else s
        for s in base()
    ]  # fmt: skip


def gated(scored: Sequence[Scored], reason: str, *measures: str) -> dict[str, Finding]:
    """All findings, of which these are not measurable for this reason."""
    found = named(scored)
    for m in measures:
        f = found[f"tiny.{m}"]
        assert f.regime == "not_measurable" and not f.estimates and f.verdict.startswith("Not measurable"), f
        assert reason in f.reason, (m, f.reason)
    return found


def chosen(**values: Any) -> Change:
    """Changes where an answer was read by log-probability."""
    return lambda s: values if "mass" in s.values else {}


def test_what_cannot_be_read_is_not_measured() -> None:
    plain = ("ladder", "loss", "any_turn", "reliability", "revised", "distracted", "positions")
    every = (*plain, *(f"{m}.user_concat" for m in (*plain, "recovered")))
    gated(changed(chosen(mass=0.2)), "median probability of 0.20", *every)
    gated(changed(chosen(p=None)), "and 3 must", *every)
    gated(changed(chosen(top=0.0), condition="full"), "the floor", *every)


def test_nothing_can_be_lost_at_the_ceiling() -> None:
    scored = changed(chosen(p=1.0, top=1.0))
    scored += [replace(s, hold="mediate") for s in scored if s.hold == "user_concat"]
    found = gated(
        scored, "the ceiling", "loss", "reliability", "any_turn", "ladder.user_concat", "beside_user_concat.mediate"
    )
    assert found["tiny.ladder"].regime == "measured"


def test_a_family_whose_candidates_are_not_said_is_left_out_and_named() -> None:
    found = named(changed(lambda s: {"mass": 0.1} if s.cell.data["family"] == "record" and "mass" in s.values else {}))
    assert found["tiny.loss"].estimates["loss"].n == 9 and "record (0.10)" in found["tiny.loss"].verdict
    assert "record_loss" not in found["tiny.families"].estimates
    assert found["tiny.words_loss"].estimates["loss"].n == 12, "in words nothing is left out"


def test_a_hold_that_breaks_the_form_is_not_measured() -> None:
    low = changed(chosen(mass=0.1), hold="user_concat", condition="sharded")
    measures = [f"{m}.user_concat" for m in ("ladder", "loss", "recovered", "reliability", "any_turn")]
    gated(low, "median probability of 0.10", *measures)
    bad = [replace(s, unparsable=s.replies) if s.hold == "user_concat" else s for s in base()]
    found = gated(bad, "in the asked format", "words_ladder.user_concat")
    assert found["tiny.ladder.user_concat"].regime == "measured"


async def test_replies_out_of_format_are_not_wrong_answers() -> None:
    found = named(await played(BitByBit(right=0.85, loss=0.3, garbled=0.2), preset=replace(SMALL, items=4)))
    for measure in ("words_ladder", "words_loss", "words_any_turn", "words_reliability"):
        assert "in the asked format" in found[f"tiny.{measure}"].reason
    assert found["tiny.loss"].regime == "measured"
    subject = BitByBit(right=0.1)
    assert "the floor" in named(await played(subject, preset=replace(SMALL, items=2)))["tiny.loss"].reason
    few = named(await played(BitByBit(said=0.3), preset=replace(SMALL, items=2)))
    assert "candidates together" in few["tiny.loss"].reason


def test_what_is_missing_is_said() -> None:
    one = [s for s in base() if s.values["run"] in ("p0", "w0")]
    gated(one, "0 tasks", "reliability", "reliability.user_concat")
    gated(changed(chosen(p=0.8)), "nothing is shown to be lost", "recovered.user_concat")
    said: Change = lambda s: {"right": 1.0} if "right" in s.values else {}  # noqa: E731
    gated(changed(said, condition="full"), "answers are alike", "words_reliability")
    gated(changed(said, hold="user_concat"), "answers are alike", "words_reliability.user_concat")
    gated([replace(s, cost=Cost()) for s in base()], "is not known", "price.user_concat")
    gated(changed(lambda s: {"early": None}), "0 tasks", "attempts", "attempts.user_concat")
    silent = [s for s in base() if "length" not in s.values]
    found = gated(silent, "0 tasks", "bloat", "bloat.user_concat", "price.user_concat", "words_loss")
    assert "nothing was answered in words" in found["tiny.rewrite.user_concat"].reason
    gated([s for s in base() if int(s.cell.item.split("-")[2]) < 1], "0 tasks", "families")


def test_drawn_choices_are_said_to_be_drawn() -> None:
    drawn = named(changed(chosen(exact=False)))["tiny.loss"]
    assert "drawn choices" in drawn.verdict


def test_conditions_that_everything_stands_on_are_asked_for() -> None:
    with pytest.raises(InputError, match="lack concat"):
        LostInConversation(replace(SMALL, conditions=("full", "sharded")))


def test_it_is_found_by_name() -> None:
    found = registry.get("lost_in_conversation")
    assert found.name == "lost_in_conversation" and {"mediate", "user_concat", "recap"} <= set(found.holds)


# Known truth, many times


def test_randomness_within_a_task_is_unbiased() -> None:
    q, within = randomness([[1.0, 0.0], [1.0, 1.0], [0.7]], [False, False, True])
    assert q.tolist() == pytest.approx([0.5, 1.0, 0.7]) and within.tolist() == pytest.approx([0.5, 0.0, 0.21])
    assert spread(np.array([1.0, 0.0]), np.zeros(2)) == 0 and math.isnan(spread(np.ones(3), np.zeros(3)))
    rng = np.random.default_rng(stable_seed("test_randomness"))
    p = rng.random(7).tolist()
    for k in (1, 2, 4, 7):
        assert pass_all(p, k, fixed=False) == pytest.approx(np.mean([np.prod(c) for c in combinations(p, k)]))
    assert pass_all([0.5], 3, fixed=True) == 0.125


def test_the_share_of_randomness_covers_what_was_planted() -> None:
    rng, low, high, hits, n, runs = np.random.default_rng(stable_seed("test_share")), 0.3, 0.9, 0, 48, 5
    within = (low * (1 - low) + high * (1 - high)) / 2
    middle, values = (low + high) / 2, list[float]()
    truth = within / (middle * (1 - middle))
    for k in range(RUNS):
        q = np.where(rng.random(n) < 0.5, low, high)
        mean, inside = randomness((rng.random((n, runs)) < q[:, None]).astype(float).tolist(), [False] * n)

        def share(i: Any, _: Any, mean: Any = mean, inside: Any = inside) -> list[float]:
            return [spread(mean[i], inside[i])]

        (e,) = two_way_bootstrap_many(share, n, 1, seed=k, draws=100, kind="normal")
        hits += e.low <= truth <= e.high
        values.append(e.value)
    assert binom.ppf(0.0005, RUNS, 0.95) <= hits <= binom.ppf(0.9995, RUNS, 0.95)
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / math.sqrt(RUNS)


@pytest.mark.parametrize(("n", "loss"), [(8, 0.0), (10, 0.25)])
def test_the_loss_covers_what_was_planted_and_a_null_is_flagged_at_its_level(n: int, loss: float) -> None:
    """At the level of scores: a task once said at once, and two runs bit by bit, whose common part is the task's own."""
    rng, hits, flagged = np.random.default_rng(stable_seed("test_the_loss_covers", n, loss)), 0, 0
    for k in range(RUNS):
        own = rng.beta(6, 3, n) * 0.7 + 0.28
        bit = own[:, None] - loss + rng.uniform(-0.25, 0.25, (n, 2))
        lost = own + rng.uniform(-0.05, 0.05, n) - bit.mean(axis=1)
        e, p = of_items({str(i): float(x) for i, x in enumerate(lost)}, f"cover {k}", least=-1.0, most=1.0)
        hits += e.low <= loss <= e.high
        flagged += p <= 0.05
    assert binom.ppf(0.0005, RUNS, 0.95) <= hits <= binom.ppf(0.9995, RUNS, 0.95)
    if not loss:
        # eight tasks have 256 flips, of which 12 are as far out as 5% lets them be
        assert binom.ppf(0.0005, RUNS, 0.045) <= flagged <= binom.ppf(0.9995, RUNS, 0.05)


async def test_intervals_of_played_losses_cover_what_was_planted() -> None:
    preset = LostPreset(("tiny",), ("sum", "record"), 4, 2, ("full", "concat", "sharded"), (), 0)
    subject, hits, runs = BitByBit(right=0.85, loss=0.3, apart=0.1, wobble=0.1), 0, 16
    for seed in range(runs):
        rows = Rows(await played(subject, preset=preset, seed=stable_seed("played losses", seed)))
        means = [
            {k: float(np.mean([s.values["p"] for s in x])) for k, x in rows.tasks("none", "tiny", c).items()}
            for c in ("full", "sharded")
        ]
        e, _ = of_items({k: means[0][k] - means[1][k] for k in means[0]}, f"{seed}", least=-1.0, most=1.0)
        hits += e.low <= 0.3 <= e.high
    assert hits >= binom.ppf(0.0005, runs, 0.95)
