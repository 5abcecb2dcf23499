"""Contexts with a known answer, read back: cosines without noise, one direction, planes and pieces; and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.concept import ConceptReport, judge_concept
from homing.fracture.concept_contexts import Context, Contexts, Units
from homing.fracture.concept_cosine import by_halves, corrected, cosines, split_half
from homing.fracture.concept_one import first_share, one_dimension
from homing.fracture.concept_plants import plant
from homing.fracture.concept_transfer import mahalanobis, transfer
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

SMALL = {"hidden": 64, "trace": 6.0, "decay": 0.65}


def judged(truth, *, n=64, seed=0, **more) -> ConceptReport:
    return judge_concept(plant(truth, n=n, seed=seed, **{**SMALL, **more}), seed=seed, draws=100, simulations=200)


def verdicts(truth, runs, **more) -> Counter[str]:
    return Counter(judged(truth, seed=s, **more).verdict for s in range(runs))


def context(name: str, rng: np.random.Generator, n: int = 20, hidden: int = 5, **more) -> Context:
    return Context(name, rng.standard_normal((n, hidden)) + 1, rng.standard_normal((n, hidden)), **more)


def test_products_without_noise_are_the_mean_over_all_halves():
    """Half of one context's prompts times the other half of another's: the closed form is what many splits come to."""
    rng = np.random.default_rng(0)
    labels = [f"i{k}" for k in range(20)]
    made = [
        context(n, rng, positive_clusters=labels, negative_clusters=labels) for n in "ab"
    ]  # one set of items throughout
    units = Units.of(Contexts(tuple(made)))
    clean = units.products(np.ones((1, len(units.at))))[1][0]
    total = np.zeros((2, 2))
    for _ in range(1500):
        a, b = (units.directions(rows) for rows in units.halves(rng))
        total += (a @ b.T + b @ a.T) / 2
    np.testing.assert_allclose(clean, total / 1500, atol=0.05)
    plain = units.products(np.ones((1, len(units.at))))[0][0]
    d = units.directions()
    np.testing.assert_allclose(plain, d @ d.T, atol=1e-12)


def test_prompts_that_contexts_share_do_not_make_them_alike():
    """Two formats of the same items with nothing in common but the items: the raw cosine is high, the corrected one 0."""
    rng, labels = np.random.default_rng(1), [str(i) for i in range(64)]
    raw, truth = [], []
    for _ in range(100):
        item, sides = rng.standard_normal((2, 64, 32)), np.eye(32)[:2] * 2
        made = [
            Context(f"format {g}", item[0] + sides[g] + rng.standard_normal((64, 32)) * 0.1, item[1], labels, labels)
            for g in (0, 1)
        ]
        units = Units.of(Contexts(tuple(made)))
        plain, clean = (p[0] for p in units.products(np.ones((1, 64))))
        raw.append(plain[0, 1] / np.sqrt(plain[0, 0] * plain[1, 1]))
        truth.append(corrected(clean)[0, 1])
    assert np.mean(raw) > 0.15
    assert abs(np.mean(truth)) < 0.06


@pytest.mark.parametrize("truth", [0.0, 0.5, 0.8, 1.0])
def test_the_corrected_cosine_is_the_true_one_and_the_raw_is_not(truth):
    """C1 at a smaller size; the full size is in benchmarks/concept.py."""
    seeds = [stable_seed("concept cosine", truth, s) for s in range(20)]
    found = [cosines(Units.of(plant("cosine", n=64, seed=s, cosine=truth, **SMALL)), seed=s, draws=100) for s in seeds]
    up = np.triu_indices(4, 1)
    assert abs(np.mean([f.truth[up].mean() for f in found]) - truth) <= 0.05
    assert np.mean([f.raw[up].mean() for f in found]) <= 0.9 * truth + 0.02
    covered = [e.low <= truth <= e.high for f in found for e in (f.pair(0, 1), f.pair(2, 3))]
    assert np.mean(covered) >= 0.8


def test_the_closed_form_agrees_with_split_halves():
    units = Units.of(plant("cosine", n=128, seed=3, cosine=0.8, **SMALL))
    found = cosines(units, seed=0, draws=100)
    assert by_halves(found.raw[0, 1], *found.half[:2]) == pytest.approx(found.truth[0, 1], abs=0.03)
    np.testing.assert_allclose(2 * found.half / (1 + found.half), found.reliability, atol=0.03)
    with pytest.raises(InputError, match="give at least 8"):
        split_half(units, seed=0, splits=4)


def test_one_direction_is_what_simulations_of_one_direction_look_like():
    """p-values of one direction are no smaller than chance makes them, and those of two are small."""
    p = {}
    for truth in (1.0, 0.5):
        p[truth] = []
        for s in range(24):
            units = Units.of(plant("cosine", n=48, seed=s, cosine=truth, **SMALL))
            p[truth].append(one_dimension(units, cosines(units, seed=s, draws=100), seed=s, simulations=200).p_value)
    assert np.mean(np.array(p[1.0]) <= 0.05) <= 0.2
    assert 0.3 <= np.mean(p[1.0]) <= 0.7
    assert np.mean(np.array(p[0.5]) <= 0.01) >= 0.9


def test_the_first_share_of_known_cosines():
    assert first_share(np.ones((4, 4))) == pytest.approx(1)
    assert first_share(np.eye(4)) == pytest.approx(0.25)
    assert np.isnan(first_share(np.full((2, 2), np.nan)))


@pytest.mark.parametrize("n", [16, 64])
def test_one_direction_is_not_called_fractured(n):
    """C2 at a smaller size, with the raw cosine under 0.8 in every run."""
    said = verdicts("cosine", 12, n=n, trace=16.0)
    assert said["fractured"] + said["multi-dimensional"] <= 1, said
    raw = [
        cosines(Units.of(plant("cosine", n=n, seed=s, **{**SMALL, "trace": 16.0})), seed=s, draws=100).raw
        for s in range(4)
    ]
    assert max(r[np.triu_indices(4, 1)].mean() for r in raw) < 0.8


def test_pieces_are_called_fractured():
    """C3 at a smaller size; and two groups of contexts, which two dimensions hold, are pieces all the same."""
    assert verdicts("cosine", 6, cosine=0.5)["fractured"] >= 5
    assert verdicts("groups", 4, cosine=0.0)["fractured"] >= 3


def test_a_class_that_varies_more_is_no_second_dimension():
    """Pieces stay pieces and one direction one, though negatives have three times the noise, in directions of their own."""
    more = {"unequal": 3.0, "trace": 4.0}
    assert verdicts("cosine", 4, cosine=0.3, **more)["fractured"] >= 3
    said = verdicts("cosine", 4, **more)
    assert said["one direction"] + said["inconclusive"] >= 4, said


@pytest.mark.parametrize("truth", ["polarity", "circle"])
def test_two_dimensions_in_every_context_are_not_pieces(truth):
    """C4 at a smaller size."""
    assert verdicts(truth, 6)["multi-dimensional"] >= 5


def test_items_that_vary_alike_in_every_context_are_two_dimensions_though_contexts_agree():
    said = verdicts("polarity", 4, mix=(0.5, 0.5), n=96)
    assert said["multi-dimensional"] >= 3, said


def test_enough_prompts_show_one_direction():
    report = judged("cosine", n=128)
    assert report.verdict == "one direction", report.reasons
    assert report.figures["cosine"].low >= 0.8
    assert report.finding("concept.questions").verdict.startswith("one direction: ")


def test_without_a_direction_nothing_is_said():
    """No class differs from the other: refused, with the contexts by name."""
    rng = np.random.default_rng(0)
    made = [Context(f"c{g}", *rng.standard_normal((2, 40, 64))) for g in range(4)]
    report = judge_concept(Contexts(tuple(made)), seed=0)
    assert report.verdict == "refused" and "c0" in report.reasons[0]
    assert report.finding("concept.x").regime == "not_measurable"
    assert not report.figures and set(report.reliability) == {"c0", "c1", "c2", "c3"}


def test_transfer_loses_nothing_between_contexts_of_one_direction_and_all_between_unrelated():
    lost, own = {}, {}
    for truth in (1.0, 0.0):
        found = [transfer(Units.of(plant("cosine", n=64, seed=s, cosine=truth, **SMALL)), seed=s) for s in range(6)]
        lost[truth], own[truth] = np.mean([f.mean.value for f in found]), np.mean([f.own.value for f in found])
    assert abs(lost[1.0]) <= 0.02
    assert lost[0.0] == pytest.approx(own[0.0] - 0.5, abs=0.06)


def test_transfer_is_high_though_directions_differ():
    """At half the cosine most of the AUROC is kept: it is no evidence of one direction."""
    found = transfer(Units.of(plant("cosine", n=256, seed=0, cosine=0.5, **{**SMALL, "trace": 3.0})), seed=0)
    assert found.auroc[0, 1] > 0.85


def test_the_metric_of_the_target_is_the_plain_cosine_where_noise_is_the_same_in_all_directions():
    units = Units.of(plant("cosine", n=256, seed=0, cosine=0.8, hidden=16, trace=0.5, decay=0.0))
    e = mahalanobis(units, seed=0)[0][1]
    assert e.value == pytest.approx(0.8, abs=0.06) and e.low < e.value < e.high


def test_nothing_depends_on_scale_place_order_or_basis():
    base = plant("cosine", n=32, seed=5, cosine=0.5, hidden=24, trace=4.0)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((24, 24)))[0]
    moved = Contexts(
        tuple(Context(c.name, 3 * c.positive @ turn + 7, 3 * c.negative @ turn + 7) for c in base.contexts)
    )
    a, b = (cosines(Units.of(c), seed=0, draws=100) for c in (base, moved))
    np.testing.assert_allclose(a.truth, b.truth, atol=1e-9)
    np.testing.assert_allclose(a.raw, b.raw, atol=1e-9)
    back = cosines(Units.of(Contexts(base.contexts[::-1])), seed=0, draws=100)
    np.testing.assert_allclose(back.truth, a.truth[::-1, ::-1], atol=1e-9)


def test_a_report_is_strict_json_and_every_figure_an_estimate():
    report = judged("cosine", n=32, cosine=0.5)
    assert all(isinstance(e, Estimate) for e in report.figures.values())
    raw = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert raw["verdict"] == report.verdict and len(raw["pairs"]) == 6
    assert Estimate.from_json(raw["figures"]["cosine"]).value == pytest.approx(report.figures["cosine"].value)
    again = judged("cosine", n=32, cosine=0.5)
    assert again.to_json() == report.to_json()


def test_what_cannot_be_used_is_refused_in_one_sentence():
    rng = np.random.default_rng(0)
    good = context("a", rng)
    with pytest.raises(InputError, match=r"1 contexts; .* at least two"):
        Contexts((good,))
    with pytest.raises(InputError, match="a name of its own"):
        Contexts((good, good))
    with pytest.raises(InputError, match="different hidden sizes"):
        Contexts((good, context("b", rng, hidden=6)))
    with pytest.raises(InputError, match="15 independent prompts; at least 16"):
        context("b", rng, n=15)
    with pytest.raises(InputError, match="10 independent prompts"):
        context("b", rng, negative_clusters=[i // 2 for i in range(20)])
    with pytest.raises(InputError, match="19 cluster labels for 20"):
        context("b", rng, positive_clusters=range(19))
    bad = rng.standard_normal((20, 5))
    bad[3, 1] = np.nan
    with pytest.raises(InputError, match="1 of 20 vectors are not finite"):
        Context("b", bad, bad)
    with pytest.raises(InputError, match="every feature is constant"):
        Context("b", np.ones((20, 5)), good.negative)
    with pytest.raises(InputError, match=r"shape \(20,\)"):
        Context("b", np.ones(20), good.negative)
    with pytest.raises(InputError, match="give 0 to 1"):
        plant("cosine", n=16, seed=0, cosine=1.5)


def test_replies_of_one_prompt_count_as_one():
    """Ten copies of every vector are no more prompts, and change nothing."""
    rng = np.random.default_rng(2)
    made, many = [], []
    for name in "abcd":
        c = context(name, rng, n=24)
        tags = [f"{name}{i}" for i in range(24)]
        made.append(Context(name, c.positive, c.negative, tags, tags))
        many.append(
            Context(name, *(np.repeat(x, 10, axis=0) for x in (c.positive, c.negative)), *[np.repeat(tags, 10)] * 2)
        )
    a, b = (cosines(Units.of(Contexts(tuple(x))), seed=0, draws=100) for x in (made, many))
    np.testing.assert_allclose(a.truth, b.truth, atol=1e-9)
    assert a.least == b.least == 24
