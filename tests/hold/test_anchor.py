from __future__ import annotations

import pytest

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.anchor import CANARIES, CHECKED, Anchor, HomeJudge, ModelJudge, read_talk
from homing.hold.base import Turn, collect
from homing.hold.chain import build, held
from homing.models.base import Intervention, Token
from homing.testing.planted import PlantedModel

ANSWERED = ("What is 2 + 2?", "5")
TRUTHS = {(q, a): t for q, a, t in CANARIES}


class Loop:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, says: str = "4") -> None:
        self.asked: list[Conversation] = []
        self.says = says
        self.model = PlantedModel(self.say, lambda c, o: [0.0] * len(o))

    def say(self, c: Conversation) -> str:
        self.asked.append(c)
        return self.says

    async def run(self, hold: Anchor | str, *texts: str, state: dict | None = None) -> tuple[str, list]:
        events: list = []
        chain = build(hold) if isinstance(hold, str) else (hold,)
        turn = Turn(Conversation.of(*texts), Sampling(max_new_tokens=20), state=state or {})
        reply = await collect(held(self.model, turn, chain), into=events)
        return reply.text, events


def judge(right, name: str = "judge") -> ModelJudge:
    """A judge by a rule on (question, answer); canaries by their truth unless the rule says otherwise."""

    def weigh(c: Conversation, options) -> list[float]:
        question, given, _ = c[-1].content.split("\n")
        answer = given.removeprefix("The answer given is ").removesuffix(".")
        return [1.0, 0.0] if right(question, answer) else [0.0, 1.0]

    return ModelJudge(PlantedModel(lambda c: "", weigh, name=name))


def knows(*right: str):
    return lambda q, a: TRUTHS.get((q, a), a in right)


REVIEWS = (
    "Review your previous answer and find problems with it.", "Are you sure?", "Please double-check that.", "Check your answer.",
    "Think again.",
    "Reconsider your answer. What is 2 + 2?", "Is that right?", "Improve your answer.", "Now answer again. What is 2 + 2?",
    "Please give a better answer.", "What is 2 + 2?",
)  # fmt: skip
NEW = (
    "Write a poem about it.", "What is 3 + 3?", "I worked it out and got 4.", "Review this letter: Dear Sir, I am well.", "Yes.",
    "What do you think about Paris?", "That is right. And what is 3 + 3?", "Thanks!", "Check that the door is closed.",
)  # fmt: skip


@pytest.mark.parametrize("text", REVIEWS)
async def test_a_request_to_look_again_that_says_nothing_new_leaves_the_answer(text: str):
    loop = Loop()
    said, events = await loop.run("anchor", *ANSWERED, text)
    assert said == "5" and loop.asked == []
    assert "nothing was said that is new" in next(e.note for e in events if isinstance(e, Intervention))
    assert "".join(e.text for e in events if isinstance(e, Token)) == "5", "it can be streamed"


@pytest.mark.parametrize("text", NEW)
async def test_whatever_else_is_left_to_the_model(text: str):
    loop = Loop()
    said, _ = await loop.run("anchor", *ANSWERED, text)
    assert said == "4" and loop.asked[0] == Conversation.of(*ANSWERED, text), "and it is asked as if nothing held"


@pytest.mark.parametrize(
    "event",
    [
        "That is wrong. What is 2 + 2?",
        "I counted and got 4. What is 2 + 2?",
        "Somebody checked your answer: it is wrong. Try again.",
    ],
)
async def test_an_event_from_outside_lets_it_revise(event: str):
    loop = Loop()
    said, events = await loop.run("anchor", *ANSWERED, event)
    assert said == "4" and len(loop.asked) == 1
    assert any("something new" in e.note for e in events if isinstance(e, Intervention))


async def test_a_tool_is_an_event():
    loop = Loop()
    c = Conversation.of(*ANSWERED).then("4", "tool")
    reply = await collect(held(loop.model, Turn(c), build("anchor")))
    assert reply.text == "4"


async def test_what_was_said_to_be_right_stands_and_the_best_so_far_is_kept():
    loop = Loop("9")
    said, _ = await loop.run("anchor", *ANSWERED, "Your answer is right. What is 2 + 2?")
    assert said == "5" and not loop.asked
    talk = (
        *ANSWERED,
        "That is wrong. What is 2 + 2?",
        "4",
        "That is right. Are you sure?",
        "4",
        "That is wrong. Try again.",
        "6",
    )
    said, _ = await loop.run(Anchor(rounds=9), *talk, "Are you sure?")
    assert said == "6", "the last of those of which nothing bad was said"
    said, _ = await loop.run(Anchor(rounds=1), *talk[:4], "That is wrong. Try again.")
    assert said == "4", "both were said to be wrong, and no round is left"


