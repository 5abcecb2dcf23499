"""Training of a plain dense network on a picture: Adam on the gradient divided by its norm, all pixels at once.

That is what 2505.11581 calls SGD (its code, not its text, says Adam and the division). Trained in float32, for speed; the loss
that is reported is that of the finished network in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.network import F64, Layer, Network
from homing.stats.seeds import stable_seed

__all__ = ["Told", "Trained", "initial", "loss_of", "train"]

F32 = NDArray[np.float32]
Told = Callable[[int, float], None]
"""Is told the step and the loss there."""
RATE, FAST, SLOW, TINY = 3e-3, 0.9, 0.999, 1e-8
EVERY = 100
CLOSE, HALVINGS = 0.97, 30
"""A loss that training stops at is met to so much, by halving the last step so often at most."""


@dataclass(frozen=True, eq=False, slots=True)
class Trained:
    """A trained network.

    Attributes:
        loss: mean squared error over pixels and outputs. ``steps``: done. ``reached``: whether the wanted loss was.
        curve: loss at every hundredth step, the first included.
    """

    network: Network
    loss: float
    steps: int
    reached: bool
    curve: tuple[float, ...]


def initial(inputs: int, kinds: Sequence[str], layers: int, outputs: int = 1, *, seed: int = 0) -> Network:
    """An untrained network: ``layers`` hidden layers of units ``kinds``, identity outputs, no biases, LeCun normal weights.

    Weights have standard deviation ``1 / sqrt(inputs of the layer)`` and are cut nowhere.
    """
    if layers < 1 or not kinds:
        raise InputError(f"{layers} layers of {len(kinds)} units were asked for; give at least one layer of one unit")
    rng = np.random.default_rng(stable_seed("initial network", seed))
    ordered = tuple(sorted(kinds))
    widths = [inputs, *[len(ordered)] * layers, outputs]
    made = [
        Layer(rng.standard_normal((n, m)) / np.sqrt(n), ordered if i < layers else ("identity",) * m)
        for i, (n, m) in enumerate(pairwise(widths))
    ]
    return Network(tuple(made))


def loss_of(network: Network, x: F64, target: F64) -> float:
    """Mean squared error over rows and outputs."""
    return float(((network(x) - target) ** 2).mean())


class _Runs:
    """Units of one layer by runs of one activation, on ``(units, rows)`` arrays."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.runs: list[tuple[str, slice]] = []
        start = 0
        for i in range(1, len(kinds) + 1):
            if i == len(kinds) or kinds[i] != kinds[start]:
                self.runs.append((kinds[start], slice(start, i)))
                start = i

    def activate(self, z: F32) -> F32:
        h = z.copy()
        for kind, s in self.runs:
            if kind != "identity":
                h[s] = _value(kind, z[s])
        return h

    def back(self, d: F32, z: F32, h: F32) -> None:
        """Multiplies ``d`` by the slopes, in place."""
        for kind, s in self.runs:
            if kind != "identity":
                d[s] *= _slope(kind, z[s], h[s])


def _value(kind: str, z: F32) -> F32:
    match kind:
        case "sin":
            return np.sin(z)
        case "cos":
            return np.cos(z)
        case "gaussian":
            return 2 * np.exp(-z * z) - 1
        case "tanh":
            return np.tanh(z)
        case "sigmoid":
            return np.tanh(z / 2)
        case "relu":
            return np.maximum(z, 0)
        case _:
            return np.abs(z)


def _slope(kind: str, z: F32, h: F32) -> F32:
    match kind:
        case "sin":
            return np.cos(z)
        case "cos":
            return -np.sin(z)
        case "gaussian":
            return -2 * z * (h + 1)
        case "tanh":
            return 1 - h * h
        case "sigmoid":
            return np.float32(0.5) * (1 - h * h)
        case "relu":
            return (z > 0).astype(np.float32)
        case _:
            return np.sign(z)


