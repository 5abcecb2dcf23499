"""What a kind of database does for the store, and what all kinds share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from homing.jsonable import strict

__all__ = ["BUSY_SECONDS", "OPTIONS", "Database"]

T = TypeVar("T")
BUSY_SECONDS = 10.0
"""Longest that one waits for another process that writes, or for a server."""


def _json(value: Any) -> str:
    """Strict JSON in ASCII, which any database takes."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):  # a mapping that is no dict, or no finite number: seldom, and ten times slower
        return json.dumps(strict(value), separators=(",", ":"), allow_nan=False)


OPTIONS: dict[str, Any] = {
    "json_serializer": _json,
    "json_deserializer": json.loads,
    "hide_parameters": True,  # what people said stays out of the text of errors
}
"""Of every engine."""


class Database(Protocol):
    """One database. ``where``: what to call it in a sentence, without a password."""

    dialect: str
    where: str

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do one statement."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction, all or nothing."""
        ...

    async def scrub(self) -> bool:
        """Overwrite what was deleted; False where somebody else's reading forbids it now."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
