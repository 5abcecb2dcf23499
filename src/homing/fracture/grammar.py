"""Pictures of our own, each a graph written by hand: features that a symmetry leaves alone, parts made of them, a composition.

A part that is seen twice is made once: what tells left from right is lost in the first units, so that the network is unified by
construction about the symmetries that the picture declares. They are no evolved pictures and stand for none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from homing.errors import InputError
from homing.fracture.graph import Graph, Unit
from homing.fracture.grids import INPUTS, SYMMETRIES, Symmetry, inputs
from homing.fracture.network import F64

__all__ = ["PICTURES", "Picture", "picture"]

Reads = Mapping[str, float]


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """One picture; brightness alone, from 0 to 1.

    Attributes:
        words: what is seen. ``symmetries``: all of :data:`SYMMETRIES` that it has, the one that is measured first.
    """

    name: str
    words: str
    symmetries: tuple[str, ...]
    graph: Graph

    @property
    def concept(self) -> Symmetry:
        """The symmetry that is measured."""
        return SYMMETRIES[self.symmetries[0]]

    def __call__(self, plane: F64) -> F64:
        """Brightness at points ``(n, 2)`` of (y, x), ``(n, 1)``."""
        return self.graph(inputs(plane))


class _Draft:
    """A graph while it is written."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}

    def unit(self, kind: str, reads: Reads) -> str:
        name = f"{kind}{len(self.units)}"
        self.units[name] = Unit(kind, dict(reads))
        return name

    def near(self, width: float, **reads: float) -> str:
        """1 where what it reads is 0, down to -1 some ``width`` away."""
        return self.unit("gaussian", {k: w / width for k, w in reads.items()})

    def both(self, *features: str, sharp: float = 7.0) -> str:
        """1 where every feature is near 1, else -1."""
        return self.unit("sigmoid", {**dict.fromkeys(features, sharp), "b": -sharp * (len(features) - 1)})

    def over(self, sharp: float, **reads: float) -> str:
        """1 where what it reads is above 0, -1 below."""
        return self.unit("sigmoid", {k: w * sharp for k, w in reads.items()})

    def shaded(self, base: float, **parts: float) -> Graph:
        """Parts, each with what it adds where it is and takes where it is not, as brightness."""
        tone = self.unit("sigmoid", {**parts, "b": base})
        last = self.unit("identity", {tone: 0.5, "b": 0.5})
        return Graph(INPUTS, self.units, (last,))


def _mask(g: _Draft) -> Graph:
    side = g.unit("abs", {"x": 1})
    head = g.both(g.near(0.95, x=1), g.near(1.1, y=1, b=0.05))
    eye = g.both(g.near(0.21, **{side: 1, "b": -0.36}), g.near(0.2, y=1, b=0.22))
    pupil = g.both(g.near(0.1, **{side: 1, "b": -0.32}), g.near(0.1, y=1, b=0.2))
    brow = g.both(g.near(0.3, **{side: 1, "b": -0.38}), g.near(0.09, y=1, b=0.5, **{side: -0.25}))
    nose = g.both(g.near(0.14, x=1), g.near(0.2, y=1, b=-0.14))
    mouth = g.both(g.near(0.5, x=1), g.near(0.14, y=1, b=-0.62, **{side: 0.3}))
    tooth = g.both(mouth, g.unit("cos", {side: 19.0}))
    return g.shaded(-5.2, **{head: 2.6, eye: -2.6, pupil: 2.9, brow: -2.2, nose: -2.0, mouth: -2.4, tooth: 2.2})


