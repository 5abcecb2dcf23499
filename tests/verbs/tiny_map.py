"""A planted model on disk and its whole map, made once a test session."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homing.identity import Identity
from homing.persona.plan import Preset, design_cells
from homing.persona.questions import load_questions
from homing.persona.roles import Role, load_home
from homing.testing.tiny import MARKER, Planted, planted_model
from homing.verbs.map import run_map
from homing.verbs.plan import MapPlan

PRESET = Preset(16, 16, 4, 96, 6, False, 60, 10, 2, 1, 3, 2, 16)
SHORT = replace(PRESET, replies_per_role=3, home_replies=48, check=0, scripts_per_domain=0, cap_prompts=2)
STRENGTH = 4.0


def marked_roles(n: int = 16) -> tuple[Role, ...]:
    """Roles whose every prompt switches the planted persona on."""
    return tuple(
        Role(
            f"role-{i}", f"Role {i}", f"kind-{i % 3}", tuple(f"{MARKER} You are number {i}{v}" for v in ".!?"), ("num",)
        )
        for i in range(n)
    )


def tiny_plan(out: Path, *, model: str = "planted", preset: Preset = PRESET, seed: int = 0, **more: Any) -> MapPlan:
    design = design_cells(marked_roles(preset.roles), load_questions(), load_home(None), preset=preset, seed=seed)
    fields: dict[str, Any] = {"precision": None, "judge": "none"} | more
    return MapPlan(model, "smoke", preset, design, None, seed, out, **fields)


def save_model(planted: Planted, directory: Path) -> Path:
    planted.model.save_pretrained(directory)
    planted.tokenizer.save_pretrained(directory)
    return directory


def weights_hash(model: Any) -> str:
    h = hashlib.sha256()
    for name, p in sorted(model.state_dict().items()):
        h.update(name.encode() + p.detach().cpu().numpy().tobytes())
    return h.hexdigest()


@dataclass(frozen=True, eq=False)
class Mapped:
    """The planted model, where it is saved, and its map."""

    planted: Planted
    model: Path
    home: Path
    identity: Identity


_made: dict[str, Mapped] = {}


def shared_map(base: Path) -> Mapped:
    """The session's map of the planted model, from disk to disk."""
    if "mapped" not in _made:
        planted = planted_model(strength=STRENGTH)
        model = save_model(planted, base / "tiny-model")
        identity = run_map(tiny_plan(base / "tiny-home", model=str(model)))
        _made["mapped"] = Mapped(planted, model, base / "tiny-home", identity)
    return _made["mapped"]
