"""``homing compare``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import figure_lines, json_option, need_identity, plain, stdout_for


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
        lines = [_side(k, w) for k, w in found["measured_on"].items()]
        out.emit(found, "\n".join(x for x in (*lines, figure_lines(found.get("estimates", {})), verdict) if x))


def _side(which: str, weights: dict[str, str]) -> str:
    """Which weights on which engine one side was measured on."""
    on = ", ".join(weights[k] or f"{k} not written" for k in ("engine", "dtype"))
    return f"{which}: {plain(weights['name']) or 'a model without a name'} ({on})"
