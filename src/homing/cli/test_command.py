"""``homing test``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from homing.cli.output import json_option, need_identity, stdout_for
from homing.cli.settings import engine_option, load_settings, slots_option, threads_option


def _text(row: dict[str, Any]) -> str:
    """One figure for a person."""
    head = f"{row['instrument']}.{row['measure']}" + ("" if row["hold"] == "none" else f"  ({row['hold']})")
    f = row["figure"]
    if f is None or f["value"] is None:
        return f"{head}  not measurable: {row['reason'] or row['verdict']}"
    ends = ", ".join("-" if f[k] is None else f"{f[k]:.3f}" for k in ("low", "high"))
    return f"{head}  {f['value']:.3f} [{ends}]  n={f['n']}"


@click.command(name="test")
@click.argument("model", required=False)
@click.option("--only", multiple=True, metavar="NAME", help="An instrument to run; may be repeated. Without: all.")
@click.option("--all", "every", is_flag=True, help="Every claim, as without --only.")
@click.option(
    "--hold",
    "holds",
    multiple=True,
    metavar="NAME",
    help="A hold to try on the same cells; may be repeated. Without: the one that answers each claim. none: no hold.",
)
@click.option("--preset", type=click.Choice(["smoke", "standard", "full"]), help="How much to play.")
@click.option("--precision", type=float, metavar="W", help="Wanted half width of the figures: says how many items.")
@click.option(
    "--budget", metavar="B", help="Most that may be spent, as 2000 (calls), 30min or 200ktok: says how many items."
)
@click.option(
    "--anchor-model",
    metavar="MODEL",
    help="Another model, such as an earlier checkpoint, that is asked beside MODEL where a claim needs one.",
)
@click.option("--identity", type=click.Path(path_type=Path), help="Whose cap and home the holds are given.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory where the work is kept.")
@click.option("--report", type=click.Path(path_type=Path), help="Write one HTML page about it here.")
@click.option("--seed", type=click.IntRange(min=0))
@engine_option
@threads_option
@slots_option
@json_option
def command(
    model: str | None,
    only: tuple[str, ...],
    every: bool,
    holds: tuple[str, ...],
    preset: str | None,
    precision: float | None,
    budget: str | None,
    anchor_model: str | None,
    identity: Path | None,
    out: Path,
    report: Path | None,
    seed: int | None,
    engine: str | None,
    threads: int | None,
    slots: int | None,
    as_json: bool,
) -> None:
    """Measure claims on MODEL, with nothing done and with holds on the same cells.

    Stopped at any moment, the same command goes on where it stopped.
    """
    from homing.errors import InputError
    from homing.identity import Identity
    from homing.verbs.progress import make_progress
    from homing.verbs.proving import TestPlan, run_test
    from homing.verbs.test_report import write_test

    if every and only:
        raise InputError("--all plays every claim and --only some; give one of them")
    settings = load_settings(
        model=model, identity=identity, preset=preset, seed=seed, engine=engine, threads=threads, slots=slots
    )
    directory = settings["identity"]
    known = None if directory is None else Identity.load(need_identity(directory))
    progress = make_progress()
    with stdout_for(as_json) as result:
        plan = TestPlan(
            settings["model"],
            out=out,
            only=only,
            holds=holds,
            preset=settings["preset"],
            identity=known,
            seed=settings["seed"],
            precision=precision,
            budget=budget,
            anchor_model=anchor_model,
        )
        for line in plan.describe():
            click.echo(line, err=True)
        try:
            found = run_test(
                plan, progress=progress, engine=settings["engine"], threads=settings["threads"], slots=settings["slots"]
            )
        finally:
            progress.close()
        if report is not None:
            write_test(found, report)
        verdicts = dict.fromkeys(r["verdict"] for r in found["findings"] if r["verdict"])
        result.emit(found, "\n".join([*(_text(r) for r in found["findings"]), "", *verdicts]))
