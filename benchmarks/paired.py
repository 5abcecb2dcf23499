"""What the speed benchmarks share: the interval of paired ratios."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["interval"]


def interval(ratios: list[float], *, seed: int = 0) -> dict[str, Any]:
    """Median with a 95% bootstrap interval."""
    x = np.asarray(ratios)
    rng = np.random.default_rng(seed)
    boots = np.median(rng.choice(x, size=(2000, len(x))), axis=1)
    low, high = np.quantile(boots, [0.025, 0.975])
    return {"value": float(np.median(x)), "low": float(low), "high": float(high), "level": 0.95, "n": len(x)}
