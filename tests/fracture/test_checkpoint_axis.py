"""Axes of two checkpoints, compared by what they read: one axis, a share of one, another one, and a change of basis."""

from __future__ import annotations

import numpy as np
import pytest

from homing.fracture.checkpoint_axis import axis_agreement
from homing.fracture.concept_contexts import Context, Contexts, Units
from homing.stats._special import F64

HIDDEN, CONTEXTS, N = 48, 4, 32
NOISE = 0.3
"""Of every prompt in every direction: along the axis too, where it is part of what is read, and another in A than in B."""


def units(x: F64) -> Units:
    """``(contexts, 2, n, hidden)`` to units."""
    return Units.of(Contexts(tuple(Context(f"g{g}", c[0], c[1]) for g, c in enumerate(x))))


def turned(x: F64, seed: int) -> F64:
    return x @ np.linalg.qr(np.random.default_rng(seed).standard_normal((HIDDEN, HIDDEN)))[0]


def planted(kept: float, seed: int) -> tuple[F64, F64]:
    """Prompts that vary along the axis in both; of B's variation a share ``kept``, as a correlation, is A's."""
    rng = np.random.default_rng(seed)
    one, other = rng.standard_normal((2, CONTEXTS, 2, N))
    two = kept * one + np.sqrt(1 - kept**2) * other
    noise = NOISE * rng.standard_normal((2, CONTEXTS, 2, N, HIDDEN))
    side = np.array([1.0, -1.0])[None, :, None]
    a, b = ((side + v)[..., None] * np.eye(HIDDEN)[0] + e for v, e in zip((one, two), noise, strict=True))
    return a, turned(b, seed)


@pytest.mark.parametrize(("kept", "seed"), [(1.0, 0), (1.0, 1), (0.5, 2), (0.5, 3), (0.0, 4), (0.0, 5)])
def test_what_the_axes_share_is_found(kept: float, seed: int) -> None:
    # both axes tell the classes apart without an error, and that alone is no agreement
    a, b = planted(kept, seed)
    found = axis_agreement(units(a), units(b), seed=0)
    truth = kept / (1 + NOISE**2)
    assert found.value == pytest.approx(truth, abs=0.15)
    assert found.low - 0.05 <= truth <= found.high + 0.05


def test_the_interval_covers() -> None:
    hits, truth = 0, 0.6 / (1 + NOISE**2)
    for seed in range(40):
        a, b = planted(0.6, 100 + seed)
        found = axis_agreement(units(a), units(b), seed=seed, draws=200)
        hits += found.low <= truth <= found.high
    print(f"RESULT covered {hits} of 40")
    assert hits >= 34


def test_a_change_of_basis_is_none() -> None:
    a, _ = planted(1.0, 7)
    found = axis_agreement(units(a), units(turned(3 * a, 8)), seed=0)
    assert found.value == pytest.approx(1, abs=1e-9) and found.low == pytest.approx(1, abs=1e-9)


def test_noise_does_not_make_an_axis_another_one() -> None:
    """16 prompts and four times the noise: the plain correlation of readings would be well under 1."""
    rng = np.random.default_rng(3)
    value = rng.standard_normal((CONTEXTS, 2, 16))
    side = np.array([1.0, -1.0])[None, :, None]
    a, b = (
        (side + value)[..., None] * np.eye(HIDDEN)[0] + 0.8 * rng.standard_normal((CONTEXTS, 2, 16, HIDDEN))
        for _ in range(2)
    )
    found = axis_agreement(units(a), units(turned(b, 4)), seed=0)
    assert found.low <= 1.05 and found.value > 0.5


def test_an_axis_that_reads_nothing_is_not_measurable() -> None:
    rng = np.random.default_rng(0)
    a, b = planted(1.0, 0)
    empty = rng.standard_normal(b.shape)
    found = axis_agreement(units(a), units(empty), seed=0)
    assert not np.isfinite(found.value) or found.low < 0.5
