"""Chat template -> tokens and spans, by comparing renders: no model names, no guesses.

Every reply is replaced by a mark that stands nowhere else, the conversation is rendered again, and the marks are replaced
back. Only if that gives the real render to the character do the marks say where each reply lies; anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from homing.conversation import Conversation, Message
from homing.engine.base import SpanKind, ThinkMarkers
from homing.engine.render import SECONDS, render_template
from homing.engine.template_probe import FIELDS, Probe, probe_template
from homing.errors import TemplateError

__all__ = ["ChatTemplate", "Encoded", "ReplyRange", "offsets"]

_TRIMS = ("", "both", "left", "right", "newlines", "left newlines")


class Tokenizer(Protocol):
    """What is used of a fast tokenizer of transformers."""

    def __call__(self, text: str, *, add_special_tokens: bool, return_offsets_mapping: bool) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class ReplyRange:
    """Where one assistant message lies: tokens ``start`` to ``stop`` (not included) of its reply, and its character range."""

    message: int
    start: int
    stop: int
    text: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as tokens.

    Attributes:
        text: the render. ``tokens``: ids. ``spans``: one SpanKind a token. A token that straddles a border belongs to the
            span of its last character: the space that a tokenizer glues to a first word does not cost the reply that word.
        replies: one a shown assistant message. ``think``: markers for the generated part, where the template thinks.
        implicit_system: what the template says by itself as system prompt where none is given, else None.
        system_merged: the template refuses a system message, and it was put at the head of the first user message.
    """

    text: str
    tokens: tuple[int, ...]
    spans: tuple[SpanKind, ...]
    replies: tuple[ReplyRange, ...]
    think: ThinkMarkers | None
    implicit_system: str | None
    system_merged: bool


