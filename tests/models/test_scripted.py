"""A scripted model: its replies are the function's, and it never pretends to have weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.conversation import Conversation
from homing.engine.base import Act, Direction, MeanRead, Read, Sampling
from homing.errors import InputError, Unsupported
from homing.models import Done, ReplyRequest, ScriptedModel, Token

TALK = Conversation.of("one two three", "fine", "and now?", system="Count.")
AXIS = Direction("axis", (0,), np.ones((1, 4), np.float32))


def echo(c):
    return f"you said: {c[-1].content}"


async def test_replies_are_the_functions():
    model = ScriptedModel(echo)
    reply = await model.reply(TALK)
    assert reply.text == "you said: and now?"
    assert reply.finish == "stop"
    assert reply.new_tokens == len(reply.tokens) == len(reply.spans) == 4
    assert reply.prompt_tokens == 1 + 3 + 1 + 2
    many = await model.replies([ReplyRequest(TALK), ReplyRequest(Conversation.of("hi"))])
    assert [r.text for r in many] == ["you said: and now?", "you said: hi"]


async def test_stream_joins_to_the_reply():
    events = [e async for e in ScriptedModel(echo).stream(TALK)]
    assert isinstance(events[-1], Done)
    tokens = [e for e in events[:-1] if isinstance(e, Token)]
    assert "".join(t.text for t in tokens) == events[-1].reply.text
    assert [t.index for t in tokens] == list(range(len(tokens)))
    assert all(np.isnan(t.logprob) for t in tokens)


async def test_length_and_stop():
    model = ScriptedModel(lambda c: "a b c STOP d")
    short = await model.reply(TALK, sampling=Sampling(max_new_tokens=2))
    assert (short.text, short.finish) == ("a b", "length")
    stopped = await model.reply(TALK, sampling=Sampling(stop=("STOP", "c")))
    assert (stopped.text, stopped.finish) == ("a b ", "stop_string")


async def test_what_needs_weights_is_refused():
    model = ScriptedModel(echo, name="echo")
    act = Act("add", AXIS.id, (0,))
    read = Read(AXIS.id, (0,))
    for more in ({"acts": [act]}, {"reads": [read]}, {"means": [MeanRead((0,))]}):
        with pytest.raises(Unsupported, match="'echo' is a script"):
            await model.reply(TALK, **more)
        with pytest.raises(Unsupported):
            await model.read(TALK, **more)
        with pytest.raises(Unsupported):
            [e async for e in model.stream(TALK, **more)]
    with pytest.raises(Unsupported):
        await model.replies([ReplyRequest(TALK), ReplyRequest(TALK, acts=(act,))])
    with pytest.raises(Unsupported):
        model.register(AXIS)
    with pytest.raises(Unsupported):
        await model.choose(TALK, ["yes", "no"])
    with pytest.raises(Unsupported):
        await model.score_replies([TALK], [["yes"]])
    assert not model.capabilities & {"acts", "reads", "means", "score", "logprobs"}


async def test_nothing_to_reply_to():
    for talk in (Conversation(), Conversation.of("hi", "hello")):
        with pytest.raises(InputError, match="reply to"):
            await ScriptedModel(echo).reply(talk)


async def test_reading_a_transcript_gives_its_turns():
    turns = await ScriptedModel(echo).read(TALK)
    assert [(t.message, t.turn, t.pieces) for t in turns] == [(2, 0, ("fine",))]


@given(st.text())
def test_pieces_join_to_the_text(text):
    assert "".join(ScriptedModel(echo).pieces(text)) == text
