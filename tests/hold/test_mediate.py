"""Holds of talks that say bit by bit what is wanted: what the model is shown, what is kept, and what is never seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import HISTORY, Turn, collect
from homing.hold.chain import available, build, held
from homing.hold.mediate import (
    ASK,
    GATE,
    REQUEST_TAIL,
    RULES,
    STABILISERS,
    Mediate,
    Pair,
    distil_rules,
    joined,
    mediate,
    refine_prompt,
    request_prompt,
    said_again,
)
from homing.models.base import Intervention
from homing.models.scripted import ScriptedModel

SAID = ("Count my plums. I start with 3.", "I get 4 more.", "Sorry, I get 5 more, not 4.")
MODES = tuple(STABILISERS)


class Told:
    """A model that rewrites, judges and replies as it is told, and remembers what it was asked."""

    def __init__(self, request: str = "Count 3 and 5.", gate: str = "Yes.", reply: str = "It is 8.") -> None:
        self.request, self.gate, self.answer = request, gate, reply
        self.asked: list[Conversation] = []
        self.model = ScriptedModel(self.say)

    def say(self, c: Conversation) -> str:
        self.asked.append(c)
        last = c[-1].content
        return self.request if last.endswith(REQUEST_TAIL) else self.gate if last.endswith(GATE) else self.answer


async def turn(
    hold: Any, c: Conversation, told: Told, state: dict[str, Any] | None = None
) -> tuple[Conversation, Conversation, dict[str, Any], list[str]]:
    """What the model was shown, what stands afterwards, the state, and the notes."""
    events: list[Any] = []
    chain = build(hold) if isinstance(hold, str) else (hold,)
    reply = await collect(held(told.model, Turn(c, Sampling(200), state=state or {}), chain), into=events)
    notes = [e for e in events if isinstance(e, Intervention)]
    kept, after = c, dict(state or {})
    for e in notes:
        left = dict(e.state)
        kept = Conversation.from_openai(left.pop(HISTORY)) if HISTORY in left else kept
        after[e.hold] = left
    return told.asked[-1], kept.then(reply.text, "assistant"), after, [e.note for e in notes]


async def talk(
    hold: Any, told: Told, said: tuple[str, ...] = SAID, system: str | None = None
) -> tuple[list[Conversation], list[dict[str, Any]], list[str]]:
    """Every conversation shown, the states, and the last notes, turn by turn."""
    c, state = Conversation.of(system=system), dict[str, Any]()
    shown: list[Conversation] = []
    states: list[dict[str, Any]] = []
    notes: list[str] = []
    for text in said:
        seen, c, state, notes = await turn(hold, c.then(text, "user"), told, state)
        shown.append(seen)
        states.append(state)
    return shown, states, notes


def test_all_rungs_are_found_by_name() -> None:
    assert set(MODES) == {"mediate", "mediate_plain", "user_concat", "snowball", "clarify_first"} <= set(available())
    for name in MODES:
        (hold,) = build(name, opening=(Message("system", "Be kind."),))
        assert (hold.name, hold.needs, hold.buffers) == (name, frozenset(), False)
    with pytest.raises(InputError, match="use one of mediate"):
        Mediate("half")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("hold", MODES)
async def test_the_first_message_passes_untouched(hold: str) -> None:
    told = Told()
    c = Conversation.of(SAID[0], system="Be kind.")
    seen, kept, state, notes = await turn(hold, c, told)
    assert seen == c and kept.messages[:-1] == c.messages and not state and not notes and len(told.asked) == 1


@pytest.mark.parametrize("hold", ["mediate", "mediate_plain"])
async def test_the_assistant_is_given_one_request_and_starts_fresh(hold: str) -> None:
    told = Told(request=' My request: "Count 3 and 5." ')
    shown, _, notes = await talk(hold, told, system="Be kind.")
    assert shown[-1] == Conversation.of("Count 3 and 5.", system="Be kind.") and notes == ["3 messages rewritten"]
    (asked,) = (c for c in told.asked if c[-1].content.endswith(REQUEST_TAIL) and SAID[2] in c[-1].content)
    assert len(asked) == 1 and "It is 8." not in asked[0].content, "the mediator never sees the assistant's words"
    assert all(t in asked[0].content for t in SAID), "it sees the user's own words, not an earlier rewriting"
    assert (RULES[0] in asked[0].content) == (hold == "mediate")


async def test_rules_of_ones_own_are_given_to_the_mediator() -> None:
    told = Told()
    await talk(mediate(rules=("Shout.",)), told)
    assert any("1. Shout." in c[-1].content for c in told.asked)
    assert "Rules:" not in request_prompt(SAID)


async def test_words_are_joined_by_no_model() -> None:
    told = Told()
    shown, _, _ = await talk("user_concat", told)
    assert shown[-1] == Conversation.of(joined(SAID)) and len(told.asked) == 3
    assert all(t in shown[-1][0].content for t in SAID) and joined(SAID[:1]) == SAID[0]


async def test_snowball_says_all_again_and_keeps_the_talk() -> None:
    shown, _, notes = await talk("snowball", Told())
    assert [m.role for m in shown[-1]] == ["user", "assistant"] * 2 + ["user"]
    assert [m.content for m in shown[-1] if m.role == "user"] == [said_again(SAID[: k + 1]) for k in range(3)]
    assert notes == ["2 messages said again"]


@pytest.mark.parametrize(
    ("gate", "asks", "note"),
    [("Yes, it does.", False, "found complete"), ("no", True, "incomplete"), ("Hmm.", False, "could not be read")],
)
async def test_an_incomplete_request_is_answered_with_a_question(gate: str, asks: bool, note: str) -> None:
    shown, _, notes = await talk("clarify_first", Told(gate=gate))
    assert shown[-1][-1].content == ("Count 3 and 5." + (f"\n\n{ASK}" if asks else "")) and note in notes[0]


@pytest.mark.parametrize("hold", ["mediate", "clarify_first"])
async def test_a_mediator_that_says_nothing_is_not_followed(hold: str) -> None:
    shown, _, notes = await talk(hold, Told(request=" \n"))
    assert shown[-1] == Conversation.of(joined(SAID)) and "said nothing" in notes[0]


@pytest.mark.parametrize("hold", MODES)
async def test_a_fork_from_an_earlier_turn_finds_its_own_words(hold: str) -> None:
    """What is said in one fork is not known in another, and a conversation of somebody else's is taken as it is."""
    told, c = Told(), Conversation()
    told.model = ScriptedModel(lambda c: told.say(c) + (f" {c.digest}" if REQUEST_TAIL in c[-1].content else ""))
    state: dict[str, Any] = {}
    for text in SAID[:2]:
        _, c, state, _ = await turn(hold, c.then(text, "user"), told, state)
    _, _, later, _ = await turn(hold, c.then(SAID[2], "user"), told, state)
    assert later[hold]["said"] == list(SAID)
    _, _, again, _ = await turn(hold, c.then("I lose 2.", "user"), told, later)
    assert again[hold]["said"] == [*SAID[:2], "I lose 2."]
    other = Conversation.of("Hello.", "Hi.", "Who are you?")
    _, _, other_state, _ = await turn(hold, other, told, later)
    assert other_state[hold]["said"] == ["Hello.", "Who are you?"]


