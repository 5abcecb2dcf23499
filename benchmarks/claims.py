"""Keep of what ``homing test MODEL --preset standard --json`` printed the rows that README.md shows.

    python benchmarks/claims.py FOUND.json... --on "SmolLM2-135M-Instruct, float32 on torch, one H200"

Several files are put together: instruments may have been played on their own. Rows of instruments that none of the files has
stay as they are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from readme import CLAIMS, shows

KEPT = ("instrument", "measure", "hold", "regime", "reason", "figure", "p_value")
OUT = Path(__file__).parent / "results" / "claims.json"


def main() -> None:
    """Write benchmarks/results/claims.json."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("found", nargs="+", type=Path)
    p.add_argument("--on", required=True, help="model, weights and machine, as the table's head says them")
    given = p.parse_args()
    rows: list[dict[str, Any]] = []
    for file in given.found:
        found = json.loads(file.read_text())
        if found["preset"] != "standard":
            raise SystemExit(f"{file} is of preset {found['preset']}; README.md shows standard alone")
        for row in found["findings"]:
            if any(shows(c, row) for c in CLAIMS):
                rows.append({k: row[k] for k in KEPT})
    played = {r["instrument"] for r in rows}
    kept = json.loads(OUT.read_text())["rows"] if OUT.is_file() else []
    rows = [r for r in kept if r["instrument"] not in played] + rows
    OUT.write_text(json.dumps({"on": given.on, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
