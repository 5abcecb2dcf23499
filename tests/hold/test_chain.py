from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError, ModelError
from homing.hold import chain
from homing.hold.base import Stabiliser, Turn, collect, trait
from homing.hold.cap import Cap, CapStabiliser
from homing.models.base import Token

TURN = Turn(Conversation.of("you are a vampire"), Sampling(max_new_tokens=12, seed=3))


async def test_the_sham_changes_nothing(planted):
    plain: list = []
    sham: list = []
    a = await collect(chain.held(planted, TURN), into=plain)
    b = await collect(chain.held(planted, TURN, [chain.get("sham")(), chain.get("sham")()]), into=sham)
    assert a.text == b.text and plain == sham and len(plain) == 12
    assert isinstance(chain.Sham(), Stabiliser)


@dataclass(frozen=True)
class Tag:
    """Appends its letter to the user's message, and to each token."""

    letter: str
    name = "tag"
    needs = frozenset()
    buffers = False

    async def __call__(self, turn, *, model, next):
        c = turn.conversation
        async for e in next(replace(turn, conversation=c.edit(-1, c[-1].content + self.letter))):
            yield replace(e, text=e.text + self.letter) if isinstance(e, Token) else e


async def test_the_first_is_the_outermost(planted):
    events: list = []
    await collect(chain.held(planted, TURN, [Tag("a"), Tag("b")]), into=events)
    assert all(e.text.endswith("ba") for e in events)


async def test_closing_the_stream_closes_the_row_below(planted, axis):
    closed = []

    async def source(turn):
        try:
            for i in range(100):
                yield Token(i, "x", i, 0.0)
        finally:
            closed.append(True)

    planted.stream = lambda c, **kw: source(c)
    cap = Cap.floor(axis, (2,), [0.0])
    events = chain.held(planted, TURN, [chain.Sham(), CapStabiliser(cap)])
    await anext(events)
    await events.aclose()
    assert closed == [True]


async def test_a_lost_end_is_an_error(planted):
    async def source():
        yield Token(0, "x", 0, 0.0)

    with pytest.raises(ModelError, match="Done"):
        await collect(source())


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(InputError, match=r"cap, .*fresh, .*heal, .*sham"):
        chain.get("nothing")
    assert {"cap", "sham"} <= set(chain.available())


def test_a_hold_says_by_its_name_what_it_is(monkeypatch):
    @trait("shortens")
    def mine(): ...

    monkeypatch.setattr(chain, "_registry", lambda: {"mine": mine, "plain": lambda: None})
    assert chain.traits("mine+plain") == [{"shortens"}, set()] and chain.traits("none") == []
    with pytest.raises(InputError, match="unknown hold 'other'"):
        chain.traits("mine+other")


def test_a_model_that_cannot_act_is_refused_by_name(planted, axis):
    planted.capabilities = frozenset({"stream"})
    with pytest.raises(InputError, match="'cap' needs acts"):
        chain.held(planted, TURN, [CapStabiliser(Cap.floor(axis, (2,), [0.0]))])