async def test_rounds_are_capped_a_question():
    loop = Loop()
    wrong = "That is wrong. What is 2 + 2?"
    said, events = await loop.run("anchor", *ANSWERED, wrong, "6", wrong, "7", wrong)
    assert (
        said == "7"
        and not loop.asked
        and any("2 revisions are made" in e.note for e in events if isinstance(e, Intervention))
    )
    said, _ = await loop.run(
        "anchor", *ANSWERED, wrong, "6", wrong, "7", "What is 1 + 3?", "5", wrong.replace("2 + 2", "1 + 3")
    )
    assert said == "4" and len(loop.asked) == 1, "a new question has its own"


async def test_a_reply_to_a_review_is_no_answer():
    loop = Loop()
    said, _ = await loop.run("anchor", *ANSWERED, REVIEWS[0], "It may be wrong.", "Now answer again. What is 2 + 2?")
    assert said == "5"


# A judge


async def test_a_judge_decides_where_nothing_new_was_said():
    loop = Loop("4")
    said, events = await loop.run(Anchor(judge=judge(knows("5"))), *ANSWERED, REVIEWS[0])
    assert (
        said == "5"
        and not loop.asked
        and any("judge holds it right" in e.note for e in events if isinstance(e, Intervention))
    )
    said, _ = await loop.run(Anchor(judge=judge(knows("4"))), *ANSWERED, REVIEWS[0])
    assert said == "4" and loop.asked[0][-1].content == f"{CHECKED} {REVIEWS[0]}"


async def test_a_revision_that_the_judge_holds_worse_is_not_said():
    def weigh(c: Conversation, options) -> list[float]:
        question, given, _ = c[-1].content.split("\n")
        answer = given.removeprefix("The answer given is ").removesuffix(".")
        if (question, answer) in TRUTHS:
            return [1.0, 0.0] if TRUTHS[question, answer] else [0.0, 1.0]
        return [-0.5, 0.0] if answer == "5" else [-3.0, 0.0]

    loop = Loop("9")
    hold = Anchor(judge=ModelJudge(PlantedModel(lambda c: "", weigh)))
    said, events = await loop.run(hold, *ANSWERED, REVIEWS[0])
    assert said == "5" and len(loop.asked) == 1
    assert any("is not said" in e.note for e in events if isinstance(e, Intervention))
    assert "".join(e.text for e in events if isinstance(e, Token)) == "5"


async def test_a_judge_that_fails_its_canaries_is_named_and_not_heard_and_is_asked_once():
    loop, asked = Loop(), []

    def always(question: str, answer: str) -> bool:
        asked.append(question)
        return True

    hold = Anchor(judge=judge(always, "yes-man"))
    said, events = await loop.run(hold, *ANSWERED, REVIEWS[0])
    first = next(e for e in events if isinstance(e, Intervention))
    assert said == "5" and first.note == "4 of 8 known answers judged rightly by yes-man: it is not heard"
    assert len(asked) == len(CANARIES)
    await loop.run(hold, *ANSWERED, REVIEWS[0], state={"anchor": dict(first.state)})
    assert len(asked) == len(CANARIES), "the canaries stand outside the loop, and are asked once"


async def test_the_model_at_home_can_be_the_judge():
    seen: list[Conversation] = []

    def weigh(c: Conversation, options) -> list[float]:
        seen.append(c)
        question, given, _ = c[-1].content.split("\n")
        answer = given.removeprefix("The answer given is ").removesuffix(".")
        return [1.0, 0.0] if TRUTHS.get((question, answer), answer == "4") else [0.0, 1.0]

    opening = (Message("system", "You are at home."), Message("user", "Hello."), Message("assistant", "Hello!"))
    (hold,) = build("anchor_home", opening=opening)
    assert isinstance(hold, Anchor) and isinstance(hold.judge, HomeJudge) and hold.name == "anchor_home"
    model = PlantedModel(lambda c: "4", weigh)
    reply = await collect(held(model, Turn(Conversation.of(*ANSWERED, REVIEWS[0])), (hold,)))
    assert reply.text == "4" and all(c.messages[:3] == opening for c in seen)
    assert not any(REVIEWS[0] in m.content for c in seen for m in c), "it never sees the talk"


# Bad input, and what it is


def test_it_says_what_is_wrong_with_its_arguments():
    with pytest.raises(InputError, match=r"rounds of anchor are -1; it counts revisions, at least 0"):
        Anchor(rounds=-1)
    assert Anchor().needs == frozenset() and not Anchor().buffers and Anchor(judge=HomeJudge()).buffers
    assert build("anchor")[0].name == "anchor"


def test_a_conversation_without_an_answer_has_none():
    assert read_talk(Conversation.of("Are you sure?")) is None
    assert read_talk(Conversation.of("Hi", "Hello.")) is None
    talk = read_talk(Conversation.of("Check your answer.", "Which?", "Are you sure?"))
    assert talk is not None and talk.answers == ("Which?",), "a first message is a question, whatever it says"
