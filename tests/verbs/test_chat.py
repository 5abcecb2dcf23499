"""chat: a live reading, and drift against a fresh reply of like length."""

from __future__ import annotations

from typing import Any

import pytest
from tests.verbs.tiny_map import Mapped

import homing.verbs.chat as chat
from homing.engine.base import Sampling


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
