import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

import homing.stats as s
from homing.errors import InputError

from .coverage import region, seed_of


def rejections(name, p_value, repetitions=400):
    rng = np.random.default_rng(seed_of(name))
    return sum(p_value(rng) < 0.05 for _ in range(repetitions))


def test_oracles():
    e = s.wilson(3, 17)
    assert (e.low, e.high) == pytest.approx(proportion_confint(3, 17, method="wilson"))
    e = s.koopman(10, 40, 5, 50)
    oracle = confint_proportions_2indep(10, 40, 5, 50, compare="ratio", method="score", correction=False)
    assert (e.low, e.high) == pytest.approx(oracle, rel=1e-4)
    assert s.mcnemar_exact(3, 9).p_value == pytest.approx(mcnemar([[5, 3], [9, 4]], exact=True).pvalue)
    p = np.array([0.01, 0.2, 0.03, 0.04, 0.9])
    reject, adjusted, *_ = multipletests(p, method="fdr_bh")
    got = s.benjamini_hochberg(p)
    assert np.allclose(got.adjusted, adjusted) and (got.rejected == reject).all()
    for q in (p, np.array([0.04, 0.01, 0.02]), np.array([1.0, 1.0]), np.array([0.03])):
        reject, adjusted, *_ = multipletests(q, method="holm")
        got = s.holm(q)
        assert np.allclose(got.adjusted, adjusted) and (got.rejected == reject).all()
    with pytest.raises(InputError, match="between 0 and 1"):
        s.holm([0.5, 1.5])


def test_koopman_published_example_and_every_small_count():
    e = s.koopman(36, 40, 16, 80)  # Koopman 1984
    assert (e.value, e.low, e.high) == pytest.approx((4.5, 2.939, 7.152), abs=2e-3)
    n = 9
    ends = {(a, b): s.koopman(a, n, b, n) for a in range(n + 1) for b in range(n + 1)}
    for (a, b), e in ends.items():
        assert (e.low == 0) == (a == 0) and (e.high == math.inf) == (b == 0)
        assert math.isnan(e.value) if a == b == 0 else e.low <= e.value <= e.high
        other = ends[b, a]
        assert a == 0 or b == 0 or (e.low, e.high) == pytest.approx((1 / other.high, 1 / other.low), rel=1e-6)
    grid = np.linspace(0.1, 0.9, 9)
    covered = []
    for p, q in ((p, q) for p in grid for q in grid):
        weights = [np.array([math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(n + 1)]) for x in (p, q)]
        inside = sum(weights[0][a] * weights[1][b] for (a, b), e in ends.items() if e.low <= p / q <= e.high)
        covered.append(inside)
    print(f"RESULT Koopman, 9 and 9: coverage {np.mean(covered):.3f}, least {min(covered):.3f}")
    assert np.mean(covered) > 0.95 and min(covered) > 0.92, "score intervals hold their level where counts are tiny"


def test_newcombe_published_example():
    e = s.newcombe_paired(36, 12, 2, 0)  # Newcombe 1998, table II
    assert (e.value, e.low, e.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=2e-4)


def test_permutation_null_and_planted():
    low, high = region(400, 0.05)
    null = rejections("permutation", lambda g: s.permutation_paired(g.normal(size=30), seed=1, draws=500).p_value)
    assert low <= null <= high
    clustered = rejections(
        "permutation_clustered",
        lambda g: (
            s.permutation_paired(np.repeat(g.normal(size=12), 5), clusters=np.repeat(np.arange(12), 5), seed=1).p_value
        ),
        repetitions=400,
    )
    assert low <= clustered <= high
    planted = rejections("permutation_power", lambda g: s.permutation_paired(g.normal(size=30) + 1, seed=1).p_value, 50)
    assert planted >= 48


def test_a_line_is_not_called_bent_and_a_bend_is():
    dose, c = np.tile([0.0, 1.0, 2.0, 4.0], 20), np.repeat(np.arange(20), 4)

    def p(g, bend):
        y = g.normal(size=20)[c] + dose + bend * dose**2 + g.normal(size=80)
        return s.linear_or_quadratic(dose, y, clusters=c, seed=0, draws=100).quadratic.p_value

    low, high = region(400, 0.05)
    assert low <= rejections("line", lambda g: p(g, 0.0)) <= high
    assert rejections("bend", lambda g: p(g, 0.4), 50) >= 45


def test_tost_verdicts():
    rng = np.random.default_rng(seed_of("tost"))
    x = rng.normal(size=400)
    x -= x.mean()
    assert s.tost_mean(x, margin=0.2).verdict == "equivalent"
    assert s.tost_mean(x + 0.5, margin=0.2).verdict == "different"
    assert s.tost_mean(x[:6] - x[:6].mean(), margin=0.05).verdict == "inconclusive"
    assert s.tost_proportion(450, 10, 12, 28, margin=0.05).verdict == "equivalent"
    assert s.tost_proportion(300, 100, 20, 80, margin=0.05).verdict == "different"
    assert s.tost_proportion(3, 1, 1, 3, margin=0.05).verdict == "inconclusive"


def test_tost_at_its_margin_is_a_five_percent_test():
    rng = np.random.default_rng(seed_of("tost_size"))
    said = sum(s.tost_mean(rng.normal(size=60) + 0.5, margin=0.5).verdict == "equivalent" for _ in range(1000))
    low, high = region(1000, 0.05)
    assert low <= said <= high


