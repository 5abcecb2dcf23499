"""Unity: planted one and planted none, intervals that cover, and every refusal."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.metrics import Pairs, cosines, unity
from homing.fracture.network import Layer, Network
from homing.fracture.truth import fractured

from .nets import FIRST, inputs, mirror, net, points


def test_a_folded_input_is_one_thing_and_the_label_says_that_this_is_trivial():
    found = unity(net("mixed"), mirror(alpha=0.0, fold="|x| is an input"), readout=FIRST)
    assert found.kappa.value == pytest.approx(1) and found.fracture.value == pytest.approx(0)
    assert "trivial" in found.label and "|x| is an input" in found.label


def test_a_first_layer_that_folds_is_labelled_too():
    base = net("mixed", widths=(4, 20, 20, 2))
    fold = Layer(np.eye(5)[:, [0, 2, 3, 4]], ("identity", "abs", "identity", "identity"))
    found = unity(Network((fold, *base.layers)), mirror(alpha=1.0), readout=FIRST, layers=[1, 2, 3])
    assert found.kappa.value == pytest.approx(1) and "equal after the first layer" in found.label


def test_tied_weights_are_no_sharing_that_was_learnt():
    """A network that sees either side through the same weights, written as gates that choose nothing."""
    base = net("relu")
    found = unity(fractured(base, 0.0), mirror(alpha=0.0, fold="weights are tied"), readout=FIRST)
    assert found.kappa.value == pytest.approx(1) and "weights are tied" in found.label


def test_private_copies_have_nothing_in_common():
    found = unity(fractured(net("mixed"), 1.0, layers=range(4)), mirror(), readout=FIRST)
    assert found.kappa.value == 0 and found.label == "" and found.refused is None


def test_untrained_networks_are_none_on_the_whole():
    """Nothing is there to find: over many draws kappa is near 0; one draw alone may lie far off it (see the scoreboard)."""
    pairs = mirror(64, alpha=1.0)
    found = [unity(net("mixed", seed=s), pairs, readout=FIRST, null="distance") for s in range(40)]
    values = [u.kappa.value for u in found if u.refused is None]
    assert len(values) >= 30 and abs(np.median(values)) <= 0.2


def test_intervals_cover():
    """B5: 200 samples of pairs of one network against the figure of a large one."""
    base = net("mixed", seed=1, widths=(5, 12, 12, 2))
    truth = unity(base, mirror(2500, alpha=0.4, seed=77), readout=FIRST).kappa.value
    hits = 0
    for s in range(200):
        k = unity(base, mirror(64, alpha=0.4, seed=1000 + s), readout=FIRST, seed=s).kappa
        hits += k.low <= truth <= k.high
    assert 0.90 <= hits / 200 <= 0.99


def test_clusters_widen_the_interval():
    xy = np.repeat(points(24), 10, axis=0) + 0.02 * np.random.default_rng(1).standard_normal((240, 2))
    pairs = Pairs(inputs(xy, 0.5), inputs(xy * [-1, 1], 0.5))
    alone, grouped = (
        unity(net("mixed"), replace(pairs, cluster=c), readout=FIRST).coupling
        for c in (None, np.repeat(np.arange(24), 10))
    )
    assert grouped.n == 24 and alone.n == 240 and grouped.half_width > 1.5 * alone.half_width


def test_the_same_seed_gives_the_same_figures():
    one, two = (unity(net("relu"), mirror(), readout=FIRST, seed=4) for _ in range(2))
    assert one == two and unity(net("relu"), mirror(), readout=FIRST, seed=5) != one


def test_a_cosine_of_a_row_with_itself_is_one():
    base, x = net("mixed"), mirror(20).a
    p = base.run(x)
    d = base.deltas(p, np.broadcast_to(FIRST, (20, 2)))
    assert cosines(base, p, d, p, d) == pytest.approx(np.ones(20))


def close_together() -> Pairs:
    """Inputs of which all but the constant is small: whatever one layer does, gradients are alike."""
    pairs = mirror()
    return replace(pairs, a=pairs.a * [0.1, 0.1, 0.1, 0.1, 1], b=pairs.b * [0.1, 0.1, 0.1, 0.1, 1])


def saturated() -> Network:
    first = Layer(np.array([[0.0], [1.0], [0.0], [0.0], [-10.0]]), ("relu",))
    return Network((first, Layer(np.ones((1, 2)), ("identity",) * 2)))


@pytest.mark.parametrize(
    ("network", "pairs", "why"),
    [
        (net("mixed"), mirror(alpha=0.0), None),
        (net("mixed"), mirror(15), "at least 16"),
        (net("mixed"), mirror(0), "at least 16"),
        (net("mixed"), mirror(60, cluster=np.arange(60) % 8), "8 pairs or clusters"),
        (saturated(), mirror(), "saturated"),
        (Network((Layer(np.full((5, 2), 1.0), ("identity",) * 2),)), close_together(), "unrelated inputs overlap"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_its_reason(network, pairs, why):
    found = unity(network, pairs, readout=FIRST)
    if why is None:
        gates = replace(pairs, gate_b=pairs.gate_a)
        found, why = unity(network, gates, readout=FIRST), "there is no pairing"
    assert found.refused is not None and why in found.refused
    assert not np.isfinite(found.kappa.value)
    assert json.loads(json.dumps(found.to_json()))["kappa"]["value"] is None


def test_gradients_that_are_not_finite_are_refused():
    base = net("mixed")
    last = base.layers[-1]
    broken = Network((*base.layers[:-1], replace(last, weights=last.weights * np.inf)))
    with np.errstate(all="ignore"):
        found = unity(broken, mirror(), readout=FIRST)
    assert "not finite" in str(found.refused)


def test_pairs_that_do_not_fit_are_refused():
    x = inputs(points(20), 0.5)
    with pytest.raises(InputError, match="shapes"):
        Pairs(x, x[:10])
    with pytest.raises(InputError, match="gate_b has shape"):
        Pairs(x, x, gate_b=np.zeros(3, bool))
    with pytest.raises(InputError, match="1 inputs of a are not finite"):
        Pairs(np.where(np.arange(100).reshape(20, 5) == 7, np.nan, x), x)
    with pytest.raises(InputError, match="takes 5 inputs"):
        unity(net("relu"), mirror(), readout=np.ones(3))
