"""``homing export``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import need_identity
from homing.errors import InputError


def _layers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        first, dash, last = text.partition("-")
        return tuple(range(int(first), int(last) + 1)) if dash else tuple(int(x) for x in text.split(","))
    except ValueError:
        raise InputError(f"--layers {text!r} is neither a range nor a list; write 12-19, or 12,14,16") from None


@click.command(name="export")
@click.argument("identity", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The GGUF file.")
@click.option("--format", "kind", type=click.Choice(["gguf"]), default="gguf", show_default=True, help="Of the file.")
@click.option("--layers", help="Layers to write, as 12-19 or 12,14,16, counted from 0; those of the cap unless set.")
def command(identity: Path, out: Path, kind: str, layers: str | None) -> None:
    """Write the axis of an identity, with the thresholds of its cap, as a control vector; more of it is more home."""
    from homing.verbs.export import export_gguf

    export_gguf(need_identity(identity), out, layers=_layers(layers))
    click.echo(str(out))
