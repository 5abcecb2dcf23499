"""First: conversations, their turns and alarms, events, the salt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _of_conversation(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant", "conversation"],
        ["conversations.tenant", "conversations.conversation"],
        name=f"fk_{table}_conversations",
        ondelete="CASCADE",
    )


def upgrade() -> None:
    """From an empty database."""
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.bulk_insert(counters, [{"name": "events", "value": 0}, {"name": "unscrubbed", "value": 0}])
    op.create_table(
        "conversations",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("conversation", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("updated", sa.Float(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("alarms", sa.Integer(), nullable=False),
        sa.Column("hold", sa.String()),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("position", sa.Float()),
        sa.Column("drift", sa.Float()),
        sa.Column("seen", sa.String()),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "conversation", name="pk_conversations"),
    )
    op.create_index("ix_conversations_tenant_updated", "conversations", ["tenant", "updated"])
    op.create_index("ix_conversations_tenant_seen", "conversations", ["tenant", "seen"])
    op.create_table(
        "turns",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("conversation", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("hold", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("new_tokens", sa.Integer(), nullable=False),
        sa.Column("finish", sa.String(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("added_seconds", sa.Float(), nullable=False),
        sa.Column("position", sa.Float()),
        sa.Column("drift", sa.Float()),
        sa.Column("fresh", sa.Float()),
        sa.Column("capped", sa.Integer(), nullable=False),
        sa.Column("trace", sa.JSON(), nullable=False),
        sa.Column("interventions", sa.JSON(), nullable=False),
        sa.Column("messages", sa.JSON()),
        sa.Column("pieces", sa.JSON()),
        sa.PrimaryKeyConstraint("tenant", "conversation", "turn", name="pk_turns"),
        _of_conversation("turns"),
    )
    op.create_index(
        "ix_turns_tenant_conversation_request_id", "turns", ["tenant", "conversation", "request_id"], unique=True
    )
    op.create_table(
        "alarms",
        sa.Column("id", _big(), nullable=False, autoincrement=True),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("conversation", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("detector", sa.String(), nullable=False),
        sa.Column("statistic", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("false_alarm", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name="pk_alarms"),
        _of_conversation("alarms"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alarms_tenant_conversation_turn", "alarms", ["tenant", "conversation", "turn"])
    op.create_table(
        "events",
        sa.Column("id", _big(), nullable=False, autoincrement=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("conversation", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_tenant_id", "events", ["tenant", "id"])
    op.create_index("ix_events_tenant_conversation_turn", "events", ["tenant", "conversation", "turn"])
