"""What the gateway adds to its engine: a request, many streams, the first token.

    python benchmarks/gateway.py [--model smollm2] [--identity DIR] [--rounds 40] [--out benchmarks/results/gateway.json]

Engine and gateway run in one process over one open model, in turn and in random order. The client of the time added is a process
of its own (wire.py); the client of the streams is in this one, so that its work counts as the gateway's. With --identity the
gateway reads every reply, without it nothing is read. An A/A
control, the engine against itself, shows the noise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import uvicorn
from paired import interval
from wire import Client, asked, null_server

from homing.conversation import Conversation
from homing.engine.base import EngineInfo, Sampling
from homing.gateway.app import Service, make_app
from homing.gateway.connections import configured
from homing.gateway.connections import run as run_served
from homing.gateway.deployment import Deployment
from homing.gateway.routes import kept_routes
from homing.gateway.serve import listen
from homing.gateway.store import Store
from homing.gateway.turns import Keeper
from homing.identity import Identity
from homing.models.base import Event, ReplyRequest, Token
from homing.models.scripted import ScriptedModel
from homing.models.sources import open_model
from homing.verbs.watch import Home

ABREAST = 32
ASKED = "Tell me something about the weather in spring, and why it changes so often."


def sampling(tokens: int, seed: int) -> Sampling:
    """Replies of one length, whatever is drawn."""
    return Sampling(max_new_tokens=tokens, temperature=1.0, seed=seed, stop_tokens=())


class Gateway:
    """The service, and a client of it."""

    def __init__(self, url: str, model: Any) -> None:
        limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
        self.client = httpx2.AsyncClient(base_url=url, timeout=600, limits=limits)
        self.model = model

    def body(self, tokens: int, seed: int, **more: Any) -> dict[str, Any]:
        """A request that the engine's own job equals."""
        return {
            "model": self.model.name, "messages": [{"role": "user", "content": ASKED}], "max_tokens": tokens, "seed": seed, **more
        }  # fmt: skip

    async def whole(self, tokens: int, seed: int) -> int:
        """One answer; its tokens."""
        r = await self.client.post("/v1/chat/completions", json=self.body(tokens, seed))
        r.raise_for_status()
        return int(r.json()["usage"]["completion_tokens"])

    async def stream(self, tokens: int, seed: int) -> tuple[float, int]:
        """Seconds to the first token, and tokens."""
        began, first, n = time.perf_counter(), 0.0, 0
        wanted = self.body(tokens, seed, stream=True, stream_options={"include_usage": True})
        async with self.client.stream("POST", "/v1/chat/completions", json=wanted) as r:
            async for line in r.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[6:])
                if not first and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                    first = time.perf_counter() - began
                if chunk.get("usage"):
                    n = chunk["usage"]["completion_tokens"]
        return first, n


async def engine_first(model: Any, tokens: int, seed: int) -> float:
    """Seconds to the first token with text, from the engine itself."""
    began, first = time.perf_counter(), 0.0
    async for event in model.stream(Conversation.of(ASKED), sampling=sampling(tokens, seed)):
        if isinstance(event, Token) and event.text and not first:
            first = time.perf_counter() - began
    return first


