"""Is a concept called what it is? Contexts with a known answer, at the size of a small language model's residual stream.

Each part takes under four minutes on one core and is kept, so that a broken-off run goes on where it stopped; all together take
under fifteen. Writes what is there to benchmarks/results/concept.json.

    python benchmarks/concept.py [--parts DIR] [--only NAME] [--again]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from homing.fracture.concept import apart, judge_concept
from homing.fracture.concept_contexts import Units
from homing.fracture.concept_cosine import cosines
from homing.fracture.concept_one import one_dimension
from homing.fracture.concept_plants import plant
from homing.stats import mean_t, wilson

RESULTS = Path(__file__).parent / "results/concept.json"
NOISES = {"steep": 1.0, "gentle": 0.65}
"""Power with which the noise's variances fall: effectively about 30, and about 190, of 576 directions."""
RUNS = 40
UP = np.triu_indices(4, 1)


def c1(noise: str) -> dict[str, Any]:
    """Bias of the corrected cosine, and coverage of its interval, at n = 64."""
    out: dict[str, Any] = {}
    for truth in (0.0, 0.5, 0.8, 1.0):
        means, raws, covered, covered_mean = [], [], 0, 0
        for s in range(RUNS):
            units = Units.of(plant("cosine", n=64, seed=1000 + s, cosine=truth, decay=NOISES[noise]))
            f = cosines(units, seed=s, draws=200, splits=8)
            means.append(float(f.truth[UP].mean()))
            raws.append(float(f.raw[UP].mean()))
            pair, mean = f.pair(0, 1), f.mean()
            covered += pair.low <= truth <= pair.high
            covered_mean += mean.low <= truth <= mean.high
        out[str(truth)] = {
            "mean": mean_t(means).to_json(),
            "sd": float(np.std(means, ddof=1)),
            "raw": mean_t(raws).to_json(),
            "covered_pair": wilson(covered, RUNS).to_json(),
            "covered_mean": wilson(covered_mean, RUNS).to_json(),
        }
    return out


def flags(noise: str, n: int, runs: int = 200) -> dict[str, Any]:
    """One direction: how often the rule calls it anything else, and how often a raw cosine under 0.8 does."""
    said: Counter[str] = Counter()
    raw, half = 0, 0
    p: list[float] = []
    for s in range(runs):
        contexts = plant("cosine", n=n, seed=2000 + s, decay=NOISES[noise])
        report = judge_concept(contexts, seed=s, draws=100, simulations=200)
        said[report.verdict] += 1
        if np.isfinite(report.p_one):
            p.append(report.p_one)
            half += report.p_one <= 0.05
        d = Units.of(contexts).directions()
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        raw += float((d @ d.T)[UP].mean()) < 0.8
    flagged = said["fractured"] + said["multi-dimensional"]
    return {
        "flagged": wilson(flagged, runs).to_json(),
        "raw_under_0.8": wilson(raw, runs).to_json(),
        "p_up_to_0.05": wilson(half, len(p)).to_json(),
        "verdicts": dict(said),
    }


def large(noise: str, n: int, runs: int = 200) -> dict[str, Any]:
    """The same where prompts are many: only the test that the rule's first step is, for the time that the rest takes.

    Whatever comes after can only take a flag back, but for items in pairs, which these are not.
    """
    flagged, raw = 0, 0
    for s in range(runs):
        units = Units.of(plant("cosine", n=n, seed=3000 + s, decay=NOISES[noise]))
        f = cosines(units, seed=s, draws=100, splits=8)
        one = one_dimension(units, f, seed=s, simulations=200)
        flagged += apart(f, one)
        raw += float(f.raw[UP].mean()) < 0.8
    return {"flagged": wilson(flagged, runs).to_json(), "raw_under_0.8": wilson(raw, runs).to_json()}


def called(truth: str, want: str, noise: str, runs: int = 100, **more: Any) -> dict[str, Any]:
    """How often contexts of one kind are called what they are."""
    said = Counter(
        judge_concept(
            plant(truth, n=64, seed=4000 + s, decay=NOISES[noise], **more), seed=s, draws=100, simulations=200
        ).verdict
        for s in range(runs)
    )
    return {"right": wilson(said[want], runs).to_json(), "verdicts": dict(said)}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "c3.steep": lambda: called("cosine", "fractured", "steep", 60, cosine=0.5),
    "c4.polarity.steep": lambda: called("polarity", "multi-dimensional", "steep", 50),
    "c4.circle.steep": lambda: called("circle", "multi-dimensional", "steep", 50),
    "c2.steep.64": lambda: flags("steep", 64),
    "c1.steep": lambda: c1("steep"),
    "c2.steep.16": lambda: flags("steep", 16),
    "c2.steep.32": lambda: flags("steep", 32),
    "c2.steep.256": lambda: large("steep", 256),
    "c1.gentle": lambda: c1("gentle"),
    "c3.gentle": lambda: called("cosine", "fractured", "gentle", 40, cosine=0.5),
    "c3.groups.steep": lambda: called("groups", "fractured", "steep", 40, cosine=0.0),
    "c4.polarity.gentle": lambda: called("polarity", "multi-dimensional", "gentle", 40),
    "c4.circle.gentle": lambda: called("circle", "multi-dimensional", "gentle", 40),
    "c4.balanced.steep": lambda: called("polarity", "multi-dimensional", "steep", 40, mix=(0.5, 0.5)),
    "c2.gentle.16": lambda: large("gentle", 16),
    "c2.gentle.64": lambda: large("gentle", 64),
    "c2.steep.128": lambda: large("steep", 128),
}
"""In order of need: a broken-off run has the most important ones."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=Path, default=Path("build/concept"), help="where finished parts are kept")
    parser.add_argument("--only", default="", help="parts whose name begins so")
    parser.add_argument("--again", action="store_true", help="do parts that are there again")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no part after so long")
    given = parser.parse_args()
    given.parts.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    for name, part in PARTS.items():
        file = given.parts / f"{name}.json"
        if not name.startswith(given.only) or (file.is_file() and not given.again):
            continue
        if time.monotonic() - begun > given.seconds:
            break
        start = time.monotonic()
        found = part()
        found["seconds"] = round(time.monotonic() - start, 1)
        file.write_text(json.dumps(found, indent=1))
        print(name, json.dumps(found)[:300], flush=True)
    done = {n: json.loads(f.read_text()) for n in PARTS if (f := given.parts / f"{n}.json").is_file()}
    total = round(sum(d["seconds"] for d in done.values()), 1)
    out = {"seconds": total, "missing": [n for n in PARTS if n not in done], "parts": done}
    RESULTS.write_text(json.dumps(out, indent=1) + "\n")
    print(
        f"{len(done)} of {len(PARTS)} parts are in {RESULTS}, {total} s; run the same command again for those that are not"
    )


if __name__ == "__main__":
    main()
