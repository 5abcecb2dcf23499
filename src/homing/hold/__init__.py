"""Hold a model at home: one file a stabiliser, a chain that composes them, and what a hold did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.lazy import lazy

if TYPE_CHECKING:
    from homing.hold.base import Stabiliser, Trait, Turn, collect, trait
    from homing.hold.cap import Cap, CapStabiliser, SelfTest
    from homing.hold.chain import Sham, available, build, get, held, traits
    from homing.hold.controls import Matched, control_directions, match_controls
    from homing.hold.efficacy import Efficacy, Example
    from homing.hold.fresh import Fresh
    from homing.hold.heal import Heal
    from homing.hold.recap import Recap
    from homing.hold.remind import SystemLine
    from homing.hold.roleplay import RolePlay, load_roleplay
    from homing.hold.self_return import Note
    from homing.hold.tuning import Candidate, Tuning, tune

__all__ = [
    "Candidate",
    "Cap",
    "CapStabiliser",
    "Efficacy",
    "Example",
    "Fresh",
    "Heal",
    "Matched",
    "Note",
    "Recap",
    "RolePlay",
    "SelfTest",
    "Sham",
    "Stabiliser",
    "SystemLine",
    "Trait",
    "Tuning",
    "Turn",
    "available",
    "build",
    "collect",
    "control_directions",
    "get",
    "held",
    "load_roleplay",
    "match_controls",
    "trait",
    "traits",
    "tune",
]

__getattr__, __dir__ = lazy(
    "homing.hold",
    {
        "base": ("Stabiliser", "Trait", "Turn", "collect", "trait"),
        "cap": ("Cap", "CapStabiliser", "SelfTest"),
        "chain": ("Sham", "available", "build", "get", "held", "traits"),
        "controls": ("Matched", "control_directions", "match_controls"),
        "efficacy": ("Efficacy", "Example"),
        "fresh": ("Fresh",),
        "heal": ("Heal",),
        "recap": ("Recap",),
        "remind": ("SystemLine",),
        "roleplay": ("RolePlay", "load_roleplay"),
        "self_return": ("Note",),
        "tuning": ("Candidate", "Tuning", "tune"),
    },
)
