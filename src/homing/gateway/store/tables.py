"""The tables, as the newest migration leaves them. Keys begin with the tenant, so nothing is found without one."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    false,
)

__all__ = ["alarms", "conversations", "counters", "events", "metadata", "secrets", "turns"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the type is its own INTEGER
_BIG = BigInteger().with_variant(Integer(), "sqlite")
_JSON = JSON(none_as_null=True)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# ``events``: the last id given; ``unscrubbed``: forgotten since the file was last written anew
counters = Table(
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

conversations = Table(
    "conversations",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("conversation", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("alarms", Integer, nullable=False),
    Column("hold", String),
    Column("model", String, nullable=False),
    Column("position", Float),
    Column("drift", Float),
    Column("seen", String),
    Column("state", _JSON, nullable=False),
    Index(None, "tenant", "updated"),
    Index(None, "tenant", "seen"),
)


def _of_conversation() -> ForeignKeyConstraint:
    """What goes with its conversation."""
    return ForeignKeyConstraint(
        ["tenant", "conversation"], ["conversations.tenant", "conversations.conversation"], ondelete="CASCADE"
    )


turns = Table(
    "turns",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("conversation", String, primary_key=True),
    Column("turn", Integer, primary_key=True),
    Column("request_id", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("model", String, nullable=False),
    Column("hold", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("new_tokens", Integer, nullable=False),
    Column("finish", String, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("added_seconds", Float, nullable=False),
    Column("position", Float),
    Column("drift", Float),
    Column("fresh", Float),
    Column("capped", Integer, nullable=False),
    Column("trace", _JSON, nullable=False),
    Column("interventions", _JSON, nullable=False),
    Column("messages", _JSON),
    Column("pieces", _JSON),
    _of_conversation(),
    Index(None, "tenant", "conversation", "request_id", unique=True),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=True),
    Column("tenant", String, nullable=False),
    Column("conversation", String, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("detector", String, nullable=False),
    Column("statistic", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("false_alarm", Boolean, nullable=False, server_default=false()),
    _of_conversation(),
    Index(None, "tenant", "conversation", "turn"),
    sqlite_autoincrement=True,  # a number that was forgotten is never another alarm's
)

# An event outlives its conversation: that it was forgotten is one. The id is taken from a counter, see Store.
events = Table(
    "events",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("tenant", String, nullable=False),
    Column("conversation", String, nullable=False),
    Column("turn", Integer),
    Column("created", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("data", _JSON, nullable=False),
    Index(None, "tenant", "id"),
    Index(None, "tenant", "conversation", "turn"),
)
