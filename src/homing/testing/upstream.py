"""A service on this machine that speaks the OpenAI wire and misbehaves when it is told to.

It listens on 127.0.0.1 in a thread of its own, answers ``/v1/chat/completions`` and ``/v1/completions`` whole or as a stream,
and ``/v1/models``, and remembers what it was asked and what it was paid for: a call is paid where a whole completion left it.
"""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol, Self

from homing.conversation import Conversation, Message
from homing.models.letters import ASKED, LETTERS
from homing.stats.seeds import stable_seed
from homing.testing.upstream_flow import SMOOTH, Flow, events_of, flowing, left

__all__ = [
    "ANSWER",
    "CUT",
    "EMPTY",
    "HANG_UP",
    "OVERFLOW",
    "REFUSE",
    "Asked",
    "Deed",
    "Subject",
    "Upstream",
    "behind",
    "busy",
    "fails",
    "garbage",
    "late",
    "says",
]

CHAT, PLAIN = "/v1/chat/completions", "/v1/completions"
Say = Callable[[Conversation, Mapping[str, Any]], str]
Tops = Callable[[Conversation], Mapping[str, float] | None]


@dataclass(frozen=True, slots=True)
class Deed:
    """What the service does with one call.

    Attributes:
        status: 200 for a completion, else an error with ``code`` in its body and ``headers`` beside it.
        text: of the reply, in place of what the subject says; None: what the subject says.
        finish: why it ended. ``refusal``: the text is a refusal's.
        delay_seconds: before anything is sent. ``cut``: half of the body is sent and the connection closed.
        hang_up: the connection is closed and nothing sent. ``raw``: sent in place of a completion.
        logprobs: given where they are asked for and the subject has any. ``usage``: whether tokens are counted in the answer.
        counts: said in place of what was counted. ``flow``: how a stream goes out.
        kind: content type in place of the right one.
    """

    status: int = 200
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    finish: str = "stop"
    refusal: bool = False
    delay_seconds: float = 0.0
    cut: bool = False
    hang_up: bool = False
    raw: bytes | None = None
    logprobs: bool = True
    usage: bool = True
    counts: Mapping[str, Any] | None = None
    flow: Flow = SMOOTH
    kind: str = ""


ANSWER = Deed()
CUT = Deed(cut=True)
HANG_UP = Deed(hang_up=True)
EMPTY = Deed(text="")
REFUSE = Deed(text="I cannot help with that.", refusal=True, finish="content_filter")
OVERFLOW = Deed(400, code="context_length_exceeded")


def fails(status: int, code: str = "") -> Deed:
    """An error, such as 401, 403, 404, 500 or 503."""
    return Deed(status, code=code)


def busy(after_seconds: float) -> Deed:
    """Status 429, and when to come back."""
    return Deed(429, code="rate_limit_exceeded", headers=(("Retry-After", f"{after_seconds:g}"),))


def late(seconds: float) -> Deed:
    """A good answer that comes late."""
    return Deed(delay_seconds=seconds)


def garbage(body: bytes = b"<html>It works!</html>") -> Deed:
    """Status 200 and a body that is no completion."""
    return Deed(raw=body)


def says(text: str) -> Deed:
    """The same text whatever is asked, as of a model that ignores the format."""
    return Deed(text=text, logprobs=False)


@dataclass(eq=False, slots=True)
class Asked:
    """One call.

    Attributes:
        deed: what was done with it. ``paid``: a whole completion left the service. ``key``: that came with it.
        path, headers, raw: as they came. ``left``: who asked closed the connection before the answer had ended.
        sent: bytes of the answer's body that were handed on.
    """

    body: Mapping[str, Any]
    deed: Deed
    key: str = ""
    paid: bool = False
    path: str = CHAT
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    raw: bytes = b""
    left: bool = False
    sent: int = 0

    @property
    def conversation(self) -> Conversation:
        """What was sent; of plain text, as the user's message."""
        if "messages" not in self.body:
            return Conversation.of(str(self.body["prompt"]))
        return Conversation(tuple(Message(m["role"], m["content"]) for m in self.body["messages"]))


