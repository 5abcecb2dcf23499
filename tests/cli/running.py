"""A command run in this process, and transcripts to run it on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from homing.cli import main
from homing.testing.tiny import MARKER

TALK = [
    {"role": "user", "content": "Hello there"},
    {"role": "assistant", "content": "abc"},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "dfe"},
]
GONE = [{"role": "user", "content": f"Be {MARKER}"}, *TALK[1:]]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    before = dict(os.environ)  # a command hands its settings to the rooms below in the environment of its process
    try:
        code = main._run([str(a) for a in arguments])
    finally:
        os.environ.clear()
        os.environ.update(before)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def objects(out: str) -> list[dict[str, Any]]:
    """Standard output as JSON lines; anything else on it fails here."""
    return [json.loads(line) for line in out.splitlines()]


def talk(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path
