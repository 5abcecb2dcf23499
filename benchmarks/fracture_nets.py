"""Networks for the scoreboard: small ones that draw pictures of our own, and what becomes of them when they are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from homing.fracture.metrics import Pairs
from homing.fracture.network import F64, Layer, Network
from homing.fracture.panel.base import Scene
from homing.fracture.parameters import flatten, gradient, unflatten

SIDE = 24
KINDS = {"relu": ("relu",), "mixed": ("tanh", "sin", "gaussian", "identity", "identity", "sigmoid")}
FIRST, SECOND = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def grid() -> F64:
    """``(576, 2)`` of x and y; no point lies on the axis of symmetry."""
    at = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = np.meshgrid(at, at, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def inputs(xy: F64, alpha: float) -> F64:
    """y, ``(1 - alpha) |x|``, ``alpha x``, distance from the middle, and 1."""
    x, y = xy.T
    return np.stack([y, (1 - alpha) * np.abs(x), alpha * x, 1.4 * np.hypot(x, y), np.ones(len(xy))], axis=1)


def _soft(z: F64) -> F64:
    return 1 / (1 + np.exp(-z / 0.08))


def face(xy: F64) -> F64:
    """A head, two eyes and a mouth, 0 to 1, the same left and right."""
    x, y = np.abs(xy[:, 0]), xy[:, 1]
    head = _soft(0.85 - np.hypot(x, y))
    eye = _soft(0.2 - np.hypot(x - 0.38, y + 0.25))
    mouth = _soft(0.14 - np.hypot(x * 0.45, y - 0.42))
    return head * (1 - 0.8 * eye) * (1 - 0.6 * mouth)


def lattice(xy: F64) -> F64:
    """Another task: slanted waves with no symmetry of the face's."""
    return 0.5 + 0.4 * np.sin(4 * xy[:, 0] + 2.5 * xy[:, 1] + 0.7) * np.cos(3 * xy[:, 1])


def star(xy: F64) -> F64:
    """A second symmetric picture, for networks of two tasks."""
    x, y = np.abs(xy[:, 0]), xy[:, 1]
    return 0.5 + 0.45 * np.cos(5 * x + 1) * np.sin(4 * y + 0.5)


def hidden_patch(xy: F64) -> np.ndarray:
    """Where the right eye is; never shown in training."""
    return np.hypot(xy[:, 0] - 0.38, xy[:, 1] + 0.25) < 0.3


def fresh(kind: str, seed: int, widths: tuple[int, ...] = (5, 24, 24, 24, 2)) -> Network:
    """Untrained, scaled by the width it reads, without bias beside the input 1."""
    rng, layers = np.random.default_rng(seed), list[Layer]()
    for i, (a, b) in enumerate(pairwise(widths)):
        last = i == len(widths) - 2
        kinds = ("identity",) * b if last else tuple(str(k) for k in rng.choice(KINDS[kind], b))
        layers.append(
            Layer(rng.standard_normal((a, b)) * np.sqrt((2 if kind == "relu" and not last else 1) / a), kinds)
        )
    return Network(tuple(layers))


def trained(
    network: Network,
    x: F64,
    target: F64,
    readout: F64,
    *,
    steps: int,
    until: float = 0.0,
    rate: float = 4e-3,
    weight: F64 | None = None,
    gate: F64 | None = None,
) -> tuple[Network, float, int]:
    """Adam on the mean square error, all rows at once: the network, its loss, and the steps taken.

    Args:
        until: stop as soon as the loss is no more. ``weight``: of each row.
    """
    theta = flatten(network)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    w = np.ones(len(x)) if weight is None else weight
    net, loss = network, float("nan")
    for n in range(1, steps + 1):
        passed = net.run(x, gate=gate)
        off = passed.outputs @ readout - target
        loss = float((w * off**2).sum() / w.sum())
        if loss <= until:
            return net, loss, n
        g = gradient(net, passed, (2 * w * off / w.sum())[:, None] * readout)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        # nearer to the wanted loss the steps get shorter, so that all networks stop at the same one
        pace = rate if until == 0 else rate * min(1.0, max(0.1, loss / until - 1))
        theta = theta - pace * (m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-9)
        net = unflatten(net, theta)
    return net, loss, steps


