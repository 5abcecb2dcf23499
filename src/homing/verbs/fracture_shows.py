"""What the page of ``homing fracture lab`` shows: drawings, feature maps and sweeps of the networks of the first start."""

from __future__ import annotations

from homing.errors import InputError
from homing.fracture.gallery import feature_maps, strongest
from homing.fracture.grammar import Picture, picture
from homing.fracture.grids import coordinates
from homing.fracture.pairs import reads, target
from homing.fracture.sweeps import broken_share, ranked, sweep
from homing.report.fracture import Show, Side
from homing.verbs.fracture import Lab, Net
from homing.verbs.progress import Progress

__all__ = ["RANKS", "shows_of"]

RANKS = {0.0: "the weight that matters most", 0.1: "a weight that one in ten outdoes", 0.5: "a weight in the middle"}
"""Rank, as a share of all weights that do anything, and what it is called."""
MAPS, WEIGHTS = 24, 30


def shows_of(lab: Lab, progress: Progress) -> list[Show]:
    """Every picture of a lab, those of more gap first."""
    gaps = {g["image"]: g["least_gap"] for g in lab.found["gaps"]}
    order = sorted(gaps, key=lambda i: -(gaps[i] if gaps[i] is not None else -9.0))
    progress.start(total=len(order), unit="pictures", title="sweeping weights for the page")
    out, size = list[Show](), lab.size.side
    for image in order:
        p = picture(image)
        nets = [lab.net(image, arm) for arm in ("x", "abs", "unified")]
        out.append(
            Show(
                image, p.words, p.concept.words, target(p, size).reshape(size, size), tuple(RANKS.values()),
                tuple(_side(n, p, size) for n in nets if n is not None), p.concept.name == "left-right",
            )
        )  # fmt: skip
        progress.advance()
    return out


def _side(net: Net, p: Picture, size: int) -> Side:
    """At the pixels that the loss is about: between them networks of one loss differ more."""
    drawn = net.network(reads(p, net.arm, coordinates(size))).reshape(size, size)
    order = ranked(net.network, reads(p, net.arm, coordinates(size)))
    sweeps = tuple(sweep(net.network, p, net.arm, order[int(r * (len(order) - 1))].tolist(), side=size) for r in RANKS)
    try:
        broken = broken_share(net.network, p, net.arm, weights=WEIGHTS)[0]
    except InputError:
        broken = None  # the page says that no weight could be matched
    return Side(net.arm, drawn, strongest(feature_maps(net.network, p, net.arm), MAPS), sweeps, broken)
