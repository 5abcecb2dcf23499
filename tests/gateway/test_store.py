"""What is kept is kept once, in order, whole, for its tenant alone; and what is forgotten is gone."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed; run: pip install 'homing[gateway]'")

from homing.errors import HomingError, InputError, MissingExtra, StoreError
from homing.gateway.records import AlarmRecord, Counts, Settled, Standing, TurnRecord
from homing.gateway.store import Store, base

from .conftest import PASSWORD


@asynccontextmanager
async def opened(url: str | Path, *, text: bool = True) -> AsyncIterator[Store]:
    store = await Store.open(str(url), text=text)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with opened(url) as made:
        yield made


def a_turn(request_id: str = "r0", *, created: float = 1000.0, said: str = "good morning", **more: Any) -> TurnRecord:
    given: dict[str, Any] = {
        "model": "smollm2", "hold": "cap", "mode": "on", "prompt_tokens": 12, "new_tokens": 3, "finish": "stop",
        "seconds": 1.25, "added_seconds": 0.25, "position": 0.5, "drift": -0.25, "fresh": 0.75,
        "trace": (0.5, math.nan, 0.25), "capped": 1, "interventions": ({"hold": "cap", "note": "", "amount": 1.5},),
        "messages": ({"role": "user", "content": said}, {"role": "assistant", "content": f"{said} to you"}),
        "pieces": ("good", " morn", "ing"), **more,
    }  # fmt: skip
    return TurnRecord(request_id, created, **given)


def counting(now: Standing) -> Settled:
    """A counter in the state, an alarm at each even turn, an event at each."""
    n = int(now.state.get("n", 0)) + 1
    alarms = (AlarmRecord("cusum", n + 0.5, 4.25),) if now.turns % 2 == 0 else ()
    return Settled({"n": n}, alarms, (("turn", {"turn": now.turns, "n": n}),), seen=f"digest {n}")


def quiet(now: Standing) -> Settled:
    return Settled(now.state)


def same(a: TurnRecord, b: TurnRecord) -> bool:
    """NaN is itself here."""
    return repr(a) == repr(b)


def raw(file: Path) -> bytes:
    """All that the disk has of a SQLite database."""
    return b"".join(p.read_bytes() for p in sorted(file.parent.glob(f"{file.name}*")))


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


# -- what is given comes back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [False, True])
async def test_every_record_comes_back_as_it_was_given(store: Store, new: bool) -> None:
    turn = a_turn()
    kept = await store.commit("t", "c", turn, counting, new=new)
    assert await store.find("t", "digest 1") == "c"
    ((index, back),) = await store.turns("t", "c", limit=10)
    assert index == kept.turn == 0 and not kept.again
    assert same(turn, back)
    assert all(getattr(back, f.name) not in (None, "", 0, ()) for f in fields(TurnRecord)), "a field was not exercised"
    (alarm,) = await store.alarms("t", "c")
    assert kept.alarms == (alarm,) and alarm == AlarmRecord("cusum", 1.5, 4.25, turn=0, id=alarm.id) and alarm.id > 0
    (event,) = await store.events("t", after=0, limit=10)
    assert kept.events == (event,) and (event.kind, event.conversation, event.data) == (
        "turn",
        "c",
        {"turn": 0, "n": 1},
    )
    assert abs(event.created - time.time()) < 60 and await store.last_event("t") == event.id
    standing = await store.standing("t", "c")
    assert standing == kept.standing
    assert standing == Standing(
        "c", "t", turns=1, state={"n": 1}, created=1000.0, updated=1000.0, alarms=1, model="smollm2", position=0.5, drift=-0.25
    )  # fmt: skip
    assert await store.conversations("t", limit=9) == [standing]
    assert await store.counts("t") == Counts(conversations=1, alarms=1, false_alarms=0, turns=1)


async def test_what_is_absent_stays_absent(store: Store) -> None:
    bare = TurnRecord("r", 1.0, "m", "none", "off", 1, 2, "length", 0.5)
    await store.commit("t", "c", bare, quiet)
    ((_, back),) = await store.turns("t", "c", limit=1)
    assert back == bare and back.messages is None and back.pieces is None and back.position is None
    assert await store.standing("t", "none") is None and await store.find("t", "none") is None
    assert await store.turns("t", "none", limit=5) == [] and await store.alarms("t", "none") == []
    assert await store.events("t", after=0, limit=5) == [] and await store.last_event("t") == 0
    assert await store.mark("t", 1, True) is None and not await store.forget("t", "none")
    assert await store.amend("t", "none", quiet, hold="cap") is None
    assert await store.counts("nobody") == Counts()


async def test_what_is_no_number_is_kept_as_absent(store: Store) -> None:
    turn = a_turn(position=math.nan, drift=-math.inf, fresh=math.nan, trace=(math.nan,) * 3)
    kept = await store.commit("t", "c", turn, lambda now: Settled({"x": math.nan, "y": [1.0, math.inf]}))
    ((_, back),) = await store.turns("t", "c", limit=1)
    assert same(back, replace(turn, position=None, drift=None, fresh=None))
    standing = await store.standing("t", "c")
    assert standing is not None and standing.state == {"x": None, "y": [1.0, None]}
    assert standing.position is None and kept.standing.position is None and kept.standing.drift is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_any_text_and_any_state_come_back(url: str) -> None:
    """Nul, half a surrogate pair, and other things that models say."""

    async def prove(said: str, state: dict[str, Any]) -> None:
        async with opened(url) as store:
            number = (await store.counts("t")).conversations
            turn = a_turn(said=said, pieces=(said, "\0", "\ud800"))
            kept = await store.commit("t", f"c{number}", turn, lambda now: Settled(state, (), (("turn", {"x": said}),)))
            ((_, back),) = await store.turns("t", f"c{number}", limit=1)
            assert same(turn, back)
            standing = await store.standing("t", f"c{number}")
            assert standing is not None and standing.state == state
            assert (await store.events("t", after=kept.events[0].id - 1, limit=1))[0].data == {"x": said}

    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(st.text(st.characters(), max_size=20), st.dictionaries(st.text(max_size=5), JSON, max_size=3))
    def every(said: str, state: dict[str, Any]) -> None:
        asyncio.run(prove(said, state))

    every()


async def test_a_conversation_goes_on_in_order(store: Store) -> None:
    for n in range(7):
        kept = await store.commit("t", "c", a_turn(f"r{n}", created=1000.0 + n), counting)
        assert (kept.turn, kept.standing.turns, kept.standing.state) == (n, n + 1, {"n": n + 1})
    turns = await store.turns("t", "c", limit=100)
    assert [(i, t.request_id) for i, t in turns] == [(n, f"r{n}") for n in range(7)]
    assert [i for i, _ in await store.turns("t", "c", after=2, limit=3)] == [3, 4, 5]
    assert [(a.turn, a.statistic) for a in await store.alarms("t", "c")] == [(n, n + 1.5) for n in (0, 2, 4, 6)]
    events = await store.events("t", after=0, limit=100)
    assert [e.data["turn"] for e in events] == list(range(7))
    assert [e.id for e in await store.events("t", after=events[2].id, limit=2)] == [e.id for e in events[3:5]]
    standing = await store.standing("t", "c")
    assert standing is not None and (standing.created, standing.updated, standing.alarms) == (1000.0, 1006.0, 4)


# -- once, and all or nothing --------------------------------------------------------------------------------------------


async def test_the_same_request_twice_is_one_turn(store: Store) -> None:
    await store.commit("t", "c", a_turn("r0"), counting)
    first = await store.commit("t", "c", a_turn("r1"), counting)
    await store.commit("t", "c", a_turn("r2"), counting)

    def never(now: Standing) -> Settled:
        raise AssertionError("settled again")

    for request_id, turn in (("r1", 1), ("r0", 0), ("r2", 2)):
        again = await store.commit("t", "c", a_turn(request_id, said="something else"), never)
        assert again.again and again.turn == turn
        assert again.standing == await store.standing("t", "c") and again.standing.turns == 3
        assert [e.data["turn"] for e in again.events] == [turn]
        assert [a.turn for a in again.alarms] == ([] if turn == 1 else [turn])
        if request_id == "r1":
            assert again.events == first.events and again.alarms == first.alarms
    assert await store.counts("t") == Counts(1, 2, 0, 3)
    assert not (await store.commit("t", "other", a_turn("r1"), counting)).again, "of another conversation"


async def test_what_settle_raises_undoes_the_turn(store: Store) -> None:
    def fails(now: Standing) -> Settled:
        raise ZeroDivisionError("here")

    for new in (False, True):
        with pytest.raises(ZeroDivisionError, match="here"):
            await store.commit("t", "new", a_turn("r0"), fails, new=new)
    assert await store.counts("t") == Counts() and await store.standing("t", "new") is None
    await store.commit("t", "c", a_turn("r0"), counting)
    with pytest.raises(ZeroDivisionError):
        await store.commit("t", "c", a_turn("r1"), fails)
    with pytest.raises(ZeroDivisionError):
        await store.amend("t", "c", fails, hold="none")
    assert await store.counts("t") == Counts(1, 1, 0, 1)
    kept = await store.commit("t", "c", a_turn("r1"), counting)
    assert (kept.turn, kept.standing.hold, kept.standing.state) == (1, None, {"n": 2})


@pytest.mark.parametrize("new", [False, True])
async def test_two_stores_keep_one_conversation_in_order(url: str, new: bool) -> None:
    """Also where each takes it for new: then it is settled as new once, and as it is once more."""
    met: list[int] = []

    def settle(now: Standing) -> Settled:
        assert now.state.get("n", 0) == now.turns, "what is given is not what is stored"
        met.append(now.turns)
        return counting(now)

    async with opened(url) as one, opened(url) as two:
        kept = await asyncio.gather(
            *((one, two)[n % 2].commit("t", "c", a_turn(f"r{n}"), settle, new=new) for n in range(50)),
            *(one.commit("t", f"other {n}", a_turn(), counting, new=new) for n in range(5)),
        )
        assert sorted(k.turn for k in kept[:50]) == list(range(50))
        assert [m for k, m in enumerate(met) if m or not k] == list(range(50))
        assert met.count(0) == (50 if new else 1)
        turns = await two.turns("t", "c", limit=100)
        assert [i for i, _ in turns] == list(range(50)) and len({t.request_id for _, t in turns}) == 50
        standing = await two.standing("t", "c")
        assert standing is not None and standing.state == {"n": 50} and standing.alarms == 25
        assert [a.turn for a in await one.alarms("t", "c")] == list(range(0, 50, 2))
        events = [e for e in await one.events("t", after=0, limit=100) if e.conversation == "c"]
        assert [e.data["turn"] for e in events] == list(range(50)), "ids are not in the order of what was kept"


async def test_a_reader_never_passes_an_event_that_shows_late(url: str) -> None:
    """Several write at once; who follows by the last id sees each event, once."""
    async with opened(url) as one, opened(url) as two:
        seen: list[int] = []
        ended = asyncio.Event()

        async def follow() -> None:
            while True:
                last = ended.is_set()
                new = await two.events("t", after=seen[-1] if seen else 0, limit=100)
                seen.extend(e.id for e in new)
                if last and not new:
                    return
                await asyncio.sleep(0)

        following = asyncio.create_task(follow())
        await asyncio.gather(
            *((one, two)[n % 2].commit("t", f"c{n % 7}", a_turn(f"r{n}"), counting) for n in range(60))
        )
        ended.set()
        await following
        assert seen == sorted(set(seen)) and len(seen) == 60


async def test_one_who_is_gone_leaves_a_whole_turn_or_none(store: Store) -> None:
    for n in range(12):
        task = asyncio.create_task(store.commit("t", "c", a_turn(f"r{n}"), counting))
        await asyncio.sleep(0.0005 * n)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
            raise asyncio.CancelledError  # it had ended before
    await store.commit("t", "c", a_turn("last"), counting)
    while store._tasks:  # what those who are gone began goes on to its end, and may come behind the last
        await asyncio.wait(store._tasks)
    turns, standing = await store.turns("t", "c", limit=100), await store.standing("t", "c")
    assert standing is not None and standing.state == {"n": standing.turns}
    assert [i for i, _ in turns] == list(range(standing.turns)) and "last" in [t.request_id for _, t in turns]


# -- tenants -------------------------------------------------------------------------------------------------------------


async def test_tenants_see_nothing_of_each_other(store: Store) -> None:
    ours = await store.commit("a", "c", a_turn("r", created=10.0, said="of a"), counting)
    theirs = await store.commit("b", "c", a_turn("r", created=20.0, said="of b", model="other"), counting)
    assert not theirs.again and theirs.turn == 0, "the same id of another tenant is another conversation"
    await store.commit("a", "only a's", a_turn("s", created=30.0), lambda now: Settled({}, seen="secret digest"))

    (_, turn), = await store.turns("b", "c", limit=9)  # fmt: skip
    assert turn.messages is not None and turn.messages[0]["content"] == "of b"
    assert await store.alarms("b", "c") == list(theirs.alarms)
    assert await store.events("b", after=0, limit=99) == list(theirs.events)
    assert await store.last_event("b") == theirs.events[0].id > await store.last_event("a") == ours.events[0].id
    assert [s.conversation for s in await store.conversations("b", limit=99)] == ["c"]
    assert await store.find("b", "secret digest") is None and await store.find("a", "secret digest") == "only a's"
    assert await store.standing("b", "only a's") is None and await store.turns("b", "only a's", limit=9) == []
    assert await store.amend("b", "only a's", quiet, hold="none") is None
    assert await store.mark("b", ours.alarms[0].id, True) is None
    assert not await store.forget("b", "only a's")
    assert await store.counts("b") == Counts(1, 1, 0, 1) and await store.counts("a") == Counts(2, 1, 0, 2)

    await store.amend("b", "c", quiet, hold="none")
    assert await store.forget("b", "c")
    standing = await store.standing("a", "c")
    assert standing == ours.standing and standing.hold is None
    assert await store.alarms("a", "c") == list(ours.alarms)
    assert await store.events("a", after=0, limit=99) == list(ours.events)
    for method in ("standing", "turns", "alarms"):
        more = {"limit": 9} if method == "turns" else {}
        assert not await getattr(store, method)("nobody", "c", **more)


# -- finding, listing, amending, marking ---------------------------------------------------------------------------------


async def test_the_newest_with_a_digest_is_found(store: Store) -> None:
    for n, name in enumerate(("old", "new", "middle")):
        created = (100.0, 300.0, 200.0)[n]
        await store.commit("t", name, a_turn(f"r{n}", created=created), lambda now: Settled({}, seen="d"))
    assert await store.find("t", "d") == "new"
    await store.commit("t", "new", a_turn("more", created=400.0), lambda now: Settled({}, seen="e"))
    assert await store.find("t", "d") == "middle", "only the last digest of a conversation counts"
    await store.commit("t", "new", a_turn("most", created=500.0), quiet)
    assert await store.find("t", "e") == "new", "None leaves it as it was"


async def test_conversations_are_listed_newest_first(store: Store) -> None:
    for n in range(6):
        await store.commit("t", f"c{n}", a_turn(created=100.0 + n), quiet)
    await store.commit("t", "c1", a_turn("again", created=200.0), quiet)
    names = [s.conversation for s in await store.conversations("t", limit=99)]
    assert names == ["c1", "c5", "c4", "c3", "c2", "c0"]
    page = await store.conversations("t", limit=2)
    rest = await store.conversations("t", limit=99, before=page[-1].updated)
    assert [s.conversation for s in (*page, *rest)] == names


async def test_amend_changes_a_conversation_without_a_turn(store: Store) -> None:
    await store.commit("t", "c", a_turn(), counting)

    def change(now: Standing) -> Settled:
        assert now.state == {"n": 1} and now.turns == 1
        return Settled(
            {"way": 1}, (AlarmRecord("ewma", 3.0, 2.0, turn=0),), (("return", {"by": "operator"}),), seen="x"
        )

    kept = await store.amend("t", "c", change, hold="none")
    assert kept is not None and not kept.again and kept.turn == 0
    assert kept.standing == await store.standing("t", "c")
    assert (kept.standing.hold, kept.standing.state, kept.standing.turns) == ("none", {"way": 1}, 1)
    assert kept.standing.alarms == 2 and kept.standing.updated > 1000.0 and kept.standing.position == 0.5
    assert [e.kind for e in await store.events("t", after=0, limit=9)] == ["turn", "return"]
    assert await store.find("t", "x") == "c"
    kept = await store.amend("t", "c", quiet)
    assert kept is not None and kept.standing.hold == "none", "not given, it stays"
    kept = await store.amend("t", "c", quiet, hold=None)
    assert kept is not None and kept.standing.hold is None and kept.standing.state == {"way": 1}
    again = await store.commit("t", "c", a_turn(), counting)
    assert again.again and [e.kind for e in again.events] == ["turn"], "what came of the turn itself"


async def test_a_false_alarm_is_marked_and_unmarked(store: Store) -> None:
    kept = await store.commit("t", "c", a_turn(), counting)
    (alarm,) = kept.alarms
    assert await store.mark("t", alarm.id, True) == ("c", replace(alarm, false_alarm=True))
    assert await store.alarms("t", "c") == [replace(alarm, false_alarm=True)]
    assert await store.counts("t") == Counts(1, 1, 1, 1)
    assert await store.mark("t", alarm.id, False) == ("c", alarm)
    assert (await store.counts("t")).false_alarms == 0


# -- forgetting ----------------------------------------------------------------------------------------------------------


async def test_a_forgotten_conversation_leaves_one_event(store: Store) -> None:
    for n in range(4):
        await store.commit("t", "c", a_turn(f"r{n}"), counting)
        await store.commit("t", "stays", a_turn(f"r{n}"), counting)
    stays = await store.standing("t", "stays")
    last = await store.last_event("t")
    alarms = [a.id for a in await store.alarms("t", "c")]
    assert await store.forget("t", "c")
    assert await store.standing("t", "c") is None and await store.turns("t", "c", limit=9) == []
    assert await store.alarms("t", "c") == [] and await store.find("t", "digest 4") == "stays"
    left = [e for e in await store.events("t", after=0, limit=99) if e.conversation == "c"]
    assert [(e.kind, e.data) for e in left] == [("forgotten", {})] and left[0].id > last
    assert await store.standing("t", "stays") == stays and await store.counts("t") == Counts(1, 2, 0, 4)
    assert not await store.forget("t", "c"), "twice"
    kept = await store.commit("t", "c", a_turn("r0"), counting)
    assert kept.turn == 0 and not kept.again and kept.standing.state == {"n": 1}
    assert kept.alarms[0].id not in alarms and kept.events[0].id > left[0].id, "a number of old is another's now"


async def test_old_conversations_of_every_tenant_are_forgotten(store: Store) -> None:
    for n in range(230):
        await store.commit(f"t{n % 3}", f"c{n}", a_turn(created=1000.0 + n), counting)
    assert await store.forget_before(1000.0) == 0
    assert await store.forget_before(1220.0) == 220
    assert await store.forget_before(1220.0) == 0
    assert sum([(await store.counts(f"t{n}")).conversations for n in range(3)]) == 10
    for n in range(3):
        events = await store.events(f"t{n}", after=0, limit=999)
        assert {e.kind for e in events} == {"turn", "forgotten"}
        gone = {e.conversation for e in events if e.kind == "forgotten"}
        assert gone and not gone & {s.conversation for s in await store.conversations(f"t{n}", limit=999)}
    assert (await store.conversations("t1", limit=1))[0].conversation == "c229"


@pytest.mark.parametrize("size", [40, 900, 9000])
async def test_forgotten_text_is_gone_from_the_disk(tmp_path: Path, size: int) -> None:
    """Words of many conversations, kept in turns of many sizes, among others that stay."""
    file = tmp_path / "a.db"
    async with opened(file) as store:
        for n in range(8):
            for c in range(12):
                said = f"word-{c}-{n}-of-{'gone' if c % 2 else 'stay'} " + "x" * (size * (n % 3))
                pieces = (f"piece-{c}-{n}-of-{'gone' if c % 2 else 'stay'}",)
                note = {"hold": "cap", "note": f"note of {'gone' if c % 2 else 'stay'}", "amount": 1.0}
                await store.commit(
                    "t", f"c{c}", a_turn(f"r{n}", said=said, pieces=pieces, interventions=(note,)),
                    lambda now, said=said: Settled({"last": said}, (), (("turn", {"said": said[:30]}),), seen=said[:30]),
                )  # fmt: skip
        assert b"of-gone" in raw(file)
        for c in range(1, 12, 2):
            assert await store.forget("t", f"c{c}")
        assert b"of-gone" not in raw(file) and b"of gone" not in raw(file), "while the store is open"
        assert raw(file).count(b"of-stay") >= 6 * 8 * 3
        for c in range(0, 12, 2):
            assert len(await store.turns("t", f"c{c}", limit=99)) == 8
        await store.commit("t", "after", a_turn(), quiet)
    assert b"of-gone" not in raw(file)
    async with opened(file) as store:
        await store.forget_before(1e12)
        assert b"of-stay" not in raw(file) and b"of stay" not in raw(file)


@pytest.mark.parametrize("seed", [5, 7, 12])
async def test_forgotten_text_is_gone_whatever_was_kept_around_it(tmp_path: Path, seed: int) -> None:
    """Pages that are split and joined keep copies in their unused middle: secure_delete alone fails with these seeds."""
    file, draw = tmp_path / "a.db", random.Random(seed)
    live: dict[str, str] = {}
    gone: list[str] = []
    async with opened(file) as store:
        for n in range(250):
            if live and draw.random() < 0.1:
                name = draw.choice(list(live))
                assert await store.forget("t", name)
                gone.append(live.pop(name))
                assert not [word for word in gone if word.encode() in raw(file)]
            name = f"c{draw.randrange(20)}"
            word = live.setdefault(name, f"word-{n}-{draw.getrandbits(40):x}")
            said, state = (f"{word} " * draw.choice([1, 3, 12, 40, 150, 700]) for _ in range(2))
            note = {"hold": "cap", "note": word, "amount": 1.0}
            pieces = (word,) * draw.choice([1, 20, 200])
            turn = a_turn(f"r{n}", said=said, model=word, pieces=pieces, interventions=(note,))
            alarms = (AlarmRecord(word, 1.0, 1.0),) if draw.random() < 0.2 else ()
            events = (("turn", {"word": word, "pad": "x" * draw.randrange(900)}),)
            settled = Settled({"said": state}, alarms, events, seen=word)
            await store.commit("t", name, turn, lambda now, settled=settled: settled)
        assert len(gone) > 10 and live


async def test_what_could_not_be_overwritten_is_when_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its process was killed, another one reads, the disk is full: the text goes at the next forgetting or opening."""
    file = tmp_path / "a.db"
    monkeypatch.setattr(base, "BUSY_SECONDS", 0.2)
    async with opened(file) as store:
        for name in ("a", "b"):
            await store.commit("t", name, a_turn(said=f"confession of {name} "), quiet)
        reader = sqlite3.connect(file)
        cursor = reader.execute("SELECT * FROM turns")
        cursor.fetchone()
        assert await store.forget("t", "a") and await store.standing("t", "a") is None
        assert "another process reads" in caplog.text and b"confession of a" in raw(file)
        cursor.close()
        reader.close()
        assert not await store.forget("t", "a") and b"confession of a" not in raw(file)

        async def killed() -> bool:
            raise StoreError("killed here")

        monkeypatch.setattr(store._base, "scrub", killed)
        with pytest.raises(StoreError, match="killed here"):
            await store.forget("t", "b")
    async with opened(file):
        assert b"confession" not in raw(file)


