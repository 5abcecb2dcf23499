"""The durable store: one transaction a turn, with the conversation's row locked, so that replicas keep order and alarms."""

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
from homing.gateway.store.changes import forget, kept_before, key_of, leave, move, moved, with_turn
from homing.gateway.store.direct import put
from homing.gateway.store.faults import failure
from homing.gateway.store.migrate import is_newest, migrate
from homing.gateway.store.rows import alarm_of, event_of, row_of, standing_of, turn_of

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
        rows = await self._rows(statements.STANDING, key_of(tenant, conversation))
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
        given = {**key_of(tenant, conversation), "after": after, "most": limit}
        return [(r["turn"], turn_of(r)) for r in await self._rows(statements.TURNS, given)]

    async def alarms(self, tenant: str, conversation: str) -> list[AlarmRecord]:
        """Alarms, oldest first."""
        return [alarm_of(r) for r in await self._rows(statements.ALARMS, key_of(tenant, conversation))]

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
        key = key_of(tenant, conversation)
        row = {"tenant": tenant, "conversation": conversation, **row_of(turn, text=self._text)}
        start = Standing(conversation, tenant, created=turn.created, updated=turn.created)

        def work(connection: Connection) -> Committed:
            if new:
                settled = settle(start)
                after = with_turn(start, turn, settled)
                if self._made(connection, after, settled.seen):
                    put(connection, self._of(statements.MAKE_TURN), {**row, "turn": 0})
                    return leave(connection, after, settled, turn=0)
            now = self._locked(connection, start)
            if put(connection, self._of(statements.MAKE_TURN), {**row, "turn": now.turns}) is None:
                return kept_before(connection, key, now, turn.request_id)
            settled = settle(now)
            after = with_turn(now, turn, settled)
            move(connection, after, settled.seen)
            return leave(connection, after, settled, turn=now.turns)

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
        key = key_of(tenant, conversation)

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
            move(connection, after, settled.seen)
            return leave(connection, after, settled, turn=None)

        return await self._write(work)

    def _locked(self, connection: Connection, new: Standing) -> Standing:
        """What is stored now, locked; made where absent."""
        key = key_of(new.tenant, new.conversation)
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
            **moved(new),
        }
        return put(connection, self._of(statements.MAKE_CONVERSATION), row) is not None

    # -- forgetting ------------------------------------------------------------------------------------------------------

    async def forget(self, tenant: str, conversation: str) -> bool:
        """Delete all of a conversation, its events too, and leave the event that it is forgotten; False where there is none.

        In SQLite its text is gone from the disk, for which the file is written anew; PostgreSQL overwrites it at its next vacuum.
        """
        key = key_of(tenant, conversation)

        def work(connection: Connection) -> bool:
            if connection.execute(statements.LOCKED, key).first() is None:
                return False
            forget(connection, [key])
            return True

        forgotten = await self._write(work)
        await self._scrub()
        return forgotten

    async def forget_before(self, unix_seconds: float) -> int:
        """Forget what no tenant has changed since; how many there were."""
        given = {"before": unix_seconds, "most": FORGOTTEN_AT_ONCE}

        def work(connection: Connection) -> int:
            keys = [key_of(t, c) for t, c in connection.execute(statements.OLD, given)]
            if keys:
                forget(connection, keys)
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
