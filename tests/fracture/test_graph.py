"""Graphs and the layers they become: the same numbers, room for every kind, and what cannot be drawn is said."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.graph import Graph, Unit
from homing.fracture.grids import INPUTS, coordinates, inputs
from homing.fracture.network import ACTIVATIONS


def random_graph(seed: int) -> Graph:
    """Up to 40 units, each of which reads a few of those before it; up to three outputs at any depth, an input among them."""
    rng = np.random.default_rng(seed)
    names, units = list(INPUTS), dict[str, Unit]()
    for i in range(int(rng.integers(1, 41))):
        read = rng.choice(names, min(len(names), int(rng.integers(0, 5))), replace=False).tolist()
        units[f"u{i}"] = Unit(str(rng.choice(list(ACTIVATIONS))), {r: float(rng.normal()) for r in read})
        names.append(f"u{i}")
    return Graph(INPUTS, units, tuple(rng.choice(names, int(rng.integers(1, 4)), replace=False).tolist()))


@pytest.mark.parametrize("seed", range(20))
def test_layers_draw_what_the_graph_draws(seed):
    """A2: at most 1e-9 apart, in float64, on 20 random graphs."""
    graph, x = random_graph(seed), inputs(coordinates(16))
    made = graph.layerize()
    assert np.abs(made.network(x) - graph(x)).max() <= 1e-9
    passed, values = made.network.run(x), graph.values(x)
    for name, (layer, place) in made.where.items():
        assert np.abs(passed.inputs[layer + 1][:, place] - values[name]).max() <= 1e-9
    widths = {layer.width for layer in made.network.layers[:-1]}
    assert len(widths) == 1 and made.plan.startswith(f"{len(made.network.layers) - 1};")


def test_a_value_is_carried_to_its_last_reader_and_every_layer_has_room():
    units = {
        "a": Unit("sin", {"x": 2.0}),
        "g": Unit("gaussian", {"a": 1.0}),
        "c": Unit("gaussian", {"g": 1.0, "x": 3.0}),
        "waste": Unit("relu", {"c": 1.0}),
    }
    made = Graph(INPUTS, units, ("c",)).layerize()
    assert made.plan == "3;cache:1,gaussian:1,sin:1"
    assert "waste" not in made.where
    first, second, third, pick = (layer.weights for layer in made.network.layers)
    assert np.argwhere(first).tolist() == [[1, 0], [1, 2]] and first[1].tolist() == [
        1.0,
        0.0,
        2.0,
    ]  # x carried, a reads it
    assert np.argwhere(second).tolist() == [[0, 0], [2, 1]]
    assert third[0, 1] == 3.0 and third[1, 1] == 1.0 and np.count_nonzero(third) == 2
    assert pick.ravel().tolist() == [0.0, 1.0, 0.0]
    assert [int(r.sum()) for r in made.real] == [1, 1, 2, 0]


@pytest.mark.parametrize(
    ("units", "outputs", "says"),
    [
        ({"a": Unit("sin", {"x": 1.0, "c": 1.0}), "c": Unit("sin", {"a": 1.0})}, ("a",), "has a cycle"),
        ({"a": Unit("sin", {"a": 1.0})}, ("a",), "has a cycle"),
        ({"a": Unit("step", {})}, ("a",), "'step' of unit a is unknown"),
        ({"a": Unit("sin", {"z": 1.0})}, ("a",), "reads 'z', which is not there"),
        ({"a": Unit("sin", {"x": float("nan")})}, ("a",), "give a finite number"),
        ({"x": Unit("sin", {})}, ("x",), "have one name"),
        ({}, ("q",), "output 'q' is not there"),
        ({}, (), "has no output"),
    ],
)
def test_what_cannot_be_drawn_is_said(units, outputs, says):
    with pytest.raises(InputError, match=says):
        Graph(INPUTS, units, outputs)


def test_a_graph_too_large_for_layers_is_refused_before_room_is_made():
    units = {"u0": Unit("sin", {"x": 1.0})}
    for i in range(1, 1500):
        units[f"u{i}"] = Unit("sin", {f"u{i - 1}": 1.0, f"u{max(0, i - 700)}": 1.0})
    with pytest.raises(InputError, match="as layers this graph would have 1500"):
        Graph(INPUTS, units, ("u1499",)).layerize()