def test_order_statistic_promise():
    assert s.least_n(0.05, 0.95) == 59
    few = s.quantile_threshold(np.arange(58.0), alpha=0.05, confidence=0.95)
    assert not few.calibrated and few.alpha == pytest.approx(1 - 0.05 ** (1 / 58)) and few.value == 57.0
    assert s.quantile_threshold(np.arange(59.0), alpha=0.05, confidence=0.95).calibrated
    rng = np.random.default_rng(seed_of("promise"))
    kept = sum(
        1 - s.quantile_threshold(rng.uniform(size=100), alpha=0.05, confidence=0.95).value <= 0.05 for _ in range(2000)
    )
    low, _ = region(2000, 0.95)
    assert kept >= low
    rate = s.exceedance(s.quantile_threshold(np.arange(100.0), alpha=0.05, confidence=0.95))
    assert rate.low < rate.value < rate.high < 0.06


def test_reliability():
    assert s.spearman_brown(0.5) == pytest.approx(2 / 3)
    assert s.disattenuated_cosine(0.6, 0.81, 0.64) == pytest.approx(0.6 / 0.72)
    assert math.isnan(s.cosine([0, 0], [1, 2]))
    assert s.pcs_for_share([3, 2, 1], 0.7) == 2
    rng = np.random.default_rng(seed_of("halves"))
    axis = np.eye(200)[0] * 4

    def halves(truth):
        return lambda g: (truth + g.normal(size=200) * 0.1, truth + g.normal(size=200) * 0.1)

    planted, nothing = (s.split_half_cosine(halves(v), seed=1) for v in (axis, 0 * axis))
    assert planted.stepped_up > planted.raw > 0.8 and abs(nothing.raw) < 0.1
    cloud = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 60)) * 2 + rng.normal(size=(80, 60))
    assert s.parallel_analysis(cloud, seed=0, draws=50).count == 3
    assert s.parallel_analysis(rng.normal(size=(80, 60)), seed=0, draws=50).count <= 1


def test_variance_components_are_unbiased_with_holes():
    rng = np.random.default_rng(seed_of("components"))
    found = []
    for _ in range(200):
        y = rng.normal(size=(30, 1)) + 0.5 * rng.normal(size=(1, 16)) + rng.normal(size=(30, 16))
        r, c = np.indices(y.shape)
        keep = rng.uniform(size=y.shape) < 0.5
        v = s.variance_components(y[keep], rows=r[keep], columns=c[keep])
        found.append((v.row, v.column, v.residual))
    assert np.mean(found, axis=0) == pytest.approx((1.0, 0.25, 1.0), abs=0.06)


def test_auroc_edges():
    e = s.auroc([3.0, 4, 5], [0.0, 1, 2])
    assert e.value == e.high == 1.0 and e.low < 0.9
    tied = s.auroc_clustered([1, 1, 1, 1], [1, 1, 0, 0], clusters=[0, 1, 2, 3], seed=0)
    assert tied.value == 0.5


def test_refusals_say_what_to_do():
    for call in (
        lambda: s.wilson(5, 3),
        lambda: s.bootstrap_mean([1.0, math.nan], seed=0),
        lambda: s.bootstrap_mean([1.0, 2.0], clusters=["a"], seed=0),
        lambda: s.tost_mean([1.0, 2.0], margin=0),
        lambda: s.quantile_threshold([], alpha=0.05, confidence=0.95),
        lambda: s.auroc_clustered([1.0, 2.0], [1, 1], clusters=None, seed=0),
    ):
        with pytest.raises(InputError):
            call()


def test_same_seed_same_interval():
    x = np.random.default_rng(0).normal(size=40)
    assert s.bootstrap_mean(x, seed=5) == s.bootstrap_mean(x, seed=5) != s.bootstrap_mean(x, seed=6)


def test_exports_resolve():
    assert s.__all__ == sorted(s.__all__)
    assert all(getattr(s, name) is not None for name in s.__all__)
    assert callable(s.auroc)


def test_a_mean_over_rows_and_columns_is_tested_with_both_a_sample():
    rng = np.random.default_rng(seed_of("two_way_t"))
    rows, columns = np.repeat(np.arange(30), 8), np.tile(np.arange(8), 30)
    runs, flagged, naive = 400, 0, 0
    for _ in range(runs):
        x = 0.3 * rng.normal(size=30)[rows] + 0.3 * rng.normal(size=8)[columns] + 0.3 * rng.normal(size=240)
        flagged += s.two_way_t(x, rows=rows, columns=columns).p_value <= 0.05
        naive += s.two_way_t(x, rows=np.arange(240), columns=rows).p_value <= 0.05
    low, high = region(runs, 0.05)
    assert low <= flagged <= high, flagged / runs
    assert naive > 0.15 * runs, "columns that are taken for fixed are not"
    plain = s.two_way_t([1.0, 2.0, 1.5, 1.2], rows="aabb", columns="xyxy")
    assert plain.n == 2 and plain.statistic == pytest.approx(1.425) and 0 < plain.p_value < 1
    assert s.two_way_t([0.0, 0.0, 0.0, 0.0], rows="aabb", columns="xyxy").p_value == 1.0
    assert s.two_way_t([1.0, 2.0], rows="aa", columns="xy").p_value == 1.0, "one row tells nothing"
