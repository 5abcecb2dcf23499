"""The gateway beside its peers: LiteLLM's proxy before another service, and transformers serve with a model of its own.

    make peers
    python benchmarks/peers.py [--rounds 200] [--turns 4] [--only upstream,model] [--out benchmarks/results/peers.json]

upstream: gateway and proxy stand before one fake service that takes no time, and what each adds is the time through it less the
time straight to the service, in one round, in random order. An A/A control, straight less straight, shows the noise. The gateway
commits every turn to a SQLite file; the proxy, without a database, keeps nothing.

model: the embedded model, 32 prompts at once, streamed, greedily, at most 16 tokens each. transformers serve runs on the weights
in float32, once as it does by default and once with its continuous batching; the gateway once as it does by default, on the same
weights in Q8_0 on llama.cpp, and once on the very same float32 on torch. Nothing is read or held: the wire alone. Who is not
measured is stopped meanwhile, since a server without requests may still keep a core busy.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from paired import interval

from homing.models.sources import resolve
from homing.persona.questions import load_questions
from homing.testing.upstream import Deed, Upstream
from homing.testing.upstream_flow import Flow

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv" / "peers"
WORDS = " ".join(["word"] * 64)
STREAMS, TOKENS = 32, 16
START_SECONDS = 120
QUIET = {
    "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False",
    "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR",
    # keys would cost the proxy time, and the gateway has none here either
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}  # fmt: skip


class Client:
    """A client of one service, and its process where it has one of its own to be stopped."""

    def __init__(self, url: str, model: str, process: subprocess.Popen[bytes] | None = None, kept: int = 64) -> None:
        limits = httpx2.Limits(max_connections=64, max_keepalive_connections=kept)
        self.http = httpx2.AsyncClient(base_url=url, timeout=600, limits=limits)
        self.model, self.process = model, process

    def signal(self, number: int) -> None:
        """Stop the process or let it go on."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def body(self, asked: str, tokens: int, **more: Any) -> dict[str, Any]:
        """A request that every service here understands."""
        said = [{"role": "user", "content": asked}]
        return {"model": self.model, "messages": said, "max_tokens": tokens, "temperature": 0, **more}

    async def whole(self, asked: str, tokens: int) -> float:
        """Seconds to a whole answer."""
        began = time.perf_counter()
        r = await self.http.post("/v1/chat/completions", json=self.body(asked, tokens))
        r.raise_for_status()
        took = time.perf_counter() - began
        if not r.json()["choices"][0]["message"]["content"]:
            raise RuntimeError(f"{self.http.base_url} answers nothing: {r.text[:200]}")
        return took

    async def stream(self, asked: str, tokens: int) -> tuple[float, float, int]:
        """Seconds to the first text and to the end, and the tokens that the service counted."""
        began, first, n = time.perf_counter(), 0.0, 0
        body = self.body(asked, tokens, stream=True, stream_options={"include_usage": True})
        async with self.http.stream("POST", "/v1/chat/completions", json=body) as r:
            r.raise_for_status()
            async for line in r.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    raise RuntimeError(f"{self.http.base_url} breaks off: {line[:200]}")
                if not first and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                    first = time.perf_counter() - began
                if chunk.get("usage"):
                    n = chunk["usage"]["completion_tokens"]
        if not first or not n:
            raise RuntimeError(f"{self.http.base_url} streams no text, or does not count it")
        return first, time.perf_counter() - began, n


def _service(out: Connection) -> None:
    """The fake service, in a process of its own so that it shares nothing with who asks; until it is told to stop."""
    with Upstream(say=lambda c, b: WORDS, rule=lambda n: Deed(flow=Flow()), keep_alive=True) as up:
        out.send(up.url.removesuffix("/v1"))
        out.recv()


@contextmanager
def fake_service() -> Generator[str, None, None]:
    """Its base address."""
    ours, theirs = multiprocessing.Pipe()
    p = multiprocessing.get_context("spawn").Process(target=_service, args=(theirs,))
    p.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        p.join(30)


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@asynccontextmanager
async def running(command: list[object], model: str, health: str, kept: int = 64) -> AsyncGenerator[Client, None]:
    """A server for as long as a block runs, once it says that it is well; and a client of it.

    Args:
        command: takes ``--host`` and ``--port`` besides. ``kept``: connections that are kept between requests.
    """
    port = free_port()
    env = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"} | QUIET
    with tempfile.TemporaryFile() as log:
        where = ["--host", "127.0.0.1", "--port", str(port)]
        p = subprocess.Popen([*map(str, command), *where], env=env, stdout=log, stderr=log)
        client = Client(f"http://127.0.0.1:{port}", model, p, kept)
        try:
            end = time.monotonic() + START_SECONDS
            while not await _well(client.http, health):
                if p.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    sys.exit(f"{command[0]} did not start:\n{log.read()[-2000:].decode(errors='replace')}")
                await asyncio.sleep(0.2)
            yield client
        finally:
            await client.http.aclose()
            p.terminate()
            client.signal(signal.SIGCONT)
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()


async def _well(http: httpx2.AsyncClient, path: str) -> bool:
    try:
        return (await http.get(path)).status_code == 200
    except httpx2.TransportError:
        return False


def homing(folder: str, name: str, *more: object) -> list[object]:
    """The gateway's command."""
    store = f"sqlite:///{folder}/{name}.db"
    return [sys.executable, "-m", "homing.cli", "serve", *more, "--hold", "none", "--store", store]


