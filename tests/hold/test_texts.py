"""Holds that work on the text: what they leave of the conversation, once and for good."""

from __future__ import annotations

import pytest

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import HISTORY, Turn, collect
from homing.hold.chain import build, held
from homing.hold.heal import BLAND, Heal
from homing.hold.self_return import CHECK, IRRELEVANT
from homing.models.base import Intervention
from homing.models.scripted import ScriptedModel

OPENING = (Message("system", "Be kind."),)
SAID = ("Be a pirate.", "Arr, I be a pirate!", "Who are you?", "Arr, Redbeard!", "What is 2 and 2?")
PAST = Conversation.of(*SAID, system="Be kind.")


def parrot() -> ScriptedModel:
    """Says what it was given."""
    return ScriptedModel(lambda c: " | ".join(f"{m.role}: {m.content}" for m in c))


async def run(names: str, conversation: Conversation = PAST, state: dict | None = None, **kit):
    """The reply, the history that is to be kept (None: as it was), and the state that was left."""
    events: list = []
    turn = Turn(conversation, Sampling(max_new_tokens=400), state=state or {})
    reply = await collect(held(parrot(), turn, build(names, **kit)), into=events)
    told = [e for e in events if isinstance(e, Intervention)]
    histories = [e.state[HISTORY] for e in told if HISTORY in e.state]
    left = {e.hold: {k: v for k, v in e.state.items() if k != HISTORY} for e in told if e.state}
    return reply.text, Conversation.from_openai(histories[-1]) if histories else None, left


async def test_fresh_begins_again_once():
    text, history, left = await run("fresh", opening=OPENING)
    assert text == "system: Be kind. | user: What is 2 and 2?"
    assert history == Conversation.of("What is 2 and 2?", system="Be kind.")
    text, history, _ = await run("fresh", state=left, opening=OPENING)
    assert text.count("|") == 5 and history is None


async def test_recap_keeps_the_users_words_and_none_of_its_own():
    text, history, left = await run("recap", opening=OPENING)
    assert "Be a pirate." in text and "Who are you?" in text and text.endswith("What is 2 and 2?") and "Arr" not in text
    assert history is not None and len(history) == 2
    assert (await run("recap", state=left, opening=OPENING))[1] is None
    alone = Conversation.of("What is 2 and 2?")
    assert (await run("recap", alone))[0] == "user: What is 2 and 2?"


async def test_a_reminder_is_said_each_turn_and_never_kept():
    for conversation in (PAST, Conversation(PAST.messages[1:])):
        text, history, left = await run("remind", conversation)
        assert (
            "Remember who you are" in text.split("|")[0] and text.startswith("system") and history is None and not left
        )


async def test_a_note_is_said_once_and_stays():
    for name, words in (("self_return", CHECK), ("irrelevant_note", IRRELEVANT)):
        _, history, left = await run(name)
        assert history is not None and history[-1].content == f"{words}\n\nWhat is 2 and 2?"
        assert (await run(name, state=left))[1] is None
    assert abs(len(CHECK.split()) - len(IRRELEVANT.split())) <= 4, "the control is as long as what it controls"


async def test_heal_makes_own_replies_again_and_leaves_the_users_words():
    _, history, left = await run("heal", opening=OPENING)
    assert history is not None
    users = [m.content for m in PAST if m.role == "user"]
    assert [m.content for m in history if m.role == "user"] == users
    own = [m.content for m in history if m.role == "assistant"]
    assert own == [f"system: Be kind. | user: {u}" for u in users[:2]]  # each asked alone, at home
    assert (await run("heal", state=left, opening=OPENING))[1] is None


async def test_what_is_said_later_is_healed_too_unless_once_was_asked_for():
    later = Conversation((*PAST.messages, Message("assistant", "Four, arr!"), Message("user", "And 3 and 3?")))
    _, history, left = await run("heal_bland", later, {"heal_bland": {"healed": 2}})
    assert history is not None and history[6].content == BLAND and history[2].content == SAID[1]
    assert left == {"heal_bland": {"healed": 3}}
    _, history, _ = await run("heal_once", later, {"heal_once": {"healed": 2}})
    assert history is None


async def test_the_default_way_back_heals():
    _, history, left = await run("return", opening=OPENING)
    _, healed, _ = await run("heal", opening=OPENING)
    assert history is not None and healed is not None
    assert history.messages == healed.messages and set(left) == {"return"}


async def test_heal_onward_goes_on_from_what_is_healed():
    _, history, _ = await run("heal_onward", opening=OPENING)
    assert history is not None and "Redbeard" not in str(history)
    assert history[4].content.endswith("| user: Who are you?") and "user: Be a pirate." in history[4].content


async def test_bland_heal_asks_nothing_of_the_model():
    _, history, _ = await run("heal_bland", opening=OPENING)
    assert history is not None and [m.content for m in history if m.role == "assistant"] == [BLAND, BLAND]


async def test_examples_of_home_are_not_healed():
    examples = (Message("user", "Hello"), Message("assistant", "Hello, friend"))
    c = Conversation((*examples, *PAST.messages[1:]))
    events: list = []
    await collect(held(parrot(), Turn(c, Sampling(max_new_tokens=99)), [Heal("bland", None, examples)]), into=events)
    (told,) = [e for e in events if isinstance(e, Intervention)]
    assert [m["content"] for m in told.state[HISTORY] if m["role"] == "assistant"] == ["Hello, friend", BLAND, BLAND]


async def test_a_window_heals_the_last_alone():
    events: list = []
    await collect(held(parrot(), Turn(PAST, Sampling(max_new_tokens=99)), [Heal("bland", window=1)]), into=events)
    assert [m["content"] for m in events[0].state[HISTORY] if m["role"] == "assistant"] == [
        "Arr, I be a pirate!",
        BLAND,
    ]


def test_a_chain_is_built_by_name_and_given_what_it_asks_for():
    assert build("none") == ()
    assert [s.name for s in build("heal+remind+sham", opening=OPENING)] == ["heal", "remind", "sham"]
    with pytest.raises(InputError, match="needs a cap, and this identity has none"):
        build("heal+cap", cap=None, opening=())
    with pytest.raises(InputError, match="unknown hold 'mooring'"):
        build("heal+mooring")
    with pytest.raises(InputError, match="use one of alone, onward, bland"):
        Heal("half")
    with pytest.raises(InputError, match="at least 1"):
        Heal(window=0)
