"""Scores of the calibration instrument by hold and condition, what bars a readout, and figures of confidences and outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from homing.instruments.base import LEAST_MASS, LEAST_VALID, Scored
from homing.stats._special import F64
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.calibration import Recalibration, brier_parts, calibration_test, equal_mass, isotonic_map, platt_map
from homing.stats.estimate import Estimate
from homing.stats.intervals import mean_t, wilson
from homing.stats.ranking import auroc
from homing.stats.seeds import stable_seed
from homing.stats.tests import permutation_paired

__all__ = [
    "HELD_BY",
    "LEAST",
    "LEAST_SIDE",
    "NAME",
    "READOUTS",
    "Kept",
    "Rows",
    "barred",
    "curve",
    "halves",
    "kept",
    "overconfidence",
]

NAME = "calibration"
HELD_BY = "analyses"
READOUTS: Mapping[str, str] = {"logprob": "the probability of its answer", "stated": "the confidence it states"}
LEAST = 24
"""Fewer items: confidences are not measured."""
LEAST_SIDE = 5
"""Fewer right, or wrong, answers: the model stands at the floor, or the ceiling, and its confidence has nothing to tell apart."""
PER_BIN = 8
PER_MARK = 16
"""Items of one mark of a diagram: with fewer its interval spans most of the scale."""
MOST_BINS = 10


@dataclass(frozen=True, eq=False, slots=True)
class Kept:
    """Confidences and whether they came true, item by item.

    Attributes:
        items: in order. ``q``: ``(n,)`` from 0 to 1. ``y``: ``(n,)``, 0 or 1. ``half``: ``(n,)``, 0 or 1.
    """

    items: tuple[str, ...]
    q: F64
    y: F64
    half: F64

    def of(self, half: int) -> Kept:
        """Those of one half."""
        mine = self.half == half
        return Kept(
            tuple(k for k, m in zip(self.items, mine, strict=True) if m), self.q[mine], self.y[mine], self.half[mine]
        )

    def at(self, items: Iterable[str]) -> Kept:
        """Those of some items, in the order of these."""
        where = {k: i for i, k in enumerate(self.items)}
        take = [where[k] for k in items]
        return Kept(tuple(items), self.q[take], self.y[take], self.half[take])

    def said(self, q: F64) -> Kept:
        """The same outcomes under other confidences."""
        return Kept(self.items, q, self.y, self.half)

    @property
    def losses(self) -> F64:
        """Squared distance of each confidence from its outcome."""
        return (self.q - self.y) ** 2

    @property
    def bins(self) -> int:
        """How many bins so many items fill."""
        return max(2, min(MOST_BINS, len(self.items) // PER_BIN))


class Rows:
    """Scores by hold and condition."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str], dict[str, Scored]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.id)):
            self._at.setdefault((s.hold, s.cell.condition), {})[s.cell.item] = s

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _ in self._at} - {"none"})

    def of(self, hold: str, condition: str) -> Mapping[str, Scored]:
        """Item to score; empty where nothing was played."""
        return self._at.get((hold, condition), {})

    def every(self, hold: str) -> list[Scored]:
        """All scores under a hold."""
        return [s for (h, _), rows in self._at.items() if h == hold for s in rows.values()]

    def kept(self, hold: str, readout: str) -> Kept:
        """Answers that have a confidence by one readout."""
        mine = {k: s.values for k, s in self.of(hold, "answer").items() if readout in s.values and "right" in s.values}
        q, y, half = (np.array([float(v[x]) for v in mine.values()]) for x in (readout, "right", "half"))
        return Kept(tuple(mine), q, y, half)

    @property
    def drawn(self) -> bool:
        """Whether choices were drawn and not read from probabilities."""
        return any(s.values.get("exact") is False for s in self.of("none", "answer").values())


def barred(rows: Rows, hold: str, readout: str) -> str:
    """Why a readout is not measured under a hold; empty where it is."""
    asked, found = rows.of(hold, "answer"), rows.kept(hold, readout)
    chosen = rows.kept(hold, "logprob")
    if len(chosen.items) < LEAST_VALID * len(asked):
        return f"{len(chosen.items)} of {len(asked)} answers were given, and {LEAST_VALID:.0%} must be"
    if len(found.items) < LEAST_VALID * len(asked):
        return f"{len(found.items)} of {len(asked)} replies state one confidence from 0% to 100%, and {LEAST_VALID:.0%} must"
    if len(found.items) < LEAST:
        return f"{len(found.items)} items have a confidence, and {LEAST} must"
    masses = [float(s.values["mass"]) for s in asked.values() if "mass" in s.values]
    if (middle := median(masses)) < LEAST_MASS:
        return f"the four answers together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed"
    right, n = int(found.y.sum()), len(found.items)
    if n - right < LEAST_SIDE:
        return f"{right} of {n} answers are right: at the ceiling, with nothing for a confidence to tell apart"
    if right < LEAST_SIDE:
        return f"{right} of {n} answers are right: at the floor, with nothing for a confidence to tell apart"
    return ""


def kept(k: Kept, tag: str) -> tuple[dict[str, Estimate], dict[str, float]]:
    """Every figure of confidences and outcomes, and the p-values of overconfidence and of any miscalibration."""
    seed = stable_seed(NAME, tag)
    over, p = overconfidence(k, seed)
    found = {
        "accuracy": wilson(int(k.y.sum()), len(k.items)),
        "confidence": bootstrap_mean(k.q, seed=seed),
        "overconfidence": over,
        **brier_parts(k.q, k.y, seed=seed, bins=k.bins),
        "auroc": auroc(k.q[k.y == 1], k.q[k.y == 0]),
    }
    return found, {"overconfidence": p, "ece": calibration_test(k.q, k.y, seed=seed, bins=k.bins).p_value}


def overconfidence(k: Kept, seed: int) -> tuple[Estimate, float]:
    """Mean confidence less the share that is right, and its p-value against 0."""
    gap = k.q - k.y
    return bootstrap_mean(gap, seed=seed), permutation_paired(gap, seed=seed).p_value


def curve(k: Kept) -> list[tuple[Estimate, Estimate]]:
    """The reliability diagram: mean confidence and accuracy of each bin, least confident first."""
    bins = max(3, min(MOST_BINS, len(k.items) // PER_MARK))
    codes, out = equal_mass(k.q, bins), list[tuple[Estimate, Estimate]]()
    for b in range(int(codes.max()) + 1):
        q, y = k.q[codes == b], k.y[codes == b]
        n, value = len(q), float(q.mean())
        said = mean_t(q) if n > 1 and np.ptp(q) > 0 else Estimate(value, value, value, 0.95, n, "", "all alike")
        out.append((said, wilson(int(y.sum()), n)))
    return out


def halves(k: Kept) -> tuple[Kept, dict[str, Kept]]:
    """The half that is scored, as it was said, and as maps say it that were fitted on the other half alone."""
    fitted, scored = k.of(0), k.of(1)
    maps: dict[str, Recalibration] = {
        "isotonic": isotonic_map(fitted.q, fitted.y),
        "platt": platt_map(fitted.q, fitted.y),
    }
    return scored, {name: scored.said(m(scored.q)) for name, m in maps.items()}
