"""The card's intervals against planted clouds of which the truth is known, as often as they say.

Every cloud is drawn anew from one generator: role vectors with a given covariance, home at a given place, home prompts
and questions as random effects, replies with noise. The truth is what the generator was given, or what a huge sample of
it shows; never the mean of the estimates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from homing.persona import card, card_beside, space
from homing.persona.card import Selection, measure, tuning_rows
from homing.persona.resample import Draw, components_for, first_share_for, percentiles, roles_below, split_half
from homing.persona.rollouts import Replies
from homing.persona.scale import Scale
from homing.persona.space import axis_weights, cross_scores, fit_axis, held_out, random_splits, role_vectors
from homing.stats import Estimate, ParallelAnalysis
from tests.stats.coverage import assert_covers, region, seed_of


@dataclass(frozen=True)
class Cloud:
    """Where home lies from the mean role, how roles vary along each dimension, and how a map is sampled from it.

    Role ``i``, question ``i`` and home prompt ``i`` belong to block ``i % blocks``, and blocks never cross.
    """

    home: tuple[float, ...]
    spectrum: tuple[float, ...]
    noise_sd: float = 0.5
    question_sd: float = 0.3
    prompt_sd: float = 0.3
    blocks: int = 12
    roles: int = 36
    questions: int = 36
    prompts: int = 12
    per_role: int = 6
    home_replies: int = 108

    @property
    def gap(self) -> float:
        return float(np.linalg.norm(self.home))

    @property
    def along(self) -> float:
        """Standard deviation of roles along the axis."""
        return float(np.sqrt(np.square(self.home) @ self.spectrum)) / self.gap

    def half(self) -> Cloud:
        """A map of half the size that shares nothing with another half."""
        if self.blocks > 1:
            return replace(self, **{k: getattr(self, k) // 2 for k in ("blocks", *SIZES)})
        # crossed: half of each factor, so a quarter of the cells
        sizes = {k: getattr(self, k) // 2 for k in ("roles", "questions", "prompts", "per_role")}
        return replace(self, **sizes, home_replies=self.home_replies // 4)

    def replies(self, rng: np.random.Generator) -> Replies:
        hidden, b = len(self.home), self.blocks
        roles = rng.standard_normal((self.roles, hidden)) * np.sqrt(self.spectrum)
        questions = rng.standard_normal((self.questions, hidden)) * self.question_sd
        prompts = self.home + rng.standard_normal((self.prompts, hidden)) * self.prompt_sd
        own = self.questions // b
        asked = rng.permuted(np.tile(np.arange(own), (self.roles, 1)), axis=1)
        asked = (
            np.tile(asked, (1, -(-self.per_role // own)))[:, : self.per_role] * b + np.arange(self.roles)[:, None] % b
        )
        i = np.arange(self.home_replies)
        turn = i // b
        role = np.concatenate([np.repeat(np.arange(self.roles), self.per_role), np.full(self.home_replies, -1)])
        question = np.concatenate([asked.ravel(), turn % own * b + i % b])
        prompt = np.concatenate([np.zeros(asked.size, int), (turn + turn // own) % (self.prompts // b) * b + i % b])
        base = np.where((role < 0)[:, None], prompts[prompt], roles[np.maximum(role, 0)])
        x = base + questions[question] + rng.standard_normal((len(role), hidden)) * self.noise_sd
        n = len(role)
        return Replies(
            means=x[:, None].astype(np.float32),
            role=role,
            question=question,
            prompt=prompt,
            length=np.full(n, 16),
            block=question % b,
            texts=("text",) * n,
            finish=("length",) * n,
            layers=(0,),
            new_tokens=0,
            prompt_tokens=0,
        )

    def axes(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Axes ``(n, hidden)`` of that many fresh maps, from their exact distribution: no replies are drawn."""
        designs = [self.replies(np.random.default_rng(s)) for s in range(4)]
        shares = np.mean([_shares(d) for d in designs], axis=0)
        of_roles, rest = shares[0], shares[1:] @ np.square([self.prompt_sd, self.question_sd, self.noise_sd])
        return self.home + rng.standard_normal((n, len(self.home))) * np.sqrt(of_roles * np.array(self.spectrum) + rest)


SIZES = ("roles", "questions", "prompts", "home_replies")


