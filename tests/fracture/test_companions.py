"""Entanglement, feature symmetry, edit transfer and the vector of parameters, each against a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.companions import entanglement, feature_symmetry
from homing.fracture.edits import edit_transfer
from homing.fracture.metrics import Pairs
from homing.fracture.network import Layer, Network
from homing.fracture.parameters import flatten, gradient, unflatten
from homing.fracture.truth import fractured, rescaled, rotated

from .nets import FIRST, SECOND, inputs, mirror, net, points


def test_one_hidden_unit_for_two_concepts_is_all_shared_and_one_each_is_not():
    x = np.random.default_rng(0).standard_normal((50, 2)) + 3
    out = Layer(np.ones((1, 2)), ("identity",) * 2)
    one = Network((Layer(np.ones((2, 1)), ("tanh",)), out))
    assert entanglement(one, x, a=FIRST, b=SECOND).value == pytest.approx(1)
    each = Network((Layer(np.ones((2, 2)), ("tanh", "sin")), Layer(np.eye(2), ("identity",) * 2)))
    found = entanglement(each, x, a=FIRST, b=SECOND)
    assert found.value == 0 and found.n == 50


def test_entanglement_is_of_two_concepts():
    with pytest.raises(InputError, match="one concept"):
        entanglement(net("relu"), mirror().a, a=FIRST, b=-2 * FIRST)
    with pytest.raises(InputError, match="shapes"):
        entanglement(net("relu"), mirror().a, a=np.ones(3), b=np.ones(3))
    with pytest.raises(InputError, match="no hidden layer"):
        entanglement(Network((Layer(np.ones((5, 2)), ("tanh",) * 2),)), mirror().a, a=FIRST, b=SECOND)


def test_feature_symmetry_of_even_and_odd_maps():
    xy = points(60)
    pairs = Pairs(xy, xy * [-1, 1])

    def of(kind: str, weights) -> float:
        w = np.array(weights, float)
        return feature_symmetry(
            Network((Layer(w, (kind,) * w.shape[1]), Layer(np.ones((w.shape[1], 1)), ("sin",)))), pairs
        ).value

    assert of("abs", [[1, 0], [0, 1]]) == pytest.approx(0)
    assert of("tanh", [[1], [0]]) == pytest.approx(1)
    assert of("identity", [[1, 0], [0, 1]]) == pytest.approx(0.5)
    both = feature_symmetry(net("mixed"), mirror())
    assert both.low < both.value < both.high and both.n == 200
    with pytest.raises(InputError, match="no hidden unit varies"):
        of("relu", [[0], [0]])
    with pytest.raises(InputError, match="at least 2"):
        feature_symmetry(net("mixed"), mirror(1))


def test_the_rotation_that_moves_feature_symmetry_is_a_gauge_of_unity():
    base, pairs = net("mixed"), mirror(alpha=0.8)
    assert abs(feature_symmetry(rotated(base, 0.7), pairs).value - feature_symmetry(base, pairs).value) > 1e-3


def test_an_edit_passes_to_a_partner_that_shares_all_and_to_none_that_shares_nothing():
    pairs = mirror(12, alpha=0.0, fold="|x| is an input")
    base = net("mixed")
    whole = edit_transfer(base, pairs, readout=FIRST)
    assert whole.transfer.value == pytest.approx(1) and whole.failed == 0 and whole.steps >= 1
    none = edit_transfer(fractured(base, 1.0, layers=range(4)), pairs, readout=FIRST)
    assert none.transfer.value == pytest.approx(0, abs=1e-12) and none.excess.value == pytest.approx(0, abs=1e-12)
    half = edit_transfer(fractured(base, 0.5), pairs, readout=FIRST)
    assert 0.1 < half.transfer.value < 0.95


def test_edits_are_made_in_the_balanced_gauge():
    base, pairs = net("relu"), mirror(8)
    was, now = (edit_transfer(n, pairs, readout=FIRST).transfer.value for n in (base, rescaled(base)))
    assert now == pytest.approx(was, rel=1e-6)


def test_edits_that_get_nowhere_are_counted_and_then_refused():
    with pytest.raises(InputError, match="no edit of 20 places"):
        edit_transfer(net("relu"), mirror(20), readout=FIRST, most_steps=1, change=5)
    dead = Network((Layer(-np.ones((5, 1)) * 9, ("relu",)), Layer(np.ones((1, 2)), ("identity",) * 2)))
    x = np.abs(inputs(points(20), 0.5)) + 1
    with pytest.raises(InputError, match="no edit"):
        edit_transfer(dead, Pairs(x, x + 1), readout=FIRST)


@pytest.mark.parametrize("bias", [False, True])
def test_the_gradient_is_the_slope_of_every_parameter(bias):
    base = fractured(net("mixed", widths=(5, 7, 6, 2), bias=bias), 0.5, seed=1)
    pairs = mirror(10)
    x, gate, of = (
        np.vstack([pairs.a, pairs.b]),
        np.r_[pairs.gate_a, pairs.gate_b],
        np.random.default_rng(0).normal(size=(20, 2)),
    )
    theta = flatten(base)
    copies = sum(0 if y.other_bias is None or y.split is None else int(y.split.sum()) for y in base.layers)
    assert len(theta) == base.parameters + copies  # which counts no bias of private copies
    assert np.array_equal(unflatten(base, theta)(x, gate=gate), base(x, gate=gate))
    got = gradient(base, base.run(x, gate=gate), of)
    for k in range(0, len(theta), 7):
        step = np.zeros_like(theta)
        step[k] = 1e-6
        up, down = ((unflatten(base, theta + s * step)(x, gate=gate) * of).sum() for s in (1, -1))
        assert got[k] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-7)


def test_parameters_of_another_number_are_refused():
    with pytest.raises(InputError, match="give one value for each"):
        unflatten(net("relu"), np.zeros(10_000))
    with pytest.raises(InputError, match="give a vector"):
        unflatten(net("relu"), np.zeros((2, 2)))
