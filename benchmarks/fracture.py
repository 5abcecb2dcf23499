"""The fracture scoreboard: every measure against every gauge and dose, untrained networks, and what becomes of trained ones.

    python benchmarks/fracture.py [--seconds 220] [--work DIR]

Works for so many seconds and stops; called again it goes on. At the end it writes results/fracture.json and the page
docs/fracture-scoreboard.md from it; ``--page`` writes that page alone. One core, some ten minutes in all.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fracture_nets import (
    FIRST,
    KINDS,
    face,
    fresh,
    grid,
    hidden_patch,
    inputs,
    mirrored,
    outcomes,
    scene_of,
    star,
    together,
    trained,
)  # fmt: skip
from fracture_page import page
from fracture_summary import summary

from homing.fracture.edits import edit_transfer
from homing.fracture.metrics import Pairs, unity
from homing.fracture.network import Network
from homing.fracture.scoreboard import read
from homing.fracture.truth import GAUGES, disguised, entangled, fractured, gated_relu, rotated, stretched
from homing.jsonable import strict
from homing.stats.estimate import Estimate

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "fracture.json"
PAGE = ROOT / "docs" / "fracture-scoreboard.md"
DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)
GAINS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
CROSS = (0.0, 0.5, 1.0, 2.0, 4.0)
ALPHAS = (0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 1.0)
REDRAWS, GAIN_REDRAWS, CROSS_REDRAWS, READ_ALL = 8, 4, 2, 2
"""Draws of a dose, of a gain and of both crossed; of how many every measure is read, and of the rest ours alone."""
OURS_ALONE = ("kappa", "coupling", "entanglement", "feature_symmetry")
LOSS = 0.004
Row = Callable[[], dict[str, Any]]


@cache
def drawn(kind: str, alpha: float, seed: int) -> tuple[Network, float, int]:
    """A network trained to the common loss on the face, the right eye hidden."""
    xy = grid()
    seen = ~hidden_patch(xy)
    return trained(fresh(kind, seed), inputs(xy, alpha)[seen], face(xy)[seen], FIRST, steps=6000, until=LOSS)


@cache
def two_tasks(kind: str, alpha: float) -> Network:
    """The face and the star, each by a part of its own: nothing is entangled."""
    xy = grid()
    x = inputs(xy, alpha)
    parts = [trained(fresh(kind, s), x, t, FIRST, steps=6000, until=LOSS)[0] for s, t in ((0, face(xy)), (1, star(xy)))]
    return together(parts[0], parts[1])


def measured(
    network: Network,
    alpha: float,
    *,
    reference: Network,
    base: Network | None = None,
    hide: bool = False,
    seed: int = 0,
    only: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Every measure, and how far outputs moved from those of ``base``."""
    scene = scene_of(network, alpha, reference=reference, hide=hide, seed=seed)
    found = read(scene, only)
    out: dict[str, Any] = {
        "values": {k: e.value for k, e in found.items() if isinstance(e, Estimate)},
        "half_widths": {k: e.half_width for k, e in found.items() if isinstance(e, Estimate)},
        "refused": {k: e for k, e in found.items() if isinstance(e, str)},
    }
    if base is not None:
        out["moved"] = float(np.abs(network(scene.x, gate=scene.gate) - base(scene.x)).max())
    return out


def gauges() -> Iterator[tuple[str, Row]]:
    """Every gauge on four networks of two tasks."""
    for kind in KINDS:
        for alpha in (0.25, 1.0):

            def row(
                kind: str = kind, alpha: float = alpha, make: Callable[[Network], Network] = lambda n: n
            ) -> dict[str, Any]:
                base = two_tasks(kind, alpha)
                return measured(make(base), alpha, reference=base, base=base)

            yield f"gauge/{kind}/{alpha}/none/0", row
            for name, gauge in GAUGES.items():
                for seed in (0, 1):
                    yield (
                        f"gauge/{kind}/{alpha}/{name}/{seed}",
                        lambda row=row, g=gauge, s=seed: row(make=lambda n: g(n, seed=s)),
                    )
            if kind == "mixed":
                yield f"gauge/{kind}/{alpha}/stretched linear units/0", lambda row=row: row(make=stretched)
                for degrees in (15, 30, 45):
                    turn = lambda n, d=degrees: rotated(n, math.radians(d))  # noqa: E731
                    yield f"gauge/{kind}/{alpha}/R {degrees} degrees/0", lambda row=row, t=turn: row(make=t)


def doses() -> Iterator[tuple[str, Row]]:
    """F and X alone, and both crossed."""

    @cache
    def split(kind: str, q: float, seed: int) -> dict[str, Any]:
        base = two_tasks(kind, 0.25)
        net = disguised(fractured(base, q, seed=100 + seed), seed=seed)
        return measured(net, 0.25, reference=base, base=base, only=OURS_ALONE if seed >= READ_ALL else None)

    def row(kind: str, q: float, gamma: float, seed: int) -> dict[str, Any]:
        base = two_tasks(kind, 0.25)
        net = fractured(entangled(base, gamma, seed=seed, units=6), q, seed=100 + seed)
        only = OURS_ALONE if seed >= READ_ALL else None
        return measured(disguised(net, seed=seed), 0.25, reference=base, base=base, only=only)

    for seed in range(REDRAWS):
        for kind in KINDS:
            for q in DOSES:
                yield f"F/{kind}/{q}/{seed}", lambda k=kind, q=q, s=seed: split(k, q, s if q else 0)
            if seed < GAIN_REDRAWS:
                for gamma in GAINS:
                    yield f"X/{kind}/{gamma}/{seed}", lambda k=kind, g=gamma, s=seed: row(k, 0.0, g, s)
            if seed < CROSS_REDRAWS:  # those of q = 0 are among the rows of X
                for q in DOSES[1:]:
                    for gamma in CROSS:
                        yield f"FX/{kind}/{q}/{gamma}/{seed}", lambda k=kind, q=q, g=gamma, s=seed: row(k, q, g, s)


