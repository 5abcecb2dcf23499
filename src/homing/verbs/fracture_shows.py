"""What the page of ``homing fracture lab`` shows: drawings, feature maps and sweeps of the networks of the first start."""

from __future__ import annotations

from homing.errors import InputError
from homing.fracture.gallery import feature_maps, strongest
from homing.fracture.grammar import Picture, picture
from homing.fracture.grids import coordinates
from homing.fracture.network import Network
from homing.fracture.pairs import Arm, reads, target
from homing.fracture.sweeps import broken_share, ranked, sweep
from homing.report.fracture import Show, Side
from homing.verbs.fracture import Lab
from homing.verbs.fracture_genome import GenomeFound
from homing.verbs.progress import Progress

__all__ = ["RANKS", "show_of", "shows_of"]

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
                tuple(_side(n.network, n.arm, p, size) for n in nets if n is not None), p.concept.name == "left-right",
            )
        )  # fmt: skip
        progress.advance()
    return out


def show_of(made: GenomeFound) -> Show:
    """A network of the user's about the symmetry that its picture keeps best."""
    p, side = made.picture, _side(made.layered.network, "unified", made.picture, len(made.values))
    return Show(
        p.name, p.name, p.concept.words, made.values, tuple(RANKS.values()), (side,), p.concept.name == "left-right", yours=True
    )


def _side(network: Network, arm: Arm, p: Picture, size: int) -> Side:
    """At the pixels that the loss is about: between them networks of one loss differ more."""
    drawn = network(reads(p, arm, coordinates(size))).reshape(size, size)
    order = ranked(network, reads(p, arm, coordinates(size)))
    sweeps = tuple(sweep(network, p, arm, order[int(r * (len(order) - 1))].tolist(), side=size) for r in RANKS)
    try:
        broken = broken_share(network, p, arm, weights=WEIGHTS)[0]
    except InputError:
        broken = None  # the page says that no weight could be matched
    return Side(arm, drawn, strongest(feature_maps(network, p, arm), MAPS), sweeps, broken)
