"""``homing map``."""

from __future__ import annotations

from pathlib import Path

import click

from homing.cli.output import json_option, stdout_for
from homing.cli.settings import load_settings, opening_options, refuse_half


@click.command(name="map")
@click.argument("model", required=False)
@click.option("--preset", type=click.Choice(["smoke", "standard", "full"]), help="How much to sample.")
@click.option("--home", type=click.Path(path_type=Path), help="A system prompt (text), or YAML {system, messages?}.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory of the identity.")
@click.option("--seed", type=click.IntRange(min=0))
@click.option("--precision", type=click.FloatRange(min=0, min_open=True), help="Stop at this half width of the axis.")
@click.option(
    "--judge",
    default="auto",
    show_default=True,
    help="auto, likelihood, rules, none, or the address of an OpenAI-compatible endpoint (key: HOMING_JUDGE_KEY).",
)
@click.option("--judge-model", default="", help="The model to ask there.")
@click.option(
    "--roles", type=click.Path(path_type=Path), help="A directory of role files, used beside the built-in ones."
)
@opening_options
@click.option("--plan", "only_plan", is_flag=True, help="Print the plan and its time, and stop.")
@json_option
def command(
    model: str | None,
    preset: str | None,
    home: Path | None,
    out: Path,
    seed: int | None,
    precision: float | None,
    judge: str,
    judge_model: str,
    roles: Path | None,
    engine: str | None,
    dtype: str | None,
    threads: int | None,
    slots: int | None,
    layers: str | None,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Measure who MODEL is at home, and write the identity to a directory.

    MODEL is smollm2 (embedded, the default), a local directory, a hub id, or a GGUF file. Stopped at any moment, the
    same command goes on where it stopped.
    """
    from homing.verbs.map import plan_map, run_map
    from homing.verbs.progress import make_progress

    settings = load_settings(
        model=model, preset=preset, seed=seed, engine=engine, dtype=dtype, threads=threads, slots=slots
    )
    refuse_half(settings)
    with stdout_for(as_json) as result:
        plan = plan_map(
            settings["model"],
            preset=settings["preset"],
            home=home,
            seed=settings["seed"],
            out=out,
            precision=precision,
            judge=judge,
            judge_model=judge_model,
            roles=roles,
        )
        lines = list(plan.describe())
        summary = {"schema": "homing.map/1", "out": str(out), "model": settings["model"], "plan": lines}
        if only_plan:
            result.emit({**summary, "digest": None}, "\n".join(lines))
            return
        for line in lines:
            click.echo(line, err=True)
        progress = make_progress()
        try:
            identity = run_map(
                plan,
                progress=progress,
                engine=settings["engine"],
                threads=settings["threads"],
                slots=settings["slots"],
                layers=layers,
            )
        finally:
            progress.close()
        result.emit({**summary, "digest": identity.digest}, f"{out}  {identity.digest[:12]}\nsee: homing card {out}")
