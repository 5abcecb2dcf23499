"""``homing config``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import json_option, stdout_for
from homing.cli.settings import load_settings


@click.command(name="config")
@json_option
def command(as_json: bool) -> None:
    """Print every setting, its value, and where the value comes from."""
    settings = load_settings()
    rows = {
        name: {"value": str(v) if isinstance(v, Path) else v, "source": settings.sources[name]}
        for name, v in settings.values.items()
    }
    with stdout_for(as_json) as out:
        text = "\n".join(
            f"{n:<10} {'-' if r['value'] is None else r['value']!s:<40} {r['source']}" for n, r in rows.items()
        )
        out.emit({"schema": "homing.config/1", "settings": rows}, text)
