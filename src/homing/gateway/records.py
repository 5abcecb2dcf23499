"""What the gateway keeps of a conversation, as values: no SQL and no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AlarmRecord", "Committed", "Counts", "EventRecord", "Settled", "Standing", "TurnRecord"]

Json = Mapping[str, Any]


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn.

    Attributes:
        request_id: of the request that made it; the same one twice is one turn. ``created``: Unix seconds.
        model, hold, mode: it was made by, under, and in. ``finish``: why the reply ended.
        prompt_tokens, new_tokens: counts. ``seconds``: from the request to the end; ``added_seconds``: of them, not the engine's.
        position: of the reply, read without any act; None where it was not read. ``fresh``: of a reply to the same message
            asked afresh. ``drift``: position less fresh.
        trace: position of each token of the reply, NaN where a token was not read. ``capped``: tokens that an act moved.
        interventions: what holds said that they did.
        messages: what was new in this turn, the reply last, and ``pieces`` the text of each token; None where the deployment
            keeps no text.
    """

    request_id: str
    created: float
    model: str
    hold: str
    mode: str
    prompt_tokens: int
    new_tokens: int
    finish: str
    seconds: float
    added_seconds: float = 0.0
    position: float | None = None
    drift: float | None = None
    fresh: float | None = None
    trace: tuple[float, ...] = ()
    capped: int = 0
    interventions: tuple[Json, ...] = ()
    messages: tuple[Json, ...] | None = None
    pieces: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """One detector over its threshold; ``id`` is the store's, 0 before it is kept. ``turn``: counted from 0."""

    detector: str
    statistic: float
    threshold: float
    turn: int = 0
    id: int = 0
    false_alarm: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a conversation stands.

    Attributes:
        turns: kept so far. ``hold``: chosen for this conversation from outside; None: the deployment's.
        state: JSON of detectors and holds; the store does not look inside. ``created``, ``updated``: Unix seconds.
        alarms: kept so far; ``model``, ``position``, ``drift``: of the last turn.
    """

    conversation: str
    tenant: str
    turns: int = 0
    hold: str | None = None
    state: Json = field(default_factory=_nothing)
    created: float = 0.0
    updated: float = 0.0
    alarms: int = 0
    model: str = ""
    position: float | None = None
    drift: float | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What a change leaves: the new state, alarms of this turn, events as ``(kind, data)``.

    ``seen`` is the digest of the conversation as the client has it after the turn; None: as it was.
    """

    state: Json
    alarms: tuple[AlarmRecord, ...] = ()
    events: tuple[tuple[str, Json], ...] = ()
    seen: str | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event; ``id`` grows with each, over all conversations."""

    id: int
    created: float
    kind: str
    conversation: str
    data: Json


@dataclass(frozen=True, slots=True)
class Committed:
    """A change that is kept: its turn, counted from 0, and what came of it. ``again``: this request was kept before.

    A change without a turn has that of the last one, -1 where there is none.
    """

    turn: int
    standing: Standing
    alarms: tuple[AlarmRecord, ...] = ()
    events: tuple[EventRecord, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What a tenant has in the store; ``false_alarms``: of the alarms, those that a person marked so."""

    conversations: int = 0
    alarms: int = 0
    false_alarms: int = 0
    turns: int = 0
