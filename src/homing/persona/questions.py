"""Questions that any character can answer, so that a role shows itself."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from homing.persona.marked import MarkedYaml, each_item

__all__ = ["Question", "load_questions"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        id: unique over all questions. ``kind``: name of its file. ``text``: what the user asks.
    """

    id: str
    kind: str
    text: str


def load_questions() -> tuple[Question, ...]:
    """Every question, by kind and then in the order of its file.

    Raises:
        InputError: file and line of what is wrong.
    """
    folder = files("homing.persona") / "data" / "questions"
    found: dict[str, Question] = {}
    ordered = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    for kind, item in each_item(ordered, "questions"):
        question = _question(item, kind)
        if question.id in found:
            raise item.complain(f"id {question.id!r} is used by another question; choose a new one")
        found[question.id] = question
    return tuple(found.values())


def _question(item: MarkedYaml, kind: str) -> Question:
    fields = item.fields(required=("id", "text"))
    return Question(fields.text("id"), kind, fields.text("text"))
