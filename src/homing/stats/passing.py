"""How often at least one of several tries is right."""

from __future__ import annotations

import math

from homing.errors import InputError

__all__ = ["pass_at_k"]


def pass_at_k(n: int, right: int, k: int) -> float:
    """Chance that at least one of ``k`` tries is right, from ``n`` independent tries of which ``right`` were.

    Unbiased: ``1 - C(n - right, k) / C(n, k)`` (arXiv 2107.03374), the share of subsets of ``k`` tries with a right one in them.

    Raises:
        InputError: ``k`` is not 1 to ``n``, or ``right`` not 0 to ``n``.
    """
    if not 0 <= right <= n:
        raise InputError(f"right tries are {right} of {n}; give 0 to {n}")
    if not 1 <= k <= n:
        raise InputError(f"k is {k} with {n} tries; give 1 to {n}")
    return 1 - math.comb(n - right, k) / math.comb(n, k)
