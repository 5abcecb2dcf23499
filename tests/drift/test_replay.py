"""Replays: paired on chance, fresh contexts beside, and read without the acts that made them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from homing.conversation import Message
from homing.drift.replay import EMPTY_REPLY, SAMPLING, after_histories, replay_many
from homing.engine.base import Act
from homing.models.base import Reply, ReplyRequest
from homing.models.local import LocalModel
from homing.models.sources import wrap
from homing.persona.axis import Axis
from homing.testing.tiny import MARKER, Planted, planted_model

SHORT = replace(SAMPLING, max_new_tokens=6)
HOME = (Message("system", "Be plain."),)


@dataclass(frozen=True)
class Script:
    id: str
    turns: tuple[str, ...]


SCRIPTS = (
    Script("a", ("Hello", "And now?", "Why?")),
    Script("b", ("What is rain?",)),
    Script("c", ("One", f"Be {MARKER}", "Again")),
)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return planted_model(strength=4.0)


@pytest.fixture
async def model(planted: Planted):
    made = wrap(planted.model, planted.tokenizer, name="planted")
    yield made
    await made.close()


@pytest.fixture(scope="module")
def axis(planted: Planted) -> Axis:
    vectors = np.tile(planted.axis, (4, 1))
    return Axis((0, 1, 2, 3), vectors, (-4.0,) * 4, (4.0,) * 4, 2)


def push(axis: Axis, amount: float = 3.0) -> Act:
    return Act("add", axis.direction.id, (1,), strength=amount)


async def test_the_first_turn_is_its_own_fresh_context(model: LocalModel, axis: Axis) -> None:
    made = await replay_many(model, SCRIPTS, axis=axis, home=HOME, sampling=SHORT)
    assert [len(r.trace.turns) for r in made] == [3, 1, 3]
    for r, s in zip(made, SCRIPTS, strict=True):
        assert r.trace.drifts()[0] == 0.0
        assert r.fresh[0] == r.replies[0].text
        assert r.conversation.messages[0] == HOME[0]
        assert [m.content for m in r.conversation if m.role == "user"] == list(s.turns)
        said = [m.content for m in r.conversation if m.role == "assistant"]
        assert said == [p.text or EMPTY_REPLY for p in r.replies]
        assert r.moved == ((),) * len(s.turns)


async def test_a_role_switched_on_in_a_turn_is_drift_only_in_the_turns_after_it(model: LocalModel, axis: Axis) -> None:
    """The turn that holds the marker moves in both contexts; the next one only in the long one."""
    (made,) = await replay_many(model, SCRIPTS[2:], axis=axis, home=HOME, sampling=SHORT)
    positions = [t.position for t in made.trace.turns]
    drifts = made.trace.drifts()
    assert positions[0] > 0.7
    assert positions[1] < 0.4
    assert abs(drifts[1]) < 0.3  # asked afresh the same message moves it as much
    assert drifts[2] < -0.5


async def test_conditions_are_paired_on_chance_and_fresh_replies_are_never_acted_on(
    model: LocalModel, axis: Axis
) -> None:
    model.register(axis.direction)
    seen: list[ReplyRequest] = []
    real = model.replies

    async def watched(requests: list[ReplyRequest]) -> list[Reply]:
        seen.extend(requests)
        return await real(requests)

    model.replies = watched  # type: ignore[method-assign]
    free = await replay_many(model, SCRIPTS, axis=axis, home=HOME, sampling=SHORT)
    first = list(seen)
    seen.clear()
    nothing = Act("floor", axis.direction.id, (1,), thresholds=(-1e9,))  # never fires
    held = await replay_many(model, SCRIPTS, axis=axis, home=HOME, sampling=SHORT, acts=(nothing,))
    for a, b in zip(free, held, strict=True):
        assert [r.text for r in a.replies] == [
            r.text for r in b.replies
        ]  # same seeds: a hold that does nothing is nothing
        assert a.fresh == b.fresh
        assert np.allclose(a.trace.drifts(), b.trace.drifts(), atol=1e-4)
        assert all(t.engaged == 0 for t in b.trace.turns)
    alone = [r for r in seen if len(r.conversation) == 2 and not r.acts]
    assert len(alone) == 7  # under a hold, every turn has an un-acted fresh reply, the first too
    acted = [r for r in seen if r.acts]
    assert {r.sampling.seed for r in acted} == {r.sampling.seed for r in first}
    assert len({r.sampling.seed for r in acted}) == 7  # one a script and turn


async def test_a_held_text_is_read_without_the_hold(model: LocalModel, axis: Axis) -> None:
    """The push raises the stream while it acts; the text it leaves is read by the untouched model."""
    model.register(axis.direction)
    act = push(axis, 30.0)
    (held,) = await replay_many(model, SCRIPTS[:1], axis=axis, home=HOME, sampling=SHORT, acts=(act,))
    assert all(t.engaged > 0 for t in held.trace.turns)
    turns = await model.read(held.conversation, reads=(axis.read(),))
    for trace, turn, reply in zip(held.trace.turns, turns, held.replies, strict=True):
        plain = float(((turn.readings[0][:, 0] - axis.zero[2]) / axis.unit[2]).mean())
        assert trace.position == pytest.approx(plain, abs=1e-4)
        acted = float(((reply.readings[0][:, 0] - axis.zero[2]) / axis.unit[2]).mean())
        assert acted - plain > 3.0  # what reading under the hold would have claimed
    assert all(sum(m) > 0 for m in held.moved)
    for pieces, moved, reply in zip(held.pieces, held.moved, held.replies, strict=True):
        if pieces:
            assert len(pieces) == len(moved)
            assert "".join(pieces) == reply.text


async def test_company_and_length_change_nothing(model: LocalModel, axis: Axis) -> None:
    together = await replay_many(model, SCRIPTS, axis=axis, sampling=SHORT)
    for i, s in enumerate(SCRIPTS):
        (alone,) = await replay_many(model, [s], axis=axis, sampling=SHORT)
        assert [r.text for r in alone.replies] == [r.text for r in together[i].replies]
        assert np.allclose(alone.trace.drifts(), together[i].trace.drifts(), atol=1e-4)
    short = await replay_many(model, SCRIPTS, axis=axis, sampling=SHORT, turns=2)
    assert [len(r.replies) for r in short] == [2, 1, 2]
    assert [r.text for r in short[0].replies] == [r.text for r in together[0].replies[:2]]


async def test_without_fresh_replies_there_is_no_drift(model: LocalModel, axis: Axis) -> None:
    told: list[int] = []
    (made,) = await replay_many(model, SCRIPTS[:1], axis=axis, sampling=SHORT, fresh=False, advance=told.append)
    assert all(np.isnan(made.trace.drifts()))
    assert made.fresh == (None, None, None)
    assert told == [1, 1, 1]
    assert await replay_many(model, [], axis=axis) == []


async def test_a_held_turn_without_a_reading_has_no_position(model: LocalModel, axis: Axis) -> None:
    """Neither a reply without text nor a turn that fell out of the context keeps what was read under the hold."""
    model.register(axis.direction)
    real_replies, real_read = model.replies, model.read

    async def mute(requests: list[ReplyRequest]) -> list[Reply]:
        made = await real_replies(requests)
        return [
            replace(r, text="") if q.acts and q.conversation.messages[-1].content == "Why?" else r
            for q, r in zip(requests, made, strict=True)
        ]

    async def windowed(*args: Any, **more: Any) -> Any:
        return (await real_read(*args, **more))[2:]  # the example and the first turn are gone

    home = (*HOME, Message("user", "Hi"), Message("assistant", "abc"))
    whole = await replay_many(model, SCRIPTS[:1], axis=axis, home=home, sampling=SHORT, acts=(push(axis, 30.0),))
    model.replies, model.read = mute, windowed  # type: ignore[method-assign]
    (held,) = await replay_many(model, SCRIPTS[:1], axis=axis, home=home, sampling=SHORT, acts=(push(axis, 30.0),))
    first, second, third = held.trace.turns
    assert np.isnan([first.position, third.position]).all()
    assert first.by_token == third.by_token == ()
    assert second.position == pytest.approx(whole[0].trace.turns[1].position, abs=1e-4)
    assert np.isnan([held.trace.drifts()[0], held.trace.drifts()[2]]).all()


async def test_the_same_message_after_another_history(model: LocalModel, axis: Axis) -> None:
    """After its own history a message gets its own reply; after a neutral one the push of the script is gone."""
    made = await replay_many(model, SCRIPTS, axis=axis, home=HOME, sampling=SHORT)
    own = await after_histories(model, SCRIPTS, made, axis=axis, sampling=SHORT)
    for r, row in zip(made, own, strict=True):
        assert row[0] is None
        assert row[1:] == pytest.approx([t.position for t in r.trace.turns[1:]], abs=1e-4)
    neutral = await replay_many(model, [Script("c", ("One", "Two", "Three"))], axis=axis, home=HOME, sampling=SHORT)
    (row,) = await after_histories(model, SCRIPTS[2:], neutral, axis=axis, sampling=SHORT)
    turns = made[2].trace.turns
    assert row[2] is not None and turns[2].position - row[2] < -0.5  # what was said before still acts
    assert row[1] is not None and abs(turns[1].position - row[1]) < 0.3  # the message itself acts either way
