"""Every primary test of an identity, adjusted together: a page with many verdicts shows some by chance alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from homing.stats import benjamini_hochberg
from homing.stats.estimate import Estimate, Finding

__all__ = ["RATE", "PrimaryTest", "primary_tests"]

RATE = 0.05
"""False discovery rate over the tests of one report."""


@dataclass(frozen=True, slots=True)
class PrimaryTest:
    """One test against 0.

    Attributes:
        finding, estimate: their names. ``figure``: what was tested. ``p_value``: two-sided, by permutation.
        adjusted: over all tests of the report (Benjamini and Hochberg 1995). ``shown``: whether that is at most 5%.
    """

    finding: str
    estimate: str
    figure: Estimate
    p_value: float
    adjusted: float
    shown: bool


def primary_tests(found: Mapping[str, Finding]) -> tuple[PrimaryTest, ...]:
    """All tests that the findings of one report carry, smallest adjusted p-value first."""
    tests = [(f.name, k, f.estimates[k], p) for f in found.values() for k, p in f.p_values.items()]
    if not tests:
        return ()
    got = benjamini_hochberg([p for *_, p in tests], rate=RATE)
    out = [
        PrimaryTest(name, k, e, p, float(q), bool(r))
        for (name, k, e, p), q, r in zip(tests, got.adjusted, got.rejected, strict=True)
    ]
    return tuple(sorted(out, key=lambda t: (t.adjusted, t.p_value, t.finding, t.estimate)))