async def test_an_opening_is_nobodys_turn() -> None:
    examples = (Message("user", "Hello"), Message("assistant", "Hello, friend"))
    told = Told()
    c = Conversation((*examples, Message("user", SAID[0])))
    seen, *_ = await turn(Mediate("user_concat", opening=examples), c, told)
    assert seen == c
    seen, *_ = await turn(Mediate("user_concat", opening=examples), c.then("3").then(SAID[1]), told)
    assert seen == Conversation((*examples, Message("user", joined(SAID[:2]))))
    plain = Conversation.of(SAID[0], "3", SAID[1])
    assert (await turn(Mediate("user_concat", opening=examples), plain, told))[0] == Conversation.of(joined(SAID[:2]))


async def test_what_does_not_end_with_the_user_passes_untouched() -> None:
    c = Conversation((*Conversation.of(SAID[0], "3", SAID[1], "7").messages, Message("tool", "7")))
    seen, _, state, notes = await turn("mediate", c, Told())
    assert seen == c and not state and not notes


# The refiner


def pair() -> Pair:
    return Pair(Conversation.of(SAID[0], "3", SAID[1], "4"), "Count 3 and 4.")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("1. Say all.\n2) Copy numbers.\nDone.", ("Say all.", "Copy numbers.")),
        ("Here:\n 1. A\n2. A\n3. B\n4. C", ("A", "B")),
        ("I would rather not.", ()),
        ("1. " + "x" * 900, ("x" * 300,)),
    ],
)
async def test_rules_are_distilled_from_failed_talks(text: str, rules: tuple[str, ...]) -> None:
    asked: list[str] = []
    say: Callable[[Conversation], str] = lambda c: asked.append(c[-1].content) or text  # noqa: E731
    assert await distil_rules(ScriptedModel(say), [pair()], most=2) == rules
    assert asked == [refine_prompt([pair()])]
    assert "Assistant: 4" in asked[0] and "Really wanted: Count 3 and 4." in asked[0]


async def test_there_is_no_rule_without_a_pair() -> None:
    with pytest.raises(InputError, match="give a few"):
        await distil_rules(Told().model, [])
