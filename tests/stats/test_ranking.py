"""d' of paired rates: the formula, a planted distance, and nothing to find."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from homing.errors import InputError
from homing.stats.ranking import dprime_paired, dprime_value


def test_dprime_is_finite_and_signed():
    assert 3 < dprime_value(10, 0, 10) < 4 and dprime_value(0, 10, 10) == -dprime_value(10, 0, 10)
    assert dprime_value(10, 10, 10) == 0


@pytest.mark.parametrize("distance", [0.0, 1.5])
def test_dprime_finds_what_is_planted(distance: float):
    hits, covered = NormalDist().cdf(distance / 2), 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = dprime_paired(rng.random(80) < hits, rng.random(80) < 1 - hits, seed=seed)
        covered += found.low <= distance <= found.high
    assert covered >= 32, "of 40: a 95% interval covers less often once in some 8,000 runs"


def test_pairs_that_are_all_alike_still_have_an_interval():
    found = dprime_paired([True] * 12, [False] * 12, seed=0)
    assert found.low < found.value == found.high or found.low < found.value < found.high
    none = dprime_paired([True] * 12, [True] * 12, seed=0)
    assert none.low < 0 < none.high


def test_unlike_lengths_are_refused():
    with pytest.raises(InputError, match="hits have 3 values and alarms 2"):
        dprime_paired([1, 0, 1], [1, 0], seed=0)
