"""Find instruments by name: a file of this room that names INSTRUMENTS, then the entry points of others."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, cast

from homing.errors import InputError
from homing.instruments.base import Instrument

__all__ = ["ENTRY_POINTS", "available", "get"]

ENTRY_POINTS = "homing.instruments"
Factory = Callable[[], Instrument]


@cache
def _registry() -> dict[str, Any]:
    import homing.instruments as room

    found: dict[str, Any] = {}
    for module in iter_modules(room.__path__):
        table = getattr(import_module(f"homing.instruments.{module.name}"), "INSTRUMENTS", None)
        if table is not None:
            found.update(cast("dict[str, Factory]", table))
    for point in entry_points(group=ENTRY_POINTS):
        found.setdefault(point.name, point)
    return found


def available() -> tuple[str, ...]:
    """The names of every instrument there is."""
    return tuple(sorted(_registry()))


def get(name: str) -> Instrument:
    """An instrument by name.

    Raises:
        InputError: unknown name; the message lists those there are. Or a plug-in that fails to load; named.
    """
    table = _registry()
    if name not in table:
        raise InputError(f"unknown instrument {name!r}; use one of {', '.join(available())}")
    found = table[name]
    if not hasattr(found, "load"):
        return cast("Factory", found)()
    try:
        return cast("Factory", found.load())()
    except Exception as e:  # a plug-in's own code: whatever it raises, its name must be in the message
        raise InputError(f"instrument {name!r} from {found.value} does not load: {type(e).__name__}: {e}") from e
