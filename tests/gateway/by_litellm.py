"""Run by the Python of .venv/clients: what LiteLLM makes of the gateway at a base URL, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import litellm

litellm.suppress_debug_info = True


def part(message: Any) -> dict[str, Any]:
    """Of one whole answer, what a caller looks at."""
    choice = message.choices[0]
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "usage": [message.usage.prompt_tokens, message.usage.completion_tokens],
        "homing": message.model_dump().get("homing"),
    }


def parts(chunks: list[Any]) -> dict[str, Any]:
    """The same of a stream."""
    choices = [c.choices[0] for c in chunks if c.choices]
    counts = [[u.prompt_tokens, u.completion_tokens] for c in chunks if (u := getattr(c, "usage", None))]
    return {
        "text": "".join(c.delta.content or "" for c in choices),
        "finish": choices[-1].finish_reason,
        "usage": counts[-1] if counts else None,
    }


def error(**asked: Any) -> dict[str, Any]:
    """What is raised."""
    try:
        list(litellm.completion(**asked))
    except Exception as e:  # whatever it is, the test says what it should have been
        return {"kind": type(e).__name__, "told": str(e), "status": getattr(e, "status_code", None)}
    return {"kind": None}


async def abreast(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Four calls at once, and a stream."""
    whole = await asyncio.gather(*[litellm.acompletion(**asked) for _ in range(4)])
    stream = await litellm.acompletion(**asked, stream=True, stream_options={"include_usage": True})
    return [*map(part, whole), parts([c async for c in stream])]


def main(url: str, model: str) -> dict[str, Any]:
    """Every call."""
    asked: dict[str, Any] = {
        "model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none", "num_retries": 0, "temperature": 0, "seed": 1,
        "max_tokens": 8, "messages": [{"role": "user", "content": "Hello there"}],
    }  # fmt: skip
    ours = {"homing": {"report": True, "hold": "none", "conversation_id": "by-litellm"}}
    text = {k: v for k, v in asked.items() if k != "messages"} | {"model": f"text-completion-openai/{model}"}
    return {
        "whole": part(litellm.completion(**asked)),
        "stream": parts(list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))),
        "abreast": asyncio.run(abreast(asked)),
        "reported": part(litellm.completion(**asked, extra_body=ours)),
        "reported_stream": [
            c.model_dump().get("homing") for c in litellm.completion(**asked, extra_body=ours, stream=True)
        ],
        "plain": litellm.text_completion(**text, prompt="Hello").choices[0].text,
        "unknown_key": error(**asked, extra_body={"homing": {"nosuch": 1}}),
        "unknown_key_streamed": error(**asked, extra_body={"homing": {"nosuch": 1}}, stream=True),
        "penalty": error(**asked, presence_penalty=1),
        "other_model": error(**{**asked, "model": "openai/another"}),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
