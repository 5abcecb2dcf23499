"""What ``homing fracture lab`` or ``genome`` made, as one HTML page: a picture outside, and what is inside beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from homing.errors import InputError
from homing.fracture.gallery import Map
from homing.fracture.images import data_uri, grey
from homing.fracture.marks import Board, load_board
from homing.fracture.network import F64
from homing.fracture.sweeps import STEPS, Sweep
from homing.report.figures import both
from homing.report.render import page
from homing.report.svg import Bar, Rule, bars, number, tip
from homing.stats.estimate import Estimate

__all__ = ["NAMES", "Show", "Side", "render_genome", "render_lab"]

SCHEMA = "homing.fracture-lab/1"
GENOME = "homing.fracture-genome/1"
NAMES = {
    "x": "Reads x",
    "abs": "Reads |x|",
    "unified": "Built by hand",
    "random": "Not trained",
    "genome": "This network",
}
FOLDED = "Reads folded"
"""The name of the second where the symmetry is no mirror in x."""
LOOKS = {"x": "free", "abs": "home", "unified": "home", "random": "control"}
ALIKE = 0.1
"""A map of which less than this share of the variation differs over the symmetry is framed as alike."""
GLYPHS = {"pass": "\u2713", "fail": "\u2717", "none": "\u2013"}
STANDS = {"pass": "pass", "fail": "fail", "none": "n/a"}
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
    """One picture. ``target``: ``(side, side)``. ``ranks``: in words, which weight each sweep is of. ``mirror``: in x."""

    image: str
    words: str
    symmetry: str
    target: F64
    ranks: tuple[str, ...]
    sides: tuple[Side, ...]
    mirror: bool

    def side(self, arm: str) -> Side | None:
        """One of the networks, or None."""
        return next((s for s in self.sides if s.arm == arm), None)

    def name(self, arm: str) -> str:
        """Of an arm, for this picture."""
        return FOLDED if arm == "abs" and not self.mirror else NAMES[arm]


def _figure(raw: Mapping[str, Any] | None) -> Estimate | None:
    return None if raw is None or raw["value"] is None else Estimate.from_json(dict(raw))


def _image(values: F64) -> str:
    return data_uri(grey(values))


def _tile(m: Map) -> str:
    return data_uri(grey(m.values, low=float(np.min(m.values)), high=float(np.max(m.values))))


def _dots(rows: Sequence[tuple[str, str, Mapping[str, Any]]], of: str) -> Markup:
    """Kappa with its interval of each row (name, look, what the JSON says of it), between unrelated points and one thing."""
    shown = list[Bar]()
    for name, look, row in rows:
        e = _figure(row["kappa"])
        if e is None:
            continue
        pairs, null = _figure(row["coupling"]), _figure(row["null"])
        shared = (
            ""
            if pairs is None or null is None
            else f"pairs share {number(pairs.value)}, unrelated {number(null.value)}"
        )
        shown.append(Bar(name, e, look, tip(name, f"unity {number(e.value)}", shared, f"{e.n} pairs")))
    if not shown:
        return Markup("")
    rules = (Rule(0.0, "unrelated points"), Rule(1.0, "one mechanism", "home"))
    return both(
        lambda width: bars(
            shown, label=f"Unity of {of}", width=width, form="dot", include=(0.0, 1.0), rules=rules, x_title="unity"
        )
    )


def _kappas(rows: Sequence[Mapping[str, Any]], show: Show, name: str) -> Markup:
    """Kappa of every network of one picture with its interval."""
    many = len({r["seed"] for r in rows}) > 1
    return _dots(
        [
            (
                show.name(r["arm"]) + (f", start {r['seed']}" if many and r["arm"] != "unified" else ""),
                LOOKS[r["arm"]],
                r,
            )
            for r in rows
        ],
        name,
    )


def _common() -> dict[str, Any]:
    """What every page of the room shows in one way."""
    board = load_board()
    return {
        "figure": _figure, "image": _image, "tile": _tile, "steps": STEP_WORDS, "alike": ALIKE,
        "board": board, "glyphs": GLYPHS, "stands": STANDS, "perfect": _perfect(board),
    }  # fmt: skip


def _perfect(board: Board) -> list[str]:
    return [s.title.removesuffix(" (ours)") for s in board.scores if all(m.stand != "fail" for m in s.marks)]


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
    return page("fracture.html.j2", found=found, shows=shows, rows=rows, gaps=gaps, kappas=_kappas, **_common())


def render_genome(found: Mapping[str, Any], show: Show, *, most: float) -> str:
    """The page of one network that the user supplied.

    Args:
        found: what ``homing fracture genome --json`` prints. ``show``: its one side, about the symmetry its picture keeps best.
        most: share of the variation that a symmetry may break before there is no pairing.

    Raises:
        InputError: it is something else.
    """
    if found.get("schema") != GENOME:
        raise InputError(
            f"this is {found.get('schema')!r}, and the page shows {GENOME}; give what `homing fracture genome --json` printed"
        )
    rows = [r for r in found["pairs"] if r["broken"] <= most]
    return page(
        "genome.html.j2",
        found=found,
        show=show,
        side=show.sides[0],
        most=most,
        nearest=min(found["pairs"], key=lambda r: r["broken"])["symmetry"],
        paired=[r["concept"].removeprefix("the same ") for r in rows],
        chart=_dots([(r["symmetry"], "home", r) for r in rows], str(found["file"])),
        **_common(),
    )
