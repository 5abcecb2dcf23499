"""What every chart is made of: escaped elements, scales with round ticks, number formats, labels that do not overlap.

Charts are plain strings of SVG, drawn in Python. Colour and type come from classes alone (the page's style sheet knows
light, dark and paper), so a chart carries no style attribute and passes a content security policy without inline style.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from homing.stats.estimate import Estimate

__all__ = [
    "Box",
    "Scale",
    "axis_bottom",
    "axis_left",
    "el",
    "extent",
    "interval_text",
    "number",
    "place_labels",
    "shorten",
    "svg",
    "text_width",
    "tip",
]

FONT = 12.0


def el(tag: str, *children: str, **attrs: str | float | None) -> Markup:
    """One element; text and attribute values are escaped, ``Markup`` children are not escaped twice.

    ``class_`` becomes ``class``, other underscores become hyphens, None leaves the attribute out.
    """
    parts: list[str] = []
    for name, value in attrs.items():
        if value is None:
            continue
        shown = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
        parts.append(f' {name.rstrip("_").replace("_", "-")}="{escape(shown)}"')
    body = "".join(escape(c) for c in children)
    return Markup(f"<{tag}{''.join(parts)}>{body}</{tag}>")  # noqa: S704  every part above is escaped


def svg(width: float, height: float, *children: str, label: str, class_: str = "") -> Markup:
    """The outer element, named for screen readers; its points are walked with the arrow keys by the page's script."""
    return el(
        "svg",
        *children,
        class_=f"chart {class_}".strip(),
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        role="img",
        aria_label=label,
    )


def number(value: float, spec: str = ".2f") -> str:
    """A number for people: true minus sign, no negative zero, a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    shown = format(value, spec)
    if not any(c in "123456789" for c in shown):
        shown = shown.lstrip("+-")
    return shown.replace("-", "\u2212")


def interval_text(e: Estimate, spec: str = ".2f") -> str:
    """The interval in words: ``0.92 to 0.97``; says so where there is none, or only one end."""
    low, high = math.isfinite(e.low), math.isfinite(e.high)
    if low and high:
        return f"{number(e.low, spec)} to {number(e.high, spec)}"
    if low:
        return f"at least {number(e.low, spec)}"
    if high:
        return f"at most {number(e.high, spec)}"
    return "no interval"


def tip(*lines: str) -> str:
    """Text of a tooltip, one fact a line."""
    return "\n".join(line for line in lines if line)


def text_width(text: str, size: float = FONT) -> float:
    """Width of a text in pixels, on the wide side: label placement must not count on narrow letters."""
    wide = sum(1.05 if ord(c) > 0x2FF else (0.78 if c.isupper() or c in "mwMW@%" else 0.57) for c in text)
    return wide * size


def shorten(text: str, most: float, size: float = FONT) -> str:
    """The text, cut with an ellipsis where it is wider than ``most`` pixels; tooltips and tables keep the whole."""
    if text_width(text, size) <= most:
        return text
    while text and text_width(text, size) + size > most:
        text = text[:-1]
    return text.rstrip() + "…"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: Box, gap: float = 1.0) -> bool:
        """Whether the two come closer than ``gap``."""
        return (
            self.x0 < other.x1 + gap
            and other.x0 < self.x1 + gap
            and self.y0 < other.y1 + gap
            and other.y0 < self.y1 + gap
        )

    def inside(self, other: Box) -> bool:
        """Whether this lies wholly in ``other``."""
        return self.x0 >= other.x0 and self.x1 <= other.x1 and self.y0 >= other.y0 and self.y1 <= other.y1


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def clip(self, value: float) -> float:
        """Pixel of a value, held inside the scale: infinite ends stop at the edge."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, count: int = 5) -> list[float]:
        """About ``count`` round values inside the scale."""
        raw = (self.high - self.low) / max(count, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(s * power for s in (1.0, 2.0, 2.5, 5.0, 10.0) if s * power >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def extent(values: Iterable[float], *, include: Sequence[float] = (), pad: float = 0.06) -> tuple[float, float]:
    """Smallest and largest finite value, padded; what must be in sight is in ``include``."""
    found = [v for v in (*values, *include) if math.isfinite(v)]
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    room = (high - low) * pad or 0.5
    return low - room, high + room


def tick_spec(ticks: Sequence[float]) -> str:
    """The fewest decimals that tell the ticks apart."""
    if len(ticks) < 2:
        return ".2f"
    step = ticks[1] - ticks[0]
    for digits in range(5):
        if math.isclose(round(step, digits), step, rel_tol=1e-6):
            return f".{digits}f"
    return ".3g"


def axis_bottom(x: Scale, y: float, *, ticks: Sequence[float], title: str = "", spec: str | None = None) -> Markup:
    """A quiet axis: tick labels under the plot, and a title under them."""
    spec = spec or tick_spec(ticks)
    out = [el("text", number(t, spec), class_="tick", x=x(t), y=y + 16, text_anchor="middle") for t in ticks]
    if title:
        out.append(el("text", title, class_="axis", x=(x.start + x.end) / 2, y=y + 36, text_anchor="middle"))
    return Markup("").join(out)


def axis_left(y: Scale, x0: float, x1: float, *, ticks: Sequence[float], spec: str | None = None) -> Markup:
    """Tick labels left of the plot, with hairlines across it."""
    spec = spec or tick_spec(ticks)
    out: list[Markup] = []
    for t in ticks:
        out.append(el("line", class_="grid", x1=x0, x2=x1, y1=y(t), y2=y(t)))
        out.append(el("text", number(t, spec), class_="tick", x=x0 - 8, y=y(t) + 4, text_anchor="end"))
    return Markup("").join(out)


@dataclass(frozen=True, slots=True)
class Label:
    """A label that found its place: anchor point, text box, and where its text starts."""

    text: str
    box: Box
    x: float
    y: float
    anchor_x: float
    anchor_y: float
    far: bool


def place_labels(
    wanted: Sequence[tuple[float, float, str]],
    *,
    taken: Sequence[Box],
    bounds: Box,
    size: float = FONT,
) -> list[Label]:
    """Put each label beside its point, in order of importance, never over another label, a point or the edge.

    Args:
        wanted: ``(x, y, text)`` in pixels, most important first.
        taken: boxes that must stay free (the points).
        bounds: where labels may stand.
        size: of the type, in pixels.

    Returns:
        The labels that found a place; one that finds none is left out rather than drawn over another.
    """
    placed: list[Label] = []
    blocked = list(taken)
    for px, py, text in wanted:
        best = _first_free(px, py, text_width(text, size), size, blocked, bounds)
        if best is None:
            continue
        box, far = best
        blocked.append(box)
        placed.append(Label(text, box, box.x0, box.y1 - size * 0.25, px, py, far))
    return placed


def _first_free(
    px: float, py: float, width: float, size: float, blocked: Sequence[Box], bounds: Box
) -> tuple[Box, bool] | None:
    h = size * 1.15
    for radius in (8.0, 14.0, 22.0, 32.0, 44.0, 58.0, 74.0):
        for degrees in (0, 180, -40, 40, -140, 140, -90, 90, -65, 65, -115, 115, -20, 20, -160, 160):
            a = math.radians(degrees)
            cx, cy = px + radius * math.cos(a), py + radius * math.sin(a)
            x0 = cx if math.cos(a) > 0.3 else (cx - width if math.cos(a) < -0.3 else cx - width / 2)
            y0 = cy - h / 2
            box = Box(x0, y0, x0 + width, y0 + h)
            if box.inside(bounds) and not any(box.overlaps(b) for b in blocked):
                return box, radius > 15
    return None
