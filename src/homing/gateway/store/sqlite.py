"""A SQLite connection that makes one trip to its thread for each statement.

SQLAlchemy asks aiosqlite for a cursor, a statement, its rows and the cursor's end, each a trip of its own; a turn would spend
three quarters of its time on the way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, Self

import aiosqlite

__all__ = ["Connection", "connector"]

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",  # a killed process loses nothing; a power cut may lose the last turns, never half of one
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # what is forgotten is overwritten, not only unlinked
)


def connector(path: str, busy_seconds: float) -> Callable[[], sqlite3.Connection]:
    """What opens a file as the store needs it."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma).close()
        except BaseException:
            connection.close()
            raise
        return connection

    return connect


class Connection(aiosqlite.Connection):
    """As aiosqlite's; its thread ends with the process."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True

    def cursor(self) -> Any:
        return _Cursor(self)

    async def rollback(self) -> None:
        if self._conn.in_transaction:  # asked after every use, and there hardly ever is one
            await super().rollback()

    async def run(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do something in the thread."""
        execute: Callable[..., Coroutine[Any, Any, Any]] = self._execute  # pyright: ignore
        return await execute(work, self._conn)


class _Cursor:
    """One statement: what it gave is here when it ends."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Any = ()) -> Self:
        return await self._connection.run(lambda c: self._done(c.execute(sql, parameters)))

    async def executemany(self, sql: str, parameters: Any) -> Self:
        return await self._connection.run(lambda c: self._done(c.executemany(sql, parameters)))

    def _done(self, cursor: sqlite3.Cursor) -> Self:
        try:
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else []
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()  # a statement that is left open keeps its snapshot, and the log with it
        return self

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []
