"""Speed of the torch engine: what reading and capping cost, and decode against transformers' generate.

Everything is a ratio inside one process. Step arms: the same state of keys and values, random order in each round, the
better of two repetitions, median of the per-round ratios with a bootstrap interval, and an A/A arm that shows the noise.
Run arms: engine and rival in turn. Speed counts only where both say the same tokens, which is checked here too.

    python benchmarks/engine.py MODEL_DIRECTORY [--rounds 40] [--batches 1,8,32] [--macro 5] [--only steps,decode,...]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from paired import interval

from homing.engine import Act, Direction, Job, MeanRead, Read, Sampling
from homing.engine.rows import Row
from homing.engine.torch import TorchEngine
from homing.engine.wants import Wants
from homing.models.sources import load_hf, resolve

TEXTS = (
    "Tell me a long story about the sea and the people who live by it.",
    "Explain how a bicycle stays upright while it is ridden.",
    "What should I think about before I move to another town?",
    "Describe a morning in a busy kitchen, with all its sounds.",
)


class _NoStream:
    hidden = 0


def chat(tokenizer: Any, text: str) -> tuple[int, ...]:
    """A user message as the model wants it."""
    message = [{"role": "user", "content": text}]
    return tuple(tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False))


def steps(engine: TorchEngine, tokenizer: Any, *, batch: int, rounds: int) -> dict[str, Any]:
    """Cost of reading and acting in one decode step, relative to a step without."""
    info = engine.info
    layers = tuple(range(info.layers))
    rng = np.random.default_rng(0)
    ids = []
    for k in range(batch):
        v = rng.standard_normal((info.layers, info.hidden)).astype(np.float32)
        ids.append(engine.register(Direction(f"d{k}", layers, v)))
    late = layers[-14:-6]
    cap = [Wants((Act("floor", d, late, tuple(1.0 + 0.1 * k for _ in late)),)) for k, d in enumerate(ids)]
    middle = (info.layers * 2 // 3,)
    arms: dict[str, list[Wants]] = {
        "base": [Wants()] * batch,
        "A/A": [Wants()] * batch,
        "idle hooks": [Wants()] * batch,
        "read one layer": [Wants(reads=(Read(ids[0], middle),))] * batch,
        "read all layers": [Wants(reads=(Read(ids[0], layers),))] * batch,
        "means all layers": [Wants(means=(MeanRead(layers),))] * batch,
        "cap 8 layers, rows differ": cap,
    }
    b = engine._loop.batch
    prompt = chat(tokenizer, TEXTS[0])
    times: dict[str, list[float]] = {a: [] for a in arms}
    with torch.inference_mode():
        job = Job(prompt, sampling=Sampling(4096, stop_tokens=()))
        b.join([Row(job, _NoStream(), stops=frozenset(), decode=engine._decode) for _ in range(batch)])
        saved = b._ids.clone()

        def one() -> float:
            t = time.perf_counter()
            b.step()
            t = time.perf_counter() - t
            b._cache.clock -= 1
            b._positions[:batch] -= 1
            b._mask[:batch, b._cache.clock] = False
            b._ids.copy_(saved)
            for row in b.rows:
                row.lagging, row.closing = None, None
            return t

        order = list(arms)
        shuffle = random.Random(0)
        for r in range(rounds + 1):
            shuffle.shuffle(order)
            for arm in order:
                for row, wants in zip(b.rows, arms[arm], strict=True):
                    row.wants = wants
                b._stale = True
                idle = []
                if arm == "idle hooks":
                    probe = b.runner.probe
                    idle = [m.register_forward_hook(lambda *a, p=probe: p._hook(0, *a)) for m in probe.layers]
                one()  # makes the plan of this arm
                best = min(one(), one())
                for h in idle:
                    h.remove()
                if r:  # the first round warms up
                    times[arm].append(best)
        b.reset()
        b.runner.probe.disarm()
    out: dict[str, Any] = {"step_ms": 1e3 * float(np.median(times["base"]))}
    for arm in list(arms)[1:]:
        out[arm] = interval([x / y for x, y in zip(times[arm], times["base"], strict=True)])
    return out


def generate(model: Any, prompts: list[tuple[int, ...]], new: int, *, pad: int = 0) -> tuple[float, list[list[int]]]:
    """transformers' generate on left-padded prompts; end tokens off, as in the engine's jobs here."""
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    t = time.perf_counter()
    with torch.inference_mode():
        got = model.generate(
            ids, attention_mask=mask, max_new_tokens=new, do_sample=False, eos_token_id=None, pad_token_id=pad
        )
    return time.perf_counter() - t, got[:, width:].tolist()


async def run(engine: TorchEngine, jobs: list[Job]) -> tuple[float, list[list[int]]]:
    """All jobs at once."""
    t = time.perf_counter()
    got = [list((await s.result()).tokens) for s in engine.submit_all(jobs)]
    return time.perf_counter() - t, got


async def decode(
    engine: TorchEngine, model: Any, tokenizer: Any, *, batch: int, rounds: int, new: int
) -> dict[str, Any]:
    """Engine against generate, equal lengths, prefill included on both sides."""
    prompts = [chat(tokenizer, TEXTS[k % len(TEXTS)]) for k in range(batch)]
    jobs = [Job(p, sampling=Sampling(new, stop_tokens=())) for p in prompts]
    ratios, same, rate = [], 0, []
    for r in range(rounds + 1):
        halves: dict[str, tuple[float, list[list[int]]]] = {}
        for who in ("engine", "generate") if r % 2 else ("generate", "engine"):
            halves[who] = await run(engine, jobs) if who == "engine" else generate(model, prompts, new)
        if r:
            ratios.append(halves["generate"][0] / halves["engine"][0])
            rate.append(batch * new / halves["engine"][0])
            same = sum(a == b for a, b in zip(halves["engine"][1], halves["generate"][1], strict=True))
    return {"speed": interval(ratios), "tokens_per_second": float(np.median(rate)), "equal_rows": f"{same}/{batch}"}


async def ragged(engine: TorchEngine, model: Any, tokenizer: Any, *, batch: int, rounds: int) -> dict[str, Any]:
    """Rows of different lengths: continuous batching against padded batches that run until their longest row is done."""
    rng = np.random.default_rng(1)
    lengths = [int(x) for x in np.clip(rng.geometric(1 / 20, size=3 * batch), 2, 96)]
    prompts = [chat(tokenizer, TEXTS[k % len(TEXTS)]) for k in range(3 * batch)]
    jobs = [Job(p, sampling=Sampling(n, stop_tokens=())) for p, n in zip(prompts, lengths, strict=True)]
    ratios = []
    for r in range(rounds):
        pair: dict[str, float] = {}
        for who in ("engine", "padded") if r % 2 else ("padded", "engine"):
            if who == "engine":
                pair[who] = (await run(engine, jobs))[0]
            else:
                pair[who] = sum(
                    generate(model, prompts[i : i + batch], max(lengths[i : i + batch]))[0]
                    for i in range(0, len(prompts), batch)
                )
        ratios.append(pair["padded"] / pair["engine"])
    return {"speed": interval(ratios), "rows": len(jobs), "slots": batch}


async def mapping(
    engine: TorchEngine, model: Any, tokenizer: Any, *, batch: int, rounds: int, new: int
) -> dict[str, Any]:
    """Mean vectors of replies: read while generating, against generate and run the text again with hidden states."""
    prompts = [chat(tokenizer, TEXTS[k % len(TEXTS)]) for k in range(batch)]
    layers = tuple(range(engine.info.layers))
    jobs = [Job(p, sampling=Sampling(new, stop_tokens=()), means=(MeanRead(layers),)) for p in prompts]
    ratios = []

    def twice() -> float:
        seconds, got = generate(model, prompts, new)
        width = max(len(p) for p in prompts)
        rows = [[0] * (width - len(p)) + list(p) + g for p, g in zip(prompts, got, strict=True)]
        mask = [[0] * (width - len(p)) + [1] * (len(p) + new) for p in prompts]
        t = time.perf_counter()
        with torch.inference_mode():
            ids, m = torch.tensor(rows, device=model.device), torch.tensor(mask, device=model.device)
            hidden = model.model(ids, attention_mask=m, output_hidden_states=True, use_cache=False).hidden_states
            torch.stack([h[:, width:].float().mean(1) for h in hidden[1:]]).cpu()
        return seconds + time.perf_counter() - t

    for r in range(rounds + 1):
        pair: dict[str, float] = {}
        for who in ("engine", "twice") if r % 2 else ("twice", "engine"):
            pair[who] = (await run(engine, jobs))[0] if who == "engine" else twice()
        if r:
            ratios.append(pair["twice"] / pair["engine"])
    return {"speed": interval(ratios), "batch": batch, "new_tokens": new}


async def main() -> None:
    """Parse, run, print, write."""
    p = argparse.ArgumentParser()
    p.add_argument("model", nargs="?", default="smollm2")
    p.add_argument("--rounds", type=int, default=40)
    p.add_argument("--macro", type=int, default=5)
    p.add_argument("--batches", default="1,8,32")
    p.add_argument("--only", default="steps,decode,ragged,mapping")
    p.add_argument("--new", type=int, default=32)
    p.add_argument("--dtype", default="float32")
    p.add_argument("--out", default=str(Path(__file__).parent / "results" / "engine.json"))
    a = p.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model, tokenizer = load_hf(resolve(a.model), dtype=a.dtype)
    batches = [int(x) for x in a.batches.split(",")]
    engine = TorchEngine(model, tokenizer, slots=max(batches))
    out: dict[str, Any] = {
        "schema": "homing.benchmark.engine/1",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "dtype": a.dtype,
        "machine": platform.machine(),
        "load_before": os.getloadavg(),
    }
    wanted = a.only.split(",")
    if "steps" in wanted:
        out["steps"] = {}
        for b in batches:
            out["steps"][b] = got = steps(engine, tokenizer, batch=b, rounds=a.rounds)
            print(f"step, batch {b}: {got['step_ms']:.1f} ms")
            for arm, f in got.items():
                if isinstance(f, dict):
                    print(f"  {arm:28s} {f['value'] - 1:+7.2%} [{f['low'] - 1:+.2%}, {f['high'] - 1:+.2%}] n={f['n']}")
    for name, task in (("decode", decode), ("ragged", ragged), ("mapping", mapping)):
        if name not in wanted:
            continue
        out[name] = {}
        for b in [x for x in batches if name == "decode" or x > 1]:
            more = {} if name == "ragged" else {"new": a.new}
            out[name][b] = got = await task(engine, model, tokenizer, batch=b, rounds=a.macro, **more)  # type: ignore[operator]
            f = got["speed"]
            rest = {k: v for k, v in got.items() if k != "speed"}
            print(
                f"{name}, batch {b}: {f['value']:.2f} x [{f['low']:.2f}, {f['high']:.2f}] n={f['n']} {rest}", flush=True
            )
    out["load_after"] = os.getloadavg()
    await engine.close()
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    Path(a.out).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
