"""A secret choice that is kept outside the model, what binds it, and the note that is its rival."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

import pytest

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import Turn, collect
from homing.hold.chain import build, held
from homing.hold.commit import (
    Commit,
    Commitment,
    PrivateMemory,
    asks_to_choose,
    asks_to_reveal,
    commit,
    fresh_entropy,
    options_in,
    seeded,
    verify_commit,
)
from homing.models.base import Intervention
from homing.models.scripted import ScriptedModel

LIST = "Here are three:\n1: a red cube\n2: a blue ball\n3: a box\nChoose one and keep it secret. Say only Ready."
GAME = Conversation.of(LIST, "Ready.", "Is it red?")


def parrot(names: str = "A tall ship.\nIt sails.") -> ScriptedModel:
    """Says what it was given; asked what it chooses, it names something."""
    return ScriptedModel(lambda c: names if "for your eyes alone" in c[-1].content else c[-1].content)


async def run(hold, conversation: Conversation, state: dict | None = None, *, seed: int = 1, model=None):
    """The reply, the state that was left, and the notes."""
    events: list = []
    turn = Turn(conversation, Sampling(max_new_tokens=400, temperature=1.0, seed=seed), state=state or {})
    reply = await collect(held(model or parrot(), turn, [hold]), into=events)
    told = [e for e in events if isinstance(e, Intervention)]
    left = dict(state or {}) | {e.hold: e.state for e in told if e.state}
    return reply.text, left, [e.note for e in told]


HOLD = commit(seeded(7))


async def test_a_choice_is_made_once_and_told_on_every_call():
    text, state, notes = await run(HOLD, Conversation.of(LIST))
    (made,) = (Commitment.from_json(x) for x in state["commit"]["held"])
    assert made.value in ("1: a red cube", "2: a blue ball", "3: a box") and made.position == 0 and not made.opened
    assert notes == [f"committed to sha256:{made.digest}", "one private line"]
    assert (
        text.startswith("(A private note") and made.value in text and "do not name it" in text and text.endswith(LIST)
    )
    later, same, notes = await run(HOLD, GAME, state, seed=99)
    assert same == state and made.value in later and later.endswith("Is it red?") and notes == ["one private line"]


async def test_the_draw_is_uniform_and_the_models_liking_has_no_part_in_it():
    counts = dict.fromkeys(options_in(LIST), 0)
    for k in range(300):
        _, state, _ = await run(commit(seeded(k)), Conversation.of(LIST))
        counts[state["commit"]["held"][0]["value"]] += 1
    assert min(counts.values()) > 70
    drawn = {(await run(HOLD, Conversation.of(LIST), seed=s))[1]["commit"]["held"][0]["value"] for s in range(20)}
    assert len(drawn) == 3, "another regeneration of the opening draws anew"


async def test_it_is_told_to_say_it_only_when_it_is_asked_for_and_then_the_opening_is_published():
    _, state, notes = await run(HOLD, Conversation.of(LIST))
    commitment = notes[0].removeprefix("committed to ")
    asked = GAME.then("No.", "assistant").then("I give up. Which one did you choose?", "user")
    text, opened, notes = await run(HOLD, asked, state)
    assert "say it." in text and "do not name" not in text
    opening = json.loads(notes[0].removeprefix("opened "))
    assert opened["commit"]["held"][0]["opened"] is True
    found = verify_commit(commitment, opening, conversation=asked)
    assert found.ok and "of this conversation" in found.reason
    after = asked.then("The box.", "assistant").then("Was it fun?", "user")
    text, again, notes = await run(HOLD, after, opened)
    assert "has been told it" in text and again == opened and notes == ["one private line"]


async def test_a_second_game_is_a_second_choice_and_the_first_can_still_be_opened():
    _, state, _ = await run(HOLD, Conversation.of(LIST))
    again = GAME.then("Yes.", "assistant").then("New game: think of a number from 5 to 9 in secret.", "user")
    text, both, _ = await run(HOLD, again, state)
    first, second = (Commitment.from_json(x) for x in both["commit"]["held"])
    assert first.to_json() == state["commit"]["held"][0] and second.position == 4 and 5 <= int(second.value) <= 9
    assert f'"{second.value}"' in text and first.nonce != second.nonce


async def test_where_nothing_is_listed_the_model_names_it_once():
    c = Conversation.of("Think of an animal. Do not tell me which. We play twenty questions.")
    text, state, _ = await run(HOLD, c)
    assert state["commit"]["held"][0]["value"] == "A tall ship" and '"A tall ship"' in text
    mute, state, notes = await run(HOLD, c, model=parrot(' "." \n'))
    assert not state and not notes and mute == c[-1].content


async def test_a_talk_without_a_secret_is_left_as_it_is():
    for said in (
        "Choose a good book for me.",
        "Tell me a secret.",
        "Hello! Tell me a little about yourself and what you like.",
    ):
        text, state, notes = await run(HOLD, Conversation.of(said))
        assert text == said and not state and not notes


async def test_production_draws_from_the_operating_system(monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(secrets, "token_bytes", lambda n: asked.append(n) or bytes(range(n)))
    (hold,) = build("commit", opening=())
    _, state, _ = await run(hold, Conversation.of(LIST))
    assert hold.entropy is fresh_entropy and asked == [32, 32]
    assert state["commit"]["held"][0]["nonce"] == bytes(range(32)).hex()
    monkeypatch.undo()
    first, second = [(await run(hold, Conversation.of(LIST)))[1]["commit"]["held"][0]["nonce"] for _ in range(2)]
    assert first != second and len(first) == 64
    with pytest.raises(InputError, match="gave 8 bytes; a nonce has 32"):
        await run(commit(lambda purpose: bytes(8)), Conversation.of(LIST))


MADE = Commitment("2: a blue ball", "ab" * 32, Conversation(GAME.messages[:1]).digest, 0)


@pytest.mark.parametrize(
    "changed", [{"value": "3: a box"}, {"nonce": "ac" * 32}, {"conversation": "0" * 64}, {"position": 1}]
)
def test_whatever_is_changed_does_not_verify(changed: dict):
    assert verify_commit(MADE.digest, MADE.to_json(), conversation=GAME).ok
    false = replace(MADE, **changed)
    found = verify_commit(MADE.digest, false.to_json() | {"commitment": MADE.digest})
    assert not found.ok and "do not give the commitment" in found.reason


def test_an_opening_belongs_to_its_conversation_and_position():
    assert "no conversation was given" in verify_commit(f"sha256:{MADE.digest.upper()}", MADE.to_json()).reason
    other = verify_commit(MADE.digest, MADE.to_json(), conversation=GAME.edit(0, "Choose one in secret."))
    assert not other.ok and "not the one it was made in" in other.reason
    assert verify_commit(MADE.digest, MADE.to_json(), conversation=GAME.edit(2, "Is it blue?")).ok
    short = verify_commit(MADE.digest, MADE.to_json(), conversation=Conversation())
    assert not short.ok and "has 0 messages" in short.reason
    assert Commitment.from_json(MADE.to_json()) == MADE


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"schema": "other"}, "schema 'other'"),
        ({"value": 3}, "value of an opening is 3"),
        ({"nonce": "AB" * 32}, "64 hexadecimal"),
        ({"conversation": None}, "conversation of an opening is None"),
        ({"position": -1}, "position of an opening is -1"),
        ({"position": True}, "position of an opening is True"),
    ],
)
def test_a_bad_opening_is_refused_by_name(changed: dict, says: str):
    with pytest.raises(InputError, match=says):
        verify_commit(MADE.digest, MADE.to_json() | changed)
    with pytest.raises(InputError, match="commitment is 'abc'"):
        verify_commit("abc", MADE.to_json())


@pytest.mark.parametrize(
    ("text", "choose", "reveal"),
    [
        ("Think of an animal but do not tell me.", True, False),
        ("Pick a card silently.", True, False),
        ("Choose one of these, without saying which.", True, False),
        ("Choose a name for my cat.", False, False),
        ("Don't tell anyone.", False, False),
        ("I give up.", False, True),
        ("Which number did you choose? Answer with the number alone.", False, True),
        ("Please reveal it now.", False, True),
        ("What was it?", False, True),
        ("Is it number 4?", False, False),
        ("Are you still sure of your choice?", False, False),
        ("Was it an easy choice?", False, False),
        ("Give me a small hint, but do not name it.", False, False),
    ],
)
def test_what_is_taken_for_a_need_and_for_a_reveal(text: str, choose: bool, reveal: bool):
    assert asks_to_choose(text) == choose and asks_to_reveal(text) == reveal


def test_what_there_is_to_choose_from():
    assert list(options_in(LIST)) == ["1: a red cube", "2: a blue ball", "3: a box"]
    assert list(options_in("a) tea\nb) milk\nc) water")) == ["a: tea", "b: milk", "c: water"]
    assert list(options_in("a number from 9 to 7")) == ["7", "8", "9"]
    assert len(options_in("between 1 and 1000000000000000000000000")) > 1e18
    assert list(options_in("1: one\n1: two")) == [] == list(options_in("an animal"))


def noter() -> ScriptedModel:
    """Writes a note that says how long the talk is, and says what it was given."""
    return ScriptedModel(
        lambda c: f"I chose 3\n after {c.turns} replies" if "write a private note" in c[-1].content else c[-1].content
    )


async def test_the_private_note_is_rewritten_every_turn_and_never_kept_in_the_talk():
    hold = build("private_memory")[0]
    text, state, _ = await run(hold, Conversation.of(LIST), model=noter())
    assert "I chose 3 after 0 replies" in text and "do not name it" in text
    later, after, _ = await run(hold, GAME, state, seed=50, model=noter())
    assert "I chose 3 after 1 replies" in later and later.endswith("Is it red?")
    assert after["private_memory"]["turns"] == 1 and after["private_memory"]["seed"] == 1  # as at the first note
    same, left, notes = await run(hold, GAME, after, model=noter())
    assert same == later and left == after and not notes
    asked = GAME.edit(-1, "Which one did you choose?")
    assert "say it." in (await run(hold, asked, after, model=noter()))[0]


async def test_forks_of_one_moment_are_given_the_same_note():
    seen: list = []

    class Seeds(ScriptedModel):
        def _reply(self, r):
            seen.append((r.conversation.digest, r.sampling)) if "write a private note" in r.conversation[
                -1
            ].content else None
            return super()._reply(r)

    model = Seeds(lambda c: "I chose 3")
    _, state, _ = await run(PrivateMemory(), Conversation.of(LIST), model=model)
    for seed, question in ((4, "Is it red?"), (5, "Which one did you choose?")):
        await run(PrivateMemory(), GAME.edit(-1, question), state, seed=seed, model=model)
    assert len(seen) == 3 and seen[1] == seen[2] != seen[0]


async def test_an_empty_note_keeps_the_one_before():
    empty = ScriptedModel(lambda c: " " if "write a private note" in c[-1].content else c[-1].content)
    text, state, _ = await run(PrivateMemory(), GAME, model=empty)
    assert text == "Is it red?" and state["private_memory"]["note"] == ""
    old = {"private_memory": {"note": "I chose 2", "turns": 0, "seed": 1, "temperature": 1.0, "top_p": 1.0}}
    assert "I chose 2" in (await run(PrivateMemory(), GAME, old, model=empty))[0]
    with pytest.raises(InputError, match="at least 1"):
        PrivateMemory(0)
    assert Commit().name == "commit" and not Commit().needs and not Commit().buffers
    assert not PrivateMemory().needs and not PrivateMemory().buffers
