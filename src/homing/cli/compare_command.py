"""``homing compare``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import figure_lines, json_option, need_identity, stdout_for


@click.command(name="compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@json_option
def command(a: Path, b: Path, as_json: bool) -> None:
    """Compare two identities: angle with its noise ceiling, shift of position, roles that moved, verdict."""
    from homing.verbs.compare import compare

    with stdout_for(as_json) as out:
        found = compare(need_identity(a), need_identity(b))
        verdict = str(found.get("verdict", ""))
        out.emit(found, "\n".join(x for x in (figure_lines(found.get("estimates", {})), verdict) if x))
