"""One picture, one architecture, one loss, and two wirings: the network reads x, or it reads |x| and cannot help sharing.

Of a symmetry other than the mirror, |x| stands for one point of every orbit in place of all (:meth:`Symmetry.fold`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from homing.errors import InputError
from homing.fracture.grammar import Picture
from homing.fracture.grids import coordinates, inputs, orbits
from homing.fracture.metrics import Pairs, Unity, unity
from homing.fracture.network import F64, Network
from homing.fracture.training import Told, Trained, initial, loss_of, train
from homing.stats.seeds import stable_seed

__all__ = ["ARMS", "Arm", "Size", "kappa", "made", "reads", "symmetry_pairs", "target"]

Arm = Literal["unified", "x", "abs", "random"]
ARMS: tuple[Arm, ...] = get_args(Arm)
"""Hand-built; trained on x; trained on |x|; untrained."""
KINDS = ("gaussian",) * 4 + ("identity",) * 17 + ("sin",)
"""Units of a layer, as the skull of 2505.11581 has them."""
LAYERS = 12
FOLDED = "inputs are folded, as |x| is, before the first layer"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Attributes:
        side: of the picture, in pixels. ``steps``: of training, at most. ``until``: the loss at which it stops, so that all that
            is trained has one. ``pairs``: for kappa, at most.
    """

    side: int = 40
    steps: int = 12000
    until: float = 1e-3
    pairs: int = 400


def reads(picture: Picture, arm: Arm, plane: F64) -> F64:
    """What a network of this arm reads at points ``(n, 2)``."""
    return inputs(picture.concept.fold(plane) if arm == "abs" else plane)


def target(picture: Picture, side: int) -> F64:
    """Brightness of the picture's pixels, ``(side * side, 1)``."""
    return picture(coordinates(side))


def made(picture: Picture, arm: Arm, *, size: Size, seed: int = 0, told: Told | None = None) -> Trained:
    """The network of one arm; the hand-built and the untrained one with their loss as they are.

    Raises:
        InputError: an unknown arm.
    """
    if arm not in ARMS:
        raise InputError(f"arm {arm!r} is unknown; use one of {', '.join(ARMS)}")
    x, wanted = reads(picture, arm, coordinates(size.side)), target(picture, size.side)
    if arm == "unified":
        network = picture.graph.layerize().network
        return Trained(network, loss_of(network, x, wanted), 0, True, ())
    # one seed, one start: the two trained arms and the untrained one begin as the same network
    network = initial(x.shape[1], KINDS, LAYERS, seed=stable_seed("lab", picture.name, seed))
    if arm == "random":
        return Trained(network, loss_of(network, x, wanted), 0, False, ())
    return train(network, x, wanted, steps=size.steps, until=size.until, told=told)


def symmetry_pairs(picture: Picture, arm: Arm, *, size: Size, seed: int = 0) -> Pairs:
    """Pairs of points that the picture's first symmetry makes one of, as the arm reads them."""
    one, two, orbit = orbits(picture.concept, size.side, size.pairs, seed=stable_seed("lab pairs", picture.name, seed))
    return Pairs(
        reads(picture, arm, one), reads(picture, arm, two), concept=f"the same {picture.concept.words}", cluster=orbit,
        fold=FOLDED if arm == "abs" else "",
    )  # fmt: skip


def kappa(network: Network, picture: Picture, arm: Arm, *, size: Size, seed: int = 0) -> Unity:
    """Unity of the picture's first symmetry in a network; the read-out is its brightness.

    Unrelated points lie as far away as the mirror image does: what an untrained network shares, it shares by distance.
    """
    pairs = symmetry_pairs(picture, arm, size=size, seed=seed)
    return unity(network, pairs, readout=np.ones(1), seed=seed, null="distance")