def offsets(tokenizer: Tokenizer, text: str) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Token ids of a rendered text and the character range of each.

    Raises:
        TemplateError: the tokenizer is a slow one, without offsets.
    """
    try:
        out = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError:
        raise TemplateError("the tokenizer gives no character offsets; use a fast one (tokenizer.json)") from None
    return tuple(int(i) for i in out["input_ids"]), [(int(a), int(b)) for a, b in out["offset_mapping"]]


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template and the special tokens that it may write.

    Args:
        source: jinja2 text. special: names and texts such as ``{"bos_token": "<s>"}``; missing ones render as nothing.
        variables: further values that it may read, such as ``enable_thinking``.
        seconds: processor time that one render may take.
        date: ISO date that ``strftime_now`` shows, or ``today``; None: ``HOMING_TEMPLATE_DATE``, else a fixed one, so that
            prompts are the same tomorrow.
    """

    source: str
    special: Mapping[str, str]
    variables: Mapping[str, Any]
    seconds: float = SECONDS
    date: str | None = None

    @classmethod
    def of(
        cls, source: str | None, *, variables: Mapping[str, Any] | None = None, **special: str | None
    ) -> ChatTemplate:
        """Make one from a source and special tokens.

        Raises:
            TemplateError: there is no source.
        """
        if not source:
            raise TemplateError(
                "the model has no chat template; give a chat model or a GGUF that carries one, or put chat_template.jinja"
                " beside a directory's weights"
            )
        return cls(source, {k: v for k, v in special.items() if v is not None}, variables or {})

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, *, variables: Mapping[str, Any] | None = None) -> ChatTemplate:
        """The template of a tokenizer of transformers; of several named ones, the default."""
        source: Any = getattr(tokenizer, "chat_template", None)
        if isinstance(source, Mapping):
            named: dict[str, str] = dict(source)  # pyright: ignore[reportUnknownArgumentType]
            source = named.get("default")
        special: dict[str, str | None] = {}
        for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
            value = getattr(tokenizer, name, None)
            special[name] = None if value is None else str(value)
        return cls.of(source, variables=variables, **special)

    def run(self, messages: Sequence[Mapping[str, Any]], generate: bool) -> str:
        """One bare render of plain messages; see :meth:`render`."""
        context = {"bos_token": "", "eos_token": "", "unk_token": "", "pad_token": "", **self.special, **self.variables}
        context |= {"messages": list(messages), "add_generation_prompt": generate, "tools": None, "documents": None}
        return render_template(self.source, context, seconds=self.seconds, date=self.date)

    def _plain(self, messages: Sequence[Message], *, thinking: Sequence[str | None] = ()) -> list[dict[str, Any]]:
        """Messages as the template reads them; earlier thinking, however it is named, goes where this template looks."""
        form = self.probe.form
        out: list[dict[str, Any]] = []
        for i, m in enumerate(messages):
            raw: dict[str, Any] = {**m.fields, "role": m.role}
            raw["content"] = m.content if form == "text" else [{"type": "text", "text": m.content}]
            thought = thinking[i] if thinking else _thought(m)
            if thought is not None:
                for name in FIELDS:
                    raw.pop(name, None)
                raw[self.probe.field or FIELDS[0]] = thought
            out.append(raw)
        return out

    @cached_property
    def probe(self) -> Probe:
        """What this template does; tried once.

        Raises:
            TemplateError: it fails on a user message, or does not show one.
        """
        return probe_template(self.run, self.source)

    @property
    def supports_system(self) -> bool:
        """Whether a system message is shown as it is."""
        return self.probe.system == "shown"

    def render(self, messages: Conversation, *, add_generation_prompt: bool = True) -> str:
        """The conversation as the model sees it.

        Raises:
            TemplateRaised: the template refuses the conversation. TemplateError: it fails, loops, grows or escapes.
        """
        body, _ = self._fold(messages.messages)
        return self.run(self._plain(body), add_generation_prompt)

    def _fold(self, messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], bool]:
        """Put a system message into the first user message where the template itself refuses one."""
        if not messages:
            raise TemplateError("a conversation without messages cannot be rendered; give at least one user message")
        if messages[0].role != "system" or self.probe.system in ("shown", "failed"):
            return messages, False  # where it failed on one, the render says why
        if self.probe.system == "dropped":
            raise TemplateError(
                "the chat template drops the system message in silence; put its text into the first user message"
            )
        if len(messages) < 2 or messages[1].role != "user":
            raise TemplateError("the chat template refuses a system message, and no user message follows to carry it")
        head, user, *rest = messages
        joined = replace(user, content=f"{head.content}\n\n{user.content}")
        return (joined, *rest), True

    def locate(
        self, conversation: Conversation, *, add_generation_prompt: bool = True
    ) -> tuple[str, list[_Piece], bool]:
        """The render and the character range of every thinking and reply in it, and whether the system message was merged.

        Raises:
            TemplateError: the ranges cannot be told exactly.
        """
        messages, merged = self._fold(conversation.messages)
        shift = len(conversation.messages) - len(messages)
        whole = self.run(self._plain(messages), add_generation_prompt)
        base = _free_marks("".join(m.content for m in messages) + whole)
        marked: list[Message] = []
        thoughts: list[str | None] = []
        truth: dict[str, tuple[int, SpanKind, str]] = {}
        for i, m in enumerate(messages):
            thoughts.append(None)
            if m.role != "assistant":
                marked.append(m)
                continue
            before, thought, between, reply = self._split(m.content)
            given = _thought(m)
            if given is not None:
                mark = f"{base}t{i}{base}"
                truth[mark] = (i + shift, "thinking", given)
                thoughts[i] = mark
            if thought:
                mark = f"{base}u{i}{base}"
                truth[mark] = (i + shift, "thinking", thought)
                thought = mark
            if reply:
                mark = f"{base}r{i}{base}"
                truth[mark] = (i + shift, "reply", reply)
                reply = mark
            marked.append(replace(m, content=before + thought + between + reply))
        if not truth:
            return whole, [], merged
        text = self.run(self._plain(marked, thinking=thoughts), add_generation_prompt)
        parts = re.split(f"({base}[rtu][0-9]+{base})", text)
        found = parts[1::2]
        lost = [truth[k] for k in truth if k not in found and truth[k][1] == "reply"]
        if lost:
            raise TemplateError(
                f"the chat template does not show message {lost[0][0] + 1}, an assistant reply, as it was given"
            )
        if len(set(found)) != len(found):
            raise TemplateError("the chat template writes an assistant reply more than once, so its place is not exact")
        for trim in _TRIMS:
            pieces = _lay(parts, truth, trim)
            if "".join(p.text for p in pieces) == whole:
                return whole, [p for p in pieces if p.message >= 0], merged
        raise TemplateError(
            "the chat template changes the text of an assistant reply, so its place in the prompt is not exact"
        )

    def _split(self, content: str) -> tuple[str, str, str, str]:
        """Content of a reply as (before, thinking, between, reply), by the template's own markers."""
        if self.probe.think is None or self.probe.think[1] not in content:
            return "", "", "", content
        opening, closing = self.probe.think
        head, _, tail = content.partition(closing)
        lead = head[: head.index(opening) + len(opening)] if opening in head else ""
        inner, reply = head[len(lead) :], tail.lstrip()
        thought = inner.strip()
        left = inner[: len(inner) - len(inner.lstrip())] if thought else inner
        right = inner[len(inner.rstrip()) :] if thought else ""
        return lead + left, thought, right + closing + tail[: len(tail) - len(reply)], reply

    def encode(
        self, conversation: Conversation, tokenizer: Tokenizer, *, add_generation_prompt: bool = True
    ) -> Encoded:
        """The conversation as tokens, with the span of each.

        Raises:
            TemplateError: the spans are not exact, or the template refuses the conversation.
        """
        text, pieces, merged = self.locate(conversation, add_generation_prompt=add_generation_prompt)
        tokens, places = offsets(tokenizer, text)
        kinds: list[SpanKind] = ["prompt"] * len(tokens)
        ends = [b - 1 if b > a else -1 for a, b in places]  # the last character of each token; -1: it has no text
        replies: list[ReplyRange] = []
        at = 0
        for piece in pieces:
            while at < len(ends) and ends[at] < piece.start:
                at += 1
            first = at
            while at < len(ends) and ends[at] < piece.start + len(piece.text):
                kinds[at] = piece.kind if ends[at] >= 0 else "prompt"
                at += 1
            if piece.kind == "reply":
                replies.append(ReplyRange(piece.message, first, at, piece.text))
        return Encoded(
            text=text,
            tokens=tokens,
            spans=tuple(kinds),
            replies=tuple(replies),
            think=self.think_markers(tokenizer),
            implicit_system=self.probe.implicit_system if conversation.system is None else None,
            system_merged=merged,
        )

    def think_markers(self, tokenizer: Tokenizer) -> ThinkMarkers | None:
        """Markers of thinking as tokens, or None where the template has none."""
        if self.probe.think is None:
            return None
        opening, closing = (offsets(tokenizer, t)[0] for t in self.probe.think)
        return ThinkMarkers(opening, closing, self.probe.starts_inside)


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    text: str
    message: int
    kind: SpanKind