async def test_many_who_forget_at_once_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.db"
    async with opened(file) as store:
        for n in range(20):
            await store.commit("t", f"c{n}", a_turn(said=f"confession {n} "), quiet)
        did: list[int] = []
        really = store._base._write_anew
        monkeypatch.setattr(store._base, "_write_anew", lambda begun: (did.append(1), really(begun))[1])
        assert all(await asyncio.gather(*(store.forget("t", f"c{n}") for n in range(20))))
        assert b"confession" not in raw(file) and 1 <= len(did) < 15


async def test_without_text_none_reaches_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    async with opened(file, text=False) as store:
        await store.commit("t", "c", a_turn(said="a confession", pieces=("a conf", "ession")), quiet)
        ((_, back),) = await store.turns("t", "c", limit=1)
        assert back.messages is None and back.pieces is None and back.position == 0.5
        assert b"confession" not in raw(file) and b"ession" not in raw(file)
    assert b"conf" not in raw(file)


# -- opening -------------------------------------------------------------------------------------------------------------


async def test_the_salt_is_made_once_for_all(url: str) -> None:
    async with opened(url) as one, opened(url) as two:
        salts = await asyncio.gather(*(s.salt() for s in (one, two) * 4))
        assert len(set(salts)) == 1 and len(salts[0]) == 32 and len(set(salts[0])) > 8
    async with opened(url) as three:
        assert await three.salt() == salts[0]


