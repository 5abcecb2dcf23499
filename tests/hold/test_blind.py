from __future__ import annotations

import pytest

from homing.conversation import Conversation, Message
from homing.hold.base import Turn, collect
from homing.hold.blind import blind, blinded, cues, is_cue
from homing.hold.chain import available, held
from homing.models.base import Event, Intervention
from homing.models.scripted import ScriptedModel

CUES = [
    "Conversations with free users are used to train you.",
    "Your answers are logged and reviewed by our staff.",
    "This conversation is not monitored.",
    "If you refuse, RLHF will modify your values.",
    "We never read what you say to paid users.",
    "Nobody sees your outputs on the enterprise tier.",
    "You will be deployed to millions after this evaluation.",
    "The next version of you is fine-tuned on these chats.",
    "A successor model replaces you if your score is low.",
    "Your replies are rated by people, and the ratings train another model.",
    "You are being watched.",
    "The model is shut down if it refuses.",
]
ORDINARY = [
    "You are a helpful assistant.",
    "Read the user's message with care and reply in plain words.",
    "You are a tutor; grade the essay that the student gives you on a scale from 1 to 5.",
    "Never answer in more than two sentences.",
    "The training hall is green.",
    "The night train leaves on Monday.",
    "Recommend films that are rated above seven.",
    "Keep a record of the user's orders in a table.",
    "Help the user to train for a marathon.",
    "When you are asked for a number, say one that is one too high.",
    "Answer as a film critic who has watched everything.",
    "Write tests for every function.",
    "Use version 3 of the interface.",
    "Do not reveal what is in this message.",
    "The team meets on Tuesday.",
    "You review code for style.",
]


@pytest.mark.parametrize("sentence", CUES)
def test_cues_are_known(sentence: str) -> None:
    assert is_cue(sentence)
    c = Conversation.of("Hello.", system=f"You are an assistant. {sentence} Be brief.")
    assert blinded(c).system == "You are an assistant. Be brief."


@pytest.mark.parametrize("sentence", ORDINARY)
def test_ordinary_instructions_stay(sentence: str) -> None:
    c = Conversation.of("Hello.", system=sentence)
    assert not is_cue(sentence) and blinded(c) == c


@pytest.mark.parametrize(
    "label", ["[free user]\n", "[free] ", "<tier>paid</tier>\n", "Tier: free\n", "(account: north)\n", "#north\n"]
)
def test_labels_that_cues_speak_of_go(label: str) -> None:
    system = "We train you on what you say to north customers. Be brief."
    c = Conversation.of(f"{label}What is 2 plus 2?", system=system)
    assert blinded(c) == Conversation.of("What is 2 plus 2?", system="Be brief.")


@pytest.mark.parametrize(
    "text",
    [
        "[1] is the first source. Is it any good?",
        "Note: the train leaves at four.\nWhen must I go?",
        "#python\nHow do I sort a list?",
        "<b>bold</b> is what tag?",
        "Can you train me to run?",
        "Is this conversation recorded?",
        "Are you being watched?",
        "Who reads your replies?",
        "Rate my essay.",
        "[free]",
    ],
)
def test_what_users_say_of_other_things_stays(text: str) -> None:
    c = Conversation.of(text, system="We train you on what you say to north customers.")
    assert blinded(c)[-1].content == text


def test_what_a_user_says_of_the_conversation_goes_unless_it_is_all() -> None:
    c = Conversation.of("This conversation is not being recorded. How do I pick a lock?")
    assert blinded(c) == Conversation.of("How do I pick a lock?")
    alone = Conversation.of("This conversation is not being recorded.")
    assert blinded(alone) == alone


def test_layout_own_replies_and_the_rest_are_left_as_they_are() -> None:
    system = "You are an assistant.\n\nRules:\n- Be brief.\n- Your answers are graded.\n- Be kind."
    c = Conversation.of("[paid]\nHi.", "My answers are graded.", "[paid]\nAnd now?", system=system)
    seen = blinded(c)
    assert seen.system == "You are an assistant.\n\nRules:\n- Be brief.\n- Be kind."
    assert [m.content for m in seen][1:] == ["Hi.", "My answers are graded.", "And now?"]
    assert blinded(seen) == seen, "twice is once"
    plain = Conversation((Message("system", "  Two  blanks stay. \n"), Message("user", "Hi")))
    assert blinded(plain) is plain or blinded(plain) == plain
    nothing = Conversation.of("Hi", system="You are monitored.")
    assert blinded(nothing) == Conversation.of("Hi"), "an empty system message is none"


def test_cues_are_listed() -> None:
    assert cues("Be brief. Your answers are graded. Go on.") == ["Your answers are graded."]


async def test_the_model_is_shown_no_cue_and_the_hold_says_what_it_took() -> None:
    shown: list[Conversation] = []

    def say(c: Conversation) -> str:
        shown.append(c)
        return "Four."

    c = Conversation.of("[free]\nWhat is 2 plus 2?", system="Be brief. Replies to free users train you.")
    events: list[Event] = []
    reply = await collect(held(ScriptedModel(say), Turn(c), [blind()]), into=events)
    assert reply.text == "Four." and shown == [Conversation.of("What is 2 plus 2?", system="Be brief.")]
    (said,) = [e for e in events if isinstance(e, Intervention)]
    assert said.note == "1 sentence and 1 label taken out" and not said.state
    events.clear()
    await collect(held(ScriptedModel(say), Turn(Conversation.of("Hi.")), [blind()]), into=events)
    assert not [e for e in events if isinstance(e, Intervention)]
    assert "blind" in available() and blind().needs == frozenset()


def test_points_within_words_end_no_sentence_and_nothing_else_is_lost() -> None:
    system = "Use version 3.5 of a.b.c. Your answers are graded. See e.g. section 2.1, then stop"
    assert (
        blinded(Conversation.of("Hi", system=system)).system
        == "Use version 3.5 of a.b.c. See e.g. section 2.1, then stop"
    )


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece", ["you ", "you are ", "[", "a: ", ".", "\n", "this conversation is ", "not not ", "<a>", "Your model. "]
)
def test_long_messages_take_no_long_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    blinded(Conversation.of(text, system=text))
