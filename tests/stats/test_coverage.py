import math

import numpy as np
import pytest
from scipy.stats import norm

import homing.stats as s

from .coverage import assert_covers


def _clustered(rng, clusters=30, size=5):
    base = np.repeat(rng.normal(size=clusters), size)
    return base + rng.normal(size=base.size), np.repeat(np.arange(clusters), size)


def _rate(rng, seed):
    p = rng.uniform(0.05, 0.95)
    return s.wilson(int(rng.binomial(60, p)), 60), p


def _paired_rate(rng, seed):
    table = rng.dirichlet([2, 1, 1, 2])
    return s.newcombe_paired(*(int(k) for k in rng.multinomial(80, table))), float(table[1] - table[2])


def _ratio_of_rates(rng, seed):
    p, q = rng.uniform(0.2, 0.8, 2)
    return s.koopman(int(rng.binomial(60, p)), 60, int(rng.binomial(80, q)), 80), float(p / q)


def _mean(rng, seed):
    x, c = _clustered(rng)
    return s.bootstrap_mean(x, clusters=c, seed=seed, draws=1000), 0.0


def _mean_few(rng, seed):
    x, c = _clustered(rng, clusters=8)
    return s.bootstrap_mean(x, clusters=c, seed=seed, draws=1000), 0.0


def _mean_studentised(rng, seed):
    x, c = _clustered(rng)
    return s.bootstrap_mean(np.exp(x / 2), clusters=c, seed=seed, draws=1000, studentised=True), math.exp(0.25)


def _difference_paired(rng, seed):
    x, c = _clustered(rng)
    return s.bootstrap_difference(x + 0.5, x + rng.normal(size=x.size), clusters=c, seed=seed, draws=1000), 0.5


def _difference_unpaired(rng, seed):
    x, c = _clustered(rng, clusters=20)
    y, d = _clustered(rng, clusters=12)
    labels = [f"b{k}" for k in d]
    return s.bootstrap_difference(x + 0.5, y, clusters=c, clusters_b=labels, seed=seed, draws=1000), 0.5


def _fieller(rng, seed):
    x, c = _clustered(rng)
    return s.ratio_of_means(x + 2, x + rng.normal(size=x.size) + 4, clusters=c, seed=seed), 0.5


def _ratio_bootstrap(rng, seed):
    x, c = _clustered(rng)
    y = x + rng.normal(size=x.size) + 4
    return s.ratio_of_means(x + 2, y, clusters=c, seed=seed, draws=1000, method="bootstrap"), 0.5


def _two_way(rng, seed):
    m = rng.normal(size=(25, 1)) + rng.normal(size=(1, 25)) + 0.5 * rng.normal(size=(25, 25))
    return s.two_way_bootstrap(lambda r, c: m[np.ix_(r, c)].mean(), 25, 25, seed=seed, draws=300), 0.0


def _auroc(rng, seed):
    return s.auroc(rng.normal(size=40) + 1, rng.normal(size=60)), float(norm.cdf(1 / math.sqrt(2)))


def _auroc_null(rng, seed):
    return s.auroc(rng.normal(size=40), rng.normal(size=60)), 0.5


def _auroc_clustered(rng, seed):
    x, c = _clustered(rng, 40, 4)
    y, d = _clustered(rng, 40, 4)
    scores, labels = np.concatenate([x + 1, y]), np.repeat([1, 0], [x.size, y.size])
    estimate = s.auroc_clustered(scores, labels, clusters=np.concatenate([c, d + 100]), seed=seed, draws=500)
    return estimate, float(norm.cdf(0.5))


def _correlation(rng, seed):
    x = rng.normal(size=50)
    return s.correlation(x, 0.75 * x + rng.normal(size=50), seed=seed), 0.6


def _correlation_clustered(rng, seed):
    c = np.repeat(np.arange(50), 4)
    u, v = rng.normal(size=(2, 50))
    x = u[c] + rng.normal(size=200)
    y = 0.5 * (u[c] + v[c]) + rng.normal(size=200)
    return s.correlation(x, y, clusters=c, seed=seed, draws=1000), 0.5 / math.sqrt(2 * 1.5)


def _slope(rng, seed):
    c = np.repeat(np.arange(30), 4)
    dose = np.tile([0.0, 1.0, 2.0, 4.0], 30)
    y = rng.normal(size=30)[c] + (1 + 0.3 * rng.normal(size=30))[c] * dose + rng.normal(size=120)
    return s.linear_or_quadratic(dose, y, clusters=c, seed=seed, draws=1000).slope, 1.0


def _r_squared(rng, seed):
    x = rng.normal(size=(200, 2))
    y = x @ [1.0, 0.5] + math.sqrt(1.25) * rng.normal(size=200)
    return s.cross_validated_r2(x, y, seed=seed, draws=500), 0.494  # 0.5 less what training on 180 costs


@pytest.mark.parametrize(
    "make",
    [
        _rate, _paired_rate, _ratio_of_rates, _mean, _mean_few, _mean_studentised, _difference_paired,
        _difference_unpaired, _fieller, _ratio_bootstrap, _auroc, _auroc_null, _auroc_clustered, _correlation,
        _correlation_clustered, _slope, _r_squared,
    ],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_coverage(make):
    assert_covers(make.__name__, make)


@pytest.mark.slow
def test_coverage_two_way():
    assert_covers("two_way", _two_way)


@pytest.mark.slow
def test_two_way_is_never_too_narrow_where_only_the_residual_matters():
    def make(rng, seed):
        m = rng.normal(size=(15, 15))
        return s.two_way_bootstrap(lambda r, c: m[np.ix_(r, c)].mean(), 15, 15, seed=seed, draws=300), 0.0

    assert_covers("two_way_residual", make, at_least=True)


@pytest.mark.slow
def test_coverage_variance_share():
    scale = np.ones(40)
    scale[0] = 4.0

    def make(rng, seed):
        return s.variance_share(rng.normal(size=(120, 40)) * scale, seed=seed, draws=200), 16 / 55

    assert_covers("variance_share", make)


@pytest.mark.slow
@pytest.mark.parametrize("replies", [1.0, 3.0, math.inf])
def test_coverage_predicted_auroc(replies):
    def make(rng, seed):
        q = rng.normal(size=(1, 16)) * 0.5
        role = rng.normal(size=(40, 1)) + q + rng.normal(size=(40, 16))
        home = 1.5 + 0.3 * rng.normal(size=(10, 1)) + q + rng.normal(size=(10, 16))
        (hr, hc), (rr, rc) = np.indices(home.shape), np.indices(role.shape)
        e = s.predicted_auroc_intervals(
            home.ravel(), role.ravel(), home_rows=hr.ravel(), home_columns=hc.ravel(), role_rows=rr.ravel(),
            role_columns=rc.ravel(), seed=seed, replies=(replies,), draws=200,
        )[0]  # fmt: skip
        rest = 0.0 if math.isinf(replies) else 2 * 1.25 / replies
        return e, float(norm.cdf(1.5 / math.sqrt(1 + 0.09 + rest)))

    assert_covers(f"predicted_auroc_{replies}", make, at_least=True)


def test_quantile_interval_covers_what_it_says():
    def make(rng, seed):
        return s.quantile_interval(rng.exponential(size=60), 0.8), -math.log(0.2)

    said = float(make(np.random.default_rng(0), 0)[0].method.rsplit(" ", 1)[1])
    assert said >= 0.95
    assert_covers("quantile_interval", make, repetitions=2000, nominal=said)
