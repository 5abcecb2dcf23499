"""``homing cache``."""

from __future__ import annotations

import click

from homing.cli.output import json_option, stdout_for
from homing.cli.settings import load_settings


@click.group(name="cache")
def command() -> None:
    """Show or empty the cache of models written for an engine."""


def _text(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List what the cache holds."""
    from homing.verbs.cache import list_cache, to_json

    root = load_settings()["cache_dir"]
    entries = list_cache(root)
    with stdout_for(as_json) as out:
        lines = [f"{_text(e.size_bytes):>12}  {e.name}" for e in entries] or [f"{root} is empty"]
        out.emit(to_json(entries, root=root, action="list"), "\n".join(lines))


@command.command("clear")
@click.argument("name", required=False)
@json_option
def clear(name: str | None, as_json: bool) -> None:
    """Remove the entry NAME, or everything."""
    from homing.verbs.cache import clear_cache, to_json

    root = load_settings()["cache_dir"]
    entries = clear_cache(root, name=name)
    with stdout_for(as_json) as out:
        total = _text(sum(e.size_bytes for e in entries))
        out.emit(to_json(entries, root=root, action="clear"), f"removed {len(entries)} entries, {total}")
