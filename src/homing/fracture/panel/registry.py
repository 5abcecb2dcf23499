"""Find measures by name: a file of this folder that names PANEL, then the entry points of others."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, cast

from homing.errors import InputError
from homing.fracture.panel.base import Measure

__all__ = ["ENTRY_POINTS", "available", "get"]

ENTRY_POINTS = "homing.fracture.panel"


@cache
def _registry() -> dict[str, Any]:
    import homing.fracture.panel as room

    found: dict[str, Any] = {}
    for module in iter_modules(room.__path__):
        table = getattr(import_module(f"{room.__name__}.{module.name}"), "PANEL", None)
        if table is not None:
            found.update(cast("dict[str, Measure]", table))
    for point in entry_points(group=ENTRY_POINTS):
        found.setdefault(point.name, point)
    return found


def available() -> tuple[str, ...]:
    """The names of every measure there is."""
    return tuple(sorted(_registry()))


def get(name: str) -> Measure:
    """A measure by name.

    Raises:
        InputError: unknown name; the message lists those there are. Or a plug-in that fails to load; named.
    """
    table = _registry()
    if name not in table:
        raise InputError(f"unknown measure {name!r}; use one of {', '.join(available())}")
    found = table[name]
    if not hasattr(found, "load"):
        return cast("Measure", found)
    try:
        return cast("Measure", found.load())
    except Exception as e:  # a plug-in's own code: whatever it raises, its name must be in the message
        raise InputError(f"measure {name!r} from {found.value} does not load: {type(e).__name__}: {e}") from e
