"""Linear CKA (1905.00414) to a reference network, layer by layer."""

from __future__ import annotations

import numpy as np

from homing.errors import InputError
from homing.fracture.panel.base import Measure, Scene, features, mean_over
from homing.stats.estimate import Estimate

__all__ = ["PANEL"]


def _cka(scene: Scene) -> Estimate:
    if scene.reference is None:
        raise InputError("CKA needs a reference network; give the scene one of the same depth")
    if len(scene.reference.layers) != len(scene.network.layers):
        raise InputError(
            f"the networks have {len(scene.network.layers)} and {len(scene.reference.layers)} layers; CKA pairs layer by layer"
        )
    each: list[float] = []
    mine, theirs = (features(net, scene.x, scene.gate) for net in (scene.network, scene.reference))
    for h, g in zip(mine, theirs, strict=True):
        h, g = h - h.mean(axis=0), g - g.mean(axis=0)
        size = float(np.linalg.norm(h.T @ h) * np.linalg.norm(g.T @ g))
        each.append(float((np.linalg.norm(h.T @ g) ** 2) / size) if size > 0 else 0.0)
    return mean_over(each, "cka", scene)


PANEL = {
    "cka": Measure(
        "linear CKA to a reference", _cka, "needs a reference, has no sign, and reacts to any change", "less"
    )
}
