"""A small library of charts as SVG text: scatter, curves with bands, bars with whiskers, timeline, token heat line."""

from __future__ import annotations

from homing.report.svg.bars import Bar, bars, heat_line
from homing.report.svg.base import interval_text, number, tip
from homing.report.svg.curves import Flag, Range, Series, Span, band_curve, timeline
from homing.report.svg.scatter import SHAPES, Dot, Rule, scatter

__all__ = [
    "SHAPES",
    "Bar",
    "Dot",
    "Flag",
    "Range",
    "Rule",
    "Series",
    "Span",
    "band_curve",
    "bars",
    "heat_line",
    "interval_text",
    "number",
    "scatter",
    "timeline",
    "tip",
]
