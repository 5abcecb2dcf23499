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
        steps: median steps an edit took. ``failed``: edits that did not come as far.
    """

    transfer: Estimate
    spill: Estimate
    steps: float
    failed: int

    @property
    def excess(self) -> float:
        """What transfer has over spill, as a share of what it could have."""
        return (self.transfer.value - self.spill.value) / (1 - self.spill.value) if self.spill.value < 1 else math.nan


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
    seeds = (stable_seed("edit transfer", seed), stable_seed("edit spill", seed))
    transfer, spill = (_median(np.array(column), s) for column, s in zip(zip(*ratios, strict=True), seeds, strict=True))
    return Edits(transfer, spill, float(np.median(taken)), failed)


def _median(values: F64, seed: int) -> Estimate:
    k, low, high = len(values), -math.inf, math.inf
    if k > 1:
        drawn = np.median(values[np.random.default_rng(seed).integers(0, k, (1000, k))], axis=1)
        low, high = percentile_ends(drawn, 0.95, k / (k - 1), k - 1)
    method = "bootstrap of the median over places, percentile, 1000 draws"
    return Estimate(float(np.median(values)), low, high, 0.95, k, "", method)
