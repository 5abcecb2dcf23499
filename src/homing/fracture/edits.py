"""Edit transfer: mend a place by gradient steps; is its partner mended too?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from homing.errors import InputError
from homing.fracture.gauges import balanced
from homing.fracture.metrics import Pairs
from homing.fracture.network import F64, Network
from homing.fracture.parameters import flatten, gradient, unflatten
from homing.stats._check import group_codes
from homing.stats._resample import percentile_ends
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["Edits", "edit_transfer"]

STEP = 0.002
MOST_STEPS = 400


@dataclass(frozen=True, slots=True)
class Edits:
    """What edits did.

    Attributes:
        transfer: median over places of change at the partner over change at the place.
        spill: the same at places that are no partner (the median of all others' b-sides); what an edit moves anyway.
        excess: what transfer has over spill, as a share of what it could have.
        steps: median steps an edit took. ``failed``: edits that did not come as far.
    """

    transfer: Estimate
    spill: Estimate
    excess: Estimate
    steps: float
    failed: int


def edit_transfer(
    network: Network,
    pairs: Pairs,
    *,
    readout: F64,
    change: float = 0.15,
    step: float = STEP,
    most_steps: int = MOST_STEPS,
    seed: int = 0,
    balance: bool = True,
) -> Edits:
    """Median change at the partner over change at the place that was edited; 1 where mending one mends both.

    A place is a cluster of pairs (each pair is one where none is named). The mean read-out over its a-sides is moved up, and in
    another edit down, by ``change`` through steps of fixed length along its gradient; then the b-sides are looked at.

    Args:
        readout: ``(outputs,)``. ``change``: in units of the read-out. ``step``: length in parameters, in the balanced gauge.
        most_steps: an edit that has not come as far by then, or moved nothing, is left out and counted.

    Returns:
        With an interval from resampled places.

    Raises:
        InputError: no edit came through.
    """
    fixed = balanced(network) if balance else network
    codes, m = group_codes(pairs.cluster, len(pairs))
    ratios, taken, failed = list[tuple[float, float]](), list[int](), 0
    was_b = fixed(pairs.b, gate=pairs.gate_b) @ readout
    for place in range(m):
        here = pairs.of(codes == place)
        of = np.broadcast_to(readout / len(here), (len(here), len(readout)))
        before = float(fixed(here.a, gate=here.gate_a).mean(axis=0) @ readout)
        found: list[tuple[float, float]] = []
        for sign in (1.0, -1.0):
            net, reached = fixed, 0.0
            for n in range(1, most_steps + 1):
                passed = net.run(here.a, gate=here.gate_a)
                slope = gradient(net, passed, of)
                length = float(np.linalg.norm(slope))
                if not length > 0:
                    break
                net = unflatten(net, flatten(net) + sign * step / length * slope)
                reached = float(net(here.a, gate=here.gate_a).mean(axis=0) @ readout) - before
                if sign * reached >= change:
                    moved = (net(pairs.b, gate=pairs.gate_b) @ readout - was_b) / reached
                    others = moved[codes != place]
                    found.append(
                        (float(moved[codes == place].mean()), float(np.median(others)) if others.size else math.nan)
                    )
                    taken.append(n)
                    break
            else:
                failed += 1
                continue
            failed += sign * reached < change
        if found:
            ratios.append((float(np.median([f[0] for f in found])), float(np.median([f[1] for f in found]))))
    if not ratios:
        raise InputError(
            f"no edit of {m} places came as far as {change} within {most_steps} steps of {step}; ask for less"
        )
    return Edits(*_figures(np.array(ratios), stable_seed("edit transfer", seed)), float(np.median(taken)), failed)


def _figures(each: F64, seed: int) -> tuple[Estimate, Estimate, Estimate]:
    """Transfer, spill and excess of ``(places, 2)``, places resampled."""
    k, method = len(each), "bootstrap of the median over places, percentile, 1000 draws"

    def of(rows: F64) -> F64:
        there, elsewhere = np.median(rows[..., 0], axis=-1), np.median(rows[..., 1], axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            over = np.where(elsewhere < 1, (there - elsewhere) / (1 - elsewhere), np.nan)
        return np.stack([there, elsewhere, over])

    values, drawn = of(each), of(each[np.random.default_rng(seed).integers(0, k, (1000, k))])
    out: list[Estimate] = []
    for value, draws in zip(values.tolist(), drawn, strict=True):
        low, high = percentile_ends(draws, 0.95, k / (k - 1), k - 1) if k > 1 else (-math.inf, math.inf)
        out.append(Estimate(value, low, high, 0.95, k, "", method))
    return out[0], out[1], out[2]
