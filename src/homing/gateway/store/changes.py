"""What a transaction writes: a conversation's row, and the alarms and events of a change.

Ids of events come from one counter row, taken last in a transaction: its lock is held until what it numbers can be seen, so a
reader that has seen an id has seen every smaller one. A sequence would number early and show late.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from homing.gateway.records import Committed, EventRecord, Settled, Standing, TurnRecord
from homing.gateway.store import statements
from homing.gateway.store.direct import put
from homing.gateway.store.rows import alarm_of, event_of, finite

__all__ = ["forget", "kept_before", "key_of", "leave", "move", "moved", "with_turn"]


def key_of(tenant: str, conversation: str) -> dict[str, str]:
    """A conversation, as statements ask for it."""
    return {"the_tenant": tenant, "the_conversation": conversation}


def kept_before(connection: Connection, key: Mapping[str, str], now: Standing, request_id: str) -> Committed:
    """What was kept of this request."""
    turn = connection.execute(statements.TURN_OF_REQUEST, {**key, "request": request_id}).scalar_one()
    given = {**key, "the_turn": turn}
    alarms = connection.execute(statements.ALARMS_OF_TURN, given).mappings()
    events = connection.execute(statements.EVENTS_OF_TURN, given).mappings()
    return Committed(turn, now, tuple(map(alarm_of, alarms)), tuple(map(event_of, events)), again=True)


def with_turn(now: Standing, turn: TurnRecord, settled: Settled) -> Standing:
    """Where a conversation stands with one turn more."""
    return replace(
        now, turns=now.turns + 1, model=turn.model, position=finite(turn.position), drift=finite(turn.drift),
        updated=max(now.updated, turn.created), state=settled.state, alarms=now.alarms + len(settled.alarms),
    )  # fmt: skip


def moved(after: Standing) -> dict[str, Any]:
    """What a change may leave of a conversation's row."""
    return {
        "updated": after.updated, "turns": after.turns, "alarms": after.alarms, "hold": after.hold, "model": after.model,
        "position": after.position, "drift": after.drift, "state": after.state,
    }  # fmt: skip


def move(connection: Connection, after: Standing, seen: str | None) -> None:
    """Write where a conversation stands. ``seen``: None: as it was."""
    known = {} if seen is None else {"seen": seen}
    key = key_of(after.tenant, after.conversation)
    put(connection, statements.MOVE_CONVERSATION, {**key, **moved(after), **known})


def leave(connection: Connection, after: Standing, settled: Settled, *, turn: int | None) -> Committed:
    """Write the alarms and events that a change leaves. ``turn``: that they are of; None: as alarms say, and events of none."""
    tenant, conversation = after.tenant, after.conversation
    alarms = settled.alarms if turn is None else tuple(replace(a, turn=turn) for a in settled.alarms)
    if alarms:
        rows = [
            {
                "tenant": tenant, "conversation": conversation, "turn": a.turn, "detector": a.detector,
                "statistic": a.statistic, "threshold": a.threshold, "false_alarm": a.false_alarm,
            }
            for a in alarms
        ]  # fmt: skip
        ids = connection.execute(statements.MAKE_ALARMS, rows).scalars()
        alarms = tuple(replace(a, id=i) for a, i in zip(alarms, ids, strict=True))
    events = _tell(connection, tenant, [(conversation, *e) for e in settled.events], turn=turn)
    return Committed(after.turns - 1, after, alarms, events)


def _tell(
    connection: Connection, tenant: str, told: Sequence[tuple[str, str, Mapping[str, Any]]], *, turn: int | None = None
) -> tuple[EventRecord, ...]:
    """Number events and write them; last in a transaction, since all others wait for the number from here on."""
    if not told:
        return ()
    last: Any = put(connection, statements.TAKE_EVENTS, {"counted": len(told)})
    created, first = time.time(), last - len(told) + 1
    events = tuple(EventRecord(first + n, created, kind, of, data) for n, (of, kind, data) in enumerate(told))
    rows = [
        {
            "id": e.id, "tenant": tenant, "conversation": e.conversation, "turn": turn, "created": created,
            "kind": e.kind, "data": e.data,
        }
        for e in events
    ]  # fmt: skip
    put(connection, statements.MAKE_EVENTS, *rows)
    return events


def forget(connection: Connection, keys: Sequence[Mapping[str, str]]) -> None:
    """Delete conversations, their turns and alarms with them."""
    connection.execute(statements.FORGET_EVENTS, keys)
    connection.execute(statements.FORGET, keys)
    connection.execute(statements.OWE)
    by_tenant: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for key in keys:
        by_tenant.setdefault(key["the_tenant"], []).append((key["the_conversation"], "forgotten", {}))
    for tenant, told in by_tenant.items():
        _tell(connection, tenant, told)