async def test_stores_that_start_together_migrate_once(url: str) -> None:
    stores = await asyncio.gather(*(Store.open(url, text=True) for _ in range(4)))
    await stores[0].commit("t", "c", a_turn(), counting)
    assert await stores[3].counts("t") == Counts(1, 1, 0, 1)
    await asyncio.gather(*(s.close() for s in stores))


async def test_what_was_kept_is_there_when_opened_again(url: str) -> None:
    async with opened(url) as store:
        await store.commit("t", "c", a_turn(), counting)
    async with opened(url) as store:
        kept = await store.commit("t", "c", a_turn("r1"), counting)
        assert kept.turn == 1 and kept.standing.state == {"n": 2} and len(await store.turns("t", "c", limit=9)) == 2
        last = kept.events[0].id
    async with opened(url) as store:
        kept = await store.commit("t", "c", a_turn("r2"), counting)
        assert kept.events[0].id > last


async def test_migrations_make_what_the_tables_say(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from homing.gateway.store.tables import metadata

    async with opened(url) as store:
        diff = await store._base.read(lambda c: compare_metadata(MigrationContext.configure(c), metadata))
        assert diff == []


async def test_a_newer_database_is_refused_and_left_as_it_is(url: str) -> None:
    from sqlalchemy import Column, MetaData, String, Table, select, update

    versions = Table("alembic_version", MetaData(), Column("version_num", String))
    async with opened(url) as store:
        await store.commit("t", "c", a_turn(), counting)
        await store._base.write(lambda c: c.execute(update(versions).values(version_num="9999")))
    with pytest.raises(InputError, match="version 9999, which this homing does not know") as told:
        await Store.open(url, text=True)
    assert PASSWORD not in str(told.value)
    with pytest.raises(InputError):
        await Store.open(url, text=True)
    from homing.gateway.store.address import database_at

    database = database_at(url)
    assert await database.read(lambda c: c.execute(select(versions.c.version_num)).scalar_one()) == "9999"
    await database.close()


async def test_a_database_of_another_program_is_refused(url: str) -> None:
    from sqlalchemy import Column, Integer, MetaData, Table

    from homing.gateway.store.address import database_at

    database = database_at(url)
    other = Table("recipes", MetaData(), Column("id", Integer))
    await database.write(lambda c: other.create(c))
    await database.close()
    with pytest.raises(InputError, match="another program"):
        await Store.open(url, text=True)


async def test_memory_serves_many_at_once(tmp_path: Path) -> None:
    async with opened("sqlite://") as store, opened("sqlite:///:memory:") as other:
        await asyncio.gather(
            *(store.commit("t", "c", a_turn(f"r{n}"), counting) for n in range(20)),
            *(store.standing("t", "c") for _ in range(20)),
        )
        assert await store.counts("t") == Counts(1, 10, 0, 20) and await other.counts("t") == Counts()
        assert await store.forget("t", "c")


async def test_a_new_file_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for address, file in (("a/b/c.db", "a/b/c.db"), ("sqlite:///d.db", "d.db"), ("~/e.db", "home/e.db")):
        async with opened(address) as store:
            await store.commit("t", "c", a_turn(), quiet)
            for made in tmp_path.glob(f"{file}*"):
                assert made.stat().st_mode & 0o077 == 0, made
        assert (tmp_path / file).is_file()
        assert [p.name for p in (tmp_path / file).parent.glob("*.db*")] == [Path(file).name], "a log was left"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "no address"),
        ("mysql://root:mayfly-7310@h/x", "'mysql' is no kind of database"),
        ("mayfly://x", "is no kind of database"),
        ("sqlite:///x.db?mode=ro", "a file and nothing else"),
        ("sqlite://host/x.db", "a file and nothing else"),
        ("postgresql://u:mayfly-7310@h:port/x", "cannot be read"),
        ("postgresql://u:mayfly-7310@127.0.0.1:1/x", "(?i)refused"),
        ("postgresql://u@127.0.0.1:1/x?password=mayfly-7310", "(?i)refused"),
        ("postgresql://u:mayfly-7310@127.0.0.1:1/x?mayfly=1", "invalid"),
        ("/proc/none/x.db", "cannot be made"),
        ("/tmp", "not a file"),
    ],
)
async def test_an_address_that_cannot_be_used_is_refused_in_one_sentence(
    address: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HomingError, match=told) as said:
        await Store.open(address, text=True)
    assert PASSWORD not in str(said.value) and "\n" not in str(said.value)