def _moth(g: _Draft) -> Graph:
    side = g.unit("abs", {"x": 1})
    upper = g.both(g.near(0.5, **{side: 1, "y": 0.35, "b": -0.38}), g.near(0.45, y=1, b=0.3, **{side: 0.25}))
    lower = g.both(g.near(0.34, **{side: 1, "b": -0.36}), g.near(0.36, y=1, b=-0.42))
    body = g.both(g.near(0.1, x=1), g.near(0.8, y=1))
    spot = g.both(g.near(0.16, **{side: 1, "b": -0.52}), g.near(0.16, y=1, b=0.34))
    eyelet = g.both(g.near(0.12, **{side: 1, "b": -0.4}), g.near(0.12, y=1, b=-0.45))
    vein = g.both(upper, g.unit("cos", {side: 13.0, "y": 9.0}))
    feeler = g.both(g.near(0.07, **{side: 1, "y": 0.7, "b": 0.45}), g.near(0.25, y=1, b=0.85))
    return g.shaded(-4.1, **{upper: 2.2, lower: 2.0, body: -2.4, spot: -2.6, eyelet: -2.2, vein: -1.0, feeler: 2.4})


def _lake(g: _Draft) -> Graph:
    high = g.unit("abs", {"y": 1})
    ridge = g.unit("sin", {"x": 3.4, "b": 0.6})
    crag = g.unit("cos", {"x": 8.5, "b": -0.4})
    hill = g.over(22.0, **{high: -1, ridge: 0.17, crag: 0.05, "b": 0.34})
    near_hill = g.over(22.0, **{high: -1, ridge: -0.14, "x": -0.2, "b": 0.16})
    moon = g.both(g.near(0.2, x=1, b=0.45), g.near(0.2, **{high: 1, "b": -0.66}))
    shore = g.near(0.05, **{high: 1})
    stars = g.both(g.unit("cos", {"x": 15.0, "b": 0.9}), g.unit("cos", {high: 17.0, "x": 5.0}), sharp=5.0)
    sky = g.both(stars, g.near(0.4, **{high: 1, "b": -0.95}))
    return g.shaded(4.4, **{hill: -1.6, near_hill: 0.8, moon: 2.6, shore: 1.2, sky: 1.6})


def _tile(g: _Draft) -> Graph:
    side, high = g.unit("abs", {"x": 1}), g.unit("abs", {"y": 1})
    lobe = g.both(g.near(0.3, **{side: 1, "b": -0.55}), g.near(0.42, **{high: 1, "b": -0.4}))
    heart = g.both(g.near(0.13, **{side: 1, "b": -0.58}), g.near(0.2, **{high: 1, "b": -0.4}))
    bar = g.both(g.near(0.16, x=1), g.near(0.95, y=1))
    beam = g.both(g.near(0.85, x=1), g.near(0.1, y=1))
    ring = g.near(0.1, d=1, b=-0.42)
    frame = g.over(16.0, **{side: 0.5, high: 1.0, "b": -1.22})
    return g.shaded(0.4, **{lobe: 2.0, heart: -2.3, bar: 1.4, beam: 1.2, ring: -1.5, frame: 1.4})


def _wave(g: _Draft) -> Graph:
    bend = g.unit("sin", {"x": 3.2})
    away = g.unit("abs", {"y": 1, bend: -0.5})  # odd under half a turn, and without its sign even
    band = g.near(0.2, **{away: 1})
    rim = g.near(0.07, **{away: 1, "b": -0.34})
    along = g.unit("abs", {"x": 0.75, "y": 0.65})
    drop = g.both(g.near(0.24, **{along: 1, "b": -0.85}), g.near(0.28, x=0.65, y=-0.75))
    eye = g.both(g.near(0.11, **{along: 1, "b": -0.85}), g.near(0.12, x=0.65, y=-0.75))
    comb = g.both(band, g.unit("cos", {"x": 11.0, "y": 4.0}))
    edge = g.over(9.0, d=1, b=-1.35)
    return g.shaded(1.2, **{band: 1.8, rim: 1.3, drop: 2.2, eye: -2.4, comb: -1.6, edge: -0.9})


