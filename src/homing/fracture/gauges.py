"""Gauge fixing: of all the ways to write down one function, one is chosen, so that a score is of the wiring.

A ReLU unit may be scaled by any positive number if what reads it is scaled back. Outputs stay and plain parameter gradients move.
Here such units are scaled until what comes in weighs as much as what goes out (Stock et al., 1902.10416), which has one
solution, so that every scaling of a network ends in the same one. Units that no output depends on are cut.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from homing.fracture.network import ACTIVATIONS, F64, Layer, Network

__all__ = ["HOMOGENEOUS", "balanced", "pruned"]

Bool = NDArray[np.bool_]
HOMOGENEOUS = ("relu", "abs")
"""Activations of which ``phi(s z) = s phi(z)`` for every s > 0. Of identity units only rotations are taken as a gauge."""
SWEEPS = 4000
TOLERANCE = 1e-11
"""Largest change of a scale's logarithm in the last sweep."""


def _at_zero(kind: str) -> float:
    return float(ACTIVATIONS[kind][0](np.zeros(1))[0])


def _inert(layer: Layer, reader: Layer) -> Bool:
    """Units that nothing reads, or that read nothing and are 0."""
    unread = ~reader.weights.any(axis=1)
    silent = ~layer.weights.any(axis=0) & np.array([_at_zero(k) == 0 for k in layer.kinds])
    if layer.bias is not None:
        silent &= layer.bias == 0
    if layer.split is not None and layer.other is not None:
        live = layer.other.any(axis=0)
        silent &= ~(layer.split & (live if layer.other_bias is None else live | (layer.other_bias != 0)))
    if reader.split is not None and reader.other is not None:
        unread &= ~reader.other[:, reader.split].any(axis=1)
    return unread | silent


def _cut_rows(layer: Layer, keep: Bool) -> Layer:
    return replace(layer, weights=layer.weights[keep], other=None if layer.other is None else layer.other[keep])


def _cut_columns(layer: Layer, keep: Bool) -> Layer:
    return Layer(
        layer.weights[:, keep],
        tuple(k for k, kept in zip(layer.kinds, keep, strict=True) if kept),
        None if layer.bias is None else layer.bias[keep],
        None if layer.split is None else layer.split[keep],
        None if layer.other is None else layer.other[:, keep],
        None if layer.other_bias is None else layer.other_bias[keep],
    )


def _joined(layer: Layer, reader: Layer) -> tuple[Bool, Layer] | None:
    """Which units stay when exact clones are joined, and the next layer with their outgoing weights added up."""
    into = [layer.weights] + [v[None, :] for v in (layer.bias, layer.other_bias) if v is not None]
    split = np.zeros(layer.width, bool) if layer.split is None else layer.split
    if layer.other is not None:
        into.append(np.where(split, layer.other, 0.0))
    out = reader.weights if reader.other is None else np.hstack([reader.weights, reader.other])
    reads, gives = np.vstack(into), out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-300)
    size = np.abs(reads).max() or 1.0
    keep, weights = np.ones(layer.width, bool), reader.weights.copy()
    other = None if reader.other is None else reader.other.copy()
    groups: dict[tuple[str, bool, bytes], list[int]] = {}
    for j in range(layer.width):
        alike = groups.setdefault(
            (layer.kinds[j], bool(split[j]), (np.round(reads[:, j] / size, 11) + 0.0).tobytes()), []
        )
        first = next((k for k in alike if gives[k] @ gives[j] > 1 - 1e-12), None)
        if first is None:
            alike.append(j)
            continue
        keep[j] = False
        weights[first] += weights[j]
        if other is not None:
            other[first] += other[j]
    return None if keep.all() else (keep, _cut_rows(replace(reader, weights=weights, other=other), keep))


