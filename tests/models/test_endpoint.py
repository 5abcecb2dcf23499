"""A model behind an endpoint that misbehaves: a reply is whole, or one sentence says why there is none."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("httpx2")

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import Busy, HomingError, InputError, ModelError, TooLong, Unsupported
from homing.models.base import Done, ReplyRequest, Token
from homing.models.calls import wait_of
from homing.models.chunks import Events, Garbage, Gathered, counted
from homing.models.endpoint import EndpointModel
from homing.models.remote import Remote
from homing.testing.upstream import (
    CUT,
    HANG_UP,
    OVERFLOW,
    REFUSE,
    Deed,
    Upstream,
    behind,
    busy,
    fails,
    garbage,
    late,
    says,
)
from homing.testing.upstream_flow import Flow

KEY = "sk-a-very-secret-key-0123456789"
HELLO = Conversation.of("Hello?", system="Be brief.")
TEXT = "One two three four."


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("UP_KEY", KEY)
    return "UP_KEY"


@asynccontextmanager
async def opened(url: str, *, model: str = "x", **settings: Any) -> AsyncGenerator[EndpointModel, None]:
    """A model and what it waited for, without waiting."""

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    waited: list[float] = []
    made = EndpointModel(Remote(url, **settings), model, wait=wait, draws=8)
    made.waited = waited  # type: ignore[attr-defined]
    try:
        yield made
    finally:
        await made.close()


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        await asyncio.sleep(0.01)


async def events_of(model: EndpointModel, **more: Any) -> tuple[list[Token], Done]:
    events = [e async for e in model.stream(HELLO, **more)]
    assert isinstance(events[-1], Done) and all(isinstance(e, Token) for e in events[:-1])
    return events[:-1], events[-1]  # type: ignore[return-value]


# -- replies -------------------------------------------------------------------------------------------------------------


async def test_a_reply_is_asked_for_as_the_wire_has_it(key: str) -> None:
    with Upstream(say=lambda c, b: TEXT) as up:
        async with opened(up.url + "/", key_variable=key) as model:
            reply = await model.reply(
                HELLO, sampling=Sampling(9, temperature=0.5, top_p=0.9, seed=2**40, stop=("END",))
            )
            assert (reply.text, reply.finish, reply.prompt_tokens, reply.new_tokens) == (TEXT, "stop", 3, 4)
            assert (await model.reply(HELLO, sampling=Sampling(2))).finish == "length"
            assert await model.models() == ["x"]
    asked = up.asked[0]
    assert asked.key == KEY
    assert asked.body == {
        "model": "x",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 2**40 % 2**31,
        "stop": ["END"],
    }
    assert asked.headers["accept-encoding"] == "identity" and "cookie" not in asked.headers


async def test_what_it_is_and_what_it_cannot_do() -> None:
    with Upstream() as up:
        async with opened(up.url) as model:
            assert model.name == "x" and model.info.engine == "endpoint" and model.info.layers == 0
            assert model.capabilities == {"stream", "system"}
            assert "".join(model.pieces(" a  b\nc ")) == " a  b\nc "
            act: Any = [object()]
            direction: Any = SimpleNamespace(name="d")
            for refused in (
                model.reply(HELLO, acts=act),
                model.reply(HELLO, reads=act),
                model.reply(HELLO, means=act),
                model.replies([ReplyRequest(HELLO, acts=act)]),
                model.choose(HELLO, ["a", "b"], acts=act),
                model.read(HELLO),
                model.score_replies([HELLO], [["a"]]),
                model.reply(HELLO, sampling=Sampling(stop_tokens=(1,))),
            ):
                with pytest.raises(Unsupported, match="needs weights"):
                    await refused
            with pytest.raises(Unsupported, match="needs weights"):
                _ = [e async for e in model.stream(HELLO, acts=act)]
            with pytest.raises(Unsupported, match="needs weights"):
                model.register(direction)
            await model.close()
            await model.close()
    assert not up.asked


async def test_a_stream_gives_a_token_a_delta_and_then_the_whole() -> None:
    for flow in (Flow(), Flow(piece_bytes=1), Flow(piece_bytes=7, crlf=True, comments=True)):
        with Upstream(say=lambda c, b: "Zwölf große Möwen 🕊 fliegen.", script=[Deed(flow=flow)]) as up:
            async with opened(up.url) as model:
                tokens, done = await events_of(model)
        assert "".join(t.text for t in tokens) == done.reply.text == "Zwölf große Möwen 🕊 fliegen."
        assert [t.index for t in tokens] == list(range(5)) and all(math.isnan(t.logprob) for t in tokens)
        assert done.reply.tokens == tuple(t.token for t in tokens) and done.reply.spans == ("reply",) * 5
        assert (done.reply.new_tokens, done.reply.prompt_tokens) == (5, 3) and done.reply.seconds > 0


async def test_log_probabilities_come_with_the_tokens_where_they_are_given() -> None:
    with Upstream(say=lambda c, b: "A b", tops=lambda c: {"A": 0.5, "B": 0.25}) as up:
        async with opened(up.url) as model:
            tokens, _ = await events_of(model, sampling=Sampling(top_logprobs=2))
            assert model.capabilities >= {"logprobs"}
    assert tokens[0].logprob == pytest.approx(math.log(0.5)) and len(tokens[0].top) == 2
    assert math.isnan(tokens[1].logprob)


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {"prompt_tokens": -1, "completion_tokens": 4},
        {"prompt_tokens": 3, "completion_tokens": 10**30},
        {"prompt_tokens": "3", "completion_tokens": 4.5},
        {"prompt_tokens": True, "completion_tokens": None},
        {"prompt_tokens": [], "completion_tokens": {}},
    ],
)
async def test_absurd_counts_are_none(counts: dict[str, Any]) -> None:
    with Upstream(say=lambda c, b: TEXT, rule=lambda n: Deed(counts=counts)) as up:
        async with opened(up.url) as model:
            _, done = await events_of(model)
            reply = await model.reply(HELLO)
    assert (done.reply.new_tokens, done.reply.prompt_tokens) == (reply.new_tokens, reply.prompt_tokens) == (4, 0)


async def test_without_counts_deltas_are_counted() -> None:
    with Upstream(say=lambda c, b: TEXT, rule=lambda n: Deed(usage=False)) as up:
        async with opened(up.url) as model:
            assert (await events_of(model))[1].reply.new_tokens == 4


async def test_a_refusal_is_what_was_said() -> None:
    with Upstream(rule=lambda n: REFUSE) as up:
        async with opened(up.url) as model:
            _, done = await events_of(model)
            assert done.reply.text == (await model.reply(HELLO)).text == "I cannot help with that."


async def test_replies_come_in_their_order_with_no_more_connections_than_are_allowed() -> None:
    most = 0

    def say(c: Conversation, body: Any) -> str:
        nonlocal most
        most = max(most, up.connections)
        return c[-1].content

    with Upstream(say=say, rule=lambda n: late(0.02 * (n % 3))) as up:
        async with opened(up.url, connections=3, connect_seconds=0.5) as model:
            said = await model.replies([ReplyRequest(Conversation.of(str(k))) for k in range(12)])
    assert [r.text for r in said] == [str(k) for k in range(12)] and most <= 3


async def test_the_newer_name_of_the_bound_is_used_once_it_is_asked_for() -> None:
    told = b'{"error": {"message": "Unsupported parameter: use max_completion_tokens instead", "param": "max_tokens"}}'
    with Upstream(script=[Deed(400, raw=told)]) as up:
        async with opened(up.url) as model:
            await model.reply(HELLO, sampling=Sampling(5))
            await model.reply(HELLO, sampling=Sampling(5))
    assert [a.body.get("max_completion_tokens") for a in up.asked] == [None, 5, 5]
    assert "max_tokens" not in up.asked[-1].body


# -- choices -------------------------------------------------------------------------------------------------------------


class Weighed:
    """What it says is drawn by the length of the options."""

    def say(self, conversation: Conversation, /) -> str:
        return TEXT

    def weigh(self, conversation: Conversation, options: Sequence[str], /) -> list[float]:
        return [len(o) / 10 for o in options]


@pytest.mark.parametrize("given", [True, False])
async def test_a_choice_is_exact_where_probabilities_are_given_and_else_drawn(given: bool) -> None:
    subject = Weighed()
    options = ["I am an assistant.", "I am a ghost.", "I am a tree."]
    with behind(subject, logprobs=given) as up:
        async with opened(up.url) as model:
            found = await model.choose(HELLO, options)
            again = await model.choose(HELLO, options)
    weights = np.exp(np.array(subject.weigh(HELLO, options)))
    assert found.exact is given and found == again and found.options == tuple(options)
    assert found.mass == pytest.approx(1.0)
    assert found.probabilities == pytest.approx(weights / weights.sum(), abs=1e-6 if given else 0.45)
    assert len(up.asked) == (4 if given else 1 + 2 * 2 * 8)  # asked twice, in two orders


async def test_a_choice_is_drawn_where_log_probabilities_are_refused() -> None:
    with Upstream(say=lambda c, b: "A", script=[fails(400, "unsupported_parameter")]) as up:
        async with opened(up.url) as model:
            found = await model.choose(HELLO, ["a", "b"])
    assert not found.exact and found.probabilities == pytest.approx(
        (0.5, 0.5)
    )  # always the first letter, in both orders


async def test_absurd_log_probabilities_are_none() -> None:
    row = {
        "token": "A",
        "logprob": 800.0,
        "top_logprobs": [{"token": "A", "logprob": float("nan")}, {"token": "B", "logprob": 9}],
    }
    body = {"choices": [{"message": {"content": "A"}, "finish_reason": "stop", "logprobs": {"content": [row]}}]}
    with Upstream(say=lambda c, b: "A", script=[garbage(json.dumps(body).encode())]) as up:
        async with opened(up.url) as model:
            assert not (await model.choose(HELLO, ["a", "b"])).exact


async def test_a_choice_without_options_or_an_answer_is_told() -> None:
    with Upstream(rule=lambda n: fails(401)) as up:
        async with opened(up.url) as model:
            for options in ([], ["a"], ["a", "a"], ["a", ""], [str(k) for k in range(27)]):
                with pytest.raises(InputError):
                    await model.choose(HELLO, options)
            with pytest.raises(ModelError, match="refuses the key"):
                await model.choose(HELLO, ["a", "b"])
    with Upstream(rule=lambda n: OVERFLOW) as up:
        async with opened(up.url) as model:
            with pytest.raises(TooLong):
                await model.choose(HELLO, ["a", "b"])


# -- failures ------------------------------------------------------------------------------------------------------------

ECHO = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}).encode()
LONG_ECHO = json.dumps({"error": {"message": "x" * 185 + KEY}}).encode()


@pytest.mark.parametrize(
    ("deed", "kind", "said", "calls"),
    [
        (fails(401), ModelError, "refuses the key", 1),
        (Deed(401, raw=ECHO), ModelError, "refuses the key", 1),
        (Deed(400, raw=ECHO), ModelError, r"Incorrect API key provided: \*\*\*", 1),
        (Deed(400, raw=LONG_ECHO), ModelError, r"xxx\*\*\*", 1),
        (Deed(418, raw=b"<html>"), ModelError, "418", 1),
        (fails(403), ModelError, "refuses the key", 1),
        (fails(404), ModelError, "no such model", 1),
        (busy(2), Busy, "come back in 2 s", 4),
        (busy(3600), Busy, "come back in 3600 s", 1),
        (fails(500), ModelError, "keeps failing", 4),
        (fails(503), ModelError, "keeps failing", 4),
        (OVERFLOW, TooLong, "no room", 1),
        (Deed(400, raw=b'{"error": {"message": "maximum context length is 8 tokens"}}'), TooLong, "no room", 1),
        (HANG_UP, ModelError, "closes the connection", 4),
        (Deed(302, headers=(("Location", "http://127.0.0.1:9/v1"),)), ModelError, "redirect", 1),
        (Deed(headers=(("Content-Encoding", "gzip"),)), ModelError, "compressed", 1),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
async def test_failures_are_one_sentence(
    deed: Deed, kind: type[HomingError], said: str, calls: int, streams: bool, key: str
) -> None:
    with Upstream(rule=lambda n: deed) as up:
        async with opened(up.url, key_variable=key) as model:
            with pytest.raises(kind, match=said) as caught:
                await (events_of(model) if streams else model.reply(HELLO))
            waited: list[float] = model.waited  # type: ignore[attr-defined]
    told = str(caught.value)
    assert len(up.asked) == calls and len(waited) == calls - 1
    assert KEY not in told and KEY[:8] not in told and "\n" not in told and len(told) < 500
    assert KEY not in repr(caught.value.__cause__) and KEY not in repr(model)
    if isinstance(caught.value, Busy):
        assert caught.value.wait_seconds == (2 if calls == 4 else 3600) and set(waited) <= {2.0}


@pytest.mark.parametrize("deed", [busy(0.5), fails(502), HANG_UP, CUT])
async def test_what_passes_is_asked_again(deed: Deed) -> None:
    with Upstream(script=[deed, deed]) as up:
        async with opened(up.url) as model:
            assert (await model.reply(HELLO)).text == "Yes."
    assert len(up.asked) == 3


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        (CUT, "closes the connection|ended its stream"),
        (Deed(flow=Flow(piece_bytes=5), cut=True), None),
        (Deed(flow=Flow(only=3)), "ended its stream before its reply"),
        (Deed(flow=Flow(only=0)), "ended its stream before its reply"),
        (Deed(flow=Flow(extra=b"data: <html>\n\n")), "no JSON"),
        (Deed(flow=Flow(extra=b"data: [1]\n\n")), "no JSON object"),
        (Deed(flow=Flow(extra=b'data: {"choices": 7}\n\n')), "no list"),
        (Deed(flow=Flow(extra=b'data: {"choices": [{"index": -4}]}\n\n')), "no index"),
        (Deed(flow=Flow(extra=b"data: \xff\xfe\n\n")), "no|not UTF-8"),
        (Deed(flow=Flow(extra=b"data: " + b"x" * 40_000)), "longer than 32,000 bytes"),
        (Deed(flow=Flow(extra=b": x\n\n" * 100, repeat=100)), "longer than 48,000 bytes"),
        (Deed(flow=Flow(extra=b'data: {"error": {"message": "out of memory"}}\n\n')), "out of memory"),
        (Deed(flow=Flow(extra=b'data: {"error": "out of luck"}\n\n')), "out of luck"),
        (Deed(flow=Flow(extra=b"data: " + ECHO + b"\n\n")), r"provided: \*\*\*"),
        (Deed(flow=Flow(stall_after=3)), "in time"),
    ],
)
async def test_a_stream_that_breaks_off_is_no_reply(deed: Deed, said: str | None, key: str) -> None:
    with Upstream(say=lambda c, b: TEXT, rule=lambda n: deed) as up:
        async with opened(up.url, key_variable=key, idle_seconds=0.2, max_event=32_000, max_answer=48_000) as model:
            if said is None:  # every choice had ended, and only what follows is missing
                assert (await events_of(model))[1].reply.text == TEXT
            else:
                with pytest.raises(ModelError, match=said) as caught:
                    await events_of(model)
                assert KEY not in str(caught.value)
        await until(lambda: up.connections == 0)
    assert len(up.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [3]}',
        b"[" * 100_000,
        b'{"choices": [{"index": 0}], "error": 3}',
    ],
)
async def test_garbage_is_no_reply(body: bytes) -> None:
    with Upstream(rule=lambda n: garbage(body)) as up:
        async with opened(up.url) as model:
            with pytest.raises(ModelError):
                await model.reply(HELLO)
            with pytest.raises(ModelError):
                await events_of(model)


async def test_an_answer_that_is_too_long_or_too_late_is_none() -> None:
    with Upstream(rule=lambda n: says("x" * 5000)) as up:
        async with opened(up.url, max_answer=4000) as model:
            with pytest.raises(ModelError, match="longer than"):
                await model.reply(HELLO)
    with Upstream(rule=lambda n: late(30)) as up:
        async with opened(up.url, read_seconds=0.1) as model:
            for asked in (model.reply(HELLO), events_of(model)):
                with pytest.raises(ModelError, match="in time"):
                    await asked
            await until(lambda: all(a.left for a in up.asked))
    assert len(up.asked) == 2


async def test_nobody_there_and_a_model_that_is_not() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with opened(f"http://127.0.0.1:{taken.getsockname()[1]}/v1") as model:
            for asked in (model.reply(HELLO), events_of(model), model.models()):
                with pytest.raises(ModelError, match="cannot be reached"):
                    await asked
    with Upstream() as up:
        async with opened(up.url, model="y") as model:
            with pytest.raises(ModelError, match="no such model"):
                await model.reply(HELLO)
    with pytest.raises(InputError, match="no model is named"):
        EndpointModel(Remote("http://127.0.0.1:1/v1"), "")


# -- the key, the address, the connections -------------------------------------------------------------------------------


async def test_the_key_goes_to_no_other_host(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream() as other:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, other.url.removesuffix("/v1"))
        where = (("Location", f"{other.url}/chat/completions"), ("Set-Cookie", "a=b"))
        with Upstream(script=[Deed(s, headers=where) for s in (301, 302, 303, 307, 308)]) as up:
            async with opened(up.url, key_variable=key) as model:
                for _ in range(5):
                    with pytest.raises(ModelError, match="not followed"):
                        await model.reply(HELLO)
                await model.reply(HELLO)
        assert other.opened == 0
    assert "cookie" not in up.asked[-1].headers and {a.key for a in up.asked} == {KEY}


def test_addresses_and_keys_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (
        "",
        "x",
        "ftp://a/v1",
        "http://",
        "http://a:b/v1",
        "http://a/v1?k=v",
        "http://a/#f",
        "http://a b/",
        "http://[/v1",
        "http://a\n/",
    ):
        with pytest.raises(InputError):
            Remote(url)
    for url in (f"http://user:{KEY}@a/v1", f"http://{KEY}@a/v1"):
        with pytest.raises(InputError) as caught:
            Remote(url)
        assert KEY not in str(caught.value)
    with pytest.raises(InputError, match="UP_NONE holds no key"):
        Remote("http://a/v1", "UP_NONE")
    monkeypatch.setenv("UP_BAD", f"{KEY}\nX-Evil: 1")
    with pytest.raises(InputError, match="can be no key") as caught:
        Remote("http://a/v1", "UP_BAD")
    assert KEY not in str(caught.value)
    for name in ("connect_seconds", "read_seconds", "idle_seconds", "connections", "max_answer", "max_event"):
        for value in (0, -1, float("inf"), float("nan")):
            with pytest.raises(InputError, match=name):
                Remote("http://a/v1", **{name: value})
    monkeypatch.setenv("UP_GOOD", KEY)
    good = Remote("https://a.example/v1/", "UP_GOOD")
    assert good.url == "https://a.example/v1" and KEY not in repr(good)


async def test_leaving_a_stream_closes_its_connection() -> None:
    with Upstream(say=lambda c, b: TEXT, rule=lambda n: Deed(flow=Flow(stall_after=3))) as up:
        async with opened(up.url) as model:
            stream = model.stream(HELLO)
            assert isinstance(await anext(stream), Token)
            await stream.aclose()
            await until(lambda: up.asked[0].left)
            cancelled = asyncio.ensure_future(model.reply(HELLO))
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        await until(lambda: up.connections == 0)


async def test_connections_are_used_again_and_none_is_left() -> None:
    with Upstream(say=lambda c, b: TEXT, keep_alive=True, rule=lambda n: Deed(flow=Flow(piece_bytes=200))) as up:
        async with opened(up.url, connections=8) as model:
            for k in range(100):
                assert await (events_of(model) if k % 2 else model.reply(HELLO))
            assert up.opened <= 2
            await model.replies([ReplyRequest(HELLO)] * 32)
            assert up.connections <= 8
        await until(lambda: up.connections == 0)
    assert len(up.asked) == 132


# -- parts ---------------------------------------------------------------------------------------------------------------


def test_when_to_come_back_is_a_number_or_a_date() -> None:
    assert wait_of("2.5") == 2.5 and wait_of("-3") == 0
    assert all(wait_of(x) is None for x in (None, "", "soon", "nan", "inf"))
    assert wait_of(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)) == pytest.approx(30, abs=2)
    assert wait_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_events_have_data_of_many_lines_and_comments_between() -> None:
    raw = b"\xef\xbb\xbfdata: a\r\ndata:b\n: no\nid: 3\ndata\n\nevent: x\n\n: c\n\ndata: [DONE]\n\nleft"
    events = Events(100)
    found = list(events.feed(raw))
    assert [e.data for e in found] == ["a\nb\n", None, None, "[DONE]"] and found[-1].done
    rest = events.rest()
    assert b"".join(e.raw for e in found) + (rest.raw if rest else b"") == raw
    assert rest is not None and rest.data is None and events.rest() is None
    with pytest.raises(Garbage):
        list(Events(10).feed(b"data: 12345"))
    assert counted({"prompt_tokens": 1, "completion_tokens": 0}) is not None


def test_a_reply_is_whole_where_every_choice_that_was_asked_for_has_ended() -> None:
    two = Gathered(2)
    two.take('{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}')
    assert not two.whole
    two.take('{"choices": [{"index": 1, "delta": {"reasoning_content": "b"}, "finish_reason": null}]}')
    assert not two.whole and two.choices[1].thinking == "b"
    two.done = True
    assert two.whole
    assert not Gathered(done=True).whole
