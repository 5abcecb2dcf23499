"""Requests passed on: the same bytes go out and come back, the key stays, and no stream breaks off in silence."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("httpx2")

import httpx2

from homing.conversation import Conversation
from homing.errors import HomingError
from homing.gateway.members import without
from homing.gateway.problems import WireError, problem_of
from homing.gateway.sse import DONE, EventStream
from homing.gateway.upstream import Answer, Relay
from homing.models.chunks import Events, Usage
from homing.models.remote import Remote
from homing.testing import upstream
from homing.testing.upstream import CUT, HANG_UP, OVERFLOW, Deed, Upstream, busy, fails, garbage, late
from homing.testing.upstream_flow import Flow, events_of

KEY = "sk-a-very-secret-key-0123456789"
TEXT = "Zwölf große Möwen 🕊 fliegen."
CHAT, PLAIN = "/v1/chat/completions", "/v1/completions"
ASKED: dict[str, Any] = {"model": "x", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", KEY)


@asynccontextmanager
async def relaying(up: Upstream | str, **more: Any) -> AsyncGenerator[Relay, None]:
    url = up if isinstance(up, str) else up.url
    async with Relay(Remote(url, "UP_KEY", **more)) as relay:
        yield relay


def body(**more: Any) -> bytes:
    return json.dumps({**ASKED, **more}).encode()


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        await asyncio.sleep(0.01)


async def read(relay: Relay, raw: bytes = b"", path: str = CHAT) -> tuple[Answer, bytes]:
    async with await relay.open(path, raw or body(stream=True)) as answer:
        return answer, b"".join([c async for c in answer.chunks()])


def error_in(raw: bytes) -> dict[str, Any]:
    """The last event, which must be an error, whole and on a line of its own."""
    *_, last, empty = raw.split(b"\n\n")
    assert empty == b"" and last.startswith(b"data: "), raw[-200:]
    error = json.loads(last[6:])["error"]
    assert isinstance(error, dict) and isinstance(error["message"], str) and error["message"]
    return error


# -- what goes out -------------------------------------------------------------------------------------------------------


async def test_a_request_goes_on_byte_for_byte_but_for_our_own_object() -> None:
    raw = (
        b'{ "model": "x",\n "homing" : {"hold": "cap", "a": [1, "}"]} , "messages": [{"role":"user","content":"\\u00e4 \xc3\xa4",'
        b' "name": null}], "temperature": 1e0, "top_k": 1.50, "tools": [{"type": "function", "homing": 1}],\t"logit_bias": {},'
        b' "response_format": {"type": "json_object"}, "vllm_xargs": {"a": 12345678901234567890} }'
    )
    headers = {
        "authorization": "Bearer sk-client", "x-request-id": "r-1", "traceparent": "00-ab", "cookie": "a=b", "host": "evil",
        "openai-organization": "o", "x-api-key": "sk-client", "accept": "x", "accept-encoding": "gzip", "content-length": "3",
    }  # fmt: skip
    with Upstream() as up:
        async with relaying(up) as relay:
            await relay.open(CHAT, raw, headers)
            await relay.open(CHAT, body(), {"x-request-id": "a\r\nX-Evil: 1", "traceparent": "x" * 300})
    first, second = up.asked
    assert first.raw == raw.replace(b'\n "homing" : {"hold": "cap", "a": [1, "}"]} ,', b"")
    assert second.raw == body()
    assert first.key == KEY and first.headers["x-request-id"] == "r-1" and first.headers["traceparent"] == "00-ab"
    assert set(first.headers) == {
        "host", "connection", "content-length", "content-type", "accept", "accept-encoding", "user-agent", "authorization",
        "x-request-id", "traceparent",
    }  # fmt: skip
    assert "sk-client" not in str(first.headers) and first.headers["host"].startswith("127.0.0.1")
    assert not {"x-request-id", "traceparent", "x-evil"} & set(second.headers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=4), JSON, max_size=5),
    JSON,
    st.integers(0, 5),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_one_member_is_taken_out_and_nothing_else_changes(
    rest: dict[str, Any], ours: Any, at: int, indent: int | None, plain: bool
) -> None:
    rest.pop("homing", None)
    members = list(rest.items())
    whole = dict([*members[:at], ("homing", ours), *members[at:]])
    raw = json.dumps(whole, indent=indent, ensure_ascii=plain).encode(errors="surrogatepass")
    try:
        raw.decode()
    except UnicodeDecodeError:
        with pytest.raises(WireError):
            without(raw, "homing")
        return
    left = without(raw, "homing")
    assert json.loads(left) == rest and "homing" not in json.loads(left)
    assert without(left, "homing") == left


WRONG = [
    "",
    "[]",
    "3",
    "{",
    "{}x",
    "{,}",
    '{"a":1,}',
    '{"a" 1}',
    '{"a":1 "b":2}',
    '{"a":NaN}',
    "{1:2}",
    "\ufeff{}",
    '{"a":' + "[" * 99999,
]


@pytest.mark.parametrize("raw", WRONG)
async def test_what_is_no_json_object_goes_nowhere(raw: str) -> None:
    with Upstream() as up:
        async with relaying(up) as relay:
            with pytest.raises(WireError) as caught:
                await relay.open(CHAT, raw.encode())
            assert caught.value.status == 400
            with pytest.raises(WireError, match="named twice"):
                await relay.open(CHAT, b'{"model": "x", "mod\\u0065l": "y"}')
            with pytest.raises(ValueError, match="not passed on"):
                await relay.open("/v1/../admin", body())
        assert up.opened == 0


# -- what comes back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CHAT, PLAIN])
async def test_a_whole_answer_comes_back_as_it_is(path: str) -> None:
    asked = body() if path == CHAT else json.dumps({"model": "x", "prompt": "Go on", "homing": {}}).encode()
    raw = None
    with Upstream(say=lambda c, b: TEXT) as up:
        async with relaying(up) as relay:
            answer = await relay.open(path, asked)
            raw = json.loads(answer.raw)
            assert (answer.status, answer.streams, answer.refusal) == (200, False, None)
            assert answer.headers == {"content-type": "application/json"}
            assert (answer.text, answer.finish) == (TEXT, "stop")
            assert answer.usage == Usage(raw["usage"]["prompt_tokens"], 5)
            with pytest.raises(ValueError, match="no stream"):
                await anext(answer.chunks())
    assert up.asked[0].path == path
    kept = b'{"choices" : [{"index":0,"message":{"content":"a","tool_calls":[]},"finish_reason":"stop"}],\n"x":1.0}'
    with Upstream(rule=lambda n: garbage(kept)) as up:
        async with relaying(up) as relay:
            assert (await relay.open(path, asked)).raw == kept


FLOWS = [
    Flow(),
    Flow(piece_bytes=1),
    Flow(piece_bytes=3, crlf=True),
    Flow(piece_bytes=11, comments=True),
    Flow(crlf=True, comments=True),
]


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("path", [CHAT, PLAIN])
async def test_a_stream_comes_back_as_it_is_and_its_end_is_held_back(
    flow: Flow, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "time", SimpleNamespace(time=lambda: 1.0, monotonic=time.monotonic))
    more = {"stream": True, "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 1}
    asked = body(**more) if path == CHAT else json.dumps({"model": "x", "prompt": "Go on", "stream": True}).encode()
    with Upstream(say=lambda c, b: TEXT, tops=lambda c: {"Z": 0.5}, rule=lambda n: Deed(flow=flow)) as up:
        async with relaying(up) as relay:
            answer, raw = await read(relay, asked, path)
            assert answer.streams and answer.trouble is None and answer.headers == {"content-type": "text/event-stream"}
        whole = list(events_of(up.completion(up.asked[0]), up.asked[0].body))
    sent = b"".join(b": still here\n\n" + e if flow.comments else e for e in whole)
    assert raw + answer.done == (sent.replace(b"\n", b"\r\n") if flow.crlf else sent)
    assert answer.done.strip() == b"data: [DONE]"
    assert (answer.text, answer.finish) == (TEXT, "stop")
    assert answer.usage is not None and answer.usage.completion_tokens == 5
    assert [r["token"] for r in answer.logprobs] == (["Z"] if path == CHAT else [])


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["content", "reasoning_content", "comment", "split"]),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=12),
        st.integers(0, 2),
    ),
    max_size=8,
)


@given(EVENTS, st.booleans(), st.lists(st.integers(1, 400), max_size=12))
@settings(max_examples=200, deadline=None)
def test_the_same_bytes_give_the_same_whatever_they_are_split_into(
    wanted: list[tuple[str, str, int]], crlf: bool, cuts: list[int]
) -> None:
    line, raw, texts = "\r\n" if crlf else "\n", "", {0: "", 1: "", 2: ""}
    for kind, text, index in wanted:
        if kind == "comment":
            raw += f": {text!a}{line}"
            continue
        field = "reasoning_content" if kind == "reasoning_content" else "content"
        texts[index] += text if field == "content" else ""
        event = json.dumps({"choices": [{"index": index, "delta": {field: text}}]}, ensure_ascii=False)
        # one event of two data lines is one text with a line end between them, which JSON takes for space
        raw += f"data: {event[:11]}{line}data:{event[11:]}{line * 2}" if kind == "split" else f"data: {event}{line * 2}"
    raw += (
        f'data: {{"choices": [{{"index": 0, "delta": {{}}, "finish_reason": "stop"}}]}}{line * 2}data: [DONE]{line * 2}'
    )
    answer, out = asyncio.run(relayed(raw.encode(), cuts))
    assert out + answer.done == raw.encode() and answer.trouble is None
    assert {k: p.text for k, p in answer.choices.items()} == {k: texts[k] for k in answer.choices}
    assert all(k in answer.choices for k, t in texts.items() if t)


class Pieces(httpx2.AsyncByteStream):
    """Bytes split where it is told."""

    def __init__(self, raw: bytes, sizes: list[int]) -> None:
        self.raw, self.sizes, self.closed = raw, sizes, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        at = 0
        for size in [*self.sizes, len(self.raw)]:
            if at < len(self.raw):
                yield self.raw[at : at + size]
            at += size

    async def aclose(self) -> None:
        self.closed = True


async def relayed(raw: bytes, sizes: list[int]) -> tuple[Answer, bytes]:
    """What a relay makes of a stream that comes in pieces."""
    pieces = Pieces(raw, sizes)
    head = {"content-type": "text/event-stream"}
    async with Relay(Remote("http://127.0.0.1:1/v1")) as relay:
        await relay._client.aclose()
        relay._client = httpx2.AsyncClient(
            transport=httpx2.MockTransport(lambda request: httpx2.Response(200, headers=head, stream=pieces))
        )
        answer, out = await read(relay)
    assert pieces.closed
    return answer, out


@pytest.mark.parametrize(
    "counts", [{"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": 1e300, "completion_tokens": "x"}]
)
async def test_absurd_counts_pass_and_are_not_believed(counts: dict[str, Any]) -> None:
    with Upstream(rule=lambda n: Deed(counts=counts)) as up:
        async with relaying(up) as relay:
            answer, raw = await read(relay, body(stream=True, stream_options={"include_usage": True}))
            assert answer.usage is None and json.dumps(counts).encode() in raw and answer.trouble is None


# -- what goes wrong -----------------------------------------------------------------------------------------------------

OWN = b'{ "error" : {"message":"no", "type": "odd", "param":null,"code":"c", "more": 1.0} }'


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("deed", "status", "code", "same"),
    [
        (OVERFLOW, 400, "context_length_exceeded", True),
        (Deed(418, raw=OWN), 418, "c", True),
        (busy(7), 429, "rate_limit_exceeded", True),
        (fails(500, "boom"), 500, "boom", True),
        (Deed(503, raw=b"<html>down</html>", kind="text/html"), 503, "upstream_error", False),
        (Deed(400, raw=b'{"error": "just text"}'), 400, "upstream_error", False),
        (Deed(422, raw=b'{"detail": []}'), 422, "upstream_error", False),
        (Deed(500, raw=b""), 500, "upstream_error", False),
        (Deed(401, raw=OWN), 401, "upstream_key", False),
        (Deed(403, raw=b'{"error": {"message": "no %s", "code": "k"}}' % KEY.encode()), 403, "k", False),
    ],
)
async def test_errors_keep_their_status_and_have_the_shape_of_the_wire(
    deed: Deed, status: int, code: str, same: bool, streams: bool
) -> None:
    with Upstream(rule=lambda n: deed) as up:
        async with relaying(up) as relay:
            answer = await relay.open(CHAT, body(stream=streams))
    error = json.loads(answer.raw)["error"]
    assert (answer.status, answer.streams) == (status, False) and error["code"] == code and error["message"]
    assert answer.headers["content-type"] == "application/json" and KEY.encode() not in answer.raw
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)
    assert answer.refusal is not None and problem_of(answer.refusal).body == json.loads(answer.raw)
    assert answer.refusal.status == status and answer.refusal.headers.get("retry-after") == answer.headers.get(
        "retry-after"
    )
    if same and deed.raw is not None:
        assert answer.raw == deed.raw
    assert len(up.asked) == 1


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("deed", "status", "code"),
    [
        (HANG_UP, 502, "upstream_cut"),
        (late(30), 504, "upstream_timeout"),
        (garbage(), 502, "upstream_garbage"),
        (garbage(b"x" * 70_000), 502, "upstream_garbage"),
        (garbage(b"{}"), 502, "upstream_garbage"),
        (Deed(headers=(("Content-Encoding", "gzip"),)), 502, "upstream_garbage"),
        (Deed(307, headers=(("Location", "http://127.0.0.1:9/"),)), 502, "upstream_garbage"),
    ],
)
async def test_before_anything_was_sent_trouble_is_an_error_of_its_own(
    deed: Deed, status: int, code: str, streams: bool
) -> None:
    with Upstream(rule=lambda n: deed) as up:
        async with relaying(up, read_seconds=0.3, idle_seconds=0.3, max_answer=60_000) as relay:
            if streams and deed.headers and deed.status == 200:
                answer, raw = await read(relay)
                assert answer.trouble is not None and error_in(raw)["code"] == code
                return
            with pytest.raises(WireError) as caught:
                await relay.open(CHAT, body(stream=streams))
            assert (caught.value.status, caught.value.code) == (status, code)
            assert KEY not in str(caught.value.body) and up.url not in caught.value.message
            if deed.delay_seconds:
                await until(lambda: up.asked[0].left)
        await until(lambda: up.connections == 0)
    assert len(up.asked) == 1


async def test_an_error_under_a_status_of_success_is_an_error() -> None:
    with Upstream(rule=lambda n: garbage(OWN)) as up:
        async with relaying(up) as relay:
            answer = await relay.open(CHAT, body())
            assert answer.status == 502 and answer.raw == OWN and answer.refusal is not None


async def test_nobody_there_and_no_connection_left() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with relaying(f"http://127.0.0.1:{taken.getsockname()[1]}/v1") as relay:
            with pytest.raises(WireError, match="cannot be reached") as caught:
                await relay.open(CHAT, body())
            assert caught.value.status == 502
    with Upstream(rule=lambda n: Deed(flow=Flow(stall_after=1))) as up:
        async with relaying(up, connections=1, connect_seconds=0.1) as relay, await relay.open(CHAT, body(stream=True)):
            with pytest.raises(WireError) as caught:
                await relay.open(CHAT, body())
            assert caught.value.status == 429 and caught.value.headers == {"Retry-After": "1"}


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        (CUT, "upstream_cut"),
        (Deed(flow=Flow(only=3)), "upstream_cut"),
        (Deed(flow=Flow(only=3, extra=b'data: {"choices": [{"index": 0, "del', after=3)), "upstream_cut"),
        (Deed(flow=Flow(only=0)), "upstream_cut"),
        (Deed(flow=Flow(stall_after=3)), "upstream_timeout"),
        (Deed(flow=Flow(stall_after=3, extra=b'data: {"cho', after=3)), "upstream_timeout"),
        (Deed(flow=Flow(extra=b"data: <html>\n\n")), "upstream_garbage"),
        (Deed(flow=Flow(extra=b"data: \xff\xff\n\n")), "upstream_garbage"),
        (Deed(flow=Flow(extra=b"data: [DONE\n\n")), "upstream_garbage"),
        (Deed(flow=Flow(extra=b"data: " + b"x" * 50_000)), "upstream_garbage"),
        (Deed(flow=Flow(extra=b"data: " + b"x" * 50_000, piece_bytes=999)), "upstream_garbage"),
        (Deed(flow=Flow(extra=b": x\n\n" * 99, repeat=400)), "upstream_garbage"),
        (Deed(flow=Flow(extra=b"data: " + OWN + b"\n\n")), "c"),
        (Deed(flow=Flow(extra=b'data: {"error": "out of luck"}\n\n')), None),
        (Deed(flow=Flow(extra=b'data: {"error": {"message": "no %s"}}\n\n' % KEY.encode())), None),
    ],
)
async def test_a_stream_that_breaks_off_ends_with_an_error_and_never_in_silence(deed: Deed, code: str | None) -> None:
    with Upstream(say=lambda c, b: TEXT, rule=lambda n: deed) as up:
        async with relaying(up, idle_seconds=0.15, max_event=40_000, max_answer=150_000) as relay:
            answer, raw = await read(relay)
            assert error_in(raw).get("code") == code
            assert answer.trouble is not None and answer.done == DONE
            assert b"[DONE" not in raw and KEY.encode() not in raw and KEY not in str(answer.trouble.body)
            for event in Events(2**20).feed(raw):  # whatever a client has read was whole
                assert event.data is None or json.loads(event.data)
            if code == "c":
                assert raw.endswith(b"data: " + OWN + b"\n\n")
            whole = b"".join([c async for c in (await relay.open(CHAT, body(stream=True))).body(nothing)])
            assert whole.endswith(b"}\n\ndata: [DONE]\n\n") and "error" in json.loads(whole.split(b"\n\n")[-3][6:])
        await until(lambda: up.connections == 0)


async def test_several_choices_are_whole_when_all_of_them_have_ended() -> None:
    with Upstream(rule=lambda n: Deed(flow=Flow(only=3))) as up:  # the one choice it has ends, and no [DONE] comes
        async with relaying(up) as relay:
            answer, raw = await read(relay, body(stream=True, n=1))
            assert answer.trouble is None and answer.finish == "stop" and answer.done == DONE and b"error" not in raw
            answer, raw = await read(relay, body(stream=True, n=2))
            assert answer.trouble is not None and error_in(raw)["code"] == "upstream_cut"


# -- a client that reads -------------------------------------------------------------------------------------------------


async def nothing(answer: Answer) -> bytes:
    return b""


async def test_the_end_is_sent_after_what_the_caller_does_with_the_reply() -> None:
    seen: list[str] = []

    async def end(answer: Answer) -> bytes:
        seen.append(answer.text)
        return b": kept\n\n"

    async def fails_to(answer: Answer) -> bytes:
        raise HomingError("the store is gone")

    with Upstream(say=lambda c, b: TEXT, rule=lambda n: Deed(flow=Flow(crlf=True))) as up:
        async with relaying(up) as relay:
            raw = b"".join([c async for c in (await relay.open(CHAT, body(stream=True))).body(end)])
            assert raw.endswith(b": kept\n\ndata: [DONE]\r\n\r\n") and seen == [TEXT]
            out, stream = [], (await relay.open(CHAT, body(stream=True))).body(fails_to)
            with pytest.raises(HomingError):
                async for c in stream:
                    out.append(c)
            assert out[-1] == DONE and error_in(out[-2])["message"] == "the store is gone"


async def test_a_client_that_leaves_closes_the_upstream_at_once() -> None:
    with Upstream(say=lambda c, b: TEXT, rule=lambda n: Deed(flow=Flow(stall_after=3))) as up:
        async with relaying(up) as relay:
            gone, sent = asyncio.Event(), []

            async def receive() -> dict[str, Any]:
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                sent.append(message)
                if message.get("body"):
                    gone.set()

            await EventStream((await relay.open(CHAT, body(stream=True))).body(nothing))({}, receive, send)
            assert len(sent) >= 2 and sent[0]["status"] == 200
            await until(lambda: up.asked[0].left)
            # gone before the first byte, and while the head is waited for
            gone.set()
            await EventStream((await relay.open(CHAT, body(stream=True))).body(nothing))({}, receive, send)
            await until(lambda: up.asked[1].left)
            never = (await relay.open(CHAT, body(stream=True))).body(nothing)
            await never.aclose()
            await until(lambda: up.asked[2].left)
            async with aclosing((await relay.open(CHAT, body(stream=True))).body(nothing)) as stream:
                await anext(stream)
            await until(lambda: up.asked[3].left)
            up.rule = lambda n: late(30)
            opening = asyncio.ensure_future(relay.open(CHAT, body(stream=True)))
            await until(lambda: len(up.asked) == 5)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await until(lambda: up.asked[4].left)
        await until(lambda: up.connections == 0)


async def test_the_upstream_waits_for_a_slow_reader() -> None:
    part = b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n' % (b"x" * 60_000)
    with Upstream(rule=lambda n: Deed(flow=Flow(extra=part, repeat=700))) as up:
        async with relaying(up, max_answer=2**27) as relay:
            stream = (await relay.open(CHAT, body(stream=True))).body(nothing)
            await anext(stream)
            before = -1
            while up.asked[0].sent != before:  # what the sockets hold fills up, and then nothing moves
                before = up.asked[0].sent
                await asyncio.sleep(0.1)
            assert before < 700 * 60_000 / 2
            assert sum([len(chunk) async for chunk in stream]) > 690 * 60_000


async def test_the_key_goes_to_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream() as other:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, other.url.removesuffix("/v1"))
        where = (("Location", f"{other.url}/chat/completions"), ("Set-Cookie", "a=b; Path=/"))
        with Upstream(script=[Deed(s, headers=where) for s in (301, 302, 303, 307, 308)]) as up:
            async with relaying(up) as relay:
                for _ in range(5):
                    with pytest.raises(WireError, match="not followed") as caught:
                        await relay.open(CHAT, body())
                    assert "location" not in {k.lower() for k in caught.value.headers}
                assert "set-cookie" not in (await relay.open(CHAT, body(), {"host": "evil"})).headers
        assert other.opened == 0 and "cookie" not in up.asked[-1].headers


async def test_connections_are_used_again_and_none_is_left() -> None:
    def say(c: Conversation, b: Any) -> str:
        return c[-1].content

    async def one(relay: Relay, k: int) -> None:
        raw = body(stream=bool(k % 2), messages=[{"role": "user", "content": f"number {k}"}])
        async with await relay.open(CHAT, raw) as answer:
            if answer.streams:
                assert [c async for c in answer.chunks()]
            assert answer.text == f"number {k}" and answer.trouble is None

    with Upstream(say=say, keep_alive=True, rule=lambda n: Deed(flow=Flow(piece_bytes=300))) as up:
        async with relaying(up, connections=32) as relay:
            for k in range(200):
                await one(relay, k)
            assert up.opened <= 2
            async with asyncio.TaskGroup() as group:
                for k in range(32):
                    group.create_task(one(relay, k))
            assert up.connections <= 32
        await until(lambda: up.connections == 0)
    assert len(up.asked) == 232
