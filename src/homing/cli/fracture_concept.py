"""``homing fracture concept``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import json_option, need_identity, plain, stdout_for


@click.command(name="concept")
@click.argument("identity", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), help="Of resamples and simulations; without: the map's own.")
@click.option("--write/--no-write", default=True, help="Put the verdict on the card of IDENTITY, or print it alone.")
@json_option
def command(identity: Path, seed: int | None, write: bool, as_json: bool) -> None:
    """Is the home of IDENTITY one direction in its model, or pieces that agree only where they were tried?

    Reads the replies that its map kept in the work directory beside it, and writes the verdict into the identity.
    """
    from homing.jsonable import strict
    from homing.verbs.concept import concept, concept_text

    directory = need_identity(identity)
    with stdout_for(as_json) as out:
        found = concept(directory, seed=seed, write=write)
        out.emit(strict(found), "" if as_json else plain(concept_text(found)))
