"""``homing fracture``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from homing.cli.fracture_compare import command as compare
from homing.cli.fracture_concept import command as concept
from homing.cli.output import json_option, plain, stdout_for


@click.group(name="fracture")
def command() -> None:
    """Same answers, different insides: see and measure whether a network is one thing or pieces that agree."""


command.add_command(compare)
command.add_command(concept)


def _figure(raw: Mapping[str, Any]) -> str:
    if raw["value"] is None:
        return "-"
    if raw["low"] is None or raw["high"] is None:
        return f"{raw['value']:.2f}"
    return f"{raw['value']:.2f} [{raw['low']:.2f}, {raw['high']:.2f}] n={raw['n']}"


def _line(row: Mapping[str, Any], name: str) -> str:
    """One network on one line: its task score, its kappa, and what must be said beside it."""
    loss = "" if row["loss"] is None else f"loss {row['loss']:.1e}  "
    if row["refused"]:
        return f"{name:<24} {loss}refused: {row['refused']}"
    null = row["null"]["value"]
    label = f"  ({row['label']})" if row["label"] else ""
    return f"{name:<24} {loss}kappa {_figure(row['kappa'])}  null {null:.2f}{label}"


@command.command("lab")
@click.option("--pictures", multiple=True, metavar="NAME", help="Only this picture, such as mask; may be repeated.")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Starts of every trained network."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Directory where finished networks are kept."
)
@click.option("--report", type=click.Path(path_type=Path), help="Write one HTML page about it here.")
@json_option
def lab(pictures: tuple[str, ...], seeds: int, out: Path, report: Path | None, as_json: bool) -> None:
    """Draw the same pictures, as well, with networks that are wired in different ways, and measure how far each is one thing.

    Stopped at any moment, the same command goes on where it stopped.
    """
    from homing.verbs.fracture import LabPlan, run_lab, write_lab
    from homing.verbs.progress import make_progress

    plan = LabPlan(out, pictures=pictures, seeds=seeds)
    progress = make_progress()
    with stdout_for(as_json) as result:
        try:
            made = run_lab(plan, progress=progress)
            if report is not None:
                write_lab(made, report, progress=progress)
        finally:
            progress.close()
        lines = [_line(r, f"{r['image']} {r['arm']} {r['seed']}") for r in made.found["pairs"]]
        lines += [f"{g['image']}: {g['verdict']}" for g in made.found["gaps"]]
        result.emit(made.found, "\n".join(lines))


@command.command("genome")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the picture, its maps and its layers here.")
@click.option("--report", type=click.Path(path_type=Path), help="Write one HTML page about it here.")
@json_option
def genome(file: Path, out: Path | None, report: Path | None, as_json: bool) -> None:
    """Measure the network of FILE, an XML genome or a zip with one, about every symmetry that its picture has."""
    from homing.verbs.fracture_genome import report_genome, run_genome, write_genome

    with stdout_for(as_json) as result:
        made = run_genome(file)
        if out is not None:
            write_genome(made, out)
        if report is not None:
            report_genome(made, report)
        head = f"{plain(made.found['file'])}: {made.found['nodes']} nodes, {made.found['links']} links"
        result.emit(made.found, "\n".join([head, *(_line(r, r["symmetry"]) for r in made.found["pairs"])]))
