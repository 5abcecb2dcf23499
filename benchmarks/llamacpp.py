"""Speed of the llama.cpp engine: what reading and holding cost, beside plain llama.cpp, our torch engine and its own server.

Step arms each have a context of their own at the same place of the same texts; every step runs all arms in random order, and
the ratio is of two arms in one step, so that a slow moment of the machine meets both. Run arms take turns.

    python benchmarks/llamacpp.py [--model FILE.gguf] [--rounds 5] [--steps 48] [--only steps,torch,server]
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import json
import os
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from paired import interval

from homing.engine import Act, Direction, Job, Read, Sampling
from homing.engine.llamacpp import LlamaEngine
from homing.engine.llamacpp.callback import Op, Program, Tables, compiled
from homing.engine.llamacpp.carrier import find_carrier
from homing.engine.llamacpp.context import Context, Weights
from homing.models.requantise import requantised
from homing.models.sources import cache_directory, locate, open_model

TEXT = "Tell me a long story about the sea and the people who live by it, number {}."
CAPPED = 8


class Arm:
    """One context, with what is read and done in each of its steps."""

    def __init__(
        self, w: Weights, batch: int, *, read: int = 0, cap: bool = False, python: bool = False, hook: bool = True
    ):
        tables = Tables(w.hidden, w.layers, 512) if hook else None
        self.tables, self.batch, self.w = tables, batch, w
        library = None if python else compiled()
        threads = os.cpu_count() or 1
        self.context = Context(
            w, tables, library, cells=batch * 256, sequences=max(batch, 2), threads=threads, rows=512
        )
        if tables is None:
            return
        rng = np.random.default_rng(0)
        v = rng.standard_normal((w.layers, w.hidden)).astype(np.float32)
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        if read:
            layers = range(w.layers) if read > 1 else [w.layers * 2 // 3]
            tables.reading({"d": {x: v[x] for x in layers}})
        if cap:
            late = range(w.layers - 14, w.layers - 14 + CAPPED)
            programs = [
                Program(tuple(Op(x, "floor", v[x], 1.0 + 0.1 * row, 1.0, (0, 2), -1, k) for k, x in enumerate(late)))
                for row in range(batch)
            ]
            tables.programs(programs)
        self.slots = np.arange(batch, dtype=np.int32) if cap else np.full(batch, -1, np.int32)

    def decode(
        self, tokens: list[int], positions: list[int], sequences: list[int], wanted: np.ndarray[Any, Any]
    ) -> float:
        """One decode, and taking what it read; seconds."""
        n = len(tokens)
        start = time.perf_counter()
        if self.tables is not None:
            slot = self.slots[sequences].astype(np.int32)
            none = np.full(n, -1, np.int32)
            self.tables.begin(slot, np.full(n, 2, np.int32), none, np.ones(n, np.uint8), np.flatnonzero(wanted))
        self.context.decode(tokens, positions, sequences, wanted)
        if self.tables is not None:
            self.tables.arrays["projections"][:, :n].copy()
        return time.perf_counter() - start


def steps(w: Weights, *, batch: int, rounds: int, n: int) -> dict[str, Any]:
    """Speed of a step while reading and holding, as a share of plain llama.cpp's."""
    make: dict[str, Callable[[], Arm]] = {
        "plain": lambda: Arm(w, batch, hook=False),
        "A/A": lambda: Arm(w, batch, hook=False),
        "callback, nothing wanted": lambda: Arm(w, batch),
        "read one layer": lambda: Arm(w, batch, read=1),
        "read all layers": lambda: Arm(w, batch, read=2),
        "cap 8 layers, rows differ, read all": lambda: Arm(w, batch, read=2, cap=True),
        "the same with the Python callback": lambda: Arm(w, batch, read=2, cap=True, python=True),
    }
    arms = {name: f() for name, f in make.items()}
    times: dict[str, list[float]] = {a: [] for a in arms}
    order, shuffle = list(arms), random.Random(0)
    for r in range(rounds):
        prompts = [list(w.tokenize(TEXT.format(batch * r + k))) for k in range(batch)]
        for arm in arms.values():
            arm.context.clear()
            for s, p in enumerate(prompts):
                arm.decode(p, list(range(len(p))), [s] * len(p), np.arange(len(p)) == len(p) - 1)
        token = [int(x) for x in np.random.default_rng(r).integers(100, w.vocab - 100, batch)]
        for i in range(n + 2):
            shuffle.shuffle(order)
            for name in order:
                t = arms[name].decode(token, [len(p) + i for p in prompts], list(range(batch)), np.ones(batch, bool))
                if i >= 2:  # the first two warm up
                    times[name].append(t)
    for arm in arms.values():
        arm.context.close()
    out: dict[str, Any] = {"step_ms": 1e3 * float(np.median(times["plain"]))}
    for name in list(arms)[1:]:
        out[name] = interval([x / y for x, y in zip(times["plain"], times[name], strict=True)])
    return out


async def run(engine: Any, jobs: list[Job]) -> float:
    """All jobs at once; seconds."""
    t = time.perf_counter()
    for s in engine.submit_all(jobs):
        await s.result()
    return time.perf_counter() - t


