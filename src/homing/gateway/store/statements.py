"""Every statement, built once: each filters by tenant but those of an operator's rule for the age of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Executable,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from homing.gateway.store.tables import alarms, conversations, counters, events, secrets, turns

__all__ = ["Dialected"]

Dialected = Mapping[str, Executable]


def _this(table: Table) -> ColumnElement[bool]:
    return (table.c.tenant == bindparam("the_tenant")) & (table.c.conversation == bindparam("the_conversation"))


def _once(table: Table, *key: str, tell: str) -> Dialected:
    """Insert where absent, by name of dialect; it gives a row only where it inserted one."""
    return {
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(index_elements=key).returning(table.c[tell]),
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(index_elements=key).returning(table.c[tell]),
    }


_EVENTS: Final = counters.c.name == "events"
_UNSCRUBBED: Final = counters.c.name == "unscrubbed"
_TENANT: Final[BindParameter[str]] = bindparam("the_tenant", type_=String())
_COUNTED: Final[BindParameter[int]] = bindparam("counted", type_=BigInteger())

MAKE_SECRET = _once(secrets, "name", tell="name")
SECRET = select(secrets.c.value).where(secrets.c.name == bindparam("the_name"))

STANDING = select(conversations).where(_this(conversations))
LOCKED = STANDING.with_for_update()
MAKE_CONVERSATION = _once(conversations, "tenant", "conversation", tell="turns")
MOVE_CONVERSATION = update(conversations).where(_this(conversations))
FIND = (
    select(conversations.c.conversation)
    .where(conversations.c.tenant == _TENANT, conversations.c.seen == bindparam("digest"))
    .order_by(conversations.c.updated.desc())
    .limit(1)
)
NEWEST = (
    select(conversations)
    .where(conversations.c.tenant == _TENANT)
    .order_by(conversations.c.updated.desc(), conversations.c.conversation)
    .limit(bindparam("most"))
)
NEWEST_BEFORE = NEWEST.where(conversations.c.updated < bindparam("before"))

MAKE_TURN = _once(turns, "tenant", "conversation", "request_id", tell="turn")
TURN_OF_REQUEST = select(turns.c.turn).where(_this(turns), turns.c.request_id == bindparam("request"))
TURNS = (
    select(turns).where(_this(turns), turns.c.turn > bindparam("after")).order_by(turns.c.turn).limit(bindparam("most"))
)

MAKE_ALARMS = insert(alarms).returning(alarms.c.id, sort_by_parameter_order=True)
ALARMS = select(alarms).where(_this(alarms)).order_by(alarms.c.id)
ALARMS_OF_TURN = ALARMS.where(alarms.c.turn == bindparam("the_turn"))
MARK = (
    update(alarms)
    .where(alarms.c.tenant == _TENANT, alarms.c.id == bindparam("the_id"))
    .values(false_alarm=bindparam("marked"))
    .returning(*alarms.c)
)

TAKE_EVENTS = update(counters).where(_EVENTS).values(value=counters.c.value + _COUNTED).returning(counters.c.value)
MAKE_EVENTS = insert(events)
EVENTS = (
    select(events)
    .where(events.c.tenant == _TENANT, events.c.id > bindparam("after"))
    .order_by(events.c.id)
    .limit(bindparam("most"))
)
EVENTS_OF_TURN = select(events).where(_this(events), events.c.turn == bindparam("the_turn")).order_by(events.c.id)
LAST_EVENT = select(func.coalesce(func.max(events.c.id), 0).label("id")).where(events.c.tenant == _TENANT)

COUNTS = select(
    func.count().label("conversations"),
    func.coalesce(func.sum(conversations.c.alarms), 0).label("alarms"),
    select(func.count())
    .select_from(alarms)
    .where(alarms.c.tenant == _TENANT, alarms.c.false_alarm)
    .scalar_subquery()
    .label("false_alarms"),
    func.coalesce(func.sum(conversations.c.turns), 0).label("turns"),
).where(conversations.c.tenant == _TENANT)

OLD = (
    select(conversations.c.tenant, conversations.c.conversation)
    .where(conversations.c.updated < bindparam("before"))
    .order_by(conversations.c.tenant, conversations.c.conversation)  # two replicas lock in one order
    .limit(bindparam("most"))
    .with_for_update()
)
FORGET = delete(conversations).where(_this(conversations))
FORGET_EVENTS = delete(events).where(_this(events))
UNSCRUBBED = select(counters.c.value).where(_UNSCRUBBED)
OWE = update(counters).where(_UNSCRUBBED).values(value=counters.c.value + 1)
SCRUBBED = update(counters).where(_UNSCRUBBED, counters.c.value == bindparam("was")).values(value=0)