def _thought(m: Message) -> str | None:
    """Thinking that a message carries beside its content, or None."""
    return next((str(m.fields[f]) for f in FIELDS if isinstance(m.fields.get(f), str) and m.fields[f]), None)


def _lay(parts: Sequence[str], truth: Mapping[str, tuple[int, SpanKind, str]], trim: str) -> list[_Piece]:
    out: list[_Piece] = []
    at = 0
    for k, part in enumerate(parts):
        if k % 2:
            message, kind, text = truth[part]
            piece = _Piece(at, _trimmed(text, trim), message, kind)
        else:
            piece = _Piece(at, part, -1, "prompt")
        out.append(piece)
        at += len(piece.text)
    return out


def _trimmed(text: str, trim: str) -> str:
    match trim:
        case "both":
            return text.strip()
        case "left":
            return text.lstrip()
        case "right":
            return text.rstrip()
        case "newlines":
            return text.strip("\n")
        case "left newlines":
            return text.lstrip("\n")
        case _:
            return text


def _free_marks(text: str) -> str:
    """A character that stands nowhere in ``text``: from the private use area, which no language uses."""
    for code in range(0xE000, 0xF8FF):
        if chr(code) not in text:
            return chr(code)
    raise TemplateError("the conversation uses every private character, so no mark is left to find replies with")
