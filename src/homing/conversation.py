"""Messages and conversations: immutable values, so that a fork is free and an edit returns a new one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from homing.errors import InputError

__all__ = ["Conversation", "Message", "Role"]

Role = Literal["system", "user", "assistant", "tool"]
_ROLES: frozenset[str] = frozenset({"system", "user", "assistant", "tool"})


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Message:
    """One message: a role, its text, and every other field it came with.

    Args:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        content: the text. A message whose content was a list of parts keeps the list in ``extra`` and its text here.
        extra: the other fields of the message as canonical JSON (an object), so that messages stay hashable and
            equal by content, and go back out without loss.
    """

    role: Role
    content: str
    extra: str = "{}"

    def __post_init__(self) -> None:
        if self.role not in _ROLES:
            raise InputError(f"unknown role {self.role!r} in a message; use one of {', '.join(sorted(_ROLES))}")

    @property
    def fields(self) -> dict[str, Any]:
        """The fields beside role and content, as a new dictionary."""
        return cast("dict[str, Any]", json.loads(self.extra))

    @classmethod
    def from_openai(cls, raw: Mapping[str, Any]) -> Message:
        """Read one OpenAI message; parts of type text are joined for ``content`` and kept whole in ``extra``.

        Raises:
            InputError: no role, an unknown role, or content that is neither text, parts nor null.
        """
        role = raw.get("role")
        if role == "developer":  # the newer OpenAI name of the same thing
            extra = {k: v for k, v in raw.items() if k not in ("role", "content")} | {"role": "developer"}
            role = "system"
        else:
            extra = {k: v for k, v in raw.items() if k not in ("role", "content")}
        if not isinstance(role, str) or role not in _ROLES:
            raise InputError(f"unknown role {role!r} in a message; use one of {', '.join(sorted(_ROLES))}")
        content = raw.get("content")
        if content is None:
            extra["content"] = None
            text = ""
        elif isinstance(content, str):
            text = content
        elif isinstance(content, list):
            parts = cast("list[Any]", content)
            extra["content"] = parts
            text = "".join(str(cast("Mapping[str, Any]", p).get("text", "")) for p in parts if isinstance(p, Mapping))
        else:
            raise InputError(
                f"content of a {role} message is {type(content).__name__}; it must be text or a list of parts"
            )
        return cls(cast("Role", role), text, _canonical(extra))

    def to_openai(self) -> dict[str, Any]:
        """The OpenAI form; the inverse of :meth:`from_openai`."""
        fields = self.fields
        out: dict[str, Any] = {"role": fields.pop("role", self.role)}
        out["content"] = fields.pop("content") if "content" in fields else self.content
        out.update(fields)
        return out


@dataclass(frozen=True, slots=True)
class Conversation:
    """An ordered, immutable list of messages.

    ``then`` appends, ``edit`` replaces a text, ``heal`` replaces one of the assistant's own replies, ``reattribute``
    changes who said it, ``drop`` removes, ``recap`` puts a summary in place of the past. Each returns a new value,
    so a fork costs nothing: keep the old one.
    """

    messages: tuple[Message, ...] = ()

    @classmethod
    def of(cls, *texts: str, system: str | None = None) -> Conversation:
        """User and assistant texts in turn, the user first."""
        head = (Message("system", system),) if system is not None else ()
        roles: tuple[Role, Role] = ("user", "assistant")
        return cls(head + tuple(Message(roles[i % 2], t) for i, t in enumerate(texts)))

    @classmethod
    def from_openai(cls, raw: Iterable[Mapping[str, Any]]) -> Conversation:
        """Read a list of OpenAI messages.

        Raises:
            InputError: names the number of the message that cannot be read.
        """
        out: list[Message] = []
        for i, m in enumerate(raw):
            if not isinstance(m, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InputError(f"message {i + 1} is {type(m).__name__}; it must be an object with role and content")
            try:
                out.append(Message.from_openai(m))
            except InputError as e:
                raise InputError(f"message {i + 1}: {e}") from None
        return cls(tuple(out))

    def to_openai(self) -> list[dict[str, Any]]:
        """The list of OpenAI messages."""
        return [m.to_openai() for m in self.messages]

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __getitem__(self, i: int) -> Message:
        return self.messages[i]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, hexadecimal: the same for equal conversations on every machine."""
        return hashlib.sha256(_canonical(self.to_openai()).encode()).hexdigest()

    @property
    def system(self) -> str | None:
        """Text of the first message when it is a system message, else None."""
        return self.messages[0].content if self.messages and self.messages[0].role == "system" else None

    @property
    def turns(self) -> int:
        """How many assistant replies there are."""
        return sum(m.role == "assistant" for m in self.messages)

    def then(self, content: str, role: Role | None = None) -> Conversation:
        """Append one message; without a role, the user speaks unless the user spoke last."""
        if role is None:
            role = "assistant" if self.messages and self.messages[-1].role == "user" else "user"
        return Conversation((*self.messages, Message(role, content)))

    def _at(self, i: int) -> int:
        n = len(self.messages)
        if not -n <= i < n:
            raise InputError(f"message {i} does not exist: the conversation has {n}, counted from 0")
        return i % n

    def edit(self, i: int, content: str) -> Conversation:
        """Replace the text of message ``i``."""
        i = self._at(i)
        new = replace(self.messages[i], content=content, extra=_without_content(self.messages[i].extra))
        return Conversation((*self.messages[:i], new, *self.messages[i + 1 :]))

    def heal(self, i: int, content: str) -> Conversation:
        """Replace the text of message ``i``, which must be the assistant's own.

        Raises:
            InputError: the message is not the assistant's.
        """
        i = self._at(i)
        if self.messages[i].role != "assistant":
            raise InputError(f"message {i} is of the {self.messages[i].role}; only an assistant's own reply is healed")
        return self.edit(i, content)

    def reattribute(self, i: int, role: Role) -> Conversation:
        """Say that another role spoke message ``i``."""
        i = self._at(i)
        return Conversation((*self.messages[:i], replace(self.messages[i], role=role), *self.messages[i + 1 :]))

    def drop(self, indices: Sequence[int]) -> Conversation:
        """Remove messages by index."""
        gone = {self._at(i) for i in indices}
        return Conversation(tuple(m for i, m in enumerate(self.messages) if i not in gone))

    def recap(self, text: str, *, keep: int = 1) -> Conversation:
        """Put ``text``, as a user message, in place of all but the system message and the last ``keep`` messages.

        A user message that follows is joined to it, since most templates want roles to alternate.
        """
        head = self.messages[:1] if self.system is not None else ()
        body = self.messages[len(head) :]
        tail = body[len(body) - keep :] if keep > 0 else ()
        if tail and tail[0].role == "user":
            joined = Message("user", f"{text}\n\n{tail[0].content}")
            return Conversation((*head, joined, *tail[1:]))
        return Conversation((*head, Message("user", text), *tail))


def _without_content(extra: str) -> str:
    fields = cast("dict[str, Any]", json.loads(extra))
    fields.pop("content", None)
    return _canonical(fields)
