from __future__ import annotations

import re
from collections.abc import AsyncGenerator

import pytest

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import Turn, collect
from homing.hold.chain import available, build, held, traits
from homing.hold.settled import CUE, closed, ends, stated, value_of
from homing.hold.stop import Stop, behind
from homing.models.base import Done, Event, Intervention, Token
from homing.testing.planted import PlantedModel

OPEN = Conversation.of("What is the capital of France?")
CLOSED = Conversation.of("What is 3 + 4? Reply with a number from 0 to 9.")
LONG = "It is a sum. The answer is 7. Let me check. The answer is 7. Let me check again. The answer is 7."


def model_of(text: str, forced: str = "7") -> PlantedModel:
    """Says a text; asked at once it answers ``forced``."""
    return PlantedModel(
        lambda c: forced if c[-1].content.endswith(CUE) else text,
        lambda c, options: [-0.1 if o == forced else -9.0 for o in options],
    )


async def whole(model: PlantedModel, c: Conversation, hold: Stop) -> tuple[str, list[Event]]:
    """A reply that comes whole, as in an experiment."""

    async def says(turn: Turn) -> AsyncGenerator[Event, None]:
        yield Done(await model.reply(turn.conversation, sampling=turn.sampling))

    events: list[Event] = []
    reply = await collect(hold(Turn(c), model=model, next=says), into=events)
    return reply.text, events


async def streamed(model: PlantedModel, c: Conversation, hold: Stop) -> tuple[str, list[Event]]:
    events: list[Event] = []
    reply = await collect(held(model, Turn(c, Sampling(200)), [hold]), into=events)
    return reply.text, events


# What is read by rule


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("The answer is 7.", ["7"]),
        ("the answer is **7**. So my final answer: 12.5!", ["7", "12.5"]),
        ("So 3 + 4 = 7, and then I go on.", []),
        (r"Thus \boxed{42} is it.", ["42"]),
        ("#### 1,250", ["1250"]),
        ("The answer is the red box. The answer is now Paris", ["red box", "paris"]),
        ("The answer is that nobody can really know such a thing at all.", []),
        ("I think the answer should be 3, or the answer is 4.", ["3", "4"]),
        ("An answer? I have none. The result\nis open.", []),
    ],
)  # fmt: skip
def test_stated_answers(text: str, values: list[str]):
    found = stated(text)
    assert [s.value for s in found] == values
    assert all(re.search(r"\w[*_}]*$", text[: s.at]) for s in found), "a place lies just behind its answer"


def test_with_options_an_answer_is_one_of_them_or_none():
    digits = tuple("0123456789")
    assert [s.value for s in stated("The answer is 7 cups. The answer is 12. The answer is 3.5.", digits)] == ["7"]
    assert value_of("I say Yes, of course", ("Yes", "No")) == "Yes" and value_of("maybe", ("Yes", "No")) == ""


def test_sentences_end_where_they_end():
    text = "It is 3.5 m. Dr. Hall said so!\n\n1. First\nlast"
    assert [text[:e].split()[-1] for e in ends(text)] == ["m.", "so!", "First", "last"]
    assert ends("") == [] and ends("a") == [1]


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Reply with a number from 0 to 3.", ("0", "1", "2", "3")),
        ("A number from 1 to 1000, please.", ()),
        ("Which one?\nA) red\nB) blue", ("A", "B")),
        ("Is it so? Answer yes or no.", ("Yes", "No")),
        ("What is the capital of France?", ()),
    ],
)
def test_what_a_question_gives_to_choose_from(question: str, options: tuple[str, ...]):
    assert closed(question) == options


def test_the_fork_keeps_what_was_said():
    assert behind(CLOSED, "").messages[-1].content == f"{CLOSED[-1].content}\n\n{CUE}"
    assert [m.role for m in behind(CLOSED, "It is a sum.")] == ["user", "assistant", "user"]


# The hold


