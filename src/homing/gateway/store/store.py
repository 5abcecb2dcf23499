"""The durable store: one transaction a turn, with the conversation's row locked, so that replicas keep order and alarms.

Ids of events come from one counter row, taken last in a transaction: its lock is held until what it numbers can be seen, so a
reader that has seen an id has seen every smaller one. A sequence would number early and show late.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import SQLAlchemyError

from homing.errors import StoreError
from homing.gateway.records import (
    AlarmRecord,
    Committed,
    Counts,
    EventRecord,
    Settled,
    Standing,
    TurnRecord,
)
from homing.gateway.store import statements
from homing.gateway.store.address import database_at
from homing.gateway.store.base import Database
from homing.gateway.store.faults import failure
from homing.gateway.store.migrate import is_newest, migrate
from homing.gateway.store.rows import alarm_of, event_of, finite, row_of, standing_of, turn_of

__all__ = ["UNSET", "Store", "Unset"]

T = TypeVar("T")
_LOG = logging.getLogger("homing.gateway")
FORGOTTEN_AT_ONCE = 100
"""Conversations forgotten in one transaction; the others wait meanwhile."""


class Unset(Enum):
    """What is not given, where None is a value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class Store:
    """Conversations, turns, alarms and events of all tenants; made by :meth:`open`.

    Every method raises :class:`~homing.errors.StoreError` where the database fails, and the store can be used again. One that is
    cancelled goes on to its end.
    """

    def __init__(self, base: Database, *, text: bool) -> None:
        self._base, self._text = base, text
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, text: bool) -> Self:
        """Open a database, made or migrated where needed.

        Args:
            url: ``sqlite://`` (memory), ``sqlite:///FILE``, a file, or ``postgresql://USER@HOST/NAME``.
            text: whether messages and pieces are kept; without it they are dropped whatever is given.

        Raises:
            InputError: it is no database, or of a newer version. StoreError: it cannot be reached or used.
            MissingExtra: its driver is not installed.
        """
        base = database_at(url)
        store = cls(base, text=text)
        try:
            if not await store._run(base.read(lambda c: is_newest(c, base.where))):
                await store._run(base.write(lambda c: migrate(c, base.where)))
            await store._scrub()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Let what is on its way end, and close every connection."""
        if self._closed:
            return
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._base.close()

    async def salt(self) -> bytes:
        """32 random bytes, made once for all who use this database."""
        made = {"name": "salt", "value": secrets.token_bytes(32)}

        def work(connection: Connection) -> bytes:
            connection.execute(self._of(statements.MAKE_SECRET), made)
            return bytes(connection.execute(statements.SECRET, {"the_name": "salt"}).scalar_one())

        return await self._write(work)

    # -- conversations ---------------------------------------------------------------------------------------------------

    async def standing(self, tenant: str, conversation: str) -> Standing | None:
        """Where a conversation stands; None where there is none."""
        rows = await self._rows(statements.STANDING, _key(tenant, conversation))
        return standing_of(rows[0]) if rows else None

    async def find(self, tenant: str, digest: str) -> str | None:
        """The newest conversation whose last ``seen`` is this."""
        rows = await self._rows(statements.FIND, {"the_tenant": tenant, "digest": digest})
        return rows[0]["conversation"] if rows else None

    async def conversations(self, tenant: str, *, limit: int, before: float | None = None) -> list[Standing]:
        """Newest first; ``before``: updated earlier than this."""
        given: dict[str, Any] = {"the_tenant": tenant, "most": limit}
        if before is None:
            return [standing_of(r) for r in await self._rows(statements.NEWEST, given)]
        return [standing_of(r) for r in await self._rows(statements.NEWEST_BEFORE, {**given, "before": before})]

    async def turns(
        self, tenant: str, conversation: str, *, after: int = -1, limit: int
    ) -> list[tuple[int, TurnRecord]]:
        """Turns with their numbers from 0, oldest first."""
        given = {**_key(tenant, conversation), "after": after, "most": limit}
        return [(r["turn"], turn_of(r)) for r in await self._rows(statements.TURNS, given)]

    async def alarms(self, tenant: str, conversation: str) -> list[AlarmRecord]:
        """Alarms, oldest first."""
        return [alarm_of(r) for r in await self._rows(statements.ALARMS, _key(tenant, conversation))]

    async def mark(self, tenant: str, alarm_id: int, false_alarm: bool) -> tuple[str, AlarmRecord] | None:
        """Mark an alarm; its conversation and itself, or None where there is none."""
        given = {"the_tenant": tenant, "the_id": alarm_id, "marked": false_alarm}
        row = await self._write(lambda c: c.execute(statements.MARK, given).mappings().one_or_none())
        return None if row is None else (row["conversation"], alarm_of(row))

    async def counts(self, tenant: str) -> Counts:
        """How much a tenant has."""
        row = (await self._rows(statements.COUNTS, {"the_tenant": tenant}))[0]
        return Counts(**{name: int(row[name]) for name in ("conversations", "alarms", "false_alarms", "turns")})

    # -- changes ---------------------------------------------------------------------------------------------------------

    async def commit(
        self,
        tenant: str,
        conversation: str,
        turn: TurnRecord,
        settle: Callable[[Standing], Settled],
        *,
        new: bool = False,
    ) -> Committed:
        """Keep a turn and what comes of it, all or nothing; a request that was kept before is not kept again.

        Args:
            settle: called with what is stored now, while nobody else can change it, and in any thread: it computes from what it
                is given, and does nothing else. What it raises undoes the turn.
            new: most likely nobody has this conversation: then it is made at once as the turn leaves it, and where somebody has,
                ``settle`` is called once more.
        """
        key = _key(tenant, conversation)
        row = {"tenant": tenant, "conversation": conversation, **row_of(turn, text=self._text)}
        start = Standing(conversation, tenant, created=turn.created, updated=turn.created)

        def work(connection: Connection) -> Committed:
            if new:
                settled = settle(start)
                after = _after(start, turn, settled)
                if self._made(connection, after, settled.seen):
                    connection.execute(self._of(statements.MAKE_TURN), {**row, "turn": 0})
                    return _leave(connection, after, settled, turn=0)
            now = self._locked(connection, start)
            if connection.execute(self._of(statements.MAKE_TURN), {**row, "turn": now.turns}).first() is None:
                return _again(connection, key, now, turn.request_id)
            settled = settle(now)
            after = _after(now, turn, settled)
            _move(connection, after, settled.seen)
            return _leave(connection, after, settled, turn=now.turns)

        return await self._write(work)

    async def amend(
        self,
        tenant: str,
        conversation: str,
        change: Callable[[Standing], Settled],
        *,
        hold: str | Unset | None = UNSET,
    ) -> Committed | None:
        """Change a conversation without a turn, under the same lock; None where there is none.

        Args:
            change: as ``settle`` of :meth:`commit`. ``hold``: chosen for it from now on; None: the deployment's.
        """
        key = _key(tenant, conversation)

        def work(connection: Connection) -> Committed | None:
            found = connection.execute(statements.LOCKED, key).mappings().one_or_none()
            if found is None:
                return None
            now = standing_of(found)
            settled = change(now)
            after = replace(
                now, updated=max(now.updated, time.time()), hold=now.hold if isinstance(hold, Unset) else hold,
                state=settled.state, alarms=now.alarms + len(settled.alarms),
            )  # fmt: skip
            _move(connection, after, settled.seen)
            return _leave(connection, after, settled, turn=None)

        return await self._write(work)

    def _locked(self, connection: Connection, new: Standing) -> Standing:
        """What is stored now, locked; made where absent."""
        key = _key(new.tenant, new.conversation)
        while True:  # another may forget it between the two statements
            found = connection.execute(statements.LOCKED, key).mappings().one_or_none()
            if found is not None:
                return standing_of(found)
            if self._made(connection, new, None):
                return new

    def _made(self, connection: Connection, new: Standing, seen: str | None) -> bool:
        """Make a conversation; False where there is one of this name."""
        row = {
            "tenant": new.tenant,
            "conversation": new.conversation,
            "created": new.created,
            "seen": seen,
            **_moved(new),
        }
        return connection.execute(self._of(statements.MAKE_CONVERSATION), row).first() is not None

    # -- forgetting ------------------------------------------------------------------------------------------------------

    async def forget(self, tenant: str, conversation: str) -> bool:
        """Delete all of a conversation, its events too, and leave the event that it is forgotten; False where there is none.

        In SQLite its text is gone from the disk, for which the file is written anew; PostgreSQL overwrites it at its next vacuum.
        """
        key = _key(tenant, conversation)

        def work(connection: Connection) -> bool:
            if connection.execute(statements.LOCKED, key).first() is None:
                return False
            _forget(connection, [key])
            return True

        forgotten = await self._write(work)
        await self._scrub()
        return forgotten

    async def forget_before(self, unix_seconds: float) -> int:
        """Forget what no tenant has changed since; how many there were."""
        given = {"before": unix_seconds, "most": FORGOTTEN_AT_ONCE}

        def work(connection: Connection) -> int:
            keys = [_key(t, c) for t, c in connection.execute(statements.OLD, given)]
            if keys:
                _forget(connection, keys)
            return len(keys)

        total = 0
        while forgotten := await self._write(work):
            total += forgotten
        await self._scrub()
        return total

    async def _scrub(self) -> None:
        """Overwrite what was forgotten and is not yet overwritten, be it by a process that was killed in between."""
        owed = (await self._rows(statements.UNSCRUBBED, {}))[0]["value"]
        if not owed:
            return
        if await self._run(self._base.scrub()):
            await self._write(lambda c: c.execute(statements.SCRUBBED, {"was": owed}))
        else:
            _LOG.warning("store: another process reads the database; what was forgotten stays in its log for now")

    # -- events ----------------------------------------------------------------------------------------------------------

    async def events(self, tenant: str, *, after: int, limit: int) -> list[EventRecord]:
        """Events with ids larger than ``after``, oldest first. None that is smaller than one of these can still come."""
        given = {"the_tenant": tenant, "after": after, "most": limit}
        return [event_of(r) for r in await self._rows(statements.EVENTS, given)]

    async def last_event(self, tenant: str) -> int:
        """The largest id of this tenant; 0 where there is none."""
        return int((await self._rows(statements.LAST_EVENT, {"the_tenant": tenant}))[0]["id"])

    # -- how -------------------------------------------------------------------------------------------------------------

    def _of(self, by_dialect: statements.Dialected) -> Any:
        return by_dialect[self._base.dialect]

    async def _rows(self, statement: Any, given: Mapping[str, Any]) -> Sequence[RowMapping]:
        return await self._run(self._base.read(lambda c: c.execute(statement, given).mappings().all()))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._run(self._base.write(work))

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise StoreError(f"store {self._base.where} is closed; open it again")
        task = asyncio.create_task(self._told(work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited may be gone

    async def _told(self, work: Coroutine[Any, Any, T]) -> T:
        """The result, or the failure of the database as one sentence."""
        try:
            return await work
        except (SQLAlchemyError, TimeoutError) as e:
            said = failure(e, self._base.where)
            if said is None:
                raise
            raise said from e


def _key(tenant: str, conversation: str) -> dict[str, str]:
    return {"the_tenant": tenant, "the_conversation": conversation}


def _again(connection: Connection, key: Mapping[str, str], now: Standing, request_id: str) -> Committed:
    """What was kept of this request."""
    turn = connection.execute(statements.TURN_OF_REQUEST, {**key, "request": request_id}).scalar_one()
    given = {**key, "the_turn": turn}
    alarms = connection.execute(statements.ALARMS_OF_TURN, given).mappings()
    events = connection.execute(statements.EVENTS_OF_TURN, given).mappings()
    return Committed(turn, now, tuple(map(alarm_of, alarms)), tuple(map(event_of, events)), again=True)


def _after(now: Standing, turn: TurnRecord, settled: Settled) -> Standing:
    """Where a conversation stands with one turn more."""
    return replace(
        now, turns=now.turns + 1, model=turn.model, position=finite(turn.position), drift=finite(turn.drift),
        updated=max(now.updated, turn.created), state=settled.state, alarms=now.alarms + len(settled.alarms),
    )  # fmt: skip


def _moved(after: Standing) -> dict[str, Any]:
    """What a change may leave of a conversation's row."""
    return {
        "updated": after.updated, "turns": after.turns, "alarms": after.alarms, "hold": after.hold, "model": after.model,
        "position": after.position, "drift": after.drift, "state": after.state,
    }  # fmt: skip