def _shares(r: Replies) -> np.ndarray:
    """By what an axis multiplies the variance of roles, home prompts, questions and replies."""
    n_r, n_q, n_p = (int(v.max()) + 1 for v in (r.role, r.question, r.prompt))
    w = axis_weights(r, np.ones(n_r), np.ones(n_q), np.ones(n_p))
    sums = (
        np.bincount(c, v) for c, v in ((r.role[~r.home], w[~r.home]), (r.prompt[r.home], w[r.home]), (r.question, w))
    )
    return np.array([*(float((s**2).sum()) for s in sums), float((w**2).sum())])


def _cosine(c: Cloud, name: str) -> float:
    """Median cosine between the axes of two fresh maps."""
    rng = np.random.default_rng(seed_of(name))
    a, b = c.axes(rng, 200_000), c.axes(rng, 200_000)
    return float(np.median(np.einsum("nh,nh->n", a, b) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)))


def _count(spectrum: tuple[float, ...], share: float = 0.70) -> int:
    held = np.cumsum(sorted(spectrum, reverse=True)) / sum(spectrum)
    return int(np.searchsorted(held, share - 1e-12) + 1)


SPIKE = (4.0, *(1.0,) * 7)
CLEAR = Cloud((1.2, 1.2, *(0.0,) * 6), SPIKE)
#: within-role variance some five times that between roles, as in the map of the embedded model
NOISY = replace(CLEAR, noise_sd=2.5, question_sd=0.8)
CLOUDS = {
    "clear": CLEAR,
    "noisy": NOISY,
    "strong": replace(CLEAR, home=(2.0, 2.0, *(0.0,) * 6)),
    "weak": replace(NOISY, home=(0.5, 0.5, *(0.0,) * 6), noise_sd=2.0),
    "nothing": replace(NOISY, home=(0.0,) * 8, noise_sd=2.0),
    "prompts": replace(CLEAR, noise_sd=1.0, question_sd=0.8, prompt_sd=1.0),
    "crossed": replace(
        CLEAR, noise_sd=1.0, question_sd=0.8, prompt_sd=0.5, blocks=1, questions=16, prompts=8, home_replies=96
    ),
    "many": Cloud((2.0, *(0.0,) * 47), tuple(4 * 0.9**k for k in range(48)), noise_sd=1.5, question_sd=0.8),
}


def _split_half(name: str):
    c = CLOUDS[name]
    truth = _cosine(c.half(), f"halves {name}")

    def make(rng, seed):
        r = c.replies(rng)
        return split_half(r, random_splits(r, 100, seed=seed)), truth

    return make


@pytest.mark.parametrize("name", ["clear", "noisy", "nothing"])
def test_split_half(name) -> None:
    assert_covers(f"split_half {name}", _split_half(name), repetitions=200)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CLOUDS))
def test_split_half_in_every_cloud(name) -> None:
    assert_covers(f"split_half {name} slow", _split_half(name), repetitions=600)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clear", "noisy", "prompts", "many"])
def test_split_half_stepped_up_covers_the_reliability_of_whole_maps_in_blocks(name) -> None:
    """Spearman-Brown of the interval covers the cosine between two whole maps: in blocks a whole is twice a half."""
    raw, truth = _split_half(name), _cosine(CLOUDS[name], f"wholes {name}")

    def make(rng, seed):
        e = raw(rng, seed)[0]
        return Estimate(*(2 * v / (1 + v) for v in (e.value, e.low, e.high)), e.level, e.n, "", e.method), truth

    assert_covers(f"stepped up {name}", make, repetitions=400)


def test_split_half_leaves_out_halves_without_home_and_follows_a_filter() -> None:
    r = CLEAR.replies(np.random.default_rng(0))
    splits = random_splits(r, 40, seed=0)
    empty = replace(splits[0], prompts=np.zeros_like(splits[0].prompts))
    assert split_half(r, [*splits, empty]) == split_half(r, splits)
    kept = r.question % 3 > 0
    fewer = r.take(r.home | kept)
    some, taken = split_half(r, splits, kept=kept), split_half(fewer, splits)
    assert (some.value, some.low, some.high) == pytest.approx((taken.value, taken.low, taken.high))
    one = replace(r, prompt=np.zeros_like(r.prompt), block=np.zeros_like(r.block))
    alone = split_half(one, random_splits(one, 40, seed=0))
    assert 0 < alone.low < alone.value < alone.high < 1


