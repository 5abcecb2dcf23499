"""The charts of claim 3's reflection: what it gains against a vote, where answers go, and when they have settled."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from homing.report.figures import both, said
from homing.report.proving import Claim, Line
from homing.report.proving_figures import Panel
from homing.report.svg import tip
from homing.report.svg.bars import Bar, bars
from homing.report.svg.base import el, number, svg, text_width
from homing.report.svg.curves import Series, band_curve
from homing.stats.estimate import Estimate

__all__ = ["reflection"]

BANDS = {
    "tt": ("right and stays right", "home"), "tf": ("right, then wrong", "free"), "ft": ("wrong, then right", "held"),
    "ff_other": ("wrong, then wrong otherwise", "k1"), "ff_same": ("wrong and stays so", "control"),
}  # fmt: skip
"""What becomes of the first answer, from top to bottom, with its colour."""


def reflection(c: Claim, level: str) -> list[Panel]:
    """The panels of a level."""
    return [_gain(c, level), _flow(c, level), _settling(c, level)]


def _look(hold: str) -> str:
    return "control" if hold == "sham" else "held"


def _why(line: Line | None) -> str:
    return "it was not played" if line is None else line.reason or "too little of it could be measured to draw a chart"


def _panel(c: Claim, level: str, title: str, finding: str, key: str, chart: Markup | None, caption: str) -> Panel:
    line = c.line(finding, key, level=level)
    if chart is None:
        return Panel(title, Markup(""), reason=_why(line))
    return Panel(title, chart, caption, line.verdict if line is not None and line.estimate is not None else "")


def _gain(c: Claim, level: str) -> Panel:
    rows = [
        Bar(name, e, style, tip(name, said(e), f"n {e.n}"))
        for key, name, style in (("net", "reflection", "free"), ("vote", "a vote, same tokens", "twin"))
        if (e := c.figure("gain", key, level=level)) is not None
    ]
    rows += [
        Bar(f"change with {h}", e, _look(h), tip(h, said(e), f"n {e.n}"))
        for h in c.holds
        if (e := c.figure("answer", "accuracy", level=level, hold=h)) is not None
    ]
    title = "Accuracy gained from the first answer to the last"
    chart = (
        both(lambda width: bars(rows, label=title, width=width, form="dot", spec="+.2f"))
        if c.figure("gain", "net", level=level) is not None
        else None
    )
    caption = (
        "Above: the last answer less the first, and the vote of as many independent first answers as the same tokens buy. Below:"
        " how a hold changes the last answer. Points of accuracy, 0 to 1, with 95% intervals over questions."
        if len(rows) > 2
        else "The last answer less the first, and the vote of as many independent first answers as the same tokens buy, with 95%"
        " intervals over questions."
    )
    return _panel(c, level, title, "gain", "excess", chart, caption)


def _flow(c: Claim, level: str) -> Panel:
    found = {k: e for k in BANDS if (e := c.figure("flow", k, level=level)) is not None}
    title = "Where the first answer goes"
    chart = both(lambda width: flow(found, label=title, width=width)) if len(found) == len(BANDS) else None
    caption = (
        "Each band is a share of replies, from its first stated answer at the left to its last at the right. Reflection changes"
        " accuracy only where a band crosses."
    )
    return _panel(c, level, title, "flow", "tt", chart, caption)


def flow(shares: Mapping[str, Estimate], *, label: str, width: float = 880) -> Markup:
    """Bands from what first answers are to what last ones are, as thick as their shares.

    Args:
        shares: one for each of :data:`BANDS`; together 1.
    """
    narrow = width < 500
    tall, gap, top = 230.0, 18.0, 26.0
    x0, x1 = (82.0, width - 82.0) if narrow else (130.0, width - 370.0)
    size = {k: tall * shares[k].value for k in BANDS}
    first = _stack(size, (("tt", "tf"), ("ft", "ff_other", "ff_same")), top, gap)
    last = _stack(size, (("tt", "ft"), ("tf", "ff_other", "ff_same")), top, gap)
    out = [
        el("text", "first answer", class_="axis", x=x0, y=12.0, text_anchor="middle"),
        el("text", "last answer", class_="axis", x=x1, y=12.0, text_anchor="middle"),
    ]
    half = (x0 + x1) / 2
    for k, (name, style) in BANDS.items():
        a, b, h = first[k], last[k], size[k]
        if h <= 0:
            continue
        path = (
            f"M{x0:.1f},{a:.1f} C{half:.1f},{a:.1f} {half:.1f},{b:.1f} {x1:.1f},{b:.1f} V{b + h:.1f}"
            f" C{half:.1f},{b + h:.1f} {half:.1f},{a + h:.1f} {x0:.1f},{a + h:.1f} Z"
        )
        e = shares[k]
        out.append(el("path", class_=f"flow {style}", d=path, data_tip=tip(name, said(e), f"n {e.n}")))
    for x, side, at in ((x0 - 8, (("tt", "tf"), ("ft", "ff_other", "ff_same")), first),
                        (x1 + 8, (("tt", "ft"), ("tf", "ff_other", "ff_same")), last)):  # fmt: skip
        for name, group in zip(("right", "wrong"), side, strict=True):
            share = sum(shares[k].value for k in group)
            y = min(at[k] for k in group) + sum(size[k] for k in group) / 2
            anchor = "end" if x < half else "start"
            out.append(
                el("text", f"{name} {number(100 * share, '.0f')}%", class_="name", x=x, y=y + 4, text_anchor=anchor)
            )
    out += _named(shares, x1, width, top) if not narrow else _below(shares, top + tall + gap + 22)
    height = top + tall + gap + (10 if not narrow else 30 + 20 * len(BANDS))
    return svg(width, height, *out, label=label, class_="flows")


def _stack(size: Mapping[str, float], groups: tuple[tuple[str, ...], ...], top: float, gap: float) -> dict[str, float]:
    """Where each band begins at one side."""
    out: dict[str, float] = {}
    y = top
    for group in groups:
        for k in group:
            out[k] = y
            y += size[k]
        y += gap
    return out


def _words(name: str, e: Estimate) -> str:
    return f"{name}: {number(100 * e.value, '.0f')}% ({number(100 * e.low, '.0f')} to {number(100 * e.high, '.0f')})"


def _key(shares: Mapping[str, Estimate], x: float, y: float) -> list[Markup]:
    out: list[Markup] = []
    for n, (k, (name, style)) in enumerate(BANDS.items()):
        out.append(el("rect", class_=f"flow {style}", x=x, y=y + 20 * n - 10, width=12.0, height=12.0))
        out.append(el("text", _words(name, shares[k]), class_="tick", x=x + 18, y=y + 20 * n))
    return out


def _named(shares: Mapping[str, Estimate], x1: float, width: float, top: float) -> list[Markup]:
    """The key at the right, as far right as its longest line lets it stand."""
    wide = max(text_width(_words(name, shares[k])) for k, (name, _) in BANDS.items()) + 18
    return _key(shares, max(x1 + 92, width - wide), top + 60)


def _below(shares: Mapping[str, Estimate], y: float) -> list[Markup]:
    return _key(shares, 8.0, y)


def _settling(c: Claim, level: str) -> Panel:
    title = "When the answer has settled, sentence by sentence"
    settled = c.numbered("settling", "settled_", level=level)
    right = c.numbered("settling", "right_", level=level)
    chart: Markup | None = None
    if len(settled) > 1 and len(right) == len(settled):
        series = [
            Series(name, tuple(points), class_=style, shape=shape,
                   tips=tuple(tip(f"{name}, {x:.0f} sentences said", said(e), f"n {e.n}") for x, e in points))
            for name, points, style, shape in (("is right", right, "home", "square"), ("has settled", settled, "free", "circle"))
        ]  # fmt: skip
        chart = both(
            lambda width: band_curve(
                series, label=title, width=width, height=260, x_title="sentences said", y_range=(-0.02, 1.04),
                x_ticks=[x for x, _ in settled if width > 500 or x % 2 == 0],
            )
        )  # fmt: skip
    caption = (
        "The answer asked for at once, in a fork behind each sentence: whether it stays what it is from then on, and whether it"
        " is right. Where the curve of settled answers is high, what is still to come changes nothing. Bands are 95% intervals."
    )
    return _panel(c, level, title, "settling", "idle", chart, caption)
