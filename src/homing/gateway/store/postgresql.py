"""PostgreSQL through psycopg; several replicas of the gateway may share one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import create_async_engine

from homing.gateway.store import base

__all__ = ["Postgresql"]

T = TypeVar("T")


class Postgresql:
    """A database on a server."""

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        self.where = f"postgresql://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"
        self._longest_seconds = base.BUSY_SECONDS
        # a server that is gone without a word is noticed; the operator's own choices go before
        ours = {
            "connect_timeout": int(base.BUSY_SECONDS), "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3,
        }  # fmt: skip
        self._engine = create_async_engine(
            url,
            pool_pre_ping=True,
            connect_args={k: v for k, v in ours.items() if k not in url.query},
            **base.OPTIONS,
        )

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do one statement."""
        async with asyncio.timeout(self._longest_seconds), self._engine.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction."""
        async with asyncio.timeout(self._longest_seconds), self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def scrub(self) -> bool:
        """Nothing: the server overwrites what was deleted when it vacuums."""
        return True

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
