"""Find measures by name: a file of this folder that names PANEL, then the entry points of others."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from homing.fracture.panel.base import Measure
from homing.plugins import chosen, found

__all__ = ["ENTRY_POINTS", "available", "get"]

ENTRY_POINTS = "homing.fracture.panel"


@cache
def _registry() -> dict[str, Any]:
    return found("homing.fracture.panel", "PANEL", ENTRY_POINTS)


def available() -> tuple[str, ...]:
    """The names of every measure there is."""
    return tuple(sorted(_registry()))


def get(name: str) -> Measure:
    """A measure by name.

    Raises:
        InputError: unknown name; the message lists those there are. Or a plug-in that fails to load; named.
    """
    return cast("Measure", chosen(name, _registry(), "measure"))
