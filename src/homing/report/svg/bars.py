"""Bars or dots with whiskers, and the heat line of tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from homing.report.svg.base import Scale, axis_bottom, el, extent, interval_text, number, shorten, svg
from homing.report.svg.scatter import Rule, mark
from homing.stats.estimate import Estimate

__all__ = ["HEAT_LEVELS", "Bar", "bars", "heat_levels", "heat_line"]

HEAT_LEVELS = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: a name, a figure with its interval, a colour class, a tooltip.

    Args:
        beside: values that the figure is read against, each as a shape and where it stands, drawn hollow on the same row.
    """

    name: str
    estimate: Estimate
    class_: str = ""
    tip: str = ""
    beside: tuple[tuple[str, float], ...] = ()


def bars(
    rows: Sequence[Bar],
    *,
    label: str,
    width: float = 880,
    spec: str = ".2f",
    form: Literal["bar", "dot"] = "bar",
    x_title: str = "",
    include: Sequence[float] = (0.0,),
    band: tuple[float, float] | None = None,
    rules: Sequence[Rule] = (),
) -> Markup:
    """Horizontal rows, each with its interval as a whisker and its figure written out at the right.

    Args:
        rows: from top to bottom.
        label: for screen readers.
        width: in pixels; under 500 the names stand above their rows.
        spec: format of the figures.
        form: ``bar`` from zero, or ``dot`` where zero is no natural start.
        x_title: under the axis.
        include: values that must be in sight.
        band: shaded range (equivalence).
        rules: vertical lines with a name at their head.
    """
    narrow = width < 500
    step, head = (52.0, 24.0 if rules else 4.0) if narrow else (38.0, 24.0 if rules else 4.0)
    left, right = (8.0, 8.0) if narrow else (200.0, 200.0)
    height = head + step * len(rows) + (44 if x_title else 22)
    values = [v for b in rows for v in (b.estimate.value, b.estimate.low, b.estimate.high)]
    values += [v for b in rows for _, v in b.beside]
    edge = [*include, *(band or ()), *(r.at for r in rules)]
    x = Scale(*extent(values, include=edge, pad=0.08), left, width - right)
    base = head + step * len(rows)
    out: list[Markup] = []
    if band is not None:
        x0, x1 = x.clip(band[0]), x.clip(band[1])
        out.append(el("rect", class_="span margin", x=x0, y=head, width=x1 - x0, height=base - head))
    ticks = x.ticks(4 if narrow else 6)
    percent = spec.endswith("%")
    out += [el("line", class_="grid", x1=x(t), x2=x(t), y1=head, y2=base) for t in ticks]
    if x.low <= 0 <= x.high:
        out.append(el("line", class_="zero", x1=x(0), x2=x(0), y1=head, y2=base))
    out.append(
        axis_bottom(
            x,
            base,
            ticks=ticks,
            title=x_title,
            spec=".0%" if percent and _whole(ticks) else None if not percent else ".1%",
        )
    )
    for r in rules:
        end = x(r.at) > width * 0.7
        out.append(el("line", class_=f"rule {r.class_}", x1=x(r.at), x2=x(r.at), y1=head - 6, y2=base))
        out.append(
            el(
                "text",
                r.text,
                class_=f"rule-text {r.class_}",
                x=x(r.at),
                y=head - 10,
                text_anchor="end" if end else "start",
            )
        )
    for i, b in enumerate(rows):
        out += _row(b, i, x=x, head=head, step=step, width=width, narrow=narrow, form=form, spec=spec)
    return svg(width, height, *out, label=label, class_="bars")


def _whole(ticks: Sequence[float]) -> bool:
    return all(math.isclose(t * 100, round(t * 100), abs_tol=1e-6) for t in ticks)


def _row(
    b: Bar, i: int, *, x: Scale, head: float, step: float, width: float, narrow: bool, form: str, spec: str
) -> list[Markup]:
    e = b.estimate
    mid = head + step * i + (34.0 if narrow else step / 2)
    words = mid - 17 if narrow else mid + 4
    name = el(
        "text",
        shorten(b.name, 150.0 if narrow else x.start - 16),
        class_=f"row-name {b.class_}",
        x=x.start if narrow else 0.0,
        y=words,
        text_anchor="start",
    )
    figure = el(
        "text",
        el("tspan", number(e.value, spec), class_="figure"),
        el("tspan", f"  {interval_text(e, spec)}", class_="interval"),
        class_="row-figure",
        x=width - 8 if narrow else x.end + 16,
        y=words,
        text_anchor="end" if narrow else "start",
    )
    out = [name, figure]
    out += [mark(shape, x(v), mid, 4, class_="beside") for shape, v in b.beside if math.isfinite(v)]
    if not math.isfinite(e.value):
        return out
    at = x(e.value)
    if form == "bar":
        zero = x.clip(0)
        out.append(
            el(
                "rect",
                class_=f"bar {b.class_}",
                x=min(at, zero),
                y=mid - 7,
                width=abs(at - zero),
                height=14.0,
                data_tip=b.tip or None,
            )
        )
    if math.isfinite(e.low) or math.isfinite(e.high):
        x0, x1 = x.clip(e.low), x.clip(e.high)
        out.append(el("line", class_=f"whisker wide {b.class_}", x1=x0, x2=x1, y1=mid, y2=mid))
        for end, known in ((x0, math.isfinite(e.low)), (x1, math.isfinite(e.high))):
            if known:
                out.append(el("line", class_=f"whisker wide {b.class_}", x1=end, x2=end, y1=mid - 4, y2=mid + 4))
    if form == "dot":
        out.append(mark("circle", at, mid, 5, class_=f"dot {b.class_}", data_tip=b.tip or None))
    return out


def heat_levels(values: Sequence[float], *, top: float | None = None) -> list[int]:
    """Level 0 to :data:`HEAT_LEVELS` of each value by its size: 0 is exactly nothing, the top is ``top`` or more."""
    sizes = [abs(v) if math.isfinite(v) else 0.0 for v in values]
    most = top if top is not None else max(sizes, default=0.0)
    if most <= 0:
        return [0] * len(sizes)
    return [0 if s == 0 else min(HEAT_LEVELS, 1 + int(s / most * HEAT_LEVELS * 0.9999)) for s in sizes]


def heat_line(tokens: Sequence[tuple[str, float]], *, top: float | None = None, unit: str = "") -> Markup:
    """A text in which each token is shaded by a figure; neighbours that were not touched are one run of plain text.

    Args:
        tokens: ``(text, figure)``.
        top: figure of the darkest shade, to share one scale between texts.
        unit: after the figure, in the tooltip.
    """
    levels = heat_levels([v for _, v in tokens], top=top)
    out: list[Markup] = []
    plain = ""
    for (text, value), level in zip(tokens, levels, strict=True):
        if level == 0:
            plain += text
            continue
        if plain:
            out.append(el("span", plain))
            plain = ""
        out.append(el("span", text, class_=f"heat h{level}", data_tip=f"moved by {number(value)}{unit}"))
    if plain:
        out.append(el("span", plain))
    return Markup("").join(out)