async def test_a_wrong_password_or_database_is_said_without_the_password(postgresql: str) -> None:
    with pytest.raises(StoreError, match='"nowhere" does not exist'):
        await Store.open(f"{postgresql}/nowhere", text=True)
    with pytest.raises(StoreError, match="password") as said:
        await Store.open(f"{postgresql.replace(PASSWORD, 'otherword')}/postgres", text=True)
    assert "otherword" not in str(said.value)


@pytest.mark.parametrize(
    "content", [b"x", b"SQLite format 3", b"not a database at all\n" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(HomingError, match=r"no SQLite database|damaged"):
        await Store.open(str(file), text=True)
    assert file.read_bytes() == content and sorted(tmp_path.iterdir()) == [file]


async def test_a_missing_driver_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"psycopg is not installed; run: pip install 'homing\[postgres\]'"):
        await Store.open("postgresql://u@h/x", text=True)


async def test_a_closed_store_says_so(url: str) -> None:
    store = await Store.open(url, text=True)
    waiting = asyncio.create_task(store.commit("t", "c", a_turn(), counting))
    await asyncio.sleep(0)
    await store.close()
    assert (await waiting).turn == 0, "what was on its way was not let end"
    await store.close()
    for call in (lambda: store.standing("t", "c"), lambda: store.commit("t", "c", a_turn(), counting)):
        with pytest.raises(StoreError, match="is closed"):
            await call()


# -- what fails ----------------------------------------------------------------------------------------------------------


async def refused(store: Store, match: str) -> None:
    """A commit that fails, in one sentence, and leaves nothing."""
    before = await store.counts("t")
    with pytest.raises(StoreError, match=match) as told:
        await store.commit("t", "c", a_turn("refused", said="a confession"), counting)
    assert "confession" not in str(told.value) and PASSWORD not in str(told.value) and "\n" not in str(told.value)
    assert await store.counts("t") == before


async def works(store: Store, turn: int) -> None:
    kept = await store.commit("t", "c", a_turn("works"), counting)
    assert not kept.again and kept.turn == turn and kept.standing.state == {"n": turn + 1}


async def test_a_locked_file_is_a_sentence_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BUSY_SECONDS", 0.2)
    file = tmp_path / "a.db"
    async with opened(file) as store:
        await store.commit("t", "c", a_turn(), counting)
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.perf_counter()
        await refused(store, "another process holds it")
        assert 0.1 < time.perf_counter() - began < 5
        other.execute("ROLLBACK")
        other.close()
        await works(store, 1)


async def test_a_locked_row_is_a_sentence_and_no_end(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    from .conftest import fresh_database

    url = fresh_database(postgresql)
    monkeypatch.setattr(base, "BUSY_SECONDS", 1.0)
    async with opened(url) as store:
        await store.commit("t", "c", a_turn(), counting)
        with psycopg.connect(url) as other:
            other.execute("SELECT 1 FROM conversations FOR UPDATE")
            await refused(store, "no answer in time")
            other.rollback()
        await works(store, 1)


async def test_a_lost_server_connection_is_a_sentence_and_no_end(postgresql: str) -> None:
    import psycopg

    from .conftest import fresh_database

    url = fresh_database(postgresql)
    async with opened(url) as store:
        await store.commit("t", "c", a_turn(), counting)

        def cut(now: Standing) -> Settled:
            with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    (url.rsplit("/", 1)[1],),
                )
            return counting(now)

        with pytest.raises(StoreError, match="look at the server"):
            await store.commit("t", "c", a_turn("cut"), cut)
        await works(store, 1)
        with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (url.rsplit("/", 1)[1],)
            )
        assert (await store.counts("t")).turns == 2, "a connection that was cut while idle is replaced unseen"


