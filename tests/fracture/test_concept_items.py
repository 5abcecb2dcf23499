"""Matched items: a format that matters is found, one that does not is not, and difficulty alone is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.concept_items import matched_items

FORMATS = ("plain", "list", "table")


def planted(seed: int, drop: float, n: int = 120) -> np.ndarray:
    """Items of very unlike difficulty; the last format fails a share of what would have been right."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(0.5, 0.5, n)[:, None] * np.array([1.0, 1.0, 1 - drop])
    return rng.random((n, 3)) < chance


def test_a_format_that_matters_is_found():
    found = matched_items(planted(0, 0.6), FORMATS, seed=0)
    worst = {(p.first, p.second): p for p in found.pairs}
    assert worst["plain", "table"].adjusted < 0.01 and worst["plain", "table"].difference.low > 0
    assert worst["plain", "list"].adjusted > 0.05
    assert found.p_value < 0.01 and found.spread.low > found.expected.value
    assert found.to_json()["pairs"][1]["second"] == "table"


def test_where_no_format_matters_the_spread_is_that_of_chance():
    p = [matched_items(planted(s, 0.0), FORMATS, seed=s, draws=200).p_value for s in range(20)]
    assert np.mean(np.array(p) <= 0.05) <= 0.15
    found = matched_items(planted(0, 0.0), FORMATS, seed=0)
    assert found.expected.low <= found.spread.value <= found.expected.high


def test_a_difference_is_that_of_the_rates():
    x = planted(1, 0.3)
    found = matched_items(x, FORMATS, seed=0)
    assert found.pairs[0].difference.value == pytest.approx(x[:, 0].mean() - x[:, 1].mean())
    assert found.rates["table"].value == pytest.approx(x[:, 2].mean())
    assert found.undecided.value == pytest.approx((x.min(axis=1) != x.max(axis=1)).mean())


@pytest.mark.parametrize(
    ("x", "formats", "said"),
    [
        (np.ones((20, 2)), ("a",), "give \\(items, formats\\)"),
        (np.ones((20, 1)), ("a",), "at least two"),
        (np.ones((20, 2)), ("a", "a"), "name of its own"),
        (np.ones((15, 2)), ("a", "b"), "15 matched items; at least 16"),
        (np.full((20, 2), 0.5), ("a", "b"), "other than 0 and 1"),
    ],
)
def test_what_cannot_be_used_is_refused(x, formats, said):
    with pytest.raises(InputError, match=said):
        matched_items(x, formats, seed=0)
