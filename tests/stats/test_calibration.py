from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from homing.errors import InputError
from homing.stats.calibration import brier_parts, calibration_test, equal_mass, isotonic_map, platt_map
from homing.stats.seeds import stable_seed


def inside(hits: int, runs: int, rate: float, tail: float = 0.0005) -> bool:
    return binom.ppf(tail, runs, rate) <= hits <= binom.ppf(1 - tail, runs, rate)


def drawn(rng: np.random.Generator, n: int, over: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences that promise ``over`` too much, and their outcomes."""
    p = rng.uniform(0.2, 0.8, n)
    return p + over, (rng.random(n) < p).astype(float)


def test_equal_confidences_share_a_bin_and_bins_are_in_order() -> None:
    q = np.array([0.9, 0.1, 0.5, 0.5, 0.5, 0.5, 0.2, 0.95])
    codes = equal_mass(q, 4)
    assert len(set(codes[2:6])) == 1 and codes.max() + 1 == len(set(codes))
    assert all(codes[i] <= codes[j] for i in range(8) for j in range(8) if q[i] < q[j])
    assert set(equal_mass(np.full(9, 0.7), 5)) == {0}
    assert np.bincount(equal_mass(np.arange(40) / 40, 4)).tolist() == [10] * 4


def test_the_parts_are_the_score() -> None:
    rng = np.random.default_rng(3)
    q, y = drawn(rng, 200, 0.1)
    e = {k: v.value for k, v in brier_parts(q, y, seed=0, draws=200).items()}
    assert e["brier"] == pytest.approx(np.mean((q - y) ** 2))
    assert e["reliability"] - e["resolution"] + e["uncertainty"] == pytest.approx(e["brier"])
    turned = np.argsort(rng.random(200))
    again = {k: v.value for k, v in brier_parts(q[turned], y[turned], seed=0, draws=200).items()}
    assert again == pytest.approx(e), "the order of outcomes is nothing"
    sure = {k: v.value for k, v in brier_parts(y, y, seed=0, draws=200).items()}
    assert sure["brier"] == 0 and sure["ece"] == 0 and sure["resolution"] == pytest.approx(sure["uncertainty"])


def test_a_calibrated_source_has_no_error_on_the_mean_where_the_plain_one_has() -> None:
    rng = np.random.default_rng(stable_seed("test_a_calibrated_source"))
    found, plain = [], []
    for _ in range(400):
        q, y = drawn(rng, 64)
        codes = equal_mass(q, 8)
        gaps = [abs((y - q)[codes == b].sum()) for b in range(8)]
        plain.append(sum(gaps) / 64)
        e = brier_parts(q, y, seed=0, bins=8, draws=100)
        found.append((e["ece"].value, e["reliability"].value))
    assert np.mean(plain) > 0.1, "the plain error is well above 0"
    # cut at 0, so that the mean is a little above it; about half of the estimates are 0
    assert np.mean(found, axis=0)[1] < 0.01 and 0.35 < np.mean([e == 0 for e, _ in found]) < 0.7


@pytest.mark.parametrize(("over", "n"), [(0.0, 64), (0.1, 64), (0.19, 64), (0.0, 200), (0.1, 200)])
def test_intervals_cover_at_their_rate(over: float, n: int) -> None:
    runs = 400
    rng = np.random.default_rng(stable_seed("test_intervals_cover", over, n))
    truth = {"ece": over, "reliability": over**2, "uncertainty": 0.25, "brier": 0.25 - 0.6**2 / 12 + over**2}
    truth["resolution"] = truth["reliability"] + truth["uncertainty"] - truth["brier"]
    covered = dict.fromkeys(truth, 0)
    for i in range(runs):
        q, y = drawn(rng, n, over)
        e = brier_parts(q, y, seed=i, bins=min(10, n // 8), draws=200)
        for k, v in truth.items():
            covered[k] += e[k].low - 1e-9 <= v <= e[k].high + 1e-9
    print(f"RESULT calibration over {over} n {n}: " + ", ".join(f"{k} {c / runs:.3f}" for k, c in covered.items()))
    for k, c in covered.items():
        # intervals about a figure that cannot be below 0 may be too wide near it; none may be too narrow
        assert c >= binom.ppf(0.0005, runs, 0.95), k


def test_who_is_calibrated_is_flagged_at_the_nominal_rate_and_who_is_not_is_found() -> None:
    rng = np.random.default_rng(stable_seed("test_who_is_calibrated"))
    null = sum(calibration_test(*drawn(rng, 48), seed=i, bins=6, draws=400).p_value <= 0.05 for i in range(400))
    found = sum(calibration_test(*drawn(rng, 96, 0.19), seed=i, bins=6, draws=400).p_value <= 0.05 for i in range(50))
    print(
        f"RESULT calibration test: null flagged {null / 400:.3f} of 0.05, an overconfidence of 0.19 in {found / 50:.2f}"
    )
    assert inside(null, 400, 0.05) and found >= 35


def test_maps_find_what_was_planted_and_score_well_on_others() -> None:
    rng = np.random.default_rng(5)
    q, y = drawn(rng, 4000, 0.19)
    other, outcome = drawn(rng, 4000, 0.19)
    for fit in (isotonic_map, platt_map):
        m = fit(q, y)
        assert (np.diff(m.worth) >= -1e-12).all() and m.worth.min() >= 0 and m.worth.max() <= 1
        inner = np.linspace(0.45, 0.93, 9)
        assert m(inner) == pytest.approx(inner - 0.19, abs=0.08), m.kind
        assert np.mean((m(other) - outcome) ** 2) < np.mean((other - outcome) ** 2) - 0.02
    steps = isotonic_map([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1])
    assert steps.worth.tolist() == [0.0, 0.5, 0.5, 1.0]
    assert isotonic_map([0.9, 0.9, 0.9, 0.9], [0, 1, 1, 1])([0.1, 0.9]).tolist() == [0.75, 0.75]


def test_a_logistic_map_is_that_of_greatest_likelihood_and_never_falls() -> None:
    rng = np.random.default_rng(7)
    q, y = drawn(rng, 300, 0.1)
    m, x = platt_map(q, y), np.log(q / (1 - q))
    target = np.where(y > 0, (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2))
    assert np.sum(m(q) - target) == pytest.approx(0, abs=0.1) and np.sum((m(q) - target) * x) == pytest.approx(
        0, abs=0.2
    )
    falling = platt_map([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0])
    assert np.ptp(falling.worth) == 0 and falling([0.5]) == pytest.approx(0.5)
    constant = platt_map(np.full(20, 0.9), [1] * 5 + [0] * 15)
    assert constant([0.9]) == pytest.approx(0.27, abs=0.02)
    apart = platt_map([0.0, 0.1, 0.9, 1.0], [0, 0, 1, 1])
    assert 0 < apart([0.0])[0] < apart([1.0])[0] < 1


@pytest.mark.parametrize(
    ("q", "y", "says"),
    [
        ([0.5, 1.2], [0, 1], "between 0 and 1"),
        ([0.5, 0.2], [0, 2], "must be 0 or 1"),
        ([0.5, 0.2], [0, 1, 1], "one outcome a confidence"),
        ([0.5], [1], "at least 2"),
        ([0.5, float("nan")], [0, 1], "not finite"),
    ],
)
def test_bad_input_is_one_sentence(q: list[float], y: list[int], says: str) -> None:
    for use in (lambda: brier_parts(q, y, seed=0), lambda: isotonic_map(q, y), lambda: platt_map(q, y)):
        with pytest.raises(InputError, match=says):
            use()
    with pytest.raises(InputError, match="bins are 0"):
        equal_mass([0.5], 0)
