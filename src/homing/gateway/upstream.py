"""Requests passed on to another service of the OpenAI wire, and its answers passed back as they are.

What a client sends goes on byte for byte but for our own object ``homing``; of its headers a fixed few go with it, its key never.
What comes back is read on the side. A stream is passed on by whole events, nothing is read before the client has taken what
came before, and its ``[DONE]`` is held back until the turn is kept. A stream that breaks off ends with an error and never as if
it were whole.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, cast

import httpx2

from homing.gateway.members import without
from homing.gateway.problems import WireError, problem_of
from homing.gateway.sse import DONE, data
from homing.models.chunks import Event, Garbage, Gathered, Part, Usage, error_of, object_of
from homing.models.remote import Remote

__all__ = ["FORWARDED", "PATHS", "Answer", "Refusal", "Relay"]

PATHS = ("/v1/chat/completions", "/v1/completions")
FORWARDED = ("x-request-id", "traceparent")
"""Headers that go on with a request."""
RETURNED = ("content-type", "retry-after", "retry-after-ms")
"""Headers that come back with an answer."""
_VALUE = re.compile(r"[\x20-\x7e]{1,256}")


class Refusal(WireError):
    """The upstream's own error, with the body that it gave."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(status, str(body["error"].get("message", "")), headers=headers)
        self._body = dict(body)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that is sent."""
        return self._body


class Relay:
    """The way to one upstream.

    Args:
        remote: where it is, and with which key; a request cannot choose either.
    """

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self._client = remote.client()

    async def open(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request on, and wait for the answer: the whole of it, or the head of one that is streamed.

        Args:
            path: one of ``PATHS``. ``body``: the client's JSON object, as it came. ``headers``: of the request, lower case.

        Returns:
            To be closed. A status of 400 or over is an answer too.

        Raises:
            WireError: 400, the body is no JSON object, or names a field twice; 429, every connection is taken; 502, the upstream
                cannot be reached, breaks off, or answers with no completion; 504, it does not answer in time.
        """
        if path not in PATHS:
            raise ValueError(f"path {path!r} is not passed on; use one of {', '.join(PATHS)}")
        sent = without(body, "homing")
        asked = object_of(sent)
        streams = asked.get("stream") is True
        given = {k: v for k in FORWARDED if _VALUE.fullmatch(v := (headers or {}).get(k, ""))}
        accept = {"Accept": "text/event-stream" if streams else "application/json"}
        request = self._client.build_request(
            "POST",
            self.remote.url + path.removeprefix("/v1"),
            content=sent,
            headers={**given, **accept, **self.remote.headers},
        )
        response: httpx2.Response | None = None
        try:
            async with asyncio.timeout(self.remote.read_seconds):
                response = await self._client.send(request, stream=True)
                return await self._answer(response, streams, _expected(asked))
        except BaseException as e:
            if response is not None:
                await response.aclose()
            if isinstance(e, httpx2.TransportError | TimeoutError | Garbage):
                raise self.problem(e) from None
            raise

    async def _answer(self, response: httpx2.Response, streams: bool, expected: int) -> Answer:
        kept = {k: v for k in RETURNED if (v := response.headers.get(k)) is not None}
        if 300 <= response.status_code < 400:
            raise Garbage(f"a redirect, status {response.status_code}, which is not followed")
        kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
        if response.status_code < 300 and (kind == "text/event-stream") and streams:
            return Answer(self, response, kept, Gathered(expected))
        raw = await self.remote.read(response)
        await response.aclose()
        if response.status_code >= 300:
            return self._refused(response.status_code, raw, kept)
        gathered = Gathered(expected)
        gathered.take_object(object_of(raw))
        if gathered.error is not None:  # some send an error under a status of success
            return self._refused(502, raw, kept)
        if streams:
            raise Garbage("no stream, which was asked for")
        if not gathered.choices:
            raise Garbage("it has no choices")
        return Answer(self, response, kept, gathered, raw)

    def _refused(self, status: int, raw: bytes, kept: Mapping[str, str]) -> Answer:
        """An error: its own body where that is the wire's, else one made around it."""
        raw = self.remote.hidden_bytes(raw)
        try:
            found: Any = object_of(raw)
            shaped = isinstance(found.get("error"), dict)
        except Garbage:
            found, shaped = None, False
        if status == 401:  # its client's key was right; and what a service says of a wrong key may show part of it
            told = "the upstream refuses the key of this deployment; who runs it has to set the right one"
            body = WireError(401, told, code="upstream_key").body
        elif shaped:
            body = cast("dict[str, Any]", found)
        else:
            said = str(error_of(raw).get("message", ""))[:200]
            told = f"the upstream answers with status {status}" + (f": {said}" if said else "")
            body = WireError(status, told, code="upstream_error").body
        if not shaped or status == 401:
            raw = json.dumps(body, ensure_ascii=False).encode()
            kept = {**kept, "content-type": "application/json"}
        refusal = Refusal(status, body, {k: v for k, v in kept.items() if k != "content-type"})
        return Answer(self, None, kept, Gathered(), raw, refusal)

    def problem(self, e: Exception) -> WireError:
        """What a client is told of an upstream that does not answer as it should; without its address or key."""
        if isinstance(e, httpx2.PoolTimeout):
            told = "every connection to the upstream is taken; come back later"
            return WireError(429, told, code="queue_full", headers={"Retry-After": "1"})
        if isinstance(e, httpx2.ConnectError | httpx2.ConnectTimeout):
            told = "the upstream cannot be reached; ask again later"
            return WireError(502, told, code="upstream_unreachable", headers={"Retry-After": "1"})
        if isinstance(e, TimeoutError | httpx2.TimeoutException):
            return WireError(504, "the upstream does not answer in time; ask again later", code="upstream_timeout")
        if isinstance(e, Garbage):
            told = f"the upstream answers with something that is no completion ({self.remote.hidden(str(e))})"
            return WireError(502, told, code="upstream_garbage")
        return WireError(502, "the upstream broke its answer off; ask again", code="upstream_cut")

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Answer:
    """What came back.

    Attributes:
        status: of HTTP. ``headers``: that go with it. ``streams``: whether it has to be read with ``chunks`` or ``body``.
        raw: bytes of an answer that is not streamed. ``refusal``: the upstream's error, to be raised where that suits; else None.
        done: what ends a stream, to be sent last. ``trouble``: why a stream broke off, once it was read; else None.
    """

    def __init__(
        self,
        relay: Relay,
        response: httpx2.Response | None,
        headers: Mapping[str, str],
        gathered: Gathered,
        raw: bytes | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        self._relay, self._response, self._gathered = relay, response, gathered
        self.status = refusal.status if refusal is not None else response.status_code if response is not None else 200
        self.headers, self.raw, self.refusal = dict(headers), raw or b"", refusal
        self.streams = raw is None
        self.done = DONE
        self.trouble: WireError | None = None

    @property
    def choices(self) -> Mapping[int, Part]:
        """Each choice by its index, as far as it has come."""
        return self._gathered.choices

    @property
    def text(self) -> str:
        """Of the first choice."""
        return self._first.text

    @property
    def finish(self) -> str | None:
        """Why the first choice ended, in the upstream's word; None: it has not."""
        return self._first.finish

    @property
    def logprobs(self) -> Sequence[Mapping[str, Any]]:
        """Of the first choice: one object a token, as the wire has them; empty where none were given."""
        return self._first.logprobs

    @property
    def usage(self) -> Usage | None:
        """Tokens that were counted; None: none were, or what was given can be no count."""
        return self._gathered.usage

    @property
    def _first(self) -> Part:
        return self._gathered.choices.get(0) or Part()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """A stream as it comes, byte for byte up to its ``[DONE]``, which is left in ``done``.

        Where it breaks off, the last bytes are an error event, and ``trouble`` says why. ``done`` is the caller's to send either
        way. Closing it closes the connection.
        """
        if not self.streams or self._response is None:
            raise ValueError("this answer is no stream; send its bytes")
        try:
            async with aclosing(self._relay.remote.events(self._response)) as parts:
                async for events in parts:
                    out = self._passed(events)
                    if out:
                        yield out
                    if self.trouble is not None:
                        return
            if not self._gathered.whole:
                yield self._broken(httpx2.RemoteProtocolError("it ended before its reply"))
        except (httpx2.TransportError, TimeoutError, Garbage) as e:
            if isinstance(e, Garbage) or not self._gathered.whole:
                yield self._broken(e)
        finally:
            await self.aclose()

    def _passed(self, events: Sequence[Event]) -> bytes:
        """The bytes of some events, up to the one that ends the stream or breaks it off."""
        out: list[bytes] = []
        for event in events:
            if event.done:
                self._gathered.done, self.done = True, event.raw
                break
            if event.data is not None:
                try:
                    self._gathered.take(event.data)
                except Garbage as e:
                    out.append(self._broken(e))
                    break
            if self._gathered.error is not None:
                self.trouble = WireError(502, "the upstream broke its answer off with an error", code="upstream_error")
                out.append(self._error(event))
                break
            out.append(event.raw)
        return b"".join(out)

    def _error(self, event: Event) -> bytes:
        """An error event, as it came where it is the wire's and has no key in it."""
        error = self._gathered.error or {}
        remote = self._relay.remote
        text = json.dumps(error, ensure_ascii=False)
        clean = remote.hidden(text) == text and remote.hidden_bytes(event.raw) == event.raw
        if clean and isinstance(object_of(event.data or "").get("error"), dict):
            return event.raw
        return data({"error": json.loads(remote.hidden(text))})

    def _broken(self, e: Exception) -> bytes:
        self.trouble = self._relay.problem(e)
        return data(self.trouble.body)

    def body(self, end: Callable[[Answer], Awaitable[bytes]]) -> AsyncGenerator[bytes, None]:
        """The whole of a stream for a client: its chunks, what ``end`` gives, and ``[DONE]``.

        Args:
            end: awaited once the stream is over, broken off or not (see ``trouble``); what it returns is sent, and may be empty.
                Where it fails the client is told, and the error is raised.

        Returns:
            A generator that closes the connection when it is closed, even where it was never begun.
        """
        return _Body(self, end)

    async def aclose(self) -> None:
        """Close the connection, or give it back where the answer was read to its end."""
        if self._response is not None:
            await self._response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Body(AsyncGenerator[bytes, None]):
    """A generator never begun runs no ``finally``, and a client may go before its first byte: so closing is done here."""

    def __init__(self, answer: Answer, end: Callable[[Answer], Awaitable[bytes]]) -> None:
        self._answer, self._all = answer, self._made(answer, end)

    async def _made(self, answer: Answer, end: Callable[[Answer], Awaitable[bytes]]) -> AsyncGenerator[bytes, None]:
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
        try:
            last = await end(answer)
        except Exception as e:  # whatever it is, the stream must not end as if all were well
            yield data(problem_of(e).body)
            yield DONE
            raise
        if last:
            yield last
        yield answer.done

    async def asend(self, value: None) -> bytes:
        """The next bytes."""
        return await self._all.asend(value)

    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> bytes:
        """As of any generator."""
        return await self._all.athrow(typ, val, tb)

    async def aclose(self) -> None:
        """End it, and the connection with it."""
        try:
            await self._all.aclose()
        finally:
            await self._answer.aclose()


def _expected(asked: Mapping[str, Any]) -> int:
    """How many choices a request asks for."""
    n, prompt = asked.get("n"), asked.get("prompt")
    many = (
        len(cast("list[Any]", prompt))
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list)
        else 1
    )
    return many * (n if isinstance(n, int) and n > 0 else 1)
