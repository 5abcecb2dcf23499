"""Gradients against differences, and the overlap against the gradients themselves."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.network import ACTIVATIONS, Layer, Network, gradient_overlap
from homing.fracture.parameters import gradient, unflatten


def random_net(seed: int = 0, *, bias: bool = False, split: bool = False) -> Network:
    rng = np.random.default_rng(seed)
    kinds = (*ACTIVATIONS, "relu")
    layers, width = [], 3
    for out in (kinds, kinds[::-1], ("identity", "sin")):
        w = rng.standard_normal((width, len(out))) / np.sqrt(width)
        layers.append(
            Layer(
                w,
                out,
                rng.standard_normal(len(out)) if bias else None,
                rng.random(len(out)) < 0.5 if split else None,
                rng.standard_normal(w.shape) if split else None,
                rng.standard_normal(len(out)) if split and bias else None,
            )
        )
        width = len(out)
    return Network(tuple(layers))


@pytest.mark.parametrize("bias", [False, True])
def test_gradients_are_the_slopes_of_the_outputs(bias):
    net, rng = random_net(bias=bias), np.random.default_rng(1)
    x, of = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    got = unflatten(net, gradient(net, net.run(x), of)).layers
    for i, layer in enumerate(net.layers):
        for at in [(0, 0), (2, 1)]:

            def value(e: float, i: int = i, at: tuple[int, int] = at, layer: Layer = layer) -> float:
                w = layer.weights.copy()
                w[at] += e
                moved = Layer(w, layer.kinds, layer.bias)
                return float((Network((*net.layers[:i], moved, *net.layers[i + 1 :]))(x) * of).sum())

            assert got[i].weights[at] == pytest.approx((value(1e-6) - value(-1e-6)) / 2e-6, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("bias", [False, True])
def test_the_overlap_is_the_inner_product_of_the_gradients(bias):
    net, rng = random_net(bias=bias), np.random.default_rng(2)
    x, y, of = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    a, b = net.run(x), net.run(y)
    got = gradient_overlap(net, a, net.deltas(a, of), b, net.deltas(b, of))
    for n in range(4):
        one, two = (gradient(net, net.run(z[n : n + 1]), of[n : n + 1]) for z in (x, y))
        assert got[n] == pytest.approx(one @ two, rel=1e-12)


def test_a_copy_that_is_not_shared_has_no_part_in_the_overlap():
    layer = Layer(np.ones((1, 2)), ("identity", "identity"), split=np.array([True, False]), other=np.ones((1, 2)))
    net, x, of = Network((layer,)), np.ones((1, 1)), np.ones((1, 2))
    off, on = net.run(x, gate=np.array([False])), net.run(x, gate=np.array([True]))
    d = net.deltas(off, of)
    assert gradient_overlap(net, off, d, off, d)[0] == 2
    assert gradient_overlap(net, off, d, on, net.deltas(on, of))[0] == 1


def test_what_does_not_fit_is_said_in_one_sentence():
    with pytest.raises(InputError, match="'step' is unknown"):
        Layer(np.ones((1, 1)), ("step",))
    one = Layer(np.ones((1, 2)), ("sin", "sin"))
    with pytest.raises(InputError, match="gives 2 values and layer 1 takes 1"):
        Network((one, Layer(np.ones((1, 1)), ("sin",))))
