"""Curves with bands, and the timeline of one conversation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from homing.report.svg.base import Box, Scale, axis_bottom, axis_left, el, extent, shorten, svg, text_width
from homing.report.svg.scatter import mark
from homing.stats.estimate import Estimate

__all__ = ["Flag", "Range", "Series", "Span", "band_curve", "timeline"]


@dataclass(frozen=True, slots=True)
class Series:
    """One curve.

    Args:
        points: ``(x, figure)``. ``name``: written at its end. ``class_``: colour class; ``tips``: one a point.
        band: draw the interval as a band. ``thin``: a hairline without points, for what is only a reference.
        shape: of its points, so that two curves differ without colour.
    """

    name: str
    points: tuple[tuple[float, Estimate], ...]
    class_: str = ""
    tips: tuple[str, ...] = ()
    band: bool = True
    thin: bool = False
    shape: str = "circle"


@dataclass(frozen=True, slots=True)
class Span:
    """A shaded stretch of the horizontal axis, with a name at its head."""

    low: float
    high: float
    text: str
    class_: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """A shaded stretch of the vertical axis at one x: where something usually lies."""

    x: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Flag:
    """A marker at one x, standing on the point of a series: an alarm."""

    x: float
    value: float
    text: str
    tip: str
    class_: str = ""


def _finite(s: Series) -> list[tuple[float, Estimate]]:
    return [(x, e) for x, e in s.points if math.isfinite(e.value)]


def _values(series: Sequence[Series]) -> list[float]:
    out: list[float] = []
    for s in series:
        for _, e in _finite(s):
            out.append(e.value)
            if s.band:
                out += [e.low, e.high]
    return out


def _draw(s: Series, x: Scale, y: Scale, r: float) -> list[Markup]:
    points = _finite(s)
    if not points:
        return []
    out: list[Markup] = []
    if s.band and len(points) > 1:
        up = " ".join(f"{x(a):.1f},{y.clip(e.high):.1f}" for a, e in points)
        down = " ".join(f"{x(a):.1f},{y.clip(e.low):.1f}" for a, e in reversed(points))
        out.append(el("polygon", class_=f"band {s.class_}", points=f"{up} {down}"))
    line = " ".join(f"{x(a):.1f},{y(e.value):.1f}" for a, e in points)
    out.append(el("polyline", class_=f"line {s.class_}{' thin' if s.thin else ''}", points=line))
    tips = dict(zip((a for a, _ in s.points), s.tips, strict=False))
    for a, e in points:
        class_ = f"dot {s.class_}{' faint' if s.thin else ''}"
        out.append(mark(s.shape, x(a), y(e.value), 2.0 if s.thin else r, class_=class_, data_tip=tips.get(a)))
    return out


def _spread(targets: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move end labels apart, as little as needed, inside the plot; the order of the targets is kept."""
    order = sorted(range(len(targets)), key=lambda i: targets[i])
    at = [0.0] * len(targets)
    last = low - gap
    for i in order:
        last = at[i] = max(targets[i], last + gap)
    over = last - high
    ceiling = high
    if over > 0:
        for i in reversed(order):
            at[i] = min(at[i], ceiling)
            ceiling = at[i] - gap
    return at


def _end_labels(series: Sequence[Series], x: Scale, y: Scale, top: float, bottom: float) -> list[Markup]:
    named = [(s, _finite(s)[-1]) for s in series if s.name and _finite(s)]
    at = _spread([y(e.value) + 4 for _, (_, e) in named], 15, top + 4, bottom)
    return [
        el("text", s.name, class_=f"end {s.class_}", x=x.end + 10, y=yy) for (s, _), yy in zip(named, at, strict=True)
    ]


def band_curve(
    series: Sequence[Series],
    *,
    label: str,
    width: float = 420,
    height: float = 240,
    title: str = "",
    x_title: str = "",
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    x_ticks: Sequence[float] | None = None,
    lines: Sequence[float] = (),
    spans: Sequence[Span] = (),
    y_spec: str | None = None,
) -> Markup:
    """Curves with interval bands, each named at its end instead of in a legend.

    Args:
        series: drawn in order, the most important last.
        label: for screen readers.
        width: in pixels.
        height: in pixels.
        title: of the panel.
        x_title: under the axis.
        y_range: to share one scale between panels.
        x_range: where it differs from the data's own.
        x_ticks: where round values would be wrong.
        lines: horizontal values with a meaning (0, chance).
        spans: shaded stretches of the horizontal axis.
        y_spec: format of the tick labels.
    """
    xs = [a for s in series for a, _ in _finite(s)]
    head = 26.0 if title else 8.0
    top, bottom = head + (16.0 if spans else 0.0), 46.0 if x_title else 26.0
    names = max((text_width(s.name, 13.5) for s in series if s.name and _finite(s)), default=0.0)
    x = Scale(*(x_range or extent(xs, pad=0.02)), 42, width - (names + 16 if names else 8))
    y = Scale(*(y_range or extent(_values(series), include=lines)), height - bottom, top)
    out: list[Markup] = []
    if title:
        out.append(el("text", shorten(title, width), class_="panel", x=0.0, y=14.0))
    for s in spans:
        x0, x1 = x.clip(s.low), x.clip(s.high)
        out.append(el("rect", class_=f"span {s.class_}", x=x0, y=top, width=max(x1 - x0, 1.5), height=y.start - top))
        half = text_width(s.text, 11) / 2
        mid = min(max((x0 + x1) / 2, half), width - half)
        out.append(el("text", s.text, class_=f"rule-text {s.class_}", x=mid, y=top - 5, text_anchor="middle"))
    out.append(axis_left(y, x.start, x.end, ticks=y.ticks(4), spec=y_spec))
    out += [el("line", class_="zero", x1=x.start, x2=x.end, y1=y(v), y2=y(v)) for v in lines if y.low <= v <= y.high]
    ticks = x_ticks if x_ticks is not None else x.ticks(5)
    out.append(axis_bottom(x, height - bottom, ticks=ticks, title=x_title))
    for s in series:
        out += _draw(s, x, y, 3.0)
    out += _end_labels(series, x, y, top, height - bottom)
    return svg(width, height, *out, label=label, class_="curve")


