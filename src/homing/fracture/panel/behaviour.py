"""Measures that move weights and look at the outputs: noise, and sweeps of one weight matched in effect."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from homing.errors import InputError
from homing.fracture.network import F64, Layer, Network
from homing.fracture.panel.base import Measure, Scene, mean_over
from homing.fracture.sweeps import EFFECT, matched
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["PANEL", "weight_noise"]

NOISE = 0.01
DRAWS = 20
SWEEPS = 48
CLOSE = 0.1
"""How near a sweep's effect comes to what all are scaled to, as a share of it."""


def _noisy(layer: Layer, rng: np.random.Generator, size: float) -> Layer:
    def blur(w: F64 | None) -> F64 | None:
        return None if w is None else w * (1 + size * rng.standard_normal(w.shape))

    weights = layer.weights * (1 + size * rng.standard_normal(layer.weights.shape))
    return replace(
        layer, weights=weights, bias=blur(layer.bias), other=blur(layer.other), other_bias=blur(layer.other_bias)
    )


def weight_noise(scene: Scene, *, size: float = NOISE, draws: int = DRAWS) -> Estimate:
    """Mean square change of the read-out when every weight is multiplied by ``1 + size * normal``; draws resampled."""
    rng = np.random.default_rng(stable_seed("weight noise", scene.seed))
    before = scene.network(scene.x, gate=scene.gate) @ scene.readout
    moved: list[float] = []
    for _ in range(draws):
        net = Network(tuple(_noisy(layer, rng, size) for layer in scene.network.layers))
        moved.append(float(np.mean((net(scene.x, gate=scene.gate) @ scene.readout - before) ** 2)))
    return mean_over(moved, "weight noise", scene)


def _swept(network: Network, at: tuple[int, bool, int, int], by: float) -> Network:
    i, private, row, column = at
    layer = network.layers[i]
    w = (layer.other if private and layer.other is not None else layer.weights).copy()
    w[row, column] += by
    moved = replace(layer, other=w) if private else replace(layer, weights=w)
    return Network((*network.layers[:i], moved, *network.layers[i + 1 :]))


def _places(network: Network) -> list[tuple[int, bool, int, int]]:
    """Every weight that is not 0; those of private copies too."""
    out: list[tuple[int, bool, int, int]] = []
    for i, layer in enumerate(network.layers):
        out += [(i, False, int(r), int(c)) for r, c in np.argwhere(layer.weights != 0)]
        if layer.other is not None and layer.split is not None:
            out += [(i, True, int(r), int(c)) for r, c in np.argwhere((layer.other != 0) & layer.split)]
    return out


def _sweep(scene: Scene) -> Estimate:
    """Mean odd share of what a sweep of one weight changes, each sweep scaled to the same effect; 0.5 is no symmetry."""
    pairs, rng = scene.pairs, np.random.default_rng(stable_seed("sweep", scene.seed))
    places = _places(scene.network)
    if not places:
        raise InputError("the network has no weight that is not 0; there is nothing to sweep")

    def read(net: Network) -> tuple[F64, F64]:
        return net(pairs.a, gate=pairs.gate_a) @ scene.readout, net(pairs.b, gate=pairs.gate_b) @ scene.readout

    base, shares = read(scene.network), list[float]()

    def changes(place: tuple[int, bool, int, int], by: float) -> tuple[F64, F64]:
        a, b = read(_swept(scene.network, place, by))
        return a - base[0], b - base[1]

    def effect(place: tuple[int, bool, int, int], by: float) -> float:
        a, b = changes(place, by)
        return float(np.mean(a**2) + np.mean(b**2)) / 2

    for k in rng.permutation(len(places))[: 4 * SWEEPS]:
        by = matched(partial(effect, places[int(k)]), EFFECT, within=CLOSE)
        if by is not None:
            a, b = changes(places[int(k)], by)
            shares.append(float(((a - b) ** 2).sum() / (2 * ((a**2).sum() + (b**2).sum()))))
        if len(shares) == SWEEPS:
            break
    if len(shares) < 4:
        raise InputError(f"{len(shares)} weights can be swept to an effect of {EFFECT}; at least 4 are needed")
    return mean_over(shares, "sweep", scene)


PANEL = {
    "weight_noise": Measure(
        "change under 1% weight noise",
        weight_noise,
        "unified networks are the more fragile, so that it points the wrong way",
    ),
    "sweep": Measure(
        "asymmetry of weight sweeps", _sweep, "cannot tell a trained network without symmetry from an untrained one"
    ),
}
