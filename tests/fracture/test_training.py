"""The trainer: its first step is Adam's on a gradient of length 1, it learns, it stops where it is told, and it repeats."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.network import ACTIVATIONS, Layer, Network
from homing.fracture.parameters import gradient, unflatten
from homing.fracture.training import RATE, initial, loss_of, train


def test_the_first_step_is_adams_on_the_normed_gradient():
    """Adam's first step is the rate, against the sign of each slope, by the gradients of the network itself."""
    net = initial(4, [*ACTIVATIONS, "gaussian"], 3, 2, seed=3)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 4)), rng.standard_normal((50, 2))
    passed = net.run(x)
    by = gradient(net, passed, 2 * (passed.outputs - y) / y.size)
    slopes = [layer.weights for layer in unflatten(net, by).layers]
    size = np.sqrt(sum((g**2).sum() for g in slopes))
    made = train(net, x, y, steps=1).network
    for before, after, g in zip(net.layers, made.layers, slopes, strict=True):
        want = before.weights - RATE * (g / size) / (np.abs(g / size) + 1e-8)
        clear = np.abs(g / size) > 1e-4
        assert np.abs(after.weights - want)[clear].max() < 1e-5


def test_it_learns_stops_where_it_is_told_and_repeats():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (200, 3))
    y = np.sin(2 * x[:, :1]) * 0.5 + 0.1 * x[:, 1:2]
    net = initial(3, ["sin"] * 4 + ["tanh"] * 4, 2, seed=0)
    told = list[tuple[int, float]]()
    made = train(net, x, y, steps=3000, until=1e-3, told=lambda s, v: told.append((s, v)))
    assert made.reached and made.loss <= 1.01e-3 and made.steps < 3000
    assert made.loss == loss_of(made.network, x, y)
    assert [v for _, v in told] == list(made.curve) and told[0][0] == 0
    again = train(net, x, y, steps=3000, until=1e-3)
    assert all((a.weights == b.weights).all() for a, b in zip(made.network.layers, again.network.layers, strict=True))
    short = train(net, x, y, steps=3, until=1e-9)
    assert not short.reached and short.steps == 3


def test_a_loss_is_met_and_not_passed():
    """A step may halve the loss; of the last only as much is taken as it needs."""
    x = np.linspace(-1, 1, 64)[:, None]
    ends = [
        train(initial(1, ["gaussian"] * 6 + ["sin"] * 2, 3, seed=s), x, np.cos(3 * x), steps=2000, until=2e-3)
        for s in range(6)
    ]
    assert all(e.reached for e in ends)
    assert all(0.96 * 2e-3 < e.loss <= 2e-3 * (1 + 1e-4) for e in ends)


def test_weights_begin_as_lecun_says():
    net = initial(4, ["identity"] * 60, 3, seed=5)
    for layer in net.layers[1:3]:
        assert layer.weights.std() * np.sqrt(60) == pytest.approx(1, abs=0.05)
    assert (initial(4, ["sin"], 1, seed=1).layers[0].weights != initial(4, ["sin"], 1, seed=2).layers[0].weights).all()


def test_what_cannot_be_trained_is_said():
    net = initial(2, ["sin"], 1)
    x = np.zeros((5, 2))
    with pytest.raises(InputError, match="do not fit a network of 2 inputs, 1 outputs"):
        train(net, x, np.zeros((4, 1)), steps=1)
    with pytest.raises(InputError, match="do not fit"):
        train(net, np.zeros((5, 3)), np.zeros((5, 1)), steps=1)
    with pytest.raises(InputError, match="no number at step 0"):
        train(net, x + np.nan, np.zeros((5, 1)), steps=1)
    with pytest.raises(InputError, match="biases or private copies"):
        train(Network((Layer(np.ones((2, 1)), ("sin",), np.zeros(1)),)), x, np.zeros((5, 1)), steps=1)
    with pytest.raises(InputError, match="at least one layer"):
        initial(2, [], 1)