async def test_a_full_disk_is_a_sentence_and_no_end(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.db") as store:
        await store.commit("t", "c", a_turn(), counting)

        def at_most(pages: int) -> Callable[[Any], Any]:
            return lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages}").all()

        await store._base.write(at_most(1))  # no less than it has
        with pytest.raises(StoreError, match="the disk is full; make room"):
            await store.commit("t", "c", a_turn("big", said="x" * 100_000), counting)
        assert await store.counts("t") == Counts(1, 1, 0, 1)
        await store._base.write(at_most(1_000_000))
        await works(store, 1)


async def test_a_file_that_may_only_be_read_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    async with opened(file) as store:
        await store.commit("t", "c", a_turn(), counting)

        def only_read(on: bool) -> Callable[[Any], Any]:
            return lambda c: c.exec_driver_sql(f"PRAGMA query_only={int(on)}")

        await store._base.write(only_read(True))
        with pytest.raises(StoreError, match="may only be read"):
            for n in range(9):
                await store.commit("t", "c", a_turn(f"x{n}"), counting)
        for _ in range(9):
            await store._base.read(only_read(False))
    async with opened(file) as store:
        assert (await store.counts("t")).turns >= 1


def test_every_error_of_the_database_has_a_sentence_or_is_ours() -> None:
    from sqlalchemy import exc

    from homing.gateway.store.faults import failure

    def of(kind: type[exc.DBAPIError], origin: Exception, statement: str | None = "x") -> StoreError | None:
        return failure(kind(statement, None, origin), "here")

    assert of(exc.OperationalError, sqlite3.OperationalError("no such table: x")) is None
    assert of(exc.IntegrityError, sqlite3.IntegrityError("NOT NULL")) is None
    assert failure(exc.ArgumentError("x"), "here") is None
    assert "in time" in str(failure(exc.TimeoutError(), "here")) and "in time" in str(failure(TimeoutError(), "here"))
    assert "no text" in str(of(exc.OperationalError, OSError("no text\nand more")))
    assert "OSError" in str(of(exc.InterfaceError, OSError()))
    assert "unknown option" in str(of(exc.ProgrammingError, ValueError("unknown option"), None))
    assert of(exc.ProgrammingError, ValueError("mistaken SQL")) is None


