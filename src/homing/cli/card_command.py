"""``homing card``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import json_option, need_identity, stdout_for


@click.command(name="card")
@click.argument("identity", type=click.Path(path_type=Path))
@json_option
def command(identity: Path, as_json: bool) -> None:
    """Print what was measured about the identity in a directory, each figure with its interval."""
    from homing.verbs.card import card, card_text

    directory = need_identity(identity)
    with stdout_for(as_json) as out:
        if as_json:
            out.emit(card(directory))
        else:
            out.emit({}, card_text(directory))
