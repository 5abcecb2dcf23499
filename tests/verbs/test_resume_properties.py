"""Whatever the units and wherever the work breaks off, what a resumed run leaves is what an unbroken one does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.identity import work
from homing.identity.work import Unit, WorkDir
from homing.stats.seeds import stable_seed

PLAN = {"seed": 3, "model": "fake"}
Place = Literal["compute", "before write", "torn write", "after write"]
properties = settings(max_examples=40, deadline=None, derandomize=True, database=None)


class Stopped(BaseException):
    """The machine went away; nothing may catch it."""


@dataclass(frozen=True)
class Task:
    """One unit to do: its name, and the kind and shape of what comes of it."""

    name: str
    rows: int
    arrays: int
    dtype: str


@dataclass(frozen=True)
class Stop:
    """Where a run breaks off: at the ``after``-th event of its kind."""

    place: Place
    after: int
    torn: float


@dataclass(frozen=True)
class Damage:
    """What happens to a file of a finished unit between two runs."""

    unit: int
    file: Literal["json", "safetensors"]
    how: Literal["gone", "cut", "empty", "flipped"]


def fake(task: Task) -> Unit:
    """A seeded computation: the same unit from the same task, in any process and any order."""
    rng = np.random.default_rng(stable_seed(task.name, task.rows))
    arrays = {
        f"a{k}": (rng.standard_normal((task.rows, k + 1)) * 100).astype(task.dtype).T  # a view: not contiguous
        for k in range(task.arrays)
    }
    return Unit([["é ★ " + task.name, float(rng.standard_normal()), None] for _ in range(task.rows)], arrays)


async def run(directory: Path, tasks: Sequence[Task], stop: Stop | None = None) -> tuple[list[Unit], list[str]]:
    """All units, broken off at ``stop``; with the names of those that were computed."""
    computed: list[str] = []
    left = -1 if stop is None else stop.after
    write = work.write_atomically

    def reached(place: Place) -> bool:
        nonlocal left
        if stop is None or stop.place != place:
            return False
        left -= 1
        return left < 0

    def writing(path: Path, blob: bytes) -> None:
        if reached("before write"):
            raise Stopped
        if reached("torn write"):
            # a file system that lost the end of what it had said was written
            path.write_bytes(blob[: int(stop.torn * len(blob))] if stop is not None else b"")
            raise Stopped
        write(path, blob)
        if reached("after write"):
            raise Stopped

    async def compute(task: Task) -> Unit:
        computed.append(task.name)
        if reached("compute"):
            raise Stopped
        return fake(task)

    folder = WorkDir(directory, PLAN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "write_atomically", writing)
        try:
            with folder as w:
                return [await w.do(task.name, partial(compute, task)) for task in tasks], computed
        except Stopped:
            folder._lock.close()  # a process that ends lets go of its lock, also where it never got inside
            raise


def hurt(directory: Path, tasks: Sequence[Task], damage: Damage) -> None:
    path = directory / f"{tasks[damage.unit % len(tasks)].name}.{damage.file}"
    if not path.is_file():
        return
    blob = path.read_bytes()
    if damage.how == "gone":
        path.unlink()
    elif damage.how == "cut":
        path.write_bytes(blob[: len(blob) // 2])
    elif damage.how == "empty":
        path.write_bytes(b"")
    elif damage.file == "safetensors":
        path.write_bytes(blob[:-1] + bytes([blob[-1] ^ 1]))


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes()
        for p in sorted(directory.rglob("*"))
        if p.is_file() and p.name != "lock"
    }


tasks = st.lists(
    st.builds(
        Task,
        name=st.from_regex(r"(replies/|judge/|)[a-z0-9]{1,3}-[0-9]{1,2}", fullmatch=True),
        rows=st.integers(0, 4),
        arrays=st.integers(0, 3),
        dtype=st.sampled_from(["float32", "float16", "float64", "int64", "uint8", "bool"]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda t: t.name,
)
stops = st.lists(
    st.builds(
        Stop,
        place=st.sampled_from(["compute", "before write", "torn write", "after write"]),
        after=st.integers(0, 8),
        torn=st.floats(0, 1),
    ),
    min_size=1,
    max_size=4,
)
damages = st.lists(
    st.builds(
        Damage,
        unit=st.integers(0, 4),
        file=st.sampled_from(["json", "safetensors"]),
        how=st.sampled_from(["gone", "cut", "empty", "flipped"]),
    ),
    max_size=2,
)


@properties
@given(tasks, stops, damages)
def test_broken_off_anywhere_and_resumed_the_bytes_are_those_of_an_unbroken_run(tasks, stops, damages) -> None:
    with tempfile.TemporaryDirectory() as base:
        whole, broken = Path(base, "whole"), Path(base, "broken")
        units, _ = asyncio.run(run(whole, tasks))
        for stop in stops:
            try:
                asyncio.run(run(broken, tasks, stop))
            except Stopped:
                continue
            break  # the stop lay beyond the end of the work
        for damage in damages:
            hurt(broken, tasks, damage)
        again, _ = asyncio.run(run(broken, tasks))
        assert contents(broken) == contents(whole)
        for a, b in zip(units, again, strict=True):
            assert a.data == b.data and sorted(a.arrays) == sorted(b.arrays)
            for key, array in a.arrays.items():
                assert array.dtype == b.arrays[key].dtype and array.shape == b.arrays[key].shape
                assert array.tobytes() == b.arrays[key].tobytes()


@properties
@given(tasks, st.integers(0, 4))
def test_what_was_finished_before_the_stop_is_found_and_not_made_again(tasks, n) -> None:
    n = min(n, len(tasks) - 1)
    with tempfile.TemporaryDirectory() as base:
        with pytest.raises(Stopped):
            asyncio.run(run(Path(base), tasks, Stop("compute", n, 0.0)))
        before = {k: v for k, v in contents(Path(base)).items() if k != "plan.json"}
        assert len({k.rsplit(".", 1)[0] for k in before}) == n
        _, computed = asyncio.run(run(Path(base), tasks))
        assert computed == [t.name for t in tasks[n:]]
        assert before.items() <= contents(Path(base)).items()
        assert asyncio.run(run(Path(base), tasks))[1] == []


@settings(properties, max_examples=20)
@given(tasks, st.randoms(use_true_random=False))
def test_the_order_of_the_units_changes_no_byte(tasks, random) -> None:
    with tempfile.TemporaryDirectory() as base:
        one, other = Path(base, "one"), Path(base, "other")
        asyncio.run(run(one, tasks))
        asyncio.run(run(other, random.sample(tasks, len(tasks))))
        assert contents(one) == contents(other)
