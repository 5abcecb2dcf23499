"""The service under load: readers that are slow, clients that vanish, more than it takes; and each row as if it were alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET, socket
from typing import Any

import httpx2
import numpy as np
import pytest
import tests.gateway.serving as serving_room
from tests.gateway.loading import Client, loop_of, nothing_left, rows_of, unsent
from tests.gateway.serving import Served, served, until
from tests.gateway.test_turns import endless
from tests.verbs.tiny_map import Mapped

import homing.gateway.serve as serve
from homing.gateway.deployment import Deployment
from homing.hold.cap import Cap
from homing.models.sources import open_model
from homing.persona.axis import Axis

STREAMS = 64
ASKED = ("Hello there", "And now?", "What else is new", "Tell me of the weather")
WAITING_BYTES = 2**16 + 2**14
"""Of one slow reader in the server at most: what the transport takes before it stops the writer, and one chunk over it."""
NEAR_TIE = 1e-4
"""Difference of two probabilities under which rounding may choose either."""


def body_of(gate: Served, k: int, *, stream: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "model": gate.model, "messages": [{"role": "user", "content": ASKED[k % len(ASKED)]}], "seed": k, "temperature": 0.8,
        "max_tokens": 40, "stream": stream, **({"stream_options": {"include_usage": True}} if stream else {}), **more,
    }  # fmt: skip


def said(c: Client) -> int:
    """Tokens of a stream that was ended as one is."""
    return int(c.chunks[-1]["usage"]["completion_tokens"])


def slower(monkeypatch: pytest.MonkeyPatch, gate: Served, seconds: float) -> None:
    """A step of the batch takes so long at least, on whatever machine."""
    batch = loop_of(gate).batch
    step = batch.step
    monkeypatch.setattr(batch, "step", lambda: (time.sleep(seconds), step())[1])


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes megabytes for a slow reader unless it is told not to."""
    real = serve.listen

    def listen(deployment: Deployment) -> socket:
        out = real(deployment)
        out.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
        return out

    monkeypatch.setattr(serving_room, "listen", listen)


# -- slow readers ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_buffers")
async def test_slow_readers_hold_up_nobody_and_cost_no_more_than_a_buffer(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(mapped, Deployment(hold="none"), slots=32, store=str(tmp_path / "g.db")) as gate:
        endless(monkeypatch, gate)
        large: dict[str, Any] = {"logprobs": True, "top_logprobs": 20, "max_tokens": 100}
        alone = [await (await Client.opened(gate, body_of(gate, k))).rest() for k in range(4)]
        stuck = [await Client.opened(gate, body_of(gate, k, **large), receive=2048) for k in range(16)]
        slow = [await Client.opened(gate, body_of(gate, k, **large), receive=2048) for k in range(8)]
        stop = asyncio.Event()

        async def sips(c: Client) -> None:
            while not stop.is_set() and await c.read(64):
                await asyncio.sleep(0.02)

        sipping = [asyncio.create_task(sips(c)) for c in slow]
        others = [await Client.opened(gate, body_of(gate, k)) for k in range(STREAMS - len(stuck) - len(slow))]
        high = [0]

        async def watched() -> None:
            while not stop.is_set():
                high[0] = max(high[0], unsent(gate))
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watched())
        await asyncio.wait_for(asyncio.gather(*[c.rest() for c in others]), 60)
        for k, c in enumerate(others):
            assert said(c) == 40
            if k < 4:
                assert c.text == alone[k].text
        await asyncio.to_thread(until, lambda: rows_of(gate) == 0)  # no row waits for its reader
        assert not any(c.got for c in stuck) and gate.service.running == len(stuck) + len(slow)
        assert high[0] <= WAITING_BYTES * (len(stuck) + len(slow)), high
        stop.set()
        await asyncio.gather(*sipping, watching)
        await asyncio.wait_for(asyncio.gather(*[c.rest() for c in (*stuck, *slow)]), 60)
        assert all(said(c) == 100 and len(c.got) > 100_000 for c in (*stuck, *slow))
        for a, b in zip(stuck, slow, strict=False):
            assert a.text == b.text, "late, and whole"
        print(f"RESULT slow readers: {high[0]} bytes waited at most for {len(stuck) + len(slow)} readers")
        nothing_left(gate)


