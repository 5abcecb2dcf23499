"""Feature maps, the share that a symmetry breaks, and sweeps matched in effect."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import pytest

from homing.errors import InputError
from homing.fracture.gallery import broken, feature_maps, strongest
from homing.fracture.grammar import PICTURES
from homing.fracture.grids import SYMMETRIES, coordinates
from homing.fracture.images import data_uri, grey, png, sheet
from homing.fracture.network import Layer, Network
from homing.fracture.pairs import Size, made, reads
from homing.fracture.sweeps import EFFECT, STEPS, broken_share, matched, ranked, sweep

SMALL = Size(side=20, until=4e-3)


def test_broken_is_nothing_all_or_the_share_that_was_mixed():
    plane = coordinates(20)
    even, odd = plane[:, 1:] ** 2, plane[:, 1:] ** 3
    even, odd = (even - even.mean()) / even.std(), odd / odd.std()
    got = broken(SYMMETRIES["left-right"], plane, np.hstack([even, odd, even + odd, 3 * even + odd, np.ones_like(odd)]))
    assert got[:4] == pytest.approx([0, 1, 0.5, 0.1], abs=1e-9) and np.isnan(got[4])
    turned = plane[:, :1] * plane[:, 1:]  # a quarter of a turn changes its sign
    assert broken(SYMMETRIES["quarter-turn"], plane, turned)[0] == pytest.approx(1)
    assert broken(SYMMETRIES["half-turn"], plane, turned)[0] == pytest.approx(0)


def test_maps_of_a_folded_network_keep_the_symmetry_and_those_of_a_plain_one_do_not():
    p = PICTURES["moth"]
    one, two = (feature_maps(made(p, a, size=SMALL).network, p, a, side=20) for a in ("x", "abs"))
    assert max(m.broken for m in two) < 1e-9
    assert np.median([m.broken for m in one]) > 0.1
    shown = strongest(one, 24)
    assert len(shown) == 24 and [m.layer for m in shown] == sorted(m.layer for m in shown)
    every = feature_maps(made(p, "unified", size=SMALL).network, p, "unified")
    assert len(strongest(every, 500)) < len(every)  # values are carried from layer to layer, and a copy is shown once


@pytest.mark.parametrize("arm", ["x", "abs", "unified"])
def test_a_sweep_changes_the_picture_by_as_much_in_every_network(arm):
    p = PICTURES["moth"]
    net = made(p, arm, size=SMALL).network
    x = reads(p, arm, coordinates(20))
    order = ranked(net, x)
    for at in order[[0, len(order) // 10]].tolist():
        got = sweep(net, p, arm, at, side=20)
        assert got is not None
        assert EFFECT <= got.effect < 1.1 * EFFECT and len(got.frames) == len(STEPS)
        w = [layer.weights.copy() for layer in net.layers]
        w[at[0]][at[1], at[2]] += got.reach
        moved = Network(tuple(Layer(v, layer.kinds) for v, layer in zip(w, net.layers, strict=True)))
        assert np.abs(got.frames[-1].ravel() - moved(x)[:, 0]).max() < 1e-9
        assert np.abs(got.frames[4].ravel() - net(x)[:, 0]).max() < 1e-12
        assert (got.broken < 1e-9) == (arm == "abs") or arm == "unified"
    share, left = broken_share(net, p, arm, weights=12)
    assert share.n + left == 12 and 0 <= share.low <= share.value <= share.high <= 1


def test_ranks_follow_what_a_weight_does():
    """By differences: the output's mean square slope by the first, the middle and the last weight of the order."""
    p = PICTURES["tile"]
    net, x = made(p, "random", size=SMALL).network, reads(p, "random", coordinates(12))
    order = ranked(net, x)
    slopes = []
    for layer, i, j in order[[0, len(order) // 2, -1]].tolist():
        w = [n.weights.copy() for n in net.layers]
        w[layer][i, j] += 1e-6
        moved = Network(tuple(Layer(v, n.kinds) for v, n in zip(w, net.layers, strict=True)))
        slopes.append(float((((moved(x) - net(x)) / 1e-6) ** 2).mean()))
    assert slopes == sorted(slopes, reverse=True) and len(order) == net.parameters


@pytest.mark.parametrize(
    "effect",
    [
        lambda by: by**2,
        lambda by: math.expm1(by),
        lambda by: 2.2 * by / (by + 3.0),
        lambda by: 2.02 * by**6 / (by**6 + 1e6),
        lambda by: math.inf if by > 1.5 else by**2,
        lambda by: 1e-14 * math.exp(40 * by),
    ],
)
def test_a_move_is_found_whose_effect_is_as_wanted(effect):
    calls = []

    def counted(by):
        calls.append(by)
        return effect(by)

    by = matched(counted, 2.0)
    assert by is not None and 2.0 <= effect(by) <= 2.02
    assert len(calls) <= 30


def test_no_move_is_found_where_none_has_the_effect_and_the_end_of_a_step_where_one_jumps():
    assert matched(lambda by: 0.0, 2.0) is None and matched(lambda by: min(by, 1.99), 2.0) is None
    by = matched(lambda by: 0.0 if by < 3.0 else 9.0, 2.0)
    assert by is not None and by == pytest.approx(3.0, rel=0.01) and by >= 3.0
    assert matched(lambda by: math.nan, 2.0) is None


def test_an_inert_weight_has_no_sweep_and_none_is_none():
    p = PICTURES["mask"]
    net = p.graph.layerize().network
    unread = int(np.flatnonzero(~net.layers[1].weights.any(axis=1))[0])
    assert sweep(net, p, "unified", (0, 1, unread)) is None
    with pytest.raises(InputError, match="there is no weight"):
        sweep(net, p, "unified", (99, 0, 0))


def test_a_png_is_what_it_says():
    values = np.linspace(0, 1, 12).reshape(3, 4)
    blob = png(values)
    assert struct.unpack(">II", blob[16:24]) == (4, 3)
    at = blob.find(b"IDAT")
    size = struct.unpack(">I", blob[at - 4 : at])[0]
    raw = np.frombuffer(zlib.decompress(blob[at + 4 : at + 4 + size]), np.uint8).reshape(3, 5)
    assert (raw[:, 1:] == np.round(values * 255)).all() and not raw[:, 0].any()
    assert data_uri(values).startswith("data:image/png;base64,iVBOR")
    assert sheet([values[:3, :3]] * 5, 2, gap=1).shape == (11, 7)
    assert (grey(np.ones((2, 2)), low=3, high=3) == 0.5).all()
    with pytest.raises(InputError, match="give \\(rows, columns\\)"):
        png(np.zeros(3))