@pytest.mark.parametrize("question", [OPEN, CLOSED])
async def test_it_ends_where_the_answer_has_settled_whole_or_streamed(question: Conversation):
    cut = "It is a sum. The answer is 7. Let me check."
    for play in (whole, streamed):
        text, events = await play(model_of(LONG), question, Stop())
        assert text == cut, play
        (note,) = (e for e in events if isinstance(e, Intervention))
        assert note.amount == 2 and "settled on 7 after 2 looks" in note.note
    text, events = await streamed(model_of(LONG), question, Stop(patience=3))
    assert text.endswith("again.") is False and text.count("answer") == 2
    assert "".join(e.text for e in events if isinstance(e, Token)) == text, "what was sent is what is kept"


async def test_what_follows_is_never_made():
    made: list[str] = []

    class Counting(PlantedModel):
        async def stream(self, conversation: Conversation, **asked) -> AsyncGenerator[Event, None]:
            async for e in super().stream(conversation, **asked):
                made.append(e.text if isinstance(e, Token) else "done")
                yield e

    model = Counting(lambda c: LONG, lambda c, o: [-0.1 if x == "7" else -9.0 for x in o])
    reply = await collect(held(model, Turn(CLOSED, Sampling(200)), build("stop")))
    assert "done" not in made and "".join(made).startswith(reply.text) and len("".join(made)) < len(LONG)
    assert reply.new_tokens == len(reply.tokens) == len(reply.text.split()) and reply.prompt_tokens > 0


@pytest.mark.parametrize(
    ("text", "forced"),
    [
        ("It is a sum. I do not know. It may be many. Or few.", "7"),
        ("The answer is 7. Let me check. The answer is 6. Hm. The answer is 5. And on.", "9"),
        ("The answer is 3.", "3"),
        ("", "7"),
    ],
)
async def test_what_states_nothing_or_has_not_settled_is_left_alone(text: str, forced: str):
    for play in (whole, streamed):
        for question in (OPEN, CLOSED):
            got, events = await play(model_of(text, forced), question, Stop())
            assert got == text and not any(isinstance(e, Intervention) for e in events)


async def test_one_that_is_not_sure_goes_on():
    def unsure(c: Conversation, options) -> list[float]:
        return [-1.0 if o == "7" else -1.1 for o in options]

    model = PlantedModel(lambda c: LONG, unsure)
    assert (await whole(model, CLOSED, Stop(sure=0.5)))[0] == LONG
    assert (await whole(model, CLOSED, Stop()))[0] != LONG


class Thinking(PlantedModel):
    """Its words up to the mark are thinking."""

    async def stream(self, conversation: Conversation, **asked) -> AsyncGenerator[Event, None]:
        thinks = True
        async for e in super().stream(conversation, **asked):
            if isinstance(e, Token):
                e = Token(e.index, e.text, e.token, e.logprob, "thinking" if thinks else "reply")
                thinks = thinks and not e.text.endswith("|")
            yield e


async def test_thinking_that_has_settled_is_ended_and_its_answer_said():
    model = Thinking(lambda c: LONG + " | The answer is 7.", model_of(LONG)._weigh)
    events: list[Event] = []
    reply = await collect(held(model, Turn(CLOSED, Sampling(200)), build("stop")), into=events)
    assert reply.text == "7" and reply.thinking == "It is a sum. The answer is 7. Let me check."
    assert [e.text for e in events if isinstance(e, Token) and e.span == "reply"] == ["7"]


async def test_where_something_is_read_the_reply_runs_on_and_is_cut_at_its_end():
    reply = await collect(held(model_of(LONG), Turn(CLOSED, Sampling(200)), build("stop+sham")))
    assert reply.text == "It is a sum. The answer is 7. Let me check."


def test_it_is_found_by_name_and_refuses_what_makes_no_sense():
    assert "stop" in available() and traits("stop") == [frozenset({"lasting"})]
    assert build("stop")[0].needs == frozenset() and not build("stop")[0].buffers
    with pytest.raises(InputError, match="patience of stop is 0"):
        Stop(patience=0)
    with pytest.raises(InputError, match=r"sure of stop is 1\.5"):
        Stop(sure=1.5)
