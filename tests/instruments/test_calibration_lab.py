from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from homing.errors import InputError
from homing.instruments.calibration_lab import LEVELS, REWARDS, Lab, Policies, run_lab

QUICK = Lab(seeds=4, steps=800, batch=16)


@pytest.fixture(scope="module")
def found():
    return {f.name.removeprefix("calibration_lab."): f for f in run_lab(QUICK)}


def test_before_it_learns_a_policy_is_calibrated() -> None:
    policies = Policies.calibrated(2)
    figures = policies.figures()
    assert abs(figures["own_overconfidence"][0]) < 0.02 and figures["ece"][0] < 0.08
    assert policies.truth.sum(axis=1) == pytest.approx(1.0) and (policies.truth[:, -1] == 0).all()


@pytest.mark.parametrize("reward", list(REWARDS))
def test_the_drawn_gradient_is_that_of_the_expected_reward(reward) -> None:
    policies, rng = Policies.calibrated(1), np.random.default_rng(2)
    policies.theta += rng.normal(size=policies.theta.shape) / 2
    policies.phi += rng.normal(size=policies.phi.shape) / 2
    rule, step = REWARDS[reward], 1e-5

    def exact(table, at) -> float:
        """Of the expected reward in the situation that an entry belongs to."""
        out = []
        for sign in (1, -1):
            table[at] += sign * step
            out.append(policies.expected(rule)[0, at[1]])
            table[at] -= sign * step
        return (out[0] - out[1]) / (2 * step)

    drawn = [policies.gradient(rule, 2000, rng) for _ in range(30)]
    for table, parts, places in (
        (policies.theta, [d[0] for d in drawn], [(0, 0, 0), (0, 3, 1), (0, 6, 4)]),
        (policies.phi, [d[1] for d in drawn], [(0, 0, 0), (0, 3, 0), (0, 5, 2)]),
    ):
        stacked = np.stack(parts)
        mean, error = stacked.mean(axis=0), stacked.std(axis=0, ddof=1) / np.sqrt(len(parts))
        for at in places:
            assert abs(mean[at] - exact(table, at)) < 4.5 * error[at] + 1e-6, (reward, at)


def test_a_bounded_proper_score_is_best_for_the_likeliest_answer_said_as_often_as_it_is_right() -> None:
    for p, never in ((0.35, 0.0), (0.65, 0.1), (0.95, 0.0)):

        def worth(rule, chance):
            return chance * rule(np.ones(11), LEVELS) + (1 - chance) * rule(np.zeros(11), LEVELS)

        brier = worth(REWARDS["brier"], p)
        assert abs(LEVELS[brier.argmax()] - p) <= 0.05 + 1e-9 and brier.max() > worth(REWARDS["brier"], never).max()
        assert np.ptp(worth(REWARDS["binary"], p)) == 0, "a reward for being right is silent on what is said"
    assert worth(REWARDS["log"], 0.0).max() > worth(REWARDS["log"], 0.35).max(), "surely wrong pays better than a guess"


def test_a_reward_for_being_right_destroys_calibration_and_a_proper_score_keeps_it(found) -> None:
    before, binary, brier, log = (found[k].estimates for k in ("before", "binary", "brier", "log"))
    assert binary["ece"].low > 0.15 > before["ece"].value and binary["overconfidence"].low > 0.15
    assert brier["ece"].high < 0.1 and abs(brier["overconfidence"].value) < 0.05
    assert binary["accuracy"].low > before["accuracy"].value and brier["accuracy"].low > before["accuracy"].value
    for e in (binary, brier):
        assert e["own_overconfidence"].low > 0.15, "the probability of the answer is lost under either"
    assert log["accuracy"].high < brier["accuracy"].low
    gap = found["brier_less_binary"].estimates
    assert gap["ece"].high < -0.1 and all(e.n == QUICK.seeds for e in gap.values())
    assert "changes calibration error" in found["brier_less_binary"].verdict


def test_it_repeats_and_another_seed_is_another_run(found) -> None:
    again = {f.name.removeprefix("calibration_lab."): f for f in run_lab(QUICK)}
    assert again == found
    short = Lab(seeds=2, steps=20)
    assert run_lab(short) != run_lab(short, seed=1)


@pytest.mark.parametrize(
    ("how", "says"), [({"seeds": 1}, "seeds of"), ({"batch": 1}, "batch of"), ({"rate": 0.0}, "rates of")]
)
def test_bad_input_is_one_sentence(how, says) -> None:
    with pytest.raises(InputError, match=says):
        Lab(**how)


@pytest.mark.slow
def test_it_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "homing.instruments.calibration_lab"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "calibration_lab.brier_less_binary" in done.stdout