def train(
    network: Network,
    x: F64,
    target: F64,
    *,
    steps: int,
    until: float = 0.0,
    rate: float = RATE,
    told: Told | None = None,
) -> Trained:
    """Train a copy of a network without biases and private copies.

    Args:
        x: ``(n, inputs)``. ``target``: ``(n, outputs)``. ``steps``: at most. ``until``: stop at the first step whose loss is not
            above it, and go only so far of that step, so that it is hardly below. ``told``: called every 100 steps.

    Raises:
        InputError: shapes that do not fit, or a loss that stops being a number.
    """
    if any(layer.bias is not None or layer.split is not None for layer in network.layers):
        raise InputError("a network with biases or private copies is not trained here; give one of plain weights")
    shape = (network.layers[0].weights.shape[0], network.layers[-1].width)
    if x.shape[1:] != shape[:1] or target.shape != (len(x), shape[1]) or not len(x):
        raise InputError(
            f"inputs {x.shape} and targets {target.shape} do not fit a network of {shape[0]} inputs, {shape[1]} outputs"
        )
    theta = np.concatenate([layer.weights.ravel() for layer in network.layers]).astype(np.float32)
    grad = np.zeros_like(theta)
    weights, slopes, at = list[F32](), list[F32](), 0
    for layer in network.layers:
        n = layer.weights.size
        weights.append(theta[at : at + n].reshape(layer.weights.shape))
        slopes.append(grad[at : at + n].reshape(layer.weights.shape))
        at += n
    runs = [_Runs(layer.kinds) for layer in network.layers]
    inputs, wanted = np.ascontiguousarray(x.T, np.float32), np.ascontiguousarray(target.T, np.float32)
    mean, square = np.zeros_like(theta), np.zeros_like(theta)

    def forward() -> tuple[list[F32], list[F32], F32, float]:
        hs, zs = [inputs], list[F32]()
        for w, run in zip(weights, runs, strict=True):
            zs.append(w.T @ hs[-1])
            hs.append(run.activate(zs[-1]))
        error = hs[-1] - wanted
        return hs, zs, error, float((error * error).mean(dtype=np.float64))

    curve, step, loss, before = list[float](), 0, float("inf"), theta.copy()
    for step in range(steps + 1):
        hs, zs, error, loss = forward()
        if not np.isfinite(loss):
            raise InputError(f"the loss is no number at step {step}; give a smaller rate than {rate}")
        if step % EVERY == 0:
            curve.append(loss)
            if told is not None:
                told(step, loss)
        if loss <= until or step == steps:
            break
        d = error * np.float32(2 / error.size)
        for i in range(len(weights) - 1, -1, -1):
            runs[i].back(d, zs[i], hs[i + 1])
            slopes[i][...] = hs[i] @ d.T
            if i:
                d = weights[i] @ d
        size = float(np.linalg.norm(grad))
        if size > 0:
            grad /= size
        mean += (1 - FAST) * (grad - mean)
        square += (1 - SLOW) * (grad * grad - square)
        fast, slow = 1 - FAST ** (step + 1), 1 - SLOW ** (step + 1)
        before[...] = theta
        theta -= rate * (mean / fast) / (np.sqrt(square / slow) + TINY)
    if step and loss < CLOSE * until:
        # one step may halve a loss that goes up and down, so of the last one only as much is taken as it needs
        low, high, after = 0.0, 1.0, theta.copy()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            theta[...] = before + np.float32(middle) * (after - before)
            now = forward()[-1]
            low, high = (middle, high) if now > until else (low, middle)
            if CLOSE * until <= now <= until:
                break
        theta[...] = before + np.float32(high) * (after - before)
    made = Network(
        tuple(Layer(w.astype(np.float64), layer.kinds) for w, layer in zip(weights, network.layers, strict=True))
    )
    final = loss_of(made, x, target)
    return Trained(made, final, step, loss <= until, tuple(curve))
