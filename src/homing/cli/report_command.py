"""``homing report``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import need_identity


@click.command(name="report")
@click.argument("identity", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("homing-report.html"), show_default=True)
def command(identity: Path, out: Path) -> None:
    """Write one self-contained HTML page about an identity."""
    from homing.verbs.report import write_report

    click.echo(f"report: {write_report(need_identity(identity), out)}")
