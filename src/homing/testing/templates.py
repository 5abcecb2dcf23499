"""Real chat templates, read in place from installed packages, and what homing makes of each: the table in the docs."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homing.conversation import Conversation
from homing.engine.template import ChatTemplate, Tokenizer
from homing.errors import TemplateError

__all__ = ["PACKAGES", "Outcome", "find_templates", "outcome", "template_table"]

PACKAGES = ("axolotl", "trl")
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
REPLIES = ("It is noon; the sun stands high.", "Yes: two o'clock,\nnot later.")
"""Replies without blanks at their ends, which many templates strip."""
TALK = Conversation.of("What time is it?", REPLIES[0], "Will you be here at two?", REPLIES[1], "Good.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What homing makes of one template.

    Attributes:
        package, name: where it was read. verdict: spans are exact, or the template is refused.
        reason: of the refusal, else empty. system: what becomes of a system message. implicit_system: what it inserts.
        think: texts around thinking, or None. replies: text of each reply as its tokens give it.
    """

    package: str
    name: str
    verdict: Literal["exact", "refused"]
    reason: str = ""
    system: str = ""
    implicit_system: str | None = None
    think: tuple[str, str] | None = None
    replies: tuple[str, ...] = ()


def find_templates() -> dict[tuple[str, str], Path]:
    """Template files of the installed packages by package and name; nothing is imported or copied."""
    found: dict[tuple[str, str], Path] = {}
    for package in PACKAGES:
        try:
            files = importlib.metadata.distribution(package).files or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.suffix in (".jinja", ".jinja2") and "chat_templates" in file.parts:
                found[package, file.stem] = Path(str(file.locate()))
    return dict(sorted(found.items()))


def outcome(source: str, tokenizer: Tokenizer, *, package: str = "", name: str = "") -> Outcome:
    """Encode :data:`TALK` with one template.

    Args:
        source: the template's text. tokenizer: any fast one that loses no character. package, name: for the table.
    """
    template = ChatTemplate(source, SPECIAL, {})
    try:
        probe = template.probe
        encoded = template.encode(TALK, tokenizer)
    except TemplateError as e:
        return Outcome(package, name, "refused", str(e).removeprefix("the chat template cannot be used: "))
    places = tokenizer(encoded.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    texts = tuple(encoded.text[places[r.start][0] : places[r.stop - 1][1]] for r in encoded.replies)
    return Outcome(package, name, "exact", "", probe.system, probe.implicit_system, probe.think, texts)


def template_table() -> str:
    """Markdown: one line a template found, with its outcome."""
    from homing.testing.tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    rows = ["| template | from | replies | system message | thinking | inserts |", "|---|---|---|---|---|---|"]
    for (package, name), path in find_templates().items():
        o = outcome(path.read_text(encoding="utf-8"), tokenizer, package=package, name=name)
        verdict = "exact" if o.verdict == "exact" else f"refused: {_cell(o.reason)}"
        think = " ... ".join(f"`{_cell(t)}`" for t in o.think) if o.think else "-"
        inserts = f"`{_cell(o.implicit_system.strip()[:60])}`" if o.implicit_system else "-"
        rows.append(f"| {name} | {package} | {verdict} | {o.system or '-'} | {think} | {inserts} |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
