"""Drawing tokens from logits: each row with its own temperature, nucleus and source of chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import LEAST_TEMPERATURE, Sampling
from homing.engine.rows import Drawn

__all__ = ["draw", "generator_for", "log_normaliser"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
_BLOCK = 256
_LEAST_WEIGHTS = (2.0**-10, 2.0**-20)
"""Weights beside the likeliest token's 1, down to which tokens are looked at for the nucleus, one after the other."""


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
    # in float32 until sums are taken: a whole vocabulary in double precision would cost a row more than its share of a step
    weight: F32 = np.exp((logits - logits.max()) / np.float32(max(sampling.temperature, LEAST_TEMPERATURE)))
    if sampling.top_p >= 1.0:
        return _whole(weight, u)
    wanted = sampling.top_p * float(weight.sum(dtype=np.float64))
    order: NDArray[np.int64] = np.arange(len(weight))
    for least in _LEAST_WEIGHTS:  # the likeliest hold the nucleus: most of the vocabulary is never sorted
        likely = np.flatnonzero(weight >= least)
        if float(weight[likely].sum(dtype=np.float64)) >= wanted:
            order = likely
            break
    order = order[np.argsort(-weight[order], kind="stable")]
    p: F64 = weight[order].astype(np.float64)
    mass: F64 = p.cumsum()
    kept = int(np.count_nonzero(mass - p < wanted))  # the token that crosses the mass is kept
    mass = mass[:kept]
    return int(order[min(_first_over(mass, u), kept - 1)])


def _whole(weight: F32, u: float) -> int:
    """The same over all weights: the block first, since a running sum of a vocabulary is slow."""
    starts = np.arange(0, len(weight), _BLOCK)
    mass: F64 = np.add.reduceat(weight, starts, dtype=np.float64).cumsum()
    block = min(_first_over(mass, u), len(mass) - 1)
    start = int(starts[block])
    inside: F64 = weight[start : start + _BLOCK].cumsum(dtype=np.float64)
    rest = u * float(mass[-1]) - (float(mass[block - 1]) if block else 0.0)
    return start + min(int(np.searchsorted(inside, rest, side="right")), len(inside) - 1)


def _first_over(mass: F64, u: float) -> int:
    """Where running mass passes a share of the whole."""
    return int(np.searchsorted(mass, u * float(mass[-1]), side="right"))
