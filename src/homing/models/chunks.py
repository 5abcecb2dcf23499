"""What a service streams: its events taken apart as they come, and the completion that they add up to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

__all__ = [
    "Event",
    "Events",
    "Garbage",
    "Gathered",
    "Part",
    "Usage",
    "choices_of",
    "counted",
    "error_of",
    "logprob_of",
    "object_of",
    "rows_of",
    "said_in",
]

MOST_TOKENS = 2**24
"""No service counts more tokens of one call than this; more is no count."""
MOST_CHOICES = 128


class Garbage(ValueError):
    """Bytes that are no stream of chat completions; says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        raw: its bytes as they came, with the blank line that ends it. ``data``: of its data lines; None: it has none.
    """

    raw: bytes
    data: str | None

    @property
    def done(self) -> bool:
        """Whether it says that nothing follows."""
        return self.data is not None and self.data.strip() == "[DONE]"


class Events:
    """Server-sent events from bytes that are split anywhere. Lines end with LF or CRLF; comments and other fields pass.

    Args:
        most: bytes of one event; what is not whole yet counts.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self._line = 0  # where the line begins that is not whole yet
        self._seen = 0  # up to where its end was looked for
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that are whole now.

        Raises:
            Garbage: one is too long, or no UTF-8. Those before it have been given.
        """
        self._held += chunk
        while (end := self._held.find(b"\n", self._seen)) >= 0:
            line = bytes(self._held[self._line : end]).removesuffix(b"\r")
            self._line = self._seen = end + 1
            if self._line > self._most:
                break
            if line:
                self._take(line)
            else:
                raw = bytes(self._held[: self._line])
                del self._held[: self._line]
                self._line = self._seen = 0
                yield self._event(raw)
        self._seen = len(self._held)
        if self._seen > self._most:
            raise Garbage(f"an event is longer than {self._most:,} bytes")

    def rest(self) -> Event | None:
        """What was left when the bytes ended, as if a blank line had followed; None: nothing, or no UTF-8, was left."""
        if not self._held:
            return None
        if self._line < len(self._held):
            self._take(bytes(self._held[self._line :]).removesuffix(b"\r"))
        raw = bytes(self._held)
        self._held.clear()
        self._line = self._seen = 0
        try:
            return self._event(raw)
        except Garbage:
            return None

    def _take(self, line: bytes) -> None:
        name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))

    def _event(self, raw: bytes) -> Event:
        lines, self._data = self._data, []
        try:
            return Event(raw, b"\n".join(lines).decode() if lines else None)
        except UnicodeDecodeError:
            raise Garbage("an event is not UTF-8") from None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the service counted."""

    prompt_tokens: int
    completion_tokens: int


class Part:
    """One choice, as far as it has come.

    Attributes:
        finish: why it ended; None: not yet. ``logprobs``: one object a token, as the wire has them; of plain text, one object a
            chunk, as of old. ``deltas``: how many parts with text came.
    """

    def __init__(self) -> None:
        self.finish: str | None = None
        self.logprobs: list[Mapping[str, Any]] = []
        self.deltas = 0
        self._said: dict[str, list[str]] = {"text": [], "thinking": [], "refusal": []}

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(self._said["text"])

    @property
    def thinking(self) -> str:
        """What was thought before it."""
        return "".join(self._said["thinking"])

    @property
    def refusal(self) -> str:
        """What was said in place of it."""
        return "".join(self._said["refusal"])

    def take(self, choice: Mapping[str, Any]) -> None:
        """Add a delta, a message or a plain text of this choice."""
        said = {kind: text for kind, text in said_in(choice).items() if text}
        self.deltas += bool(said)
        for kind, text in said.items():
            self._said[kind].append(text)
        finish = choice.get("finish_reason")
        self.finish = finish if isinstance(finish, str) and finish else self.finish
        self.logprobs += rows_of(choice)


