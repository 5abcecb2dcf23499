"""Whether two checkpoints' axes say the same of prompts: compared by what they read, so that no basis is."""

from __future__ import annotations

import numpy as np

from homing.fracture.concept_contexts import Units
from homing.fracture.concept_cosine import ends
from homing.stats._special import F64, I64
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["SPLITS", "axis_agreement"]

SPLITS = 12
"""Random splits of the prompts in three: two parts give a direction each, and both are read on the third."""


def axis_agreement(a: Units, b: Units, *, seed: int, draws: int = 300, level: float = 0.95) -> Estimate:
    """How far A's axis and B's axis say the same of prompts that neither was made from; 1 where they are one axis.

    Prompts are split in three. Two parts give a direction each, in each checkpoint (the mean over contexts), and all four are
    read on the third. Readings have the mean of their class and context taken out, so that the axes do not agree because
    both tell the classes apart. With r the correlation of two readings, over splits::

        r(A by part 1, B by part 2) / sqrt( r(A by 1, A by 2) r(B by 1, B by 2) )

    No reading is compared with one of the same part, so noise that the parts bring is in both lines alike (Spearman 1904). A
    rotation of the residual stream leaves it as it is. May pass 1 by chance; NaN where a checkpoint's own readings do not agree.

    Args:
        a, b: of the same prompts. ``seed``: of parts and resamples. ``draws``: how many resamples.
    """
    rng = np.random.default_rng(stable_seed("axis parts", seed))
    # weights that are never 0: of five prompts of a class in a part, a plain resample would often keep none
    weights = np.concatenate([np.ones((1, len(a.at))), rng.standard_exponential((draws, len(a.at)))])
    blocks = 2 * a.count
    side = np.where(a.block % 2 == 0, 1.0, -1.0)
    each = weights[:, a.cluster]
    total = np.zeros((3, len(weights)))  # covariances of readings: across, within A, within B
    for _ in range(SPLITS):
        part = np.empty(len(a.at), np.int64)
        for kind in a.kinds:
            part[rng.permutation(kind)] = (np.arange(len(kind)) + rng.integers(3)) % 3
        of = part[a.cluster]
        held = each * (of == 2)
        reads = [
            [
                _centred((_means(each * (of == p), a.block, blocks) * side) @ u.gram, held, a.block, blocks)
                for p in (0, 1)
            ]
            for u in (a, b)
        ]
        (a1, a2), (b1, b2) = reads
        total[0] += ((a1 * b2 + a2 * b1) * held).sum(axis=1) / 2
        total[1] += (a1 * a2 * held).sum(axis=1)
        total[2] += (b1 * b2 * held).sum(axis=1)
    with np.errstate(invalid="ignore"):
        drawn = total[0] / np.sqrt(np.where((total[1] > 0) & (total[2] > 0), total[1] * total[2], np.nan))
    return ends(float(drawn[0]), drawn[1:], a.least, level, "correlation of readings, noise of axes taken out")


def _means(weights: F64, block: I64, blocks: int) -> F64:
    """Weights that give each block's mean, ``(draws, units)``."""
    out = np.zeros_like(weights)
    for k in range(blocks):
        rows = block == k
        out[:, rows] = weights[:, rows] / weights[:, rows].sum(axis=1, keepdims=True)
    return out


def _centred(readings: F64, weights: F64, block: I64, blocks: int) -> F64:
    """Readings less the weighted mean of their block, ``(draws, units)``."""
    out = readings.copy()
    for k in range(blocks):
        rows = block == k
        w = weights[:, rows]
        out[:, rows] -= (w * readings[:, rows]).sum(axis=1, keepdims=True) / w.sum(axis=1, keepdims=True)
    return out