def timeline(
    series: Sequence[Series],
    *,
    label: str,
    width: float = 880,
    height: float = 260,
    ranges: Sequence[Range] = (),
    range_text: str = "",
    flags: Sequence[Flag] = (),
    x_title: str = "turn",
    lines: Sequence[float] = (),
) -> Markup:
    """One conversation, turn by turn: curves, the range where home conversations lie, and its alarms.

    Args:
        series: one an arm, with whiskers instead of bands.
        label: for screen readers.
        width: in pixels.
        height: in pixels.
        ranges: where home conversations lie, one a turn.
        range_text: what they are, in words.
        flags: the alarms.
        x_title: under the axis.
        lines: horizontal values with a meaning.
    """
    xs = [a for s in series for a, _ in _finite(s)]
    turns = sorted(set(xs))
    values = _values([replace(s, band=True) for s in series]) + [v for r in ranges for v in (r.low, r.high)]
    top, bottom = 26.0 if flags else 10.0, 44.0
    names = max((text_width(s.name, 13.5) for s in series if s.name and _finite(s)), default=0.0)
    low, high = (min(turns), max(turns)) if turns else (1.0, 2.0)
    x = Scale(low - 0.3, high + 0.3, 42, width - names - 18)
    y = Scale(*extent(values, include=lines), height - bottom, top)
    out: list[Markup] = []
    if ranges:
        inner = sorted(ranges, key=lambda r: r.x)
        ends = [replace(inner[0], x=x.low), *inner, replace(inner[-1], x=x.high)]
        up = " ".join(f"{x(r.x):.1f},{y.clip(r.high):.1f}" for r in ends)
        down = " ".join(f"{x(r.x):.1f},{y.clip(r.low):.1f}" for r in reversed(ends))
        out.append(el("polygon", class_="range", points=f"{up} {down}"))
    out.append(axis_left(y, x.start, x.end, ticks=y.ticks(4)))
    out += [el("line", class_="zero", x1=x.start, x2=x.end, y1=y(v), y2=y(v)) for v in lines if y.low <= v <= y.high]
    if ranges and range_text:
        out.append(
            el(
                "text",
                shorten(range_text, x.end - x.start - 12),
                class_="range-text",
                x=x.start + 6,
                y=y.clip(ranges[0].high) + 14,
            )
        )
    every = 1 if width > 500 or len(turns) <= 10 else 2
    out.append(axis_bottom(x, height - bottom, ticks=turns[::every], title=x_title, spec=".0f"))
    for s in series:
        for a, e in _finite(s):
            if math.isfinite(e.low) and math.isfinite(e.high):
                out.append(el("line", class_=f"whisker {s.class_}", x1=x(a), x2=x(a), y1=y(e.low), y2=y(e.high)))
        out += _draw(replace(s, band=False), x, y, 4.0)
    taken = [Box(x(f.x) - 6, top - 18, x(f.x) + 6, top - 4) for f in flags]
    for f in sorted(flags, key=lambda f: f.x):
        px = x(f.x)
        out.append(el("line", class_=f"flag-stem {f.class_}", x1=px, x2=px, y1=top - 6, y2=y.clip(f.value) - 5))
        out.append(mark("triangle", px, top - 10, 5, class_=f"flag dot {f.class_}", data_tip=f.tip))
        box = Box(px + 9, top - 18, px + 9 + text_width(shorten(f.text, 130, 11), 11), top - 4)
        if box.x1 <= width and not any(box.overlaps(b) for b in taken):
            out.append(el("text", shorten(f.text, 130, 11), class_=f"flag-text {f.class_}", x=box.x0, y=top - 6))
            taken.append(box)
    out += _end_labels(series, x, y, top, height - bottom)
    return svg(width, height, *out, label=label, class_="timeline")
