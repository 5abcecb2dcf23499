"""demo: map, watch and hold a model in minutes, and leave one page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from homing.models.sources import EngineName
from homing.verbs.map import run_map
from homing.verbs.plan import plan_map
from homing.verbs.progress import Progress
from homing.verbs.report import report_data, write_report

__all__ = ["run_demo"]


def run_demo(
    out: Path | str,
    *,
    model: str = "smollm2",
    progress: Progress | None = None,
    engine: EngineName = "auto",
    threads: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Run the smoke preset into ``out/identity`` and write ``out/report.html``; unfinished work there is gone on with.

    Args:
        tell: given the plan before the start and the headlines at the end, line by line.
    """
    out = Path(out)
    plan = plan_map(model, preset="smoke", out=out / "identity")
    for line in plan.describe():
        tell(line)
    identity = run_map(plan, progress=progress, engine=engine, threads=threads)
    for headline in report_data(identity).headlines:
        figure = "" if headline.estimate is None else f" {headline.estimate:{headline.spec}}"
        tell(f"{headline.topic}:{figure} ({headline.verdict.replace('_', ' ')})")
    return write_report(out / "identity", out / "report.html")
