"""Resamples of a map, roles, questions and home prompts each on its own, and the intervals made of them."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.persona.rollouts import Replies
from homing.stats.estimate import Estimate

__all__ = ["LEVEL", "Draw", "percentiles", "recentred", "sign_free"]

F64 = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, eq=False, slots=True)
class Draw:
    """One two-way bootstrap draw: how often each role and home prompt stands in it, and the weight of each reply."""

    roles: NDArray[np.int64]
    prompts: NDArray[np.int64]
    weights: F64

    @classmethod
    def of(cls, replies: Replies, rng: np.random.Generator) -> Draw:
        """Roles, questions and home prompts resampled, each on its own.

        One fewer of each is drawn than there are: with few of a kind, home prompts above all, a draw of as many varies
        too little, by ``(n - 1) / n``.
        """

        def draw(n: int) -> NDArray[np.int64]:
            return np.bincount(rng.integers(0, n, max(1, n - 1)), minlength=n)

        home = replies.home
        roles, questions = draw(int(replies.role.max()) + 1), draw(int(replies.question.max()) + 1)
        prompts = draw(int(replies.prompt[home].max()) + 1)
        own = np.where(home, prompts[np.where(home, replies.prompt, 0)], roles[np.where(home, 0, replies.role)])
        return cls(roles, prompts, (own * questions[replies.question]).astype(np.float64))

    @classmethod
    def whole(cls, replies: Replies) -> Draw:
        """Everything once."""
        n_r, n_p = int(replies.role.max()) + 1, int(replies.prompt[replies.home].max()) + 1
        return cls(np.ones(n_r, np.int64), np.ones(n_p, np.int64), np.ones(len(replies)))


def percentiles(value: float, draws: F64, n: int, method: str, unit: str = "") -> Estimate:
    """Percentile interval that holds the value; not measurable with fewer than 20 draws."""
    good = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(good) < 20:
        return Estimate(float("nan"), -np.inf, np.inf, LEVEL, n, unit, method)
    low, high = (float(v) for v in np.percentile(good, [2.5, 97.5]))
    return Estimate(value, min(low, value), max(high, value), LEVEL, n, unit, method)


def _logit(p: F64) -> F64:
    q = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(q / (1 - q))


def _shifted(value: float, draws: F64, *, share: bool = False) -> tuple[float, float]:
    """Ends of the draws' spread put around the value: of a cosine in Fisher's z, of a share on the logit scale.

    Resampled replies are fewer distinct ones than real ones, so cosines of draws sit lower and shares of leading
    components higher; only their spread is used.
    """
    good = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(good) < 20:
        return -np.inf, np.inf
    if share:
        z, at = _logit(good), float(_logit(np.asarray(value)))
    else:
        z, at = np.arctanh(np.clip(good, -0.999999, 0.999999)), float(np.arctanh(np.clip(value, -0.999999, 0.999999)))
    low, high = at + np.percentile(z, [2.5, 97.5]) - np.median(z)
    return (1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))) if share else (float(np.tanh(low)), float(np.tanh(high)))


def recentred(value: float, draws: F64, n: int, method: str, *, share: bool = False) -> Estimate:
    """Estimate of a cosine or a share with the ends of :func:`_shifted`."""
    low, high = _shifted(value, draws, share=share)
    return Estimate(value, float(min(low, value)), float(max(high, value)), LEVEL, n, "", method)


def sign_free(value: float, draws: F64, n: int, method: str) -> Estimate:
    """Size of a cosine whose sign means nothing.

    Args:
        value: with the sign of the component as fitted. ``draws``: each with its component turned towards that one.
            Folding comes last: the mean size of noise is not 0, and would look like a cosine.
    """
    low, high = _shifted(value, draws)
    size = abs(value)
    ends = (0.0 if low < 0 < high else min(abs(low), abs(high)), max(abs(low), abs(high)))
    return Estimate(size, float(min(ends[0], size)), float(max(ends[1], size)), LEVEL, n, "", method)