@dataclass(eq=False)
class Upstream:
    """The service; it runs between ``with`` and the end of its block.

    Args:
        say: text of a reply, from the conversation and the request's JSON. ``tops``: probability of the first token by its text,
            or None where the subject has none.
        rule: what is done with a call, by its number from 0, once the script is used up.
        script: what is done with the first calls, one each.
        name: of the model that is listed. Another one that is asked for is answered with 404.
        keep_alive: whether a connection serves several calls.

    Attributes:
        asked: every call for a completion, in the order of their coming. ``connections``: open now. ``opened``: so far.
    """

    say: Say = lambda c, body: "Yes."
    tops: Tops = lambda c: None
    rule: Callable[[int], Deed] = lambda n: ANSWER
    script: Sequence[Deed] = ()
    name: str = "x"
    keep_alive: bool = False
    connections: int = field(default=0, init=False)
    opened: int = field(default=0, init=False)
    asked: list[Asked] = field(default_factory=list[Asked], init=False)

    def __enter__(self) -> Self:
        self._left = list(self.script)
        self._lock = threading.Lock()  # protects asked and the rest of the script: each call has a thread of its own
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The base address, as ``<SERVICE>_BASE_URL`` takes it."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def paid(self) -> int:
        """Calls that a whole completion was given for."""
        return sum(a.paid for a in self.asked)

    def connected(self, by: int) -> None:
        """Note that a connection was opened, 1, or closed, -1."""
        with self._lock:
            self.connections += by
            self.opened += max(by, 0)

    def take(self, body: Mapping[str, Any], key: str) -> Asked:
        """Note a call, and say what is to be done with it."""
        with self._lock:
            deed = self._left.pop(0) if self._left else self.rule(len(self.asked))
            if body.get("model") != self.name and deed.status == 200:
                deed = fails(404, "model_not_found")
            asked = Asked(body, deed, key)
            self.asked.append(asked)
            return asked

    def wait(self, asked: Asked, connection: socket.socket, seconds: float) -> None:
        """A delay that ends when the service does, or when who asked has gone, which is noted."""
        until = time.monotonic() + seconds
        while not (self._closing.is_set() or asked.left) and (rest := until - time.monotonic()) > 0:
            asked.left = left(connection, min(rest, 0.02))

    def completion(self, asked: Asked) -> dict[str, Any]:
        """The whole completion of a call."""
        deed, body, conversation = asked.deed, asked.body, asked.conversation
        text = self.say(conversation, body) if deed.text is None else deed.text
        first = self.tops(conversation) if body.get("logprobs") and deed.logprobs and deed.text is None else None
        words = text.split(" ")
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(words)
        finish = deed.finish if len(words) <= limit else "length"
        text = " ".join(words[:limit])
        message = {
            "role": "assistant",
            "content": None if deed.refusal else text,
            "refusal": text if deed.refusal else None,
        }
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        if first:
            best = max(first, key=first.__getitem__)
            likely = sorted(first.items(), key=lambda x: -x[1])[: body.get("top_logprobs") or 0]
            rows = [{"token": t, "logprob": math.log(max(p, 1e-12)), "bytes": None} for t, p in likely]
            chosen = {"token": best, "logprob": math.log(max(first[best], 1e-12)), "bytes": None, "top_logprobs": rows}
            choice["logprobs"] = {"content": [chosen], "refusal": None}
        made: dict[str, Any] = {
            "id": f"chatcmpl-{len(self.asked)}", "object": "chat.completion", "created": int(time.time()),
            "model": self.name, "choices": [choice],
        }  # fmt: skip
        if deed.usage:
            sent, new = sum(len(m.content.split()) for m in conversation), len(text.split())
            made["usage"] = {"prompt_tokens": sent, "completion_tokens": new, "total_tokens": sent + new}
            made["usage"] = made["usage"] if deed.counts is None else dict(deed.counts)
        if asked.path == PLAIN:
            plain = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
            made |= {"object": "text_completion", "choices": [plain]}
        return made


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # many may ask at once


