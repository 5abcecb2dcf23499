"""Runs migrations on the connection that is given; there is no other way to run them."""

from __future__ import annotations

from alembic import context

from homing.gateway.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
