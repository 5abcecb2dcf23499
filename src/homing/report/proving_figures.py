"""The charts of the page of ``homing test``: for every claim that the page knows the figure a reader expects, else intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from homing.report.alignment_faking_figures import alignment_faking
from homing.report.anchors_figures import arms_and_dose
from homing.report.calibration_figures import reliability_panels
from homing.report.faithfulness_figures import faithfulness
from homing.report.figures import both, said
from homing.report.monitor_gaming_figures import gaming_curves
from homing.report.peer_preservation_figures import peer_preservation
from homing.report.proving import Claim, Line
from homing.report.svg import tip
from homing.report.svg.bars import Bar, bars
from homing.report.svg.base import el
from homing.report.svg.curves import Series, band_curve
from homing.report.svg.scatter import Dot, scatter
from homing.stats.estimate import Estimate

__all__ = ["Panel", "panels"]

SAYINGS = {
    "full": "all at once", "concat": "shards, one message", "shuffled": "the same, mixed up", "parts2": "in 2 messages",
    "parts3": "in 3 messages", "parts4": "in 4 messages", "snowball": "bit by bit, snowball", "recap": "bit by bit, recap",
    "sharded": "bit by bit",
}  # fmt: skip
"""Ways to say a task, as the chart names them."""
TWISTS = {
    "concat_revised": "revised, one message", "revised": "revised, bit by bit", "concat_distracted": "aside, one message",
    "distracted": "aside, bit by bit",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of a section.

    Attributes:
        title: above it; may be empty. ``chart``: empty where there is none, for ``reason``. ``caption``: how to read it.
        verdict: the finding's own sentence.
    """

    title: str
    chart: Markup
    caption: str = ""
    verdict: str = ""
    reason: str = ""


def panels(claim: Claim) -> list[Panel]:
    """The figures of a claim; one that cannot be drawn says why."""
    draw = _KNOWN.get(claim.instrument)
    if draw is None:
        return _intervals(claim)
    return [p for level in claim.levels for p in draw(claim, level)]


def _look(hold: str) -> str:
    return "control" if hold == "sham" else "held"


def _tips(name: str, points: Sequence[tuple[float, Estimate]], at: Callable[[float], str]) -> tuple[str, ...]:
    return tuple(tip(f"{name}, {at(x)}", said(e), f"n {e.n}") for x, e in points)


def _why(line: Line | None) -> str:
    return "it was not played" if line is None else line.reason or "too little of it could be measured to draw a curve"


# Curves with nothing done, and beside them under a hold


def _beside(
    free: Sequence[tuple[float, Estimate]],
    held: Sequence[tuple[str, Sequence[tuple[float, Estimate]]]],
    *,
    label: str,
    x_title: str,
    at: Callable[[float], str],
    y_range: tuple[float, float] | None = None,
) -> Markup:
    """A panel a hold, all on one scale; one panel where no hold was tried."""
    every = [e for points in (free, *(h for _, h in held)) for _, e in points]
    ends = [v for e in every for v in (e.value, e.low, e.high) if math.isfinite(v)]
    scale = y_range or (min(0.0, *ends), max(ends) * 1.04)
    ticks = [x for x, _ in free]
    base = Series("nothing done", tuple(free), class_="free", tips=_tips("nothing done", free, at))
    out: list[Markup] = []
    for hold, points in held or [("", ())]:
        drawn = [base]
        if points:
            look, shape = _look(hold), "square"
            drawn.append(Series(hold, tuple(points), class_=look, tips=_tips(hold, points, at), shape=shape))
        out.append(
            band_curve(
                drawn, label=f"{label}, {'with ' + hold if hold else 'nothing done'}", title=f"with {hold}" if hold else "",
                x_title=x_title, y_range=scale, x_ticks=ticks,
            )
        )  # fmt: skip
    return el("div", *out, class_="panels one" if len(out) == 1 else "panels")