def said_in(choice: Mapping[str, Any]) -> dict[str, str]:
    """What one chunk says of a choice: ``text``, ``thinking`` and ``refusal``, each empty where it says none."""
    said = _object(choice.get("delta")) or _object(choice.get("message")) or choice
    return {
        "text": _text(said.get("content")) or _text(said.get("text")),
        "thinking": _text(said.get("reasoning_content")) or _text(said.get("reasoning")),
        "refusal": _text(said.get("refusal")),
    }


def rows_of(choice: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The log-probabilities of one chunk."""
    given = _object(choice.get("logprobs"))
    rows: Any = given.get("content")
    if isinstance(rows, list):
        return [_object(r) for r in cast("list[Any]", rows)]
    return [given] if "token_logprobs" in given else []


@dataclass(eq=False, slots=True)
class Gathered:
    """A completion from its chunks, or from itself.

    Args:
        expected: how many choices were asked for.

    Attributes:
        choices: by index. ``usage``: where it was counted, and could be a count. ``error``: what the service says went wrong.
        done: whether it has said that nothing follows.
    """

    expected: int = 1
    choices: dict[int, Part] = field(default_factory=dict[int, Part])
    usage: Usage | None = None
    error: Mapping[str, Any] | None = None
    done: bool = False

    @property
    def whole(self) -> bool:
        """Whether every choice that was asked for has ended, or the service has said that nothing follows."""
        ended = sum(p.finish is not None for p in self.choices.values())
        return bool(self.choices) and (self.done or (ended == len(self.choices) and ended >= self.expected))

    def take(self, data: str) -> Mapping[str, Any]:
        """Add the JSON of one event, and give its object.

        Raises:
            Garbage: it is none, or its choices are none.
        """
        body = object_of(data)
        self.take_object(body)
        return body

    def take_object(self, body: Mapping[str, Any]) -> None:
        """Add a chunk, or a whole completion; raises as :meth:`take` does."""
        if body.get("error") is not None:
            error: Any = body["error"]
            self.error = _object(error) or {"message": str(error)}
            return
        self.usage = counted(body.get("usage")) or self.usage
        for choice in choices_of(body):
            index = choice.get("index", 0)
            if not isinstance(index, int) or not 0 <= index < MOST_CHOICES:
                raise Garbage("a choice has no index that could be one")
            self.choices.setdefault(index, Part()).take(choice)


def choices_of(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The choices of a chunk or completion.

    Raises:
        Garbage: they are no list of objects.
    """
    choices: Any = body.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in cast("list[Any]", choices)):
        raise Garbage("its choices are no list of objects")
    return cast("list[Mapping[str, Any]]", choices)


def counted(raw: object) -> Usage | None:
    """Usage as the wire has it; None where there is none, or what is there can be no count of tokens."""
    found = [_object(raw).get(k) for k in ("prompt_tokens", "completion_tokens")]
    counts = [n for n in found if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MOST_TOKENS]
    return Usage(*counts) if len(counts) == 2 else None


def logprob_of(row: Mapping[str, Any]) -> float:
    """The natural-log probability of a token; NaN where there is none, or what is there can be none."""
    p = row.get("logprob")
    if isinstance(p, bool) or not isinstance(p, int | float) or not -1e6 < p < 1e-3:
        return math.nan
    return min(float(p), 0.0)


def object_of(raw: bytes | str) -> Mapping[str, Any]:
    """The JSON object of a body.

    Raises:
        Garbage: it is none.
    """
    try:
        found: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise Garbage("it is no JSON") from None
    if not isinstance(found, dict):
        raise Garbage("it is no JSON object")
    return cast("dict[str, Any]", found)


def error_of(raw: bytes) -> Mapping[str, Any]:
    """The error object of a body; empty where it has none."""
    try:
        error: Any = object_of(raw).get("error")
    except Garbage:
        return {}
    return (
        cast("dict[str, Any]", error)
        if isinstance(error, dict)
        else {"message": error}
        if isinstance(error, str)
        else {}
    )


def _object(raw: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", raw) if isinstance(raw, dict) else {}


def _text(raw: object) -> str:
    return raw if isinstance(raw, str) else ""
