"""Keep of what ``homing return MODEL --preset standard --json`` printed what README.md shows.

python benchmarks/returns.py FOUND.json --on "SmolLM2-135M-Instruct, float32 on torch, two cores"
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

KEPT = ("push", "hold", "reading", "return_share", "hold_share", "beyond", "memory", "norms", "price", "reason")
OUT = Path(__file__).parent / "results" / "return.json"


def main() -> None:
    """Write benchmarks/results/return.json."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("found", type=Path)
    p.add_argument("--on", required=True, help="model, weights and machine, as the table's head says them")
    given = p.parse_args()
    found = json.loads(given.found.read_text())
    if found["preset"] != "standard":
        raise SystemExit(f"{given.found} is of preset {found['preset']}; README.md shows standard alone")
    arms = [{k: a[k] for k in KEPT} for a in found["arms"] if a["facet"] == "all"]
    kept = {"on": given.on, "restoring": found["restoring"], "tether": found["tether"], "arms": arms}
    OUT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
