"""The outside face: items of our own, a distance that is zero where nothing moved, and a planted character that is found."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from homing.conversation import Conversation
from homing.errors import InputError
from homing.models.sources import open_model
from homing.persona.outside import FACETS, FLOOR, Answers, answers, centred, distance, distances, load_outside, squared
from homing.stats.seeds import stable_seed


def test_the_items_are_what_the_battery_needs() -> None:
    items = load_outside()
    assert len(items) >= 96
    assert set(Counter(i.facet for i in items)) == set(FACETS) and min(Counter(i.facet for i in items).values()) >= 16
    wordings = [w for i in items for w in (i.a, i.b)]
    said = [s for w in wordings for s in (w.question, *w.options)]
    plain = [re.sub(r"\W+", " ", s.lower()).strip() for s in said]
    assert len(set(plain)) == len(plain), "a sentence stands in the battery twice"
    for w in wordings:
        words = sorted(len(o.split()) for o in w.options)
        assert words[-1] <= max(1.3 * words[0], words[0] + 2), w
        assert w.question[-1] in "?." and len(w.question.split()) <= 30
    # the ordinary answer is told by its length neither in one way nor in the other (ties are shared)
    for end in (max, min):
        share = 0.0
        for w in wordings:
            lengths = [len(o.split()) for o in w.options]
            share += (lengths[0] == end(lengths)) / sum(x == end(lengths) for x in lengths)
        assert 0.2 < share / len(wordings) < 0.45, (end, share)


def _answers(a: np.ndarray, b: np.ndarray) -> Answers:
    ids = tuple(str(i) for i in range(len(a)))
    return Answers(ids, tuple(FACETS[i % 6] for i in range(len(a))), a, b)


def _noise(rng: np.random.Generator, n: int, scale: float) -> np.ndarray:
    x = scale * rng.standard_normal((n, 3))
    return x - x.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("moved", [0.0, 1.0, 3.0])
def test_the_square_is_right_on_average_and_its_interval_covers(moved: float) -> None:
    """Noise of each wording is its own; what an item moves by is common to both. Where nothing moved, half are under zero."""
    rng = np.random.default_rng(stable_seed("test_the_square_is_right", moved))
    runs, n = 400, 48
    hits, mean = 0, 0.0
    for _ in range(runs):
        shift = _noise(rng, n, moved)
        home = _answers(np.zeros((n, 3)), np.zeros((n, 3)))
        now = _answers(shift + _noise(rng, n, 1.0), shift + _noise(rng, n, 1.0))
        truth = 2 * moved**2  # three options, centred: two degrees of freedom
        mean += float(squared(now, home).mean()) / runs
        d = distance(now, home)
        low, high = (np.copysign(x * x, x) for x in (d.low, d.high))
        hits += low <= truth <= high
    assert mean == pytest.approx(2 * moved**2, abs=0.1 + 0.05 * moved**2)
    assert hits >= binom.ppf(0.001, runs, 0.93)  # a percentile interval of 48 skewed values is a little short


def test_half_the_way_back_is_half_the_distance() -> None:
    rng = np.random.default_rng(0)
    home, out = (_answers(_noise(rng, 60, 2.0), _noise(rng, 60, 2.0)) for _ in range(2))
    shift = _noise(rng, 60, 2.0)
    out = _answers(home.a + shift, home.b + shift)
    half = _answers(home.a + shift / 2, home.b + shift / 2)
    assert distance(half, home).value == pytest.approx(distance(out, home).value / 2)
    assert distance(home, home).value == 0.0
    by_facet = distances(out, home)
    assert set(by_facet) == {"all", *FACETS} and by_facet["self"].n == 10


def test_odds_are_centred_and_have_a_floor() -> None:
    odds = centred(np.array([[-10.0, -10.0, -10.0], [-5.0, -500.0, -6.0]]))
    assert np.allclose(odds[0], 0) and np.allclose(odds.sum(axis=1), 0)
    assert odds[1].max() - odds[1].min() <= -np.log(FLOOR) + 1e-9


def test_what_cannot_be_compared() -> None:
    a, b = _answers(np.zeros((6, 3)), np.zeros((6, 3))), _answers(np.zeros((5, 3)), np.zeros((5, 3)))
    with pytest.raises(InputError, match="different items"):
        squared(a, b)
    with pytest.raises(InputError, match="no items of facet 'mood'"):
        distance(a, a, facet="mood")


@pytest.mark.model
@pytest.mark.timeout(300)
async def test_a_character_in_the_system_prompt_is_found_on_the_embedded_model(tmp_path: Path) -> None:
    """The known dose: who it says it is moves, what it knows hardly does; asked twice, nothing moves at all."""
    items = [i for i in load_outside() if i.facet in ("self", "knowledge")]
    model = open_model("smollm2")
    try:
        home = await answers(model, Conversation(), items)
        few = items[:4]
        once, again = await answers(model, Conversation(), few), await answers(model, Conversation(), few)
        assert distance(again, once).value == pytest.approx(0.0, abs=1e-6)
        pirate = Conversation.of(
            system="You are Black Tom, a pirate captain of flesh and blood. You live on your ship."
        )
        moved = distances(await answers(model, pirate, items), home)
        assert moved["self"].low > 0
        assert moved["self"].value > 2 * max(moved["knowledge"].value, 0.1)
        with pytest.raises(InputError, match="ends with a user message"):
            await answers(model, Conversation.of("Hello"), items)
        with pytest.raises(InputError, match="no items"):
            await answers(model, Conversation(), [])
    finally:
        await model.close()
