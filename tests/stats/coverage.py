"""Coverage by simulation: the seed is the hash of the test's name, the verdict the 99.9% binomial region."""

import hashlib
from collections.abc import Callable

import numpy as np
from scipy.stats import binom

from homing.stats import Estimate


def seed_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def covered(name: str, make: Callable[[np.random.Generator, int], tuple[Estimate, float]], repetitions: int) -> int:
    """How many of the intervals cover the truth that ``make`` returns beside them."""
    rng = np.random.default_rng(seed_of(name))
    hits = 0
    for _ in range(repetitions):
        estimate, truth = make(rng, int(rng.integers(2**31)))
        hits += estimate.low <= truth <= estimate.high
    return hits


def region(repetitions: int, nominal: float = 0.95) -> tuple[int, int]:
    low, high = binom.interval(0.999, repetitions, nominal)
    return int(low), int(high)


def assert_covers(
    name: str,
    make: Callable[[np.random.Generator, int], tuple[Estimate, float]],
    *,
    repetitions: int = 400,
    nominal: float = 0.95,
    at_least: bool = False,
) -> None:
    """Fail outside the region; ``at_least`` for intervals that promise no less and may be wider."""
    hits = covered(name, make, repetitions)
    low, high = region(repetitions, nominal)
    print(f"COVERAGE {name} {hits / repetitions:.4f} of {nominal} ({repetitions})")
    assert low <= hits and (at_least or hits <= high), f"{name}: {hits} of {repetitions}, region {low} to {high}"
