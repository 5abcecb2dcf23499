"""How a fake service sends a stream: its events, and what can be wrong with them and with the way they are sent."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SMOOTH", "Flow", "events_of", "flowing", "left"]


@dataclass(frozen=True, slots=True)
class Flow:
    """How a stream goes out.

    Attributes:
        piece_bytes: sent at a time; 0: all at once. ``crlf``: lines end with CRLF. ``comments``: between events.
        only: so many events are sent and no more, and the stream ends well; None: all.
        stall_after: events after which nothing comes any more until who asked has gone; None: it does not stall.
        after: events after which ``extra`` is sent, bytes that are no part of the completion. ``repeat``: how often.
    """

    piece_bytes: int = 0
    crlf: bool = False
    comments: bool = False
    only: int | None = None
    stall_after: int | None = None
    after: int = 1
    extra: bytes = b""
    repeat: int = 1


SMOOTH = Flow()


def left(connection: socket.socket, seconds: float) -> bool:
    """Whether who asked has closed the connection; waits so long for it."""
    ready, _, _ = select.select([connection], [], [], seconds)
    try:
        return bool(ready) and connection.recv(1, socket.MSG_PEEK) == b""
    except ConnectionError:
        return True


def flowing(flow: Flow, events: Iterator[bytes]) -> Iterator[bytes | None]:
    """The pieces to be sent; None where it stalls."""

    def wire() -> Iterator[bytes | None]:
        for n, event in enumerate(events):
            if n == flow.stall_after:
                yield None
            if flow.only is not None and n >= flow.only:
                return
            raw = b": still here\n\n" + event if flow.comments else event
            yield raw.replace(b"\n", b"\r\n") if flow.crlf else raw
            if n + 1 == flow.after and flow.extra:
                for _ in range(flow.repeat):
                    yield flow.extra

    for raw in wire():
        step = flow.piece_bytes or len(raw or b"")
        if raw is None:
            yield None
        else:
            yield from (raw[k : k + step] for k in range(0, len(raw), step))


def events_of(said: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes]:
    """A completion as the events of a stream, a word each."""
    (choice,) = said["choices"]
    if "text" in choice:
        for n, word in enumerate(choice["text"].split(" ")):
            part = {"index": 0, "text": word if n == 0 else f" {word}", "finish_reason": None, "logprobs": None}
            yield f"data: {json.dumps(dict(said, choices=[part], usage=None))}\n\n".encode()
        part = {"index": 0, "text": "", "finish_reason": choice["finish_reason"], "logprobs": None}
        yield f"data: {json.dumps(dict(said, choices=[part]))}\n\n".encode()
        yield b"data: [DONE]\n\n"
        return
    head = {k: said[k] for k in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def event(delta: Mapping[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
        part = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return f"data: {json.dumps({**head, 'choices': [part]})}\n\n".encode()

    yield event({"role": "assistant", "content": ""})
    kind = "refusal" if choice["message"]["refusal"] is not None else "content"
    for n, word in enumerate((choice["message"][kind] or "").split(" ")):
        yield event({kind: word if n == 0 else f" {word}"}, logprobs=choice["logprobs"] if n == 0 else None)
    yield event({}, choice["finish_reason"])
    options: Mapping[str, Any] = body.get("stream_options") or {}
    if options.get("include_usage") and "usage" in said:
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': said['usage']})}\n\n".encode()
    yield b"data: [DONE]\n\n"