@pytest.mark.usefixtures("small_buffers")
async def test_one_who_takes_nothing_loses_its_place_and_one_who_takes_little_does_not(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STALLED_SECONDS", 4)
    with served(mapped, Deployment(hold="none"), slots=4) as gate:
        endless(monkeypatch, gate)
        large: dict[str, Any] = {"logprobs": True, "top_logprobs": 20, "max_tokens": 200}
        stuck = [await Client.opened(gate, body_of(gate, 1, stream=s, **large), receive=2048) for s in (True, False)]
        slow = await Client.opened(gate, body_of(gate, 2, **large), receive=2**16)
        while await slow.read(4096) and b"[DONE]" not in slow.got[-20:]:
            await asyncio.sleep(0.03)
        await slow.rest()
        assert said(slow) == 200
        # a whole answer that nobody takes is let go as well
        until(lambda: gate.service.running == 0 and not gate.server.server_state.connections, seconds=30)
        for c in stuck:
            with suppress(OSError):
                await asyncio.wait_for(c.rest(), 10)
            c.s.close()
            told, length = bytes(c.got).partition(b"\r\n\r\n")[2], c.headers.get("content-length")
            whole = told.endswith(b"[DONE]\n\n") if length is None else len(told) >= int(length)
            assert c.status == 200 and not whole, "cut, and not as if it were whole"
        nothing_left(gate)


# -- clients that vanish -----------------------------------------------------------------------------------------------


async def test_rows_of_clients_that_vanish_leave_at_once_and_the_queue_moves_on(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with served(mapped, Deployment(hold="none"), slots=8, store=str(tmp_path / "g.db")) as gate:
        endless(monkeypatch, gate)
        slower(monkeypatch, gate, 0.04)
        clients = [await Client.opened(gate, body_of(gate, k, max_tokens=40)) for k in range(STREAMS)]
        await asyncio.gather(*[c.until(b"data: ") for c in clients[:8]])
        until(lambda: gate.service.running == STREAMS)
        batch = loop_of(gate).batch
        first = set(map(id, batch.rows))
        assert rows_of(gate) == 8
        began = time.monotonic()
        for k, c in enumerate(clients[:40]):  # the whole batch, and more than half of the queue
            c.vanish(reset=k % 2 == 0)
        until(lambda: gate.service.running == 24, seconds=1.5)
        until(lambda: not first & set(map(id, batch.rows)), seconds=1.5)
        gone = time.monotonic() - began
        until(lambda: rows_of(gate) == 8, seconds=1.5)
        await asyncio.wait_for(asyncio.gather(*[c.rest() for c in clients[40:]]), 60)
        assert [said(c) for c in clients[40:]] == [40] * 24
        print(f"RESULT vanishing: 40 of 64 had left after {gone:.2f} s, where a reply takes 2 s")
        nothing_left(gate)
        counts = httpx2.get(gate.url + "/homing/v1/status").json()
        assert counts["turns"] == 24, "a reply that nobody took is no turn"
    assert not [x for x in caplog.records if x.levelname == "ERROR"], "that a client goes is no error of ours"


# -- more than it takes ------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """What came of an open loop of arrivals."""

    answers: list[tuple[int, Client]]
    refused: list[Client]
    vanished: int


async def arrivals(gate: Served, n: int, *, seed: int, per_second: float, tokens: int) -> Load:
    """Requests that come when they come, whoever is still there: a fifth whole, a tenth of clients that vanish."""
    rng = np.random.default_rng(seed)
    load = Load([], [], 0)

    async def one(k: int, kind: float) -> None:
        c = await Client.opened(gate, body_of(gate, k % 16, max_tokens=tokens, stream=kind > 0.2))
        if kind > 0.9:
            await asyncio.sleep(0.05)
            c.vanish(reset=k % 2 == 0)
            load.vanished += 1
            return
        await c.rest()
        if c.status == 429:
            load.refused.append(c)
        else:
            load.answers.append((k % 16, c))

    tasks: list[asyncio.Task[None]] = []
    for k in range(n):
        tasks.append(asyncio.create_task(one(k, float(rng.random()))))
        await asyncio.sleep(float(rng.exponential(1 / per_second)))
    await asyncio.wait_for(asyncio.gather(*tasks), 120)
    return load


async def test_more_than_it_takes_is_429_and_everyone_else_is_answered_right(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(hold="none", queue=6)
    with served(mapped, deployment, slots=4, store=str(tmp_path / "g.db")) as gate:
        alone = [(await (await Client.opened(gate, body_of(gate, k, max_tokens=24))).rest()).text for k in range(16)]
        slower(monkeypatch, gate, 0.005)  # so that 33 a second are too many
        load = await arrivals(gate, 240, seed=5, per_second=60, tokens=24)
        assert len(load.answers) + len(load.refused) + load.vanished == 240
        assert len(load.answers) > 20 and len(load.refused) > 20 and load.vanished > 10, load
        for c in load.refused:
            assert c.headers["retry-after"] == "1" and json.loads(c.body)["error"]["code"] == "queue_full"
        wrong = [(k, c.text) for k, c in load.answers if c.text != alone[k]]
        assert not wrong, wrong
        nothing_left(gate)
        assert (await (await Client.opened(gate, body_of(gate, 3, max_tokens=24))).rest()).text == alone[3]
        print(f"RESULT open loop: {len(load.answers)} answered, {len(load.refused)} refused, {load.vanished} vanished")


# -- the real model ----------------------------------------------------------------------------------------------------


@pytest.mark.model
async def test_the_real_model_with_many_streams(mapped: Mapped, tmp_path: Path) -> None:
    """Slow ones, some that vanish, and all others whole."""

    def model() -> Any:
        return open_model("smollm2", slots=16)

    deployment = Deployment(mode="off", hold="none", queue=64)
    with served(mapped, deployment, with_home=False, model=model, store=str(tmp_path / "g.db")) as gate:
        clients = [
            await Client.opened(gate, body_of(gate, k, max_tokens=8), receive=2048 if k % 8 == 0 else None)
            for k in range(STREAMS)
        ]
        gone = [c for k, c in enumerate(clients) if k % 8 == 1]
        for k, c in enumerate(gone):
            c.vanish(reset=k % 2 == 0)
        stay = [c for k, c in enumerate(clients) if k % 8 > 1]
        await asyncio.wait_for(asyncio.gather(*[c.rest() for c in stay]), 300)
        assert all(c.text for c in stay) and len(stay) == 48
        slow = [c for k, c in enumerate(clients) if k % 8 == 0]
        await asyncio.wait_for(asyncio.gather(*[c.rest() for c in slow]), 60)
        assert all(c.text for c in slow)
        nothing_left(gate)


# -- each row as if it were alone --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Same:
    """How many were the same, and which were not: at a near-tie, or otherwise."""

    rows: int
    equal: int
    near_ties: int
    differing: tuple[int, ...]


def compared(alone: Sequence[Client], among: Sequence[Client]) -> Same:
    equal, ties, differing = 0, 0, list[int]()
    for k, (a, b) in enumerate(zip(alone, among, strict=True)):
        if a.text == b.text:
            equal += 1
            continue
        one, other = (
            [t for x in c.chunks for h in x["choices"] if h["logprobs"] for t in h["logprobs"]["content"]]
            for c in (a, b)
        )
        at = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x["bytes"] != y["bytes"]), None)
        at = min(len(one), len(other)) if at is None else at
        top = (one if len(one) > at else other)[at]["top_logprobs"]
        if abs(np.exp(top[0]["logprob"]) - np.exp(top[1]["logprob"])) < NEAR_TIE:
            ties += 1
        else:
            differing.append(k)
    return Same(len(alone), equal, ties, tuple(differing))


async def same_in_company(gate: Served, probes: int, *, tokens: int, rounds: int = 1) -> Same:
    """Requests alone, and each again among 31 others of which every second is under another hold."""

    def asked(k: int, hold: str, temperature: float) -> dict[str, Any]:
        ours = {"hold": hold, "report": True}
        return body_of(
            gate, k, temperature=temperature, max_tokens=tokens, logprobs=True, top_logprobs=2, homing=ours, top_p=0.9
        )

    alone: list[Client] = []
    among: list[Client] = []
    for r in range(rounds):
        for p in range(probes):
            hold, temperature = ("none", "cap")[p % 2], (0.0, 0.8)[p // 2 % 2]
            k = 1000 * r + p
            alone.append(await (await Client.opened(gate, asked(k, hold, temperature))).rest())
            company = [
                await Client.opened(gate, asked(5000 + 31 * k + i, ("cap", "none")[i % 2], 0.8)) for i in range(31)
            ]
            probe = await Client.opened(gate, asked(k, hold, temperature))
            await asyncio.wait_for(asyncio.gather(probe.rest(), *[c.rest() for c in company]), 300)
            assert all(c.chunks for c in company)
            among.append(probe)
            assert [c.chunks[-1]["homing"]["acted"] for c in (alone[-1], probe)] == [hold == "cap"] * 2
    capped = sum(c.chunks[-1]["homing"]["capped_tokens"] for c in alone)
    assert capped > 0, "a cap that moves nothing proves nothing"
    return compared(alone, among)


async def test_a_request_says_the_same_alone_and_among_others_under_other_holds(mapped: Mapped) -> None:
    with served(mapped, Deployment(read_every=0), slots=32) as gate:
        got = await same_in_company(gate, 8, tokens=12)
        print(f"RESULT alone and among 31 others, planted model: {got}")
        assert not got.differing and got.near_ties <= 1, got


@pytest.mark.model
@pytest.mark.slow
async def test_the_real_model_says_the_same_alone_and_among_others(mapped: Mapped, smol: Path) -> None:
    """In float32 on torch, with a cap at eight layers that moves what it sees."""

    def model() -> Any:
        return open_model(str(smol), engine="torch", slots=32)

    def change(keeper: Any) -> None:
        """A home by hand: what is capped matters here, not what it is good for."""
        from homing.verbs.watch import Home

        info = keeper.model.info
        layers = tuple(range(info.layers))
        vectors = np.random.default_rng(0).standard_normal((info.layers, info.hidden)).astype(np.float32)
        axis = Axis(layers, vectors, (0.0,) * len(layers), (1.0,) * len(layers), read_layer=info.layers // 2)
        keeper.home = replace(Home.of(mapped.identity), axis=axis, cap=Cap.floor(axis, layers[12:20], [2.0] * 8))
        keeper.model.register(axis.direction)
        for d in axis.directions:
            keeper.model.register(d)

    deployment = Deployment(read_every=0, hold="none")
    with served(mapped, deployment, with_home=False, model=model, change=change) as gate:
        got = await same_in_company(gate, 8, tokens=24)
        print(f"RESULT alone and among 31 others, embedded model, float32: {got}")
        assert not got.differing and got.near_ties <= 1, got
