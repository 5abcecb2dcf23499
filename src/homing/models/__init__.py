"""Something you can talk to: local models, scripts, and what opens and examines them. Nothing heavy until it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.lazy import lazy
from homing.models.base import (
    Capability,
    ChatModel,
    Choice,
    Done,
    Event,
    Intervention,
    Reading,
    Reply,
    ReplyRequest,
    Token,
    TurnRead,
)

if TYPE_CHECKING:
    from homing.models.doctor import DoctorReport, examine
    from homing.models.local import LocalModel
    from homing.models.lockstep import Lockstep
    from homing.models.scripted import ScriptedModel
    from homing.models.sources import open_model, wrap

__all__ = [
    "Capability",
    "ChatModel",
    "Choice",
    "DoctorReport",
    "Done",
    "Event",
    "Intervention",
    "LocalModel",
    "Lockstep",
    "Reading",
    "Reply",
    "ReplyRequest",
    "ScriptedModel",
    "Token",
    "TurnRead",
    "examine",
    "open_model",
    "wrap",
]

__getattr__, __dir__ = lazy(
    "homing.models",
    {
        "doctor": ("DoctorReport", "examine"),
        "local": ("LocalModel",),
        "lockstep": ("Lockstep",),
        "scripted": ("ScriptedModel",),
        "sources": ("open_model", "wrap"),
    },
)
