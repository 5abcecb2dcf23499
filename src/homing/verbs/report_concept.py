"""The part of an identity's page about home as a concept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homing.identity import Identity
from homing.report.model import UNJUDGED, Absent, Concept, ConceptPair, ConceptWay, Row
from homing.stats.estimate import Estimate

__all__ = ["TITLES", "concept_view"]

TITLES = {"questions": "Over kinds of questions", "roles": "Against families of roles"}


def concept_view(identity: Identity) -> Concept | Absent:
    """Is home one thing, over each way of making contexts; absent where it was not judged."""
    if "concept" not in identity.sections:
        return UNJUDGED
    data = identity.section("concept").data
    ways = tuple(_way(TITLES.get(str(name), str(name)), said) for name, said in data["by"].items())
    return Concept(ways, int(data["layer"]))


def _way(title: str, said: Mapping[str, Any]) -> ConceptWay:
    mean = said["figures"].get("cosine")
    pairs = [
        ConceptPair(p["first"], p["second"], *(Estimate.from_json(p[k]) for k in ("cosine", "raw", "ceiling")))
        for p in said["pairs"]
    ]
    return ConceptWay(
        title,
        said["verdict"],
        tuple(said["reasons"]),
        None if mean is None else Estimate.from_json(mean),
        tuple(sorted(pairs, key=lambda p: p.cosine.value)),
        tuple(Row(name, why) for name, why in said["left_out"].items()),
    )
