"""The marks of results/fracture.json as the small file that the wheel has: ``python benchmarks/fracture_marks.py``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fracture_page import EXACT, NEAR, marks
from fracture_summary import KINDS, NOTHING

Row = dict[str, Any]
HERE = Path(__file__).parent
RESULTS = HERE / "results/fracture.json"
OUT = HERE.parent / "src/homing/fracture/data/scoreboard.json"
SCHEMA = "homing.fracture-scoreboard/1"
FOR_FRACTURE = {
    "kappa", "kappa_distance", "coupling", "kappa_plain", "feature_symmetry", "cka", "clones", "effective_rank",
    "modularity", "roughness", "sweep",
}  # fmt: skip
FOR_ENTANGLEMENT = {"entanglement", "touching"}
"""What a score is for; one that is for neither is asked for both."""
WORDS = {"relu": "ReLU", "mixed": "mixed"}
TESTS = {
    "gauge": ("Ignores notation", "The same function written in another way: the score must not move (B2)."),
    "fracture": ("Follows fracture", "A known dose of fracture, the answers unchanged: the score must follow it (B3)."),
    "entanglement": ("Follows entanglement", "A known dose of entanglement, the answers unchanged: the same."),
    "apart": ("Tells the two apart", "It moves at least 5 times as far with one of the two as with the other (B4)."),
    "untrained": ("Not fooled by an untrained network", "Such a network has learned nothing and must not score as unified (A3)."),
}  # fmt: skip


def _number(x: float | None, spec: str = ".2f") -> str:
    return "none" if x is None else f"{x:{spec}}"


def _gauge(found: Row, name: str) -> str:
    judged = {g: d for g, d in found["gauges"][name].items() if g[0] in "GR"}
    unread = [g for g, d in judged.items() if d["n"] == 0 or d["drift"] is None]
    if unread:
        return f"could not be read under {', '.join(unread)}"

    def over(g: str) -> float:
        return judged[g]["drift"] / (NEAR if g[:2] in ("G4", "G5") else EXACT)

    worst = max(judged, key=over)
    allowed = NEAR if worst[:2] in ("G4", "G5") else EXACT
    return f"moves by {judged[worst]['drift']:.1g} of itself at most ({worst}); {allowed:g} is allowed"


def _dose(found: Row, name: str, part: str) -> str:
    each = {k: found["doses"][part][name][k] for k in KINDS}
    said = [
        f"{WORDS[k]}: does not vary"
        if e["value"] is None
        else f"{WORDS[k]} {e['value']:.2f} [{e['low']:.2f}, {e['high']:.2f}]"
        for k, e in each.items()
    ]
    return f"rank correlation with the dose: {', '.join(said)}; 0.95 in size is asked"


def _apart(follows: str, ratios: list[float]) -> str:
    def times(r: float) -> str:
        return "never moves" if r != r else "over 999" if r > 999 else f"{r:.2g}"

    each = ", ".join(f"{WORDS[k]} {times(r)}" for k, r in zip(KINDS, ratios, strict=True))
    head = "moves with both or neither" if follows == "neither" else f"moves with {follows}"
    return f"{head}; how far with fracture over how far with entanglement: {each}"


def _untrained(found: Row, name: str) -> str:
    each = {k: found["untrained"][name][k] for k in KINDS}
    if "near_none_or_refused" in each[KINDS[0]]:
        said = [
            f"{WORDS[k]} {e['value']:.0%} [{e['low']:.0%}, {e['high']:.0%}]"
            for k, e in ((k, u["near_none_or_refused"]) for k, u in each.items())
        ]
        return f"within {NOTHING} of 0 or refused: {', '.join(said)} of 20 each; 95% is asked"
    said = [f"{WORDS[k]} {_number(u['place'])}" for k, u in each.items()]
    return f"where it puts them, 0 as unified and 1 as fractured networks: {', '.join(said)}; 0.5 is asked"


def _cells(found: Row, name: str) -> dict[str, Row]:
    got = marks(found, name)
    cells = {
        "gauge": ("pass" if got["gauge"] else "fail", _gauge(found, name)),
        "apart": ("pass" if got["apart"] != "neither" else "fail", _apart(got["apart"], got["ratios"])),
        "untrained": ("pass" if got["untrained"] else "fail", _untrained(found, name)),
    }
    for part, dose, others in (("fracture", "F", FOR_ENTANGLEMENT), ("entanglement", "X", FOR_FRACTURE)):
        mark = "pass" if got[part] else "fail"
        if name in others:  # it is for the other of the two: not to follow this one is right
            mark = "fail" if got[part] else "none"
        cells[part] = (mark, _dose(found, name, dose))
    if all(found["untrained"][name][k]["place"] is None for k in KINDS):
        cells["untrained"] = (
            "none",
            "unified and fractured networks score the same, so there is nothing to be near to",
        )
    if name in FOR_ENTANGLEMENT:  # unified or fractured is not its question
        cells["untrained"] = ("none", _untrained(found, name))
    return {t: {"mark": cells[t][0], "said": cells[t][1]} for t in TESTS}


def board(found: Row) -> Row:
    """The file's content."""
    return {
        "schema": SCHEMA,
        "networks": found["rows"],
        "tests": [{"name": k, "title": title, "asks": asks} for k, (title, asks) in TESTS.items()],
        "scores": [
            {
                "name": n, "title": about["title"], "ours": about["ours"], "cannot": about["cannot"],
                "marks": _cells(found, n),
            }
            for n, about in found["measures"].items()
        ],
    }  # fmt: skip


def text(found: Row) -> str:
    """The file."""
    return json.dumps(board(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the file says something else")
    args = parser.parse_args()
    made = text(json.loads(RESULTS.read_text("utf-8")))
    if args.check:
        sys.exit(made != OUT.read_text("utf-8"))
    OUT.write_text(made, "utf-8")


if __name__ == "__main__":
    main()
