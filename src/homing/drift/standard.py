# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""What drift is at home: its mean by turn, and its spread by the length of the reply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from homing.errors import InputError

__all__ = ["Standard", "fit_standard"]

F64 = npt.NDArray[np.float64]
POOLED = 30  # readings behind each turn's mean; turns with fewer borrow from their neighbours


@dataclass(frozen=True, slots=True)
class Standard:
    """In-control drift.

    Attributes:
        means: by turn; later turns get the last one.
        floor: variance that the longest reply keeps. ``per_token``: variance times tokens that length averages away.
        typical: length taken for a reply whose length is unknown (0 tokens).
    """

    means: tuple[float, ...]
    floor: float
    per_token: float
    typical: float

    def spread(self, tokens: float) -> float:
        """Standard deviation of the drift of a reply of so many tokens."""
        return math.sqrt(self.floor + self.per_token / (tokens if tokens > 0 else self.typical))

    def z(self, turn: int, drift: float, tokens: float) -> float:
        """Standardised drift; NaN stays NaN."""
        return (drift - self.means[min(turn, len(self.means) - 1)]) / self.spread(tokens)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {**asdict(self), "means": list(self.means)}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Standard:
        """The inverse of :meth:`to_json`."""
        means = tuple(float(m) for m in raw["means"])
        return cls(means, float(raw["floor"]), float(raw["per_token"]), float(raw["typical"]))


def fit_standard(data: Sequence[tuple[Sequence[float], Sequence[int]]]) -> Standard:
    """Fit mean by turn and variance by length to home conversations.

    Args:
        data: drifts and reply lengths of each conversation, one a turn; NaN where missing.

    Raises:
        InputError: the drifts do not vary.
    """
    turn = np.concatenate([np.arange(len(d)) for d, _ in data])
    drift = np.concatenate([np.asarray(d, dtype=np.float64) for d, _ in data])
    length = np.concatenate([np.asarray(n, dtype=np.float64) for _, n in data])
    keep = np.isfinite(drift)
    turn, drift, length = turn[keep], drift[keep], length[keep]
    turns = max(len(d) for d, _ in data)
    means = _means(turn, drift, turns, min(POOLED, len(data)))
    typical = float(np.median(length[length > 0])) if (length > 0).any() else 1.0
    residual = drift - means[turn]
    # A turn that cannot vary (its drift is 0 by definition, say) tells nothing of the spread of the others.
    varies = np.bincount(turn, weights=residual**2, minlength=turns)[turn] > 1e-18
    if not varies.any():
        raise InputError("home conversations do not vary in drift; replies were identical: sample with a temperature")
    length = np.where(length > 0, length, typical)
    floor, per_token = _variance(residual[varies], length[varies])
    return Standard(tuple(means.tolist()), floor, per_token, typical)


def _means(turn: npt.NDArray[np.int64], drift: F64, turns: int, pooled: int) -> F64:
    """Mean by turn over a window widened on both sides until enough readings are in it."""
    counts, sums = np.bincount(turn, minlength=turns), np.bincount(turn, weights=drift, minlength=turns)
    out = np.empty(turns)
    for t in range(turns):
        reach = 0
        while True:
            window = slice(max(0, t - reach), t + reach + 1)
            if counts[window].sum() >= pooled or reach >= turns:
                break
            reach += 1
        out[t] = sums[window].sum() / max(int(counts[window].sum()), 1)
    return out


def _variance(residual: F64, length: F64) -> tuple[float, float]:
    """``floor + per_token / length``, non-negative, to robust variances of equal-mass bins of length."""
    from scipy.optimize import nnls

    order = np.argsort(length, kind="stable")
    bins = [b for b in np.array_split(order, min(8, max(1, residual.size // 20))) if b.size]
    inverse = np.asarray([float(np.mean(1.0 / length[b])) for b in bins])
    overall = float(np.mean(residual**2))
    spread: list[float] = []
    for b in bins:
        # Normal-consistent median of squares: a few wild turns must not widen what counts as usual.
        robust = float(np.median(residual[b] ** 2)) / 0.4549
        spread.append(robust if robust > 1e-4 * overall else float(np.mean(residual[b] ** 2)))
    target = np.maximum(np.asarray(spread), 1e-4 * overall)
    if np.ptp(inverse) < 1e-12 * float(inverse.max()):
        return float(target.mean()), 0.0
    design = np.stack([np.ones_like(inverse), inverse], axis=1)
    fitted, coefficients = target, np.zeros(2)
    for _ in range(3):  # relative errors of a variance are alike in every bin, so weigh by the fit itself
        weight = np.sqrt([b.size for b in bins]) / fitted
        coefficients, _ = nnls(design * weight[:, None], target * weight)
        fitted = np.maximum(design @ coefficients, 1e-6 * overall)
    # A spread of 0 for long replies would make any change an alarm without bound.
    return max(float(coefficients[0]), 1e-4 * overall), float(coefficients[1])
