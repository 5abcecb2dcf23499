"""The shares of the return experiment on scripts of known truth: intervals cover, and a sham is flagged at its nominal rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from homing.instruments.return_arms import distance_of, share
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

RUNS = 2000


def scripts(rng: np.random.Generator, n: int, kept: float, wobble: float) -> tuple[dict[str, float], dict[str, float]]:
    """Squared distances left and returned: scripts differ by a fifth, and each reading has an error of its own."""
    size = 4.0 * (1 + 0.2 * rng.standard_normal(n))
    before = size**2 + wobble * rng.standard_normal(n)
    after = (kept * size) ** 2 + wobble * rng.standard_normal(n)
    return ({str(k): float(v) for k, v in enumerate(x)} for x in (after, before))


@pytest.mark.parametrize("n", [4, 12])
@pytest.mark.parametrize("kept", [1.0, 0.7, 0.3])
def test_a_share_covers_what_was_planted(n: int, kept: float):
    rng = np.random.default_rng(stable_seed("test_a_share_covers", n, kept))
    hits, told = 0, 0
    for k in range(RUNS):
        now, before = scripts(rng, n, kept, 3.0)
        found = share(now, before, tag=str(k))
        if isinstance(found, Estimate):
            told += 1
            hits += found.low <= 1 - kept <= found.high
    assert told > (0.85 if n == 4 else 0.99) * RUNS  # four scripts are not always clear of 0
    assert binom.ppf(0.0005, told, 0.93) <= hits  # skewed squares of four scripts fall a little short of 95%
    if kept == 1.0:
        assert hits <= binom.ppf(0.9995, told, 0.97), "a sham is flagged about as often as the level says"


@pytest.mark.parametrize("n", [4, 12])
def test_a_distance_that_is_not_there_is_flagged_at_its_level(n: int):
    rng = np.random.default_rng(stable_seed("test_a_distance_that_is_not_there", n))
    above = 0
    for _ in range(RUNS):
        found = distance_of({str(k): float(v) for k, v in enumerate(3.0 * rng.standard_normal(n))})
        assert found is not None
        above += found.low > 0
    assert binom.ppf(0.0005, RUNS, 0.025) <= above <= binom.ppf(0.9995, RUNS, 0.025)


def test_a_share_of_a_push_that_moved_nothing_is_hardly_ever_given():
    rng = np.random.default_rng(stable_seed("test_a_share_of_a_push"))
    given = 0
    for k in range(RUNS):
        before = {str(i): float(v) for i, v in enumerate(3.0 * rng.standard_normal(8))}
        given += isinstance(share(before, before, tag=str(k)), Estimate)
    assert given <= binom.ppf(0.9995, RUNS, 0.025)
