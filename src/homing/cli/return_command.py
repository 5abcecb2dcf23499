"""``homing return``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import json_option, need_identity, stdout_for
from homing.cli.settings import engine_option, load_settings, slots_option, threads_option


@click.command(name="return")
@click.argument("model", required=False)
@click.option(
    "--identity", type=click.Path(path_type=Path), help="Whose home and cap are used; without: home is asked first."
)
@click.option(
    "--hold", "holds", multiple=True, metavar="NAME", help="A hold to try, such as heal or heal+cap; may be repeated."
)
@click.option(
    "--push", "pushes", multiple=True, metavar="NAME", help="Only this push, such as roleplay; may be repeated."
)
@click.option("--preset", type=click.Choice(["smoke", "standard", "full"]), help="How much to play.")
@click.option("--home", type=click.Path(path_type=Path), help="A system prompt (text), or YAML {system, messages?}.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory where the work is kept.")
@click.option("--report", type=click.Path(path_type=Path), help="Write one HTML page about it here.")
@click.option("--seed", type=click.IntRange(min=0))
@engine_option
@threads_option
@slots_option
@json_option
def command(
    model: str | None,
    identity: Path | None,
    holds: tuple[str, ...],
    pushes: tuple[str, ...],
    preset: str | None,
    home: Path | None,
    out: Path,
    report: Path | None,
    seed: int | None,
    engine: str | None,
    threads: int | None,
    slots: int | None,
    as_json: bool,
) -> None:
    """Push MODEL away from home in scripted conversations: does it come back by itself, and what do holds bring?

    Stopped at any moment, the same command goes on where it stopped.
    """
    from homing.identity import Identity
    from homing.verbs.progress import make_progress
    from homing.verbs.returning import ReturnPlan, run_return, write_return

    settings = load_settings(
        model=model, identity=identity, preset=preset, seed=seed, engine=engine, threads=threads, slots=slots
    )
    directory = settings["identity"]
    known = None if directory is None else Identity.load(need_identity(directory))
    progress = make_progress()
    with stdout_for(as_json) as result:
        plan = ReturnPlan(
            settings["model"], out=out, preset=settings["preset"], holds=holds, pushes=pushes, identity=known, home=home,
            seed=settings["seed"],
        )  # fmt: skip
        try:
            found = run_return(
                plan, progress=progress, engine=settings["engine"], threads=settings["threads"], slots=settings["slots"]
            )
        finally:
            progress.close()
        if report is not None:
            write_return(found, report)
        result.emit(found, "\n".join(f"{f['name']}: {f['verdict'] or f['reason']}" for f in found["findings"]))
