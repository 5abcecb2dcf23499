# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Known truth: the same function written in other ways, and the same function with a known dose of fracture or entanglement.

A gauge (G1 to G5) must not move a score; a dose must move the right one and leave the other. None of them changes an output.
Private copies go along with the unit they belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.gauges import HOMOGENEOUS
from homing.fracture.network import F64, Layer, Network

__all__ = [
    "GAUGES",
    "cloned",
    "disguised",
    "entangled",
    "fractured",
    "gated_relu",
    "mixed",
    "padded",
    "permuted",
    "rescaled",
    "rotated",
    "stretched",
]

I64 = NDArray[np.int64]


def _columns(layer: Layer, take: I64) -> Layer:
    return Layer(
        layer.weights[:, take],
        tuple(layer.kinds[int(i)] for i in take),
        None if layer.bias is None else layer.bias[take],
        None if layer.split is None else layer.split[take],
        None if layer.other is None else layer.other[:, take],
        None if layer.other_bias is None else layer.other_bias[take],
    )


def _rows(layer: Layer, take: I64, scale: F64) -> Layer:
    other = None if layer.other is None else layer.other[take] * scale[:, None]
    return replace(layer, weights=layer.weights[take] * scale[:, None], other=other)


def _turned(layer: Layer, matrix: F64, *, columns: bool) -> Layer:
    """Incoming weights times a matrix, or outgoing weights times its transpose."""

    def turn(w: F64) -> F64:
        return w @ matrix if columns else matrix.T @ w

    def turn_bias(b: F64 | None) -> F64 | None:
        return b @ matrix if columns and b is not None else b

    return replace(
        layer,
        weights=turn(layer.weights),
        bias=turn_bias(layer.bias),
        other=None if layer.other is None else turn(layer.other),
        other_bias=turn_bias(layer.other_bias),
    )


def permuted(network: Network, *, seed: int = 0) -> Network:
    """G1: hidden units in another order."""
    rng, layers = np.random.default_rng(seed), list(network.layers)
    for i in range(len(layers) - 1):
        order = rng.permutation(layers[i].width)
        layers[i], layers[i + 1] = _columns(layers[i], order), _rows(layers[i + 1], order, np.ones(len(order)))
    return Network(tuple(layers))


def rescaled(network: Network, *, seed: int = 0, spread: float = 2.0) -> Network:
    """G2: every hidden ReLU or abs unit times ``exp(spread * normal)``, and what reads it by its inverse."""
    rng, layers = np.random.default_rng(seed), list(network.layers)
    for i in range(len(layers) - 1):
        free = np.array([k in HOMOGENEOUS for k in layers[i].kinds])
        s = np.where(free, np.exp(spread * rng.standard_normal(len(free))), 1.0)
        layers[i] = _turned(layers[i], np.diag(s), columns=True)
        layers[i + 1] = _turned(layers[i + 1], np.diag(1 / s), columns=False)
    return Network(tuple(layers))


def _linear(layer: Layer) -> list[I64]:
    """Linear units, those with a private copy apart."""
    split = np.zeros(layer.width, bool) if layer.split is None else layer.split
    linear = np.array([k == "identity" for k in layer.kinds])
    return [np.flatnonzero(linear & (split == s)) for s in (False, True)]


def mixed(network: Network, *, seed: int = 0) -> Network:
    """G3: hidden linear units of a layer mixed by a random rotation, which the next layer takes back."""
    rng, layers = np.random.default_rng(seed), list(network.layers)
    for i in range(len(layers) - 1):
        q = np.eye(layers[i].width)
        for at in _linear(layers[i]):
            q[np.ix_(at, at)] = np.linalg.qr(rng.standard_normal((len(at), len(at))))[0]
        layers[i], layers[i + 1] = _turned(layers[i], q, columns=True), _turned(layers[i + 1], q, columns=False)
    return Network(tuple(layers))


def stretched(network: Network, *, seed: int = 0, spread: float = 0.5) -> Network:
    """Every hidden linear unit times ``exp(spread * normal)``, which the next layer takes back.

    The balanced gauge does *not* fix this. A linear unit may be written in any basis, of which rotations alone keep the overlap
    of plain gradients. Here to show the limit.
    """
    rng, layers = np.random.default_rng(seed), list(network.layers)
    for i in range(len(layers) - 1):
        linear = np.array([k == "identity" for k in layers[i].kinds])
        s = np.where(linear, np.exp(spread * rng.standard_normal(len(linear))), 1.0)
        layers[i] = _turned(layers[i], np.diag(s), columns=True)
        layers[i + 1] = _turned(layers[i + 1], np.diag(1 / s), columns=False)
    return Network(tuple(layers))


