"""Charts of home as a concept: how alike its directions are in different contexts, beside what noise alone would leave."""

from __future__ import annotations

from markupsafe import Markup

from homing.report.figures import both, said
from homing.report.model import ConceptPair, ConceptWay
from homing.report.svg import Bar, bars, number, tip
from homing.report.svg.base import el
from homing.report.svg.scatter import mark

__all__ = ["MOST", "RAW", "ceiling_mark", "concept_pairs", "raw_mark"]

MOST = 10
"""Pairs in the chart; the table below has all."""
RAW, CEILING = "square", "diamond"


def _sample(shape: str) -> Markup:
    return el("svg", mark(shape, 6, 6, 4, class_="beside"), width="12", height="12", aria_hidden="true")


def raw_mark() -> Markup:
    """A small sample of the mark of a raw cosine."""
    return _sample(RAW)


def ceiling_mark() -> Markup:
    """A small sample of the mark of the ceiling."""
    return _sample(CEILING)


def _bar(p: ConceptPair) -> Bar:
    name = f"{p.first} / {p.second}"
    words = tip(
        name, f"corrected {said(p.cosine)}", f"raw {said(p.raw)}", f"one direction would show {number(p.ceiling.value)}"
    )
    return Bar(name, p.cosine, "home", words, ((RAW, p.raw.value), (CEILING, p.ceiling.value)))


def concept_pairs(way: ConceptWay) -> Markup:
    """Corrected cosine of each pair with its interval; the raw one and the ceiling as marks beside it."""
    rows = [_bar(p) for p in way.pairs[:MOST]]
    if not rows:
        return Markup("")
    return both(
        lambda width: bars(
            rows,
            label=f"Corrected cosine of home's directions in two contexts at a time: {way.title}",
            width=width,
            form="dot",
            x_title="cosine: 1 is one direction, 0 is nothing in common",
            include=(0.0, 1.0),
        )
    )
