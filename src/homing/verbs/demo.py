"""demo: map, watch and hold a model in minutes, and leave one page."""

from __future__ import annotations

from pathlib import Path

from homing.verbs.map import run_map
from homing.verbs.plan import plan_map
from homing.verbs.progress import Progress, Silent
from homing.verbs.report import write_report

__all__ = ["run_demo"]


def run_demo(out: Path | str, *, model: str = "smollm2", progress: Progress | None = None) -> Path:
    """Run the smoke preset into ``out/identity`` and write ``out/report.html``; unfinished work there is gone on with."""
    out = Path(out)
    plan = plan_map(model, preset="smoke", out=out / "identity")
    run_map(plan, progress=progress or Silent())
    return write_report(out / "identity", out / "report.html")
