"""A rate seen through a judge that errs."""

from __future__ import annotations

import math

import homing.stats as s

from .coverage import assert_covers


def seen_through(rng, seed):
    true, se, sp = rng.uniform(0.2, 0.8), rng.uniform(0.75, 0.95), rng.uniform(0.75, 0.95)
    seen = s.wilson(int(rng.binomial(600, true * se + (1 - true) * (1 - sp))), 600)
    sensitivity, specificity = (s.wilson(int(rng.binomial(60, p)), 60) for p in (se, sp))
    return s.rogan_gladen(seen, sensitivity, specificity), float(true)


def test_the_interval_covers_the_true_rate():
    assert_covers("rogan_gladen", seen_through, repetitions=2000)


def test_a_judge_that_never_errs_changes_little_and_one_that_guesses_tells_nothing():
    seen, sure, coin = s.wilson(300, 1000), s.wilson(400, 400), s.wilson(50, 100)
    got = s.rogan_gladen(seen, sure, sure)
    assert math.isclose(got.value, seen.value) and math.isclose(got.half_width, seen.half_width, rel_tol=0.1)
    assert math.isnan(s.rogan_gladen(seen, coin, coin).value)
