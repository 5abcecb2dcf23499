"""Tokens are drawn with the chances that temperature and nucleus give them: planted logits, known chances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from homing.engine.base import Sampling
from homing.engine.llamacpp.sampler import _sample, draw, generator_for, log_normaliser


def _chances(logits: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """By the definition, in double precision: the likeliest tokens until the mass is reached, the one that crosses it kept."""
    y = logits.astype(np.float64) / temperature
    p = np.exp(y - y.max())
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    kept = order[: int(np.count_nonzero(np.cumsum(p[order]) - p[order] < top_p))]
    out = np.zeros_like(p)
    out[kept] = p[kept] / p[kept].sum()
    return out


@pytest.mark.parametrize("vocab", [7, 256, 300, 5000])
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (0.7, 0.9), (1.5, 0.5), (3.0, 0.999)])
def test_a_grid_of_uniform_numbers_gives_the_chances(vocab: int, temperature: float, top_p: float) -> None:
    """The inverse transform of evenly spaced numbers: every token as often as its chance says, to one in the grid."""
    logits = (np.random.default_rng(vocab).standard_normal(vocab) * 2).astype(np.float32)
    n = 4_000
    s = Sampling(temperature=temperature, top_p=top_p)
    got = np.bincount([_sample(logits, s, (i + 0.5) / n) for i in range(n)], minlength=vocab)
    want = _chances(logits, temperature, top_p)
    assert np.abs(got / n - want).max() <= 1.5 / n + 1e-6
    assert not got[want == 0].any()


def test_draws_follow_the_chances() -> None:
    logits = np.array([0.0, 1.0, 2.0, -1.0, 1.5], np.float32)
    s = Sampling(temperature=0.8)
    drawn = [draw(logits, s, generator_for(Sampling(temperature=0.8, seed=k))).token for k in range(4000)]
    p = _chances(logits, 0.8, 1.0)
    assert chisquare(np.bincount(drawn, minlength=5), 4000 * p).pvalue > 1e-4


def test_ends() -> None:
    logits = np.linspace(-3, 3, 1000).astype(np.float32)
    for top_p in (1.0, 0.9, 1e-9):
        for u in (0.0, 1.0 - 2**-53):
            assert 0 <= _sample(logits, Sampling(temperature=1.0, top_p=top_p), u) < 1000
    assert _sample(logits, Sampling(temperature=1.0, top_p=1e-9), 0.7) == 999
    assert _sample(logits, Sampling(temperature=1e-30), 0.999) == 999
    tied = np.zeros(1000, np.float32)
    assert {_sample(tied, Sampling(temperature=1.0, top_p=0.0105), u / 50) for u in range(50)} == set(range(11))


def test_log_probabilities_are_at_temperature_one() -> None:
    logits = (np.random.default_rng(0).standard_normal(4000) * 4).astype(np.float32)
    norm = float(np.logaddexp.reduce(logits.astype(np.float64)))
    assert log_normaliser(logits) == pytest.approx(norm, abs=1e-5)
    got = draw(logits, Sampling(temperature=0.5, top_logprobs=3), generator_for(Sampling(temperature=0.5, seed=1)))
    assert got.logprob == pytest.approx(float(logits[got.token]) - norm, abs=1e-5)
    assert [i for i, _ in got.top] == np.argsort(-logits, kind="stable")[:3].tolist()
    assert draw(logits, Sampling(), None).token == int(logits.argmax())
