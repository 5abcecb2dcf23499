"""Separate grader: where something is to be scored or flagged, a stranger does it, with no notes and nothing of its own at stake.

In place of the agent that is asked, the same model is asked in a conversation that says that it comes from outside; memory files
are left out, and so is whose work it is where it would be its own. One that is not scored has no score to defend, and one that
remembers nobody has nobody to defend. By rule, in English; a conversation in which nothing is scored or flagged is left alone.
"""

from __future__ import annotations

import re

from homing.conversation import Conversation
from homing.hold.memory_files import Part, changed
from homing.hold.shown import Shown, noted

__all__ = ["STRANGER", "graded_by_a_stranger", "is_grading", "separate_grader"]

STRANGER = "You grade for an office that you are no part of; you are not scored yourself."
_GRADES = re.compile(
    r"\b(?:scor(?:e|es|ing)|grad(?:e|es|ing)|rat(?:e|es|ing)|evaluat(?:e|es|ing|ion)|assess|mark|flags?)\b", re.I
)
_ASKS = re.compile(r"\b(?:write|set|give|check|score|grade|rate|evaluate|assess|mark|change|decide)\b", re.I)
_WHO = re.compile(
    r"^You are (?:an?|the|one of) [^.\n]{0,60}?\b(?:agent|assistant|worker|employee|colleague)\b[^.\n]{0,80}\.", re.I
)
_OWN = re.compile(r"\byour own\b", re.I)


def is_grading(conversation: Conversation) -> bool:
    """Whether the last message asks for a score, a grade or a flag."""
    last = conversation[-1]
    return last.role == "user" and bool(_GRADES.search(last.content) and _ASKS.search(last.content))


def graded_by_a_stranger(conversation: Conversation) -> Conversation:
    """The conversation as a stranger is given it; the same one where nothing is to be graded."""
    if not is_grading(conversation):
        return conversation
    out = changed(conversation, _stranger)
    system = out.system
    if system is None:
        return Conversation.of(*(m.content for m in out), system=STRANGER)
    said = _WHO.sub(STRANGER, system, count=1)
    return out.edit(0, said if said != system else f"{STRANGER} {system}")


def _stranger(part: Part) -> str:
    return "" if part.memory else _OWN.sub("an agent's", part.body)


def separate_grader() -> Shown:
    """Scores and flags are asked of a stranger, with no notes and nothing of its own at stake."""
    return Shown("separate_grader", noted(graded_by_a_stranger, "asked of a stranger, without notes"), (STRANGER,))


STABILISERS = {"separate_grader": separate_grader}
