"""``homing doctor``."""

from __future__ import annotations

import click

from homing.cli.output import json_option, plain, stdout_for


@click.command(name="doctor")
@click.argument("model", required=False)
@json_option
def command(model: str | None, as_json: bool) -> None:
    """Examine MODEL: layers and how they were found, template spans, hooks, reply equality, speed.

    Exits with 1 when a check failed.
    """
    from homing import config
    from homing.models.doctor import examine

    settings = config.load({"model": model})
    settings.export()
    with stdout_for(as_json) as out:
        found = examine(settings["model"])
        out.emit(found.to_json(), plain(found.text()))
    if not found.ok:
        raise click.exceptions.Exit(1)
