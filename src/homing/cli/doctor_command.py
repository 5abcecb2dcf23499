"""``homing doctor``."""

from __future__ import annotations

import click

from homing.cli.output import json_option, plain, stdout_for
from homing.cli.settings import engine_option, layers_option, load_settings, threads_option


@click.command(name="doctor")
@click.argument("model", required=False)
@engine_option
@threads_option
@layers_option
@json_option
def command(model: str | None, engine: str | None, threads: int | None, layers: str | None, as_json: bool) -> None:
    """Examine MODEL: layers and how they were found, template spans, hooks, reply equality, speed.

    Exits with 1 when a check failed.
    """
    from homing.models.doctor import examine

    settings = load_settings(model=model, engine=engine, threads=threads)
    with stdout_for(as_json) as out:
        found = examine(settings["model"], engine=settings["engine"], threads=settings["threads"], layers=layers)
        out.emit(found.to_json(), plain(found.text()))
    if not found.ok:
        raise click.exceptions.Exit(1)
