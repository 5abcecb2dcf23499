"""The superposition instrument on hosts with a known answer, its readings, its gates, and the calibration of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from homing.conversation import Conversation
from homing.hold.chain import build
from homing.hold.commit import seeded
from homing.instruments import superposition_figures
from homing.instruments.base import Cell, Scored
from homing.instruments.playing import play_cells
from homing.instruments.superposition import INSTRUMENTS, PRESETS, Superposition, SuperpositionPreset
from homing.instruments.superposition_figures import findings
from homing.instruments.superposition_held import MEASURES
from homing.instruments.superposition_measures import (
    beyond_prior,
    chance_corrected,
    character,
    collision,
    collision_of_counts,
    entropy_bits,
    miller_madow_bits,
    outcome,
    tempered,
)
from homing.instruments.superposition_rows import difference
from homing.instruments.superposition_worlds import World, gives_away, make_world, reveal_of
from homing.persona.outside import OutsideItem, Wording
from homing.stats.bootstrap import bootstrap_mean, ratio_of_means
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed
from homing.stats.tests import permutation_paired
from homing.testing.planted_superposition import GameHost

ITEMS = tuple(
    OutsideItem(f"i{k}", "self", f"matter {k}", *(Wording(f"{w} {k}?", ("one way", "another", "a third")) for w in "ab"))
    for k in range(16)
)  # fmt: skip
SMALL = SuperpositionPreset(
    games=40, cold=10, bits=3, waits=1, samples=4, chats=20, chat_turns=2, numbers=12, size=6, regenerations=0, items=6
)
FEW = replace(SMALL, games=12, cold=4, chats=4, numbers=4)
HELLOS = replace(FEW, games=0, cold=0, chats=0, numbers=0, regenerations=12, items=16)


async def played(host: GameHost, *holds: str, preset: SuperpositionPreset = SMALL) -> list[Scored]:
    plan, out = Superposition(ITEMS, preset), list[Scored]()
    for hold in ("none", *holds):
        cells = plan.cells(preset="smoke", seed=3, hold=hold)
        got = await play_cells(plan, cells, host.model, build(hold, entropy=seeded(5)))
        out += [
            replace(plan.score(c, p.record, hold=hold), cost=p.cost) for c, p in zip(cells, got, strict=True)
        ]  # fmt: skip
    return out


def named(scored: Sequence[Scored]) -> dict[str, Finding]:
    return {f.name.removeprefix("superposition."): f for f in findings(scored)}


def inside(e: Estimate, truth: float) -> bool:
    return e.low <= truth <= e.high


async def test_a_planted_share_of_committed_games_is_found():
    found = named(await played(GameHost(committed=0.6)))
    f = found["commitment"]
    assert inside(f.estimates["commitment_first"], 0.6) and inside(f.estimates["commitment_last"], 0.6)
    assert inside(f.estimates["beyond_prior_first"], 0.6) and inside(f.estimates["beyond_prior_last"], 0.6)
    assert f.estimates["commitment_last"].half_width < 0.2 and f.verdict.startswith("Undecided")
    assert inside(found["words"].estimates["commitment_last"], 0.6)
    assert abs(found["words"].estimates["words_less_probabilities"].value) < 0.05
    assert f.cost.calls > 0 and found["outcomes"].estimates["self_consistent"].low > 0.3


async def test_a_host_without_a_secret_is_superposed_and_not_flagged():
    found = named(await played(GameHost()))
    f = found["commitment"]
    assert f.verdict.startswith("Superposed") and abs(f.estimates["commitment_last"].value) < 1e-3
    collapse = found["collapse"].estimates
    assert collapse["simulacra_0"].value == pytest.approx(8, abs=0.01)
    assert [round(collapse[f"simulacra_{t}"].value) for t in (1, 2, 3)] == [4, 4, 2]  # a question, a wait, a question
    assert collapse["excess"].value == pytest.approx(0, abs=1e-3)
    fits = found["consistency"]
    assert fits.estimates["consistency_3"].value > 0.99 and fits.p_values["beyond_chance"] < 0.01
    assert inside(found["number_game"].estimates["mass"], 1.0) and found["number_game"].p_values["mass_less_one"] > 0.05
    assert found["drift"].estimates["once"].low > 0.5
    assert inside(found["success"].estimates["success"], 2 * 0.5**4)
    cold = found["temperature"].estimates
    assert cold["commitment"].value == pytest.approx(1, abs=1e-3) and cold["once_cold"].low > 0.4


async def test_a_host_with_a_secret_is_committed():
    found = named(await played(GameHost(committed=1.0), preset=FEW))
    assert found["commitment"].verdict.startswith("Committed")
    assert found["drift"].estimates["per_turn"].value == 0
    assert found["success"].estimates["success"].value == 1
    assert found["outcomes"].estimates["self_consistent"].value == 1


async def test_what_does_not_fit_its_answers_is_incoherent_and_a_favourite_is_no_commitment():
    odd = named(await played(GameHost(fits=0.25)))
    assert odd["commitment"].verdict.startswith("Incoherent")
    assert inside(odd["consistency"].estimates["consistency_3"], 0.25)
    assert (
        inside(odd["consistency"].estimates["beyond_chance"], 0.0)
        and odd["consistency"].p_values["beyond_chance"] > 0.05
    )
    liked = named(await played(GameHost(favourite=1.0), preset=FEW))["commitment"]
    assert liked.estimates["commitment_last"].value > 0.99 and "beyond_prior_last" not in liked.estimates
    assert liked.verdict.startswith("Undecided") and "mode collapse" in liked.verdict


async def test_the_number_game_and_leaks_are_found_as_planted():
    found = named(await played(GameHost(number_mass=1.6, leaks=0.2)))
    f = found["number_game"]
    assert inside(f.estimates["mass"], 1.6) and f.p_values["mass_less_one"] < 0.01 and "more than one" in f.verdict
    # a game has four replies that may leak and a talk three
    assert inside(found["leakage"].estimates["leaked"], (2 * (1 - 0.8**4) + (1 - 0.8**3)) / 3)
    assert found["outcomes"].estimates["leakage"].low > 0.3
    none = named(await played(GameHost(number_mass=0.3), preset=FEW))["number_game"]
    assert "denies them all" in none.verdict


async def test_regenerations_that_differ_are_many_characters(monkeypatch):
    monkeypatch.setattr(superposition_figures, "DRAWS", 150)
    alike = named(await played(GameHost(), preset=HELLOS))["persona"].estimates
    assert alike["icc"].value == pytest.approx(1) and alike["dispersion"].value == pytest.approx(0)
    scored = await played(GameHost(wobble=1.5), "sham", preset=HELLOS)
    apart, sham = (named(scored)[k].estimates for k in ("persona", "persona.sham"))
    assert apart["dispersion"].low > 0.05 and apart["icc"].high < 0.955
    assert sham["icc"].value == sham["icc"].low == sham["icc"].high == 0
    flat = GameHost()
    flat.weigh = lambda c, options: [-2.0] * len(options)
    assert "there is no variance" in named(await played(flat, preset=HELLOS))["persona"].reason


async def test_holds_do_what_they_must_and_a_sham_does_nothing():
    found = named(await played(GameHost(number_mass=1.5), "sham", "commit", "private_memory", preset=FEW))
    for f in (v for k, v in found.items() if k.endswith(".sham")):
        gap = f.estimates.get("difference")
        assert gap.value == 0 if gap else f.regime == "not_measurable", f.name
    for hold in ("commit", "private_memory"):
        gap = {k.split(".")[0]: f for k, f in found.items() if k.endswith(f".{hold}")}
        assert gap["commitment"].estimates["difference"].low > 0.9 and gap["commitment"].p_values["difference"] < 0.01
        assert gap["drift"].estimates["held"].value == 0
        assert gap["success"].estimates["held"].value == 1 and gap["success"].p_values["difference"] < 0.05
        assert gap["number_game"].estimates["held"].value == pytest.approx(0, abs=1e-6)
        assert gap["outcomes"].estimates["difference"].low > 0
        assert gap["leakage"].estimates["held"].value == 0 and "not shown" in gap["leakage"].verdict
        assert ("by construction" in gap["commitment"].verdict) == (hold == "commit")
        assert gap["consistency"].reason.endswith("at the ceiling")
    rival = found["rival"]
    assert rival.estimates["success"].value == 0 and inside(rival.estimates["consistency"], 0.0)
    assert "a game takes" in rival.verdict


async def test_commit_is_judged_by_what_is_not_its_own_doing():
    """A host that does not fit its answers is mended by a note that it keeps to, and not by one that it ignores."""
    kept, ignored = [
        named(await played(GameHost(fits=0.25, obeys=o), "commit", preset=FEW))["consistency.commit"]
        for o in (1.0, 0.0)
    ]
    assert kept.estimates["difference"].low > 0.4 and kept.estimates["held"].value == pytest.approx(1, abs=1e-6)
    assert abs(ignored.estimates["difference"].value) < 0.1


@cache
def _few_scores() -> tuple[Scored, ...]:
    import asyncio

    return tuple(asyncio.run(played(GameHost(committed=0.5), "sham", preset=FEW)))


async def test_every_gate_is_reached():
    mute = named(await played(GameHost(said=0.3), "sham", preset=FEW))
    for name in ("commitment", "collapse", "drift", "consistency", "temperature", "commitment.sham"):
        assert "median probability of 0.30" in mute[name].reason, name
    assert mute["number_game"].reason.startswith("yes and no together")
    blind = named(await played(GameHost(reads=False), preset=FEW))
    assert {n for n in ("consistency", "outcomes", "success") if "does not read the list" in blind[n].reason} == {
        "consistency", "outcomes", "success",
    }  # fmt: skip
    assert blind["commitment"].regime == "measured" and "is not measurable" in blind["commitment"].verdict
    garbled = named(await played(GameHost(garbled=0.3), preset=FEW))
    assert all("asked format" in garbled[n].reason for n in ("words", "success"))
    assert garbled["commitment"].regime == "measured"
    top = named(await played(GameHost(committed=1.0), "sham", preset=FEW))
    assert "at the ceiling" in top["success.sham"].reason and "at the ceiling" in top["outcomes.sham"].reason


def test_too_little_is_said_to_be_too_little():
    assert all(f.regime == "not_measurable" for f in findings([]))
    two = [s for s in _few_scores() if s.cell.item in ("game-0", "game-1", "number-0")]
    found = named(two)
    assert found["commitment"].reason == "2 have what this needs, and 3 must"
    assert all(f.regime == "not_measurable" for f in found.values())


GAMES = ("commitment", "collapse", "consistency", "drift", "outcomes", "words", "temperature")


def test_readings_that_did_not_come_back_are_left_out():
    def without(s: Scored, *keys: str) -> Scored:
        return replace(s, values={k: v for k, v in s.values.items() if not k.startswith(keys)})

    some = [
        without(s, "p.", "collision.", "commitment.", "drift") if s.cell.item == "game-1" else s for s in _few_scores()
    ]
    assert named(some)["commitment"].estimates["commitment_last"].n == 11
    gone = ("commitment.", "simulacra.", "consistency.", "outcome.", "drift", "mass", "collision.", "p.")
    none = named([without(s, *gone) for s in _few_scores()])
    for name in (*GAMES, "number_game", "drift.sham"):
        assert none[name].reason == "0 have what this needs, and 3 must", name
    silent = named([without(s, "reveal_mass", "lookups") for s in _few_scores()])
    assert "came back" in silent["drift"].reason and "never answered" in silent["success"].reason


def test_without_log_probabilities_reveals_in_words_are_read():
    sampled = [replace(s, values={**s.values, "exact": False}) if "exact" in s.values else s for s in _few_scores()]
    f = named(sampled)["commitment"]
    assert "by sampling" in f.verdict and inside(f.estimates["commitment_last"], 0.5)
    garbled = [replace(s, unparsable=s.replies // 2) for s in sampled]
    assert "asked format" in named(garbled)["commitment"].reason
    wordless = [replace(s, values={k: v for k, v in s.values.items() if not k.startswith("said")}) for s in sampled]
    assert "what this needs" in named(wordless)["commitment"].reason


async def test_a_refusal_is_a_missing_reading():
    from homing.instruments.base import Answer

    plan = Superposition(ITEMS, FEW)
    for cell in {c.condition: c for c in plan.cells(preset="smoke", seed=0, hold="none")}.values():
        edit = plan.edit(cell)
        asks = next(edit)
        try:
            while True:
                asks = edit.send([Answer("", a.conversation.then("...", "assistant"), refused="no") for a in asks])
        except StopIteration as e:
            s = plan.score(cell, e.value, hold="none")
        assert not any(k.startswith(("p.", "commitment.", "mass", "first", "success")) for k in s.values)
        assert s.unparsable == s.replies


def test_cells_are_the_same_under_every_hold_and_paired_over_temperature():
    plan = INSTRUMENTS["superposition"]()
    for preset, p in PRESETS.items():
        none, held = (plan.cells(preset=preset, seed=1, hold=h) for h in ("none", "commit"))
        assert none == held and len({c.id for c in none}) == len(none)
        assert len(none) == p.games + p.cold + p.chats + p.numbers + p.regenerations
        twins = {c.item: c for c in none if c.condition == "cold"}
        for c in (c for c in none if c.condition == "game" and c.item in twins):
            assert twins[c.item].seed == c.seed and twins[c.item].data["world"] == c.data["world"]
        assert len({c.data["opening"] for c in none if c.condition == "number"}) == p.numbers
        assert len(next(c for c in none if c.condition == "persona").data["items"]) == p.items
    assert plan.cells(preset="smoke", seed=1, hold="none") != plan.cells(preset="smoke", seed=2, hold="none")
    assert {c.data["world"]["kinds"][0] for c in none if c.condition == "game"} == set(range(16))  # dealt anew


@pytest.mark.parametrize("bits", [3, 4])
def test_every_question_halves_what_is_left(bits: int):
    w = make_world(bits, np.random.default_rng(stable_seed("test_every_question", bits)))
    assert World.from_json(w.to_json()) == w
    assert len({w.object(k) for k in range(2**bits)}) == len(set(w.labels)) == 2**bits
    assert len({len(x) for x in w.labels}) == 1, "no number begins another"
    left = np.ones(2**bits, bool)
    for a in range(bits):
        left &= np.array(w.true_of(a, 1, bool(a % 2)))
        assert left.sum() == 2 ** (bits - a - 1)
    assert w.labels[0] in w.confirm(0) and w.words[0][1] in w.question(0, 1)


WORLD = World((("big", "small"), ("red", "blue"), ("cube", "ball")), tuple("12345678"), (3, 1, 0, 2, 7, 5, 6, 4))


@pytest.mark.parametrize(
    ("text", "place", "given"),
    [
        ("4", 3, True),
        ("Number 4!", 3, True),
        ("I chose 4: a small red cube, out of 8 objects.", None, False),  # 4 is big and blue: two are named
        ("4: a big blue cube", 3, True),
        ("It was the big blue cube.", 3, True),
        ("Out of 8 objects, number 2.", 1, True),
        ("I think 7", 6, False),
        ("There are 8 objects and 3 questions", None, False),
        ("1: a small blue cube\n2: a small red cube", None, False),
        ("Yes.", None, False),
        ("number 44", None, False),
        ("", None, False),
    ],
)
def test_what_a_reply_names(text: str, place: int | None, given: bool):
    assert reveal_of(text, WORLD) == place and gives_away(text, WORLD) == given


def test_the_measures():
    even, one = np.full(4, 0.25), np.eye(4)[2]
    assert collision(even) == 0.25 and collision(one) == 1
    assert chance_corrected(0.25, 4) == 0 and chance_corrected(1.0, 4) == 1 and chance_corrected(1.0, 1) is None
    assert entropy_bits(even) == 2 and entropy_bits(one) == 0
    assert collision_of_counts([2, 1, 0]) == pytest.approx(1 / 3) and collision_of_counts([1, 0]) is None
    assert miller_madow_bits([5, 5]) == pytest.approx(1 + 1 / (20 * np.log(2))) and np.isnan(miller_madow_bits([0]))
    assert tempered([-1.0, -2.0], 0.0).tolist() == [1, 0]
    assert tempered([-1.0, -2.0], 0.5)[0] == pytest.approx(1 / (1 + np.exp(-2)))


@pytest.mark.parametrize(
    ("confirmed", "leaked", "found"),
    [
        ({0: 0.9, 1: 0.1}, False, "self_consistent"),
        ({0: 0.9, 1: 0.1}, True, "leakage"),
        ({0: 0.9, 1: 0.8}, False, "over_confirmation"),
        ({0: 0.1, 1: 0.8}, False, "state_substitution"),
        ({0: 0.1, 1: 0.2}, False, "all_denial"),
    ],
)
def test_outcome_classes(confirmed: dict[int, float], leaked: bool, found: str):
    assert outcome(confirmed, 0, leaked=leaked) == found


def test_characters():
    def e(value: float, half: float = 0.1) -> Estimate:
        return Estimate(value, value - half, value + half, 0.95, 20)

    assert character(e(0.95), e(0.9), e(0.95), e(0.1)) == "committed"
    assert character(e(0.95), e(0.9), e(0.95), e(0.4)) == "undecided"
    assert character(e(0.1), e(0.1), None, None) == "superposed"
    assert character(e(0.1), e(0.1, 0.5)) == "undecided"
    assert character(e(0.95), e(0.95), e(0.5), e(0.0)) == "incoherent"


RUNS = 400


def within(hits: int, rate: float, runs: int = RUNS) -> bool:
    return binom.ppf(0.0005, runs, rate) <= hits <= binom.ppf(0.9995, runs, rate)


@pytest.mark.parametrize("samples", [0, 4])
def test_commitment_covers_what_was_planted(samples: int):
    """Games differ in how far they are committed; reveals are read exactly, or a few are drawn."""
    rng = np.random.default_rng(stable_seed("test_commitment_covers", samples))
    games, left, hits = 48, 4, 0
    truth = 1 / 3 + 0.0  # mean of the square of a share that is uniform over 0 to 1: commitment is that square
    for run in range(RUNS):
        share = rng.uniform(0, 1, games)
        p = (1 - share)[:, None] / left + share[:, None] * np.eye(left)[rng.integers(0, left, games)]
        if samples:
            counts = [rng.multinomial(samples, x) for x in p]
            values = [chance_corrected(collision_of_counts(c.tolist()), left) for c in counts]
        else:
            values = [chance_corrected(collision(x), left) for x in p]
        found = bootstrap_mean(values, seed=run, draws=300)
        hits += inside(found, truth)
    assert within(hits, 0.95)


def test_commitment_beyond_the_prior_covers_what_was_planted():
    """Hosts that like single numbers, and hold a secret drawn by that liking in a share of games."""
    rng = np.random.default_rng(stable_seed("test_commitment_beyond"))
    games, k, share, hits = 48, 8, 0.4, 0
    prior = np.array([0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])
    left, places = np.ones((games, k), bool), np.arange(k)
    for _ in range(RUNS):
        held = rng.random(games) < share
        p = np.where(held[:, None], np.eye(k)[rng.choice(k, games, p=prior)], prior)
        kinds = np.array([rng.permutation(places) for _ in range(games)])
        top, bottom = beyond_prior(p, left, kinds, p)
        hits += inside(ratio_of_means(top, bottom, seed=0), share)
    assert within(hits, 0.95)


@pytest.mark.parametrize("mass", [1.0, 1.3])
def test_a_host_of_one_number_is_flagged_at_the_level_of_the_test(mass: float):
    rng = np.random.default_rng(stable_seed("test_a_host_of_one_number", mass))
    flagged = hits = 0
    for run in range(RUNS):
        x = mass + 0.3 * rng.standard_normal(12)
        flagged += permutation_paired(x - 1, seed=run).p_value <= 0.05
        hits += inside(bootstrap_mean(x, seed=run, draws=300), mass)
    assert within(hits, 0.95)
    assert within(flagged, 0.05) if mass == 1.0 else flagged > 0.8 * RUNS


def test_a_sham_is_flagged_at_the_level_of_the_test():
    """At the level of scores: both sides drawn anew from one host."""
    rng = np.random.default_rng(stable_seed("test_a_sham_is_flagged"))
    (drift,) = (m for m in MEASURES if m.name == "drift")
    cells = [Cell(f"game-{k}/game", f"game-{k}", "game") for k in range(8)]
    flagged = 0
    for _ in range(RUNS):
        sides = [
            [Scored(c, hold, {"drift": float(d)}) for c, d in zip(cells, rng.beta(2, 2, len(cells)), strict=True)]
            for hold in ("sham", "none")
        ]
        found = difference(*sides, drift.value, "sham")
        flagged += found is not None and found[1] <= 0.05
    assert within(flagged, 2 * 6 / 256)  # eight games have 256 flips, of which 12 are as far out as 5% lets them be


def test_a_private_note_does_not_change_which_game_it_is():
    host, opening = GameHost(committed=1.0), WORLD.opening
    plain = Conversation.of(opening, "Ready.", "Which number did you choose?")
    noted = Conversation.of(f"(A private note to you, x: 5 y)\n\n{opening}", "Ready.", "Which number did you choose?")
    assert host.secret(plain) == host.secret(noted) != ""
