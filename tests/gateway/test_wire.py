"""The OpenAI wire over a planted model: what clients expect, and every refusal with its field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from tests.gateway.serving import Served, served
from tests.verbs.tiny_map import Mapped

from homing.gateway.deployment import Deployment

HELLO = [{"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
def gate(mapped: Mapped) -> Iterator[Served]:
    with served(mapped, Deployment(mode="on", max_new_tokens=48)) as s:
        yield s


@pytest.fixture
def client(gate: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gate.url}/v1", api_key="none", max_retries=0) as c:
        yield c


def post(gate: Served, path: str = "/v1/chat/completions", **body: Any) -> httpx2.Response:
    return httpx2.post(gate.url + path, json=body, timeout=60)


def test_a_reply_whole_and_streamed_is_the_same_text(gate: Served, client: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": gate.model, "messages": HELLO, "seed": 7, "max_tokens": 12}
    whole = client.chat.completions.create(**ask)
    stream = client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert {c.id for c in chunks} == {chunks[0].id} and {c.created for c in chunks} == {chunks[0].created}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert whole.usage is not None and whole.usage.completion_tokens == 12
    assert whole.model_extra == {} and all("homing" not in (c.model_extra or {}) for c in chunks)


def test_a_plain_stream_is_chunks_and_done_and_nothing_else(gate: Served) -> None:
    r = post(gate, model=gate.model, messages=HELLO, stream=True, max_tokens=4, seed=1)
    assert r.headers["content-type"].startswith("text/event-stream")
    lines = [x for x in r.text.split("\n\n") if x]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        chunk = json.loads(line.removeprefix("data: "))
        assert chunk["object"] == "chat.completion.chunk" and "homing" not in chunk and "usage" not in chunk


def test_log_probabilities_are_of_the_tokens_that_were_drawn(gate: Served, client: openai.OpenAI) -> None:
    made = client.chat.completions.create(
        model=gate.model, messages=HELLO, seed=3, max_tokens=5, logprobs=True, top_logprobs=3, temperature=0
    )
    logprobs = made.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None and len(logprobs.content) == 5
    for t in logprobs.content:
        assert t.logprob <= 0 and len(t.top_logprobs) == 3
        assert t.top_logprobs[0].token == t.token  # greedy
    streamed = client.chat.completions.create(
        model=gate.model,
        messages=HELLO,
        seed=3,
        max_tokens=5,
        logprobs=True,
        top_logprobs=3,
        temperature=0,
        stream=True,
    )
    got = [t for c in streamed if c.choices and c.choices[0].logprobs for t in c.choices[0].logprobs.content or []]
    assert [t.token for t in got] == [t.token for t in logprobs.content]


def test_choices_differ_and_the_first_is_the_reply_alone(gate: Served, client: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": gate.model, "messages": HELLO, "seed": 11, "max_tokens": 8}
    one = client.chat.completions.create(**ask).choices[0].message.content
    three = client.chat.completions.create(**ask, n=3).choices
    assert three[0].message.content == one
    assert len({c.message.content for c in three}) > 1
    streamed = client.chat.completions.create(**ask, n=3, stream=True)
    texts = {0: "", 1: "", 2: ""}
    for c in streamed:
        texts[c.choices[0].index] += c.choices[0].delta.content or ""
    assert [texts[k] for k in range(3)] == [c.message.content for c in three]


def test_a_stop_string_ends_the_reply_and_is_no_part_of_it(gate: Served, client: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": gate.model, "messages": HELLO, "seed": 5, "max_tokens": 12}
    text = client.chat.completions.create(**ask).choices[0].message.content or ""
    cut = client.chat.completions.create(**ask, stop=[text[4:6]])
    assert cut.choices[0].message.content == text[: text.index(text[4:6])]
    assert cut.choices[0].finish_reason == "stop"


def test_plain_completions_whole_and_streamed(gate: Served, client: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": gate.model, "prompt": "abc", "seed": 5, "max_tokens": 6}
    whole = client.completions.create(**ask, logprobs=2)
    assert whole.choices[0].logprobs is not None and len(whole.choices[0].logprobs.tokens or []) == 6
    text = "".join(c.choices[0].text for c in client.completions.create(**ask, stream=True))
    assert text == whole.choices[0].text
    both = client.completions.create(**{**ask, "prompt": ["abc", "def"]}, n=2)
    assert [c.index for c in both.choices] == [0, 1, 2, 3] and both.choices[0].text == whole.choices[0].text


def test_models_health_and_metrics(gate: Served, client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == [gate.model]
    assert client.models.retrieve(gate.model).id == gate.model
    for path in ("/health", "/health/ready", "/metrics"):
        assert httpx2.get(gate.url + path).status_code == 200
    assert "homing_time_to_first_token_seconds_bucket" in httpx2.get(gate.url + "/metrics").text


BAD: list[tuple[dict[str, Any], str | None]] = [
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages[0].content[0]",
    ),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 10**12}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"n": 9}, "n"),
    ({"n": 0}, "n"),
    ({"seed": 2**70}, "seed"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": 3}, "stop"),
    ({"top_logprobs": 5}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": "yes"}, "stream"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"presence_penalty": 1.0}, "presence_penalty"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"top_k": 5}, "top_k"),
    ({"chat_template": "{{ 1 }}"}, "chat_template"),
    ({"api_base": "http://elsewhere"}, "api_base"),
    ({"base_url": "http://elsewhere"}, "base_url"),
    ({"headers": {}}, "headers"),
    ({"homing": {"hold": "no such hold!"}}, "homing.hold"),
    ({"homing": {"hold": "nothing_like_it"}}, "homing.hold"),
    ({"homing": {"what": 1}}, "homing.what"),
    ({"homing": {"conversation_id": "a b"}}, "homing.conversation_id"),
    ({"homing": {"conversation_id": "x" * 200}}, "homing.conversation_id"),
    ({"homing": {"report": 1}}, "homing.report"),
    ({"homing": []}, "homing"),
]


@pytest.mark.parametrize(("change", "param"), BAD, ids=[str(c)[:50] for c, _ in BAD])
def test_what_is_wrong_is_named_with_its_field(gate: Served, change: dict[str, Any], param: str | None) -> None:
    r = post(gate, **({"model": gate.model, "messages": HELLO, "max_tokens": 2} | change))
    assert r.status_code == 400, r.text
    error = r.json()["error"]
    assert error["param"] == param and error["type"] == "invalid_request_error"
    assert "penalty" not in str(param) or "cannot heed it" in error["message"]
    assert "\n" not in error["message"] and 10 < len(error["message"]) < 600
    with openai.OpenAI(base_url=f"{gate.url}/v1", api_key="none", max_retries=0) as c:
        with pytest.raises(openai.BadRequestError) as e:
            c.post("/chat/completions", body={"model": gate.model, "messages": HELLO} | change, cast_to=object)
        assert error["message"] in str(e.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"model": NaN}',
        b"[" * 5000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b"1" * 6000,
    ],
    ids=["empty", "open", "list", "null", "no utf-8", "nan", "deep list", "deep", "long number"],
)
def test_a_body_that_is_no_request(gate: Served, raw: bytes) -> None:
    r = httpx2.post(gate.url + "/v1/chat/completions", content=raw, headers={"content-type": "application/json"})
    assert r.status_code == 400 and r.json()["error"]["message"]


def test_other_refusals(gate: Served) -> None:
    big = httpx2.post(
        gate.url + "/v1/chat/completions", content=b" " * (2**20 + 1), headers={"content-type": "application/json"}
    )
    assert big.status_code == 413
    assert post(gate, model="another", messages=HELLO).status_code == 404
    assert httpx2.get(gate.url + "/v1/nothing").json()["error"]["type"] == "not_found_error"
    assert httpx2.get(gate.url + "/v1/chat/completions").status_code == 405
    long = post(gate, model=gate.model, messages=[{"role": "user", "content": "word " * 5000}])
    assert long.status_code == 400 and long.json()["error"]["code"] == "context_length_exceeded"


def test_request_ids_are_bounded_and_echoed(gate: Served) -> None:
    for given, kept in (("mine-1", True), ("x" * 65, False), ("a b", False)):
        r = httpx2.get(gate.url + "/v1/models", headers={"x-request-id": given})
        assert (r.headers["x-request-id"] == given) is kept
        assert len(r.headers["x-request-id"]) <= 64
