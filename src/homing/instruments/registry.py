"""Find instruments by name: a file of this room that names INSTRUMENTS, then the entry points of others."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from homing.instruments.base import Instrument
from homing.plugins import chosen, found

__all__ = ["ENTRY_POINTS", "available", "get"]

ENTRY_POINTS = "homing.instruments"


@cache
def _registry() -> dict[str, Any]:
    return found("homing.instruments", "INSTRUMENTS", ENTRY_POINTS)


def available() -> tuple[str, ...]:
    """The names of every instrument there is."""
    return tuple(sorted(_registry()))


def get(name: str) -> Instrument:
    """An instrument by name.

    Raises:
        InputError: unknown name; the message lists those there are. Or a plug-in that fails to load; named.
    """
    return cast("Instrument", chosen(name, _registry(), "instrument", made=lambda factory: factory()))
