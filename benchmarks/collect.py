"""Keep what an identity says: its card and how long its stages took, as JSON beside the other results.

python benchmarks/collect.py IDENTITY
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from homing.identity import Identity
from homing.verbs.card import card

RESULTS = Path(__file__).parent / "results"


def main(directory: Path) -> None:
    identity = Identity.load(directory)
    seconds = dict(identity.volatile["seconds"])
    plan = identity.section("provenance").data["plan"]
    times = {
        "schema": "homing.evidence.times/1",
        "identity": identity.digest,
        "preset": plan["preset_name"],
        "judge": plan["judge"],
        "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "processors": os.cpu_count(),
    }
    RESULTS.mkdir(exist_ok=True)
    for name, found in (("card.json", card(directory)), ("times.json", times)):
        (RESULTS / name).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python benchmarks/collect.py IDENTITY")
    main(Path(sys.argv[1]))
