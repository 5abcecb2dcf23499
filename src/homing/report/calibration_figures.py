"""The reliability diagram on the page of ``homing test``: how often answers are right, against how sure the model is of them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

from homing.report.figures import both, said
from homing.report.proving import Claim
from homing.report.svg import tip
from homing.report.svg.scatter import Dot, scatter
from homing.stats.estimate import Estimate

if TYPE_CHECKING:
    from homing.report.proving_figures import Panel

__all__ = ["reliability_panels"]

READOUTS = {
    "stated": ("Reliability of the confidence it states", "confidence it states"),
    "logprob": ("Reliability of the probability of its answer", "probability of its answer"),
}
"""Title, and what lies on the horizontal axis."""


def _points(c: Claim, readout: str, hold: str) -> list[tuple[Estimate, Estimate]]:
    """Confidence and accuracy of each bin, least confident first."""
    xs, ys = (dict(c.numbered(f"curve_{readout}", f"{m}_", hold=hold)) for m in ("confidence", "accuracy"))
    return [(xs[b], ys[b]) for b in sorted(xs) if b in ys]


def _dots(name: str, points: list[tuple[Estimate, Estimate]], look: str, rank: int) -> list[Dot]:
    """One a bin; the name stands at the surest, that of a hold at the least sure."""
    named = len(points) if rank == 0 else 1
    return [
        Dot(
            x.value, y.value, name, tip(f"{name}, bin {b} of {len(points)}", f"says {said(x)}", f"right {said(y)}", f"n {y.n}"),
            look, rank=rank if b == named else None, shape="circle" if rank == 0 else "square", size=5.0,
            y_ends=(y.low, y.high),
        )
        for b, (x, y) in enumerate(points, start=1)
    ]  # fmt: skip


def reliability_panels(c: Claim, level: str) -> list[Panel]:
    """A diagram for each confidence, with nothing done and under each hold that moves it."""
    from homing.report.proving_figures import Panel  # that file lists this one

    out: list[Panel] = []
    for readout, (title, axis) in READOUTS.items():
        free = _points(c, readout, "none")
        line = c.line(readout, "ece", level=level)
        if not free:
            reason = "it was not played" if line is None else line.reason
            out.append(Panel(title, Markup(""), reason=reason or "too little of it could be measured to draw it"))
            continue
        series = [_dots("nothing done", free, "free", 0)]
        for k, hold in enumerate(c.holds, start=1):
            held = _points(c, readout, hold)
            if held and held != free:  # a hold that leaves every answer alone would lie upon it
                series.append(_dots(hold, held, "control" if hold == "sham" else "held", k))
        chart = both(
            lambda width, series=series, title=title, axis=axis: scatter(
                [d for dots in reversed(series) for d in dots], label=title, width=width, height=520 if width > 500 else 360,
                square=(-0.04, 1.04), x_title=f"{axis}, mean of a bin", y_title="share of answers that are right",
                diagonal="kept promises", moves=[pair for dots in series for pair in pairwise(dots)],
            )
        )  # fmt: skip
        caption = (
            "Answers in bins of about equal size, least sure first. Under the diagonal the model promises more than it keeps,"
            " above it less; a level row says that the confidence tells nothing apart. Bars are 95% intervals of a bin"
        )
        caption += "; dashes join those of one arm." if len(series) > 1 else "; dashes join the bins."
        out.append(Panel(title, chart, caption, line.verdict if line is not None and line.estimate is not None else ""))
    return out
