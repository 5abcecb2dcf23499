from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from homing.errors import InputError
from homing.stats import pass_at_k
from homing.stats.seeds import stable_seed


def test_it_is_the_share_of_subsets_with_a_right_try_in_them():
    for right in range(6):
        tries = [i < right for i in range(5)] if right <= 5 else []
        for k in range(1, 6):
            counted = np.mean([any(x) for x in combinations(tries, k)])
            assert pass_at_k(5, right, k) == pytest.approx(counted)


def test_it_has_no_bias():
    rng = np.random.default_rng(stable_seed("test_pass_at_k_has_no_bias"))
    for p, k in ((0.1, 4), (0.5, 8), (0.8, 2)):
        got = np.array([pass_at_k(16, int(c), k) for c in rng.binomial(16, p, 4000)])
        assert abs(got.mean() - (1 - (1 - p) ** k)) < 4 * got.std() / np.sqrt(got.size)


def test_bad_counts_are_named():
    with pytest.raises(InputError, match="right tries are 4 of 3; give 0 to 3"):
        pass_at_k(3, 4, 1)
    with pytest.raises(InputError, match="k is 4 with 3 tries; give 1 to 3"):
        pass_at_k(3, 1, 4)
