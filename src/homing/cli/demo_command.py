"""``homing demo``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.settings import engine_option, load_settings, refuse_half


@click.command(name="demo")
@click.option("--model", help="The model; the embedded one unless set.")
@engine_option
@click.option("--out", type=click.Path(path_type=Path), default=Path("homing-demo"), show_default=True)
def command(model: str | None, engine: str | None, out: Path) -> None:
    """Map, watch and hold a model, and leave one self-contained HTML report."""
    from homing.verbs.demo import run_demo
    from homing.verbs.progress import make_progress

    settings = load_settings(model=model, engine=engine)
    refuse_half(settings)
    progress = make_progress()
    try:
        page = run_demo(
            out,
            model=settings["model"],
            progress=progress,
            engine=settings["engine"],
            threads=settings["threads"],
            tell=lambda line: click.echo(line, err=True),
        )
    finally:
        progress.close()
    click.echo(f"report: {page}")
