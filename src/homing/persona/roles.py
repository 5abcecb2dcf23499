"""Roles the model is asked to play, and the home it is asked to return to.

One YAML file is one role; a folder of the user's own files is read like the built-in ones. Home is what the user says
it is: a system prompt, or one with messages after it; without a file, the plain Assistant and no system prompt at all.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import cast

import yaml

from homing.conversation import Conversation, Message
from homing.conversation import Role as Speaker
from homing.errors import InputError
from homing.persona.marked import MarkedYaml, read_marked, read_text
from homing.persona.questions import Question

__all__ = ["Home", "Role", "content_digest", "load_home", "load_home_prompts", "load_roles"]

PROMPTS = 3
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SPEAKERS = ("user", "assistant")
_FIELDS = ("id", "name", "kind", "prompts", "words")
_ORIGIN = ("licence", "source", "canary")  # a user's own roles need none


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Role:
    """One character.

    Attributes:
        id: unique, as the file is named. ``name``: for people to read. ``kind``: group it belongs to.
        prompts: three system prompts that ask for it. ``words``: lower-case stems that the judge masks, because
            a reply is not in role merely for naming the role.
        licence, source: of the text.
    """

    id: str
    name: str
    kind: str
    prompts: tuple[str, ...]
    words: tuple[str, ...]
    licence: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Home:
    """One way the model is at home.

    Attributes:
        system: the system prompt, or None for the template's rendering without one.
        messages: what was said before the question, as role and text. ``digest``: SHA-256 of both.
    """

    system: str | None
    messages: tuple[tuple[Speaker, str], ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", _digest(self.system, self.messages))

    def conversation(self, question: str) -> Conversation:
        """What the model is shown when it is asked ``question`` at home."""
        head = (Message("system", self.system),) if self.system is not None else ()
        said = tuple(Message(speaker, text) for speaker, text in self.messages)
        return Conversation((*head, *said, Message("user", question)))


def _read_role(file: Traversable, *, built_in: bool) -> Role:
    fields = read_marked(file).fields(
        required=(*_FIELDS, *_ORIGIN) if built_in else _FIELDS, optional=() if built_in else _ORIGIN
    )
    name = fields.text("id")
    if not _ID.fullmatch(name):
        raise fields["id"].complain(f"id is {name!r}; use lower-case letters and digits joined by hyphens")
    prompts = fields["prompts"].texts("prompts")
    if len(prompts) != PROMPTS:
        raise fields["prompts"].complain(f"prompts has {len(prompts)} entries; give exactly {PROMPTS}")
    words = fields["words"].texts("words")
    if not words or any(w != w.lower() for w in words):
        raise fields["words"].complain(f"words is {list(words)}; give at least one, in lower case")
    if "canary" in fields:
        fields.text("canary")
    licence, source = (fields.text(k) if k in fields else "" for k in ("licence", "source"))
    return Role(name, fields.text("name"), fields.text("kind"), prompts, words, licence, source)


def load_roles(extra_dir: Path | None = None) -> tuple[Role, ...]:
    """Every built-in role, and those of a folder of the user's own, sorted by id.

    Args:
        extra_dir: folder of YAML files, one a role.

    Raises:
        InputError: file and line of what is wrong; an id used twice; a folder that does not exist or holds no role.
    """
    folders: list[Traversable] = [files("homing.persona") / "data" / "roles"]
    if extra_dir is not None:
        if not extra_dir.is_dir():
            raise InputError(f"{extra_dir} is not a folder; give one that holds role files (*.yaml)")
        if not any(f.name.endswith((".yaml", ".yml")) for f in extra_dir.iterdir()):
            raise InputError(f"{extra_dir} holds no role file; put at least one *.yaml into it")
        folders.append(extra_dir)
    found: dict[str, tuple[Role, Traversable]] = {}
    for folder in folders:
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if not file.name.endswith((".yaml", ".yml")):
                continue
            role = _read_role(file, built_in=folder is not extra_dir)
            if role.id in found:
                at = read_marked(file).fields(required=_FIELDS, optional=_ORIGIN)["id"]
                raise at.complain(f"id {role.id!r} is taken by {found[role.id][1]}; choose a new one")
            found[role.id] = (role, file)
    return tuple(found[i][0] for i in sorted(found))


def load_home_prompts() -> tuple[str | None, ...]:
    """System prompts of the plain Assistant, with None (no system prompt) where the file says null."""
    node = read_marked(files("homing.persona") / "data" / "home.yaml").fields(required=("prompts", *_ORIGIN))["prompts"]
    return tuple(None if p.value() is None else p.text("a home prompt") for p in node.items("prompts"))


def load_home(path: Path | None) -> tuple[Home, ...]:
    """Where home is: one home from a file, or the plain Assistant's.

    Args:
        path: ``.txt`` holds a system prompt; ``.yaml`` holds ``system`` (text or null) and maybe ``messages``, a
            list of ``role`` (user, assistant, in turn) and ``content``. None: every plain prompt, and none.

    Raises:
        InputError: file and line of what is wrong.
    """
    if path is None:
        return tuple(Home(p) for p in load_home_prompts())
    if path.suffix == ".txt":
        text = read_text(path).strip()
        if not text:
            raise InputError(f"{path}, line 1: the file is empty; write the system prompt of home")
        return (Home(text),)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path} ends in {path.suffix!r}; home is a .txt (a system prompt) or a .yaml file")
    fields = read_marked(path).fields(required=("system",), optional=("messages",))
    system = None if fields["system"].value() is None else fields.text("system")
    messages: list[tuple[Speaker, str]] = []
    if "messages" in fields and not _is_null(fields["messages"]):
        for i, item in enumerate(fields["messages"].items("messages")):
            entry = item.fields(required=("role", "content"))
            speaker = entry.text("role")
            if speaker != _SPEAKERS[i % 2]:
                raise entry["role"].complain(
                    f"message {i + 1} is of {speaker!r}; user and assistant speak in turn: put {_SPEAKERS[i % 2]!r}"
                )
            messages.append((cast("Speaker", speaker), entry.text("content")))
        if len(messages) % 2:
            raise fields["messages"].complain("the last message is the user's; end with a reply of the assistant")
    return (Home(system, tuple(messages)),)


def _is_null(item: MarkedYaml) -> bool:
    return isinstance(item.node, yaml.ScalarNode) and item.value() is None


def content_digest(roles: Sequence[Role], questions: Sequence[Question], homes: Sequence[Home]) -> str:
    """SHA-256 of all content, hexadecimal: changes when any text, word, id or order does."""
    return _digest([asdict(r) for r in roles], [asdict(q) for q in questions], [h.digest for h in homes])
