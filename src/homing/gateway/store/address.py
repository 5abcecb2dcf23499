"""From what an operator writes to an engine: ``sqlite://`` (memory), a file, or ``postgresql://``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from homing.errors import InputError, MissingExtra
from homing.jsonable import strict

__all__ = ["BUSY_SECONDS", "WRITE", "make_engine"]

BUSY_SECONDS = 10.0
"""Longest that one waits for another process that writes, or for a server."""
WRITE = "homing_write"
"""Execution option of what writes."""

_FORMS = "give a file, sqlite:///FILE, or postgresql://USER@HOST/NAME"
_DRIVERS = {
    "sqlite": ("sqlite+aiosqlite", "aiosqlite", "pip install 'homing[gateway]'"),
    "postgresql": ("postgresql+psycopg", "psycopg", "pip install 'homing[postgres]'"),
    "postgres": ("postgresql+psycopg", "psycopg", "pip install 'homing[postgres]'"),
}


def make_engine(url: str) -> tuple[AsyncEngine, str]:
    """An engine, and what to call its database in a sentence: never with a password.

    Raises:
        InputError: it names no database that can be used. MissingExtra: its driver is not installed.
    """
    parsed = _parse(url)
    driver, module, install = _DRIVERS[parsed.drivername]
    try:
        import_module(module)
    except ImportError:
        raise MissingExtra(f"the database driver {module}", install) from None
    parsed = parsed.set(drivername=driver)
    return _sqlite(parsed) if module == "aiosqlite" else _postgresql(parsed)


def _parse(url: str) -> URL:
    if not url or "\0" in url:
        raise InputError(f"the store has no address; {_FORMS}")
    if "://" not in url:
        return URL.create("sqlite", database=url)
    scheme = url.split("://", 1)[0]
    if scheme not in _DRIVERS:
        raise InputError(f"store: {scheme[:40]!r} is no kind of database that can be used; {_FORMS}")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(f"store: this {scheme} URL cannot be read; {_FORMS}") from None
    if scheme == "sqlite" and (parsed.query or parsed.host):
        raise InputError(
            "store: a sqlite URL has a file and nothing else; give sqlite:///FILE, with four slashes from the root"
        )
    return parsed


def _sqlite(url: URL) -> tuple[AsyncEngine, str]:
    memory = not url.database or url.database == ":memory:"
    path = Path(url.database or "").expanduser()
    if not memory:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o600)  # what people said is in it; its log and index take the same mode
        except OSError as e:
            raise InputError(f"store {path} cannot be made: {e.strerror or e}; give another file") from None
        if not path.is_file():
            raise InputError(f"store {path} is not a file; give a file")
    # here, since aiosqlite, which it is made of, may not be installed where a server keeps the store
    from homing.gateway.store.sqlite import Connection as OneTrip
    from homing.gateway.store.sqlite import connector

    name = ":memory:" if memory else str(path)

    async def connect() -> OneTrip:
        connection = OneTrip(connector(name, BUSY_SECONDS))
        await connection
        return connection

    engine = create_async_engine(
        url.set(database=name),
        async_creator=connect,
        # a memory database is its one connection: all take turns on it
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if memory else 5,
        max_overflow=0 if memory else 10,
        **_common(),
    )

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        # A read is one statement and its own snapshot. A write takes the lock at once: one that read first could not.
        if connection.get_execution_options().get(WRITE):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine, "in memory" if memory else str(path)


def _postgresql(url: URL) -> tuple[AsyncEngine, str]:
    # a server that is gone without a word is noticed; the operator's own choices go before
    ours = {"connect_timeout": BUSY_SECONDS, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
    engine = create_async_engine(
        url,
        pool_pre_ping=True,
        connect_args={k: int(v) for k, v in ours.items() if k not in url.query},
        **_common(),
    )
    return engine, f"postgresql://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def _common() -> dict[str, Any]:
    """What every engine has: strict JSON in ASCII, which any database takes, and no value in the text of an error."""
    return {
        "json_serializer": _json,
        "json_deserializer": json.loads,
        "hide_parameters": True,
    }


def _json(value: Any) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):  # a mapping that is no dict, or no finite number: seldom, and ten times slower
        return json.dumps(strict(value), separators=(",", ":"), allow_nan=False)
