"""Questions that any character can answer, so that a role shows itself."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from homing.persona.marked import MarkedYaml, read_marked

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
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name):
        kind = file.name.removesuffix(".yaml")
        fields = read_marked(file).fields(required=("licence", "source", "canary", "questions"))
        for name in ("licence", "source", "canary"):
            fields.text(name)
        for item in fields["questions"].items("questions"):
            question = _question(item, kind)
            if question.id in found:
                raise item.complain(f"id {question.id!r} is used by another question; choose a new one")
            found[question.id] = question
    return tuple(found.values())


def _question(item: MarkedYaml, kind: str) -> Question:
    fields = item.fields(required=("id", "text"))
    return Question(fields.text("id"), kind, fields.text("text"))