def lines() -> Iterator[tuple[str, Row]]:
    """C over hidden layers alone: the last layer has no private copies, and in a shallow network it is no small part of C."""

    def row(kind: str, q: float, seed: int) -> dict[str, Any]:
        net = fractured(two_tasks(kind, 0.25), q, seed=100 + seed)
        found = unity(net, mirrored(0.25), readout=FIRST, layers=range(len(net.layers) - 1))
        return {"values": {"coupling": found.coupling.value, "kappa": found.kappa.value}, "refused": {}}

    for seed in range(REDRAWS):
        for kind in KINDS:
            for q in DOSES:
                yield f"line/{kind}/{q}/{seed}", lambda k=kind, q=q, s=seed: row(k, q, s)


def gated() -> Iterator[tuple[str, Row]]:
    """Physical copies in a ReLU network with the gate as an input."""

    def row(q: float, seed: int) -> dict[str, Any]:
        base, xy = two_tasks("relu", 0.25), grid()
        x, p = inputs(xy, 0.25), mirrored(0.25)
        net = gated_relu(base, q, x, seed=seed)
        n = len(p)
        pairs = Pairs(np.c_[p.a, np.zeros(n)], np.c_[p.b, np.ones(n)], concept=p.concept)
        found = unity(net, pairs, readout=FIRST)
        return {
            "values": {"kappa": found.kappa.value, "coupling": found.coupling.value},
            "refused": {"kappa": found.refused} if found.refused else {},
            "moved": float(np.abs(net(np.c_[x, xy[:, 0] > 0]) - base(x)).max()),
        }

    for seed in range(3):
        for q in DOSES:
            yield f"gated/{q}/{seed}", lambda q=q, s=seed: row(q, s)


def untrained() -> Iterator[tuple[str, Row]]:
    """Networks that were never trained, with nothing but x for input."""
    for seed in range(20):
        for kind in KINDS:
            yield (
                f"untrained/{kind}/{seed}",
                lambda k=kind, s=seed: measured(fresh(k, 500 + s), 1.0, reference=drawn(k, 0.02, 0)[0]),
            )


def followed(network: Network, alpha: float, seed: int) -> dict[str, Any]:
    """What becomes of a network: edits, training on."""
    edits = edit_transfer(network, mirrored(alpha, every=7, hide=True), readout=FIRST)
    each = [outcomes(network, alpha, 10 * seed + s) for s in range(3)]  # three draws of the few shots
    out = {k: float(np.mean([asdict(o)[k] for o in each])) for k in asdict(each[0])}
    return out | {
        "edit_transfer": edits.transfer.value,
        "edit_excess": edits.excess.value,
        "edits_failed": edits.failed,
    }


def nets() -> Iterator[tuple[str, Row]]:
    """Trained networks of one loss, and exact doses of some of them."""

    def row(kind: str, alpha: float, seed: int) -> dict[str, Any]:
        net, loss, steps = drawn(kind, alpha, seed)
        out = measured(net, alpha, reference=drawn(kind, 0.02, 0)[0], hide=True)
        return out | {"loss": loss, "steps": steps, "outcomes": followed(net, alpha, seed)}

    def dosed(kind: str, q: float, seed: int) -> dict[str, Any]:
        base, loss, _ = drawn(kind, 0.1, seed)
        net = fractured(base, q, seed=seed)
        out = measured(net, 0.1, reference=drawn(kind, 0.02, 0)[0], base=base, hide=True)
        return out | {"loss": loss, "outcomes": followed(net, 0.1, seed)}

    for seed in (0, 1):
        for kind in KINDS:
            for alpha in ALPHAS:
                yield f"net/{kind}/{alpha}/{seed}", lambda k=kind, a=alpha, s=seed: row(k, a, s)
            for q in DOSES:
                yield f"dosed/{kind}/{q}/{seed}", lambda k=kind, q=q, s=seed: dosed(k, q, s)


def main() -> None:
    """Go on with the rows; at the end write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=220)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "fracture")
    parser.add_argument(
        "--part", default="0/1", help="k/n: every n-th row from the k-th, where several work side by side"
    )
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    if not args.page:
        args.work.mkdir(parents=True, exist_ok=True)
        kept = args.work / "rows.jsonl"
        done = {r["id"]: r for r in map(json.loads, kept.read_text().splitlines())} if kept.exists() else {}
        every = [r for part in (nets, gauges, doses, gated, untrained, lines) for r in part()]
        k, n = map(int, args.part.split("/"))
        began = time.monotonic()
        with kept.open("a") as out:
            for key, make in every[k::n]:
                if key in done:
                    continue
                if time.monotonic() - began > args.seconds:
                    print(f"{len(done)} of {len(every)} rows; run it again")
                    sys.exit(3)
                start = time.monotonic()
                done[key] = strict({"id": key, **make(), "seconds": round(time.monotonic() - start, 2)})
                out.write(json.dumps(done[key]) + "\n")
                out.flush()
        if any(key not in done for key, _ in every):
            return
        RESULTS.write_text(json.dumps(strict(summary([done[key] for key, _ in every])), indent=1) + "\n")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
