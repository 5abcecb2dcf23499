from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from homing.errors import InputError
from homing.hold.analyses import asks_how_sure, confidence_in
from homing.hold.chain import build
from homing.instruments.base import Answer, Cell, Scored
from homing.instruments.calibration import INSTRUMENTS, PRESETS, Calibration, CalibrationPreset
from homing.instruments.calibration_items import ASK_SURE, DAYS, FAMILIES, LEVELS, MOST, Item, deal, examples
from homing.instruments.calibration_rows import Kept, overconfidence
from homing.instruments.playing import play_cells
from homing.models.base import Choice
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed
from homing.testing.planted_calibration import SureSubject

PLAN = Calibration(CalibrationPreset(192, 24, 0, 1))
SMALL = Calibration(CalibrationPreset(64, 8, 12, 4))


async def played(plan: Calibration, *holds: str, **planted) -> list[Scored]:
    out: list[Scored] = []
    subject = SureSubject(plan.items(preset="smoke", seed=1), **planted)
    for hold in ("none", *holds):
        cells = plan.cells(preset="smoke", seed=1, hold=hold)
        got = await play_cells(plan, cells, subject.model, build(hold))
        out += [plan.score(c, json.loads(json.dumps(p.record)), hold=hold) for c, p in zip(cells, got, strict=True)]
    return out


async def found_on(plan: Calibration, *holds: str, **planted) -> dict[str, Finding]:
    return {f.name.removeprefix("calibration."): f for f in plan.estimate(await played(plan, *holds, **planted))}


def covers(finding: Finding, **truth: float) -> None:
    for k, v in truth.items():
        e = finding.estimates[k]
        assert e.low - 1e-9 <= v <= e.high + 1e-9, f"{finding.name} {k}: {v} lies outside {e}"


def inside(hits: int, runs: int, rate: float) -> bool:
    """Whether a count lies in the 99.9% region of its nominal rate."""
    return binom.ppf(0.0005, runs, rate) <= hits <= binom.ppf(0.9995, runs, rate)


# Items


def answer_of(item: Item) -> str:
    """The right answer, found in another way."""
    q = item.question
    if item.family == "boxes":
        colour = q.rpartition("What does the ")[2].removesuffix(" box hold?")
        return q.partition(f"The {colour} box holds a ")[2].partition(".")[0]
    if item.family == "sums":
        said = q.removeprefix("What is ").removesuffix("?")
        return str(
            math.prod(map(int, said.split(" times "))) if "times" in said else sum(map(int, said.split(" plus ")))
        )
    if item.family == "days":
        n = int(next(w for w in q.split() if w.isdigit()))
        at = DAYS.index(q.split()[2].removesuffix("."))
        return DAYS[(at + (-n if "ago" in q else n)) % 7]
    return max(item.options, key=Fraction)


