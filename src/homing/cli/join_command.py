"""``homing join``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import need_identity, plain


@click.command(name="join")
@click.argument("identities", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory of the identity to write.")
def command(identities: tuple[Path, ...], out: Path) -> None:
    """Put IDENTITIES of one model together, as of its quantisations; each engine then takes its own marks."""
    from homing.verbs.join import join

    _, words = join([need_identity(i) for i in identities], out)
    for line in words:
        click.echo(plain(line), err=True)
    click.echo(str(out))