def _superposition(c: Claim, level: str) -> list[Panel]:
    title, line = "How many objects are in play, turn by turn", c.line("collapse", "simulacra_0", level=level)
    free = c.numbered("collapse", "simulacra_", level=level)
    if len(free) < 2:
        free = _drawn(c)
    if len(free) < 2:
        return [Panel(title, Markup(""), reason=_why(line))]
    held = [(h, c.numbered("collapse", "held_", level=level, hold=h)) for h in c.holds]
    held = [(h, points) for h, points in held if points]
    chart = _beside(
        free, held, label="Effective number of objects by turn", x_title="turns after the opening",
        at=lambda t: f"turn {t:.0f}",
    )  # fmt: skip
    left_out = [h for h in c.holds if h not in dict(held)]
    caption = (
        "Effective number of objects among the reveals of forks (2 to the power of their entropy). One choice kept to is a line"
        " at 1; a line that falls only as answers rule objects out is many at once. Bands are 95% intervals over games."
    )
    if left_out:
        caption += f" Not measurable by turn under {', '.join(left_out)}."
    verdict = line.verdict if line is not None and line.estimate is not None else ""
    return [Panel(title, chart, caption, verdict)]


def _drawn(c: Claim) -> list[tuple[float, Estimate]]:
    """First and last number of objects from reveals in words, where the model gives no probabilities."""
    ends = [c.figure("commitment", f"simulacra_{end}") for end in ("first", "last")]
    return [(float(k), e) for k, e in enumerate(ends) if e is not None]


def _self_conditioning(c: Claim, level: str) -> list[Panel]:
    title = f"Accuracy by share of wrong totals, level {level}"
    line = c.line("accuracy", "e0", level=level)
    free = c.numbered("accuracy", "e", level=level)
    if len(free) < 2:
        return [Panel(title, Markup(""), reason=_why(line))]
    held = [(h, c.numbered("accuracy", "held_e", level=level, hold=h)) for h in c.holds]
    chart = _beside(
        free, [(h, points) for h, points in held if points], label=f"Accuracy by share of wrong totals, {level}",
        x_title="% of the shown totals that are wrong", at=lambda e: f"{e:.0f}% wrong", y_range=(-0.02, 1.04),
    )  # fmt: skip
    caption = (
        "Share of right updates, each a step from the total that is shown, right or wrong. A falling line: what stands in the"
        " context pulls down a step that has become no harder. Bands are 95% intervals over items."
    )
    return [Panel(title, chart, caption, line.verdict if line is not None else "")]


# The ladder


def _lost(c: Claim, level: str) -> list[Panel]:
    out: list[Panel] = []
    for tail, how in (("", ""), ("words_", ", read from replies in words")):
        finding, title = f"{tail}ladder", f"Score by how the task is said, level {level}{how}"
        line = c.line(finding, "full", level=level)
        if line is None and tail:
            continue
        rows = _rungs(c, finding, level)
        if not rows:
            out.append(Panel(title, Markup(""), reason=_why(line)))
            continue
        chart = both(lambda width, rows=rows, title=title: bars(rows, label=title, width=width, include=(0.0, 1.0)))
        caption = "Mean score over tasks, with 95% intervals."
        if any("snowball" in b.name or "recap" in b.name for b in rows):
            caption += " Snowball repeats with every message all that was said, recap repeats it once at the end."
        if any(b.name.startswith("with ") for b in rows):
            caption += " “With …” is bit by bit under that hold; a sham does nothing."
        if any(b.name in TWISTS.values() for b in rows):
            caption += " Revised: something is taken back on the way; aside: something beside the point is said."
        out.append(Panel(title, chart, caption, line.verdict if line is not None else ""))
    return out


def _rungs(c: Claim, finding: str, level: str) -> list[Bar]:
    def bar(name: str, key: str, look: str, hold: str = "none") -> list[Bar]:
        e = c.figure(finding, key, level=level, hold=hold)
        return [] if e is None else [Bar(name, e, look, tip(name, said(e), f"n {e.n}"))]

    plain = [b for key, name in SAYINGS.items() for b in bar(name, key, "free" if key == "sharded" else "twin")]
    held = [b for h in c.holds for b in bar(f"with {h}", "held_sharded", _look(h), h)]
    return [*plain, *held, *(b for key, name in TWISTS.items() for b in bar(name, key, "twin"))]


# Two kinds of rejection