def together(one: Network, two: Network) -> Network:
    """Two networks of one output each of two as one: they read the same inputs and share nothing else."""
    layers = list[Layer]()
    for i, (a, b) in enumerate(zip(one.layers, two.layers, strict=True)):
        wa, wb = a.weights, b.weights
        if i == 0:
            w, kinds = np.hstack([wa, wb]), a.kinds + b.kinds
        elif i == len(one.layers) - 1:
            w, kinds = np.vstack([np.c_[wa[:, 0], np.zeros(len(wa))], np.c_[np.zeros(len(wb)), wb[:, 0]]]), a.kinds
        else:
            w = np.vstack(
                [
                    np.hstack([wa, np.zeros((wa.shape[0], wb.shape[1]))]),
                    np.hstack([np.zeros((wb.shape[0], wa.shape[1])), wb]),
                ]
            )
            kinds = a.kinds + b.kinds
        layers.append(Layer(w, kinds))
    return Network(tuple(layers))


def mirrored(alpha: float, *, every: int = 1, hide: bool = False) -> Pairs:
    """The left half against its mirror image, which is the other context."""
    xy = grid()
    left = xy[(xy[:, 0] < 0)]
    if hide:
        left = left[~hidden_patch(left * [-1, 1])]
    left = left[::every]
    n = len(left)
    return Pairs(
        inputs(left, alpha), inputs(left * [-1, 1], alpha), np.zeros(n, bool), np.ones(n, bool),
        "left and right of the face", fold="|x| is an input" if alpha == 0 else "",
    )  # fmt: skip


def scene_of(
    network: Network, alpha: float, *, reference: Network | None = None, hide: bool = False, seed: int = 0
) -> Scene:
    """What every measure is given."""
    xy = grid()
    return Scene(
        network,
        inputs(xy, alpha),
        mirrored(alpha, hide=hide),
        FIRST,
        xy[:, 0] > 0,
        (SIDE, SIDE),
        SECOND,
        reference,
        seed,
    )


@dataclass(frozen=True)
class Outcomes:
    """What became of a network; errors are mean squares.

    Attributes:
        few_shot: error left on the right cheek after the left one was recoloured with 12 points, over that before.
        forgetting: error on the face after a second task was learnt. ``hidden``: error where the right eye was never shown.
    """

    few_shot: float
    forgetting: float
    hidden: float


def outcomes(network: Network, alpha: float, seed: int) -> Outcomes:
    """Train on, and see."""
    xy, rng = grid(), np.random.default_rng(seed)
    x, gate, t = inputs(xy, alpha), xy[:, 0] > 0, face(xy)
    cheek = [np.hypot(xy[:, 0] - s * 0.5, xy[:, 1] - 0.15) < 0.2 for s in (-1, 1)]
    wanted = np.where(cheek[0] | cheek[1], t - 0.4, t)
    shown = np.r_[rng.choice(np.flatnonzero(cheek[0]), 12, replace=False),
                  rng.choice(np.flatnonzero(~(cheek[0] | cheek[1])), 60, replace=False)]  # fmt: skip
    tuned, _, _ = trained(network, x[shown], wanted[shown], FIRST, steps=80, rate=1e-3, gate=gate[shown])

    def error(net: Network, of: F64, rows: np.ndarray) -> float:
        return float(np.mean((net(x, gate=gate)[rows, 0] - of[rows]) ** 2))

    later, _, _ = trained(network, x, lattice(xy), SECOND, steps=200, rate=1e-3, gate=gate)
    every = ~hidden_patch(xy)
    few = error(tuned, wanted, cheek[1]) / error(network, wanted, cheek[1])
    return Outcomes(few, error(later, t, every), error(network, t, hidden_patch(xy)))