def cloned(network: Network, *, seed: int = 0, share: float = 0.25, copies: int = 2) -> Network:
    """G4: a share of hidden units in several copies, each with an equal part of what the unit gave."""
    rng, layers = np.random.default_rng(seed), list(network.layers)
    for i in range(len(layers) - 1):
        n = layers[i].width
        times = np.ones(n, int)
        times[rng.choice(n, max(1, round(share * n)), replace=False)] = copies
        take = np.repeat(np.arange(n), times)
        layers[i], layers[i + 1] = _columns(layers[i], take), _rows(layers[i + 1], take, 1.0 / times[take])
    return Network(tuple(layers))


def padded(network: Network, *, seed: int = 0, units: int = 4) -> Network:
    """G5: dead units in each hidden layer, half of which read nothing and half of which are read by nothing."""
    rng, layers = np.random.default_rng(seed), list(network.layers)
    for i in range(len(layers) - 1):
        old = layers[i]
        kinds = [str(k) for k in rng.choice(sorted(set(old.kinds)), units)]
        into = _scale(old.weights) * rng.standard_normal((old.weights.shape[0], units))
        into[:, ::2] = 0
        layers[i] = _with_units(old, into, kinds)
        layers[i + 1] = _with_readers(layers[i + 1], np.zeros((units, layers[i + 1].width)))
    return Network(tuple(layers))


GAUGES = {"G1 permute": permuted, "G2 rescale": rescaled, "G3 mix": mixed, "G4 clone": cloned, "G5 pad": padded}


def _scale(weights: F64) -> float:
    return float(np.sqrt((weights**2).mean()))


def _with_units(layer: Layer, into: F64, kinds: Sequence[str]) -> Layer:
    """More units, without private copies and with bias 0."""
    n = len(kinds)
    return Layer(
        np.hstack([layer.weights, into]),
        (*layer.kinds, *kinds),
        None if layer.bias is None else np.r_[layer.bias, np.zeros(n)],
        None if layer.split is None else np.r_[layer.split, np.zeros(n, bool)],
        None if layer.other is None else np.hstack([layer.other, into]),
        None if layer.other_bias is None else np.r_[layer.other_bias, np.zeros(n)],
    )


def _with_readers(layer: Layer, out: F64) -> Layer:
    """Weights for more units of the layer before, the same for both copies."""
    other = None if layer.other is None else np.vstack([layer.other, out])
    return replace(layer, weights=np.vstack([layer.weights, out]), other=other)


def fractured(network: Network, q: float, *, seed: int = 0, layers: Sequence[int] | None = None) -> Network:
    """F(q): a share q of the units of each hidden layer gets a private copy for inputs whose gate is on.

    Known truth: that share of what two contexts had in common is common no more.

    Args:
        layers: which; None: all but the last, which gives the outputs.
    """
    if not 0 <= q <= 1:
        raise InputError(f"q is {q}; a share of units lies between 0 and 1")
    rng, new = np.random.default_rng(seed), list(network.layers)
    for i in range(len(new) - 1) if layers is None else layers:
        old = new[i]
        if old.split is not None and old.split.any():
            raise InputError(f"layer {i} has private copies already; start from a network without")
        split = np.zeros(old.width, bool)
        split[rng.choice(old.width, round(q * old.width), replace=False)] = True
        new[i] = replace(
            old, split=split, other=old.weights.copy(), other_bias=None if old.bias is None else old.bias.copy()
        )
    return Network(tuple(new))


def disguised(network: Network, *, seed: int = 0, spread: float = 2.0) -> Network:
    """G2 inside the private copies alone, where all units that read a copy are private too; the two copies differ then."""
    rng, layers = np.random.default_rng(seed), list(network.layers)
    for i in range(len(layers) - 1):
        old, nxt = layers[i], layers[i + 1]
        if old.split is None or old.other is None or nxt.split is None or nxt.other is None or not nxt.split.all():
            continue
        free = old.split & np.array([k in HOMOGENEOUS for k in old.kinds])
        s = np.where(free, np.exp(spread * rng.standard_normal(old.width)), 1.0)
        bias = None if old.other_bias is None else old.other_bias * s
        layers[i], layers[i + 1] = (
            replace(old, other=old.other * s, other_bias=bias),
            replace(nxt, other=nxt.other / s[:, None]),
        )
    return Network(tuple(layers))


