"""From what an operator writes to a database: ``sqlite://`` (memory), a file, or ``postgresql://``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from homing.errors import InputError, MissingExtra
from homing.gateway.store.base import Database
from homing.gateway.store.postgresql import Postgresql
from homing.gateway.store.sqlite import Sqlite

__all__ = ["database_at"]

_MAGIC = b"SQLite format 3\0"
_FORMS = "give a file, sqlite:///FILE, or postgresql://USER@HOST/NAME"
_INSTALL = "pip install 'homing[postgres]'"


def database_at(url: str) -> Database:
    """A database, not yet reached; the directory of a file is made.

    Raises:
        InputError: it names no database that can be used. MissingExtra: its driver is not installed.
    """
    if not url or "\0" in url:
        raise InputError(f"the store has no address; {_FORMS}")
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _file(url)
    if scheme not in ("sqlite", "postgresql", "postgres"):
        raise InputError(f"store: {scheme[:40]!r} is no kind of database that can be used; {_FORMS}")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # whose text may have the password
        raise InputError(f"store: this {scheme} URL cannot be read; {_FORMS}") from None
    return _sqlite(parsed) if scheme == "sqlite" else _postgresql(parsed)


def _sqlite(url: URL) -> Sqlite:
    if url.query or url.host:
        raise InputError(
            "store: a sqlite URL has a file and nothing else; give sqlite:///FILE, or sqlite:////FILE from the root"
        )
    return Sqlite(None) if not url.database or url.database == ":memory:" else _file(url.database)


def _file(name: str) -> Sqlite:
    path = Path(name).expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)  # it is to hold what people said; its log and index take the same mode
    except (OSError, RuntimeError) as e:
        raise InputError(
            f"store {path} cannot be made: {getattr(e, 'strerror', None) or e}; give another file"
        ) from None
    if not path.is_file():
        raise InputError(f"store {path} is not a file; give a file")
    try:
        with path.open("rb") as f:
            begins = f.read(len(_MAGIC))
    except OSError as e:
        raise InputError(f"store {path} cannot be read: {e.strerror or e}; give another file") from None
    if begins not in (b"", _MAGIC):  # SQLite itself would write over a short one
        raise InputError(f"store {path} is no SQLite database; give another file")
    return Sqlite(path)


def _postgresql(url: URL) -> Postgresql:
    try:
        import_module("psycopg")
    except ImportError:
        raise MissingExtra("the PostgreSQL driver psycopg", _INSTALL) from None
    return Postgresql(url.set(drivername="postgresql+psycopg"))
