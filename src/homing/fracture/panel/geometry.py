"""Measures of hidden activations alone: how many directions, how rough, how many twins."""

from __future__ import annotations

import numpy as np

from homing.errors import InputError
from homing.fracture.network import F64
from homing.fracture.panel.base import Measure, Scene, features, mean_over
from homing.stats.estimate import Estimate

__all__ = ["PANEL"]

TWIN = 0.999


def _effective_rank(scene: Scene) -> Estimate:
    """Exponential of the entropy of the singular values, over the width (Roy and Vetterli 2007)."""
    shares: list[float] = []
    for h in features(scene.network, scene.x, scene.gate):
        s = np.linalg.svd(h - h.mean(axis=0), compute_uv=False)
        if s.sum() > 0:
            p = s[s > 0] / s.sum()
            shares.append(float(np.exp(-(p * np.log(p)).sum()) / h.shape[1]))
    if not shares:
        raise InputError("no hidden layer varies; it has no rank")
    return mean_over(shares, "effective rank", scene)


def _roughness(scene: Scene) -> Estimate:
    """Mean step between neighbours on the grid; each unit counts, dead ones too."""
    if scene.grid is None:
        raise InputError("roughness needs inputs on a grid; give the scene its grid")
    each: list[F64] = []
    for h in features(scene.network, scene.x, scene.gate):
        maps = h.reshape(*scene.grid, -1)
        each.append(
            (np.abs(np.diff(maps, axis=0)).mean(axis=(0, 1)) + np.abs(np.diff(maps, axis=1)).mean(axis=(0, 1))) / 2
        )
    return mean_over(np.concatenate(each), "roughness", scene)


def _clones(scene: Scene) -> Estimate:
    """Share of units that vary and have a twin anywhere, by correlation over 0.999."""
    h = np.hstack(features(scene.network, scene.x, scene.gate))
    h = h - h.mean(axis=0)
    norms = np.linalg.norm(h, axis=0)
    live = norms > 1e-10 * (norms.max(initial=0) or 1)
    if live.sum() < 2:
        raise InputError("fewer than two hidden units vary; none can be another's twin")
    unit = h[:, live] / norms[live]
    likeness = np.abs(unit.T @ unit)
    np.fill_diagonal(likeness, 0)
    return mean_over((likeness.max(axis=1) > TWIN).astype(np.float64), "clones", scene)


PANEL = {
    "effective_rank": Measure(
        "effective rank over width",
        _effective_rank,
        "scores an untrained network as unified, and falls with dead units",
    ),
    "roughness": Measure(
        "roughness of feature maps", _roughness, "moves with any rescaling of units, and knows pictures alone"
    ),
    "clones": Measure(
        "units with a clone", _clones, "counts copies that a layout needs as redundant, and needs no shared mechanism"
    ),
}
