"""A mean of a handful: Student's interval covers at its level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp

from homing.stats import mean_t
from homing.stats.seeds import stable_seed


@pytest.mark.parametrize("n", [3, 4, 12])
def test_students_interval_covers_and_is_scipys(n: int) -> None:
    rng = np.random.default_rng(stable_seed("test_students_interval", n))
    hits = 0
    for _ in range(2000):
        x = 2.0 + rng.standard_normal(n)
        found = mean_t(x)
        hits += found.low <= 2.0 <= found.high
    low, high = binom.ppf([0.0005, 0.9995], 2000, 0.95)
    assert low <= hits <= high
    theirs = ttest_1samp(x, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_students_interval_of_one_value_is_unbounded() -> None:
    assert mean_t([1.0]).low == -math.inf and mean_t([1.0]).value == 1.0