def pruned(network: Network) -> Network:
    """The same function without hidden units that take no part in it; a layer keeps at least one unit.

    A unit is cut where all of its outgoing weights are 0, or where it reads nothing and is 0 whatever comes. Units that read the
    same and give in one proportion are one unit written several times, and are joined; twins that cancel stay two.
    """
    layers = list(network.layers)
    moved = True
    while moved:
        moved = False
        for i in range(len(layers) - 1):
            keep = ~_inert(layers[i], layers[i + 1])
            if not keep.any():
                keep[0] = True
            if not keep.all():
                layers[i], layers[i + 1] = _cut_columns(layers[i], keep), _cut_rows(layers[i + 1], keep)
                moved = True
            joined = _joined(layers[i], layers[i + 1])
            if joined is not None:
                keep, reader = joined
                layers[i], layers[i + 1] = _cut_columns(layers[i], keep), reader
                moved = True
    return Network(tuple(layers))


def balanced(network: Network) -> Network:
    """The same function, pruned, with every ReLU unit's incoming norm (bias included) equal to its outgoing norm.

    Each unit of a pair of private copies has a scale of its own where every unit that reads it is private too, and shares one
    otherwise. A network without ReLU or abs units is only pruned. Exact in function up to rounding.
    """
    layers = pruned(network).layers
    free = [np.array([k in HOMOGENEOUS for k in layer.kinds]) for layer in layers]
    free[-1][:] = False
    if not any(f.any() for f in free):
        return Network(layers)
    splits = [np.zeros(layer.width, bool) if layer.split is None else layer.split for layer in layers]
    alone = [s & bool(nxt.all()) for s, nxt in pairwise(splits)]
    # squared sizes of both copies; of a unit with one copy the second is 0
    both = [_squares(layer, split) for layer, split in zip(layers, splits, strict=True)]
    logs = [np.zeros((2, layer.width)) for layer in layers]
    hidden = [i for i in range(len(layers) - 1) if free[i].any()]
    for _ in range(SWEEPS):
        moved = 0.0
        for i in (*hidden, *reversed(hidden)):
            before = np.zeros((2, layers[i].weights.shape[0])) if i == 0 else logs[i - 1]
            came, went = np.empty((2, layers[i].width)), np.empty((2, layers[i].width))
            for c in (0, 1):
                weights, bias = both[i][c]
                came[c] = np.exp(-2 * before[c]) @ weights + bias
                went[c] = both[i + 1][c][0] @ np.exp(2 * logs[i + 1][c])
            new = _level(came, went, alone[i])
            new = np.where(free[i], new, 0.0)
            moved = max(moved, float(np.abs(new - logs[i]).max()))
            logs[i] = new
        if moved < TOLERANCE:
            break
    return Network(tuple(_scaled(layer, i, logs) for i, layer in enumerate(layers)))


def _squares(layer: Layer, split: Bool) -> tuple[tuple[F64, F64], tuple[F64, F64]]:
    bias = np.zeros(layer.width) if layer.bias is None else layer.bias**2
    other = np.zeros_like(layer.weights) if layer.other is None else np.where(split, layer.other, 0.0) ** 2
    other_bias = np.zeros(layer.width) if layer.other_bias is None else np.where(split, layer.other_bias, 0.0) ** 2
    return (layer.weights**2, bias), (other, other_bias)


def _level(came: F64, went: F64, alone: Bool) -> F64:
    """Logarithm of the scale at which both norms agree, ``(2, units)``; 0 where one of them is none."""

    def half(into: F64, out: F64) -> F64:
        good = (into > 0) & (out > 0)
        return np.where(good, np.log(np.where(good, out, 1.0) / np.where(good, into, 1.0)) / 4, 0.0)

    shared = half(came.sum(axis=0), went.sum(axis=0))
    return np.where(alone, half(came, went), shared)


def _scaled(layer: Layer, i: int, logs: list[F64]) -> Layer:
    before = np.zeros((2, layer.weights.shape[0])) if i == 0 else logs[i - 1]
    into, out = np.exp(-before), np.exp(logs[i])
    # an unsplit unit reads copies that share one scale, so that of the first serves both
    return Layer(
        into[0][:, None] * layer.weights * out[0],
        layer.kinds,
        None if layer.bias is None else layer.bias * out[0],
        layer.split,
        None if layer.other is None else into[1][:, None] * layer.other * out[1],
        None if layer.other_bias is None else layer.other_bias * out[1],
    )
