"""Pictures of our own have the symmetries that they declare, all of them and no other."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.gallery import broken
from homing.fracture.grammar import PICTURES, picture
from homing.fracture.grids import SYMMETRIES, coordinates, inputs, orbits


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_the_symmetries_it_declares_and_no_other(name):
    p, plane = PICTURES[name], coordinates(40)
    assert set(p.symmetries) <= set(SYMMETRIES)
    for s, symmetry in SYMMETRIES.items():
        apart = np.abs(p(symmetry(plane)) - p(plane)).max()
        assert apart < 1e-9 if s in p.symmetries else apart > 0.1, s
        share = broken(symmetry, plane, p(plane))[0]
        assert share < 1e-9 if s in p.symmetries else share > 0.01, s


def test_pictures_are_pictures():
    assert len(PICTURES) >= 6 and len({frozenset(p.symmetries) for p in PICTURES.values()}) >= 6
    plane = coordinates(40)
    for p in PICTURES.values():
        v = p(plane)
        assert v.min() >= 0 and v.max() <= 1 and v.std() > 0.15
        made = p.graph.layerize()
        assert np.abs(made.network(inputs(plane)) - v).max() < 1e-9
    with pytest.raises(InputError, match="'skull' is unknown; use one of mask"):
        picture("skull")


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("side", [12, 13])
def test_folding_puts_one_point_in_place_of_its_orbit(name, side):
    s, plane = SYMMETRIES[name], coordinates(side)
    folded, moved, orbit = s.fold(plane), plane, [plane]
    for _ in range(s.order - 1):
        moved = s(moved)
        orbit.append(moved)
        assert (s.fold(moved) == folded).all()
    assert (s(moved) == plane).all()
    assert (np.stack([(o == folded).all(axis=1) for o in orbit]).any(axis=0)).all()
    if name == "left-right":
        assert (folded == np.stack([plane[:, 0], np.abs(plane[:, 1])], axis=1)).all()
    a, b, cluster = orbits(s, side, 10_000)
    assert (b == s(a)).all() and (a != b).any(axis=1).all() and (s.fold(a) == s.fold(b)).all()
    points = {tuple(p) for p in a.tolist()}
    assert len(points) == len(a)
    if s.order == 2:
        assert len(set(cluster.tolist())) == len(a) and not points & {tuple(p) for p in b.tolist()}
    else:
        assert all((cluster == c).sum() == 4 for c in cluster)


def test_sizes_that_cannot_be_drawn_are_refused():
    with pytest.raises(InputError, match="give 2 to 512"):
        coordinates(1)
