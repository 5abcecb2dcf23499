"""A small lab for pages: one picture at a small size, and texts that may be anything."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from homing.fracture.pairs import Size
from homing.report.fracture import Show
from homing.verbs.fracture import Lab, LabPlan, run_lab
from homing.verbs.fracture_shows import shows_of
from homing.verbs.progress import Silent


@cache
def small_lab(out: Path) -> tuple[Lab, list[Show]]:
    """Two pictures, a mirror and a quarter of a turn, trained to a coarse loss."""
    plan = LabPlan(out, pictures=("moth", "pinwheel"), seeds=1, size=Size(side=20, steps=1500, until=4e-3, pairs=100))
    lab = run_lab(plan)
    return lab, shows_of(lab, Silent())


def hostile(lab: Lab, shows: list[Show], payload: str) -> tuple[dict[str, Any], list[Show]]:
    """The same with a text of somebody else in every place that holds one."""
    image = {s.image: f"{s.image}{payload}" for s in shows}
    found = dict(lab.found)
    found["pairs"] = [r | {"image": image[r["image"]], "label": payload} for r in lab.found["pairs"]]
    found["pairs"][0] |= {"refused": payload}
    found["gaps"] = [g | {"image": image[g["image"]], "verdict": payload} for g in lab.found["gaps"]]
    told = [replace(s, image=image[s.image], words=payload, symmetry=payload, ranks=(payload,) * 3) for s in shows]
    return found, told
