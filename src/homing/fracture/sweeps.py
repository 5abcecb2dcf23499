"""One weight moved, and what the picture becomes: each weight as far as it takes to change the picture by one given amount.

Moved by one fixed step instead, as in 2505.11581, large and small weights are not alike, and what differs is mostly the step.
Even matched, the share of a change that breaks a symmetry does not tell a trained network from an untrained one: it is
for looking at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.gallery import broken
from homing.fracture.grammar import Picture
from homing.fracture.grids import coordinates
from homing.fracture.network import F64, Layer, Network, Pass
from homing.fracture.pairs import Arm, reads
from homing.stats import bootstrap_mean
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["EFFECT", "MOST", "Sweep", "broken_share", "matched", "ranked", "sweep"]

EFFECT = 0.003
"""Mean squared change of the picture, or of a read-out, at the end of a sweep."""
MOST = 64.0
"""Longest move that is tried."""
SHORTEST = 1e-12
STEPS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Sweep:
    """One weight, swept.

    Attributes:
        layer, source, target: which. ``weight``: as it is. ``reach``: how far it was moved each way. ``effect``: mean squared
            change of the picture at +reach.
        frames: ``(steps, side, side)``, brightness at -reach to +reach. ``broken``: share of the change at +reach that the
            symmetry does not leave alone, 0 to 1.
    """

    layer: int
    source: int
    target: int
    weight: float
    reach: float
    effect: float
    frames: F64
    broken: float


def ranked(network: Network, x: F64) -> I64:
    """Weights that move the output at all, those of most effect first: ``(n, 3)`` of layer, source and target.

    Effect is to first order: the mean square over rows of the output's slope by the weight.
    """
    passed = network.run(x)
    deltas = network.deltas(passed, np.ones((len(x), network.layers[-1].width)))
    effects = [(h**2).T @ (d**2) / len(x) for h, d in zip(passed.inputs, deltas, strict=True)]
    flat = np.concatenate([e.ravel() for e in effects])
    order = np.argsort(-flat, kind="stable")
    order = order[flat[order] > 1e-12 * flat.max()]
    starts = np.cumsum([0, *(e.size for e in effects)])
    layer = np.searchsorted(starts, order, side="right") - 1
    width = np.array([e.shape[1] for e in effects])[layer]
    within = order - starts[layer]
    return np.stack([layer, within // width, within % width], axis=1)


class _Moved:
    """A network with one weight elsewhere; only the layers after it are run again."""

    def __init__(self, network: Network, passed: Pass, at: Sequence[int]) -> None:
        self._layer, self._source, self._target = at
        self._after: tuple[Layer, ...] = network.layers[self._layer + 1 :]
        self._own = network.layers[self._layer]
        self._sums, self._input = passed.sums[self._layer], passed.inputs[self._layer][:, self._source]
        self._as_is = passed.outputs

    def __call__(self, by: float) -> F64:
        """Outputs with the weight moved ``by``, ``(n, outputs)``."""
        z = self._sums.copy()
        z[:, self._target] += by * self._input
        h = self._own.activated(z)
        for layer in self._after:
            h = layer.activated(h @ layer.weights)
        return h

    def effect(self, by: float) -> float:
        """Mean squared change."""
        return float(((self(by) - self._as_is) ** 2).mean())


def matched(
    effect: Callable[[float], float], target: float, *, most: float = MOST, within: float = 0.01
) -> float | None:
    """A move upward of which the effect is ``target``, or more by at most a share of ``within``; None where none up to ``most``
    has so much.

    Near 0 effects grow with the square of a move, so that the root of what is missing is the next guess; where that leads nowhere
    what lies between a move too short and one too long is bisected.

    Args:
        effect: of a move, 0 of none; what is not finite counts as too much.
    """
    low, high, by, aim = 0.0, math.inf, 0.1, target * (1 + within / 2)
    for guessed in cycle((True, True, False)):  # a guess alone may come nearer for ever
        found = effect(by)
        if target <= found <= target * (1 + within):
            return by
        if found < target:
            low = by
        else:  # too much, or no number
            high = by
        if low >= most or high < SHORTEST:
            return None
        if high - low < 1e-6 * high:  # a step in the effect, which no move meets better
            return high
        guess = by * math.sqrt(aim / found) if 0 < found < math.inf else math.inf
        if high == math.inf:
            by = min(max(guess, 2 * by), 8 * by, most)
        else:
            by = guess if guessed and low < guess < high else math.sqrt(max(low, high / 64) * high)
    raise AssertionError  # the cycle has no end


def sweep(
    network: Network,
    picture: Picture,
    arm: Arm,
    at: Sequence[int],
    *,
    side: int = 40,
    effect: float = EFFECT,
    most: float = MOST,
) -> Sweep | None:
    """Sweep one weight; None where moving it by ``most`` does not change the picture enough.

    Args:
        at: layer, source and target of the weight.

    Raises:
        InputError: there is no such weight, or the network has biases or private copies.
    """
    _plain(network)
    layer, source, target = (int(v) for v in at)
    if (
        not 0 <= layer < len(network.layers)
        or not (0 <= source < network.layers[layer].weights.shape[0])
        or not (0 <= target < network.layers[layer].width)
    ):
        raise InputError(f"there is no weight {tuple(at)}; name layer, source and target of one")
    plane = coordinates(side)
    passed = network.run(reads(picture, arm, plane))
    moved = _Moved(network, passed, (layer, source, target))
    reach = matched(moved.effect, effect, most=most)
    if reach is None:
        return None
    end = moved(reach)
    share = float(broken(picture.concept, plane, end - passed.outputs, centre=False)[0])
    frames = np.stack([moved(s * reach)[:, 0].reshape(side, side) for s in STEPS])
    weight = float(network.layers[layer].weights[source, target])
    return Sweep(layer, source, target, weight, reach, moved.effect(reach), frames, share)


def _plain(network: Network) -> None:
    if any(layer.bias is not None or layer.split is not None for layer in network.layers):
        raise InputError("a network with biases or private copies is not swept; give one of plain weights")


def broken_share(
    network: Network, picture: Picture, arm: Arm, *, weights: int = 60, side: int = 24, seed: int = 0
) -> tuple[Estimate, int]:
    """Mean over weights, drawn at random among those that do anything, of how much of a matched change breaks the symmetry.

    Returns:
        The figure, n weights; and how many drawn weights could not change the picture enough and were left out.

    Raises:
        InputError: fewer than two weights could be matched.
    """
    _plain(network)
    plane = coordinates(side)
    passed = network.run(reads(picture, arm, plane))
    live = ranked(network, reads(picture, arm, plane))
    rng = np.random.default_rng(stable_seed("sweep", seed))
    drawn = live[rng.choice(len(live), min(weights, len(live)), replace=False)]
    shares = list[float]()
    for at in drawn.tolist():
        moved = _Moved(network, passed, at)
        reach = matched(moved.effect, EFFECT)
        if reach is not None:
            shares.append(float(broken(picture.concept, plane, moved(reach) - passed.outputs, centre=False)[0]))
    if len(shares) < 2:
        raise InputError(
            f"{len(shares)} of {len(drawn)} weights could change the picture enough; at least 2 are needed"
        )
    return bootstrap_mean(np.array(shares), seed=stable_seed("sweep", seed)), len(drawn) - len(shares)
