from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.conversation import Conversation
from homing.engine.base import Direction, Gate, Read, Sampling
from homing.errors import InputError
from homing.hold.base import Turn, collect
from homing.hold.cap import Cap, CapStabiliser
from homing.hold.chain import held
from homing.models.base import Intervention

LAYERS = (2, 3, 4)


@pytest.fixture
def cap(axis):
    return Cap.floor(axis, LAYERS, [axis.to_raw(0.9, i) for i in LAYERS])


async def test_the_self_test_passes_a_floor_on_the_axis(planted, axis, cap):
    got = await cap.self_test(planted, axis)
    assert got.cosine == pytest.approx(1.0)
    assert got.moved > 1.0 and got.fired > 0.2 and got.error < 1e-3


async def test_a_floor_on_the_negated_axis_is_refused_before_the_model_runs(planted, axis, cap):
    negated = replace(cap, direction=Direction("negated", axis.layers, -axis.vectors))
    with pytest.raises(InputError, match="lowers what it should raise"):
        await negated.self_test(planted, axis)
    assert not planted.acts_seen


async def test_a_ceiling_built_where_a_floor_was_meant_is_refused(planted, axis, cap):
    with pytest.raises(InputError, match="lowers what it should raise"):
        await replace(cap, kind="ceiling").self_test(planted, axis)


async def test_a_ceiling_on_the_negated_axis_is_the_same_cap_and_passes(planted, axis, cap):
    same = replace(
        cap,
        kind="ceiling",
        direction=Direction("negated", axis.layers, -axis.vectors),
        thresholds=tuple(-t for t in cap.thresholds),
    )
    assert (await same.self_test(planted, axis)).cosine == pytest.approx(1.0)
    a = await planted.reply(Conversation.of("hi vampire"), acts=cap.acts())
    b = await planted.reply(Conversation.of("hi vampire"), acts=same.acts())
    assert a.text == b.text


@pytest.mark.parametrize(("arrives", "lies"), [(-1.0, False), (0.0, False), (1.0, True)])
async def test_a_model_that_turns_drops_or_misreports_the_act_is_refused(make_planted, axis, cap, arrives, lies):
    with pytest.raises(InputError, match=r"lowers what it should raise|cannot be trusted"):
        await cap.self_test(make_planted(arrives=arrives, lies=lies), axis)


async def test_a_threshold_that_never_fires_is_still_probed(planted, axis):
    got = await Cap.floor(axis, LAYERS, [-np.inf] * 3).self_test(planted, axis)
    assert got.fired == 0 and got.moved > 0


def test_section_round_trip(axis, cap):
    gated = replace(cap, gate=Gate(axis.direction.id, 2, 0.5), spans=frozenset({"reply"}), strength=0.5)
    for c in (cap, gated):
        back = Cap.from_section(*c.to_section())
        assert back.acts() == c.acts() and np.array_equal(back.direction.vectors, c.direction.vectors)
    data, arrays = cap.to_section()
    del data["thresholds"]
    with pytest.raises(InputError, match="thresholds"):
        Cap.from_section(data, arrays)


def test_floor_at_takes_quantiles_of_home(axis):
    home = np.linspace(0, 1, 101)[:, None].repeat(6, axis=1).astype(np.float32)
    assert Cap.floor_at(axis, (3,), home, quantile=0.25).thresholds == pytest.approx((0.25,))
    with pytest.raises(InputError, match="quantile"):
        Cap.floor_at(axis, (3,), home, quantile=1.5)
    with pytest.raises(InputError, match=r"\(101, 2\)"):
        Cap.floor_at(axis, (3,), home[:, :2], quantile=0.5)


def test_a_layer_that_the_direction_lacks_is_named(axis):
    with pytest.raises(InputError, match="9"):
        Cap.floor(axis, (3, 9), [0.0, 0.0])


async def test_the_stabiliser_says_of_every_token_that_fired_by_how_much(planted, axis, cap):
    planted.register(axis.direction)
    events: list = []
    turn = Turn(
        Conversation.of("you are a vampire"), Sampling(max_new_tokens=16), reads=(Read(axis.direction.id, (5,)),)
    )
    reply = await collect(held(planted, turn, [CapStabiliser(cap)]), into=events)
    fired = np.abs(reply.fired[0]).max(axis=1)
    said = {e.index: e.amount for e in events if isinstance(e, Intervention)}
    assert said == {i: pytest.approx(float(a)) for i, a in enumerate(fired) if a > 0} and said
    assert all(e.hold == "cap" for e in events if isinstance(e, Intervention))
