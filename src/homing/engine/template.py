"""Chat template -> tokens and spans, by comparing renders: no model names, no guesses.

Every reply is replaced by a mark that stands nowhere else, the conversation is rendered again, and the marks are replaced
back. Only if that gives the real render to the character do the marks say where each reply lies; anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

from homing.conversation import Conversation, Message
from homing.engine.base import SpanKind, ThinkMarkers
from homing.engine.render import SECONDS, TemplateRaised, render_template
from homing.errors import TemplateError

__all__ = ["ChatTemplate", "Encoded", "Probe", "ReplyRange", "offsets"]

_TAG = re.compile(r"<[^<>\s]{1,40}>|\[[A-Z_]{2,30}\]")
_FIELDS = ("reasoning_content", "reasoning", "thinking")
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


@dataclass(frozen=True, slots=True)
class Probe:
    """What a template does, found by trying it.

    Attributes:
        form: whether it wants content as text or as a list of parts.
        system: it shows a system message, refuses it, or drops it in silence.
        implicit_system: see :class:`Encoded`. ``think``: texts that open and close thinking. ``field``: the message field
            that it reads earlier thinking from. ``starts_inside``: its generation prompt already opens thinking.
    """

    form: Literal["text", "parts"]
    system: Literal["shown", "refused", "dropped"]
    implicit_system: str | None
    think: tuple[str, str] | None
    field: str | None
    starts_inside: bool


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
    """

    source: str
    special: Mapping[str, str]
    variables: Mapping[str, Any]
    seconds: float = SECONDS

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
                "the model has no chat template; give a chat model, or put chat_template.jinja beside it"
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

    def _run(self, messages: Sequence[Mapping[str, Any]], generate: bool) -> str:
        context = {"bos_token": "", "eos_token": "", "unk_token": "", "pad_token": "", **self.special, **self.variables}
        context |= {"messages": list(messages), "add_generation_prompt": generate, "tools": None, "documents": None}
        return render_template(self.source, context, seconds=self.seconds)

    def _plain(self, messages: Sequence[Message], *, thinking: Sequence[str | None] = ()) -> list[dict[str, Any]]:
        form = self.probe.form
        out: list[dict[str, Any]] = []
        for i, m in enumerate(messages):
            raw: dict[str, Any] = {**m.fields, "role": m.role}
            raw["content"] = m.content if form == "text" else [{"type": "text", "text": m.content}]
            if thinking and thinking[i] is not None:
                for name in _FIELDS:
                    raw.pop(name, None)
                raw[self.probe.field or _FIELDS[0]] = thinking[i]
            out.append(raw)
        return out

    @cached_property
    def probe(self) -> Probe:
        """What this template does; tried once.

        Raises:
            TemplateError: it fails on a user message, or does not show one.
        """
        return _probe(self)

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
        return self._run(self._plain(body), add_generation_prompt)

    def _fold(self, messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], bool]:
        """Put a system message into the first user message where the template itself refuses one."""
        if not messages:
            raise TemplateError("a conversation without messages cannot be rendered; give at least one user message")
        if messages[0].role != "system" or self.probe.system == "shown":
            return messages, False
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
        whole = self._run(self._plain(messages), add_generation_prompt)
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
            given = next((str(m.fields[f]) for f in _FIELDS if isinstance(m.fields.get(f), str) and m.fields[f]), None)
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
        text = self._run(self._plain(marked, thinking=thoughts), add_generation_prompt)
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
        ends = [
            b - 1 if b > a else -1 for a, b in places
        ]  # the last character of each token; none: a token without text
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


_U, _A, _S, _T, _V = "\ue100u\ue100", "\ue100a\ue100", "\ue100s\ue100", "\ue100t\ue100", "\ue100v\ue100"


def _probe(template: ChatTemplate) -> Probe:
    run = template._run  # pyright: ignore[reportPrivateUsage]

    def attempt(*messages: Mapping[str, Any], generate: bool = False) -> str | None:
        try:
            return run(messages, generate)
        except TemplateRaised:
            return None

    user = {"role": "user", "content": _U}
    form: Literal["text", "parts"] = "text"
    plain = attempt(user, generate=True)
    if plain is None or _U not in plain:
        parts = attempt({"role": "user", "content": [{"type": "text", "text": _U}]}, generate=True)
        if parts is None or _U not in parts:
            if plain is None:
                run([user], True)  # raises, with the template's own words
            raise TemplateError("the chat template does not show the text of a user message")
        form, plain = "parts", parts

    def message(role: str, text: str, **more: str) -> dict[str, Any]:
        return {"role": role, "content": text if form == "text" else [{"type": "text", "text": text}], **more}

    with_system = attempt(message("system", _S), message("user", _U), generate=True)
    system: Literal["shown", "refused", "dropped"] = "shown"
    implicit: str | None = None
    if with_system is None:
        system = "refused"
    elif _S not in with_system or _U not in with_system:
        system = "dropped"
    else:
        before, after = with_system.split(_U)[0].split(_S)[0], with_system.split(_U)[0].split(_S)[-1]
        lead = plain.split(_U)[0]
        if lead.startswith(before) and lead.endswith(after) and len(lead) > len(before) + len(after):
            implicit = lead[len(before) : len(lead) - len(after)]
    think, field = _thinking(attempt, message)
    tail = plain.rsplit(_U, 1)[-1]
    starts_inside = False
    if think is None:
        tags = _TAG.findall(tail)
        if tags and "think" in tags[-1].lower() and "/" not in tags[-1]:  # opened for generation, and never shown again
            think = (tags[-1], tags[-1][0] + "/" + tags[-1][1:])
    if think is not None:
        starts_inside = tail.rfind(think[0]) > tail.rfind(think[1])
    return Probe(form, system, implicit, think, field, starts_inside)


def _thinking(attempt: Any, message: Any) -> tuple[tuple[str, str] | None, str | None]:
    """Texts that open and close thinking, and the field it is read from: a thought is given, and its surroundings compared."""
    history = attempt(message("user", _U), message("assistant", _A), message("user", _V))
    header = history.split(_U)[-1].split(_A)[0] if history and _A in history and _U in history else ""
    for field in _FIELDS:
        shown = attempt(message("user", _U), message("assistant", _A, **{field: _T}))
        if not shown or shown.count(_T) != 1 or _A not in shown.split(_T)[1]:
            continue
        before, after = shown.split(_T)
        before, closing = before.split(_U)[-1], after.split(_A)[0].strip()
        if header and before.startswith(header) and before[len(header) :].strip():
            opening = before[len(header) :].strip()
        else:
            tags = _TAG.findall(before)
            opening = tags[-1] if tags else ""
        if opening and closing:
            return (opening, closing), field
    return None, None
