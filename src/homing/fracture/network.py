"""Dense networks of mixed activations in float64: values, gradients, and the overlap of two gradients without forming them.

A layer may hold a private copy of some units: of such a unit one copy answers where the context is off and the other where it is
on. This is how a known dose of fracture is written (:mod:`homing.fracture.truth`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError

__all__ = ["ACTIVATIONS", "F64", "Layer", "Network", "Pass", "gradient_overlap"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


def _sigmoid(z: F64) -> F64:
    return np.tanh(z / 2)  # twice the logistic function less one, without its overflow


ACTIVATIONS: dict[str, tuple[Callable[[F64], F64], Callable[[F64], F64]]] = {
    "identity": (lambda z: z, np.ones_like),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda z: -np.sin(z)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (_sigmoid, lambda z: (1 - np.tanh(z / 2) ** 2) / 2),
    "gaussian": (lambda z: 2 * np.exp(-(z**2)) - 1, lambda z: -4 * z * np.exp(-(z**2))),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(np.float64)),
    "abs": (np.abs, np.sign),
}
"""Name to function and derivative, as compositional pattern-producing networks write them (2505.11581, A.2)."""


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """One layer.

    Attributes:
        weights: ``(in, out)``. ``kinds``: activation of each unit, ``(out,)`` names. ``bias``: ``(out,)`` or none.
        split: units that have a private copy, ``(out,)``; ``other``, ``(in, out)``, and ``other_bias`` are the copy's, read only
            there. None: no unit has one.
    """

    weights: F64
    kinds: tuple[str, ...]
    bias: F64 | None = None
    split: Bool | None = None
    other: F64 | None = None
    other_bias: F64 | None = None

    def __post_init__(self) -> None:
        out = self.weights.shape[1]
        unknown = sorted(set(self.kinds) - set(ACTIVATIONS))
        if unknown:
            raise InputError(f"activation {unknown[0]!r} is unknown; use one of {', '.join(ACTIVATIONS)}")
        if len(self.kinds) != out:
            raise InputError(f"a layer of {out} units names {len(self.kinds)} activations; give one a unit")
        if self.split is not None and self.split.any() and self.other is None:
            raise InputError("a layer splits units and has no weights for their copies; give other")

    @property
    def width(self) -> int:
        """Units."""
        return self.weights.shape[1]

    def activated(self, z: F64, *, slope: bool = False) -> F64:
        """Activations of ``(n, out)`` sums, or their slopes there."""
        out = np.empty_like(z)
        for kind in set(self.kinds):
            at = [i for i, k in enumerate(self.kinds) if k == kind]
            out[:, at] = ACTIVATIONS[kind][slope](z[:, at])
        return out


@dataclass(frozen=True, eq=False, slots=True)
class Pass:
    """What a forward pass left.

    ``inputs``: of each layer ``(n, in)``; ``sums``: ``(n, out)``; ``outputs``: ``(n, out)`` of the last. ``private``: of each
    layer, which copy answered, ``(n, out)``; None where no unit has two.
    """

    inputs: tuple[F64, ...]
    sums: tuple[F64, ...]
    private: tuple[Bool | None, ...]
    outputs: F64


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """Layers one after the other."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        for i, (a, b) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if a.width != b.weights.shape[0]:
                raise InputError(
                    f"layer {i} gives {a.width} values and layer {i + 1} takes {b.weights.shape[0]}; make them equal"
                )

    @property
    def parameters(self) -> int:
        """Weights and biases; a private copy counts."""
        return sum(
            layer.weights.size
            + (0 if layer.bias is None else layer.width)
            + (0 if layer.split is None else int(layer.split.sum()) * layer.weights.shape[0])
            for layer in self.layers
        )

    def run(self, x: F64, *, gate: Bool | None = None) -> Pass:
        """Forward. ``x``: ``(n, inputs)``. ``gate``: ``(n,)``, the context that chooses private copies; None: off."""
        h, inputs, sums, private = x, list[F64](), list[F64](), list[Bool | None]()
        on = np.zeros(len(x), bool) if gate is None else gate
        for layer in self.layers:
            inputs.append(h)
            z = h @ layer.weights + (0.0 if layer.bias is None else layer.bias)
            chosen: Bool | None = None
            if layer.split is not None and layer.other is not None:
                chosen = on[:, None] & layer.split[None, :]
                z = np.where(chosen, h @ layer.other + (0.0 if layer.other_bias is None else layer.other_bias), z)
            sums.append(z)
            private.append(chosen)
            h = layer.activated(z)
        return Pass(tuple(inputs), tuple(sums), tuple(private), h)

    def __call__(self, x: F64, *, gate: Bool | None = None) -> F64:
        """Outputs alone, ``(n, outputs)``."""
        return self.run(x, gate=gate).outputs

    def deltas(self, passed: Pass, of: F64) -> tuple[F64, ...]:
        """Backward: the derivative of ``sum(of * outputs)`` by each layer's sums, row by row.

        Args:
            of: ``(n, outputs)``, what each output weighs in the scalar that is read out of that row.
        """
        out: list[F64] = []
        d = of
        for layer, z, chosen in zip(
            reversed(self.layers), reversed(passed.sums), reversed(passed.private), strict=True
        ):
            d = d * layer.activated(z, slope=True)
            out.append(d)
            if chosen is None or layer.other is None:
                d = d @ layer.weights.T
            else:
                d = np.where(chosen, 0.0, d) @ layer.weights.T + np.where(chosen, d, 0.0) @ layer.other.T
        return tuple(reversed(out))


def gradient_overlap(
    network: Network, a: Pass, da: Sequence[F64], b: Pass, db: Sequence[F64], *, layers: Sequence[int] | None = None
) -> F64:
    """Inner product of two parameter gradients, row by row, ``(n,)``, without forming either: ``sum (h . h') (d . d')``.

    A unit with two copies counts only where both rows were answered by the same copy.

    Args:
        a, b: passes of paired rows; ``da, db``: their deltas. ``layers``: which to count; None: all.
    """
    total = np.zeros(len(a.outputs))
    for i in range(len(network.layers)) if layers is None else layers:
        same = da[i] * db[i]
        one, two = a.private[i], b.private[i]
        if one is not None and two is not None:
            same = np.where(one == two, same, 0.0)
        inner = np.einsum("ni,ni->n", a.inputs[i], b.inputs[i])
        total += (inner + (0.0 if network.layers[i].bias is None else 1.0)) * same.sum(axis=1)
    return total