def gated_relu(network: Network, q: float, x: F64, *, seed: int = 0) -> Network:
    """F(q) in a plain ReLU network: the gate is one more input, 0 or 1, and closes one of two physical copies of a unit.

    ``relu(z - B g)`` answers where the gate g is off and ``relu(z + B g - B)`` where it is on. Here what a copy gives is private
    too, not what it reads alone.

    Args:
        x: ``(n, inputs)``, on which the function must stay; B is half as large again as any sum there.

    Raises:
        InputError: a hidden unit is not a ReLU, or the network has private copies.
    """
    hidden = network.layers[:-1]
    if any(k != "relu" for layer in hidden for k in layer.kinds) or any(y.split is not None for y in network.layers):
        raise InputError("physical copies are made of ReLU units without private copies; use fractured for others")
    rng, sums, new = np.random.default_rng(seed), network.run(x).sums, list[Layer]()
    # rows of the next layer: which unit each reads; the last row is the gate itself, handed on by a unit of its own
    origin: I64 = np.arange(network.layers[0].weights.shape[0])
    for i, layer in enumerate(network.layers):
        base = layer.weights[origin]
        bias = np.zeros(layer.width) if layer.bias is None else layer.bias
        if i == len(network.layers) - 1:
            new.append(Layer(np.vstack([base, np.zeros(layer.width)]), layer.kinds, layer.bias))
            break
        twice = np.zeros(layer.width, bool)
        twice[rng.choice(layer.width, round(q * layer.width), replace=False)] = True
        bound = 1.5 * float(np.abs(sums[i]).max())
        at = np.flatnonzero(twice)
        to_gate = np.r_[np.where(twice, -bound, 0.0), np.full(len(at), bound), 1.0]
        weights = np.hstack([base, base[:, at], np.zeros((len(base), 1))])
        shift = np.r_[bias, bias[at] - bound, 0.0]
        new.append(Layer(np.vstack([weights, to_gate]), ("relu",) * len(shift), shift))
        origin = np.concatenate([np.arange(layer.width), at])
    return Network(tuple(new))


def entangled(
    network: Network, gamma: float, *, seed: int = 0, units: int = 4, layers: Sequence[int] | None = None
) -> Network:
    """X(gamma): units that read and feed everything, each with a twin that takes back what it gives.

    Known truth: gain gamma of a path between tasks that no output shows.

    Args:
        units: twins a layer. ``layers``: hidden ones that get them; None: all.
    """
    rng, new = np.random.default_rng(seed), list(network.layers)
    for i in range(len(new) - 1) if layers is None else layers:
        old, nxt = new[i], new[i + 1]
        kinds = [str(k) for k in rng.choice(sorted(set(old.kinds)), units)]
        into = _scale(old.weights) * rng.standard_normal((old.weights.shape[0], units))
        out = gamma * _scale(nxt.weights) * rng.standard_normal((units, nxt.width))
        new[i] = _with_units(old, np.hstack([into, into]), kinds * 2)
        new[i + 1] = _with_readers(nxt, np.vstack([out, -out]))
    return Network(tuple(new))


def rotated(network: Network, theta: float, *, layers: Sequence[int] | None = None) -> Network:
    """R(theta): pairs of linear units of each hidden layer rotated by an angle in radians, and back in the next.

    Truth of a basis alone: a unit answers for both channels, and no gradient overlap moves.

    Raises:
        InputError: no layer has two linear units.
    """
    new, found = list(network.layers), False
    for i in range(len(new) - 1) if layers is None else layers:
        q = np.eye(new[i].width)
        for at in _linear(new[i]):
            half = len(at) // 2
            for j, k in zip(at[:half], at[half : 2 * half], strict=True):
                c, s = np.cos(theta), np.sin(theta)
                q[np.ix_([j, k], [j, k])] = [[c, -s], [s, c]]
                found = True
        new[i], new[i + 1] = _turned(new[i], q, columns=True), _turned(new[i + 1], q, columns=False)
    if not found:
        raise InputError("no hidden layer has two linear units to rotate; R needs identity units")
    return Network(tuple(new))
