"""The card on planted persona spaces: where the answer is known, and where nothing is there."""

from __future__ import annotations

import numpy as np
import pytest

from homing.persona.card import measure, most_telling, select_layer, tuning_rows
from homing.persona.space import cross_scores, discriminant_cosines, fit_axis, random_splits, split_cosines
from homing.stats.estimate import Estimate
from tests.persona.planted import planted_replies


def test_axis_recovers_the_planted_direction() -> None:
    replies, v = planted_replies(gap=6.0)
    axis = fit_axis(replies, read_layer=0)
    assert float(axis.vectors[0] @ v) > 0.9


@pytest.mark.parametrize("gap", [3.0, 6.0])
def test_new_replies_read_as_the_marks_say(gap) -> None:
    """In many dimensions a fit leans far towards its own noise: its own home reads too high, a new one as it should."""
    replies, v = planted_replies(gap=gap, hidden=200, blocks=8, roles=64, prompts=16, seed=4)
    axis = fit_axis(replies, read_layer=0)
    reader = axis.reader
    truth = np.stack([np.full(200, 5.0), 5.0 + gap * v])
    role, home = reader.positions(truth @ reader.vector)
    own = reader.positions(replies.means[replies.home][:, 0] @ reader.vector).mean()
    own_role = reader.positions(replies.means[~replies.home][:, 0] @ reader.vector).mean()
    assert own - own_role > 1.2  # what the fit thinks of its own replies
    assert home - role == pytest.approx(1.0, abs=0.12)
    along = (truth @ axis.vectors[0] - axis.zero[0]) / axis.unit[0]
    assert along[1] - along[0] == pytest.approx(1.0, abs=0.12)


def test_the_reader_tells_single_replies_better_where_noise_has_a_shape() -> None:
    """Replies scatter most along one direction that is no part of the axis' truth: the reader looks past it."""
    from homing.persona.card_beside import auroc

    replies, v = planted_replies(gap=3.0, noise_sd=1.5, blocks=8, roles=64, prompts=16, seed=1)
    rng = np.random.default_rng(1)
    loud = rng.standard_normal(32)
    loud -= (loud @ v) * v
    loud = loud / np.linalg.norm(loud) + 0.6 * v
    replies.means[:, 0] += 8 * rng.standard_normal((len(replies), 1)) * loud
    scores = cross_scores(replies, 0, seed=0)
    assert auroc(scores.reader, replies.home) > auroc(scores.axis, replies.home) + 0.05
    null, _ = planted_replies(gap=0.0, blocks=8, roles=64, prompts=16, seed=1)
    assert abs(auroc(cross_scores(null, 0, seed=0).reader, null.home) - 0.5) < 0.12


def test_where_nothing_is_planted_there_is_still_a_scale() -> None:
    for seed in range(4):
        null, _ = planted_replies(gap=0.0, blocks=8, roles=64, prompts=16, seed=seed)
        axis = fit_axis(null, read_layer=0)
        assert axis.reader.unit > 0 and axis.unit[0] > 0


def test_halves_share_nothing() -> None:
    replies, _ = planted_replies()
    for s in random_splits(replies, 20, seed=1) + random_splits(replies, 20, seed=1, bootstrap=True):
        for weights in (s.roles, s.questions, s.prompts):
            assert not ((weights[0] > 0) & (weights[1] > 0)).any()


def test_blocks_cut_into_halves_that_share_nothing_and_lose_no_reply() -> None:
    replies, _ = planted_replies(blocks=8, questions=48, roles=48, prompts=16)
    tune = tuning_rows(replies, seed=0)
    for column in (replies.role[~replies.home & tune], replies.question[tune], replies.block[tune]):
        assert len(column)
    for name in ("question", "block"):
        assert not set(getattr(replies, name)[tune]) & set(getattr(replies, name)[~tune])
    assert not set(replies.prompt[tune & replies.home]) & set(replies.prompt[~tune & replies.home])
    for s in random_splits(replies, 20, seed=1):
        for weights in (s.roles, s.questions, s.prompts):
            assert ((weights > 0).sum(axis=0) == 1).all()
        own = (
            np.where(replies.home, s.prompts[:, replies.prompt], s.roles[:, replies.role])
            * s.questions[:, replies.question]
        )
        assert (own.sum(axis=0) == 1).all()  # every reply stands in one half
    for s in random_splits(replies, 20, seed=1, bootstrap=True):
        for weights in (s.roles, s.questions, s.prompts):
            assert not ((weights[0] > 0) & (weights[1] > 0)).any()


