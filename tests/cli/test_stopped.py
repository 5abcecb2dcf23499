"""Ctrl-C: exit 130, and what is said is true of the command that was stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import TALK, run, talk
from tests.verbs.tiny_map import Mapped

import homing.verbs.map as map_verb
import homing.verbs.watch as watch_verb
from homing.cli import main


def stopped(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def test_map_says_that_the_same_command_goes_on(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("map", mapped.model, "--preset", "smoke", "--out", tmp_path / "out")
    monkeypatch.setattr(map_verb, "open_model", stopped)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (130, "")
    assert f"interrupted: stopped; what is finished is kept in {tmp_path / 'out'}: run the same command to go on" in err
    monkeypatch.setattr(map_verb, "plan_map", stopped)  # before anything runs
    code, _, err = run(capsys, *arguments)
    assert code == 130
    assert "interrupted: what was finished is saved; run the same command again to go on" in err


def test_watch_says_that_the_lines_stand(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    p = talk(tmp_path / "t.jsonl", {"id": "a", "messages": TALK}, {"id": "b", "messages": TALK})
    real, seen, closed = watch_verb.watch_conversation, list[str](), list[str]()

    async def second_is_stopped(model: Any, home: Any, item: Any, **more: Any) -> Any:
        if not seen:
            close = model.close

            async def closing() -> None:
                await close()
                closed.append(item.id)

            model.close = closing
        seen.append(item.id)
        if item.id == "b":
            raise KeyboardInterrupt
        return await real(model, home, item, **more)

    monkeypatch.setattr(watch_verb, "watch_conversation", second_is_stopped)
    code, out, err = run(capsys, "watch", p, "--identity", mapped.home, "--json")
    assert code == 130
    assert [json.loads(line)["conversation"] for line in out.splitlines()] == ["a", "a"]
    assert "interrupted: the lines printed so far stand, and nothing else is saved" in err
    assert "run the same command again to read from the start" in err
    assert "what was finished is saved" not in err
    assert closed == ["a"]


@pytest.mark.parametrize("where", ["at the prompt", "in a reply"])
def test_chat_says_that_the_conversation_is_not_saved(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    from rich.console import Console

    from homing.verbs import chat as chat_verb

    closed: list[bool] = []
    real = chat_verb.ChatSession.close

    def close(session: chat_verb.ChatSession) -> None:
        real(session)
        closed.append(session._model._closed)

    monkeypatch.setattr(chat_verb.ChatSession, "close", close)
    monkeypatch.setattr(Console, "input", stopped if where == "at the prompt" else lambda *_: "Hello")
    if where == "in a reply":
        monkeypatch.setattr(chat_verb, "position_of", stopped)
    code, _, err = run(capsys, "chat", "--identity", mapped.home, "--dtype", "float32")
    assert code == 130
    assert "interrupted: the conversation is not saved; run the same command again for a new one" in err
    assert "what was finished" not in err
    assert closed == [True]


def test_what_saves_nothing_says_so(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from homing.models import doctor

    monkeypatch.setattr(doctor, "examine", stopped)
    code, out, err = run(capsys, "doctor", mapped.model)
    assert (code, out) == (130, "")
    assert "interrupted: nothing is saved; run the same command again" in err
    assert set(main.STOPPED) <= set(main.COMMANDS)


def test_a_real_signal_ends_a_real_watch(mapped: Mapped, tmp_path: Path) -> None:
    p = talk(tmp_path / "t.jsonl", *({"id": str(i), "messages": TALK} for i in range(3000)))
    command = [sys.executable, "-m", "homing.cli", "watch", str(p), "--identity", str(mapped.home), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"},
        # a shell that runs the tests in the background has them ignore the signal, and what they start would too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert first["conversation"] == "0"
    assert process.returncode == 130, err
    assert all(json.loads(line)["schema"] == "homing.watch/1" for line in out.splitlines())
    assert "the lines printed so far stand" in err
    assert "Traceback" not in err
