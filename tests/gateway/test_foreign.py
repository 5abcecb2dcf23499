"""Clients that have an environment of their own, run as people run them: `llm` at a prompt, LiteLLM in a script.

make test makes the environment from clients.txt; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.gateway.serving import Served, served
from tests.verbs.tiny_map import Mapped

from homing.gateway.deployment import Deployment

CLIENTS = Path(__file__).parents[2] / ".venv" / "clients"
pytestmark = pytest.mark.skipif(
    not (CLIENTS / ".made").is_file(), reason=f"the clients are not installed in {CLIENTS}; run: make clients"
)
Ran = subprocess.CompletedProcess[str]
# a proxy that is not there: whatever would leave this machine fails
ALONE = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
}


@pytest.fixture(scope="module")
def gate(mapped: Mapped) -> Iterator[Served]:
    with served(mapped, Deployment(max_new_tokens=48)) as s:
        yield s


def run(*command: str | Path, **more: str) -> Ran:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | ALONE | more
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def llm(gate: Served, tmp_path: Path) -> Callable[..., Ran]:
    """The command, with the gateway as its one model besides its own, and greedy replies of eight tokens."""
    listed = [{"model_id": "home", "model_name": gate.model, "api_base": f"{gate.url}/v1"}]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(listed))  # JSON is YAML

    def call(*words: str) -> Ran:
        fixed = ("-o", "temperature", "0", "-o", "max_tokens", "8", "-o", "seed", "1")
        return run(CLIENTS / "bin" / "llm", "prompt", *words, *fixed, LLM_USER_PATH=str(tmp_path))

    return call


def said(gate: Served, *messages: tuple[str, str]) -> str:
    """The reply as OpenAI's own client gets it."""
    with openai.OpenAI(base_url=f"{gate.url}/v1", api_key="none", max_retries=0) as c:
        asked: Any = [{"role": role, "content": content} for role, content in messages]
        made = c.chat.completions.create(model=gate.model, messages=asked, max_tokens=8, temperature=0, seed=1)
    return made.choices[0].message.content or ""


def talks(gate: Served) -> dict[str, int]:
    """Turns of each conversation that is kept."""
    return {conversation: row.turns for (_, conversation), row in gate.store.rows.items()}


def test_llm_whole_and_streamed(gate: Served, llm: Callable[..., Ran]) -> None:
    text = said(gate, ("user", "Hello there"))
    for how in ((), ("--no-stream",), ("--async",)):
        done = llm("-m", "home", "Hello there", "--usage", *how)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{text}\n"
        assert "8 output" in done.stderr


def test_llm_goes_on_with_a_conversation_and_so_do_we(gate: Served, llm: Callable[..., Ran]) -> None:
    before = talks(gate)
    first = llm("-m", "home", "-s", "Be brief.", "Who is there?")
    second = llm("-c", "And now?")
    third = llm("-c", "--no-stream", "And then?")
    assert {x.returncode for x in (first, second, third)} == {0}, first.stderr + second.stderr + third.stderr
    new = {c: n for c, n in talks(gate).items() if before.get(c) != n}
    assert list(new.values()) == [3]
    talk = [("system", "Be brief."), ("user", "Who is there?"), ("assistant", first.stdout[:-1]), ("user", "And now?")]
    assert second.stdout[:-1] == said(gate, *talk)


def test_llm_shows_what_we_refuse(gate: Served, llm: Callable[..., Ran]) -> None:
    done = llm("-m", "home", "Hello there", "-o", "presence_penalty", "1")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("Error: Error code: 400 - presence_penalty: ") and "Traceback" not in done.stderr


def test_litellm(gate: Served) -> None:
    done = run(CLIENTS / "bin" / "python", Path(__file__).with_name("by_litellm.py"), gate.url, gate.model)
    assert done.returncode == 0, done.stderr
    got: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    text = said(gate, ("user", "Hello there"))
    for answer in (got["whole"], got["stream"], *got["abreast"]):
        assert (answer["text"], answer["finish"], answer["usage"][1]) == (text, "length", 8)
    assert got["whole"]["usage"] == got["stream"]["usage"] and got["whole"]["homing"] is None
    report = got["reported"]["homing"]
    assert (report["conversation_id"], report["hold"], report["kept"]) == ("by-litellm", "none", True)
    assert talks(gate)["by-litellm"] == 2 and got["plain"]
    assert not any(got["reported_stream"]), (
        "LiteLLM hands the report of a stream on by now; docs/serve.md says that it does not"
    )
    for wrong, word in (("unknown_key", "nosuch"), ("unknown_key_streamed", "nosuch"), ("penalty", "presence_penalty")):
        assert (got[wrong]["kind"], got[wrong]["status"]) == ("BadRequestError", 400) and word in got[wrong]["told"]
    assert got["other_model"]["kind"] == "NotFoundError"
