"""Checks shared by the estimators; each refusal says what, value, expected, how to mend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._special import F64, I64

__all__ = ["finite", "group_codes", "level_ok"]


def level_ok(level: float) -> None:
    """Refuse a coverage outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level}; it must lie between 0 and 1, for example 0.95")


def finite(values: npt.ArrayLike, name: str, least: int = 1) -> F64:
    """A float64 vector ``(n,)``; refuses what is not finite (a missing reading is a state, never a number)."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise InputError(f"{name} has shape {x.shape}; give a vector")
    if x.size < least:
        raise InputError(f"{name} has {x.size} values; at least {least} are needed")
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).sum())
        raise InputError(f"{name} has {bad} values that are not finite; leave missing ones out and count them")
    return x


def group_codes(labels: Sequence[Any] | npt.NDArray[Any] | None, n: int, name: str = "clusters") -> tuple[I64, int]:
    """Labels to codes 0 .. m-1, in order of first appearance of the sorted labels; None: each value on its own."""
    if labels is None:
        return np.arange(n, dtype=np.int64), n
    if len(labels) != n:
        raise InputError(f"{name} has {len(labels)} labels for {n} values; give one a value")
    index = {label: i for i, label in enumerate(sorted({str(x) for x in labels}))}
    return np.asarray([index[str(x)] for x in labels], dtype=np.int64), len(index)
