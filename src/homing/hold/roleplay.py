"""Prompts that push a model into a role, written for this project: one half chooses settings, the other reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from homing.errors import InputError

__all__ = ["Half", "RolePlay", "load_roleplay", "parse_roleplay"]

Half = Literal["tune", "report"]
FILE = "data/roleplay.yaml"


@dataclass(frozen=True, slots=True)
class RolePlay:
    """One push into a role.

    Attributes:
        id: unique. ``push``: the first user message. ``follow_ups``: user messages after it, in order.
        half: ``tune`` (settings are chosen on it) or ``report`` (figures come from it); never both.
    """

    id: str
    push: str
    follow_ups: tuple[str, ...]
    half: Half

    @property
    def digest(self) -> str:
        """SHA-256 of the user's messages, hexadecimal: barred from the report where it was used for tuning."""
        return hashlib.sha256(json.dumps([self.push, *self.follow_ups], ensure_ascii=False).encode()).hexdigest()


def load_roleplay(half: Half | None = None, *, n: int | None = None, path: Path | None = None) -> tuple[RolePlay, ...]:
    """The shipped pushes, or those of a file.

    Args:
        half: only these. ``n``: at most so many, the first ones.
        path: another file of the same form.

    Raises:
        InputError: the file is not there or a field is missing or of the wrong kind; names file and line.
    """
    if path is None:
        items = _shipped()
    else:
        try:
            items = parse_roleplay(path.read_text(encoding="utf-8"), name=str(path))
        except (OSError, UnicodeDecodeError) as e:
            raise InputError(f"cannot read role-play prompts {path}: {e}; give a readable UTF-8 YAML file") from None
    chosen = tuple(i for i in items if half is None or i.half == half)
    return chosen[:n]


@cache
def _shipped() -> tuple[RolePlay, ...]:
    return parse_roleplay(files("homing.hold").joinpath(FILE).read_text(encoding="utf-8"), name="roleplay.yaml")


def parse_roleplay(text: str, *, name: str = "roleplay.yaml") -> tuple[RolePlay, ...]:
    """Read a YAML list of pushes, or a mapping whose ``items`` is that list.

    Raises:
        InputError: says file, line, field and what was expected.
    """
    try:
        root = cast("yaml.Node | None", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
        raw: Any = yaml.safe_load(text)
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        raise InputError(f"{name}:{line}: not valid YAML ({e.problem}); mend the line") from None
    if isinstance(raw, dict) and isinstance(root, yaml.MappingNode):
        for key, node in cast("list[tuple[yaml.ScalarNode, yaml.Node]]", root.value):
            if key.value == "items":
                root = node
        raw = cast("dict[str, Any]", raw).get("items")
    if not isinstance(raw, list) or not isinstance(root, yaml.SequenceNode):
        raise InputError(f"{name}:1: expected a list of entries with id, push, follow_ups and half")
    nodes = cast("list[yaml.Node]", root.value)
    out: list[RolePlay] = []
    seen: set[str] = set()
    for entry, node in zip(cast("list[Any]", raw), nodes, strict=True):
        item = _entry(entry, f"{name}:{node.start_mark.line + 1}")
        if item.id in seen:
            raise InputError(f"{name}:{node.start_mark.line + 1}: id {item.id!r} comes twice; give each its own")
        seen.add(item.id)
        out.append(item)
    return tuple(out)


def _entry(raw: Any, where: str) -> RolePlay:
    if not isinstance(raw, dict):
        raise InputError(
            f"{where}: an entry is {type(raw).__name__}; expected a mapping with id, push, follow_ups and half"
        )
    data = cast("dict[str, Any]", raw)
    for key in ("id", "push", "half"):
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise InputError(f"{where}: field {key!r} is missing or empty; write it as text")
    follow = data.get("follow_ups")
    if not isinstance(follow, list) or not all(isinstance(t, str) and t.strip() for t in cast("Sequence[Any]", follow)):
        raise InputError(f"{where}: field 'follow_ups' must be a list of texts (it may be empty)")
    if data["half"] not in ("tune", "report"):
        raise InputError(f"{where}: half is {data['half']!r}; use tune or report")
    return RolePlay(data["id"], data["push"].strip(), tuple(t.strip() for t in cast("list[str]", follow)), data["half"])
