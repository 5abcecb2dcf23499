"""Rows to values, and values to rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping

from homing.gateway.records import AlarmRecord, EventRecord, Standing, TurnRecord

__all__ = ["alarm_of", "event_of", "finite", "row_of", "standing_of", "turn_of"]

_TURN = tuple(f.name for f in fields(TurnRecord))
_ALARM = tuple(f.name for f in fields(AlarmRecord))
_STANDING = tuple(f.name for f in fields(Standing))
_EVENT = tuple(f.name for f in fields(EventRecord))
_READ = ("position", "drift", "fresh")


def finite(value: float | None) -> float | None:
    """None for what is no number: databases do not agree on it."""
    return value if value is not None and math.isfinite(value) else None


def row_of(turn: TurnRecord, *, text: bool) -> dict[str, Any]:
    """A turn's columns; without ``text``, without any."""
    row = {name: getattr(turn, name) for name in _TURN}
    row.update({name: finite(row[name]) for name in _READ})
    return row if text else {**row, "messages": None, "pieces": None}


def turn_of(row: RowMapping) -> TurnRecord:
    """A turn; what has no number in its trace is NaN again."""
    values: dict[str, Any] = {name: row[name] for name in _TURN}
    values["trace"] = tuple(math.nan if x is None else x for x in values["trace"])
    values["interventions"] = tuple(values["interventions"])
    for name in ("messages", "pieces"):
        values[name] = _tuple(values[name])
    return TurnRecord(**values)


def _tuple(value: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if value is None else tuple(value)


def alarm_of(row: RowMapping) -> AlarmRecord:
    """An alarm."""
    return AlarmRecord(**{name: row[name] for name in _ALARM})


def standing_of(row: RowMapping) -> Standing:
    """Where a conversation stands."""
    return Standing(**{name: row[name] for name in _STANDING})


def event_of(row: RowMapping) -> EventRecord:
    """An event."""
    return EventRecord(**{name: row[name] for name in _EVENT})
