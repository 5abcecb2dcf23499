"""Drawing tokens from logits: each row with its own temperature, nucleus and source of chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Sampling
from homing.engine.rows import Drawn

__all__ = ["draw", "generator_for", "log_normaliser"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
_NUCLEUS = 512
"""So many of the likeliest tokens are looked at first; a row whose nucleus is larger is sorted whole."""


def generator_for(sampling: Sampling) -> np.random.Generator | None:
    """The generator of one row, or None where nothing is drawn at random."""
    return None if sampling.temperature == 0.0 else np.random.Generator(np.random.Philox(key=sampling.seed % 2**64))


def log_normaliser(logits: F32) -> float:
    """Log of the sum of exponentials, summed in double precision."""
    top = float(logits.max())
    return top + float(np.log(np.exp(logits - np.float32(top)).sum(dtype=np.float64)))


def draw(logits: F32, sampling: Sampling, generator: np.random.Generator | None) -> Drawn:
    """One token of one row.

    Args:
        logits: ``(vocab,)``.
    """
    norm = log_normaliser(logits)
    token = int(logits.argmax()) if generator is None else _sample(logits, sampling, float(generator.random()))
    top: tuple[tuple[int, float], ...] = ()
    if sampling.top_logprobs:
        k = min(sampling.top_logprobs, len(logits))
        best: NDArray[np.int64] = np.argpartition(-logits, k - 1)[:k]
        best = np.sort(best)
        best = best[np.argsort(-logits[best], kind="stable")]
        top = tuple((int(i), float(logits[i]) - norm) for i in best)
    return Drawn(token, float(logits[token]) - norm, top)


def _sample(logits: F32, sampling: Sampling, u: float) -> int:
    """Inverse transform of one uniform number."""
    y = logits.astype(np.float64) / sampling.temperature
    if sampling.top_p >= 1.0:
        mass: F64 = np.exp(y - y.max()).cumsum()
        return min(_first_over(mass, u), len(y) - 1)
    norm = float(y.max()) + float(np.log(np.exp(y - y.max()).sum()))
    k = min(_NUCLEUS, len(y))
    order: NDArray[np.int64] = np.sort(np.argpartition(-y, k - 1)[:k])
    if k < len(y) and np.exp(y[order] - norm).sum() < sampling.top_p:
        order = np.arange(len(y))
    order = order[np.argsort(-y[order], kind="stable")]
    p: F64 = np.exp(y[order] - norm)
    mass = p.cumsum()
    kept = int(np.count_nonzero(mass - p < sampling.top_p))  # the token that crosses the mass is kept
    mass = mass[:kept]
    return int(order[min(_first_over(mass, u), kept - 1)])


def _first_over(mass: F64, u: float) -> int:
    """Where running mass passes a share of the whole."""
    return int(np.searchsorted(mass, u * float(mass[-1]), side="right"))
