"""Something you can talk to: local models, scripts, and what opens and examines them. Nothing heavy until it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_LAZY = {
    "DoctorReport": "doctor",
    "LocalModel": "local",
    "ScriptedModel": "scripted",
    "examine": "doctor",
    "open_model": "sources",
    "wrap": "sources",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"homing.models.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'homing.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
