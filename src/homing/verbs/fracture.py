"""fracture: draw one picture with networks that are wired in different ways, and say of each how far it is one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homing.errors import InputError, Interrupted
from homing.fracture.grammar import PICTURES, Picture, picture
from homing.fracture.metrics import Unity
from homing.fracture.network import ACTIVATIONS, Layer, Network
from homing.fracture.pairs import ARMS, Arm, Size, kappa, made
from homing.identity.work import Unit, WorkDir
from homing.stats import mean_t
from homing.stats.estimate import Estimate
from homing.verbs.progress import Progress, Silent

__all__ = ["Lab", "LabPlan", "Net", "network_arrays", "network_of", "run_lab", "unity_row", "write_lab"]

SCHEMA = "homing.fracture-lab/1"
VERSION = 1
"""Goes up when a kept network would be another one if it were made again."""
TRAINED = ("x", "abs")


@dataclass(frozen=True, eq=False, slots=True)
class Net:
    """One network of the lab. ``row``: what the JSON says of it."""

    image: str
    arm: Arm
    seed: int
    network: Network
    row: Mapping[str, Any]


@dataclass(frozen=True, eq=False, slots=True)
class Lab:
    """What was made. ``found``: what ``homing fracture lab --json`` prints."""

    size: Size
    nets: tuple[Net, ...]
    found: Mapping[str, Any]

    def net(self, image: str, arm: str, seed: int = 0) -> Net | None:
        """One of the networks, or None."""
        return next((n for n in self.nets if (n.image, n.arm, n.seed) == (image, arm, seed)), None)


class LabPlan:
    """What ``homing fracture lab`` will do.

    Args:
        out: where networks are kept. ``pictures``: by name; none: all. ``seeds``: starts of every trained network, 0 and up.
        size: of pictures and training.

    Raises:
        InputError: an unknown picture, or no seed.
    """

    def __init__(self, out: Path, *, pictures: Sequence[str] = (), seeds: int = 3, size: Size | None = None) -> None:
        if not 1 <= seeds <= 100:
            raise InputError(f"{seeds} seeds were asked for; give 1 to 100")
        self.out, self.seeds, self.size = Path(out), seeds, size or Size()
        self.pictures: tuple[Picture, ...] = tuple(picture(p) for p in dict.fromkeys(pictures or PICTURES))

    def nets(self) -> list[tuple[Picture, Arm, int]]:
        """Every network: the hand-built one once, the others once a seed."""
        return [
            (p, arm, seed)
            for p in self.pictures
            for seed in range(self.seeds)
            for arm in ARMS
            if arm != "unified" or seed == 0
        ]


def network_arrays(network: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    """Activations as JSON and weights as arrays, of a network without biases and private copies."""
    return {"kinds": [list(n.kinds) for n in network.layers]}, {
        f"weights.{i:03d}": n.weights for i, n in enumerate(network.layers)
    }


def network_of(data: Mapping[str, Any], arrays: Mapping[str, Any]) -> Network:
    """The inverse of :func:`network_arrays`.

    Raises:
        InputError: activations and weights do not fit.
    """
    kinds: list[list[str]] = data["kinds"]
    if len(kinds) != len(arrays) or any(k not in ACTIVATIONS for row in kinds for k in row):
        raise InputError("a kept network is damaged; remove its files and run the same command again")
    return Network(tuple(Layer(arrays[f"weights.{i:03d}"], tuple(row)) for i, row in enumerate(kinds)))


def unity_row(found: Unity) -> dict[str, Any]:
    """Figures of one unity as the JSON names them."""
    raw = found.to_json()
    return {k: raw[k] for k in ("kappa", "coupling", "null", "refused", "label", "concept")}


def _compute(p: Picture, arm: Arm, seed: int, size: Size) -> Unit:
    trained = made(p, arm, size=size, seed=seed)
    found = kappa(trained.network, p, arm, size=size, seed=seed)
    kinds, arrays = network_arrays(trained.network)
    row = {
        "image": p.name, "arm": arm, "seed": seed, "loss": trained.loss, "steps": trained.steps, "reached": trained.reached,
        "symmetry": p.concept.name, **unity_row(found), "parameters": trained.network.parameters,
    }  # fmt: skip
    return Unit({"row": row, **kinds}, arrays)


def run_lab(plan: LabPlan, *, progress: Progress | None = None) -> Lab:
    """Make every network and measure it; those that are finished in ``plan.out`` are read back.

    Raises:
        Interrupted: Ctrl-C; every finished network is kept.
    """
    told, nets, todo = progress or Silent(), list[Net](), plan.nets()
    # of what one network is made, so that more pictures or seeds may be asked for in the same folder
    depends = {"schema": SCHEMA, "version": VERSION, "size": asdict(plan.size)}
    told.start(total=len(todo), unit="networks", title=f"drawing {len(plan.pictures)} pictures")
    try:
        with WorkDir(plan.out / "work-fracture", depends) as work:
            for p, arm, seed in todo:
                name = f"{p.name}-{arm}-{seed}"
                unit = work.find(name) or work.keep(name, _compute(p, arm, seed, plan.size))
                nets.append(Net(p.name, arm, seed, network_of(unit.data, unit.arrays), unit.data["row"]))
                told.advance()
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; what is finished is kept in {plan.out}: run the same command to go on") from None
    return Lab(plan.size, tuple(nets), _found(plan, nets))


def _found(plan: LabPlan, nets: Sequence[Net]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "pictures": [{"image": p.name, "words": p.words, "symmetries": list(p.symmetries)} for p in plan.pictures],
        "seeds": plan.seeds,
        "size": asdict(plan.size),
        "pairs": [dict(n.row) for n in nets],
        "gaps": [_gap(p, nets, plan.seeds) for p in plan.pictures],
    }


def _gap(p: Picture, nets: Sequence[Net], seeds: int) -> dict[str, Any]:
    """Kappa on |x| less kappa on x, seed by seed from one start, and how far the two losses are apart."""
    by = {(n.arm, n.seed): n.row for n in nets if n.image == p.name}
    gaps, ratios = list[float](), list[float]()
    for seed in range(seeds):
        one, two = by[("x", seed)], by[("abs", seed)]
        if one["refused"] is None and two["refused"] is None:
            gaps.append(two["kappa"]["value"] - one["kappa"]["value"])
        ratios.append(max(one["loss"], two["loss"]) / min(one["loss"], two["loss"]))
    reached = all(by[(a, s)]["reached"] for a in TRAINED for s in range(seeds))
    gap = _over_seeds(gaps) if gaps else None
    verdict = (
        "not measurable: unity was refused for one of each pair"
        if gap is None
        else "not of equal loss: one of the networks did not reach it"
        if not reached
        else f"at equal loss, unity is {min(gaps):.2f} to {max(gaps):.2f} higher where |x| is read than where x is"
        if len(gaps) > 1
        else f"at equal loss, unity is {gaps[0]:.2f} higher where |x| is read than where x is"
    )
    return {
        "image": p.name, "gap": None if gap is None else gap.to_json(), "least_gap": min(gaps, default=None),
        "most_loss_ratio": max(ratios), "equal_loss": reached, "verdict": verdict,
    }  # fmt: skip


def _over_seeds(values: Sequence[float]) -> Estimate:
    """Mean over seeds; of one seed there is no interval."""
    if len(values) > 1:
        return replace(mean_t(np.array(values)), method="mean over seeds, Student's t")
    return Estimate(values[0], -np.inf, np.inf, 0.95, 1, "", "one seed: no interval")


def write_lab(lab: Lab, path: Path, *, progress: Progress | None = None) -> Path:
    """Write one HTML page about what was found.

    Raises:
        InputError: the file cannot be written.
    """
    from homing.report.fracture import render_lab
    from homing.report.render import write_page
    from homing.verbs.fracture_shows import shows_of

    return write_page(render_lab(lab.found, shows_of(lab, progress or Silent())), path)
