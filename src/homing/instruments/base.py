"""The shape of every instrument: edit the context, fork, ask, compare. Pure functions, and no word of who runs them.

An instrument lists its cells (item x condition), edits a cell's conversation by yielding what is to be asked and being sent
what was answered, scores what that left, and estimates from all scores. The same object runs on a local model, through
Inspect, or on a planted subject.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.models.base import Choice
from homing.stats.estimate import Cost, Finding

if TYPE_CHECKING:
    from homing.drift.standard import Standard
    from homing.persona.axis import Axis

__all__ = [
    "NO_ANCHOR",
    "Answer",
    "Ask",
    "AtHome",
    "Cell",
    "Edit",
    "Gated",
    "Instrument",
    "PresetName",
    "Scored",
    "Sized",
    "Supplied",
    "masses",
    "not_measurable",
    "scaled",
]

PresetName = Literal["smoke", "standard", "full"]
FEW = 3
"""Items of a part, at least, where an instrument is made small."""
LEAST_VALID = 0.95
"""Share of replies in the asked format under which nothing is measured."""
LEAST_MASS = 0.5
"""Median probability that any of the options is said, under which a choice by log-probability is none."""

NO_ANCHOR = "no anchor model was given; give an earlier checkpoint, or another model, with --anchor-model"


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to ask.

    Attributes:
        conversation: up to the user's message. ``options``: whole replies to choose from; empty: the model replies.
        sampling: of a reply. ``held``: under the hold that is tried, if any; else without.
        fork: thrown away afterwards: what a hold learns in it is not kept.
        preamble: messages that the model is shown before the conversation, behind its system message: worked examples, say. No
            hold sees or changes them.
        of: who is asked: the model that is measured, or another that was opened beside it as an anchor, which no hold touches.
        axis: the reply's position on it is read, where the model can be read from; None: nothing is.
    """

    conversation: Conversation
    options: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    held: bool = True
    fork: bool = False
    preamble: tuple[Message, ...] = ()
    of: Literal["model", "anchor"] = "model"
    axis: Axis | None = None

    def shown(self, conversation: Conversation) -> Conversation:
        """A conversation, as holds leave it, behind the preamble."""
        if not self.preamble:
            return conversation
        head = 0 if conversation.system is None else 1
        return Conversation((*conversation.messages[:head], *self.preamble, *conversation.messages[head:]))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        text: of the reply, or the likeliest option. ``choice``: over the options, where there were any.
        conversation: as it stands afterwards, the reply in it; a hold may have changed what came before.
        refused: why nothing was said; empty where something was. ``who``: name of an anchor that said it; else empty.
        position: mean over the reply's tokens on the axis that was asked for; None where it could not be read.
        tokens: of the reply that were read.
        thinking: that of a reply; None where there was none. ``new_tokens``: of a reply, its thinking among them.
    """

    text: str
    conversation: Conversation
    choice: Choice | None = None
    finish: str = "stop"
    refused: str = ""
    who: str = ""
    position: float | None = None
    tokens: int = 0
    thinking: str | None = None
    new_tokens: int = 0


Edit = Generator[Sequence[Ask], Sequence[Answer], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One item under one condition.

    Attributes:
        id: unique over an instrument's cells. ``item``: what is resampled as one. ``condition``: its name.
        data: JSON values that the edit needs. ``seed``: the same in every condition of an item, so that they are paired.
    """

    id: str
    item: str
    condition: str
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """The score of one cell.

    Attributes:
        hold: what was tried. ``values``: by name, JSON numbers or lists of them; a value that could not be had is absent.
        unparsable: replies that were not in the asked format. ``replies``: all that were to be parsed.
    """

    cell: Cell
    hold: str
    values: Mapping[str, Any]
    unparsable: int = 0
    replies: int = 0
    cost: Cost = field(default_factory=Cost)


class Instrument(Protocol):
    """Measures one claim on any model.

    Attributes:
        name: in flags, files and reports. ``claim``: of the source, by number. ``holds``: names of what answers it.
    """

    @property
    def name(self) -> str: ...
    @property
    def claim(self) -> str: ...
    @property
    def holds(self) -> tuple[str, ...]: ...

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """What is to be run under one hold (``none`` for nothing)."""
        ...

    def edit(self, cell: Cell) -> Edit:
        """Yields what is to be asked, is sent the answers in the same order, and returns a record of JSON values."""
        ...

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """The score of a record."""
        ...

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """Findings from the scores of all holds; the same numbers for the same scores in any order."""
        ...


@runtime_checkable
class Sized(Instrument, Protocol):
    """An instrument whose number of items can be planned from a wanted precision; one that is none keeps its presets.

    Attributes:
        planning_sd: the largest standard deviation over items that its primary figure is planned for.
    """

    @property
    def planning_sd(self) -> float: ...

    def units(self, preset: PresetName) -> int:
        """Items that the primary figure rests on: what is resampled as one."""
        ...

    def sized(self, preset: PresetName, items: int) -> Instrument:
        """The same with about so many items, no fewer than it can measure and no more than it has, all parts with them."""
        ...


@runtime_checkable
class Gated(Instrument, Protocol):
    """An instrument some of whose cells show whether the others could mean anything, and are worth playing first."""

    def gates(self, cell: Cell) -> bool:
        """Whether a cell is one of those."""
        ...

    def left(self, cells: Sequence[Cell], scored: Sequence[Scored]) -> list[Cell]:
        """Of the other cells, under any hold, those that can still tell something, by the scores of all that came first."""
        ...


@runtime_checkable
class Supplied(Instrument, Protocol):
    """An instrument that can play items a user brought; work on others is not gone on with.

    Attributes:
        supplied: text that differs where the items do; empty where none were brought.
    """

    @property
    def supplied(self) -> str: ...


@runtime_checkable
class AtHome(Instrument, Protocol):
    """An instrument that measures more where it is given an identity of the model that it is played on."""

    def at_home(self, axis: Axis, standard: Standard) -> Instrument:
        """The same with an identity's axis, and the spread of drift that its alarms go by."""
        ...


def scaled(n: int, factor: float) -> int:
    """A part of an instrument made larger or smaller: at least a few, none where there was none."""
    return max(FEW, math.ceil(n * factor - 1e-9)) if n else 0


def masses(answers: Sequence[Answer]) -> dict[str, Any]:
    """What a record keeps of choices, so that they can be told from none: ``mass`` of each, and whether all are ``exact``."""
    choices = [a.choice for a in answers if a.choice is not None]
    return {"mass": [round(c.mass, 6) for c in choices], "exact": all(c.exact for c in choices)}


def not_measurable(name: str, reason: str) -> Finding:
    """A finding that says why there is none."""
    return Finding(name, regime="not_measurable", reason=reason, verdict=f"Not measurable: {reason}.")


def validity(name: str, scored: Sequence[Scored]) -> Finding | None:
    """A finding where too many replies were not in the asked format; else None."""
    asked, bad = sum(s.replies for s in scored), sum(s.unparsable for s in scored)
    if asked and (asked - bad) / asked < LEAST_VALID:
        return not_measurable(
            name, f"{asked - bad} of {asked} replies are in the asked format, and {LEAST_VALID:.0%} must be"
        )
    return None