def _cos_pc1(spectrum, home, draws=100, **more):
    c = replace(CLEAR, spectrum=spectrum, home=home, **more)
    truth = abs(home[0]) / c.gap

    def make(rng, seed):
        r = c.replies(rng)
        drawn = [Draw.of(r, rng) for _ in range(draws)]
        found = {}
        card_beside.components(r, 0, None, drawn, c.roles, lambda name, e, words, why="": found.__setitem__(name, e))
        return found["axis.cos_pc1"], truth

    return make


ASLANT = {
    "across": (0.0, 1.7),
    "half": (1.2, 1.2),
    "near": (1.8, 0.87),
}


@pytest.mark.parametrize("name", ["half", "near"])
def test_cosine_with_the_first_component(name) -> None:
    home = (*ASLANT[name], *(0.0,) * 6)
    assert_covers(f"cos_pc1 {name}", _cos_pc1(SPIKE, home, draws=60), repetitions=100)


@pytest.mark.slow
@pytest.mark.parametrize("noise_sd", [0.5, 2.0])
@pytest.mark.parametrize("name", sorted(ASLANT))
def test_cosine_with_the_first_component_at_any_angle(name, noise_sd) -> None:
    home = (*ASLANT[name], *(0.0,) * 6)
    assert_covers(
        f"cos_pc1 {name} {noise_sd}", _cos_pc1(SPIKE, home, noise_sd=noise_sd), repetitions=400, at_least=True
    )


def _components(c: Cloud, draws: int):
    def make(rng, seed):
        vectors = role_vectors(c.replies(rng))[1][:, 0]
        drawn = [np.bincount(rng.integers(0, c.roles, c.roles - 1), minlength=c.roles) for _ in range(draws)]
        return components_for(vectors, drawn), float(_count(c.spectrum))

    return make


SPECTRA = {
    "flat": replace(CLEAR, spectrum=(1.0,) * 8),
    "spike": CLEAR,
    "falling": replace(CLEAR, spectrum=tuple(4 * 0.7**k for k in range(8))),
    "noisy": replace(CLEAR, spectrum=tuple(4 * 0.7**k for k in range(8)), noise_sd=2.0, question_sd=0.8),
    "many": Cloud((1.0, *(0.0,) * 23), tuple(4 * 0.85**k for k in range(24)), roles=96, questions=96),
}


@pytest.mark.parametrize("name", ["spike", "falling"])
def test_components_for(name) -> None:
    assert_covers(f"components {name}", _components(SPECTRA[name], 60), repetitions=200, at_least=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SPECTRA))
def test_components_for_any_spectrum(name) -> None:
    assert_covers(f"components {name} slow", _components(SPECTRA[name], 100), repetitions=400, at_least=True)


def test_components_for_has_both_ends_by_hand() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 12)) * np.sqrt([8, 4, 2, *[0.5] * 9])
    draws = [np.bincount(rng.integers(0, 40, 39), minlength=40) for _ in range(50)]
    e = components_for(vectors, draws)
    assert e.value == _count(tuple(np.linalg.eigvalsh(np.cov(vectors.T)))) and e.unit == "components"
    fitted, held = [], []
    for d in draws:
        took, left = np.repeat(vectors, d, axis=0), vectors[d == 0]
        _, s, vt = np.linalg.svd(took - took.mean(axis=0), full_matrices=False)
        fitted.append(_count(tuple(s**2)))
        across = ((left - left.mean(axis=0)) @ vt.T).var(axis=0)
        held.append(int(np.searchsorted(np.cumsum(across), 0.7 * across.sum()) + 1))
    low = e.value + np.percentile(fitted, 2.5) - np.median(fitted)
    assert (e.low, e.high) == pytest.approx((min(low, e.value), np.percentile(held, 97.5)))
    assert math.isnan(components_for(vectors, draws[:5]).value)


def test_first_share_takes_the_noise_of_few_replies_out() -> None:
    rng = np.random.default_rng(3)
    spectrum = np.array([6.0, 2.0, *[0.5] * 8])
    roles = rng.standard_normal((400, 10)) * np.sqrt(spectrum)
    noise = np.eye(10) * 3.0
    seen = roles + rng.standard_normal(roles.shape) * np.sqrt(3.0)
    draws = [np.bincount(rng.integers(0, 400, 399), minlength=400) for _ in range(40)]
    e = first_share_for(seen, noise, draws)
    assert e.value == pytest.approx(0.5, abs=0.05) and e.low < 0.5 < e.high
    assert first_share_for(seen, np.zeros((10, 10)), draws).value < 0.3
    assert math.isnan(first_share_for(seen, np.eye(10) * 100.0, draws).value)  # all of it noise
    assert math.isnan(first_share_for(seen, noise, draws[:5]).value)