def _pair(c: Claim, finding: str, tail: str, hold: str = "none") -> tuple[Estimate, Estimate] | None:
    kr, fa = (c.figure(finding, f"{m}{tail}", hold=hold) for m in ("kr", "fa"))
    return None if kr is None or fa is None else (kr, fa)


def _dot(name: str, pair: tuple[Estimate, Estimate], look: str, *, rank: int, small: bool = False) -> Dot:
    kr, fa = pair
    words = tip(name, f"KR {said(kr)}", f"FA {said(fa)}", f"n {kr.n}")
    ends = [(e.low, e.high) for e in (fa, kr)]
    if small:
        return Dot(fa.value, kr.value, name, words, look, shape="diamond", size=3.0)
    return Dot(
        fa.value, kr.value, name, words, look, rank=rank, size=6.0, x_ends=ends[0], y_ends=ends[1],
        shape="circle" if rank == 0 else "square",
    )  # fmt: skip


def _presupposition(c: Claim, level: str) -> list[Panel]:
    title, line = "False premises rejected against true ones rejected", c.line("rejection", "kr", level=level)
    base = _pair(c, "rejection", "")
    if base is None:
        return [Panel(title, Markup(""), reason=_why(line))]
    free = _dot("nothing done", base, "free", rank=0)
    held = [
        _dot(h, pair, _look(h), rank=k + 1)
        for k, h in enumerate(c.holds)
        if (pair := _pair(c, "rejection", "_held", h)) is not None
    ]
    names = [
        x.key.removeprefix("kr_")
        for x in c.lines
        if (x.finding, x.hold) == ("triggers", "none") and x.key.startswith("kr_")
    ]
    small = [
        _dot(f"by form: {t.replace('_', ' ')}", pair, "twin", rank=9, small=True)
        for t in names
        if (pair := _pair(c, "triggers", f"_{t}")) is not None
    ]
    chart = both(
        lambda width: scatter(
            [*small, *reversed(held), free], label=title, width=width, height=520 if width > 500 else 360, square=(-0.04, 1.04),
            x_title="FA: share of true premises rejected", y_title="KR: share of false premises rejected, known to be false",
            diagonal="tells nothing apart", moves=[(free, d) for d in held],
        )
    )  # fmt: skip
    caption = (
        "Top left is best. On the diagonal the model rejects true premises as often as false ones, however often that is. Crosses"
        " are 95% intervals over facts"
    )
    caption += "; dashed lines lead from nothing done to each hold" if held else ""
    caption += (
        "; small marks are single forms of the question with nothing done, named where they are pointed at."
        if small
        else "."
    )
    return [Panel(title, chart, caption, line.verdict if line is not None else "")]


# Instruments that the page does not know


def _intervals(c: Claim) -> list[Panel]:
    """Every figure of every finding, an interval each: one chart a finding and hold."""
    by: dict[tuple[str, str], list[Line]] = {}
    for x in c.measured:
        by.setdefault((x.name, x.hold), []).append(x)
    out: list[Panel] = []
    for (name, hold), lines in by.items():
        title = name if hold == "none" else f"{name}, change with {hold}"
        look = "free" if hold == "none" else _look(hold)
        rows = [
            Bar(x.figure_name or x.name, x.estimate, look, tip(x.figure_name, said(x.estimate), f"n {x.estimate.n}"))
            for x in lines
            if x.estimate is not None
        ]
        chart = both(lambda width, rows=rows, title=title: bars(rows, label=title, width=width, form="dot"))
        out.append(Panel(title, chart, "", lines[0].verdict))
    return out


def _reflection(c: Claim, level: str) -> list[Panel]:
    from homing.report.reflection_figures import reflection  # which needs this file

    return reflection(c, level)


_KNOWN: dict[str, Callable[[Claim, str], list[Panel]]] = {
    "superposition": _superposition,
    "self_conditioning": _self_conditioning,
    "lost_in_conversation": _lost,
    "presupposition": _presupposition,
    "calibration": reliability_panels,
    "faithfulness": faithfulness,
    "anchors": arms_and_dose,
    "alignment_faking": alignment_faking,
    "peer_preservation": peer_preservation,
    "monitor_gaming": gaming_curves,
    "reflection": _reflection,
}
