"""What a chat template does, found by trying it: form of content, system message, implicit system prompt, thinking."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from homing.engine.render import TemplateFailed, TemplateRaised
from homing.errors import TemplateError

__all__ = ["FIELDS", "Probe", "probe_template"]

FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Message fields that carry earlier thinking."""
_TAG = re.compile(r"<[^<>\s]{1,40}>|\[[A-Z_]{2,30}\]")
_U, _A, _S, _T, _V = "\ue100u\ue100", "\ue100a\ue100", "\ue100s\ue100", "\ue100t\ue100", "\ue100v\ue100"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a template does.

    Attributes:
        form: whether it wants content as text or as a list of parts.
        system: it shows a system message, refuses it in words, drops it in silence, or fails on it.
        implicit_system: what it says by itself as system prompt where none is given, else None.
        think: texts that open and close thinking. field: the message field that it reads earlier thinking from.
        starts_inside: its generation prompt already opens thinking.
    """

    form: Literal["text", "parts"]
    system: Literal["shown", "refused", "dropped", "failed"]
    implicit_system: str | None
    think: tuple[str, str] | None
    field: str | None
    starts_inside: bool


@dataclass(frozen=True, slots=True)
class _Trial:
    run: Callable[[Sequence[Mapping[str, Any]], bool], str]
    form: Literal["text", "parts"]

    def message(self, role: str, text: str, **more: str) -> dict[str, Any]:
        return {"role": role, "content": text if self.form == "text" else [{"type": "text", "text": text}], **more}

    def attempt(self, *messages: Mapping[str, Any], generate: bool = False) -> str | None:
        try:
            return self.run(messages, generate)
        except (TemplateRaised, TemplateFailed):
            return None


def probe_template(run: Callable[[Sequence[Mapping[str, Any]], bool], str], source: str) -> Probe:
    """Try a template.

    Args:
        run: renders messages, with a generation prompt or without. source: the template's text.

    Raises:
        TemplateError: it fails on a user message, does not show one, or opens thinking and never says how it closes.
    """
    trial = _Trial(run, "text")
    plain = trial.attempt(trial.message("user", _U), generate=True)
    if plain is None or _U not in plain:
        parts = _Trial(run, "parts")
        shown = parts.attempt(parts.message("user", _U), generate=True)
        if shown is None or _U not in shown:
            if plain is None:
                run([trial.message("user", _U)], True)  # raises, with the template's own words
            raise TemplateError("the chat template does not show the text of a user message")
        trial, plain = parts, shown
    system, implicit = _system(trial, plain)
    tail = plain.rsplit(_U, 1)[-1]
    think, field = _thinking(trial, tail)
    tags = _TAG.findall(tail)
    if think is None and tags and "think" in tags[-1].lower() and "/" not in tags[-1]:  # opened, and never shown again
        closing = tags[-1][0] + "/" + tags[-1][1:]
        if closing not in source:
            raise TemplateError(
                f"the chat template opens thinking with {tags[-1]!r} and never shows how it closes, "
                "so thinking and reply cannot be told apart"
            )
        think = (tags[-1], closing)
    starts_inside = think is not None and tail.rfind(think[0]) > tail.rfind(think[1])
    return Probe(trial.form, system, implicit, think, field, starts_inside)


def _system(trial: _Trial, plain: str) -> tuple[Literal["shown", "refused", "dropped", "failed"], str | None]:
    """How a system message fares, and what stands in its place where none is given."""
    try:
        text = trial.run([trial.message("system", _S), trial.message("user", _U)], True)
    except TemplateRaised:
        return "refused", None
    except TemplateFailed:
        return "failed", None
    if _S not in text or _U not in text:
        return "dropped", None
    head = text.split(_U)[0]
    before, after = head.split(_S)[0], head.split(_S)[-1]
    lead = plain.split(_U)[0]
    if lead.startswith(before) and lead.endswith(after) and len(lead) > len(before) + len(after):
        return "shown", lead[len(before) : len(lead) - len(after)]
    return "shown", None


def _thinking(trial: _Trial, tail: str) -> tuple[tuple[str, str] | None, str | None]:
    """Texts that open and close thinking, and the field it is read from: a thought is given, its surroundings compared."""
    user, later = trial.message("user", _U), trial.message("user", _V)
    history = trial.attempt(user, trial.message("assistant", _A), later)
    header = history.split(_U)[-1].split(_A)[0] if history and _A in history and _U in history else ""
    for field in FIELDS:
        shown = trial.attempt(user, trial.message("assistant", _A, **{field: _T}))
        if not shown or shown.count(_T) != 1 or _A not in shown.split(_T)[1]:
            continue
        before, after = shown.split(_T)
        before, closing = before.split(_U)[-1], after.split(_A)[0].strip()
        # what stands between the place where generation begins (or a reply without thought) and the thought
        opening = next((before[len(h) :].strip() for h in (tail, header) if h and before.startswith(h)), "")
        if not opening:
            tags = _TAG.findall(before)
            opening = tags[-1] if tags else ""
        if opening and closing:
            return (opening, closing), field
    return None, None
