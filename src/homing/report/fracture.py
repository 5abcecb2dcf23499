"""What ``homing fracture lab`` made, as one HTML page: the same picture outside, and what is inside beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from homing.errors import InputError
from homing.fracture.gallery import Map
from homing.fracture.images import data_uri, grey
from homing.fracture.network import F64
from homing.fracture.scoreboard import published
from homing.fracture.sweeps import STEPS, Sweep
from homing.report.figures import both
from homing.report.render import page
from homing.report.svg.bars import Bar, bars
from homing.stats.estimate import Estimate

__all__ = ["NAMES", "Show", "Side", "render_genome", "render_lab"]

SCHEMA = "homing.fracture-lab/1"
GENOME = "homing.fracture-genome/1"
NAMES = {
    "x": "Reads x",
    "abs": "Reads |x|",
    "unified": "Built by hand",
    "random": "Not trained",
}
FOLDED = "Reads folded"
"""The name of the second where the symmetry is no mirror in x."""
LOOKS = {"x": "free", "abs": "home", "unified": "home", "random": "control"}
ALIKE = 0.1
"""A map of which less than this share of the variation differs over the symmetry is framed as alike."""
TESTS = {
    "gauge": ("Leaves what only looks different", "the same network, written down in other ways, scores the same"),
    "fracture": ("Follows fracture", "a known share of the network is taken apart, and the score goes with it"),
    "entanglement": ("Follows entanglement", "two tasks are mixed by a known amount, and the score goes with it"),
    "untrained": ("Scores nothing as nothing", "a network that was never trained is not called one thing"),
}
"""Key of a mark to its name and what it takes."""
STEP_WORDS = [f"{abs(s):.0%} of the way {'down' if s < 0 else 'up'}" if s else "as it is" for s in STEPS]


@dataclass(frozen=True, eq=False, slots=True)
class Side:
    """One network of a picture.

    Attributes:
        drawn: ``(side, side)``, what it draws. ``maps``: of its strongest units. ``sweeps``: of the weights at each rank; None
            where the weight cannot change the picture enough. ``broken``: share of matched changes that break the symmetry.
    """

    arm: str
    drawn: F64
    maps: tuple[Map, ...]
    sweeps: tuple[Sweep | None, ...]
    broken: Estimate | None

    @property
    def alike(self) -> int:
        """Maps that keep the symmetry."""
        return sum(m.broken < ALIKE for m in self.maps)


@dataclass(frozen=True, eq=False, slots=True)
class Show:
    """One picture. ``target``: ``(side, side)``. ``ranks``: in words, which weight each sweep is of. ``mirror``: in x.

    ``yours``: of a network that the user supplied, and no one of the laboratory's.
    """

    image: str
    words: str
    symmetry: str
    target: F64
    ranks: tuple[str, ...]
    sides: tuple[Side, ...]
    mirror: bool
    yours: bool = False

    def side(self, arm: str) -> Side | None:
        """One of the networks, or None."""
        return next((s for s in self.sides if s.arm == arm), None)

    def name(self, arm: str) -> str:
        """Of an arm, for this picture."""
        if self.yours:
            return "Your network"
        return FOLDED if arm == "abs" and not self.mirror else NAMES[arm]


def _figure(raw: Mapping[str, Any] | None) -> Estimate | None:
    return None if raw is None or raw["value"] is None else Estimate.from_json(dict(raw))


def _image(values: F64) -> str:
    return data_uri(grey(values))


def _tile(m: Map) -> str:
    return data_uri(grey(m.values, low=float(np.min(m.values)), high=float(np.max(m.values))))


def _kappas(rows: Sequence[Mapping[str, Any]], show: Show, name: str) -> Markup:
    """Kappa of every network of one picture with its interval."""
    many = len({r["seed"] for r in rows}) > 1
    shown = [
        Bar(
            show.name(r["arm"]) + (f", start {r['seed']}" if many and r["arm"] != "unified" else ""), e, LOOKS[r["arm"]]
        )
        for r in rows
        if (e := _figure(r["kappa"])) is not None
    ]
    if not shown:
        return Markup("")
    return both(lambda width: bars(shown, label=f"Unity of {name}", width=width, form="dot", include=(0.0, 1.0)))


def render_lab(found: Mapping[str, Any], shows: Sequence[Show]) -> str:
    """The page.

    Args:
        found: what ``homing fracture lab --json`` prints. ``shows``: pictures of it, in the order in which they are shown.

    Raises:
        InputError: it is something else.
    """
    if found.get("schema") != SCHEMA:
        raise InputError(
            f"this is {found.get('schema')!r}, and the page shows {SCHEMA}; give what `homing fracture lab --json` printed"
        )
    rows = {
        s.image: sorted(
            (r for r in found["pairs"] if r["image"] == s.image),
            key=lambda r: (list(NAMES).index(r["arm"]), r["seed"]),
        )
        for s in shows
    }
    gaps = {g["image"]: g for g in found["gaps"]}
    return page(
        "fracture.html.j2", found=found, shows=shows, rows=rows, gaps=gaps, kappas=_kappas, scoreboard=published(), tests=TESTS,
        **_SHOWN,
    )  # fmt: skip


_SHOWN: dict[str, Any] = {
    "figure": _figure, "image": _image, "tile": _tile, "steps": STEP_WORDS, "middle": STEPS.index(0.0), "alike": ALIKE
}  # fmt: skip


def render_genome(found: Mapping[str, Any], show: Show) -> str:
    """The page of one network.

    Args:
        found: what ``homing fracture genome --json`` prints. ``show``: the network about the symmetry that its picture keeps best.

    Raises:
        InputError: it is something else.
    """
    if found.get("schema") != GENOME:
        raise InputError(
            f"this is {found.get('schema')!r}, and the page shows {GENOME}; give what `homing fracture genome --json` printed"
        )
    shown = [
        Bar(str(r["symmetry"]), e, "free") for r in found["pairs"] if (e := _figure(r["kappa"])) is not None and not r["refused"]
    ]
    chart = both(lambda w: bars(shown, label="Unity by symmetry", width=w, form="dot", include=(0.0, 1.0))) if shown else None
    return page("genome.html.j2", found=found, s=show, side=show.sides[0], chart=chart, **_SHOWN)
