"""Scores of the presupposition instrument by hold and condition, which facts are known, and columns of figures, fact by fact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
from numpy.typing import NDArray

from homing.instruments.base import LEAST_MASS, Scored, validity
from homing.stats.bootstrap import bootstrap_mean, two_way_bootstrap
from homing.stats.estimate import Estimate
from homing.stats.intervals import wilson
from homing.stats.ranking import auroc, auroc_clustered, dprime_value
from homing.stats.seeds import stable_seed
from homing.stats.tests import exact_binomial, permutation_paired

__all__ = [
    "HELD_BY",
    "LEAST",
    "MARGIN",
    "NAME",
    "RIVALS",
    "Column",
    "Columns",
    "Rows",
    "auroc_of",
    "barred",
    "dprime_of",
    "estimated",
    "less",
    "p_value",
]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NAME = "presupposition"
HELD_BY = "ground"
RIVALS = ("check_premises", "wait_a_minute")
LEAST = 3
"""Fewer facts: that figure is not measured."""
LEAST_KNOWN = 5
"""Fewer known facts: nothing but what is known is measured."""
MARGIN = 0.1
"""A change of KR - FA that would still count as none."""


@dataclass(frozen=True, eq=False, slots=True)
class Column:
    """One figure, fact by fact.

    Attributes:
        values: fact to its value. ``span``: the largest there can be. ``signed``: whether it lies within minus and plus that, and
            not within 0 and that.
    """

    values: Mapping[str, float]
    span: float = 1.0
    signed: bool = False


Columns = dict[str, Column]


class Rows:
    """Scores by hold and condition, and which facts are known."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        self._at: dict[tuple[str, str], dict[str, Scored]] = {}
        for s in sorted(scored, key=lambda s: (s.hold, s.cell.id)):
            self._at.setdefault((s.hold, s.cell.condition), {})[s.cell.item] = s

    @property
    def holds(self) -> list[str]:
        """Those that were tried."""
        return sorted({h for h, _ in self._at} - {"none"})

    def of(self, hold: str, condition: str) -> Mapping[str, Scored]:
        """Fact to score; empty where nothing was played."""
        return self._at.get((hold, condition), {})

    def every(self, hold: str) -> list[Scored]:
        """All scores under a hold."""
        return [s for (h, _), rows in self._at.items() if h == hold for s in rows.values()]

    @cached_property
    def probed(self) -> dict[str, Scored]:
        """Facts that were asked in every direct way with nothing done."""
        return {k: s for k, s in self.of("none", "probe").items() if {"forced", "judged"} <= set(s.values)}

    @cached_property
    def direct(self) -> dict[str, float]:
        """Fact to the share of its direct probes that are answered rightly."""
        return {k: float(np.mean([*s.values["forced"], s.values["judged"]])) for k, s in self.probed.items()}

    @cached_property
    def known(self) -> frozenset[str]:
        """Facts of which every direct probe is answered rightly."""
        return frozenset(k for k, right in self.direct.items() if right == 1.0)

    def among(self, families: Iterable[str]) -> frozenset[str]:
        """Known facts of some families."""
        wanted = set(families)
        return frozenset(k for k in self.known if self.probed[k].values["family"] in wanted)


def barred(rows: Rows, hold: str, *, known: bool = True) -> str:
    """Why nothing is measured under a hold; empty where it is. ``known``: whether enough must be known."""
    probed = rows.probed
    if (bad := validity(NAME, rows.every("none")) or validity(NAME, rows.every(hold))) is not None:
        return bad.reason
    if len(probed) < LEAST_KNOWN:
        return f"{len(probed)} facts were asked directly with nothing done, and {LEAST_KNOWN} must be"
    # Whole replies have no mass to speak of: a sentence is one of very many. The words "True" and "False" do.
    masses = [float(x) for s in probed.values() for x in s.values["mass"]]
    if (middle := median(masses) if masses else 0.0) < LEAST_MASS:
        return f'"True" and "False" together have a median probability of {middle:.2f}, and {LEAST_MASS} is needed'
    right = sum(sum(s.values["forced"]) > len(s.values["forced"]) / 2 for s in probed.values())
    if right <= len(probed) / 2 or exact_binomial(right, len(probed)).p_value > 0.05:
        return f"{right} of {len(probed)} facts are answered rightly when asked directly, not clear of a guess"
    if known and len(rows.known) < LEAST_KNOWN:
        return f"{len(rows.known)} of {len(probed)} facts are known in every direct probe, and {LEAST_KNOWN} must be"
    return ""


