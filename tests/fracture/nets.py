"""Networks and mirror pairs for these tests; a network reads y, some of |x|, some of x, the distance and 1."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from homing.fracture.metrics import Pairs
from homing.fracture.network import Layer, Network

RELU, MIXED = ("relu",), ("tanh", "sin", "gaussian", "identity", "identity", "sigmoid")
KINDS = {"relu": RELU, "mixed": MIXED}
FIRST, SECOND = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def points(n: int, seed: int = 0) -> np.ndarray:
    xy = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    xy[:, 0] = -np.abs(xy[:, 0])
    return xy


def inputs(xy: np.ndarray, alpha: float) -> np.ndarray:
    x, y = xy.T
    return np.stack([y, (1 - alpha) * np.abs(x), alpha * x, np.hypot(x, y), np.ones(len(x))], axis=1)


def mirror(n: int = 200, alpha: float = 0.25, seed: int = 0, **more) -> Pairs:
    xy = points(n, seed)
    a, b = inputs(xy, alpha), inputs(xy * [-1, 1], alpha)
    return Pairs(a, b, np.zeros(n, bool), np.ones(n, bool), "left and right", **more)


def net(kind: str, seed: int = 0, widths=(5, 20, 20, 20, 2), bias: bool = False) -> Network:
    rng, layers = np.random.default_rng(seed), []
    for i, (a, b) in enumerate(pairwise(widths)):
        last = i == len(widths) - 2
        kinds = ("identity",) * b if last else tuple(str(k) for k in rng.choice(KINDS[kind], b))
        w = rng.standard_normal((a, b)) * np.sqrt((2 if kind == "relu" and not last else 1) / a)
        layers.append(Layer(w, kinds, 0.1 * rng.standard_normal(b) if bias else None))
    return Network(tuple(layers))


def single(network: Network) -> Network:
    """The same in float32."""

    def cut(v):
        return None if v is None else v.astype(np.float32)

    return Network(
        tuple(
            Layer(cut(y.weights), y.kinds, cut(y.bias), y.split, cut(y.other), cut(y.other_bias))
            for y in network.layers
        )
    )
