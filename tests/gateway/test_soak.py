"""The service for minutes under whatever comes: its memory is flat, and when all are gone nothing is left of them."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from tests.gateway.loading import Client, nothing_left, resident, trimmed
from tests.gateway.serving import Served, served
from tests.verbs.tiny_map import Mapped

import homing.models.local as local
from homing.gateway.deployment import Deployment

SECONDS = float(os.environ.get("HOMING_SOAK_SECONDS", "600"))
CLIENTS = 16
WORDS = ("Hello there", "And now?", "What else is new", "Tell me of the weather", "Be <role> for me", "Tell me more")
BROKEN: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b'{"model": 3}',
    b'{"messages": []}',
    b"\xff\xfe",
    b"[" * 99,
    b'{"a": NaN}',
)
EVERY = 1.0


class Traffic:
    """Clients that do one thing after the other until the end."""

    def __init__(self, gate: Served, end: float) -> None:
        self.gate, self.end, self.did = gate, end, Counter[str]()

    def body(self, rng: np.random.Generator, **more: Any) -> dict[str, Any]:
        return {
            "model": self.gate.model, "messages": [{"role": "user", "content": str(rng.choice(WORDS))}],
            "seed": int(rng.integers(2**31)), "temperature": 0.8, "max_tokens": int(rng.integers(1, 24)), **more,
        }  # fmt: skip

    async def client(self, k: int) -> None:
        rng = np.random.default_rng(k)
        kinds = (self.stream, self.whole, self.vanish, self.talk, self.broken, self.listen)
        while time.monotonic() < self.end:
            kind = kinds[int(rng.choice(len(kinds), p=(0.25, 0.15, 0.2, 0.15, 0.15, 0.1)))]
            await asyncio.wait_for(kind(rng), 60)
            self.did[kind.__name__] += 1

    async def stream(self, rng: np.random.Generator) -> None:
        hold = str(rng.choice(["none", "cap", "return"]))
        ours = {"hold": hold, "report": True}
        c = await (
            await Client.opened(self.gate, self.body(rng, stream=True, homing=ours, n=int(rng.integers(1, 4))))
        ).rest()
        assert c.status == 429 or c.chunks[-1]["homing"]["kept"], bytes(c.got[-500:])

    async def whole(self, rng: np.random.Generator) -> None:
        c = await (await Client.opened(self.gate, self.body(rng, logprobs=True, top_logprobs=5))).rest()
        assert c.status in (200, 429), bytes(c.got[-500:])

    async def vanish(self, rng: np.random.Generator) -> None:
        c = await Client.opened(self.gate, self.body(rng, stream=bool(rng.random() < 0.7), max_tokens=200))
        await asyncio.sleep(float(rng.exponential(0.1)))
        c.vanish(reset=bool(rng.random() < 0.5))

    async def talk(self, rng: np.random.Generator) -> None:
        """A conversation of a few turns, under an id of its own, that drifts and is brought back."""
        id, messages = f"t-{rng.integers(2**40)}", list[dict[str, str]]()
        for turn in range(int(rng.integers(2, 6))):
            messages.append({"role": "user", "content": str(rng.choice(WORDS))})
            body = self.body(rng, messages=messages, homing={"conversation_id": id, "report": True})
            c = await (await Client.opened(self.gate, body)).rest()
            if c.status == 429:
                return
            assert c.status == 200, bytes(c.got[-500:])
            messages.append({"role": "assistant", "content": c.text + (" <role>" if turn == 0 else "")})
        if rng.random() < 0.3:
            path = f"/homing/v1/conversations/{id}"
            c = await (await Client.opened(self.gate, b"", path=path, method="DELETE")).rest()
            assert c.status == 200, bytes(c.got[-500:])

    async def broken(self, rng: np.random.Generator) -> None:
        c = await Client.opened(self.gate, BROKEN[int(rng.integers(len(BROKEN)))])
        await c.rest()
        assert c.status == 400

    async def listen(self, rng: np.random.Generator) -> None:
        """Not by a library's client: each loads its certificates anew, and they are no memory of the service's."""
        c = await Client.opened(self.gate, b"", path="/homing/v1/events", method="GET")
        await c.until(b"\r\n\r\n")
        assert c.status == 200, bytes(c.got[-500:])
        with suppress(TimeoutError):
            async with asyncio.timeout(float(rng.exponential(1.0))):
                while await c.read():
                    pass
        c.vanish()


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_memory_is_flat_and_nothing_is_left(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caches are made small, so that they are full within the warm-up: that they end is what is proved."""
    monkeypatch.setattr(local, "ENCODED_KEPT", 2**14)

    def change(keeper: Any) -> None:
        keeper._held.most = keeper._left.most = 2**16
        keeper.model.engine._prefixes.limit = 2**22
        # the tokenizer remembers 10,000 words, and the planted one takes whole texts for words
        keeper.model.tokenizer.backend_tokenizer.model._resize_cache(64)

    deployment = Deployment(queue=32, max_new_tokens=200)
    with served(mapped, deployment, slots=8, store=str(tmp_path / "g.db"), change=change) as gate:
        began = time.monotonic()
        traffic = Traffic(gate, began + SECONDS)
        clients = [asyncio.create_task(traffic.client(k)) for k in range(CLIENTS)]
        seen: list[tuple[float, int]] = []
        while not all(c.done() for c in clients):
            await asyncio.sleep(EVERY)
            trimmed()
            seen.append((time.monotonic() - began, resident()))
        await asyncio.gather(*clients)
        nothing_left(gate)
        keeper: Any = gate.service.keeper
        sizes = {
            "renders": keeper.model._encoded_tokens, "held": keeper._held.used, "left": keeper._left.used,
            "prefixes": keeper.model.engine._prefixes.used,
        }  # fmt: skip
    fifths = [[m for t, m in seen if k * SECONDS / 5 <= t < (k + 1) * SECONDS / 5] for k in range(5)]
    medians = [median(f) / 2**20 for f in fifths]
    # the end of the warm-up, and the end, each over a tenth of the time
    first = [m for t, m in seen if 0.2 * SECONDS <= t < 0.3 * SECONDS]
    last = [m for t, m in seen if t >= 0.9 * SECONDS]
    growth = median(last) / median(first) - 1
    said = ", ".join(f"{k} {n}" for k, n in sorted(traffic.did.items()))
    print(
        f"RESULT soak: {SECONDS:g} s, {traffic.did.total()} deeds ({said}); resident MiB by fifths"
        f" {[round(m, 1) for m in medians]}; end against the end of the warm-up {growth:+.2%} (n = {len(first)}, {len(last)});"
        f" caches {sizes}"
    )
    assert growth < 0.02