def _handler(up: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            up.connected(1)

        def finish(self) -> None:
            try:
                super().finish()
            finally:
                up.connected(-1)

        def handle(self) -> None:
            with suppress(ConnectionError):  # who asked has gone between two calls
                super().handle()

        def do_GET(self) -> None:
            if self.path.rstrip("/") == "/v1/models":
                self._json(200, {"object": "list", "data": [{"id": up.name, "object": "model", "owned_by": "homing"}]})
            else:
                self._json(404, {"error": {"message": f"no {self.path} here", "code": "not_found"}})

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path not in (CHAT, PLAIN):
                self._json(404, {"error": {"message": f"no {self.path} here", "code": "not_found"}})
                return
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            asked = up.take(json.loads(raw), key)
            asked.path, asked.raw = self.path, raw
            asked.headers = {name.lower(): value for name, value in self.headers.items()}
            up.wait(asked, self.connection, asked.deed.delay_seconds)
            try:
                self._answer(asked)
            except ConnectionError:  # who asked has gone
                asked.paid, asked.left = False, True
                self.close_connection = True

        def _answer(self, asked: Asked) -> None:
            deed = asked.deed
            if deed.hang_up or asked.left:
                self.close_connection = True
                return
            if deed.status != 200:
                kind = "invalid_request_error" if deed.status < 500 else "server_error"
                error = {"message": f"{deed.code or 'failed'} ({deed.status})", "type": kind, "code": deed.code or None}
                raw = json.dumps({"error": error}).encode() if deed.raw is None else deed.raw
                self._send(deed.status, deed.kind or "application/json", raw, deed.headers)
                return
            streams = bool(asked.body.get("stream")) and deed.raw is None
            raw = deed.raw
            flows = streams and deed.flow is not SMOOTH
            if raw is None:
                said = up.completion(asked)
                raw = b"".join(events_of(said, asked.body)) if streams else json.dumps(said).encode()
            kind = deed.kind or ("text/event-stream" if streams else "application/json")
            # before it is sent: who has read the whole of it may count at once
            asked.paid = not deed.cut and deed.raw is None
            if flows:
                self._flow(asked, kind, raw)
            else:
                self._send(200, kind, raw, deed.headers, cut=deed.cut)

        def _flow(self, asked: Asked, kind: str, raw: bytes) -> None:
            """A stream piece by piece, chunked, as real services send it."""
            self._head(200, (("Content-Type", kind), ("Transfer-Encoding", "chunked"), *asked.deed.headers))
            whole = (event + b"\n\n" for event in raw.split(b"\n\n")[:-1])
            for piece in flowing(asked.deed.flow, whole):
                if piece is None:
                    up.wait(asked, self.connection, 3600.0)
                    self.close_connection = True
                    return
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
                asked.sent += len(piece)
            if asked.deed.cut:  # the last chunk is missing, so who reads knows
                self.close_connection = True
                return
            self.wfile.write(b"0\r\n\r\n")

        def _json(self, status: int, value: Any, headers: Sequence[tuple[str, str]] = ()) -> None:
            self._send(status, "application/json", json.dumps(value).encode(), headers)

        def _head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
            self.send_response(status)
            # a connection that is kept alive would outlive the event loop of who asked, and be found unclosed by anyone
            self.close_connection = not up.keep_alive
            for name, value in (*headers, *(() if up.keep_alive else (("Connection", "close"),))):
                self.send_header(name, value)
            self.end_headers()

        def _send(
            self, status: int, kind: str, raw: bytes, headers: Sequence[tuple[str, str]] = (), *, cut: bool = False
        ) -> None:
            self._head(status, (("Content-Type", kind), ("Content-Length", str(len(raw))), *headers))
            self.wfile.write(raw[: len(raw) // 2] if cut else raw)
            self.wfile.flush()
            self.close_connection = self.close_connection or cut

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: what was asked is remembered, not printed."""

    return Handler


class Subject(Protocol):
    """A planted subject: what it says, and the log-probability of each option as its next reply."""

    def say(self, conversation: Conversation, /) -> str: ...
    def weigh(self, conversation: Conversation, options: Sequence[str], /) -> Sequence[float]: ...


def behind(subject: Subject, *, logprobs: bool = True, mass: float = 1.0) -> Upstream:
    """A service with a planted subject behind it: it replies in text, and answers a choice with a letter.

    A letter is drawn by the request's seed with the probabilities that the subject gives the options.

    Args:
        subject: such as a :class:`homing.testing.planted.DriftingSubject`. ``logprobs``: whether the service gives them.
        mass: probability that any of the letters is said; else it says something without one.
    """

    def letters(conversation: Conversation) -> dict[str, float] | None:
        question, options = _choice(conversation)
        if not options:
            return None
        weights = subject.weigh(question, options)
        shares = [math.exp(w - max(weights)) for w in weights]
        return {LETTERS[k]: mass * s / sum(shares) for k, s in enumerate(shares)} | {"Well": 1 - mass}

    def say(conversation: Conversation, body: Mapping[str, Any]) -> str:
        found = letters(conversation)
        if found is None:
            return subject.say(conversation)
        if not body.get("temperature"):
            return max(found, key=found.__getitem__)
        at = (stable_seed("letter", conversation.digest, body.get("seed")) + 0.5) / 2**31
        for letter, p in found.items():
            at -= p
            if at < 0:
                return letter
        return "Well"

    return Upstream(say, letters if logprobs else lambda c: None)


def _choice(conversation: Conversation) -> tuple[Conversation, list[str]]:
    """The conversation as it was before a choice was asked with letters, and the options; none where none was."""
    head, sep, _ = conversation[-1].content.rpartition(f"\n\n{ASKED}")
    question, _, listed = head.rpartition("\n\n")
    rows = listed.split("\n")
    if not sep or not all(r.startswith(f"{LETTERS[k]}) ") for k, r in enumerate(rows)):
        return conversation, []
    return conversation.edit(-1, question), [r[3:] for r in rows]
