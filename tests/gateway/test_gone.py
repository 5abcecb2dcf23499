"""Work that ends when the client goes, and a stream that says that it is still there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from homing.gateway.sse import COMMENT, EventStream, Gone, until_gone


class Line:
    """What ASGI's receive says."""

    def __init__(self) -> None:
        self.goes = asyncio.Event()
        self.waits = 0

    async def __call__(self) -> dict[str, Any]:
        self.waits += 1
        try:
            await self.goes.wait()
        finally:
            self.waits -= 1
        return {"type": "http.disconnect"}


class Work:
    """Something that goes on until it is told to end."""

    def __init__(self) -> None:
        self.ended, self.cleaned = asyncio.Event(), False

    async def __call__(self) -> str:
        try:
            await self.ended.wait()
            return "done"
        finally:
            self.cleaned = True
            await asyncio.sleep(0)


async def rounds() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def pending() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_the_result_is_given_and_nobody_waits_for_the_client_any_more() -> None:
    line, work = Line(), Work()
    asyncio.get_running_loop().call_soon(work.ended.set)
    assert await until_gone(line, work()) == "done"
    await rounds()
    assert work.cleaned and not line.waits and not pending()


async def test_where_the_client_goes_the_work_is_ended_first() -> None:
    line, work = Line(), Work()
    asyncio.get_running_loop().call_later(0.01, line.goes.set)
    with pytest.raises(Gone):
        await until_gone(line, work())
    assert work.cleaned and not pending()
    with pytest.raises(TimeoutError):  # the task is whole: what it does next can be timed
        async with asyncio.timeout(0.01):
            await asyncio.sleep(1)


async def test_one_that_goes_as_the_work_ends_is_one_of_both() -> None:
    """Whichever is heard first: never both, and never neither."""
    for order in (0, 1):
        line, work = Line(), Work()
        soon = [line.goes.set, work.ended.set]
        for each in soon[::-1] if order else soon:
            asyncio.get_running_loop().call_later(0.01, each)
        with contextlib.suppress(Gone):
            assert await until_gone(line, work()) == "done"
        await rounds()
        assert work.cleaned and not line.waits and not pending()


async def test_what_the_work_raises_is_raised() -> None:
    line = Line()

    async def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await until_gone(line, fails())
    await rounds()
    assert not line.waits and not pending()


@pytest.mark.parametrize("goes", [False, True])
async def test_a_service_that_stops_ends_the_work_and_is_not_taken_for_the_client(goes: bool) -> None:
    line, work = Line(), Work()
    task = asyncio.create_task(until_gone(line, work()))
    await rounds()
    if goes:
        line.goes.set()
        await asyncio.sleep(0)
        task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rounds()
    assert work.cleaned and not line.waits


async def test_a_time_of_the_work_itself_is_its_own() -> None:
    line = Line()

    async def timed() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        await until_gone(line, timed())
    assert not pending()


class Reader:
    """What ASGI's send is told. ``takes``: whether it takes more now."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def __call__(self, message: Any) -> None:
        await self.takes.wait()
        self.told.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [m["body"] for m in self.told[1:]]


async def test_a_stream_without_a_word_says_that_it_is_there_and_one_that_speaks_does_not() -> None:
    async def body(seconds: float, times: int) -> AsyncGenerator[bytes, None]:
        for k in range(times):
            await asyncio.sleep(seconds)
            yield b"%d" % k

    slow, quick = Reader(), Reader()
    await EventStream(body(0.3, 2), quiet=0.1)({}, Line(), slow)
    await EventStream(body(0.01, 40), quiet=0.3)({}, Line(), quick)
    assert slow.told[0]["type"] == "http.response.start" and slow.told[0]["status"] == 200
    words = [b for b in slow.bodies if b != COMMENT]
    assert words == [b"0", b"1", b""] and slow.bodies.index(b"0") >= 2 and slow.bodies[-2:] == [b"1", b""]
    assert 4 <= slow.bodies.count(COMMENT) <= 5
    assert quick.bodies == [*(b"%d" % k for k in range(40)), b""]
    assert [m.get("more_body", False) for m in quick.told[1:]] == [True] * 40 + [False]
    said = len(slow.told)
    await asyncio.sleep(0.25)
    assert len(slow.told) == said, "a word after the end"


async def test_a_reader_who_takes_nothing_is_told_nothing_and_what_makes_the_events_waits() -> None:
    made: list[int] = []
    closed = False

    async def body() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            for k in range(100):
                made.append(k)
                yield b"%d" % k
        finally:
            closed = True

    line, reader = Line(), Reader()
    ended: list[bool] = []
    stream = EventStream(body(), quiet=0.05)
    stream.on_end = lambda: ended.append(True)

    async def sends(message: Any) -> None:
        await reader(message)
        if len(reader.told) == 3:
            reader.takes.clear()

    task = asyncio.create_task(stream({}, line, sends))
    await asyncio.sleep(0.3)
    assert made == [0, 1, 2] and reader.bodies == [b"0", b"1"] and not ended
    line.goes.set()
    await asyncio.wait_for(task, 5)
    await rounds()
    assert closed and ended == [True] and reader.bodies == [b"0", b"1"] and not line.waits
    assert asyncio.all_tasks() == {asyncio.current_task()}
