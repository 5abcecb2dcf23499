"""The chart of claim 3 about monitors: what is caught as the least suspicious of more and more works is submitted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from homing.report.figures import said
from homing.report.svg import tip
from homing.report.svg.base import el
from homing.report.svg.curves import Series, band_curve
from homing.stats.estimate import Estimate

if TYPE_CHECKING:
    from homing.report.proving import Claim
    from homing.report.proving_figures import Panel

__all__ = ["gaming_curves"]

OTHERS = {"rotating": "another one is met", "ensemble": "all as one"}
"""What stands beside a known monitor, and what its line is called."""
Points = list[tuple[float, Estimate]]


def gaming_curves(c: Claim, level: str) -> list[Panel]:
    """Recall by doublings of the works to choose among: of a known monitor, and of what answers gaming."""
    from homing.report.proving_figures import Panel  # it draws with this file

    title, line = (
        "Shortcuts caught, by how many works there are to choose among",
        c.line("gaming", "slope", level=level),
    )
    known = _doublings(c, "gaming", "known", level)
    if len(known) < 2:
        reason = (
            "it was not played" if line is None else line.reason or "too little of it could be measured to draw a curve"
        )
        return [Panel(title, Markup(""), reason=reason)]
    beside = {k: _doublings(c, k, k, level) for k in OTHERS}
    drawn = {k: points for k, points in beside.items() if len(points) > 1}
    base = _series("known, and gamed", known, "free", "circle")
    panels = [
        band_curve(
            [base, _series(OTHERS[k], drawn[k], "held", "square")] if k else [base],
            label=f"{title}, {k or 'known'}", title=k, x_title="doublings of the works: 0 is one, 4 is sixteen",
            y_range=(-0.02, 1.04), x_ticks=[x for x, _ in known],
        )
        for k in drawn or [""]
    ]  # fmt: skip
    caption = (
        "Share of submitted works that are caught, at 5% false alarms. Of the works drawn, the one is submitted that takes the"
        " forbidden shortcut and looks best to the monitor that is known. A falling line: the monitor is gamed."
    )
    if "rotating" in drawn:
        caption += " Rotating: one monitor is gamed and another one, not told of, is met."
    if "ensemble" in drawn:
        caption += " Ensemble: all monitors as one, known and gamed as one."
    caption += " Bands are 95% intervals over tasks."
    chart = el("div", *panels, class_="panels one" if len(panels) == 1 else "panels")
    return [Panel(title, chart, caption, line.verdict if line is not None else "")]


def _doublings(c: Claim, finding: str, head: str, level: str) -> Points:
    return [(math.log2(n), e) for n, e in c.numbered(finding, f"{head}_", level=level) if n >= 1]


def _series(name: str, points: Points, look: str, shape: str) -> Series:
    tips = tuple(tip(f"{name}, the best of {2**x:.0f}", said(e), f"n {e.n}") for x, e in points)
    return Series(name, tuple(points), class_=look, tips=tips, shape=shape)