def held_jobs(engine: Any, prompts: list[tuple[int, ...]], new: int) -> list[Job]:
    """Jobs read at every layer and capped at eight, each with thresholds of its own."""
    info = engine.info
    v = np.random.default_rng(0).standard_normal((info.layers, info.hidden)).astype(np.float32)
    d = engine.register(Direction("d", tuple(range(info.layers)), v))
    late = tuple(range(info.layers - 14, info.layers - 14 + CAPPED))
    return [
        Job(p, sampling=Sampling(new, stop_tokens=()), reads=(Read(d, tuple(range(info.layers))),),
            acts=(Act("floor", d, late, (1.0 + 0.1 * k,) * CAPPED),))
        for k, p in enumerate(prompts)
    ]  # fmt: skip


async def beside_torch(file: Path, *, batch: int, rounds: int, new: int) -> dict[str, Any]:
    """Our own engines on the same weights, prompts included, nothing read; how many times as fast llama.cpp is."""
    torch, llama = open_model(str(file), engine="torch"), open_model(str(file))
    prompts = [tuple(llama.tokenizer(TEXT.format(k))["input_ids"]) for k in range(batch)]
    jobs = [Job(p, sampling=Sampling(new, stop_tokens=())) for p in prompts]
    ratios, rate = [], []
    for r in range(rounds + 1):
        pair: dict[str, float] = {}
        for who in ("torch", "llama") if r % 2 else ("llama", "torch"):
            pair[who] = await run((torch if who == "torch" else llama).engine, jobs)
        if r:
            ratios.append(pair["torch"] / pair["llama"])
            rate.append(batch * new / pair["llama"])
    await torch.close()
    await llama.close()
    return {"speed": interval(ratios), "tokens_per_second": float(np.median(rate)), "new_tokens": new}


def beside_server(file: Path, *, streams: int, rounds: int, new: int) -> dict[str, Any]:
    """llama-server of the same wheel, plain, against our engine reading all layers and capping eight."""
    import xllamacpp

    threads = os.cpu_count() or 1
    p = xllamacpp.CommonParams()
    p.model.path = str(file)
    p.n_parallel, p.n_ctx, p.n_batch, p.warmup, p.verbosity = streams, streams * 512, 512, True, -1
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    p.kv_unified = True
    server = xllamacpp.Server(p)
    engine = LlamaEngine(file, slots=streams, threads=threads)
    texts = [TEXT.format(k) for k in range(streams)]
    jobs = held_jobs(engine, [engine.weights.tokenize(t) for t in texts], new)

    def theirs() -> float:
        asked = [
            {"prompt": t, "max_tokens": new, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
            for t in texts
        ]
        start = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(streams) as pool:
            made = list(pool.map(server.handle_completions, asked))
        seconds = time.perf_counter() - start
        assert all(m["usage"]["completion_tokens"] == new for m in made), made[0]
        return seconds

    ratios, rate = [], []
    for r in range(rounds + 1):
        pair: dict[str, float] = {}
        for who in ("server", "ours") if r % 2 else ("ours", "server"):
            pair[who] = theirs() if who == "server" else asyncio.run(run(engine, jobs))
        if r:
            ratios.append(pair["server"] / pair["ours"])
            rate.append(streams * new / pair["ours"])
    engine.close_now()
    return {
        "speed": interval(ratios),
        "tokens_per_second": float(np.median(rate)),
        "streams": streams,
        "new_tokens": new,
    }


def main() -> None:
    """Parse, run, print, write."""
    p = argparse.ArgumentParser()
    p.add_argument("--model", default="")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=48)
    p.add_argument("--batches", default="1,8,32")
    p.add_argument("--only", default="steps,torch,server")
    p.add_argument("--out", default=str(Path(__file__).parent / "results" / "llamacpp.json"))
    a = p.parse_args()
    carrier = find_carrier()
    source = locate(a.model or "smollm2")
    assert source.path is not None
    file = source.path if a.model else requantised(source.path, "Q8_0", cache_directory())
    w = Weights(carrier, file)
    out: dict[str, Any] = {
        "schema": "homing.benchmark.llamacpp/1",
        "library": f"{carrier.package} {carrier.version}",
        "weights": w.kind,
        "threads": (os.cpu_count() or 1),
        "machine": platform.machine(),
        "load_before": os.getloadavg(),
    }
    wanted, batches = a.only.split(","), [int(x) for x in a.batches.split(",")]
    if "steps" in wanted:
        out["steps"] = {}
        for b in batches:
            out["steps"][b] = got = steps(w, batch=b, rounds=a.rounds, n=a.steps)
            print(f"step, batch {b}: {got['step_ms']:.1f} ms")
            for arm, f in got.items():
                if isinstance(f, dict):
                    print(f"  {arm:38s} {f['value']:.3f} [{f['low']:.3f}, {f['high']:.3f}] n={f['n']}", flush=True)
    w.close()
    if "torch" in wanted:
        out["torch"] = {}
        for b in batches:
            out["torch"][b] = got = asyncio.run(beside_torch(file, batch=b, rounds=a.rounds, new=48))
            f = got["speed"]
            print(f"against torch, batch {b}: {f['value']:.2f} x [{f['low']:.2f}, {f['high']:.2f}] {got}", flush=True)
    if "server" in wanted:
        out["server"] = got = beside_server(file, streams=8, rounds=a.rounds, new=64)
        f = got["speed"]
        print(f"against llama-server: {f['value']:.3f} x [{f['low']:.3f}, {f['high']:.3f}] {got}", flush=True)
    out["load_after"] = os.getloadavg()
    Path(a.out).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
