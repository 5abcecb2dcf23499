"""Same answers, different insides: whether what a network knows is one thing in it or several that agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.lazy import lazy

if TYPE_CHECKING:
    from homing.fracture.companions import entanglement, feature_symmetry
    from homing.fracture.concept import ConceptReport, ConceptVerdict, judge_concept
    from homing.fracture.concept_contexts import Context, Contexts
    from homing.fracture.concept_items import MatchedItems, matched_items
    from homing.fracture.edits import Edits, edit_transfer
    from homing.fracture.genome import Genome, load_genome
    from homing.fracture.metrics import Pairs, Unity, unity
    from homing.fracture.network import Layer, Network

__all__ = [
    "ConceptReport",
    "ConceptVerdict",
    "Context",
    "Contexts",
    "Edits",
    "Genome",
    "Layer",
    "MatchedItems",
    "Network",
    "Pairs",
    "Unity",
    "edit_transfer",
    "entanglement",
    "feature_symmetry",
    "judge_concept",
    "load_genome",
    "matched_items",
    "unity",
]

__getattr__, __dir__ = lazy(
    "homing.fracture",
    {
        "companions": ("entanglement", "feature_symmetry"),
        "concept": ("ConceptReport", "ConceptVerdict", "judge_concept"),
        "concept_contexts": ("Context", "Contexts"),
        "concept_items": ("MatchedItems", "matched_items"),
        "edits": ("Edits", "edit_transfer"),
        "genome": ("Genome", "load_genome"),
        "metrics": ("Pairs", "Unity", "unity"),
        "network": ("Layer", "Network"),
    },
)
