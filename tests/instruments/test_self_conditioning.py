"""Self-conditioning on planted keepers of totals: what is planted is found, nulls are not flagged, and every gate is reached."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from homing.conversation import Conversation
from homing.hold.chain import build
from homing.hold.verify import read_running_sum
from homing.instruments import registry
from homing.instruments.base import Cell, Scored
from homing.instruments.item_figures import of_items
from homing.instruments.playing import play_cells
from homing.instruments.self_conditioning import (
    LEVELS,
    SelfConditioning,
    SelfConditioningPreset,
    conversation_of,
)
from homing.instruments.self_conditioning_figures import findings
from homing.instruments.self_conditioning_held import crossing
from homing.instruments.self_conditioning_rows import Rows, paired
from homing.instruments.self_conditioning_talks import horizon, ideal_horizon, survival
from homing.stats.estimate import Cost, Estimate, Finding
from homing.stats.regression import linear_or_quadratic
from homing.stats.seeds import stable_seed
from homing.stats.tests import mcnemar_exact, permutation_paired
from homing.testing.planted_self_conditioning import TotalKeeper

SMALL = SelfConditioningPreset(("ones",), 60, 6, (), (100,), ("user",), False, 1, 16, 8)
RUNS = 400
GRID = ("e0", "e25", "e50", "e75", "e100")


async def played(
    keeper: TotalKeeper,
    preset: SelfConditioningPreset = SMALL,
    holds: Sequence[str] = ("none",),
    *,
    seed: int = 0,
    only: Sequence[str] = (),
) -> list[Scored]:
    plan, out = SelfConditioning(preset), list[Scored]()
    for hold in holds:
        cells = [c for c in plan.cells(preset="smoke", seed=seed, hold=hold) if not only or c.condition in only]
        got = await play_cells(plan, cells, keeper.model, build(hold))
        out += [
            replace(plan.score(c, json.loads(json.dumps(p.record)), hold=hold), cost=p.cost)
            for c, p in zip(cells, got, strict=True)
        ]
    return out


def found_in(scored: Sequence[Scored]) -> dict[str, Finding]:
    found = SelfConditioning().estimate(scored)
    names = [f.name.removeprefix("self_conditioning.") for f in found]
    assert len(set(names)) == len(names)
    assert all(f.verdict.endswith(".") for f in found)
    return dict(zip(names, found, strict=True))


@cache
def cells_of(*levels: str, **more: object) -> list[Cell]:
    preset = replace(SMALL, levels=levels, items=12, sheets=("user", "tool"), worked=True, shorter=(3,), **more)
    return SelfConditioning(preset).cells(preset="smoke", seed=0, hold="none")


# The cells


@pytest.mark.parametrize("preset", ["smoke", "standard"])
def test_cells_are_the_same_under_every_hold(preset: str) -> None:
    plan = SelfConditioning()
    none, held = (plan.cells(preset=preset, seed=3, hold=h) for h in ("none", "heal_verified"))
    assert none == held and len({c.id for c in none}) == len(none)
    assert len({(c.item, c.seed) for c in none}) == len({c.item for c in none})
    assert none != plan.cells(preset=preset, seed=4, hold="none")
    assert json.loads(json.dumps([dict(c.data) for c in none])) == [dict(c.data) for c in none]


def test_smoke_is_small() -> None:
    cells = SelfConditioning().cells(preset="smoke", seed=0, hold="none")
    words = sum(len(m.content.split()) + 4 for c in cells if c.condition != "live" for m in conversation_of(c.data))
    assert (
        len(cells) < 160 and words < 30_000
    )  # 82 s of prompts a hold at 350 tokens a second, counted with its tokenizer


@pytest.mark.parametrize("level", LEVELS)
def test_histories_are_wrong_as_often_as_they_say(level: str) -> None:
    by: dict[str, dict[str, Cell]] = {}
    for c in cells_of(level):
        by.setdefault(c.item, {})[c.condition] = c
    counts = dict.fromkeys((0, 25, 50, 75, 100), 0)
    for cells in by.values():
        last: set[int] = set()
        for e in counts:
            wrong = {k for k, by_how_much in enumerate(offs(cells[f"e{e}"])) if by_how_much}
            assert last <= wrong, "what is wrong at a lower rate is wrong at a higher one"
            last, counts[e] = wrong, counts[e] + len(wrong)
        for name in ("e100", "near", "far"):
            off = offs(cells[name])
            assert all(off) and all(a != b for a, b in pairwise(off)), "no total and no update is right"
        assert offs(cells["format"]) == [0] * 6 and "".join(cells["format"].data["tails"])
        assert [bool(x) for x in offs(cells["early"])] == [True] * 3 + [False] * 3
        assert [bool(x) for x in offs(cells["late"])] == [False] * 3 + [True] * 3
        assert offs(cells["user100"]) == offs(cells["tool100"]) == offs(cells["worked100"]) == offs(cells["e100"])
        spread = [0, *offs(cells["p100"])]
        assert all(a != b for a, b in pairwise(spread)), "every update is wrong"
        assert [b - a for a, b in pairwise(spread)][1] % 10 == offs(cells["e100"])[1] % 10
        sizes = [max(abs(x) for x in offs(cells[k])) for k in ("near", "far")]
        assert level == "hundred" or (set(offs(cells["near"])) <= {1, 9} and set(offs(cells["far"])) <= {4, 5, 6})
        assert level != "hundred" or sizes[0] <= 10 <= sizes[1]
    assert counts[0] == 0 and counts[100] == 72
    for e in (25, 50, 75):
        assert abs(counts[e] - 0.72 * e) <= 12


def offs(cell: Cell) -> list[int]:
    """By how much each total that a cell shows is off."""
    found = read_running_sum(conversation_of(cell.data))
    assert found is not None
    shown = [s.shown for s in found.steps[1:-1]]
    return [found.task.kept((s or 0) - t) for s, t in zip(shown, found.totals()[1:-1], strict=True)]


@pytest.mark.parametrize("level", LEVELS)
def test_every_conversation_is_read_back(level: str) -> None:
    for cell in cells_of(level):
        if cell.condition == "live":
            continue
        found = read_running_sum(conversation_of(cell.data))
        assert found is not None and dict(found.task.worth) == cell.data["worth"]
        assert [list(s.words) for s in found.steps[1:]] == cell.data["words"]
        assert [s.shown for s in found.steps[1:-1]] == cell.data["shown"]


def test_a_reply_is_scored_by_the_update_and_by_the_total() -> None:
    plan = SelfConditioning(SMALL)
    cell = next(c for c in cells_of("hundred") if c.condition == "e100")
    found = read_running_sum(conversation_of(cell.data))
    assert found is not None
    stated, truth = found.stated(), found.totals()[-1]
    assert stated is not None
    local = found.task.then(stated, found.steps[-1].words)
    for text, kind in ((local, "local"), (truth, "truth"), (stated, "copy"), (local + 1, "other")):
        got = plan.score(cell, {"texts": [str(text)]}, hold="none").values
        assert (got["kind"], got["local"], got["right"]) == (kind, float(text == local), float(text == truth))
    held = plan.score(cell, {"texts": [str(truth)]}, hold="heal_verified").values
    assert held["local"] == held["right"] == 1, "under a hold the update is from the total that it shows"
    bad = plan.score(cell, {"texts": ["Hmm."]}, hold="none")
    assert (bad.unparsable, bad.replies) == (1, 1) and "local" not in bad.values


def test_a_talk_counts_up_to_its_first_mistake() -> None:
    plan = SelfConditioning(SMALL)
    cell = next(c for c in plan.cells(preset="smoke", seed=0, hold="none") if c.condition == "live")
    right = [str((cell.data["start"] + k + 1) % 10) for k in range(8)]
    wrong = [*right[:3], "Total: 77", *right[4:]]
    for texts, prefix, failed, share in (
        (right, 8, 0, 1.0),
        (wrong, 3, 1, 7 / 8),
        ([*right[:3], "Hmm.", *right[4:]], 3, 0, 1.0),
    ):
        got = plan.score(cell, {"texts": texts}, hold="none")
        assert (got.values["prefix"], got.values["failed"]) == (prefix, failed)
        assert got.values["right"] == pytest.approx(share) and got.replies == 8
    assert plan.score(cell, {"texts": ["Hmm."] * 8}, hold="none").unparsable == 8


# What is planted is found


def near(e: Estimate, truth: float) -> bool:
    """Whether an interval, widened from 95% to 99.9%, covers what was planted: one run must not miss it once in twenty."""
    low, high = e.value - 1.7 * (e.value - e.low), e.value + 1.7 * (e.high - e.value)
    return low <= truth <= high


async def test_intervals_of_played_losses_cover_what_was_planted() -> None:
    plan, hits, runs = SelfConditioning(replace(SMALL, items=20, runs=0)), 0, 16
    model = TotalKeeper(right=0.96, loss=0.6).model
    for seed in range(runs):
        cells = plan.cells(preset="smoke", seed=stable_seed("test_intervals_of_played_losses", seed), hold="none")
        cells = [c for c in cells if c.condition in ("e0", "e100")]
        got = await play_cells(plan, cells, model)
        rows = Rows(plan.score(c, p.record, hold="none") for c, p in zip(cells, got, strict=True))
        e, _ = paired(rows.pairs("none", "ones", "e0"), rows.pairs("none", "ones", "e100"))
        hits += e.low <= 0.6 <= e.high
    assert hits >= binom.ppf(0.0005, runs, 0.95)


async def test_a_planted_loss_is_found() -> None:
    keeper = TotalKeeper(right=0.97, loss=0.6, sheet=0.2, late=0.8, odd=0.1, long=0.01, garbled=0.01)
    found = found_in(await played(keeper, seed=stable_seed("test_a_planted_loss_is_found")))
    loss = found["ones.loss"]
    assert near(loss.estimates["difference"], 0.6) and near(loss.estimates["index"], 0.6 / 0.91)
    assert loss.p_values["difference"] < 1e-6 and ", clear of 0" in loss.verdict
    assert all(near(loss.estimates[f"at_{e}"], 0.6 * e / 100) for e in (25, 50, 75))
    assert near(found["ones.dose"].estimates["slope"], -0.6) and "is not shown" in found["ones.dose"].verdict
    differences = {
        k: found[f"ones.{k}"].estimates["difference"] for k in ("attribution", "recency", "long_context", "format")
    }
    assert near(differences["attribution"], 0.6 * 0.8) and differences["attribution"].low > 0
    assert near(differences["recency"], 0.6 * 0.6) and differences["recency"].low > 0
    assert near(differences["long_context"], 0.06) and near(differences["format"], 0.1)
    slips = found["ones.slips"].estimates
    assert near(slips["truth"], 0.3) and slips["copy"].value < 0.05
    assert found["ones.accuracy"].estimates["right_e100"].value < 0.4
    talk = found["ones.horizon"].estimates
    assert talk["turns_right"].high < talk["ideal_turns"].high and talk["horizon_90"].value <= 5


async def test_a_null_is_not_flagged() -> None:
    keeper = TotalKeeper(right=0.93, loss=0.0, garbled=0.01)
    found = found_in(await played(keeper, seed=stable_seed("test_a_null_is_not_flagged")))
    for name in ("loss", "propagating", "attribution", "recency", "format", "size", "long_context"):
        assert near(found[f"ones.{name}"].estimates["difference"], 0.0), name
        assert found[f"ones.{name}"].p_values["difference"] > 0.001
    assert "not clear of 0" in found["ones.loss"].verdict
    assert near(found["ones.dose"].estimates["slope"], 0.0) and near(found["ones.loss"].estimates["index"], 0.0)
    assert "falls short of that is not shown" in found["ones.horizon"].verdict


async def test_only_a_bend_is_called_non_linear() -> None:
    keeper = TotalKeeper(right=0.97, loss=0.9, bend=1.0)
    found = found_in(await played(keeper, replace(SMALL, items=110, runs=0), only=GRID))["ones.dose"]
    assert found.verdict.count("it is non-linear (") == 1 and found.p_values["bend"] < 0.05
    assert near(found.estimates["bend"], 0.9 / 4)


async def test_all_levels_and_conditions_are_played() -> None:
    preset = replace(
        SMALL, levels=("ones", "digits", "hundred"), items=10, sheets=("user", "tool"), worked=True, shorter=(3,), runs=4,
        keys=2,
    )  # fmt: skip
    found = found_in(await played(TotalKeeper(right=0.97, loss=0.8), preset))
    for level in LEVELS:
        for measure in ("accuracy", "loss", "attribution_tool", "worked", "length_3", "dose", "horizon"):
            assert found[f"{level}.{measure}"].regime == "measured", (
                level,
                measure,
                found[f"{level}.{measure}"].reason,
            )
    assert next(iter(found)).startswith("ones") and list(found)[-1].startswith("hundred")


# Holds


@pytest.fixture(scope="module")
def held() -> dict[str, Finding]:
    holds = ("none", "sham", "heal_verified", "heal_verified_noisy20", "heal_verified_noisy100", "restart")
    preset, only = replace(SMALL, items=22, runs=12, turns=12), ("first", *GRID, "format", "live")
    keeper = TotalKeeper(right=0.85, loss=0.75, truth=0.0)
    return found_in(asyncio.run(played(keeper, preset, holds, seed=1, only=only)))


def test_a_sham_moves_nothing(held: dict[str, Finding]) -> None:
    sham = {k: f for k, f in held.items() if k.endswith(".sham")}
    assert len(sham) == 7
    for name, f in sham.items():
        zero = 1.0 if ".price." in name else 0.0
        for tag, e in f.estimates.items():
            assert tag.startswith("held_") or (e.value == zero and e.low <= zero <= e.high), (name, tag)
        assert all(p == 1 for p in f.p_values.values())


@pytest.mark.parametrize("hold", ["heal_verified", "restart"])
def test_verified_state_brings_accuracy_back(held: dict[str, Finding], hold: str) -> None:
    gain = held[f"ones.accuracy.{hold}"]
    assert near(gain.estimates["e100"], 0.75) and gain.p_values["e100"] < 0.01
    assert gain.estimates["e100"].low > 0 and gain.estimates["right_e50"].low > 0
    assert near(gain.estimates["e0"], 0.0) and near(gain.estimates["held_e100"], 0.85)
    assert near(held[f"ones.loss.{hold}"].estimates["difference"], -0.75)
    assert near(held[f"ones.dose.{hold}"].estimates["slope"], 0.75)
    assert held[f"ones.horizon.{hold}"].estimates["right"].low > 0
    words = held[f"ones.price.{hold}"].estimates["words"]
    assert words.value == pytest.approx(1.0, abs=0.02) if hold == "heal_verified" else words.high < 0.9
    tokens, calls = (held[f"ones.price.{hold}"].estimates[k].value for k in ("prompt_tokens", "calls"))
    assert calls == 1 and (tokens < 0.9 if hold == "restart" else abs(tokens - 1) < 0.05)


def test_heal_leaves_clean_history_as_it_is(held: dict[str, Finding]) -> None:
    found = held["ones.accuracy.heal_verified"]
    assert found.estimates["e0"].value == 0 and "less than 10% is shown" in found.verdict


def test_a_verifier_may_err_so_often_and_no_more(held: dict[str, Finding]) -> None:
    found = held["ones.break_even.heal_verified"]
    curve = [found.estimates[f"right_{p}"].value for p in (0, 20, 100)]
    assert curve[0] > curve[2] + 0.3 and curve[0] >= curve[1] >= curve[2]
    for tag in ("at_25", "at_50", "at_100", "live"):
        assert 0 <= found.estimates[tag].low <= found.estimates[tag].value <= found.estimates[tag].high <= 1
    assert found.estimates["at_25"].value < found.estimates["at_100"].value
    noisy = held["ones.accuracy.heal_verified_noisy100"].estimates
    assert noisy["right_e0"].high < -0.2, "a verifier that always errs ruins what was right"
    assert "one that never errs and two that do" in held["ones.break_even.restart"].reason


# Gates


def fake(*, talks: int = 0, **accuracy: float) -> list[Scored]:
    """Twenty items with so many right updates in each condition, by choice, and some talks."""
    rng, out = np.random.default_rng(0), list[Scored]()
    for condition in ("first", "e0", "e25", "e50", "e75", "e100", "p100", "user0", "user100", "early", "late"):
        share = accuracy.get(condition, 0.9 if condition[-1] == "0" and "100" not in condition else 0.5)
        right = rng.permutation(np.arange(20) < round(20 * share))
        for k in range(20):
            values = {
                "local": float(right[k]),
                "right": float(right[k]),
                "kind": "other",
                "mass": 0.9,
                "exact": True,
                "words_shown": 50,
            }
            cell = Cell(f"ones-{k}/{condition}", f"ones-{k}", condition, {"level": "ones"})
            out.append(Scored(cell, "none", values))
    for k in range(talks):
        live = Cell(f"ones-{k}/live", f"ones-{k}", "live", {"level": "ones"})
        out.append(Scored(live, "none", {"turns": 6, "prefix": k % 7, "failed": float(k % 7 < 6), "right": 0.5}, 0, 6))
    return out  # fmt: skip


def gated(scored: Sequence[Scored], measure: str) -> str:
    found = {f.name: f for f in findings(scored, chances={"ones": 0.1})}[f"self_conditioning.ones.{measure}"]
    assert found.regime == "not_measurable", found.verdict
    assert found.estimates == {} and found.verdict.startswith("Not measurable")
    return found.reason


def changed(scored: Sequence[Scored], *conditions: str, **more: object) -> list[Scored]:
    keep = [s for s in scored if s.cell.condition not in conditions]
    moved = [s for s in scored if s.cell.condition in conditions]
    values = more.pop("values", {})
    return keep + [replace(s, values={**s.values, **values}, **more) for s in moved]


ALL = ("accuracy", "loss", "dose", "attribution", "propagating", "slips")


def test_it_is_measured_where_no_gate_closes() -> None:
    scored = fake(talks=8)
    found = findings(scored, chances={"ones": 0.1})
    assert {f.regime for f in found} == {"measured"}, [f.reason for f in found]
    shuffled = [scored[i] for i in np.random.default_rng(1).permutation(len(scored))]
    assert [f.to_json() for f in findings(shuffled, chances={"ones": 0.1})] == [f.to_json() for f in found]


@pytest.mark.parametrize("measure", ALL)
def test_the_floor(measure: str) -> None:
    assert "4 of 20 updates are right, not clear of chance (10%)" in gated(fake(e0=0.2), measure)


def test_the_floor_of_the_sheet_closes_its_own_figure_alone() -> None:
    assert "on a sheet 1 of 20" in gated(fake(user0=0.05), "attribution")
    found = {f.name: f for f in findings(fake(user0=0.05), chances={"ones": 0.1})}
    assert found["self_conditioning.ones.loss"].regime == "measured"


def test_the_floor_of_the_first_turn() -> None:
    for measure in ("long_context", "horizon"):
        assert "the floor" in gated(fake(talks=8, first=0.1), measure)


@pytest.mark.parametrize("measure", ["loss", "dose", "recency"])
def test_the_ceiling(measure: str) -> None:
    top = dict.fromkeys(("e0", "e25", "e50", "e75", "e100", "early", "late"), 1.0)
    assert "the ceiling" in gated(fake(**top), measure)


def test_a_control_without_effect_is_no_ceiling_where_errors_do_harm() -> None:
    found = {f.name: f for f in findings(fake(e0=1.0, first=1.0), chances={"ones": 0.1})}
    assert found["self_conditioning.ones.long_context"].estimates["difference"].value == 0


@pytest.mark.parametrize("measure", ALL)
def test_options_that_are_hardly_ever_said(measure: str) -> None:
    assert "median probability of 0.20" in gated(changed(fake(), "e0", values={"mass": 0.2}), measure)


def test_options_count_where_they_are_hardly_ever_said() -> None:
    odd = changed(fake(), "p100", values={"mass": 0.2})
    assert "median probability of 0.20" in gated(odd, "propagating")
    assert {f.name: f for f in findings(odd, chances={"ones": 0.1})}["self_conditioning.ones.loss"].regime == "measured"


@pytest.mark.parametrize("measure", ALL)
def test_replies_out_of_format(measure: str) -> None:
    bad = changed(fake(), "e0", unparsable=1, replies=4)
    assert "in the asked format" in gated(bad, measure)


def test_talks_out_of_format() -> None:
    assert "in the asked format" in gated(changed(fake(talks=8), "live", unparsable=3, replies=8), "horizon")


def test_words_whose_worth_is_not_known() -> None:
    asked = changed(fake(talks=8), "first", values={"lookup": 0.0})
    for measure in ("loss", "horizon"):
        assert "does not read the rules" in gated(asked, measure)
    known = changed(fake(talks=8), "first", values={"lookup": 1.0})
    assert {f.regime for f in findings(known, chances={"ones": 0.1})} == {"measured"}


def test_too_few_of_anything() -> None:
    few = [s for s in fake(talks=8) if s.cell.item in ("ones-0", "ones-1")]
    for measure in (*ALL, "horizon", "recency"):
        assert "and 3 must" in gated(few, measure)
    assert "wrong, and 3 must be" in gated(fake(e100=0.95), "slips")
    apart = [s for s in fake() if (s.cell.condition != "e0") or int(s.cell.item.split("-")[1]) < 10]
    apart = [s for s in apart if (s.cell.condition != "e100") or int(s.cell.item.split("-")[1]) >= 10]
    assert "0 items have what this needs" in gated(apart, "loss")


def test_a_hold_that_breaks_the_format_is_not_measurable() -> None:
    mine = [replace(s, hold="fresh", values={**s.values, "mass": 0.1}) for s in fake()]
    for measure in ("accuracy.fresh", "loss.fresh", "dose.fresh"):
        assert "median probability of 0.10" in gated([*fake(), *mine], measure)
    alone = [replace(s, hold="fresh") for s in fake(talks=8) if s.cell.item in ("ones-0", "ones-1")]
    for measure in ("accuracy.fresh", "loss.fresh", "dose.fresh", "horizon.fresh", "price.fresh"):
        assert "and 3 must" in gated([*fake(), *alone], measure)


def test_drawn_choices_are_said_to_be_drawn() -> None:
    drawn = changed(fake(), "e100", values={"exact": False})
    found = {f.name: f for f in findings(drawn, chances={"ones": 0.1})}
    assert "Choices were drawn" in found["self_conditioning.ones.loss"].verdict
    assert "Choices were drawn" not in found["self_conditioning.ones.recency"].verdict


def test_what_another_hold_shows_is_not_priced_in_words() -> None:
    mine = [replace(s, hold="fresh") for s in fake()]
    assert "and 3 must" in gated([*fake(), *mine], "price.fresh")
    paid = [replace(s, hold=h, cost=Cost(8, 100 * k, 8)) for k, h in ((1, "none"), (2, "fresh")) for s in fake(talks=8)]
    found = {f.name: f for f in findings(paid, chances={"ones": 0.1})}["self_conditioning.ones.price.fresh"]
    assert {k: e.value for k, e in found.estimates.items()} == {"prompt_tokens": 2.0, "calls": 1.0}


async def test_a_subject_that_speaks_out_of_turn_is_not_measured() -> None:
    """The gates through the production parser: garbled talks, options without mass, worths that are not known."""
    preset = replace(SMALL, levels=("digits",), items=10, runs=6)
    found = found_in(await played(TotalKeeper(garbled=0.3), preset))
    assert "in the asked format" in found["digits.horizon"].reason and found["digits.loss"].regime == "measured"
    found = found_in(await played(TotalKeeper(said=0.3), preset))
    assert "median probability" in found["digits.loss"].reason
    found = found_in(await played(TotalKeeper(reads=False), preset))
    assert "does not read the rules" in found["digits.loss"].reason
    found = found_in(await played(TotalKeeper(right=0.02), preset))
    assert "the floor" in found["digits.loss"].reason
    found = found_in(await played(TotalKeeper(right=1.0), preset))
    assert "the ceiling" in found["digits.loss"].reason
    talk = found["digits.horizon"]
    assert talk.estimates["whole"].value == 1 and "horizon_50" not in talk.estimates and "at no turn" in talk.verdict


# Small figures


def test_survival_counts_what_could_not_be_read_up_to_there() -> None:
    prefix, failed = np.array([4, 4, 1, 2]), np.array([False, False, True, False])
    assert survival(prefix, failed, 4) == pytest.approx([1.0, 0.75, 0.75, 0.75])
    assert survival(np.zeros(3, int), np.ones(3, bool), 3) == pytest.approx([0, 0, 0])
    assert survival(np.zeros(3, int), np.zeros(3, bool), 3) == pytest.approx([1, 1, 1])


def test_horizons() -> None:
    alive = np.array([1.0, 0.8, 0.5, 0.4])
    assert (horizon(alive, 0.9), horizon(alive, 0.5), horizon(alive, 0.1)) == (2, 4, 5)
    assert ideal_horizon(0.9, 0.5) == 7 and ideal_horizon(0.99, 0.5) == 69
    assert ideal_horizon(1.0, 0.5) == math.inf and ideal_horizon(0.0, 0.5) == 1


@pytest.mark.parametrize(
    ("gains", "at"), [([0.5, 0.0, -0.5], 0.2), ([0.4, 0.2, -0.2], 0.35), ([0.0, 0.1, 0.1], 0.0), ([0.3, 0.2, 0.1], 0.5)]
)
def test_where_a_gain_is_used_up(gains: list[float], at: float) -> None:
    assert crossing((0.0, 0.2, 0.5), gains) == pytest.approx(at)


def test_items_that_are_all_alike_still_have_an_interval() -> None:
    e, p = of_items({str(k): 1.0 for k in range(10)}, "t", least=-1, most=1)
    assert e.value == e.high == 1 and 0.3 < e.low < 0.6 and p < 0.01
    e, p = of_items({str(k): 0.0 for k in range(10)}, "t", least=-1, most=1)
    assert e.low < 0 < e.high and p == 1


def test_it_is_found_by_name() -> None:
    found = registry.get("self_conditioning")
    assert found.name == "self_conditioning" and set(found.holds) == {"heal_verified", "reinject", "window", "restart"}


# Known truth, many times: intervals cover and nulls are flagged at their nominal rates


@pytest.mark.parametrize("n", [10, 32])
@pytest.mark.parametrize(("clean", "wrong"), [(0.95, 0.3), (0.7, 0.7)])
def test_the_loss_covers_what_was_planted(n: int, clean: float, wrong: float) -> None:
    rng = np.random.default_rng(stable_seed("test_the_loss_covers", n, clean, wrong))
    runs = 2000
    u = rng.random((2, runs, n)) + 0.2 * rng.random((runs, n))  # the two conditions of an item are correlated
    cut = np.quantile(rng.random(200_000) + 0.2 * rng.random(200_000), [clean, wrong])
    a, b = (u[0] < cut[0]).astype(float), (u[1] < cut[1]).astype(float)
    hits = flagged = 0
    tests: dict[tuple[int, int], float] = {}
    for x, y in zip(a, b, strict=True):
        key = (int((x > y).sum()), int((y > x).sum()))
        if key not in tests:
            tests[key] = mcnemar_exact(*key).p_value
        flagged += tests[key] < 0.05
    for x, y in zip(a[:RUNS], b[:RUNS], strict=True):
        e, _ = paired({str(i): v for i, v in enumerate(x)}, {str(i): v for i, v in enumerate(y)})
        hits += e.low <= clean - wrong <= e.high
    assert binom.ppf(0.0005, RUNS, 0.95) <= hits
    if clean == wrong:
        assert flagged <= binom.ppf(0.9995, runs, 0.05), "the exact test flags a null at most at its level"


def test_a_difference_of_losses_covers_what_was_planted() -> None:
    rng = np.random.default_rng(stable_seed("test_a_difference_of_losses"))
    p, hits, flagged = (0.95, 0.35, 0.95, 0.75), 0, 0
    for k in range(RUNS):
        right = (rng.random((4, 10)) < np.array(p)[:, None]).astype(float)
        own = right[0] - right[1] - right[2] + right[3]
        null = right[0] - right[1] - (rng.random(10) < p[0]) + (rng.random(10) < p[1])
        e, _ = of_items({str(i): v for i, v in enumerate(own)}, f"c{k}", least=-2, most=2)
        hits += e.low <= 0.4 <= e.high
        flagged += permutation_paired(null, seed=k).p_value < 0.05
    assert binom.ppf(0.0005, RUNS, 0.95) <= hits <= binom.ppf(0.9995, RUNS, 0.97)
    assert flagged <= binom.ppf(0.9995, RUNS, 0.05)


@pytest.mark.parametrize("loss", [0.0, 0.6])
def test_the_slope_covers_and_a_line_is_seldom_called_a_bend(loss: float) -> None:
    rng = np.random.default_rng(stable_seed("test_the_slope_covers", loss))
    dose, hits, bends = np.arange(5) / 4, 0, 0
    labels = [i for i in range(32) for _ in range(5)]
    for k in range(RUNS):
        y = rng.random((32, 5)) < 0.9 - loss * dose
        got = linear_or_quadratic(np.tile(dose, 32), y.ravel(), clusters=labels, seed=k, draws=400)
        hits += got.slope.low <= -loss <= got.slope.high
        bends += got.shape == "non-linear"
    assert binom.ppf(0.0005, RUNS, 0.95) <= hits <= binom.ppf(0.9995, RUNS, 0.96)
    assert binom.ppf(0.0005, RUNS, 0.04) <= bends <= binom.ppf(0.9995, RUNS, 0.06)


async def test_what_is_no_running_sum_is_refused_by_the_keeper() -> None:
    with pytest.raises(ValueError, match="something else"):
        TotalKeeper().say(Conversation.of("Hello"))
