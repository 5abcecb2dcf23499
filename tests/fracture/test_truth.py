"""Gauges and doses leave every output (B1); gauges leave unity and entanglement (B2); doses move what they should (B3, B4)."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.companions import entanglement
from homing.fracture.gauges import balanced, pruned
from homing.fracture.metrics import Pairs, unity
from homing.fracture.network import Layer, Network
from homing.fracture.scoreboard import spearman
from homing.fracture.truth import (
    GAUGES,
    cloned,
    disguised,
    entangled,
    fractured,
    gated_relu,
    mixed,
    padded,
    rescaled,
    rotated,
    stretched,
)

from .nets import FIRST, SECOND, inputs, mirror, net, points, single

DOSED = {
    "F": lambda n: fractured(n, 0.5, seed=1),
    "F disguised": lambda n: disguised(fractured(n, 1.0, seed=1), seed=2),
    "X": lambda n: entangled(n, 4.0, seed=1),
    "R": lambda n: rotated(n, 0.6),
    "X and F": lambda n: fractured(entangled(n, 2.0, seed=1), 0.5, seed=2),
}


def both(pairs):
    x = np.vstack([pairs.a, pairs.b])
    return x, np.r_[pairs.gate_a, pairs.gate_b]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["relu", "mixed"])
@pytest.mark.parametrize("name", [*GAUGES, *DOSED])
def test_outputs_stay(name, kind, bias):
    base = net(kind, bias=bias)
    if name == "R" and kind == "relu":
        with pytest.raises(InputError, match="two linear units"):
            rotated(base, 0.1)
        return
    changed = (GAUGES | DOSED)[name](base)
    x, gate = both(mirror())
    want, got = base(x), changed(x, gate=gate)
    assert np.abs(got - want).max() <= 1e-10
    assert (got.argmax(axis=1) == want.argmax(axis=1)).all()
    coarse = single(changed)(x.astype(np.float32), gate=gate)
    assert coarse.dtype == np.float32 and np.abs(coarse - want).max() <= 1e-5 * max(1, np.abs(want).max())


@pytest.mark.parametrize("copies", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["relu", "mixed"])
@pytest.mark.parametrize("name", [*GAUGES, "R"])
def test_gauges_leave_unity_and_entanglement(name, kind, copies):
    if name == "R" and kind == "relu":
        pytest.skip("no linear units")
    base = fractured(net(kind, seed=3, bias=True), copies, seed=4)
    changed = rotated(base, 0.7) if name == "R" else GAUGES[name](base, seed=5)
    pairs = mirror()
    x, gate = both(pairs)
    was, now = (unity(n, pairs, readout=FIRST) for n in (base, changed))
    assert now.coupling.value == pytest.approx(was.coupling.value, abs=1e-6)
    assert now.null.value == pytest.approx(was.null.value, abs=1e-6)
    was, now = (entanglement(n, x, a=FIRST, b=SECOND, gate=gate).value for n in (base, changed))
    assert now == pytest.approx(was, abs=1e-6)


def test_without_the_gauge_unity_moves_and_outputs_do_not():
    base, pairs = net("relu", seed=3), mirror()
    was, now = (unity(n, pairs, readout=FIRST, balance=False).coupling.value for n in (base, rescaled(base)))
    assert abs(now - was) > 0.01


def test_the_scale_of_linear_units_is_no_gauge_that_is_fixed():
    """A known limit: outputs stay, and unity moves. Rotations of linear units, which are a gauge, leave it."""
    base, pairs = net("mixed", seed=3), mirror()
    changed = stretched(base)
    assert np.abs(changed(pairs.a) - base(pairs.a)).max() <= 1e-10
    was, now = (unity(n, pairs, readout=FIRST).coupling.value for n in (base, changed))
    assert 1e-4 < abs(now - was) < 0.2


def test_a_balanced_network_has_equal_norms_and_the_same_function():
    base = rescaled(net("relu", bias=True), seed=1)
    fixed, x = balanced(base), mirror().a
    assert np.abs(fixed(x) - base(x)).max() <= 1e-10
    for layer, after in zip(fixed.layers, fixed.layers[1:], strict=False):
        came = (layer.weights**2).sum(axis=0) + layer.bias**2
        assert came == pytest.approx((after.weights**2).sum(axis=1), rel=1e-6)
    again = balanced(fixed)
    assert all(np.allclose(a.weights, b.weights) for a, b in zip(fixed.layers, again.layers, strict=True))


def test_pruning_cuts_the_dead_joins_clones_and_keeps_twins_that_cancel():
    base = net("mixed")
    assert [y.width for y in pruned(padded(cloned(base, copies=3))).layers] == [y.width for y in base.layers]
    twins = entangled(base, 1.0, units=3)
    assert [y.width for y in pruned(twins).layers] == [y.width for y in twins.layers]
    silent = Network((Layer(np.zeros((2, 3)), ("relu",) * 3), Layer(np.ones((3, 1)), ("identity",))))
    assert pruned(silent).layers[0].width == 1
    assert (balanced(silent)(np.ones((4, 2))) == 0).all()


@pytest.mark.parametrize("kind", ["relu", "mixed"])
def test_fracture_follows_its_dose(kind):
    """B3: five doses, eight redraws; C over the layers that were split, mean of redraws, near (1 - q) C(0) up to q = .75.

    The last layer stays shared, and in a shallow network that is no small part. One redraw may lie further off: which units are
    split is chance, and in a layer of 20 a few carry most.
    """
    pairs, base = mirror(80, alpha=0.1), net(kind, seed=6)
    doses, hidden = np.repeat([0, 0.25, 0.5, 0.75, 1], 8), range(3)
    made = [balanced(fractured(base, q, seed=i)) for i, q in enumerate(doses)]
    whole, c = (
        np.array([unity(n, pairs, readout=FIRST, layers=at, balance=False).coupling.value for n in made])
        for at in (None, hidden)
    )
    assert c[0] > 0.9 and c[-1] == 0 and whole[-1] > 0
    assert spearman(doses, 1 - whole, seed=0, draws=100).value >= 0.95
    for q in (0.25, 0.5, 0.75):
        assert abs(c[doses == q].mean() - (1 - q) * c[0]) <= 0.12


def test_fracture_of_every_layer_leaves_nothing_in_common():
    base, pairs = net("mixed"), mirror()
    found = unity(fractured(base, 1.0, layers=range(4)), pairs, readout=FIRST)
    assert found.coupling.value == 0 and found.null.value == 0 and found.kappa.value == 0


def test_physical_copies_of_a_relu_network_do_the_same_with_the_gate_as_an_input():
    base, pairs = net("relu", bias=True), mirror(alpha=0.1)
    x, gate = both(pairs)
    n, found = len(pairs), []
    for q in (0, 0.25, 0.5, 0.75, 1):
        made = gated_relu(base, q, x, seed=1)
        assert np.abs(made(np.c_[x, gate]) - base(x)).max() <= 1e-10
        split = Pairs(np.c_[pairs.a, np.zeros(n)], np.c_[pairs.b, np.ones(n)])
        found.append(unity(made, split, readout=FIRST).coupling.value)
    assert (np.diff(found) < 0).all() and found[-1] < 0.1


def two_tasks(kind):
    """Two networks side by side, of one input and no common unit."""
    parts = [net(kind, seed=s, widths=(5, 16, 16, 16, 1)) for s in (1, 2)]
    layers = []
    for i, (a, b) in enumerate(zip(*(p.layers for p in parts), strict=True)):
        w = np.hstack([a.weights, b.weights])
        if i:
            w = np.zeros((a.weights.shape[0] + b.weights.shape[0], a.width + b.width))
            w[: a.weights.shape[0], : a.width], w[a.weights.shape[0] :, a.width :] = a.weights, b.weights
        layers.append(Layer(w, a.kinds + b.kinds))
    return Network(tuple(layers))


@pytest.mark.parametrize("kind", ["relu", "mixed"])
def test_entanglement_follows_its_dose_from_none(kind):
    base, pairs = two_tasks(kind), mirror()
    x, _ = both(pairs)
    gains = (0, 0.25, 0.5, 1, 2, 4)
    found = [entanglement(entangled(base, g, seed=1), x, a=FIRST, b=SECOND).value for g in gains]
    assert found[0] == 0 and (np.diff(found) > 0).all() and found[-1] > 0.05


def test_doses_that_do_not_fit_are_refused():
    base = net("mixed")
    with pytest.raises(InputError, match="between 0 and 1"):
        fractured(base, 1.5)
    with pytest.raises(InputError, match="private copies already"):
        fractured(fractured(base, 0.5), 0.5)
    with pytest.raises(InputError, match="made of ReLU units"):
        gated_relu(base, 0.5, inputs(points(4), 0.5))
    with pytest.raises(InputError, match="two linear units"):
        rotated(net("relu"), 0.1)
    assert mixed(net("relu")).layers[0].width == 20
