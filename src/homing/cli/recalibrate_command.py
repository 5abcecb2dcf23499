"""``homing recalibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from homing.cli.output import json_option, need_identity, stdout_for
from homing.cli.settings import needs_gateway


@click.command(name="recalibrate")
@click.argument("identity", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory of the new identity.")
@click.option("--store", help="Database URL; by default the one of homing serve.")
@click.option("--tenant", "tenants", multiple=True, help="Whose conversations; may be repeated.  [default: local]")
@click.option("--rest-is-true", is_flag=True, help="Every alarm that is not marked false was looked at, and stands.")
@click.option(
    "--alpha", type=click.FloatRange(0, 0.5, min_open=True), default=0.05, show_default=True,
    help="Probability of any alarm in a home conversation.",
)  # fmt: skip
@click.option(
    "--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.95, show_default=True,
    help="Confidence in that promise.",
)  # fmt: skip
@json_option
def command(
    identity: Path,
    out: Path,
    store: str | None,
    tenants: tuple[str, ...],
    rest_is_true: bool,
    alpha: float,
    confidence: float,
    as_json: bool,
) -> None:
    """Calibrate the alarms of IDENTITY on the conversations that the gateway kept.

    Home is every conversation without an alarm, or whose alarms were all marked false on the page.
    """
    import asyncio

    with needs_gateway("homing recalibrate"):
        from homing.gateway.recalibrating import recalibrate
        from homing.gateway.serve import default_store
        from homing.gateway.store import Store
    from homing.identity import Identity

    directory = need_identity(identity)

    async def run() -> tuple[Identity, dict[str, Any]]:
        opened = await Store.open(store or default_store(), text=False)
        try:
            return await recalibrate(
                Identity.load(directory), opened, tenants or ("local",), alpha=alpha, confidence=confidence,
                rest_is_true=rest_is_true,
            )  # fmt: skip
        finally:
            await opened.close()

    with stdout_for(as_json) as told:
        made, found = asyncio.run(run())
        made.save(out)
        found = {**found, "digest": made.digest, "out": str(out)}
        told.emit(found, _text(found))


def _text(found: dict[str, Any]) -> str:
    c = found["conversations"]
    return "\n".join(
        [
            found["findings"][0]["verdict"],
            f"calibrated on {c['home']} home conversations, {c['alarmed']} of them with alarms marked false",
            f"left out: {c['away']} with an alarm that stands, {c['held']} held throughout, {c['unread']} not read",
            f"now: {found['now']['promise']}",
            f"{found['out']}  {found['digest'][:12]}",
        ]
    )
