"""``homing serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from homing.cli.output import json_option, stdout_for
from homing.cli.settings import chosen_model, load_settings, needs_gateway, opening, opening_options


@click.command(name="serve")
@click.argument("model", required=False)
@click.option("--identity", type=click.Path(path_type=Path), help="Directory written by homing map.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option(
    "--keys", type=click.Path(path_type=Path), help="JSON of tenants and SHA-256 of keys; needed off loopback."
)
@click.option("--mode", type=click.Choice(["off", "shadow", "on"]), default="on", show_default=True)
@click.option(
    "--hold", default="return", show_default=True, help="A chain such as heal+cap where a request names none."
)
@click.option("--fail", type=click.Choice(["open", "closed"]), default="open", show_default=True)
@click.option(
    "--read-every", type=click.IntRange(0, 1000), default=1, show_default=True, help="Turns between readings of drift."
)
@click.option(
    "--ask-every", type=click.IntRange(0, 1000), default=0, help="Turns between askings of the home battery; 0: never."
)
@click.option(
    "--ask-margin", type=click.FloatRange(0, 1000), help="Distance from home, in log-odds, that alarms when asked."
)
@click.option("--store", help="Database URL; by default one SQLite file of the user's.")
@click.option("--keep-text", is_flag=True, help="Keep what is said, not only readings.")
@click.option(
    "--keep-days", type=click.FloatRange(0, 36500), default=0.0, help="Forget conversations after so long; 0: never."
)
@click.option("--rate", type=click.IntRange(0, 10**6), default=0, help="Requests a minute of one key; 0: no bound.")
@click.option("--max-new-tokens", type=click.IntRange(1, 2**20), default=1024, show_default=True)
@click.option("--upstream", metavar="URL", help="Base URL of an OpenAI-compatible service that has MODEL.")
@click.option("--upstream-key", metavar="NAME", default="", help="Environment variable that holds its key.")
@click.option("--webhook", help="Address that is told of alarms and returns, signed with HOMING_WEBHOOK_SECRET.")
@click.option("--check", "only_check", is_flag=True, help="Say whether it could be served, and do not.")
@opening_options
@json_option
def command(
    model: str | None,
    identity: Path | None,
    host: str,
    port: int,
    keys: Path | None,
    mode: Any,
    hold: str,
    fail: Any,
    read_every: int,
    ask_every: int,
    ask_margin: float | None,
    store: str | None,
    keep_text: bool,
    keep_days: float,
    rate: int,
    max_new_tokens: int,
    upstream: str | None,
    upstream_key: str,
    webhook: str | None,
    only_check: bool,
    engine: str | None,
    dtype: str | None,
    threads: int | None,
    slots: int | None,
    layers: str | None,
    as_json: bool,
) -> None:
    """Serve MODEL on the OpenAI wire, read it on every token, and hold it or bring it back."""
    import asyncio
    import os

    with needs_gateway("homing serve"):
        from homing.gateway.deployment import Deployment
        from homing.gateway.serve import Serving, check, default_store, read_keys, serve
        from homing.models.remote import Remote
    settings = load_settings(model=model, identity=identity, engine=engine, dtype=dtype, threads=threads, slots=slots)
    deployment = Deployment(
        host=host,
        port=port,
        keys=read_keys(keys) if keys is not None else (),
        mode=mode,
        hold="none" if hold == "off" else hold,
        fail=fail,
        read_every=read_every,
        ask_every=ask_every,
        ask_margin=ask_margin,
        text=keep_text,
        keep_days=keep_days,
        per_minute=rate,
        max_new_tokens=max_new_tokens,
    )
    serving = Serving(
        deployment,
        store or default_store(),
        chosen_model(settings),
        settings["identity"],
        opening(settings, layers),
        upstream=None if upstream is None else Remote(upstream, key_variable=upstream_key),
        webhook=webhook,
        secret=os.environ.get("HOMING_WEBHOOK_SECRET", ""),
    )
    if only_check:
        with stdout_for(as_json) as out:
            found = asyncio.run(check(serving))
            out.emit(found, f"{found['model']} on {found['engine']} could be served with {found['slots']} slots")
        return

    def said(address: str, promise: str | None) -> None:
        click.echo(f"serving on {address}/v1, page on {address}/homing/", err=True)
        if promise is not None:
            click.echo(promise, err=True)

    serve(serving, said)
