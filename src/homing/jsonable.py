"""Strict JSON: what is not a finite number is null, in every file and on every wire."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

__all__ = ["strict"]


def strict(value: Any) -> Any:
    """Nested mappings and sequences as dicts and lists, and what is not a finite number as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): strict(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [strict(v) for v in cast("Sequence[Any]", value)]
    return value
