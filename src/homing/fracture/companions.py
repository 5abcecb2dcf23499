"""Two companions of unity: how far two concepts share parameters, and how far hidden maps keep a symmetry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.gauges import balanced
from homing.fracture.metrics import Pairs, cosines
from homing.fracture.network import F64, Network
from homing.stats._check import group_codes
from homing.stats._resample import cluster_weights, percentile_ends
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["entanglement", "feature_symmetry"]

Bool = NDArray[np.bool_]


def entanglement(
    network: Network,
    x: F64,
    *,
    a: F64,
    b: F64,
    gate: Bool | None = None,
    cluster: NDArray[np.generic] | None = None,
    layers: Sequence[int] | None = None,
    seed: int = 0,
    balance: bool = True,
) -> Estimate:
    """E: mean size of the cosine between the gradients of two concepts at one input, 0 where they share no hidden parameter.

    Args:
        x: ``(n, inputs)``. ``a, b``: ``(outputs,)``, the two read-outs. ``gate``, ``cluster``: ``(n,)``.
        layers: which parameters count; None: all but the last layer's, of which each concept has its own.

    Returns:
        ``n`` counts clusters. An input where a concept has no gradient shares nothing and counts as 0.

    Raises:
        InputError: two read-outs of which one is a multiple of the other are one concept; a network without hidden layers.
    """
    if a.shape != b.shape or a.shape != (network.layers[-1].width,):
        raise InputError(f"read-outs have shapes {a.shape} and {b.shape}; give one weight for each output")
    if abs(float(a @ b)) > (1 - 1e-12) * float(np.linalg.norm(a) * np.linalg.norm(b)):
        raise InputError("the two read-outs are one concept, or one of them is 0; give two that differ")
    which = range(len(network.layers) - 1) if layers is None else layers
    if not len(which):
        raise InputError("the network has no hidden layer; two concepts share no parameter")
    fixed = balanced(network) if balance else network
    passed = fixed.run(x, gate=gate)
    da, db = (fixed.deltas(passed, np.broadcast_to(of, (len(x), len(of)))) for of in (a, b))
    found = np.abs(np.nan_to_num(cosines(fixed, passed, da, passed, db, layers=which), nan=0.0))
    return bootstrap_mean(found, seed=stable_seed("entanglement", seed), clusters=cluster)


def feature_symmetry(network: Network, pairs: Pairs, *, seed: int = 0, draws: int = 1000) -> Estimate:
    """Mean share, over hidden units, of a unit's variation that is odd under the pairing: 0 symmetric, 1 antisymmetric.

    No gauge fixing can help it: rotation of linear units moves it. Units that never vary have no share and are left out.

    Raises:
        InputError: fewer than two pairs, or no hidden unit that varies.
    """
    if len(pairs) < 2:
        raise InputError(f"feature symmetry got {len(pairs)} pairs; at least 2 are needed")
    one, two = network.run(pairs.a, gate=pairs.gate_a), network.run(pairs.b, gate=pairs.gate_b)
    h = np.hstack([f[:, :] for f in one.inputs[1:]] or [np.zeros((len(pairs), 0))])
    g = np.hstack([f[:, :] for f in two.inputs[1:]] or [np.zeros((len(pairs), 0))])
    odd, even = (h - g) / 2, (h + g) / 2
    varies = (odd**2).mean(axis=0) + even.var(axis=0) > 1e-20 * (1 + (even**2).mean(axis=0))
    if not varies.any():
        raise InputError("no hidden unit varies over these pairs; there is no symmetry to speak of")
    odd, even = odd[:, varies], even[:, varies]
    codes, m = group_codes(pairs.cluster, len(pairs))
    rows = np.eye(m)[codes] if m < len(pairs) else None
    sums = [v if rows is None else rows.T @ v for v in (odd**2, even, even**2, np.ones((len(odd), 1)))]

    def share(weights: F64) -> F64:
        o, e, ee, n = (weights @ s for s in sums)
        total = o / n + np.maximum(ee / n - (e / n) ** 2, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nanmean(np.where(total > 0, o / n / total, np.nan), axis=1)

    value = float(share(np.ones((1, m)))[0])
    if m < 2:
        return Estimate(value, 0.0, 1.0, 0.95, m, "", "one cluster")
    rng = np.random.default_rng(stable_seed("feature symmetry", seed))
    low, high = percentile_ends(share(cluster_weights(rng, [np.arange(m)], m, draws)), 0.95, m / (m - 1), m - 1)
    return Estimate(value, low, high, 0.95, m, "", f"clustered bootstrap, percentile, {draws} draws")
