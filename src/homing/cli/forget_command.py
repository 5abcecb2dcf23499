"""``homing forget``."""

from __future__ import annotations

import click

from homing.cli.settings import needs_gateway
from homing.errors import InputError


@click.command(name="forget")
@click.argument("conversation")
@click.option("--store", help="Database URL; by default the one of homing serve.")
@click.option("--tenant", default="local", show_default=True, help="Whose conversation it is.")
def command(conversation: str, store: str | None, tenant: str) -> None:
    """Delete all that the gateway keeps of CONVERSATION."""
    import asyncio

    with needs_gateway("homing forget"):
        from homing.gateway.serve import default_store
        from homing.gateway.store import Store

    async def run() -> bool:
        opened = await Store.open(store or default_store(), text=False)
        try:
            return await opened.forget(tenant, conversation)
        finally:
            await opened.close()

    if not asyncio.run(run()):
        raise InputError(
            f"there is no conversation {conversation!r} of tenant {tenant!r} in this store; look for its id on the page"
        )
    click.echo(f"{conversation} is forgotten")
