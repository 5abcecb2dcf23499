from __future__ import annotations

import math
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from homing.report.svg import Bar, Dot, Flag, Range, Series, band_curve, bars, heat_line, number, scatter, timeline
from homing.report.svg.bars import heat_levels
from homing.report.svg.base import Box, Scale, extent, place_labels
from homing.stats.estimate import Estimate

E = Estimate(0.5, 0.4, 0.6, 0.95, 10)
OPEN = Estimate(0.5, -math.inf, math.inf, 0.95, 10)
NONE = Estimate(math.nan, -math.inf, math.inf, 0.95, 0)


def test_numbers_are_for_people() -> None:
    assert number(-0.001) == "0.00"
    assert number(0.001, "+.2f") == "0.00"
    assert number(-0.25) == "\u22120.25"
    assert number(math.nan) == "–"
    assert number(0.87, ".0%") == "87%"


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_inside_and_even(low: float, width: float) -> None:
    ticks = Scale(low, low + width, 0, 100).ticks(5)
    assert all(low - width * 1e-3 <= t <= low + width * 1.001 for t in ticks)
    assert len(ticks) <= 7


def test_scale_is_linear_and_clips() -> None:
    s = Scale(0, 2, 10, 30)
    assert (s(0), s(1), s(2)) == (10, 20, 30)
    assert s.clip(math.inf) == 30
    assert extent([math.nan, math.inf]) == (0.0, 1.0)


@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 300)), max_size=30))
def test_labels_never_overlap(points: list[tuple[float, float]]) -> None:
    bounds = Box(0, 0, 400, 300)
    labels = place_labels([(x, y, "a label") for x, y in points], taken=[], bounds=bounds)
    assert all(lab.box.inside(bounds) for lab in labels)
    assert not any(a.box.overlaps(b.box) for i, a in enumerate(labels) for b in labels[:i])


def test_every_chart_is_well_formed_with_gaps_and_open_ends() -> None:
    points = ((1.0, E), (2.0, OPEN), (3.0, NONE))
    series = [Series("<a>", points, "free", ("x", "y", "z"))]
    charts = [
        scatter([Dot(0.1, 0.2, "<b>", '"&', rank=1), Dot(math.nan, 1, "c", "d")], label="<l>"),
        scatter([], label="empty"),
        band_curve(series, label="l", title="<t>"),
        band_curve([], label="empty"),
        timeline(series, label="l", flags=[Flag(2, math.inf, "EWMA", "tip")], ranges=[Range(1, 0, 1)]),
        timeline([], label="empty"),
        bars([Bar("a", E), Bar("b", OPEN), Bar("c", NONE)], label="l", width=340),
        bars([], label="empty"),
    ]
    for chart in charts:
        root = ET.fromstring(chart)
        assert root.tag == "svg"
        assert "nan" not in chart and "inf" not in chart.replace("infinite", "")


def test_heat_is_zero_only_where_nothing_moved() -> None:
    assert heat_levels([0, 0.001, 0.5, -1.0, 2.0], top=1.0) == [0, 1, 3, 6, 6]
    assert heat_levels([0, 0]) == [0, 0]
    line = heat_line([("a", 0.0), ("<b>", 0.5), ("c", math.nan)])
    assert "<b>" not in line and 'class="heat h6"' in line
    assert line.count("<span") == 3
