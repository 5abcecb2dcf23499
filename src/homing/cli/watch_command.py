"""``homing watch``."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from homing.cli.output import json_option, need_identity, plain, stdout_for
from homing.cli.settings import chosen_model, load_settings, opening, opening_options


def _text(line: Mapping[str, Any]) -> str:
    """One line of output for a person; figures are objects with a value, or null where nothing was read."""
    if "error" in line:
        return plain(f"{line['conversation']}: {line['error']['message']}")

    def number(figure: Mapping[str, Any] | None) -> str:
        value = None if figure is None else figure["value"]
        return "not read" if value is None else f"{value:+.2f}"

    alarms = ", ".join(f"{a['detector']} since turn {a['turn']}" for a in line["alarms"])
    tail = f"  ALARM: {alarms}" if alarms else ""
    at, moved = number(line["position"]), number(line["drift"])
    return plain(f"{line['conversation']}  turn {line['turn']}  at {at}  moved {moved}{tail}")


@click.command(name="watch")
@click.argument("transcripts", type=click.Path(path_type=Path))
@click.option("--identity", type=click.Path(path_type=Path), help="Directory written by homing map.")
@click.option("--model", help="The model; the identity's own unless set.")
@click.option("--hold", type=click.Choice(["cap"]), help="Replay the conversations held.")
@click.option("--fail-on", type=click.Choice(["alarm"]), help="Exit 1 when this happened.")
@opening_options
@json_option
def command(
    transcripts: Path,
    identity: Path | None,
    model: str | None,
    hold: str | None,
    fail_on: str | None,
    engine: str | None,
    dtype: str | None,
    threads: int | None,
    slots: int | None,
    layers: str | None,
    as_json: bool,
) -> None:
    """Read TRANSCRIPTS (a JSONL file or a directory) and say, a line a turn, where the model stands.

    A bad line is reported and passed over, and the exit code is 2.
    """
    from homing.verbs.progress import make_progress
    from homing.verbs.watch import watch_file

    settings = load_settings(model=model, identity=identity, engine=engine, dtype=dtype, threads=threads, slots=slots)
    directory = need_identity(settings["identity"])
    progress = make_progress()
    bad = alarms = 0
    lines = watch_file(
        transcripts,
        directory,
        model=chosen_model(settings),
        hold=hold,
        progress=progress,
        **opening(settings, layers),
    )
    # closed here, also when stopped in mid-line: the model is its own
    with stdout_for(as_json) as out, contextlib.closing(progress), contextlib.closing(lines):
        for line in lines:
            bad += "error" in line
            alarms += bool(line.get("alarms"))
            out.emit(line, _text(line))
    if bad:
        click.echo(f"{bad} lines could not be read; the rest was", err=True)
        raise click.exceptions.Exit(2)
    if fail_on == "alarm" and alarms:
        raise click.exceptions.Exit(1)