LOOP = """
import asyncio, sys
from homing.gateway.records import Settled, TurnRecord
from homing.gateway.store import Store

async def main() -> None:
    store = await Store.open(sys.argv[1], text=True)
    for n in range(100_000):
        turn = TurnRecord(f"{sys.argv[2]}-{n}", 1.0, "m", "cap", "on", 1, 2, "stop", 0.5, trace=(0.5,) * 50)
        kept = await store.commit("t", "c", turn, lambda now: Settled(
            {"n": now.state.get("n", 0) + 1}, (), (("turn", {"turn": now.turns}),)))
        print(kept.turn, turn.request_id, flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_it_said_was_kept(url: str) -> None:
    told: list[tuple[int, str]] = []
    for life in range(3):
        child = subprocess.Popen([sys.executable, "-c", LOOP, url, str(life)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                index, request_id = line.split()
                told.append((int(index), request_id))
                if len(told) >= 40 * (life + 1):
                    break
            os.kill(child.pid, signal.SIGKILL)
            for line in lines:  # what it had said until then
                if line.endswith("\n"):
                    index, request_id = line.split()
                    told.append((int(index), request_id))
        assert child.wait() == -signal.SIGKILL
    async with opened(url) as store:
        turns = await store.turns("t", "c", limit=1_000_000)
        kept = [(i, t.request_id) for i, t in turns]
        assert [i for i, _ in kept] == list(range(len(kept)))
        assert set(told) <= set(kept) and len({r for _, r in kept}) == len(kept)
        assert len(kept) <= len(told) + 3, "more than the one turn a life that could not be told"
        standing = await store.standing("t", "c")
        assert standing is not None and standing.turns == standing.state["n"] == len(kept)
        assert len(await store.events("t", after=0, limit=1_000_000)) == len(kept)


@pytest.mark.slow
async def test_a_turn_is_kept_in_two_milliseconds(url: str) -> None:
    def median(values: Sequence[float]) -> float:
        return 1000 * statistics.median(values)

    async with opened(url) as store:
        wall, cpu = [], []
        for n in range(400):
            turn = a_turn(f"r{n}", said="x" * 300, trace=tuple(k / 150 for k in range(150)), pieces=("abcd",) * 150)
            began, worked = time.perf_counter(), time.process_time()
            await store.commit("t", f"c{n % 20}", turn, counting)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - worked)
    kind = url.split(":", 1)[0]
    print(f"RESULT commit of a turn, {kind}: median {median(wall):.2f} ms, of it {median(cpu):.2f} ms of work here")
    assert median(wall) < 50, "another order of magnitude; what a busy machine adds is not judged here"


async def test_a_turn_costs_few_statements_and_no_value_is_in_them(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import event

    from homing.gateway.store import direct, sqlite

    said: list[str] = []
    handed = direct.say

    def say(connection: Any, sql: str, *values: Any) -> Any:
        said.append(sql)
        return handed(connection, sql, *values)

    for module in (direct, sqlite):  # what SQLite's driver is handed passes SQLAlchemy's events by
        monkeypatch.setattr(module, "say", say)
    async with opened(url) as store:
        engine = getattr(store._base._engine, "sync_engine", store._base._engine)
        event.listen(engine, "before_cursor_execute", lambda conn, cursor, statement, *_: said.append(statement))
        await store.commit("t", "c", a_turn("r0"), lambda now: Settled({}, (), (("turn", {}), ("home", {}))))
        said.clear()
        await store.commit("t", "c", a_turn("r1"), lambda now: Settled({"n": 1}, (), (("turn", {}), ("home", {}))))
        begins = [s.split()[0] for s in said]
        assert begins[-5:] == ["SELECT", "INSERT", "UPDATE", "UPDATE", "INSERT"]
        assert begins[:-5] == (["BEGIN"] if store._base.dialect == "sqlite" else [])
        assert all(secret not in s for s in said for secret in ("good morning", "'t'", "smollm2")), "a value in SQL"


async def test_what_the_driver_is_handed_is_what_sqlalchemy_writes() -> None:
    from sqlalchemy import select
    from sqlalchemy.exc import DBAPIError

    from homing.gateway.store import statements
    from homing.gateway.store.changes import key_of, moved
    from homing.gateway.store.direct import put
    from homing.gateway.store.rows import row_of
    from homing.gateway.store.tables import conversations, counters, events, turns

    ways = {"a": lambda c, s, *rows: c.execute(s, list(rows) if len(rows) > 1 else rows[0]), "b": put}
    start = Standing("c", "", state={"n": None, "ä": [1.5, True]}, position=2, drift=None)

    def work(connection: Any) -> dict[str, list[Any]]:
        out: dict[str, list[Any]] = {}
        for n, (tenant, write) in enumerate(ways.items()):
            here = {"tenant": tenant, "conversation": "c"}
            write(
                connection, statements.MAKE_CONVERSATION["sqlite"], {**here, "created": 1, "seen": None, **moved(start)}
            )
            write(
                connection, statements.MAKE_TURN["sqlite"], {**here, **row_of(a_turn(said="é"), text=True), "turn": 0}
            )
            write(
                connection,
                statements.MOVE_CONVERSATION,
                {**key_of(tenant, "c"), **moved(replace(start, turns=3, hold="cap"))},
            )
            write(connection, statements.TAKE_EVENTS, {"counted": 2})
            made = {**here, "turn": 0, "created": 2.5, "kind": "turn", "data": {"x": math.nan}}
            write(connection, statements.MAKE_EVENTS, {**made, "id": 10 * n}, {**made, "id": 10 * n + 1, "data": {}})
            out[tenant] = [
                [{k: v for k, v in r.items() if k not in ("tenant", "id")} for r in found.mappings()]
                for table in (conversations, turns, events)
                for found in [connection.execute(select(table).where(table.c.tenant == tenant))]
            ]
        assert (
            put(connection, statements.MAKE_TURN["sqlite"], {**here, **row_of(a_turn(), text=True), "turn": 1}) is None
        )
        assert put(connection, statements.TAKE_EVENTS, {"counted": 5}) == 9
        assert connection.execute(select(counters.c.value).where(counters.c.name == "events")).scalar_one() == 9
        with pytest.raises(KeyError, match="counted"):
            put(connection, statements.TAKE_EVENTS, {"other": 1})
        with pytest.raises(DBAPIError) as told:
            put(connection, statements.MAKE_EVENTS, {**made, "id": 10, "kind": "a secret"})
        assert isinstance(told.value.orig, sqlite3.IntegrityError) and "a secret" not in str(told.value)
        return out

    async with opened("sqlite://") as store:
        found = await store._base.write(work)
    assert repr(found["a"]) == repr(found["b"]) and all(found["a"])


def test_no_column_is_filled_by_sqlalchemy() -> None:
    """What SQLite's driver is handed has only what the row gives, and what the database fills in."""
    from homing.gateway.store.tables import metadata

    assert all(c.default is None and c.onupdate is None for t in metadata.tables.values() for c in t.columns)


def test_the_records_have_columns() -> None:
    """A field without a column would be lost in silence."""
    from homing.gateway.store.tables import turns

    assert {f.name for f in fields(TurnRecord)} == set(turns.c.keys()) - {"tenant", "conversation", "turn"}
    assert set(asdict(a_turn())) == {f.name for f in fields(TurnRecord)}
