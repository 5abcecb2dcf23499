"""What a database says when it fails, as one sentence."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import exc

from homing.errors import StoreError

__all__ = ["failure"]

_SQLITE = {
    sqlite3.SQLITE_BUSY: "another process holds it; end that process, or try again",
    sqlite3.SQLITE_LOCKED: "another process holds it; end that process, or try again",
    sqlite3.SQLITE_READONLY: "it may only be read; give this user the right to write the file and its directory",
    sqlite3.SQLITE_IOERR: "the disk fails; look at the disk",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a copy, or give another",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; look at its rights and its directory",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database; give another",
}
_POSTGRESQL = {
    "53100": "the server's disk is full; make room",
    "25006": "the server may only be read; give the primary",
    "42501": "this user may not do it; grant it the right to create and write tables",
}


def failure(error: BaseException, where: str) -> StoreError | None:
    """The sentence for a failure of the database; None for a mistake of ours, which keeps its own text."""
    if isinstance(error, TimeoutError | exc.TimeoutError):
        return StoreError(f"store {where}: no answer in time; look at the database, or try again")
    if not isinstance(error, exc.DBAPIError):
        return None
    origin: Any = error.orig
    if isinstance(origin, sqlite3.Error):
        code = getattr(origin, "sqlite_errorcode", 0) & 0xFF  # the rest of it says which kind of the same
        return StoreError(f"store {where}: {_SQLITE[code]}") if code in _SQLITE else None
    state = getattr(origin, "sqlstate", None) or ""
    if state in _POSTGRESQL:
        return StoreError(f"store {where}: {_POSTGRESQL[state]}")
    # a connection that fails has no state, whatever the reason; its text never has the password
    if error.statement is None or isinstance(error, exc.OperationalError | exc.InterfaceError | exc.DataError):
        said = str(origin).strip().splitlines() or [type(origin).__name__]
        return StoreError(f"store {where}: {' '.join(said[0].split())}; look at the server and the URL, or try again")
    return None