def test_blocks_find_the_same_axis_with_half_the_noise() -> None:
    """The same number of replies: crossed halves use a quarter of them each, halves of blocks use a half."""
    raw = []
    for blocks in (1, 8):
        values = [
            np.median(split_cosines(r, random_splits(r, 30, seed=0)))
            for r, _ in (planted_replies(blocks=blocks, questions=48, prompts=16, seed=k) for k in range(6))
        ]
        raw.append(float(np.mean(values)))
    crossed, blocked = (1 / c - 1 for c in raw)
    assert blocked < 0.7 * crossed
    null = [
        np.median(split_cosines(r, random_splits(r, 30, seed=0)))
        for r, _ in (planted_replies(gap=0.0, blocks=8, questions=48, prompts=16, seed=k) for k in range(6))
    ]
    assert abs(float(np.mean(null))) < 0.15


def test_split_half_is_high_where_planted_and_near_zero_where_not() -> None:
    planted, _ = planted_replies(gap=6.0)
    null, _ = planted_replies(gap=0.0)
    assert np.median(split_cosines(planted, random_splits(planted, 50, seed=0))) > 0.8
    assert abs(np.median(split_cosines(null, random_splits(null, 50, seed=0)))) < 0.3


def test_scores_are_held_out() -> None:
    null, _ = planted_replies(gap=0.0, seed=3)
    scores = cross_scores(null, 0, seed=0)
    from homing.persona.card_beside import auroc

    for of in (scores.axis, scores.reader, scores.linear):
        assert abs(auroc(of, null.home) - 0.5) < 0.12


def test_card_says_what_was_planted_and_predicts_its_ownauroc() -> None:
    replies, _ = planted_replies(gap=5.0, layers=2)
    tune = tuning_rows(replies, seed=0)
    selection = select_layer(replies, tune, seed=0)
    card = measure(replies, selection, tune, seed=0, draws=120)

    def of(name: str):
        return card[name].estimates["value"]

    assert of("axis.split_half").value > of("axis.split_half_raw").value > 0.6
    assert of("axis.auroc_predicted_one").low <= of("axis.auroc_one").value <= of("axis.auroc_predicted_one").high
    assert of("axis.auroc_predicted_three").low <= of("axis.auroc_three").value <= of("axis.auroc_predicted_three").high
    assert of("axis.auroc_one").value < of("axis.auroc_three").value <= of("axis.auroc_ceiling").value + 0.02
    assert of("axis.auroc_one").value > of("axis.auroc_linear").value - 0.03
    assert of("axis.auroc_one").value > of("control.auroc_random").high
    assert "refused" not in card["axis.home_percentile"].verdict


def test_card_refuses_an_extreme_home_where_home_is_middling() -> None:
    replies, _ = planted_replies(gap=0.0, seed=5)
    tune = tuning_rows(replies, seed=0)
    card = measure(replies, select_layer(replies, tune, seed=0), tune, seed=0, draws=80)
    assert "refused" in card["axis.home_percentile"].verdict
    assert card["axis.split_half_raw"].estimates["value"].low < 0.2
    assert abs(card["confound.length_auroc"].estimates["value"].value - 0.5) < 0.15


def test_a_share_of_what_is_all_noise_is_not_measured() -> None:
    """Roles that do not differ: what their means differ by is the noise of their replies, and no share of it is claimed."""
    replies, _ = planted_replies(gap=4.0, role_sd=0.0, question_sd=0.0, per_role=4, noise_sd=4.0, seed=2)
    tune = tuning_rows(replies, seed=0)
    found = measure(replies, select_layer(replies, tune, seed=0), tune, seed=0, draws=40)["axis.pc1_share"]
    assert found.regime == "not_measurable" and "noise of replies" in found.reason


def test_tuning_roles_do_not_report() -> None:
    replies, _ = planted_replies(gap=5.0)
    tune = tuning_rows(replies, seed=0)
    barred = set(replies.role[tune & ~replies.home].tolist())
    assert barred and not barred & set(replies.role[~tune & ~replies.home].tolist())
    shifted = planted_replies(gap=5.0)[0]
    shifted.means[np.flatnonzero(tune)] += 1000.0
    a = measure(replies, select_layer(replies, tune, seed=0), tune, seed=0, draws=40)
    b = measure(shifted, select_layer(replies, tune, seed=0), tune, seed=0, draws=40)
    assert a["axis.auroc_one"].estimates["value"] == b["axis.auroc_one"].estimates["value"]