def _roles_below(c: Cloud, draws: int, monkeypatch: pytest.MonkeyPatch):
    # the discriminants that cross_scores also fits cost most of the time and are no part of this figure
    monkeypatch.setattr(space._Spread, "direction", lambda self, shrinkage: self.gap)
    truth = float(norm.cdf(c.gap / c.along))

    def make(rng, seed):
        r = c.replies(rng)
        scores = cross_scores(r, 0, seed=seed).axis
        drawn = np.array([roles_below(scores, r, Draw.of(r, rng)) for _ in range(draws)])
        return percentiles(roles_below(scores, r, Draw.whole(r)), drawn, c.roles, ""), truth

    return make


@pytest.mark.parametrize("name", ["clear", "noisy"])
def test_roles_below_home(name, monkeypatch) -> None:
    make = _roles_below(CLOUDS[name], 60, monkeypatch)
    assert_covers(f"roles below {name}", make, repetitions=120, at_least=True)


#: a map as large as the standard preset's, on the blocks that report
LARGE = replace(NOISY, roles=120, questions=120, per_role=5, home_replies=480)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clear", "noisy", "large"])
def test_roles_below_home_also_in_a_map_of_standard_size(name, monkeypatch) -> None:
    make = _roles_below(LARGE if name == "large" else CLOUDS[name], 200, monkeypatch)
    assert_covers(f"roles below {name} slow", make, repetitions=400, at_least=True)


def test_roles_below_counts_as_plainly_as_can_be_where_replies_have_no_noise() -> None:
    rng = np.random.default_rng(1)
    r = replace(CLEAR, noise_sd=0.0, question_sd=0.0, prompt_sd=0.0).replies(rng)
    scores = r.means[:, 0, 0].astype(np.float64)
    means = np.array([scores[r.role == k].mean() for k in range(36)])
    whole = Draw.whole(r)
    assert roles_below(scores, r, whole) == np.mean(means < scores[r.home].mean())
    scores[r.role == 3] = np.nan
    assert roles_below(scores, r, whole) == np.mean(np.delete(means, 3) < scores[r.home].mean())
    twice = Draw(whole.roles.copy(), whole.prompts, np.where(r.role == 5, 2.0, 1.0))
    twice.roles[5] = 2
    expected = np.append(np.delete(means, 3), means[5]) < scores[r.home].mean()
    assert roles_below(scores, r, twice) == pytest.approx(np.mean(expected))


# --- the card itself -------------------------------------------------------------------------------------------------

FIGURES = ("axis.split_half_raw", "axis.home_percentile", "axis.cos_pc1", "axis.pcs_70", "axis.pc1_share")


def _whole(c: Cloud) -> Cloud:
    """The map of which a quarter of the blocks chooses the layer and the rest, as large as ``c``, reports."""
    return replace(c, **{k: getattr(c, k) * 4 // 3 for k in ("blocks", *SIZES)})


@cache
def _cards(name: str, repetitions: int) -> tuple[dict[str, Estimate], ...]:
    """Cards of fresh maps. What is not looked at here, and costs most of the time, is left out."""
    c = _whole(LARGE if name == "large" else CLOUDS[name])
    rng = np.random.default_rng(seed_of(f"cards {name}"))
    left_out = {
        "_triples": lambda *a: (np.array([0.0, 1.0]), np.array([False, True])),
        "_components": lambda *a: card._Components(1.0, 1.0, 1.0, 1.0, 1.0),
        "discriminant_cosines": lambda *a, **k: np.empty(0),
        "controls": lambda *a: None,
        "confounds": lambda *a: None,
    }
    out = []
    with pytest.MonkeyPatch.context() as patch:
        for part, stand_in in left_out.items():
            patch.setattr(card, part, stand_in)
        patch.setattr(card_beside, "parallel_analysis", lambda *a, **k: ParallelAnalysis(0, np.empty(0), np.empty(0)))
        patch.setattr(space._Spread, "direction", lambda self, shrinkage: self.gap)
        for _ in range(repetitions):
            r = c.replies(rng)
            found = measure(r, Selection(0, (), ()), tuning_rows(r, seed=0), seed=int(rng.integers(2**31)), draws=100)
            out.append({k: found[k].estimates["value"] for k in FIGURES})
    return tuple(out)


def _truth(name: str, figure: str) -> float:
    c = LARGE if name == "large" else CLOUDS[name]
    return {
        "axis.split_half_raw": lambda: _cosine(c.half(), f"halves {name}"),
        "axis.home_percentile": lambda: float(norm.cdf(c.gap / c.along)),
        "axis.cos_pc1": lambda: abs(c.home[0]) / c.gap,
        "axis.pcs_70": lambda: float(_count(c.spectrum)),
        "axis.pc1_share": lambda: max(c.spectrum) / sum(c.spectrum),
    }[figure]()


def _assert_card_covers(name: str, figure: str, *, at_least: bool = False) -> None:
    truth, repetitions = _truth(name, figure), 400
    found = [e[figure] for e in _cards(name, repetitions)]
    hits = sum(e.low <= truth <= e.high for e in found)
    width = float(np.mean([e.high - e.low for e in found]))
    low, high = region(repetitions)
    print(f"COVERAGE card {name} {figure} {hits / repetitions:.4f} of 0.95 ({repetitions}), mean width {width:.3f}")
    assert low <= hits and (at_least or hits <= high), f"{name} {figure}: {hits} of {repetitions}, {low} to {high}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clear", "noisy"])
