"""``homing doctor``."""

from __future__ import annotations

import click

from homing.cli.output import json_option, plain, stdout_for


@click.command(name="doctor")
@click.argument("model", required=False)
@json_option
def command(model: str | None, as_json: bool) -> None:
    """Examine MODEL: layers and how they were found, template spans, hooks, reply equality, speed."""
    from homing import config
    from homing.models.doctor import examine

    settings = config.load({"model": model})
    settings.export()
    with stdout_for(as_json) as out:
        found = examine(settings["model"])
        body = found if isinstance(found, dict) else found.to_json()
        text = "\n".join(f"{k:<24} {plain(str(v))}" for k, v in body.items() if k != "schema")
        out.emit({"schema": "homing.doctor/1", **body}, text)