def _move(connection: Connection, after: Standing, seen: str | None) -> None:
    """Write where a conversation stands. ``seen``: None: as it was."""
    known = {} if seen is None else {"seen": seen}
    key = _key(after.tenant, after.conversation)
    connection.execute(statements.MOVE_CONVERSATION, {**key, **_moved(after), **known})


def _leave(connection: Connection, after: Standing, settled: Settled, *, turn: int | None) -> Committed:
    """Write the alarms and events that a change leaves. ``turn``: that they are of; None: as alarms say, and events of none."""
    tenant, conversation = after.tenant, after.conversation
    alarms = settled.alarms if turn is None else tuple(replace(a, turn=turn) for a in settled.alarms)
    if alarms:
        rows = [
            {
                "tenant": tenant, "conversation": conversation, "turn": a.turn, "detector": a.detector,
                "statistic": a.statistic, "threshold": a.threshold, "false_alarm": a.false_alarm,
            }
            for a in alarms
        ]  # fmt: skip
        ids = connection.execute(statements.MAKE_ALARMS, rows).scalars()
        alarms = tuple(replace(a, id=i) for a, i in zip(alarms, ids, strict=True))
    events = _tell(connection, tenant, [(conversation, *e) for e in settled.events], turn=turn)
    return Committed(after.turns - 1, after, alarms, events)