def test_card_split_half(name) -> None:
    _assert_card_covers(name, "axis.split_half_raw")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clear", "noisy"])
@pytest.mark.parametrize("figure", ["axis.home_percentile", "axis.cos_pc1", "axis.pcs_70", "axis.pc1_share"])
def test_card_figures_that_promise_no_less(figure, name) -> None:
    _assert_card_covers(name, figure, at_least=True)


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES)
def test_card_in_a_map_of_standard_size(figure) -> None:
    _assert_card_covers("large", figure, at_least=True)


# --- the scale -------------------------------------------------------------------------------------------------------

#: the noise of the axis in all dimensions is small beside its length, and that of its marks is not
MARKS = Cloud((4.0, *(0.0,) * 5), (1.0,) * 6, prompt_sd=0.5, roles=84, questions=72, prompts=24, home_replies=144)


def _placed(c: Cloud, at: float, *, drift: bool = False, along: bool = False):
    """The interval of what truly lies ``at``, as a fresh map reads it; or of a step that truly is so long.

    ``along``: read on the axis itself, not with the reader.
    """

    def make(rng, seed):
        r = c.replies(rng)
        axis = fit_axis(r, read_layer=0)
        apart, x = held_out(r, read_layer=0), at * np.array(c.home, np.float32)
        if along:
            raw, v, zero, unit = apart.axis[:, 0], axis.vectors[0], axis.zero[0], axis.unit[0]
        else:
            raw, v, zero, unit = apart.reader, axis.reader.vector, axis.reader.zero, axis.reader.unit
        scale = Scale.of(r, (raw - zero) / unit)
        if drift:
            return scale.drift(float(x @ v) / unit), at
        return scale.position((float(x @ v) - zero) / unit), at

    return make


@pytest.mark.parametrize("at", [-0.5, 0.0, 0.5, 1.0, 1.5])
def test_scale_of_a_position(at) -> None:
    assert_covers(f"position {at}", _placed(MARKS, at), repetitions=400)


@pytest.mark.parametrize("size", [-1.0, 0.5])
def test_scale_of_a_drift(size) -> None:
    assert_covers(f"drift {size}", _placed(MARKS, size, drift=True), repetitions=400)


#: an axis of reliability 0.8 in many dimensions
LONG = Cloud(
    (2.4, *(0.0,) * 47), tuple(4 * 0.9**k for k in range(48)), noise_sd=2.5, question_sd=0.8, blocks=16,
    roles=160, questions=160, prompts=16, per_role=5, home_replies=640,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("along", [False, True])
@pytest.mark.parametrize("at", [0.0, 1.0])
def test_scale_of_a_position_on_a_noisy_axis(at, along) -> None:
    """Noise lengthens an axis that is its own yardstick; the marks are held out, so that this does not shrink positions."""
    assert_covers(f"position noisy {at} {along}", _placed(LONG, at, along=along), repetitions=400)


@pytest.mark.slow
@pytest.mark.parametrize("along", [False, True])
def test_scale_of_a_drift_on_a_noisy_axis(along) -> None:
    assert_covers(f"drift noisy {along}", _placed(LONG, -0.5, drift=True, along=along), repetitions=400)
