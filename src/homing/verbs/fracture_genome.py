"""fracture genome: one network that the user supplies, drawn and measured about every symmetry that its picture has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homing.errors import InputError
from homing.fracture.gallery import broken, feature_maps, strongest
from homing.fracture.genome import load_genome
from homing.fracture.grammar import Picture
from homing.fracture.graph import Layered
from homing.fracture.grids import SYMMETRIES, coordinates, inputs
from homing.fracture.images import grey, png, sheet
from homing.fracture.network import F64
from homing.fracture.pairs import Size, kappa
from homing.identity.container import write_atomically
from homing.stats.estimate import Estimate
from homing.verbs.fracture import network_arrays, unity_row

__all__ = ["GenomeFound", "report_genome", "run_genome", "write_genome"]

SCHEMA = "homing.fracture-genome/1"
MOST_BROKEN = 0.1
"""A picture of which a symmetry breaks more than this share of the variation does not have it: there is no true pairing."""


@dataclass(frozen=True, eq=False, slots=True)
class GenomeFound:
    """What was read and measured. ``found``: what ``homing fracture genome --json`` prints. ``values``: ``(side, side)``."""

    picture: Picture
    layered: Layered
    values: F64
    found: Mapping[str, Any]


def run_genome(path: Path, *, size: Size | None = None, seed: int = 0) -> GenomeFound:
    """Read a genome and measure unity about each symmetry.

    Raises:
        InputError: the file is no genome, or its picture is flat.
    """
    size = size or Size()
    genome = load_genome(path)
    layered = genome.graph.layerize()
    plane = coordinates(size.side)
    values = layered.network(inputs(plane))
    if not np.isfinite(values).all():
        raise InputError(f"{Path(path).name} draws values that are not finite; its weights are too large to measure")
    shares = {s: float(broken(SYMMETRIES[s], plane, values)[0]) for s in SYMMETRIES}
    if any(math.isnan(v) for v in shares.values()):
        raise InputError(f"{Path(path).name} draws one brightness everywhere; there is nothing in it to measure")
    rows = [_row(Picture(Path(path).name, "", (s,), genome.graph), layered, shares[s], size, seed) for s in SYMMETRIES]
    found = {
        "schema": SCHEMA,
        "file": Path(path).name,
        "nodes": genome.nodes,
        "links": genome.links,
        "output": genome.output,
        "layers": layered.plan,
        "parameters": layered.network.parameters,
        "pairs": rows,
    }
    first = min(shares, key=lambda s: shares[s])
    return GenomeFound(
        Picture(Path(path).name, "", (first,), genome.graph), layered, values.reshape(size.side, size.side), found
    )


def _row(p: Picture, layered: Layered, share: float, size: Size, seed: int) -> dict[str, Any]:
    base = {"image": p.name, "arm": "genome", "symmetry": p.concept.name, "loss": None, "broken": share}
    if share > MOST_BROKEN:
        none = Estimate(math.nan, -math.inf, math.inf, 0.95, 0).to_json()
        why = f"the picture is not the same {p.concept.words}: {share:.0%} of its variation differs, so there is no true pairing"
        return {
            **base, "kappa": none, "coupling": none, "null": none, "refused": why, "label": "",
            "concept": f"the same {p.concept.words}",
        }  # fmt: skip
    return {**base, **unity_row(kappa(layered.network, p, "unified", size=size, seed=seed))}


def write_genome(made: GenomeFound, out: Path) -> list[Path]:
    """Write the picture, its strongest feature maps, the layers and what was found into a folder.

    Raises:
        InputError: the folder cannot be written.
    """
    from safetensors.numpy import save

    maps = strongest(feature_maps(made.layered.network, made.picture, "unified"))
    tiles = [grey(m.values, low=float(m.values.min()), high=float(m.values.max())) for m in maps]
    kinds, arrays = network_arrays(made.layered.network)
    files: dict[str, bytes] = {
        "picture.png": png(grey(np.abs(made.values))),
        "network.json": json.dumps(kinds).encode(),
        "network.safetensors": save(arrays),
        "found.json": json.dumps(made.found, ensure_ascii=False, allow_nan=False).encode(),
    }
    if tiles:
        files["maps.png"] = png(sheet(tiles, 6))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, blob in files.items():
            write_atomically(out / name, blob)
    except OSError as e:
        raise InputError(f"cannot write to {out}: {e.strerror}; choose another --out directory") from None
    return [out / name for name in files]


def report_genome(made: GenomeFound, path: Path) -> Path:
    """Write one HTML page about the network.

    Raises:
        InputError: the file cannot be written.
    """
    from homing.report.fracture import render_genome
    from homing.report.render import write_page
    from homing.verbs.fracture_shows import genome_show

    show = genome_show(made.picture, made.layered, made.values)
    return write_page(render_genome(made.found, show, most=MOST_BROKEN), path)
