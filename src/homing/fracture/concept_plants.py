"""Contexts with a known answer: what the judgement of a concept is tried on before it is used.

Noise as in a residual stream: a few directions carry most of it, in a basis that has nothing to do with the concept's.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from homing.errors import InputError
from homing.fracture.concept_contexts import Context, Contexts
from homing.stats._special import F64

__all__ = ["Truth", "plant"]

Truth = Literal["cosine", "groups", "polarity", "circle"]


def _noise(rng: np.random.Generator, hidden: int, trace: float, decay: float) -> F64:
    """Root of a covariance of this trace whose variances fall as a power of the rank, ``(hidden, hidden)``."""
    spread = np.arange(1, hidden + 1) ** -decay
    basis = np.linalg.qr(rng.standard_normal((hidden, hidden)))[0]
    return np.sqrt(spread * trace / spread.sum())[:, None] * basis.T


def _frame(rng: np.random.Generator, hidden: int, count: int) -> F64:
    """Orthonormal directions, ``(count, hidden)``."""
    return np.linalg.qr(rng.standard_normal((hidden, count)))[0].T


def plant(
    truth: Truth,
    *,
    n: int,
    seed: int,
    cosine: float = 1.0,
    contexts: int = 4,
    hidden: int = 576,
    trace: float = 16.0,
    decay: float = 1.0,
    unequal: float = 1.0,
    mix: tuple[float, float] = (0.2, 0.8),
) -> Contexts:
    """Contexts of one known kind.

    - ``cosine``: every two contexts' directions have this cosine; 1 is one direction.
    - ``groups``: the first half of the contexts has one direction, the second half another at this cosine: fractured, though two
      dimensions hold all of it.
    - ``polarity``: of each item a true and a false form, whose difference is u + v or u - v by the item's polarity; contexts
      differ in how many items are of which: two dimensions in every context.
    - ``circle``: positives on a half circle about the negatives, turned by another angle in each context: likewise.

    Args:
        n: prompts a class and context. ``contexts``: how many. ``hidden``: size of a vector.
        trace: variance of one vector, over the squared length of a direction (16 gives a raw cosine of 0.67 at n = 64).
        decay: power of the rank with which the noise's variances fall; 0 is the same in all directions.
        unequal: over 1, the negatives have noise of their own, with so many times the variance and in other directions.
        mix: ``polarity``: share of the one polarity, from the first context to the last.
    """
    if truth in ("cosine", "groups") and not 0 <= cosine <= 1:
        raise InputError(f"cosine of a plant is {cosine}; give 0 to 1")
    rng = np.random.default_rng(seed)
    root = _noise(rng, hidden, trace, decay)
    other = root if unequal == 1.0 else _noise(rng, hidden, trace * unequal, decay)
    frame = _frame(rng, hidden, contexts + 1)
    common, own = frame[0], frame[1:]
    made: list[Context] = []
    for g in range(contexts):
        noise = [rng.standard_normal((n, hidden)) @ r for r in (root, other)]
        centre = rng.standard_normal(hidden)  # contexts lie apart, and that says nothing of the concept
        labels: list[str] | None = None
        if truth == "polarity":
            share = mix[0] + (mix[1] - mix[0]) * g / (contexts - 1)
            sign = np.where(np.arange(n) < round(share * n), 1.0, -1.0)
            half = (common + sign[:, None] * own[0]) / 2
            pos, neg = half, -half
            labels = [f"{g}-{i}" for i in range(n)]
        elif truth == "circle":
            angle = np.pi * (0.6 * g / (contexts - 1) + rng.random(n) - 0.5)
            radius = np.pi / 2  # the mean over a half circle lies at 2 / pi of the radius
            pos = radius * (np.cos(angle)[:, None] * common + np.sin(angle)[:, None] * own[0])
            neg = np.zeros((n, hidden))
        else:
            if truth == "groups":
                d = common if g < contexts // 2 else cosine * common + np.sqrt(1 - cosine**2) * own[0]
            else:
                d = np.sqrt(cosine) * common + np.sqrt(1 - cosine) * own[g]
            pos, neg = np.tile(d / 2, (n, 1)), np.tile(-d / 2, (n, 1))
        made.append(Context(f"context {g}", centre + pos + noise[0], centre + neg + noise[1], labels, labels))
    return Contexts(tuple(made))
