"""The studentised permutation test of two means: its level where there is nothing, and its power where there is."""

import math

import numpy as np
import pytest
from scipy.stats import nct, t, ttest_ind

import homing.stats as s

from .coverage import region, seed_of


def rejections(name, draw, repetitions, draws=199, alpha=0.05):
    """How often the test says 5%; with 199 relabellings a p-value of 5% is one that can be had."""
    rng = np.random.default_rng(seed_of(name))
    hits = sum(
        s.permutation_two_sample(*draw(rng), seed=int(rng.integers(2**31)), draws=draws).p_value <= alpha + 1e-12
        for _ in range(repetitions)
    )
    print(f"RATE {name} {hits / repetitions:.4f} ({repetitions})")
    return hits


def normal(n, m, sd_a=1.0, sd_b=1.0, shift=0.0):
    return lambda g: (g.normal(size=n) * sd_a + shift, g.normal(size=m) * sd_b)


#: the smaller group varies more, where an unstudentised test of the pooled labels says 5% in a fifth of all runs
NULLS = {
    "equal": normal(20, 20),
    "small": normal(5, 5),
    "unequal sizes": normal(8, 40),
    "unequal variances": normal(30, 30, sd_a=3.0),
    "smaller varies more": normal(15, 60, sd_a=3.0),
    "larger varies more": normal(15, 60, sd_b=3.0),
    "ties": lambda g: (g.integers(0, 3, 15).astype(float), g.integers(0, 3, 25).astype(float)),
    "skewed": lambda g: (g.exponential(size=25), g.exponential(size=25)),
}


@pytest.mark.parametrize("name", sorted(NULLS))
def test_level(name):
    low, high = region(1000, 0.05)
    assert low <= rejections(f"two sample {name}", NULLS[name], 1000) <= high


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NULLS))
def test_level_to_half_a_percent(name):
    low, high = region(4000, 0.05)
    assert low <= rejections(f"two sample slow {name}", NULLS[name], 4000, draws=999) <= high


def test_the_plain_difference_of_means_would_not_keep_its_level():
    """Why the test is studentised: without that, unequal variances in unequal groups are called a difference."""
    rng = np.random.default_rng(seed_of("plain"))
    hits = 0
    for _ in range(300):
        a, b = NULLS["smaller varies more"](rng)
        rows = rng.permuted(np.tile(np.concatenate([a, b]), (199, 1)), axis=1)
        gaps = np.abs(rows[:, : a.size].mean(axis=1) - rows[:, a.size :].mean(axis=1))
        hits += (np.sum(gaps >= abs(a.mean() - b.mean())) + 1) / 200 <= 0.05
    assert hits > region(300, 0.05)[1]


def power_of_t(n, m, shift, alpha=0.05):
    """Power of Student's t test at equal variances."""
    dof, away = n + m - 2, shift / math.sqrt(1 / n + 1 / m)
    edge = t.ppf(1 - alpha / 2, dof)
    return float(nct.sf(edge, dof, away) + nct.cdf(-edge, dof, away))


@pytest.mark.parametrize(("n", "m", "shift"), [(20, 20, 0.9), (12, 40, 1.0), (30, 30, 0.5)])
def test_power_is_that_of_students_t(n, m, shift):
    """Less a twentieth, which 199 relabellings and the separate variances cost."""
    power = power_of_t(n, m, shift)
    hits = rejections(f"two sample power {n} {m}", normal(n, m, shift=shift), 600)
    assert region(600, power - 0.05)[0] <= hits <= region(600, power)[1]


def test_p_value_is_welchs_where_many_units_make_them_one():
    rng = np.random.default_rng(seed_of("welch"))
    for shift in (0.0, 0.2, 0.35):
        a, b = rng.normal(size=150) * 2 + shift, rng.normal(size=90)
        mine = s.permutation_two_sample(a, b, seed=0, draws=20_000).p_value
        assert mine == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, abs=0.012)


def test_what_must_not_matter_does_not():
    rng = np.random.default_rng(seed_of("two sample identities"))
    a, b = rng.normal(size=9), rng.normal(size=14) + 0.7
    one = s.permutation_two_sample(a, b, seed=3, draws=2000)
    assert one.n == 23 and one.statistic == pytest.approx(a.mean() - b.mean())
    assert one == s.permutation_two_sample(a, b, seed=3, draws=2000)
    scaled = s.permutation_two_sample(5 * a - 3, 5 * b - 3, seed=3, draws=2000)
    assert scaled.p_value == one.p_value and scaled.statistic == pytest.approx(5 * one.statistic)
    mirrored = s.permutation_two_sample(-a, -b, seed=3, draws=2000)
    assert mirrored.p_value == one.p_value and mirrored.statistic == -one.statistic
    swapped = s.permutation_two_sample(b, a, seed=3, draws=20_000)
    assert swapped.p_value == pytest.approx(one.p_value, abs=0.03) and swapped.statistic == -one.statistic


def test_without_any_variation_nothing_is_found_and_a_clean_step_is():
    same = s.permutation_two_sample([2.0] * 6, [2.0] * 8, seed=0, draws=200)
    assert (same.statistic, same.p_value) == (0.0, 1.0)
    step = s.permutation_two_sample([1.0] * 8, [0.0] * 8, seed=0, draws=2000)
    assert step.p_value < 0.005
