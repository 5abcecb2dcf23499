"""What every command prints with: JSON alone on standard output, everything else beside it."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, cast

import click

from homing.errors import InputError

__all__ = ["JsonOut", "figure_lines", "json_option", "need_identity", "plain", "stdout_for"]

# C0 and C1 controls but tab and newline, and the marks that change reading order: model text may not drive a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Text of a model without anything that could drive a terminal."""
    return _CONTROL.sub("", text)


def json_option(f: Callable[..., Any]) -> Callable[..., Any]:
    """The ``--json`` flag."""
    return click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output.")(f)


class JsonOut:
    """Where a command's result goes: an object a line when JSON was asked for, text otherwise."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._stdout = sys.stdout

    def emit(self, value: Mapping[str, Any], text: str = "") -> None:
        """Write the object, or ``text`` when JSON was not asked for."""
        if self.as_json:
            self._stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            self._stdout.write(text + "\n")
        self._stdout.flush()


@contextlib.contextmanager
def stdout_for(as_json: bool) -> Generator[JsonOut, None, None]:
    """With JSON, whatever a library prints meanwhile goes to standard error."""
    out = JsonOut(as_json)
    if as_json:
        with contextlib.redirect_stdout(sys.stderr):
            yield out
    else:
        yield out


def need_identity(identity: Path | None) -> Path:
    """The identity directory.

    Raises:
        InputError: none was named, or it is not there.
    """
    if identity is None:
        raise InputError(
            "no identity was named; give --identity DIR, or set identity in homing.toml or HOMING_IDENTITY"
        )
    if not identity.is_dir():
        raise InputError(f"identity {identity} is not a directory; make one with: homing map MODEL --out {identity}")
    return identity


def figure_lines(card: Mapping[str, Any]) -> str:
    """Each figure on its own line, with its interval."""

    def number(x: Any) -> str:
        return "-" if x is None else f"{x:.3f}"

    rows = [(k, cast("Mapping[str, Any]", v)) for k, v in card.items() if isinstance(v, Mapping) and "value" in v]
    width = max((len(k) for k, _ in rows), default=0)
    return "\n".join(
        f"{k:<{width}}  {number(v['value'])}  [{number(v['low'])}, {number(v['high'])}]  n={v['n']}" for k, v in rows
    )
