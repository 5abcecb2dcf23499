"""Keep of what ``homing return MODEL --preset standard --json`` printed what README.md shows.

python benchmarks/returns.py FOUND.json [FOUND.json ...] --on "SmolLM2-135M-Instruct, float32 on torch, two cores"
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

KEPT = ("push", "hold", "reading", "return_share", "hold_share", "beyond", "memory", "norms", "price", "reason")
OUT = Path(__file__).parent / "results" / "return.json"


def main() -> None:
    """Write benchmarks/results/return.json."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("found", type=Path, nargs="+", help="one a push, or one of all")
    p.add_argument("--on", required=True, help="model, weights and machine, as the table's head says them")
    given = p.parse_args()
    kept: dict[str, Any] = {"on": given.on, "restoring": {}, "tether": {}, "arms": []}
    for path in given.found:
        found = json.loads(path.read_text())
        if found["preset"] != "standard":
            raise SystemExit(f"{path} is of preset {found['preset']}; README.md shows standard alone")
        twice = set(found["restoring"]) & set(kept["restoring"])
        if twice:
            raise SystemExit(f"{path} has {', '.join(sorted(twice))}, which another file has too; give each push once")
        kept["restoring"] |= found["restoring"]
        kept["tether"] |= found["tether"]
        kept["arms"] += [{k: a[k] for k in KEPT} for a in found["arms"] if a["facet"] == "all"]
    OUT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
