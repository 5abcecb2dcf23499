"""Things that are found by name: a file of a room that names a table, then the entry points of other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any

from homing.errors import InputError

__all__ = ["chosen", "found"]


def found(room: str, table: str, group: str) -> dict[str, Any]:
    """Name to what a room has under it, or to the entry point of another package; what the room has goes first.

    Args:
        room: dotted name of a package. ``table``: what its files call their tables. ``group``: of entry points.
    """
    out: dict[str, Any] = {}
    for module in iter_modules(import_module(room).__path__):
        out.update(getattr(import_module(f"{room}.{module.name}"), table, None) or {})
    for point in entry_points(group=group):
        out.setdefault(point.name, point)
    return out


def chosen(name: str, among: Mapping[str, Any], word: str, *, made: Callable[[Any], Any] = lambda x: x) -> Any:
    """One of them, an entry point loaded.

    Args:
        word: what such a thing is called in messages. ``made``: what is done with it before it is given.

    Raises:
        InputError: unknown name; the message lists those there are. Or a plug-in that fails to load; named.
    """
    if name not in among:
        raise InputError(f"unknown {word} {name!r}; use one of {', '.join(sorted(among))}")
    it = among[name]
    if not hasattr(it, "load"):
        return made(it)
    try:
        return made(it.load())
    except Exception as e:  # a plug-in's own code: whatever it raises, its name must be in the message
        raise InputError(f"{word} {name!r} from {it.value} does not load: {type(e).__name__}: {e}") from e
