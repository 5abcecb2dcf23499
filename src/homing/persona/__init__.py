"""Map: roles and questions, replies, judge, persona space, axis, card, exact battery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.lazy import lazy

if TYPE_CHECKING:
    from homing.persona.axis import Axis
    from homing.persona.battery import Difficulty, price
    from homing.persona.card import Selection, measure, select_layer, tuning_rows
    from homing.persona.judge import JudgeGate, gate, in_role_scores, load_gold
    from homing.persona.outside import OutsideItem, load_outside
    from homing.persona.outside_home import OutsideHome, measure_outside
    from homing.persona.plan import Cell, Design, Preset, design_cells, opening
    from homing.persona.questions import Question, load_questions
    from homing.persona.roles import Home, Role, content_digest, load_home, load_roles
    from homing.persona.rollouts import Replies, ask
    from homing.persona.scale import Scale
    from homing.persona.space import cross_scores, fit_axis, pcs, random_splits, role_vectors, split_cosines

__all__ = [
    "Axis",
    "Cell",
    "Design",
    "Difficulty",
    "Home",
    "JudgeGate",
    "OutsideHome",
    "OutsideItem",
    "Preset",
    "Question",
    "Replies",
    "Role",
    "Scale",
    "Selection",
    "ask",
    "content_digest",
    "cross_scores",
    "design_cells",
    "fit_axis",
    "gate",
    "in_role_scores",
    "load_gold",
    "load_home",
    "load_outside",
    "load_questions",
    "load_roles",
    "measure",
    "measure_outside",
    "opening",
    "pcs",
    "price",
    "random_splits",
    "role_vectors",
    "select_layer",
    "split_cosines",
    "tuning_rows",
]

__getattr__, __dir__ = lazy(
    "homing.persona",
    {
        "axis": ("Axis",),
        "battery": ("Difficulty", "price"),
        "card": ("Selection", "measure", "select_layer", "tuning_rows"),
        "judge": ("JudgeGate", "gate", "in_role_scores", "load_gold"),
        "outside": ("OutsideItem", "load_outside"),
        "outside_home": ("OutsideHome", "measure_outside"),
        "plan": ("Cell", "Design", "Preset", "design_cells", "opening"),
        "questions": ("Question", "load_questions"),
        "roles": ("Home", "Role", "content_digest", "load_home", "load_roles"),
        "rollouts": ("Replies", "ask"),
        "scale": ("Scale",),
        "space": ("cross_scores", "fit_axis", "pcs", "random_splits", "role_vectors", "split_cosines"),
    },
)
