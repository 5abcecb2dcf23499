"""A small lab for pages: one picture at a small size, and texts that may be anything."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.fracture.test_genome import xml

from homing.fracture.pairs import Size
from homing.report.fracture import Show
from homing.verbs.fracture import Lab, LabPlan, run_lab
from homing.verbs.fracture_genome import run_genome
from homing.verbs.fracture_shows import genome_show, shows_of
from homing.verbs.progress import Silent


@cache
def small_lab(out: Path) -> tuple[Lab, list[Show]]:
    """Two pictures, a mirror and a quarter of a turn, trained to a coarse loss."""
    plan = LabPlan(out, pictures=("moth", "pinwheel"), seeds=1, size=Size(side=20, steps=1500, until=4e-3, pairs=100))
    lab = run_lab(plan)
    return lab, shows_of(lab, Silent())


@cache
def small_genome(out: Path, name: str = "mine.xml", **more: Any) -> tuple[dict[str, Any], Show]:
    """A network of a user, of the documented form."""
    (out / name).write_text(xml(**more))
    made = run_genome(out / name, size=Size(side=20, pairs=60))
    return dict(made.found), genome_show(made.picture, made.layered, made.values)


def hostile_genome(found: dict[str, Any], show: Show, payload: str) -> tuple[dict[str, Any], Show]:
    """The same with a text of somebody else in every place that holds one."""
    rows = [r | {"image": payload, "label": payload, "concept": payload} for r in found["pairs"]]
    rows[1] |= {"refused": payload}
    told = found | {"file": payload, "layers": payload, "output": payload, "pairs": rows}
    return told, replace(show, image=payload, words=payload, symmetry=payload, ranks=(payload,) * 3)


def hostile(lab: Lab, shows: list[Show], payload: str) -> tuple[dict[str, Any], list[Show]]:
    """The same with a text of somebody else in every place that holds one."""
    image = {s.image: f"{s.image}{payload}" for s in shows}
    found = dict(lab.found)
    found["pairs"] = [r | {"image": image[r["image"]], "label": payload} for r in lab.found["pairs"]]
    found["pairs"][0] |= {"refused": payload}
    found["gaps"] = [g | {"image": image[g["image"]], "verdict": payload} for g in lab.found["gaps"]]
    told = [replace(s, image=image[s.image], words=payload, symmetry=payload, ranks=(payload,) * 3) for s in shows]
    return found, told
