"""The axis: its units, its direction, and how sure its scale is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InputError
from homing.persona.axis import Axis, Reader
from homing.persona.scale import Scale
from tests.persona.planted import planted_replies

RNG = np.random.default_rng(0)
HOME = RNG.standard_normal((3, 8)).astype(np.float32) + 2
ROLES = RNG.standard_normal((10, 3, 8)).astype(np.float32)


@pytest.fixture
def axis() -> Axis:
    return Axis.between(HOME, ROLES, (1, 4, 6), read_layer=4)


def test_home_is_one_and_the_mean_role_is_nought(axis: Axis) -> None:
    assert np.allclose(np.linalg.norm(axis.vectors, axis=1), 1, atol=1e-6)
    assert np.allclose(axis.positions(axis.raw(HOME)), 1, atol=1e-5)
    assert np.allclose(axis.positions(axis.raw(ROLES)).mean(axis=0), 0, atol=1e-5)
    assert axis.positions(axis.raw(ROLES)).shape == (10, 3)
    half = (HOME + ROLES.mean(axis=0)) / 2
    assert np.allclose(axis.positions(axis.raw(half)), 0.5, atol=1e-5)


def test_thresholds_are_the_inverse_of_positions(axis: Axis) -> None:
    for layer, at in ((1, 0), (4, 1), (6, 2)):
        for position in (-2.0, 0.0, 0.7, 1.0):
            raw = np.zeros(3, np.float32)
            raw[at] = axis.to_raw(position, layer)
            assert axis.positions(raw)[at] == pytest.approx(position, abs=1e-5)


def test_a_read_carries_the_units_of_its_layer(axis: Axis) -> None:
    read = axis.read()
    assert read.layers == (4,)
    assert read.zero == (axis.zero[1],)
    assert axis.read((1, 6)).unit == (axis.unit[0], axis.unit[2])
    assert float(read.calibrated(np.array([axis.to_raw(0.3, 4)], np.float32))[0]) == pytest.approx(0.3, abs=1e-5)
    assert axis.mean_read().layers == (1, 4, 6)


def test_json_and_back_is_the_same_direction(axis: Axis) -> None:
    back = Axis.from_json(axis.to_json(), {"axis": axis.vectors, "reader": axis.reader.vector})
    assert back.direction.id == axis.direction.id
    assert (back.zero, back.unit, back.read_layer) == (axis.zero, axis.unit, axis.read_layer)
    assert back.reader.direction.id == axis.reader.direction.id
    old = {k: v for k, v in axis.to_json().items() if k != "reader"}  # as identities were before they had a reader
    assert Axis.from_json(old, {"axis": axis.vectors}).read() == axis.read()


def test_what_is_no_axis_is_refused(axis: Axis) -> None:
    with pytest.raises(InputError, match="home equals the mean role"):
        Axis.between(ROLES.mean(axis=0), ROLES, (1, 4, 6), read_layer=4)
    with pytest.raises(InputError, match="not over 0"):
        Axis(axis.layers, axis.vectors, axis.zero, (1.0, -1.0, 1.0), 4)
    with pytest.raises(InputError, match="not over 0"):
        Axis(axis.layers, axis.vectors, axis.zero, (1.0, math.nan, 1.0), 4)
    with pytest.raises(InputError, match="read layer 2 is not among"):
        Axis(axis.layers, axis.vectors, axis.zero, axis.unit, 2)
    with pytest.raises(InputError, match="3 layers, 2 zeros"):
        Axis(axis.layers, axis.vectors, axis.zero[:2], axis.unit, 4)
    with pytest.raises(InputError, match="reader is of layer 1, but the axis is read at layer 4"):
        replace(axis, own_reader=Reader(1, axis.vectors[0], 0.0, 1.0))
    with pytest.raises(InputError, match="reader has a unit that is not over 0"):
        Reader(4, axis.vectors[1], 0.0, math.nan)


def test_a_position_is_read_by_the_reader_and_a_profile_along_the_axis(axis: Axis) -> None:
    own = Reader(4, np.eye(1, axis.vectors.shape[1], dtype=np.float32)[0] * 3, 2.0, 0.5)
    made = replace(axis, own_reader=own)
    assert made.directions == (made.direction, own.direction)
    read = made.read()
    assert (read.direction, read.layers, read.zero, read.unit) == (own.direction.id, (4,), (2.0,), (0.5,))
    assert made.read((1, 4)).direction == made.direction.id
    assert own.positions(np.array([2.0, 2.5])).tolist() == [0.0, 1.0]
    assert float(np.linalg.norm(own.vector)) == pytest.approx(1.0)


def test_the_scale_is_as_sure_as_its_marks() -> None:
    replies, _ = planted_replies(gap=5.0)
    made = Axis.between(
        replies.means[replies.home].mean(axis=0),
        np.stack([replies.means[replies.role == r].mean(axis=0) for r in range(48)]),
        replies.layers,
        read_layer=0,
    )
    at = made.positions(made.raw(replies.means))[:, 0].astype(np.float64)
    scale = Scale.of(replies, at)
    roles = [at[replies.role == r].mean() for r in range(48)]
    assert scale.se_role == pytest.approx(np.std(roles, ddof=1) / math.sqrt(48), rel=1e-5)
    assert scale.n == 48
    home, role, between = scale.position(1.0), scale.position(0.0), scale.position(0.5)
    assert home.high - home.low == pytest.approx(2 * 1.959964 * scale.se_home, rel=1e-5)
    assert role.high - role.low == pytest.approx(2 * 1.959964 * scale.se_role, rel=1e-5)
    assert between.high - between.low < max(home.high - home.low, role.high - role.low)
    assert scale.drift(0.0).low == scale.drift(0.0).high == 0.0
    assert scale.drift(-1.0).high - scale.drift(-1.0).low > 0
    nothing = scale.position(math.nan)
    assert (nothing.low, nothing.high) == (-math.inf, math.inf)
    assert Scale.from_json(scale.to_json()) == scale
