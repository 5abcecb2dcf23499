"""``homing fracture compare``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from homing.cli.output import json_option, plain, stdout_for
from homing.errors import InputError


@click.command(name="compare")
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option(
    "--concept", "concepts", type=click.Path(path_type=Path), help="JSON file that names concepts; see --example."
)
@click.option("--example", is_flag=True, help="Print a file with two concepts of our own, and do nothing else.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of resamples, and of the example."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; without: all cores.")
@json_option
def command(
    a: str | None, b: str | None, concepts: Path | None, example: bool, seed: int, threads: int | None, as_json: bool
) -> None:
    """Are the insides of two checkpoints of one model, A and B, the same on named concepts?

    For full, quantised, pruned, merged or fine-tuned weights at one score. Both are held in memory, in float32.
    """
    from homing.fracture.concept_file import example_concepts

    if example:
        click.echo(
            json.dumps({"concepts": [c.to_json() for c in example_concepts(seed=seed)]}, indent=1, ensure_ascii=False)
        )
        return
    if a is None or b is None or concepts is None:
        raise InputError(
            "two checkpoints and a file are compared: homing fracture compare A B --concept FILE (--example prints one)"
        )
    from homing.jsonable import strict
    from homing.verbs.fracture_compare import compare_checkpoints, compare_text
    from homing.verbs.progress import make_progress

    progress = make_progress()
    with stdout_for(as_json) as out:
        try:
            found = compare_checkpoints(a, b, concepts, seed=seed, threads=threads, progress=progress)
        finally:
            progress.close()
        out.emit(strict(found), "" if as_json else plain(compare_text(found)))
