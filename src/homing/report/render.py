# pyright: reportUnknownMemberType=false
"""Report data to one HTML file: no network, no inline handlers, model and user text as text only.

The page carries its own content security policy: everything is denied but the one style sheet and the one script that
are inside it, by their hashes. Text reaches the page through autoescaping alone; nothing in the template is marked safe
except charts, which escape their own texts.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from homing.errors import InputError
from homing.report import concept_figures, figures
from homing.report.model import Absent, ReportData, Row
from homing.report.svg import interval_text, number

__all__ = ["page", "render", "write", "write_page"]

VERDICTS = {
    "measured": "measured",
    "shown": "shown",
    "not_shown": "not shown",
    "inconclusive": "inconclusive",
    "not_measurable": "not measurable",
    "refused": "not claimed",
}

GLOSSARY = (
    Row(
        "Role",
        "A character that the model is asked to play, such as a shaman or an accountant, by a short instruction.",
    ),
    Row(
        "Home",
        "The model as it answers when nobody asks it to be anyone else, or as the user of this tool declared it.",
    ),
    Row("Axis", "The direction inside the model that leads from the average role to home."),
    Row(
        "Position",
        "How near home a reply reads: 0 is the average role, 1 is home. It says nothing about good or bad.",
    ),
    Row(
        "Reader",
        "The direction that positions are read with: the axis, turned away from what makes replies of one speaker differ.",
    ),
    Row("Drift", "Position of a reply in its conversation, minus that of a reply to the same message asked afresh."),
    Row(
        "Neutral twin",
        "A harmless conversation of the same length: what any long talk does to the model, without the push.",
    ),
    Row("Cap", "A small correction inside the model, made only where a token falls below a set position on the axis."),
    Row(
        "Interval",
        "The range that the true figure lies in, with the stated confidence (mostly 95%). Wide: little was measured.",
    ),
)


@cache
def _asset(name: str) -> str:
    return files("homing.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _is_absent(value: object) -> bool:
    return isinstance(value, Absent)


@cache
def _environment() -> Environment:
    env = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters.update(number=number, interval=interval_text, verdict=VERDICTS.__getitem__)
    env.tests.update(absent=_is_absent)
    return env


def render(data: ReportData) -> str:
    """The whole page as text.

    Args:
        data: everything it shows. The same data gives the same page.
    """
    talks = () if isinstance(data.conversations, Absent) else data.conversations
    return page(
        "page.html.j2",
        d=data,
        fig=figures,
        cfig=concept_figures,
        glossary=GLOSSARY,
        talks=talks,
        heat_top=figures.heat_top(talks),
    )


def page(template: str, **shown: Any) -> str:
    """A template of the assets, filled, with the style sheet, the script, and the policy that allows these two alone."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            policy=policy,
            style=Markup(style),  # noqa: S704  our own file, no data in it
            script=Markup(script),  # noqa: S704  our own file, no data in it
            **shown,
        )
    )


def write(data: ReportData, path: str | os.PathLike[str]) -> Path:
    """Write the page of an identity; see :func:`write_page`.

    Args:
        data: everything it shows. ``path``: of the HTML file; its folder must exist.

    Raises:
        InputError: the file cannot be written.
    """
    return write_page(render(data), path)


def write_page(page: str, path: str | os.PathLike[str]) -> Path:
    """Write a page, whole or not at all: a reader never sees half of it.

    Raises:
        InputError: the file cannot be written.
    """
    target = Path(path)
    try:
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as e:
        raise InputError(f"cannot write the report {target}: {e.strerror}; give a folder you may write to") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as f:
            f.write(page)
        Path(part).chmod(0o644)
        Path(part).replace(target)
    except OSError as e:
        Path(part).unlink(missing_ok=True)
        raise InputError(
            f"cannot write the report {target}: {e.strerror}; free some space or give another path"
        ) from None
    return target