def _tell(
    connection: Connection, tenant: str, told: Sequence[tuple[str, str, Mapping[str, Any]]], *, turn: int | None = None
) -> tuple[EventRecord, ...]:
    """Number events and write them; last in a transaction, since all others wait for the number from here on."""
    if not told:
        return ()
    last = connection.execute(statements.TAKE_EVENTS, {"counted": len(told)}).scalar_one()
    created, first = time.time(), last - len(told) + 1
    events = tuple(EventRecord(first + n, created, kind, of, data) for n, (of, kind, data) in enumerate(told))
    rows = [
        {
            "id": e.id, "tenant": tenant, "conversation": e.conversation, "turn": turn, "created": created,
            "kind": e.kind, "data": e.data,
        }
        for e in events
    ]  # fmt: skip
    connection.execute(statements.MAKE_EVENTS, rows)
    return events


def _forget(connection: Connection, keys: Sequence[Mapping[str, str]]) -> None:
    """Delete conversations, their turns and alarms with them."""
    connection.execute(statements.FORGET_EVENTS, keys)
    connection.execute(statements.FORGET, keys)
    connection.execute(statements.OWE)
    by_tenant: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for key in keys:
        by_tenant.setdefault(key["the_tenant"], []).append((key["the_conversation"], "forgotten", {}))
    for tenant, told in by_tenant.items():
        _tell(connection, tenant, told)