def _leaf(g: _Draft) -> Graph:
    along = g.unit("identity", {"x": 0.7, "y": 0.7})
    aside = g.unit("abs", {"x": 0.7, "y": -0.7})
    blade = g.both(g.near(0.95, **{along: 1}), g.near(0.46, **{aside: 1, along: 0.25}))
    rib = g.both(g.near(0.06, **{aside: 1}), g.near(1.05, **{along: 1, "b": 0.1}))
    vein = g.both(blade, g.unit("cos", {aside: 9.0, along: -13.0}))
    berry = g.both(g.near(0.17, **{aside: 1, "b": -0.62}), g.near(0.17, **{along: 1, "b": -0.15}))
    shade = g.both(g.near(0.12, **{aside: 1, "b": -0.66}), g.near(0.12, **{along: 1, "b": -0.2}))
    ground = g.over(6.0, **{along: 1, "b": -0.95})
    return g.shaded(-0.8, **{blade: 1.7, rib: -1.8, vein: -1.1, berry: 2.4, shade: -1.5, ground: 0.9})


def _pinwheel(g: _Draft) -> Graph:
    one, two = g.near(0.5, x=1.0, y=0.55), g.near(0.5, y=1.0, x=-0.55)  # a quarter of a turn takes one to the other
    arms = g.unit("identity", {one: 1, two: 1})
    fine = g.unit("identity", {g.unit("cos", {"x": 6.0, "y": 2.5}): 1, g.unit("cos", {"y": 6.0, "x": -2.5}): 1})
    sail = g.over(4.0, **{arms: 1, "b": 0.35})
    knot = g.near(0.3, **{arms: 1, "b": -0.75})
    fleck = g.over(5.0, **{fine: 1, "b": -0.75})
    hub = g.near(0.3, d=1)
    edge = g.over(10.0, d=1, b=-1.3)
    stain = g.both(fleck, g.near(0.35, d=1, b=-0.85))
    return g.shaded(0.0, **{sail: 1.4, knot: -0.8, fleck: 0.7, hub: 1.5, edge: -1.3, stain: -1.2})


def _flower(g: _Draft) -> Graph:
    side, high = g.unit("abs", {"x": 1}), g.unit("abs", {"y": 1})
    askew = g.unit("abs", {side: 1, high: -1})
    petal = g.over(9.0, d=-1, b=0.62, **{askew: 0.55})
    crease = g.both(g.near(0.06, **{askew: 1, "b": -0.18}), g.near(0.5, d=1, b=-0.6))
    middle = g.near(0.26, d=1)
    dots = g.both(g.near(0.12, **{askew: 1}), g.near(0.12, d=1, b=-0.98))
    rings = g.unit("cos", {"d": 16.0, askew: 5.0})
    outer = g.both(rings, g.near(0.3, d=1, b=-1.3))
    corner = g.over(12.0, **{side: 1, high: 1, "b": -1.6})
    return g.shaded(0.5, **{petal: 1.8, crease: -1.1, middle: -1.9, dots: 2.1, outer: 1.0, corner: 1.0})


_ALL: Sequence[tuple[str, str, tuple[str, ...], Callable[[_Draft], Graph]]] = (
    ("mask", "a face", ("left-right",), _mask),
    ("moth", "a moth", ("left-right",), _moth),
    ("lake", "hills and a moon in a lake", ("up-down",), _lake),
    ("tile", "a tile", ("left-right", "up-down", "half-turn"), _tile),
    ("wave", "a wave with two drops", ("half-turn",), _wave),
    ("leaf", "a leaf with two berries", ("diagonal",), _leaf),
    ("pinwheel", "a pinwheel", ("quarter-turn", "half-turn"), _pinwheel),
    ("flower", "a flower", ("left-right", "up-down", "half-turn", "diagonal", "quarter-turn"), _flower),
)

PICTURES: dict[str, Picture] = {name: Picture(name, words, has, draw(_Draft())) for name, words, has, draw in _ALL}
"""By name; eight, of seven groups of symmetries."""


def picture(name: str) -> Picture:
    """A picture by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in PICTURES:
        raise InputError(f"picture {name!r} is unknown; use one of {', '.join(PICTURES)}")
    return PICTURES[name]
