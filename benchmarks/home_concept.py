"""Is the home of the embedded model one thing inside it, or pieces? The replies of a map, as far as they are made, at one layer.

    homing map smollm2 --engine torch --preset standard --out DIR   # may be stopped once roles and home have replied
    python benchmarks/home_concept.py DIR [--layer 17] [--out benchmarks/results/home-concept.json]

`homing fracture concept DIR` says the same of a map that was gone through to its end, at the layer that the map has chosen; here
the layer is given, so that an hour's map need not be: 17 is what a whole one of this model chose.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from homing.fracture.concept_map import concept_section, table
from homing.jsonable import strict
from homing.persona.plan import PRESETS, design_cells
from homing.persona.questions import load_questions
from homing.persona.roles import load_home, load_roles
from homing.verbs.concept import concept_text, judge_replies, kept_replies


def main() -> None:
    """Judge, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="standard")
    parser.add_argument("--layer", type=int, default=17)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "home-concept.json")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    design = design_cells(load_roles(), load_questions(), load_home(None), preset=preset, seed=args.seed)
    replies = kept_replies(args.directory / "work", design, layer=args.layer)
    judged = judge_replies(replies, design, seed=args.seed)
    section = strict(concept_section(judged, layer=args.layer, seed=args.seed).data)
    found = {
        "schema": "homing.evidence.home-concept/1", "preset": args.preset, "replies": len(replies.role),
        "at_home": int(np.sum(replies.home)), **section, "tables": {k: table(h.report) for k, h in judged.items()},
    }  # fmt: skip
    args.out.write_text(json.dumps(strict(found), indent=1) + "\n")
    print(concept_text({**found, "identity": "", "written": False}))


if __name__ == "__main__":
    main()
