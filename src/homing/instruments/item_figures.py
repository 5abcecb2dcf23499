"""What the figures of several instruments share: means over items, and what they took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from homing.instruments.base import Scored
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Cost, Estimate
from homing.stats.intervals import wilson_bounds
from homing.stats.seeds import stable_seed
from homing.stats.tests import permutation_paired, tost_mean

__all__ = ["ByCondition", "Pairs", "cost_of", "of_items", "within"]


Pairs = Mapping[str, float]
"""Item to its value."""
SEEDED = "self_conditioning"
"""What draws are seeded with in every instrument: the first that used these. Another name would move recorded figures."""


class ByCondition:
    """Scores by hold and condition, in an order that is theirs."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str], list[Scored]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.id)):
            self._at.setdefault((s.hold, s.cell.condition), []).append(s)

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _ in self._at} - {"none"})

    def of(self, hold: str, *conditions: str) -> list[Scored]:
        """Scores of some conditions."""
        return [s for c in conditions for s in self._at.get((hold, c), [])]

    def every(self, hold: str) -> list[Scored]:
        """All scores under a hold."""
        return [s for (h, _), rows in self._at.items() if h == hold for s in rows]


def of_items(x: Pairs, tag: str, *, least: float, most: float) -> tuple[Estimate, float]:
    """Mean over items and its p-value against 0.

    Where all items are alike there is nothing to resample; then up to as many may differ as Wilson's interval allows.

    Args:
        least, most: what a value can be.
    """
    values, seed = np.array(list(x.values())), stable_seed(SEEDED, tag)
    p = permutation_paired(values, seed=seed, clusters=list(x)).p_value
    if np.ptp(values) > 0:
        return bootstrap_mean(values, seed=seed, clusters=list(x)), p
    value, n = float(values[0]), len(values)
    rest = 1 - wilson_bounds(n, n, 0.95)[0]
    low, high = value - rest * (value - least), value + rest * (most - value)
    return Estimate(value, low, high, 0.95, n, "", "all items alike: Wilson's bound on those that may differ"), p


def within(x: Pairs, margin: float, *, most: float = 1.0) -> bool:
    """Whether the mean over items is shown to lie within a margin of 0.

    Where all items are alike a test of the mean has no variance to go by, and would show it of any few; then the bounds of
    :func:`of_items` must lie within.
    """
    if np.ptp(list(x.values())) > 0:
        return tost_mean(list(x.values()), margin=margin, clusters=list(x)).verdict == "equivalent"
    found, _ = of_items(x, "within", least=-most, most=most)
    return -margin < found.low and found.high < margin


def cost_of(scored: Iterable[Scored]) -> Cost:
    """What all of these took."""
    every = [s.cost for s in scored]
    tokens = (sum(c.prompt_tokens for c in every), sum(c.new_tokens for c in every))
    return Cost(sum(c.calls for c in every), *tokens, sum(c.seconds for c in every))
