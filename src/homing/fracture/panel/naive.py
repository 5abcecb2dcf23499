"""Two near ones that fail, kept to show why: unity without the gauge, and the share of units that touch two tasks."""

from __future__ import annotations

import numpy as np

from homing.errors import InputError
from homing.fracture.metrics import unity
from homing.fracture.panel.base import Measure, Scene, mean_over
from homing.stats.estimate import Estimate

__all__ = ["PANEL"]


def _plain(scene: Scene) -> Estimate:
    found = unity(scene.network, scene.pairs, readout=scene.readout, seed=scene.seed, balance=False)
    if found.refused:
        raise InputError(found.refused)
    return found.kappa


def _touching(scene: Scene) -> Estimate:
    """Share of hidden units on which both read-outs depend anywhere by more than a millionth of the most."""
    if scene.second is None:
        raise InputError("units that touch two tasks need a second read-out; give the scene one")
    passed, shares = scene.network.run(scene.x, gate=scene.gate), list[np.ndarray]()
    both = [
        scene.network.deltas(passed, np.broadcast_to(of, (len(scene.x), len(of))))
        for of in (scene.readout, scene.second)
    ]
    for a, b in zip(both[0][:-1], both[1][:-1], strict=True):
        most = [np.abs(d).max(axis=0) for d in (a, b)]
        touch = [m > 1e-6 * (m.max() or 1) for m in most]
        shares.append((touch[0] & touch[1]).astype(np.float64))
    if not shares:
        raise InputError("the network has no hidden layer; no unit touches two tasks")
    return mean_over(np.concatenate(shares), "touching", scene)


PANEL = {
    "kappa_plain": Measure(
        "unity without fixing the gauge", _plain, "moves when ReLU units are rescaled and outputs are not", "less"
    ),
    "touching": Measure(
        "units that touch both tasks",
        _touching,
        "jumps at the first unit that does, and does not follow how much",
        "none",
    ),
}