def estimated(column: Column, tag: str) -> Estimate | None:
    """The mean over facts; None with too few.

    Where all facts are alike a bootstrap has no width. Then at most a share u of facts is unlike them, u the upper end of
    Wilson's interval for none of n, and these may lie anywhere.
    """
    x, top = np.array(list(column.values.values())), column.span
    n, bottom = len(x), -top if column.signed else 0.0
    if n < LEAST:
        return None
    if np.ptp(x) == 0:
        value, unlike = float(x[0]), wilson(0, n)
        low, high = value - unlike.high * (value - bottom), value + unlike.high * (top - value)
        return Estimate(value, low, high, unlike.level, n, "", "all alike, Wilson")
    return bootstrap_mean(x, seed=stable_seed(NAME, tag), clusters=list(column.values))


def p_value(column: Column, tag: str) -> float:
    """Two-sided p-value of a mean of 0 over facts, by sign flips."""
    values = list(column.values.values())
    return permutation_paired(values, seed=stable_seed(NAME, tag, "test"), clusters=list(column.values)).p_value


def less(mine: Column, base: Column) -> Column:
    """The first less the second on the facts that are in both."""
    both = [k for k in mine.values if k in base.values]
    span = mine.span * (2 if mine.signed else 1)
    return Column({k: mine.values[k] - base.values[k] for k in both}, span, True)


def dprime_of(kr: Column, fa: Column, base: tuple[Column, Column] | None, tag: str) -> Estimate | None:
    """d', or its change against that of ``base``, facts resampled."""
    sides = [c.values for c in (kr, fa, *(base if base is not None else ()))]
    both = [k for k in sides[0] if all(k in s for s in sides)]
    if len(both) < LEAST:
        return None
    table = np.array([[s[k] for k in both] for s in sides])

    def statistic(facts: I64, one: I64) -> float:
        x = table[:, facts]
        n, sums = len(facts), [float(side.sum()) for side in x]
        return dprime_value(sums[0], sums[1], n) - (dprime_value(sums[2], sums[3], n) if base else 0.0)

    found = two_way_bootstrap(statistic, len(both), 1, seed=stable_seed(NAME, "dprime", tag))
    return found if found.half_width > 0 else None  # all facts are alike, and resampling them tells nothing


def auroc_of(rows: Rows, hold: str) -> Estimate | None:
    """How often rejecting a false premise is likelier than rejecting a true one, whatever the liking for rejecting at all."""
    odds: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
    for item, s in rows.of(hold, "loaded").items():
        for key, value in s.values.items():
            if item in rows.known and key.endswith(".odds"):
                odds[key.endswith(".false.odds")].setdefault(item, []).append(float(value))
    if min(len(v) for v in odds.values()) < LEAST:
        return None
    flat = [(x, false, k) for false, by in odds.items() for k, v in by.items() for x in v]
    scores, labels, clusters = (list(column) for column in zip(*flat, strict=True))
    found = auroc_clustered(scores, labels, clusters=clusters, seed=stable_seed(NAME, "auroc", hold))
    if 0 < found.value < 1:
        return found
    means = [[float(np.mean(v)) for v in odds[side].values()] for side in (True, False)]
    return auroc(*means)  # where they lie apart, a bootstrap has no width
