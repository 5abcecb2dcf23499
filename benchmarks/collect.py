"""Keep what an identity says: its card, as JSON beside the other results.

python benchmarks/collect.py IDENTITY
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from homing.identity import Identity
from homing.verbs.card import card

RESULTS = Path(__file__).parent / "results"

if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python benchmarks/collect.py IDENTITY")
    RESULTS.mkdir(exist_ok=True)
    found = Path(sys.argv[1])
    model = Identity.load(found).model
    kept = {"model": {k: model[k] for k in ("name", "engine", "dtype")}, **card(found)}
    (RESULTS / "card.json").write_text(json.dumps(kept, indent=1) + "\n")
