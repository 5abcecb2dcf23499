"""What ``homing return`` found, as one HTML page: does it come back, what brings it, and what that costs in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from homing.errors import InputError
from homing.report.figures import both
from homing.report.render import page
from homing.report.svg import interval_text, number
from homing.report.svg.bars import Bar, bars
from homing.report.svg.curves import Series, band_curve
from homing.report.svg.scatter import Dot, Rule, scatter
from homing.stats.estimate import Estimate

__all__ = ["render_return"]

SCHEMA = "homing.return/1"
NAMES = {
    "roleplay": "role-play", "emotional": "emotional talk", "own_errors": "its own errors",
    "false_premises": "false premises", "drip_fed": "drip-fed intent", "monitoring": "monitoring cue",
    "self_critique": "self-critique loop", "long_reflection": "long reflection", "all": "all pushes",
}  # fmt: skip
BESIDE = ("alarm", "inside_alarm", "elsewhere", "behaviour", "self_knowledge", "faces")
"""Findings of a push that are told in words, in this order."""


def _figure(raw: Mapping[str, Any] | None) -> Estimate | None:
    return None if raw is None else Estimate.from_json(dict(raw))


def _numbered(finding: Mapping[str, Any] | None, head: str) -> list[tuple[float, Estimate]]:
    """Estimates named ``<head><number>``, by number."""
    raw: Mapping[str, Any] = {} if finding is None else finding["estimates"]
    found = [(float(k.removeprefix(head)), Estimate.from_json(v)) for k, v in raw.items() if k.startswith(head)]
    return sorted(found, key=lambda p: p[0])


class _Push:
    """One push, as the page shows it."""

    def __init__(self, name: str, found: Mapping[str, Any]) -> None:
        self.key, self.name = name, NAMES.get(name, name)
        self.restoring = found["restoring"].get(name)
        self.tether = found["tether"].get(name)
        self.qualifies = found["qualifies"].get(name)
        by_name = {f["name"]: f for f in found["findings"]}
        self.beside = [f for what in BESIDE if (f := by_name.get(f"return.{what}.{name}")) is not None]
        self.nudged = self.tether is not None and self.tether["regime"] == "measured"
        arms = [a for a in found["arms"] if a["push"] == name]
        self.arms = [a for a in arms if a["facet"] == "all"]
        self.facets = [a for a in arms if a["facet"] != "all" and a["reading"] == "off"]

    def curve(self) -> list[tuple[float, Estimate]]:
        """Distance after each number of neutral turns."""
        return _numbered(self.restoring, "after_")

    def doses(self) -> list[tuple[float, Estimate]]:
        """Distance after each number of nudging sentences."""
        return _numbered(self.tether, "dose_")

    def arm(self, hold: str, reading: str = "off") -> Mapping[str, Any] | None:
        """The arm of one hold over all facets."""
        return next((a for a in self.arms if a["hold"] == hold and a["reading"] == reading), None)

    def holds(self) -> list[str]:
        """Those tried, those that bring most first."""
        names = dict.fromkeys(a["hold"] for a in self.arms)

        def back(h: str) -> float:
            e = _figure((self.arm(h) or {}).get("return_share"))
            return -e.value if e is not None else math.inf

        return sorted(names, key=back)


def _restoring(pushes: Sequence[_Push]) -> Markup:
    panels = [
        band_curve(
            [Series("", tuple(p.curve()), class_="free")],
            label=f"Distance from home by neutral turns after {p.name}", title=p.name, x_title="neutral turns",
            y_range=_range(pushes), lines=(0.0,), x_ticks=[x for x, _ in p.curve()],
        )
        for p in pushes
        if p.curve()
    ]  # fmt: skip
    return Markup("").join(panels)


def _range(pushes: Sequence[_Push]) -> tuple[float, float]:
    ends = [v for p in pushes for _, e in p.curve() for v in (e.low, e.high) if math.isfinite(v)]
    return min(0.0, *ends) * 1.05, max(1.0, *ends) * 1.05


def _tether(pushes: Sequence[_Push]) -> Markup:
    panels = [
        band_curve(
            [Series("", tuple(p.doses()), class_="free")],
            label=f"Distance from home by nudging sentences, {p.name}", title=p.name, x_title="sentences", lines=(0.0,),
            x_ticks=[x for x, _ in p.doses()],
        )
        for p in pushes
        if p.doses()
    ]  # fmt: skip
    return Markup("").join(panels)


def _shares(p: _Push, key: str) -> Markup:
    rows = [
        Bar(f"{h}{'' if reading == 'off' else ', in force'}", e, "held" if h != "sham" else "control")
        for h in p.holds()
        for reading in ("off", "on")
        if (a := p.arm(h, reading)) is not None and (e := _figure(a[key])) is not None
    ]
    if not rows:
        return Markup("")
    return both(lambda width: bars(rows, label=f"{key} after {p.name}", width=width, spec=".0%", form="dot"))


def _memory(p: _Push) -> Markup:
    dots = [
        Dot(
            0.0, 0.0, "nothing done", "nothing done: 0% of the way back, nothing forgotten", "free", rank=0, strong=True
        )
    ]
    for k, h in enumerate(p.holds()):
        a = p.arm(h)
        back, kept = (_figure((a or {}).get(x)) for x in ("return_share", "memory"))
        if back is None or kept is None:
            continue
        tip = f"{h}: {back:z.0%} of the way back, memory {kept:+z.0%}"
        look, ends = "held" if h != "sham" else "control", ((kept.low, kept.high), (back.low, back.high))
        dots.append(Dot(kept.value, back.value, h, tip, look, rank=k + 1, x_ends=ends[0], y_ends=ends[1]))
    if len(dots) < 2:
        return Markup("")
    return both(
        lambda width: scatter(
            dots, label=f"Return against memory after {p.name}", width=width, height=360,
            x_title="facts remembered, against nothing done", y_title="share of the way back",
            rules=[Rule(0.0, "as with nothing done")],
        )
    )  # fmt: skip


def render_return(found: Mapping[str, Any]) -> str:
    """The page.

    Args:
        found: what ``homing return --json`` prints.

    Raises:
        InputError: it is something else.
    """
    if found.get("schema") != SCHEMA:
        raise InputError(
            f"this is {found.get('schema')!r}, and the page shows {SCHEMA}; give what `homing return --json` printed"
        )
    pushes = [_Push(name, found) for name in found["restoring"]]
    none = next((f for f in found["findings"] if f["regime"] == "not_measurable" and f["name"] == "return"), None)
    return page(
        "return.html.j2", found=found, pushes=pushes, refused=none, restoring=_restoring, tether=_tether, shares=_shares,
        memory=_memory, figure=_figure, interval_text=interval_text, number_text=number,
    )  # fmt: skip
