"""What the pages of ``homing fracture`` show: drawings, feature maps and sweeps, of a lab those of the first start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from homing.errors import InputError
from homing.fracture.gallery import feature_maps, strongest
from homing.fracture.grammar import Picture, picture
from homing.fracture.graph import Layered
from homing.fracture.grids import coordinates
from homing.fracture.network import F64, Network
from homing.fracture.pairs import Arm, reads, target
from homing.fracture.sweeps import Sweep, broken_share, ranked, sweep
from homing.report.fracture import Show, Side
from homing.stats.estimate import Estimate
from homing.verbs.fracture import Lab, Net
from homing.verbs.progress import Progress

__all__ = ["RANKS", "genome_show", "shows_of"]

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


def genome_show(picture: Picture, layered: Layered, values: F64) -> Show:
    """One network of the user, about the symmetry that its picture keeps best.

    Args:
        values: ``(side, side)``, what it draws.
    """
    name, network = picture.name, layered.network
    sweeps, broken = _swept(network, picture, "unified", len(values))
    shown = tuple(None if s is None else replace(s, frames=np.abs(s.frames)) for s in sweeps)
    maps = strongest(feature_maps(network, picture, "unified"), MAPS)
    side = Side("genome", np.abs(values), maps, shown, broken)  # brightness has no sign
    words = picture.concept.words
    return Show(name, f"what {name} draws", words, np.abs(values), tuple(RANKS.values()), (side,), False)


def _side(net: Net, p: Picture, size: int) -> Side:
    """At the pixels that the loss is about: between them networks of one loss differ more."""
    drawn = net.network(reads(p, net.arm, coordinates(size))).reshape(size, size)
    sweeps, broken = _swept(net.network, p, net.arm, size)
    return Side(net.arm, drawn, strongest(feature_maps(net.network, p, net.arm), MAPS), sweeps, broken)


def _swept(network: Network, p: Picture, arm: Arm, size: int) -> tuple[tuple[Sweep | None, ...], Estimate | None]:
    """A sweep at each rank, and the share of matched changes that breaks the symmetry where any weight could be matched."""
    order = ranked(network, reads(p, arm, coordinates(size)))
    at = [order[int(r * (len(order) - 1))].tolist() for r in RANKS]
    sweeps = tuple(sweep(network, p, arm, where, side=size) for where in at)
    try:
        return sweeps, broken_share(network, p, arm, weights=WEIGHTS)[0]
    except InputError:
        return sweeps, None  # the page says that no weight could be matched
