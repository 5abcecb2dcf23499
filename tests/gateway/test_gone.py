"""Work that ends when the client goes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from homing.gateway.sse import Gone, until_gone


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


async def pending() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_the_result_is_given_and_nobody_waits_for_the_client_any_more() -> None:
    line, work = Line(), Work()
    asyncio.get_running_loop().call_soon(work.ended.set)
    assert await until_gone(line, work()) == "done"
    await rounds()
    assert work.cleaned and not line.waits and not await pending()


async def test_where_the_client_goes_the_work_is_ended_first() -> None:
    line, work = Line(), Work()
    asyncio.get_running_loop().call_later(0.01, line.goes.set)
    with pytest.raises(Gone):
        await until_gone(line, work())
    assert work.cleaned and not await pending()
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
        assert work.cleaned and not line.waits and not await pending()


async def test_what_the_work_raises_is_raised() -> None:
    line = Line()

    async def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await until_gone(line, fails())
    await rounds()
    assert not line.waits and not await pending()


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
    assert not await pending()
