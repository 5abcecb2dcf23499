"""Score the scores: every measure, ours and others', on networks of which the truth is known.

A measure is read on a scene as an estimate or a refusal with its reason. What is asked of it: that gauges leave it, that it
follows the dose it should follow and not the other, that an untrained network scores as nothing, and that it goes with what
happens when the network is edited or trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from homing.errors import InputError
from homing.fracture.companions import entanglement, feature_symmetry
from homing.fracture.gauges import balanced
from homing.fracture.metrics import unity
from homing.fracture.network import F64
from homing.fracture.panel.base import Scene
from homing.fracture.panel.registry import available, get
from homing.stats._resample import percentile_ends
from homing.stats.estimate import Estimate
from homing.stats.ranking import midranks
from homing.stats.seeds import stable_seed

__all__ = ["OURS", "range_of", "rank_correlations", "read", "spearman", "titles"]

OURS = {
    "kappa": "unity (ours)",
    "kappa_distance": "unity, unrelated inputs as far away as partners (ours)",
    "coupling": "coupling C, without its null (ours)",
    "entanglement": "entanglement E (ours)",
    "feature_symmetry": "odd share of hidden maps (ours)",
}


def titles() -> dict[str, str]:
    """Name of every measure to a few words."""
    return OURS | {name: get(name).title for name in available()}


def read(scene: Scene, only: Sequence[str] | None = None) -> dict[str, Estimate | str]:
    """Every measure on one scene; where one refuses, its reason.

    Args:
        only: names; None: all.
    """
    out: dict[str, Estimate | str] = {}
    wanted = set(titles() if only is None else only)
    fixed = balanced(scene.network)  # once for all that want it
    if wanted & {"kappa", "coupling"}:
        found = unity(fixed, scene.pairs, readout=scene.readout, seed=scene.seed, balance=False)
        out["coupling"] = found.coupling if found.coupling.value == found.coupling.value else str(found.refused)
        out["kappa"] = found.refused or found.kappa
    if "kappa_distance" in wanted:
        found = unity(fixed, scene.pairs, readout=scene.readout, seed=scene.seed, null="distance", balance=False)
        out["kappa_distance"] = found.refused or found.kappa

    def attempt(name: str, of: Callable[[], Estimate]) -> None:
        if name in wanted:
            try:
                out[name] = of()
            except InputError as e:
                out[name] = str(e)

    def both() -> Estimate:
        if scene.second is None:
            raise InputError("entanglement needs a second read-out; give the scene one")
        a, b = scene.readout, scene.second
        return entanglement(fixed, scene.x, a=a, b=b, gate=scene.gate, seed=scene.seed, balance=False)

    attempt("entanglement", both)
    attempt("feature_symmetry", lambda: feature_symmetry(scene.network, scene.pairs, seed=scene.seed))
    for name in available():
        attempt(name, lambda name=name: get(name).of(scene))
    return {name: out[name] for name in titles() if name in out and name in wanted}


def spearman(
    x: Sequence[float] | F64, y: Sequence[float] | F64, *, seed: int, draws: int = 2000, level: float = 0.95
) -> Estimate:
    """Rank correlation; rows resampled, since Fisher's interval is wrong for ties and few rows.

    Args:
        x, y: ``(n,)`` each, finite.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 5:
        raise InputError(
            f"a rank correlation got shapes {a.shape} and {b.shape}; give two vectors of one length, 5 or more"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("a rank correlation got values that are not finite; leave such rows out and count them")

    value, n = float(rank_correlations(a[None], b[None])[0]), len(a)
    if not math.isfinite(value):
        return Estimate(math.nan, -1.0, 1.0, level, n, "", "no variation")
    rng = np.random.default_rng(stable_seed("spearman", seed))
    rows = rng.integers(0, n, (draws, n))
    low, high = percentile_ends(rank_correlations(a[rows], b[rows]), level, n / (n - 1), n - 1)
    return Estimate(
        value, max(-1.0, low), min(1.0, high), level, n, "", f"bootstrap over rows, percentile, {draws} draws"
    )


def rank_correlations(x: F64, y: F64) -> F64:
    """Of each of several samples, ``(samples, n)`` twice; NaN where one of both does not vary."""

    def ranks(v: F64) -> F64:
        middle = np.apply_along_axis(midranks, 1, v)
        return middle - middle.mean(axis=1, keepdims=True)

    p, q = ranks(x), ranks(y)
    size = np.sqrt((p**2).sum(axis=1) * (q**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, (p * q).sum(axis=1) / size, np.nan)


def range_of(values: F64, axis: int) -> float:
    """How far the mean over the other doses of a table moves along one dose: its largest less its smallest value."""
    means = np.nanmean(values, axis=1 - axis)
    return float(np.nanmax(means) - np.nanmin(means))
