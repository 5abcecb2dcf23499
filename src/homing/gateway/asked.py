"""What one turn is made of: what was asked, what holds it, what is known of it on its way, and what it says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from homing.conversation import Conversation
from homing.engine.base import Act, Sampling
from homing.gateway.records import AlarmRecord, Standing
from homing.hold.base import Stabiliser

__all__ = ["Asked", "Chosen", "Report", "Run"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One reply that somebody wants.

    Attributes:
        conversation: up to the user's message, as the client has it. ``hold``, ``shadow``, ``conversation_id``: of the request.
        keep: whether it is a turn; of several choices the first alone is.
    """

    tenant: str
    request_id: str
    model: str
    conversation: Conversation
    sampling: Sampling
    hold: str | None = None
    shadow: bool | None = None
    conversation_id: str | None = None
    keep: bool = True
    received: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True)
class Report:
    """What a reply can say of itself.

    Attributes:
        turn: counted from 1. ``hold``: in force. ``hold_of``: who chose it. ``acted``: whether it was in force in this turn; one
            that waits for an alarm is not until then. ``returning``: whether the way back goes on. ``home``: shown in this turn.
        capped: tokens that the cap moved, of ``tokens``. ``did``: what holds said. ``added_seconds``: not the reply's own.
        kept: whether the turn is stored. ``warnings``: what failed, and why a promise does not cover this.
    """

    conversation: str
    turn: int
    mode: str
    hold: str
    hold_of: str
    acted: bool
    position: float | None = None
    drift: float | None = None
    alarms: tuple[AlarmRecord, ...] = ()
    alarmed: bool = False
    returning: bool = False
    home: bool = False
    capped: int = 0
    tokens: int = 0
    did: tuple[Mapping[str, Any], ...] = ()
    added_seconds: float = 0.0
    kept: bool = True
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object ``homing`` of a response."""
        return {
            "conversation_id": self.conversation,
            "turn": self.turn,
            "mode": self.mode,
            "hold": self.hold,
            "hold_of": self.hold_of,
            "acted": self.acted,
            "position": self.position,
            "drift": self.drift,
            "alarms": [
                {"detector": a.detector, "statistic": a.statistic, "threshold": a.threshold} for a in self.alarms
            ],
            "alarmed": self.alarmed,
            "returning": self.returning,
            "home": self.home,
            "capped_tokens": self.capped,
            "tokens": self.tokens,
            "did": [dict(d) for d in self.did],
            "added_seconds": round(self.added_seconds, 6),
            "kept": self.kept,
            "warnings": list(self.warnings),
        }


@dataclass(slots=True)
class Chosen:
    """What holds this turn. ``names``: by name. ``by``: who chose. ``chain``: in force; empty where nothing is."""

    names: str
    by: str
    chain: tuple[Stabiliser, ...] = ()


@dataclass(slots=True)
class Run:
    """A turn on its way."""

    asked: Asked
    mode: str
    id: str
    standing: Standing
    chosen: Chosen
    shown: Conversation
    done: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    moved: set[int] = field(default_factory=set[int])
    left: dict[str, Any] = field(default_factory=dict[str, Any])
    rewritten: Conversation | None = None
    acts: tuple[Act, ...] = ()
    warnings: list[str] = field(default_factory=list[str])
    engine_seconds: float = 0.0
