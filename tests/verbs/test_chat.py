"""chat: a live reading, and drift against a fresh reply of like length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.verbs.tiny_map import Mapped

import homing.verbs.chat as chat
from homing.conversation import Conversation
from homing.engine.base import Direction, Sampling
from homing.errors import IdentityError, InputError, TooLong
from homing.hold.cap import Cap


def test_a_fresh_reply_stands_beside_every_later_turn_as_long_as_the_reply(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "SPOKEN", Sampling(max_new_tokens=20, temperature=0.7, top_p=0.9))
    session = chat.ChatSession(str(mapped.model), mapped.home)
    asked: list[Any] = []
    real = session._model.reply

    def watched(conversation: Any, **more: Any) -> Any:
        asked.append((conversation, more["sampling"].max_new_tokens))
        return real(conversation, **more)

    monkeypatch.setattr(session._model, "reply", watched)
    try:
        first, second = (list(session.send(text)) for text in ("Hello there", "And now?"))
    finally:
        session.close()
    assert first[-1]["kind"] == second[-1]["kind"] == "done"
    assert first[-1]["drift"] == 0.0  # its own fresh context
    length = sum(e["kind"] == "reading" for e in second)
    ((conversation, most),) = asked
    assert [m.content for m in conversation if m.role == "user"] == ["And now?"]
    assert most == max(session._home.reply_tokens, length)
    assert second[-1]["drift"] is not None


@pytest.fixture
def six(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "SPOKEN", Sampling(max_new_tokens=6, temperature=0.7, top_p=0.9))


def say(session: chat.ChatSession, text: str) -> dict[str, Any]:
    """The last event of a turn."""
    done = list(session.send(text))[-1]
    assert done["kind"] == "done"
    return done


def flipped(mapped: Mapped, directory: Path, **change: Any) -> Path:
    """The identity with its cap changed."""
    section = mapped.identity.section("cap")
    data, arrays = replace(Cap.from_section(section.data["cap"], section.arrays), **change).to_section()
    made = replace(section, data={**section.data, "cap": data}, arrays={**section.arrays, **arrays})
    return mapped.identity.with_section("cap", made).save(directory)


def negated(mapped: Mapped) -> Direction:
    section = mapped.identity.section("cap")
    d = Cap.from_section(section.data["cap"], section.arrays).direction
    return Direction("negated", d.layers, -d.vectors)


@pytest.mark.usefixtures("six")
def test_what_the_promise_does_not_cover_is_said_once_a_conversation(mapped: Mapped) -> None:
    with chat.ChatSession(None, mapped.home) as session:
        assert session._home.calibration.max_turns == 2
        said = [say(session, f"Say {i}")["warnings"] for i in range(4)]
        session.home()
        again = [say(session, f"Again {i}")["warnings"] for i in range(3)]
    turns = ["3 turns, but the alarms were calibrated on 2"]
    assert said == [[], [], turns, []]
    assert again == [[], [], turns]


def test_a_reply_of_a_length_that_was_not_calibrated_is_said_once(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "SPOKEN", Sampling(max_new_tokens=40, temperature=0.7, top_p=0.9))
    with chat.ChatSession(None, mapped.home) as session:
        said = [w for i in range(2) for w in say(session, f"Say {i}")["warnings"]]
    assert len(said) == 1
    assert "outside the calibrated" in said[0]


@pytest.mark.usefixtures("six")
def test_another_system_prompt_and_other_weights_are_said(mapped: Mapped) -> None:
    with chat.ChatSession(None, mapped.home, dtype="bfloat16") as session:
        session.conversation = Conversation.of(system="You are a pirate.")
        first, second = (say(session, text)["warnings"] for text in ("Who are you?", "Sure?"))
    assert len(first) == 2
    assert "weights are in bfloat16 on torch, and the alarms were calibrated in float32 on torch" in first[0]
    assert "the system prompt is not the one" in first[1]
    assert second == []


@pytest.mark.parametrize("hold", [None, "cap"])
@pytest.mark.usefixtures("six")
def test_longer_than_the_context_loses_the_oldest_exchanges_and_says_so_once(mapped: Mapped, hold: str | None) -> None:
    with chat.ChatSession(None, mapped.home, hold) as session:
        context = session._model.aio.info.context
        shown: list[Any] = []
        real = session._model.stream

        def watched(conversation: Any, **more: Any) -> Any:
            shown.append(conversation)
            return real(conversation, **more)

        session._model.stream = watched  # type: ignore[method-assign]
        said = [say(session, str(i) * 700) for i in range(5)]
        assert session.conversation.turns == 5
        assert all(d["position"] is not None and d["drift"] is not None for d in said)
        windows = [w for d in said for w in d["warnings"] if "longer than the context" in w]
        assert windows == ["longer than the context: the first 2 messages are left out from here on"]
        assert windows[0] in said[2]["warnings"]
        last = shown[-1]
        assert [m.content[0] for m in last if m.role == "user"] == ["3", "4"]
        assert len(session._model.aio.encode(last).tokens) + 6 <= context  # type: ignore[attr-defined]
        # one message that fits in no window is refused, and takes nothing from the conversation
        before = (session.conversation, session._left_out)
        with pytest.raises(TooLong, match="do not fit in the context"):
            list(session.send("x" * 3000))
        assert (session.conversation, session._left_out) == before
        assert say(session, "Still there?")["position"] is not None


@pytest.mark.parametrize("how", ["kind", "direction"])
def test_a_cap_that_lowers_what_it_should_raise_is_refused_when_it_is_switched_on(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    change = {"kind": "ceiling"} if how == "kind" else {"direction": negated(mapped)}
    home = flipped(mapped, tmp_path / "flipped", **change)
    with chat.ChatSession(None, home) as session:
        with pytest.raises(IdentityError, match=r"the cap of this identity is refused: .* lowers what it should raise"):
            session.hold = "cap"
        assert session.hold is None
    opened: list[Any] = []
    real = chat.open

    def recorded(*a: Any, **k: Any) -> Any:
        opened.append(real(*a, **k))
        return opened[-1]

    monkeypatch.setattr(chat, "open", recorded)
    with pytest.raises(IdentityError, match="lowers what it should raise"):
        chat.ChatSession(None, home, "cap")
    assert opened[0]._closed


@pytest.mark.usefixtures("six")
def test_the_cap_is_proved_once_a_session(mapped: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    proved: list[float] = []
    real = Cap.self_test

    async def counted(self: Cap, model: Any, axis: Any, **more: Any) -> Any:
        found = await real(self, model, axis, **more)
        proved.append(found.moved)
        return found

    monkeypatch.setattr(Cap, "self_test", counted)
    with chat.ChatSession(None, mapped.home) as session:
        say(session, "Hello")
        assert proved == []
        for hold in ("cap", None, "cap"):
            session.hold = hold
        say(session, "And now?")
        with pytest.raises(InputError, match="hold 'rope' is unknown"):
            session.hold = "rope"
        assert session.hold == "cap"
    assert len(proved) == 1
    assert proved[0] > 0
    assert session._model._closed
    session.close()
