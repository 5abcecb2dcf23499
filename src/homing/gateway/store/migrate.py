"""Bring a database to the newest version; refuse one that is not ours, or newer than we are."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, select

from homing.errors import InputError

__all__ = ["is_newest", "migrate"]

_LOCK = 0x686F6D696E67
"""Under which replicas that start together on PostgreSQL migrate one after the other."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "homing.gateway.store:migrations")
    return config


def is_newest(connection: Connection, where: str) -> bool:
    """Whether there is nothing to migrate.

    Raises:
        InputError: the database is of a newer version, or of another program.
    """
    scripts = ScriptDirectory.from_config(_config())
    now = set(MigrationContext.configure(connection).get_current_heads())
    known = {s.revision for s in scripts.walk_revisions()}
    if now - known:
        raise InputError(
            f"store {where} is of version {', '.join(sorted(now - known))}, which this homing does not know; "
            "use the homing that made it, or a newer one, or give another store"
        )
    if not now and set(inspect(connection).get_table_names()) - {"alembic_version"}:
        raise InputError(f"store {where} holds tables of another program; give a database of its own")
    return now == set(scripts.get_heads())


def migrate(connection: Connection, where: str) -> None:
    """Bring it to the newest version, in the transaction of this connection.

    Raises:
        InputError: as :func:`is_newest`.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if not is_newest(connection, where):
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
