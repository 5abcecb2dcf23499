"""Measures of weights alone, blind to the function: modularity by normalised cut, and superposition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.network import F64, Network
from homing.fracture.panel.base import Measure, Scene, mean_over
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["PANEL"]

PARTS = 4
SHUFFLES = 8
I64 = NDArray[np.int64]


def _blocks(network: Network) -> list[F64]:
    """Size of every connection, layer by layer; a private copy is a node of its own."""
    out: list[F64] = []
    before = np.zeros(network.layers[0].weights.shape[0], bool)
    for layer in network.layers:
        split = np.zeros(layer.width, bool) if layer.split is None else layer.split
        n, copies = len(before), np.flatnonzero(split)
        rows = np.r_[np.arange(n), np.flatnonzero(before)]  # each unit, then each private copy
        w = np.hstack(
            [np.abs(layer.weights), np.abs((layer.weights if layer.other is None else layer.other)[:, copies])]
        )[rows]
        w[n:, : layer.width][:, split] = 0  # a copy that answers off reads no copy that answers on
        w[:n, layer.width :][before] = 0
        out.append(w)
        before = split
    return out


def _adjacency(blocks: list[F64]) -> F64:
    sizes = [blocks[0].shape[0], *(b.shape[1] for b in blocks)]
    starts = np.cumsum([0, *sizes])
    full = np.zeros((starts[-1], starts[-1]))
    for i, b in enumerate(blocks):
        full[starts[i] : starts[i + 1], starts[i + 1] : starts[i + 2]] = b
    full += full.T
    live = full.sum(axis=1) > 0
    return full[np.ix_(live, live)]


def _parts(points: F64, rng: np.random.Generator) -> I64:
    """k-means, the best of four starts."""
    best: tuple[float, I64] | None = None
    for _ in range(4):
        centres = points[rng.choice(len(points), PARTS, replace=False)]
        label = np.zeros(len(points), np.int64)
        for _ in range(30):
            away = ((points[:, None] - centres) ** 2).sum(axis=2)
            new = away.argmin(axis=1)
            if (new == label).all():
                break
            label = new
            centres = np.stack(
                [points[label == k].mean(axis=0) if (label == k).any() else centres[k] for k in range(PARTS)]
            )
        spread = float(((points - centres[label]) ** 2).sum())
        if best is None or spread < best[0]:
            best = (spread, label)
    return np.zeros(len(points), np.int64) if best is None else best[1]


def _cut(adjacency: F64, rng: np.random.Generator) -> float:
    """Normalised cut of a spectral clustering in four parts (Filan et al., 2103.03386)."""
    degree = adjacency.sum(axis=1)
    scaled = adjacency / np.sqrt(degree[:, None] * degree)
    _, vectors = np.linalg.eigh(scaled)
    points = vectors[:, -PARTS:]
    label = _parts(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-300), rng)
    total = 0.0
    for k in range(PARTS):
        mine = label == k
        if mine.any():
            total += float(adjacency[np.ix_(mine, ~mine)].sum() / degree[mine].sum())
    return total


def _modularity(scene: Scene) -> Estimate:
    """Normalised cut of networks with the weights of each layer shuffled, less that of this one; more is more modular."""
    blocks, rng = _blocks(scene.network), np.random.default_rng(stable_seed("modularity", scene.seed))
    adjacency = _adjacency(blocks)
    if len(adjacency) <= PARTS:
        raise InputError(f"{len(adjacency)} units are connected; {PARTS + 1} are needed for {PARTS} parts")
    own = _cut(adjacency, rng)
    shuffled: list[float] = []
    for _ in range(SHUFFLES):
        other = _adjacency([rng.permutation(b.ravel()).reshape(b.shape) for b in blocks])
        shuffled.append(_cut(other, rng) - own)
    return mean_over(shuffled, "modularity", scene)


def _superposition(scene: Scene) -> Estimate:
    """Mean over what a layer reads of ``|W_i|^2 / sum_j (unit W_i . W_j)^2``: the share of a direction it has to itself."""
    shares: list[F64] = []
    for layer in scene.network.layers[1:]:
        w = layer.weights
        if layer.other is not None and layer.split is not None:
            w = np.hstack([w, layer.other[:, layer.split]])
        w = w[np.linalg.norm(w, axis=1) > 0]
        if len(w):
            unit = w / np.linalg.norm(w, axis=1, keepdims=True)
            shares.append((w**2).sum(axis=1) / ((unit @ w.T) ** 2).sum(axis=1))
    if not shares:
        raise InputError("no hidden unit is read; there is no superposition to measure")
    return mean_over(np.concatenate(shares), "superposition", scene)


PANEL = {
    "modularity": Measure(
        "n-cut against shuffled weights", _modularity, "knows weights alone; sparsity by itself raises it", "none"
    ),
    "superposition": Measure(
        "share of a direction a unit has to itself",
        _superposition,
        "superposition is neither fracture nor entanglement",
        "less",
    ),
}
