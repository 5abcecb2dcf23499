"""Clients as people have them, pointed at the gateway: nothing is changed but the base URL."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.gateway.serving import Served, served
from tests.verbs.tiny_map import Mapped

from homing.gateway.deployment import Deployment

HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
def gate(mapped: Mapped) -> Iterator[Served]:
    with served(mapped, Deployment(max_new_tokens=48)) as s:
        yield s


async def test_openai_asynchronous_and_raw(gate: Served) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gate.url}/v1", api_key="none", max_retries=0) as c:
        ask: dict[str, Any] = {"model": gate.model, "messages": HELLO, "max_tokens": 8, "temperature": 0}
        several = await asyncio.gather(*[c.chat.completions.create(**ask, seed=1) for _ in range(6)])
        assert len({m.choices[0].message.content for m in several}) == 1
        raw = await c.chat.completions.with_raw_response.create(**ask, extra_headers={"X-Request-Id": "mine"})
        assert raw.headers["x-request-id"] == "mine"
        assert raw.parse().choices[0].message.content == several[0].choices[0].message.content
        async with c.chat.completions.with_streaming_response.create(**ask, stream=True) as stream:
            lines = [line async for line in stream.iter_lines()]
        assert lines[-1] == "data: [DONE]" or lines[-2] == "data: [DONE]"
        with pytest.raises(openai.NotFoundError, match="not served here"):
            await c.chat.completions.create(**{**ask, "model": "another"})
        with pytest.raises(openai.BadRequestError, match="tools"):
            await c.chat.completions.create(**ask, tools=[{"type": "function", "function": {"name": "f"}}])


async def test_inspect_by_its_own_provider(gate: Served) -> None:
    model = pytest.importorskip("inspect_ai.model")
    config = model.GenerateConfig(max_tokens=8, temperature=0, seed=1)
    name = f"openai-api/homing/{gate.model}"
    opened = model.get_model(name, base_url=f"{gate.url}/v1", api_key="none", memoize=False)
    async with opened:
        said = await opened.generate("Hello there", config=config)
    assert said.completion and said.usage is not None and said.usage.output_tokens == 8
    assert said.stop_reason in ("stop", "max_tokens")


def test_curl_and_the_very_bytes_of_a_stream(gate: Served) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed; as root: apt-get install curl")
    body = {
        "model": gate.model, "messages": HELLO, "max_tokens": 2, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    done = subprocess.run(
        [
            "curl",
            "-sN",
            f"{gate.url}/v1/chat/completions",
            "-H",
            "content-type: application/json",
            "-d",
            json.dumps(body),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    plain = re.sub(r'"content":"[^"]+"', '"content":"X"', done.stdout)
    plain = re.sub(r'"id":"[^"]+","object":"chat.completion.chunk","created":\d+,"model":"[^"]+"', '"HEAD"', plain)
    chunk = 'data: {"HEAD","choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]}'
    lines = plain.split("\n\n")
    assert lines[:4] + lines[5:] == [
        chunk % ('{"role":"assistant","content":""}', "null"),
        chunk % ('{"content":"X"}', "null"),
        chunk % ('{"content":"X"}', "null"),
        chunk % ("{}", '"length"'),
        "data: [DONE]",
        "",
    ]
    usage = json.loads(done.stdout.split("\n\n")[4][6:])
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 2
