"""The engine under a long mixed load: everything that was asked ends, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import gc
import resource

import numpy as np
import pytest

from homing.engine.base import Act, Direction, Job, MeanRead, Read, Sampling
from homing.engine.torch import TorchEngine
from homing.testing.tiny import tiny_llama


async def _load(engine: TorchEngine, jobs: int, seed: int, act: Act, read: Read) -> tuple[int, int]:
    """Jobs that come at random, some held, some read, some cancelled; how many ended and how many were called off."""
    rng = np.random.default_rng(seed)
    gate = asyncio.Semaphore(24)

    async def one(k: int) -> str:
        async with gate:
            length = int(rng.integers(1, 40))
            job = Job(
                tuple(int(t) for t in rng.integers(5, 60, size=length)),
                sampling=Sampling(int(rng.integers(1, 24)), temperature=float(rng.choice([0.0, 0.8])), seed=k),
                acts=(act,) if k % 3 == 0 else (),
                reads=(read,) if k % 2 else (),
                means=(MeanRead(read.layers),) if k % 5 == 0 else (),
                tenant=str(k % 2),
            )
            stream = engine.submit(job)
            seen = 0
            async for step in stream:
                seen += 1
                if k % 2:
                    assert np.isfinite(step.readings[0]).all()
                if k % 7 == 0 and seen == 2:
                    stream.cancel()
                    return "cancelled"
                if k % 11 == 0 and seen == 3:
                    stream.update(())
            return "ended"

    done = await asyncio.gather(*(one(k) for k in range(jobs)))
    return done.count("ended"), done.count("cancelled")


async def _soak(rounds: int, jobs: int) -> list[int]:
    engine = TorchEngine(*tiny_llama(), slots=8)
    layers = (1, 2)
    d = Direction("soak", layers, np.random.default_rng(0).standard_normal((2, engine.info.hidden)).astype(np.float32))
    engine.register(d)
    act, read = Act("floor", d.id, layers, (0.5, 0.5)), Read(d.id, layers)
    high: list[int] = []
    for r in range(rounds):
        ended, cancelled = await _load(engine, jobs, r, act, read)
        assert ended + cancelled == jobs and ended > 0
        gc.collect()
        high.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB, the most so far
    alone = await engine.submit(Job((7, 8, 9), sampling=Sampling(8))).result()
    await engine.close()
    fresh = TorchEngine(*tiny_llama(), slots=8)
    again = await fresh.submit(Job((7, 8, 9), sampling=Sampling(8))).result()
    await fresh.close()
    assert alone.tokens == again.tokens  # after all of it a row says what it said at first
    return high


async def test_a_mixed_load_ends_and_leaves_nothing() -> None:
    await _soak(2, 60)


@pytest.mark.slow
async def test_memory_does_not_grow_under_a_long_load() -> None:
    high = await _soak(20, 400)
    grown = (high[-1] - high[4]) / 1024
    print(f"RESULT soak: 8000 jobs, most memory grew by {grown:.1f} MiB after the first 2000")
    assert grown < 64
