"""Whatever a client sends, no answer is the gateway's own failure, and an error is the wire's object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from tests.gateway.loading import resident
from tests.gateway.serving import Served, running, served
from tests.verbs.tiny_map import Mapped

from homing.gateway.deployment import Deployment
from homing.gateway.openapi import document

CALLS = 200
"""Of each of the eleven operations that are given something: 2,000 and more together."""
LONG = 4600
"""The same where time is no object: 50,000 and more."""


@pytest.fixture(scope="module")
def gate(mapped: Mapped, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("fuzz") / "g.db"
    with served(mapped, Deployment(max_new_tokens=3, text=True), store=str(store)) as s:
        yield s


OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(document()).get_all_operations()]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
COUNTED = [0]
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def answered(case: Any, gate: Served | Apart) -> None:
    COUNTED[0] += 1
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("model"), str) and len(body["model"]) % 2:
        body["model"] = gate.model  # or else hardly any request would reach the model
    answer = case.call(base_url=gate.url, timeout=60)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and case.method != "HEAD":
        error = answer.json()["error"]
        assert error["message"] and {"type", "param", "code"} <= set(error)


def fuzzed(operation: Any, gate: Served | Apart, calls: int, *, part: int = 0) -> None:
    raw = operation.definition.raw
    # of an operation without a field there is nothing to get wrong
    modes = MODES if "parameters" in raw or "requestBody" in raw else MODES[:1]
    for mode in modes:

        @seed(part)
        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=calls // len(MODES), **SETTINGS)
        def run(case: Any) -> None:
            answered(case, gate)

        run()


@pytest.mark.parametrize("operation", OPERATIONS, ids=[o.label for o in OPERATIONS])
def test_no_answer_is_a_failure_of_ours(operation: Any, gate: Served) -> None:
    fuzzed(operation, gate, CALLS)


def test_that_was_two_thousand_calls(gate: Served) -> None:
    if COUNTED[0] == 0:
        pytest.skip("run together with the calls")
    assert COUNTED[0] >= 2000


@dataclass(frozen=True)
class Apart:
    """A service in a process of its own: what makes the calls holds hundreds of megabytes, more at one time than at another."""

    url: str
    model: str
    pid: int


@pytest.fixture(scope="module")
def apart(mapped: Mapped, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    store = tmp_path_factory.mktemp("fuzz") / "g.db"
    given = ("--identity", mapped.home, "--store", store, "--keep-text", "--max-new-tokens", 3)
    with running(mapped.model, *given) as (url, process):
        name = httpx2.get(f"{url}/v1/models").json()["data"][0]["id"]
        yield Apart(url, name, process.pid)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=[o.label for o in OPERATIONS])
def test_nor_of_many_more(operation: Any, apart: Apart) -> None:
    """Memory is read between two halves: the first fills what is kept of requests, the second adds nothing."""
    fuzzed(operation, apart, LONG // 2)
    before, calls = resident(apart.pid), COUNTED[0]
    fuzzed(operation, apart, LONG // 2, part=1)
    growth = resident(apart.pid) / before - 1
    print(f"RESULT fuzz: {operation.label}: {COUNTED[0]} calls, {COUNTED[0] - calls} of them new, memory {growth:+.2%}")
    assert growth < 0.02


@pytest.mark.slow
def test_that_was_fifty_thousand_calls(gate: Served) -> None:
    if COUNTED[0] == 0:
        pytest.skip("run together with the calls")
    assert COUNTED[0] >= 50_000


def test_memory_does_not_grow_with_what_is_refused(gate: Served) -> None:
    def refused(n: int) -> None:
        with httpx2.Client() as c:
            for i in range(n):
                c.post(
                    f"{gate.url}/v1/chat/completions",
                    json={"model": gate.model, "messages": [{"role": str(i), "content": "x" * 999}]},
                )

    refused(200)
    before = resident()
    refused(1000)
    assert resident() < 1.02 * before