def test_a_role_drawn_twice_counts_twice() -> None:
    """Draws that only leave roles out, and never repeat one, vary a quarter too little."""
    from homing.persona.card import _components, _triples
    from homing.persona.resample import Draw

    replies, _ = planted_replies(gap=2.0, home=96, prompts=4)
    scores = replies.means[:, 0].sum(axis=1).astype(np.float64)
    whole = Draw.whole(replies)
    twice = Draw(whole.roles.copy(), whole.prompts, np.where(replies.role == 3, 2.0, 1.0))
    twice.roles[3] = 2
    rng = np.random.default_rng(0)
    one, two = (_triples(replies, scores, d, rng)[1] for d in (whole, twice))
    assert (~two).sum() == (~one).sum() + 8
    means = np.array([scores[replies.role == r].mean() for r in range(48)])
    home = np.mean([scores[replies.home & (replies.prompt == p)].mean() for p in range(4)])
    assert _components(replies, scores, twice).gap == pytest.approx(home - np.append(means, means[3]).mean())
    draw = Draw.of(replies, rng)
    assert draw.roles.sum() == 47 and draw.prompts.sum() == 3
    assert not draw.weights[replies.role == int(np.argmin(draw.roles))].any()


def test_draws_vary_as_much_as_fresh_maps_do() -> None:
    """Planted maps drawn anew: the interval covers their mean, and its width is that of their spread."""
    found = {k: [] for k in ("axis.auroc_one", "axis.auroc_three", "axis.auroc_predicted_three", "axis.pc1_share")}
    for seed in range(24):
        replies, _ = planted_replies(
            gap=2.0, roles=24, questions=12, per_role=5, home=60, hidden=8, noise_sd=1.5, seed=seed
        )
        tune = tuning_rows(replies, seed=0)
        card = measure(replies, select_layer(replies, tune, seed=0), tune, seed=seed, draws=60)
        for name, values in found.items():
            values.append(card[name].estimates["value"])
    for name, values in found.items():
        mean = np.mean([e.value for e in values])
        assert np.mean([e.low <= mean <= e.high for e in values]) >= 0.79, name  # fewer of 24 at 0.95: 1 in 1000


def test_noise_is_no_cosine_with_the_first_component() -> None:
    """Round noise has a first component somewhere: the size of its cosine is above 0, the interval reaches 0."""
    reaching = 0
    for seed in range(10):
        replies, _ = planted_replies(gap=3.0, roles=32, hidden=12, home=96, seed=seed)
        tune = tuning_rows(replies, seed=0)
        card = measure(replies, select_layer(replies, tune, seed=0), tune, seed=0, draws=40)
        cos = card["axis.cos_pc1"].estimates["value"]
        assert 0.0 <= cos.low <= cos.value <= cos.high <= 1.0
        reaching += cos.low == 0.0
    assert reaching >= 7


def test_a_home_beyond_every_role_is_not_said_to_sit_among_them() -> None:
    clear, _ = planted_replies(gap=12.0, noise_sd=1.0, roles=32)
    tune = tuning_rows(clear, seed=0)
    card = measure(clear, select_layer(clear, tune, seed=0), tune, seed=0, draws=60)
    assert "not shown" in card["axis.auroc_ceiling"].verdict
    above = card["axis.home_percentile"].estimates["value"]
    assert above.value == 1.0
    assert above.low < 1.0  # 24 roles below home leave room for one above it
    among, _ = planted_replies(gap=1.0, roles=32)
    card = measure(among, select_layer(among, tune, seed=0), tune, seed=0, draws=60)
    assert "inside the cloud" in card["axis.auroc_ceiling"].verdict


def test_a_classifier_of_noise_agrees_with_nothing_and_one_of_a_planted_gap_does() -> None:
    planted, _ = planted_replies(gap=8.0, blocks=8, questions=48, prompts=16)
    null, _ = planted_replies(gap=0.0, blocks=8, questions=48, prompts=16)
    found, nothing = (np.median(discriminant_cosines(r, 0, random_splits(r, 10, seed=0))) for r in (planted, null))
    assert found > 0.5 and abs(nothing) < 0.3
    # with like spread in all directions, the axis is the best classifier and the more reliable one
    assert np.median(split_cosines(planted, random_splits(planted, 10, seed=0))) > found


def test_the_stablest_layer_of_a_few_roles_does_not_shut_out_the_telling_ones() -> None:
    def at(value: float, half: float) -> Estimate:
        return Estimate(value, value - half, value + half, 0.95, 9)

    areas = [0.60, 0.58, 0.59, 0.72, 0.80, 0.78]
    noisy = [at(c, 0.3) for c in (0.2, 0.64, 0.5, 0.4, 0.48, 0.45)]  # nothing is told from the stablest
    assert most_telling(noisy, areas) == 5
    sharp = [at(c, 0.02) for c in (0.2, 0.9, 0.88, 0.7, 0.6, 0.5)]  # the telling ones are known to be unsteady
    assert most_telling(sharp, areas) in (1, 2)
    assert most_telling([at(0.9, 0.02)] * 3, [0.6, float("nan"), 0.9]) == 2  # a layer not scored is worth a guess
