"""All parameters of a network as one vector, private copies included, and the gradient by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from homing.errors import InputError
from homing.fracture.network import F64, Layer, Network, Pass

__all__ = ["flatten", "gradient", "unflatten"]


def flatten(network: Network) -> F64:
    """Layer by layer: weights, bias, then weights and bias of units that have a private copy, ``(parameters,)``."""
    return _joined([(y.weights, y.bias, y.other, y.other_bias) for y in network.layers], network)


def _joined(each: list[tuple[F64, F64 | None, F64 | None, F64 | None]], network: Network) -> F64:
    out: list[F64] = []
    for layer, (weights, bias, other, other_bias) in zip(network.layers, each, strict=True):
        out.append(weights.ravel())
        if layer.bias is not None and bias is not None:
            out.append(bias)
        if layer.split is not None and layer.other is not None and other is not None:
            out.append(other[:, layer.split].ravel())
            if layer.other_bias is not None and other_bias is not None:
                out.append(other_bias[layer.split])
    return np.concatenate(out)


def unflatten(network: Network, vector: F64) -> Network:
    """The network with other parameters; the inverse of :func:`flatten`."""
    layers, at = list[Layer](), 0

    def take(shape: tuple[int, ...]) -> F64:
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return vector[at - size : at].reshape(shape)

    if vector.ndim != 1:
        raise InputError(f"parameters have shape {vector.shape}; give a vector")
    for layer in network.layers:
        weights = take(layer.weights.shape)
        bias = None if layer.bias is None else take(layer.bias.shape)
        other, other_bias = layer.other, layer.other_bias
        if layer.split is not None and other is not None:
            n = int(layer.split.sum())
            other = other.copy()
            other[:, layer.split] = take((len(other), n))
            if other_bias is not None:
                other_bias = other_bias.copy()
                other_bias[layer.split] = take((n,))
        layers.append(replace(layer, weights=weights, bias=bias, other=other, other_bias=other_bias))
    if at != len(vector):
        raise InputError(f"the network has {at} parameters and got {len(vector)}; give one value for each")
    return Network(tuple(layers))


def gradient(network: Network, passed: Pass, of: F64) -> F64:
    """Gradient of ``sum(of * outputs)`` over all rows, in the order of :func:`flatten`.

    Args:
        of: ``(n, outputs)``.
    """
    each: list[tuple[F64, F64 | None, F64 | None, F64 | None]] = []
    for h, d, chosen in zip(passed.inputs, network.deltas(passed, of), passed.private, strict=True):
        if chosen is None:
            each.append((h.T @ d, d.sum(axis=0), None, None))
            continue
        on = np.where(chosen, d, 0.0)
        off = d - on
        each.append((h.T @ off, off.sum(axis=0), h.T @ on, on.sum(axis=0)))
    return _joined(each, network)
