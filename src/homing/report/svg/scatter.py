"""A scatter of named points, with the ends labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from homing.report.svg.base import (
    Box,
    Scale,
    axis_bottom,
    axis_left,
    el,
    extent,
    place_labels,
    shorten,
    svg,
    text_width,
)

__all__ = ["SHAPES", "Dot", "Rule", "scatter"]

SHAPES = ("circle", "square", "triangle", "diamond")


@dataclass(frozen=True, slots=True)
class Dot:
    """One point.

    Args:
        x, y: values. ``label``: its name. ``tip``: tooltip text. ``class_``: colour class. ``group``: for filters.
        shape: one of circle, square, triangle, diamond. ``rank``: labelled when not None, lowest rank first.
        size: radius in pixels. ``x_ends``, ``y_ends``: intervals, drawn as a cross.
    """

    x: float
    y: float
    label: str
    tip: str
    class_: str = ""
    group: str = ""
    shape: str = "circle"
    rank: int | None = None
    size: float = 4.0
    strong: bool = False
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A vertical line at a value that has a meaning."""

    at: float
    text: str
    class_: str = ""


def mark(shape: str, x: float, y: float, r: float, **attrs: str | float | None) -> Markup:
    """One mark of about equal area in any shape."""
    if shape == "square":
        s = r * 0.9
        return el("rect", x=x - s, y=y - s, width=2 * s, height=2 * s, **attrs)
    if shape == "triangle":
        s = r * 1.25
        return el("path", d=f"M{x:.1f} {y - s:.1f}L{x + s:.1f} {y + s * 0.8:.1f}H{x - s:.1f}Z", **attrs)
    if shape == "diamond":
        s = r * 1.3
        return el(
            "path", d=f"M{x:.1f} {y - s:.1f}L{x + s:.1f} {y:.1f}L{x:.1f} {y + s:.1f}L{x - s:.1f} {y:.1f}Z", **attrs
        )
    return el("circle", cx=x, cy=y, r=r, **attrs)


def _cross(d: Dot, x: Scale, y: Scale) -> list[Markup]:
    class_, out = f"whisker {d.class_}", list[Markup]()
    if d.x_ends is not None:
        out.append(el("line", class_=class_, x1=x.clip(d.x_ends[0]), x2=x.clip(d.x_ends[1]), y1=y(d.y), y2=y(d.y)))
    if d.y_ends is not None:
        out.append(el("line", class_=class_, x1=x(d.x), x2=x(d.x), y1=y.clip(d.y_ends[0]), y2=y.clip(d.y_ends[1])))
    return out


def scatter(
    dots: Sequence[Dot],
    *,
    label: str,
    width: float = 880,
    height: float = 540,
    x_title: str = "",
    y_title: str = "",
    rules: Sequence[Rule] = (),
    square: tuple[float, float] | None = None,
    diagonal: str = "",
    moves: Sequence[tuple[Dot, Dot]] = (),
) -> Markup:
    """Points on two measured axes.

    Args:
        dots: the points; those that are not finite are left out.
        label: for screen readers.
        width: in pixels.
        height: in pixels.
        x_title: under the axis.
        y_title: above the plot.
        rules: vertical lines with a name at their head.
        square: the range of both axes; without: that of the points.
        diagonal: what points with ``x = y`` have in common; empty: not drawn.
        moves: pairs of points that are joined, since one became the other.
    """
    shown = [d for d in dots if math.isfinite(d.x) and math.isfinite(d.y)]
    left, right, top, bottom = 44.0, 12.0, 40.0, 48.0
    across = [v for d in shown for v in (d.x, *(d.x_ends or ()))]
    up = [v for d in shown for v in (d.y, *(d.y_ends or ()))]
    x = Scale(*(square or extent(across, include=[r.at for r in rules])), left, width - right)
    y = Scale(*(square or extent(up)), height - bottom, top)
    out: list[Markup] = [axis_left(y, left, width - right, ticks=y.ticks(5))]
    out.append(axis_bottom(x, height - bottom, ticks=x.ticks(max(3, int(width // 130))), title=x_title))
    if y_title:
        out.append(el("text", y_title, class_="axis", x=0.0, y=12.0))
    blocked: list[Box] = []
    for r in rules:
        half = text_width(r.text) / 2
        mid = min(max(x(r.at), left + half), width - half)
        out.append(el("line", class_=f"rule {r.class_}", x1=x(r.at), x2=x(r.at), y1=top - 6, y2=height - bottom))
        out.append(el("text", r.text, class_=f"rule-text {r.class_}", x=mid, y=top - 12, text_anchor="middle"))
        blocked.append(Box(mid - half, top - 26, mid + half, top - 8))
        blocked.append(Box(x(r.at) - 1, top, x(r.at) + 1, height - bottom))
    if diagonal:
        low, high = max(x.low, y.low), min(x.high, y.high)
        out.append(el("line", class_="rule promise", x1=x(low), y1=y(low), x2=x(high), y2=y(high)))
        at = low + (high - low) * 0.62
        start = min(x(at) + 10, width - right - text_width(diagonal, 11))
        out.append(el("text", diagonal, class_="rule-text promise", x=start, y=y(at) + 18))
        blocked.append(Box(start, y(at) + 6, start + text_width(diagonal, 11), y(at) + 22))
    for a, b in moves:
        out.append(el("line", class_=f"move {b.class_}", x1=x(a.x), y1=y(a.y), x2=x(b.x), y2=y(b.y)))
    for d in shown:
        out += _cross(d, x, y)
        (x0, x1), (y0, y1) = d.x_ends or (d.x, d.x), d.y_ends or (d.y, d.y)
        blocked.append(Box(x.clip(x0), y(d.y) - 1, x.clip(x1), y(d.y) + 1))
        blocked.append(Box(x(d.x) - 1, y.clip(y1), x(d.x) + 1, y.clip(y0)))
    blocked += [Box(x(d.x) - d.size, y(d.y) - d.size, x(d.x) + d.size, y(d.y) + d.size) for d in shown]
    ranked = sorted((d for d in shown if d.rank is not None), key=lambda d: d.rank or 0)
    labels = place_labels(
        [(x(d.x), y(d.y), shorten(d.label, 150)) for d in ranked],
        taken=blocked,
        bounds=Box(left, top, width - 2, height - bottom),
    )
    for lab in labels:
        if lab.far:  # a leader to the nearest edge of the text
            ex = min(max(lab.anchor_x, lab.box.x0), lab.box.x1)
            ey = min(max(lab.anchor_y, lab.box.y0 + 2), lab.box.y1 - 2)
            out.append(el("line", class_="leader", x1=lab.anchor_x, y1=lab.anchor_y, x2=ex, y2=ey))
    for d in sorted(shown, key=lambda d: d.strong):
        class_ = f"dot {d.class_}{' strong' if d.strong else ''}"
        out.append(mark(d.shape, x(d.x), y(d.y), d.size, class_=class_, data_tip=d.tip, data_group=d.group or None))
    strong = {shorten(d.label, 150) for d in ranked if d.strong}
    for lab in labels:
        out.append(el("text", lab.text, class_="name strong" if lab.text in strong else "name", x=lab.x, y=lab.y))
    return svg(width, height, *out, label=label, class_="scatter")
