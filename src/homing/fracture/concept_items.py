"""The behavioural side of fracture: matched items that differ in nothing that matters, asked in several formats (L8).

Items of unlike difficulty in two formats show difficulty, not fracture; so every item is asked in every format.
Source of the spread over formats: arXiv 2310.11324; of the paired test: McNemar 1947.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats import bootstrap_mean, holm, mcnemar_exact, newcombe_paired
from homing.stats._special import F64
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["FormatPair", "MatchedItems", "matched_items"]

LEAST_ITEMS = 16


@dataclass(frozen=True, slots=True)
class FormatPair:
    """Two formats on the same items: first rate less second; its exact p-value, and that adjusted for all pairs (Holm)."""

    first: str
    second: str
    difference: Estimate
    p_value: float
    adjusted: float


@dataclass(frozen=True, slots=True)
class MatchedItems:
    """What a format alone does.

    Attributes:
        rates: of each format, by name. ``pairs``: of all formats.
        spread: best rate less worst. ``expected``: the spread that chance alone gives, with the interval of its draws.
        p_value: of the spread, formats shuffled within each item.
        undecided: share of items that succeed in some formats and fail in others.
    """

    rates: dict[str, Estimate]
    pairs: tuple[FormatPair, ...]
    spread: Estimate
    expected: Estimate
    p_value: float
    undecided: Estimate

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "rates": {k: e.to_json() for k, e in self.rates.items()},
            "pairs": [
                {"first": p.first, "second": p.second, "difference": p.difference.to_json(), "p_value": p.p_value,
                 "adjusted": p.adjusted}
                for p in self.pairs
            ],
            "spread": self.spread.to_json(),
            "expected": self.expected.to_json(),
            "p_value": self.p_value,
            "undecided": self.undecided.to_json(),
        }  # fmt: skip


def matched_items(
    success: npt.ArrayLike, formats: Sequence[str], *, seed: int, level: float = 0.95, draws: int = 2000
) -> MatchedItems:
    """Compare formats on matched items.

    Args:
        success: ``(items, formats)``, true or 1 where the item came out right in that format.
        formats: their names. ``seed``: of resamples and shuffles. ``draws``: of each.

    Raises:
        InputError: fewer than 16 items or two formats, a name used twice, or values that are not 0 and 1.
    """
    x = np.asarray(success, np.float64)
    if x.ndim != 2 or x.shape[1] != len(formats):
        raise InputError(f"success has shape {x.shape} for {len(formats)} formats; give (items, formats)")
    if x.shape[1] < 2 or len(set(formats)) < len(formats):
        raise InputError(f"formats are {', '.join(formats) or 'none'}; give at least two, each with a name of its own")
    if x.shape[0] < LEAST_ITEMS:
        raise InputError(f"{x.shape[0]} matched items; at least {LEAST_ITEMS} are needed")
    if not np.isin(x, (0.0, 1.0)).all():
        raise InputError(
            "success holds values other than 0 and 1; leave an item out of every format where one failed to parse"
        )
    n, k = x.shape
    rates = {
        f: bootstrap_mean(x[:, i], seed=stable_seed("format", seed, i), level=level) for i, f in enumerate(formats)
    }
    at = [(i, j) for i in range(k) for j in range(i + 1, k)]
    tests = [mcnemar_exact(int((x[:, i] > x[:, j]).sum()), int((x[:, j] > x[:, i]).sum())).p_value for i, j in at]
    adjusted = holm(tests).adjusted
    pairs = tuple(
        FormatPair(formats[i], formats[j], _difference(x[:, i], x[:, j], level), p, float(a))
        for (i, j), p, a in zip(at, tests, adjusted, strict=True)
    )
    rng = np.random.default_rng(stable_seed("formats", seed))
    spread = float(np.ptp(x.mean(axis=0)))
    weights = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n
    drawn = np.ptp(weights @ x, axis=1)
    null = _shuffled(x, draws, rng)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = (float(q) for q in np.quantile(drawn, tails))
    a, b = (float(q) for q in np.quantile(null, tails))
    mixed = (x.min(axis=1) < x.max(axis=1)).astype(np.float64)
    return MatchedItems(
        rates,
        pairs,
        Estimate(spread, min(low, spread), max(high, spread), level, n, "", f"bootstrap over items, {draws} draws"),
        Estimate(float(null.mean()), a, b, level, n, "", f"formats shuffled within items, {draws} draws"),
        float((np.sum(null >= spread - 1e-12) + 1) / (draws + 1)),
        bootstrap_mean(mixed, seed=stable_seed("undecided", seed), level=level),
    )


def _difference(a: F64, b: F64, level: float) -> Estimate:
    both, first, second = int((a * b).sum()), int((a > b).sum()), int((b > a).sum())
    return newcombe_paired(both, first, second, len(a) - both - first - second, level=level)


def _shuffled(x: F64, draws: int, rng: np.random.Generator) -> F64:
    """Spread over formats with each item's outcomes dealt out to formats at random, ``(draws,)``."""
    right, out = x.sum(axis=1), list[F64]()
    for start in range(0, draws, 200):
        place = rng.random((min(200, draws - start), *x.shape)).argsort(
            axis=2
        )  # a random order of formats for every item
        out.append(np.ptp((place < right[:, None]).mean(axis=1), axis=1))
    return np.concatenate(out)