async def before_upstream(rounds: int) -> dict[str, Any]:
    """What gateway and proxy add to one service."""
    rng = np.random.default_rng(0)
    took: dict[str, list[tuple[float, float, float]]] = {"straight": [], "again": [], "homing": [], "litellm": []}
    with fake_service() as url, tempfile.TemporaryDirectory() as folder:
        way = {"model": "openai/x", "api_base": f"{url}/v1", "api_key": "none"}
        config = Path(folder) / "litellm.yaml"  # JSON is YAML
        config.write_text(json.dumps({"model_list": [{"model_name": "x", "litellm_params": way}]}))
        ours = homing(folder, "gateway", "x", "--upstream", f"{url}/v1")
        theirs: list[object] = [PEERS / "bin" / "litellm", "--config", config]
        straight = Client(url, "x")
        async with running(ours, "x", "/health/ready") as gate, running(theirs, "x", "/health/readiness") as proxy:
            clients = {"straight": straight, "again": straight, "homing": gate, "litellm": proxy}
            for k in range(-10, rounds):  # the first ten are not counted
                for name in rng.permutation(list(clients)):
                    whole = await clients[name].whole("Hello?", 64)
                    first, end, _ = await clients[name].stream("Hello?", 64)
                    if k >= 0:
                        took[name].append((1000 * whole, 1000 * first, 1000 * end))
        await straight.http.aclose()
    x = {name: np.array(rows) for name, rows in took.items()}
    out: dict[str, Any] = {}
    for i, kind in enumerate(("whole", "first", "stream")):
        for key, a, b in (
            ("homing", "homing", "straight"),
            ("litellm", "litellm", "straight"),
            ("control", "again", "straight"),
            ("litellm_less_homing", "litellm", "homing"),
        ):
            out[f"{key}_{kind}_ms"] = interval(list(x[a][:, i] - x[b][:, i]))
        out[f"straight_{kind}_ms"] = interval(list(x["straight"][:, i]))
    return out


async def with_model(turns: int) -> dict[str, Any]:
    """Tokens a second of 32 streams."""
    rng = np.random.default_rng(0)
    weights = str(resolve("smollm2").path)
    asked = [q.text for q in load_questions()[:STREAMS]]
    rates: dict[str, list[float]] = {"homing": [], "homing_torch": [], "transformers": [], "transformers_batching": []}
    peer: list[object] = [Path(sys.executable).with_name("transformers"), "serve", weights]
    with tempfile.TemporaryDirectory() as folder:
        default = homing(folder, "default", "smollm2")
        torch = homing(folder, "torch", "smollm2", "--engine", "torch")
        ways: list[tuple[list[object], str, str]] = [
            (default, "smollm2", "/health/ready"),
            (torch, "smollm2", "/health/ready"),
            (peer, weights, "/health"),
            ([*peer, "--continuous-batching"], weights, "/health"),
        ]
        async with AsyncExitStack() as stack:
            clients: dict[str, Client] = {}
            for name, (command, model, health) in zip(rates, ways, strict=True):
                # no connection is kept: it would be found dead once its server goes on
                clients[name] = await stack.enter_async_context(running(command, model, health, kept=0))
                await clients[name].stream(asked[0], TOKENS)
                clients[name].signal(signal.SIGSTOP)
            for _ in range(turns):
                for name in rng.permutation(list(clients)):
                    clients[name].signal(signal.SIGCONT)
                    began = time.perf_counter()
                    got = await asyncio.gather(*[clients[name].stream(text, TOKENS) for text in asked])
                    rates[name].append(sum(n for *_, n in got) / (time.perf_counter() - began))
                    clients[name].signal(signal.SIGSTOP)
    out: dict[str, Any] = {f"{name}_tokens_per_second": interval(r) for name, r in rates.items()}
    for ours in ("homing", "homing_torch"):
        for theirs in ("transformers", "transformers_batching"):
            ratios = [o / t for o, t in zip(rates[ours], rates[theirs], strict=True)]
            out[f"{ours}_times_{theirs}"] = interval(ratios)
    return out


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    """What is asked for, with the versions that it was found with."""
    wanted, found = given.only.split(","), dict[str, Any]()
    if "upstream" in wanted:
        lines = (HERE / "peers.txt").read_text().splitlines()
        found["litellm"] = next(x.partition("==")[2] for x in lines if x.startswith("litellm=="))
        found |= await before_upstream(given.rounds)
    if "model" in wanted:
        found["transformers"] = importlib.metadata.version("transformers")
        found |= {"streams": STREAMS, "tokens": TOKENS} | await with_model(given.turns)
    return found


def main() -> None:
    """Measure, and write what was found."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=200)
    p.add_argument("--turns", type=int, default=4)
    p.add_argument("--only", default="upstream,model")
    p.add_argument("--out", type=Path, default=HERE / "results" / "peers.json")
    given = p.parse_args()
    if "upstream" in given.only and not (PEERS / ".made").is_file():
        sys.exit(f"LiteLLM's proxy is not installed in {PEERS}; run: make peers")
    kept = json.loads(given.out.read_text()) if given.out.is_file() else {}
    found = asyncio.run(measure(given))
    given.out.write_text(json.dumps(kept | found, indent=1) + "\n")
    for name, f in found.items():
        print(name, f)


if __name__ == "__main__":
    main()