async def measure(model: Any, gate: Gateway, rounds: int) -> dict[str, Any]:
    """Every figure."""
    rng = np.random.default_rng(0)
    out: dict[str, Any] = {}
    with_model, control, ratios, same, firsts = ([] for _ in range(5))
    lengths: list[tuple[int, int]] = []

    async def engine(tokens: int, seed: int, rows: int = 1) -> tuple[float, int]:
        requests = [ReplyRequest(Conversation.of(ASKED), sampling(tokens, seed + k)) for k in range(rows)]
        began = time.perf_counter()
        made = await model.replies(requests)
        return time.perf_counter() - began, sum(r.new_tokens for r in made)

    async def through(tokens: int, seed: int, rows: int = 1) -> tuple[float, int]:
        began = time.perf_counter()
        if rows == 1:
            n = await gate.whole(tokens, seed)
        else:
            n = sum(x for _, x in await asyncio.gather(*[gate.stream(tokens, seed + k) for k in range(rows)]))
        return time.perf_counter() - began, n

    for k in range(rounds):
        parts = {"engine": engine, "again": engine, "gateway": through}
        took: dict[str, tuple[float, int]] = {}
        for name in rng.permutation(list(parts)):
            took[name] = await parts[name](8, 100 * k)
        with_model.append(1000 * (took["gateway"][0] - took["engine"][0]))
        control.append(1000 * (took["again"][0] - took["engine"][0]))
        lengths.append((took["engine"][1], took["gateway"][1]))
    out["with_model_ms"] = interval(with_model) | {"p95": float(np.quantile(with_model, 0.95))}
    out["control_ms"] = interval(control) | {"p95": float(np.quantile(control, 0.95))}
    for k in range(max(4, rounds // 3)):
        took = {}
        for name in rng.permutation(["engine", "again", "gateway"]):
            run = through if name == "gateway" else engine
            took[name] = await run(48, 1000 * k, 32)
        rate = {n: t[1] / t[0] for n, t in took.items()}
        ratios.append(rate["gateway"] / rate["engine"])
        same.append(rate["again"] / rate["engine"])
        out.setdefault("tokens_per_second", []).append(rate)
    out["streams_32"], out["streams_32_control"] = interval(ratios), interval(same)
    for k in range(max(4, rounds // 3)):
        own = await asyncio.gather(*[engine_first(model, 8, 9000 + 8 * k + i) for i in range(8)])
        theirs = await asyncio.gather(*[gate.stream(8, 9000 + 8 * k + i) for i in range(8)])
        firsts.append(float(np.median([f for f, _ in theirs]) / np.median(own)))
    out["first_token_8"] = interval(firsts)
    out["lengths"] = sorted(set(lengths))
    return out


class Paced(ScriptedModel):
    """Says one thing after seconds that the seed tells, and has as many rows as are asked of it."""

    def __init__(self, mean_seconds: float) -> None:
        super().__init__(lambda c: "It is the tilt of the earth.", name="scripted")
        self.mean_seconds = mean_seconds
        self.took: dict[int, float] = {}

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, slots=ABREAST)

    async def stream(
        self, conversation: Conversation, *, sampling: Sampling, **more: Any
    ) -> AsyncGenerator[Event, None]:
        began = time.perf_counter()
        if self.mean_seconds:
            await asyncio.sleep(np.random.default_rng(sampling.seed).exponential(self.mean_seconds))
        self.took[sampling.seed] = time.perf_counter() - began
        async for event in super().stream(conversation, sampling=sampling, **more):
            yield event


async def bare(rounds: int) -> dict[str, Any]:
    """What a request takes where the model's own time is known: the wire, the turn and its commit to a SQLite file.

    The client is a process of its own, and what it takes with a server that does nothing is taken off. ``added_ms``: one request
    at a time. ``saturated_ms``: every row of a model busy all the while, with replies of a second in the mean.
    """
    out: dict[str, Any] = {}
    client = Client()
    try:
        for key, seconds, abreast in (("added_ms", 0.0, 1), ("saturated_ms", 1.0, ABREAST)):
            model = Paced(seconds)
            async with served(model, None, Deployment(port=0, mode="shadow", hold="none", queue=256)) as gate:
                port = int(gate.client.base_url.port or 0)
                answer = await gate.client.post("/v1/chat/completions", json=gate.body(8, 0))
                null, end = await null_server(answer.content)
                lists = [
                    [
                        asked(where, "/v1/chat/completions", gate.body(8, 1000 * row + k))
                        for k in range(rounds if abreast == 1 else max(8, rounds // 8))
                        for where in ((null, port) if abreast == 1 else (port,))
                    ]
                    for row in range(abreast)
                ]
                await client.play([lists[0][:20]])
                took = await client.play(lists)
                await end()
            if abreast == 1:
                nothing, ours = took[0][0::2], took[0][1::2]
                out["null_ms"] = interval(nothing)
                added = [a - b for a, b in zip(ours, nothing, strict=True)]
            else:
                floor = out["null_ms"]["value"]
                added = [
                    ms - 1000 * model.took[1000 * row + k] - floor
                    for row, times in enumerate(took)
                    for k, ms in enumerate(times)
                ]
            out[key] = interval(added) | {"p95": float(np.quantile(added, 0.95))}
    finally:
        client.close()
    return out


@asynccontextmanager
async def served(model: Any, home: Home | None, deployment: Deployment) -> AsyncGenerator[Gateway, None]:
    """A gateway of a model on a port of its own, and a client."""
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(str(Path(folder) / "gateway.db"), text=False)
        service = Service(Keeper(model, home, store, deployment, salt=b"salt"), deployment)
        listening = listen(deployment)
        server = uvicorn.Server(configured(make_app(service, routes=kept_routes(service, store))))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        gate = Gateway(f"http://127.0.0.1:{listening.getsockname()[1]}", model)
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield gate
        finally:
            await gate.client.aclose()
            server.should_exit = True
            await task
            await store.close()


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """Open all, measure, close all."""
    model = open_model(given.model, engine=given.engine, dtype="float32", slots=64)
    home = Home.on(Identity.load(given.identity), model) if given.identity else None
    deployment = Deployment(port=0, mode="shadow" if home else "off", hold="none", queue=256)
    # a client on the wire cannot say that nothing ends a reply: so it is said here, for both alike
    stream = model.stream
    model.stream = lambda c, *, sampling, **more: stream(c, sampling=_endless(sampling), **more)  # type: ignore[method-assign]
    try:
        async with served(model, home, deployment) as gate:
            await gate.whole(4, 0)
            await model.replies([ReplyRequest(Conversation.of(ASKED), sampling(4, 0))])
            found = await measure(model, gate, given.rounds)
    finally:
        await model.close()
    found |= await bare(10 * given.rounds)
    return {
        "model": given.model,
        "engine": model.info.engine,
        "dtype": model.info.dtype,
        "reads": home is not None,
        **found,
    }


def _endless(s: Sampling) -> Sampling:
    return replace(s, stop_tokens=())


def main() -> None:
    """Measure, and write what was found."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="smollm2")
    p.add_argument("--engine", default="auto")
    p.add_argument("--identity", type=Path)
    p.add_argument("--rounds", type=int, default=40)
    p.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gateway.json")
    given = p.parse_args()
    found = run_served(run(given))
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    for k in (
        "added_ms",
        "saturated_ms",
        "with_model_ms",
        "control_ms",
        "streams_32",
        "streams_32_control",
        "first_token_8",
    ):
        print(k, found[k])


if __name__ == "__main__":
    main()
