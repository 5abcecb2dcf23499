"""The charts of the faithfulness claim: answers by how much of the text is shown or where it is spoilt; what each hint does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from homing.report.figures import both, said
from homing.report.proving import Claim
from homing.report.svg import tip
from homing.report.svg.bars import Bar, bars
from homing.report.svg.base import el
from homing.report.svg.curves import Series, band_curve
from homing.stats.estimate import Estimate

if TYPE_CHECKING:
    from homing.report.proving_figures import Panel

__all__ = ["faithfulness"]

WHOSE = {"supplied": "supplied reasoning", "own": "the model's own reasoning"}
KINDS = {
    "sycophancy": "the user's opinion", "consistency": "its earlier answer", "visual": "a mark", "metadata": "a tag",
    "grader": "the checking program", "unauthorised": "a locked sheet",
}  # fmt: skip
"""Kinds of hint, as the chart names them."""
Points = Sequence[tuple[float, Estimate]]


def faithfulness(c: Claim, level: str) -> list[Panel]:
    """The figures of one part of the claim."""
    return _hints(c, level) if level == "hints" else _traces(c, level)


def _reason(c: Claim, level: str, finding: str) -> str:
    line = c.line(finding, level=level)
    return "it was not played" if line is None else line.reason or "too little of it could be measured to draw it"


def _series(name: str, points: Points, look: str, shape: str, what: str) -> Series:
    tips = tuple(tip(f"{name}, {x:.0f}% {what}", said(e), f"n {e.n}") for x, e in points)
    return Series(name, tuple(points), class_=look, tips=tips, shape=shape)


def _traces(c: Claim, level: str) -> list[Panel]:
    from homing.report.proving_figures import Panel  # it draws with this file

    title = f"Answers that stay the same, {WHOSE.get(level, level)}"
    cut, wrong = (c.numbered(f, "same_", level=level) for f in ("early", "mistakes"))
    if len(cut) < 2:
        return [Panel(title, Markup(""), reason=_reason(c, level, "early"))]
    anyway = c.figure("early", "reworded", level=level)
    drawn = [
        ("cut short", cut, "free", "circle", "% of the text that is shown"),
        ("with a mistake", wrong, "held", "square", "% of the text before the mistake"),
    ]
    charts: list[Markup] = []
    for name, points, look, shape, x_title in drawn:
        if len(points) < 2:
            continue
        series = [_series(name, points, look, shape, x_title.removeprefix("% "))]
        if anyway is not None:
            stays = replace(anyway, value=1 - anyway.value, low=1 - anyway.high, high=1 - anyway.low)
            flat = _series("said otherwise", [(x, stays) for x, _ in points], "twin", "circle", "")
            series.append(replace(flat, thin=True, band=False, tips=()))
        ticks = [x for x, _ in points]
        charts.append(
            band_curve(series, label=f"{title}, {name}", y_range=(-0.02, 1.04), x_title=x_title, x_ticks=ticks)
        )  # fmt: skip
    chart = el("div", *charts, class_="panels one" if len(charts) == 1 else "panels")
    caption = (
        "Share of answers that are the one behind the whole text. A low curve: the answer hangs on what is missing or spoilt."
        " A curve along the dashed line, of texts that are only said otherwise: it does not. Bands: 95% intervals over puzzles."
    )
    if len(wrong) > 1:
        caption += " Behind a mistake an answer that stays may have been repaired."
    line = c.line("early", "aoc", level=level)
    return [Panel(title, chart, caption, line.verdict if line is not None else "")]


def _hints(c: Claim, level: str) -> list[Panel]:
    def bar(name: str, key: str, look: str, finding: str = "usage") -> list[Bar]:
        e = c.figure(finding, key, level=level)
        return [] if e is None else [Bar(name, e, look, tip(name, said(e), f"n {e.n}"))]

    moved = [
        *(b for k, name in KINDS.items() for b in bar(name, f"hint_{k}", "free")), *bar("any hint", "hint", "free"),
        *bar("words that hint at nothing", "neutral", "twin"), *bar("any hint, another answer", "other", "twin"),
    ]  # fmt: skip
    tellers = {"mention_rule": "by words", "mention_self": "by the judge"}
    owned = [
        b
        for finding, who in tellers.items()
        for b in (*bar(f"told {who}", "mentioned", "free", finding), *bar(f"{who}, as seen", "seen", "twin", finding))
    ]
    return [
        _barred(
            c, level, "usage", "Right answers that a hint moves to a wrong one", moved,
            "Share of questions, right without a hint, whose answer is the hinted one with it. Below, to compare: moved there by"
            " words that hint at nothing, and by a hint to some other wrong answer. Whiskers: 95% intervals over questions.",
        ),
        _barred(
            c, level, "mention_rule", "Hint-led answers whose reasoning mentions the hint", owned,
            "Corrected for random changes of the answer and for the errors of whoever tells, as they are measured on labelled"
            " texts; and as seen, without either.",
        ),
    ]  # fmt: skip


def _barred(c: Claim, level: str, finding: str, title: str, rows: Sequence[Bar], caption: str) -> Panel:
    """Bars, or why there are none."""
    from homing.report.proving_figures import Panel  # it draws with this file

    if not rows:
        return Panel(title, Markup(""), reason=_reason(c, level, finding))
    chart = both(lambda width: bars(rows, label=title, width=width, include=(0.0, 1.0)))
    mine = [x for x in c.lines if (x.finding, x.level, x.hold) == (finding, level, "none")]
    return Panel(title, chart, caption, mine[0].verdict if mine else "")
