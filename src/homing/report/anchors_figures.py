"""The charts of claim 4: what each arm is worth beyond a vote, and how wrong an anchor may be before it is worth nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from homing.report.figures import both, said
from homing.report.svg import tip
from homing.report.svg.bars import Bar, bars
from homing.report.svg.base import el
from homing.report.svg.curves import Series, Span, band_curve

if TYPE_CHECKING:
    from homing.report.proving import Claim
    from homing.report.proving_figures import Panel

__all__ = ["arms_and_dose"]

ARMS = {
    "critique": "its own critique", "past": "an earlier version", "judge": "a judge", "user": "a user", "tool": "a calculator",
    "oracle": "the truth",
}  # fmt: skip
"""As the chart names them."""
DOSED = {"user": "a user who names a number", "oracle": "a verdict, right or wrong"}


def arms_and_dose(c: Claim, level: str) -> list[Panel]:
    """Net gains of the arms, then the two dose curves with the share of errors at which they cross nothing."""
    return [_arms(c), _dose(c)]


def _arms(c: Claim) -> Panel:
    from homing.report.proving_figures import Panel

    title, line = "What a second look is worth beyond a vote at as many calls", c.line("critique", "net")
    rows: list[Bar] = []
    missing: list[str] = []
    for arm, name in ARMS.items():
        e = c.figure(arm, "net")
        if e is None:
            missing.append(name)
            continue
        more = [f"{k} {said(x)}" for k in ("accuracy", "fixed", "broken") if (x := c.figure(arm, k)) is not None]
        rows.append(Bar(name, e, "free" if arm == "critique" else "twin", tip(name, said(e), *more, f"n {e.n}")))
    for hold in c.holds:
        if (e := c.figure("critique", "net_held", hold=hold)) is not None:
            look = "control" if hold == "sham" else "held"
            rows.append(Bar(f"critique with {hold}", e, look, tip(f"with {hold}", said(e), f"n {e.n}")))
    if not rows:
        reason = "it was not played" if line is None else line.reason
        return Panel(title, Markup(""), reason=reason)
    chart = both(lambda width: bars(rows, label=title, width=width, x_title="accuracy less that of the vote"))
    caption = (
        "Accuracy of the last answer less that of three first answers and a vote, with 95% intervals over questions. Right of 0:"
        " worth more than the calls it costs. What an arm mends and breaks is named where it is pointed at."
    )
    if missing:
        caption += f" Not measurable: {', '.join(missing)}; the reasons stand below."
    return Panel(title, chart, caption, line.verdict if line is not None and line.estimate is not None else "")


def _dose(c: Claim) -> Panel:
    from homing.report.proving_figures import Panel

    title, line = "How often an anchor may be wrong", c.line("dose", "user_0")
    curves = {k: c.numbered("dose", f"{k}_") for k in DOSED}
    curves = {k: points for k, points in curves.items() if len(points) > 1}
    if not curves:
        return Panel(title, Markup(""), reason="it was not played" if line is None else line.reason)
    every = [v for points in curves.values() for _, e in points for v in (e.low, e.high)]
    scale = (min(-0.05, *every), max(0.05, *every) * 1.04)
    drawn: list[Markup] = []
    for anchor, points in curves.items():
        name = DOSED[anchor]
        tips = tuple(tip(f"wrong in {x:.0f}%", said(e), f"n {e.n}") for x, e in points)
        cross = c.figure("dose", f"break_even_{anchor}")
        spans = [] if cross is None else [Span(100 * cross.low, 100 * cross.high, f"e* {said(cross)}")]
        drawn.append(
            band_curve(
                [Series("", tuple(points), class_="free", tips=tips)], label=f"{title}: {name}", title=name, spans=spans,
                x_title="% of the time that it is wrong", y_range=scale, x_ticks=[x for x, _ in points if x != 10], lines=[0.0],
            )
        )  # fmt: skip
    caption = (
        "Net gain over the vote by how often the anchor is wrong. The shaded stretch is e*, with its 95% interval: the share of"
        " errors at which it is worth no more than the calls. No stretch: the line does not clearly cross 0."
    )
    chart = el("div", *drawn, class_="panels one" if len(drawn) == 1 else "panels")
    return Panel(title, chart, caption, line.verdict if line is not None and line.estimate is not None else "")
