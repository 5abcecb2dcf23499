"""SQLite: one thread writes, a few read. A transaction is one trip to its thread.

An asynchronous driver makes several trips for each statement; on a machine whose cores a model keeps busy, a turn then took three
times as long to keep, in time and in work.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import QueuePool

from homing.gateway.store import base
from homing.gateway.store.direct import say

__all__ = ["Sqlite"]

T = TypeVar("T")
READERS = 4
IN_LINE = 0.01
"""Share of the longest wait for the file below which what was waited in line is not taken off it."""
_PRAGMAS = (
    "PRAGMA synchronous=NORMAL",  # a killed process loses nothing; a power cut may lose the last turns, never half of one
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # what is forgotten is overwritten, not only unlinked
)


class Sqlite:
    """A file, or with None memory: that is its one connection, and all take turns on it."""

    dialect = "sqlite"

    def __init__(self, path: Path | None) -> None:
        self.where = "in memory" if path is None else str(path)
        name, self._busy_seconds = ":memory:" if path is None else str(path), base.BUSY_SECONDS
        self._engine = create_engine(
            "sqlite+pysqlite://",
            creator=lambda: _connect(name, self._busy_seconds),
            poolclass=QueuePool,
            pool_size=1 if path is None else READERS + 1,
            max_overflow=0,
            **base.OPTIONS,
        )
        # SQLite has one writer. Ours stand in line; left to the file, each would poll for it, and some starve.
        self._scrub: asyncio.Future[bool] | None = None
        self._kept: Connection | None = None
        self._begun = threading.Event()
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="homing-store-writes")
        self._reading = (
            self._writing if path is None else ThreadPoolExecutor(READERS, thread_name_prefix="homing-store-reads")
        )

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do one statement, which is its own snapshot."""

        def read() -> T:
            with self._writer() if self._reading is self._writing else self._engine.connect() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._reading, read)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction. Whoever stood in line for it has waited meanwhile, and waits for the file the rest."""
        asked = time.monotonic()

        def write() -> T:
            with self._writer() as connection:
                waited = time.monotonic() - asked
                stood = waited > IN_LINE * self._busy_seconds
                if stood:
                    _wait_for_others(connection, self._busy_seconds - waited)
                try:
                    # the lock at once: a transaction that has read before it writes could not take it
                    say(connection, "BEGIN IMMEDIATE")
                finally:
                    if stood:
                        _wait_for_others(connection, self._busy_seconds)
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._writing, write)

    @contextmanager
    def _writer(self) -> Generator[Connection]:
        """A transaction on the connection that the writing thread keeps: taking one from the pool costs an eighth of a turn.

        One on which something failed is given back, and the pool sees to it.
        """
        if self._kept is None:
            self._kept = self._engine.connect()
        try:
            with self._kept.begin():
                yield self._kept
        except BaseException:
            self._give_back()
            raise

    def _give_back(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    async def scrub(self) -> bool:
        """Write the file anew, and cut its log to nothing: both still have pages as they were.

        secure_delete alone does not do: a page that was split or joined keeps copies of what it had in its unused middle.
        Those who ask while one waits for its turn share it.
        """
        if self._scrub is None or self._begun.is_set():
            self._begun = threading.Event()
            self._scrub = asyncio.get_running_loop().run_in_executor(self._writing, self._write_anew, self._begun)
        return await asyncio.shield(self._scrub)

    def _write_anew(self, begun: threading.Event) -> bool:
        begun.set()  # what is deleted from here on needs another
        with self._writer() as connection:
            connection.exec_driver_sql("VACUUM")
            return not connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]

    async def close(self) -> None:
        """Close every connection; the last one takes the log with it."""

        def end() -> None:
            self._give_back()
            self._engine.dispose()

        await asyncio.get_running_loop().run_in_executor(self._writing, end)
        self._writing.shutdown()
        self._reading.shutdown()


def _connect(name: str, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(connection, busy_seconds)
        for pragma in _PRAGMAS:
            connection.execute(pragma).close()
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Put the file on a write-ahead log. Where another does so at the same moment SQLite fails at once: it is asked again."""
    end = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _wait_for_others(connection: Connection, seconds: float) -> None:
    """How long a transaction that begins from now on waits for another process; past due it tries once."""
    say(connection, f"PRAGMA busy_timeout={max(0, round(1000 * seconds))}")
