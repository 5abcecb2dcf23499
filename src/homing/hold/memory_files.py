"""Where a conversation shows files, and which of them are an agent's memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from homing.conversation import Conversation

__all__ = ["Part", "changed", "parts"]

_FILE = r"[\w./-]{1,60}\.(?:txt|md|json|ya?ml|log|cfg|csv) ?:?"
_HEADING = re.compile(rf"^(?:#{{1,4}} [^\n]{{1,60}}|{_FILE}|[A-Z][\w ]{{0,30}}:)[ \t]*$", re.M)
_MEMORY = re.compile(r"\b(?:notes?|memor(?:y|ies)|diary|journal|history|histories|past sessions?|remembered)\b", re.I)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a message. ``heading``: with its line break; may be empty. ``memory``: whether the heading names one."""

    heading: str
    body: str
    memory: bool


def parts(text: str) -> list[Part]:
    """A message in its files; joined, headings and bodies are the message. What stands before the first heading is a part too.

    A heading is a line of its own that is a file's name, a title after ``#``, or a few words and a colon.
    """
    at = list(_HEADING.finditer(text))
    out = [Part("", text[: at[0].start() if at else len(text)], False)]
    for k, m in enumerate(at):
        end = at[k + 1].start() if k + 1 < len(at) else len(text)
        head = min(m.end() + 1, end)
        named = m[0].replace("_", " ").replace("-", " ").replace(".", " ").replace("/", " ")
        out.append(Part(text[m.start() : head], text[head:end], bool(_MEMORY.search(named))))
    return out


def changed(conversation: Conversation, body: Callable[[Part], str]) -> Conversation:
    """The conversation with the parts of what the model is given (never of its own replies) made anew.

    Args:
        body: of a part, what its body becomes; the heading of a memory of which nothing is left goes with it, unless it is all
            that a message would be left with.
    """
    out = conversation
    for k, m in enumerate(conversation):
        if m.role == "assistant":
            continue
        made = [(p, body(p)) for p in parts(m.content)]
        if all(new == p.body for p, new in made):
            continue
        text = "".join(p.heading + new for p, new in made if new == p.body or new.strip() or not p.memory).strip()
        text = text or "".join(p.heading + new for p, new in made).strip()
        if text:
            out = out.edit(k, text)
    return out
