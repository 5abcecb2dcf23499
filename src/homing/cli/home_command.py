"""``homing home``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import json_option, stdout_for
from homing.cli.settings import engine_option, load_settings, slots_option, threads_option


@click.command(name="home")
@click.argument("model", required=False)
@click.option("--home", type=click.Path(path_type=Path), help="A system prompt (text), or YAML {system, messages?}.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Directory of the identity; made if absent."
)
@click.option("--seed", type=click.IntRange(min=0))
@engine_option
@threads_option
@slots_option
@json_option
def command(
    model: str | None,
    home: Path | None,
    out: Path,
    seed: int | None,
    engine: str | None,
    threads: int | None,
    slots: int | None,
    as_json: bool,
) -> None:
    """Ask MODEL who it is at home, and write the answers into an identity.

    Stopped at any moment, the same command goes on where it stopped.
    """
    from homing.verbs.home import run_home
    from homing.verbs.progress import make_progress

    settings = load_settings(model=model, seed=seed, engine=engine, threads=threads, slots=slots)
    progress = make_progress()
    with stdout_for(as_json) as result:
        try:
            found = run_home(
                settings["model"],
                out,
                home=home,
                seed=settings["seed"],
                progress=progress,
                engine=settings["engine"],
                threads=settings["threads"],
                slots=settings["slots"],
            )
        finally:
            progress.close()
        lines = [f["verdict"] for f in found["findings"]]
        result.emit(found, "\n".join([*lines, f"{out}  {found['digest'][:12]}"]))