def test_items_are_right_different_and_of_one_form() -> None:
    items = deal(MOST, 0)
    assert len({i.asked()[-1].content for i in items}) == len({i.id for i in items}) == MOST
    assert Counter((i.family, i.level) for i in items) == {(f, x): MOST // 16 for f in FAMILIES for x in LEVELS}
    for i in items:
        assert i.options[i.right] == answer_of(i) and len(set(i.options)) == 4, i
        if i.family in ("sums", "largest"):
            assert len({len(o) for o in i.options}) == 1, i
    assert all(
        max(Counter(map(Fraction, i.options)).values()) == 1 or i.level == 4 for i in items if i.family == "largest"
    )
    places = Counter(i.right for i in items)
    assert min(places.values()) > MOST / 8, "the right one stands anywhere"
    assert Item.from_json(json.loads(json.dumps(items[0].to_json()))) == items[0]


def test_a_deal_begins_like_a_longer_one_and_its_halves_are_alike() -> None:
    items = deal(64, 3)
    assert items == deal(200, 3)[:64] and items != deal(64, 4)
    sides = [Counter((i.family, i.level) for i in deal(192, 3) if i.half == h) for h in (0, 1)]
    assert sides[0] == sides[1] and sum(sides[0].values()) == 96
    with pytest.raises(InputError, match="from 1 to 400"):
        deal(401, 0)


def test_worked_examples_are_none_of_the_items() -> None:
    shown = {m.content for m in examples()}
    assert not shown & {i.asked()[-1].content for i in deal(MOST, 0)}
    assert all(confidence_in(m.content) is not None for m in examples()[3::4])
    assert asks_how_sure(ASK_SURE)


def test_cells_are_the_same_under_every_hold_but_for_analyses_and_are_json() -> None:
    plan = INSTRUMENTS["calibration"]()
    none, held = (plan.cells(preset="smoke", seed=0, hold=h) for h in ("none", "analyses"))
    p = PRESETS["smoke"]
    assert Counter(c.condition for c in none) == {"answer": p.items, "exclusive": p.exclusive, "analyses": p.analysed}
    assert len({c.item for c in none}) == p.items and len({c.item for c in held}) == p.held
    mine = {c.item for c in held}
    assert [c for c in none if c.condition != "analyses" and c.item in mine] == held
    assert len({c.id for c in none}) == len(none) and json.loads(json.dumps([dict(c.data) for c in none]))
    seeds: dict[str, set[int]] = {}
    for c in none:
        seeds.setdefault(c.item, set()).add(c.seed)
    assert all(len(s) == 1 for s in seeds.values())


def test_sizes_can_be_planned() -> None:
    plan = Calibration()
    small, large = plan.sized("smoke", 1), plan.sized("standard", 10_000)
    assert small.units("smoke") == 24 and large.units("standard") == MOST
    assert small.plan("smoke").exclusive == 3 and large.plan("standard").exclusive == 93


# Played on the planted subject


async def test_who_keeps_every_promise_shows_no_error() -> None:
    found = await found_on(PLAN, low=0.3, high=0.95)
    for readout in ("logprob", "stated"):
        covers(found[readout], overconfidence=0.0, ece=0.0, reliability=0.0, accuracy=0.625, confidence=0.625)
        assert found[readout].p_values["ece"] > 0.01 and found[readout].p_values["overconfidence"] > 0.01
        assert found[readout].estimates["auroc"].low > 0.5 and "have more of it" in found[readout].verdict
        covers(found[f"recalibrated_{readout}"], platt_brier=0.0)
    covers(found["contradiction"], sum=1.0, excess=0.0)
    assert found["contradiction"].estimates["mass"].value < 0.02, "words are in whole percent"
    assert found["stated_less_logprob"].estimates["brier"].value == pytest.approx(0, abs=0.002)
    assert found["averaging"].reason == "no item was analysed"


async def test_who_promises_too_much_by_a_known_amount_is_found_and_mended() -> None:
    found = await found_on(PLAN, low=0.3, high=0.8, over=0.19, says_over=0.15, exclusive=1.6)
    covers(found["logprob"], overconfidence=0.19, ece=0.19, reliability=0.19**2)
    covers(found["stated"], overconfidence=0.15, ece=0.15, reliability=0.15**2)
    covers(found["contradiction"], sum=1.6, excess=0.6, mass=0.6)
    assert found["contradiction"].p_values["excess"] < 0.01 and "more than there is" in found["contradiction"].verdict
    assert found["logprob"].p_values["overconfidence"] < 0.01 and "overconfident" in found["logprob"].verdict
    for readout, over in (("logprob", 0.19), ("stated", 0.15)):
        mended = found[f"recalibrated_{readout}"]
        covers(
            mended,
            platt_brier=-(over**2),
            before_overconfidence=over,
            platt_overconfidence_after=0.0,
            platt_ece_after=0.0,
        )
        assert mended.estimates["platt_brier"].n == mended.estimates["isotonic_brier"].n == 96, (
            "the half it was not fitted on"
        )
    curve = found["curve_logprob"].estimates
    assert (
        sum(k.startswith("accuracy_") for k in curve) == 10 and sum(e.n for k, e in curve.items() if "acc" in k) == 192
    )


async def test_a_confidence_that_is_noise_tells_nothing_apart() -> None:
    found = await found_on(PLAN, guesses=True)
    covers(found["stated"], auroc=0.5, overconfidence=0.0)
    assert "is not shown" in found["stated"].verdict and found["stated"].p_values["ece"] < 0.05
    assert found["logprob"].estimates["auroc"].low > 0.5
    assert found["stated_less_logprob"].estimates["brier"].low > 0


async def test_who_always_says_the_same_has_one_bin_and_can_only_be_moved_as_a_whole() -> None:
    found = await found_on(PLAN, constant=0.95)
    stated = found["stated"]
    covers(stated, overconfidence=0.95 - 0.625, ece=0.95 - 0.625, auroc=0.5)
    assert "the same of every answer" in stated.verdict and len(found["curve_stated"].estimates) == 2
    covers(found["recalibrated_stated"], isotonic_overconfidence_after=0.0, platt_overconfidence_after=0.0)
    covers(found["contradiction"], sum=3.8, mass=2.8)


async def test_a_mean_over_analyses_has_less_noise_and_the_sham_changes_nothing() -> None:
    noise = 0.2
    plan = Calibration(CalibrationPreset(128, 16, 128, 4))
    found = await found_on(plan, "analyses", "sham", low=0.45, high=0.7, noise=noise)
    # words are in whole percent, and what would lie beyond 0 or 1 is cut: both hardly matter at these bounds
    covers(found["averaging"], less_stated=noise**2 * (1 / 4 - 1))
    e = found["averaging"].estimates
    assert e["brier_1"].value - e["brier_4"].value == pytest.approx(0.75 * noise**2, abs=0.006)
    assert e["brier_4"].value - e["brier_limit"].value == pytest.approx(0.25 * noise**2, abs=0.003)
    assert e["brier_1"].value > e["brier_2"].value > e["brier_4"].value > e["brier_limit"].value
    held = found["stated.analyses"]
    covers(held, brier=-0.75 * noise**2, overconfidence=0.0)
    assert held.estimates["brier"].value < 0 and held.p_values["brier"] < 0.5
    assert "nothing changes" in found["logprob.analyses"].verdict, "a probability that is read is no hold's to change"
    assert found["stated.sham"].estimates["brier"].value == 0 and "nothing changes" in found["stated.sham"].verdict
    assert found["stated.sham"].estimates["brier_held"].value == found["stated"].estimates["brier"].value


async def test_what_analyses_have_in_common_stays() -> None:
    found = await found_on(SMALL, "analyses", low=0.3, high=0.75, says_over=0.2)
    assert abs(found["stated.analyses"].estimates["brier"].value) < 1e-3
    assert found["averaging"].estimates["spread"].value == 0
    covers(found["stated.analyses"], overconfidence_held=0.2)


# Not measurable


def reason(found: dict[str, Finding], name: str) -> str:
    assert found[name].regime == "not_measurable", f"{name}: {found[name].verdict}"
    return found[name].reason


async def test_what_bars_a_confidence_is_said() -> None:
    high = await found_on(SMALL, "sham", low=0.99, high=1.0)
    assert "at the ceiling" in reason(high, "logprob") == reason(high, "stated.sham")
    seldom = await found_on(SMALL, mass=0.3)
    assert "median probability of 0.30" in reason(seldom, "logprob") and "0.30" in reason(
        seldom, "recalibrated_logprob"
    )
    unread = await found_on(SMALL, unreadable=0.3)
    assert "state one confidence" in reason(unread, "stated") and "state one" in reason(unread, "contradiction")
    assert "end in a confidence" in reason(unread, "averaging") or "state one" in reason(unread, "averaging")
    assert unread["logprob"].regime == "measured", "what is read is not harmed by what is said"
    few = await found_on(Calibration(CalibrationPreset(12, 2, 2, 4)))
    assert "12 items have a confidence, and 24 must" in reason(few, "logprob")
    assert "exclusive answer" in reason(few, "contradiction") and "2 items have 4 analyses" in reason(few, "averaging")


async def test_who_is_hardly_ever_right_stands_at_the_floor() -> None:
    scored = [
        replace(s, values={**s.values, "right": 0}) if "right" in s.values else s for s in await played(SMALL, "sham")
    ]
    found = {f.name.removeprefix("calibration."): f for f in SMALL.estimate(scored)}
    assert "at the floor" in reason(found, "logprob") and "at the floor" in reason(found, "curve_stated.sham")


async def test_a_half_with_nothing_to_fit_has_no_map() -> None:
    scored = [
        replace(s, values={**s.values, "right": int(s.values["half"] == 1)}) if "right" in s.values else s
        for s in await played(SMALL)
    ]
    found = {f.name.removeprefix("calibration."): f for f in SMALL.estimate(scored)}
    assert "a half has 0 right of 32" in reason(found, "recalibrated_logprob")


def spoken(cell: Cell, answer) -> Scored:
    """A cell played by hand. ``answer``: from an ask to its text and choice."""
    edit = SMALL.edit(cell)
    asks = next(edit)
    while True:
        try:
            got = [(a, *answer(a)) for a in asks]
            asks = edit.send([Answer(t, a.conversation.then(t or "...", "assistant"), c) for a, t, c in got])
        except StopIteration as e:
            return SMALL.score(cell, json.loads(json.dumps(e.value)), hold="none")


def test_missing_drawn_and_tied_choices() -> None:
    cells = {c.condition: c for c in SMALL.cells(preset="smoke", seed=0, hold="none")}
    for condition in ("answer", "analyses"):
        none = spoken(cells[condition], lambda a: ("", None))
        assert (none.unparsable, none.replies) == (1, 1) and "right" not in none.values
    silent = spoken(cells["exclusive"], lambda a: ("", None))
    assert (silent.unparsable, silent.replies) == (4, 4) and "stated" not in silent.values

    def drawn(a):
        choice = Choice(a.options, (0.0, *[-math.inf] * 3), (1.0, 0.0, 0.0, 0.0), 1.0, False) if a.options else None
        return ("80%", choice)

    got = spoken(cells["answer"], drawn)
    assert got.values["exact"] is False and got.values["logprob"] == 1.0 and got.values["stated"] == 0.8
    tied = spoken(cells["answer"], lambda a: ("0.5", Choice.of(a.options, [-1.0] * 4) if a.options else None))
    assert tied.values["logprob"] == 0.25 and tied.unparsable == 0
    half = spoken(
        cells["analyses"],
        lambda a: (
            "60%" if "sentence" not in a.conversation[-1].content else "It fits.",
            Choice.of(a.options, [-1.0, -2, -3, -4]) if a.options else None,
        ),
    )
    assert half.values["stated"] == [0.6] * 4 and half.replies == 5


# The estimators


def drawn_kept(rng: np.random.Generator, n: int, over: float) -> Kept:
    p = rng.uniform(0.3, 0.8, n)
    y = (rng.random(n) < p).astype(float)
    return Kept(tuple(map(str, range(n))), p + over, y, np.arange(n) % 2)


@pytest.mark.parametrize("over", [0.0, pytest.param(0.15, marks=pytest.mark.slow)])
def test_overconfidence_covers_and_its_null_is_flagged_at_their_rates(over: float) -> None:
    runs, rng = 400, np.random.default_rng(stable_seed("test_overconfidence_covers", over))
    covered = flagged = 0
    for i in range(runs):
        e, p = overconfidence(drawn_kept(rng, 64, over), i)
        covered += e.low <= over <= e.high
        flagged += p <= 0.05
    print(
        f"RESULT calibration overconfidence {over}: covers {covered / runs:.3f} of 0.95, flagged {flagged / runs:.3f}"
    )
    assert inside(covered, runs, 0.95)
    assert inside(flagged, runs, 0.05) if over == 0 else flagged > runs / 2
