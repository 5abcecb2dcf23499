"""What a hold is: an async-generator middleware around the making of one reply. It keeps nothing on itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

from homing.conversation import Conversation
from homing.engine.base import Act, MeanRead, Read, Sampling
from homing.errors import ModelError
from homing.models.base import Capability, ChatModel, Done, Event, Intervention, Reply

__all__ = ["HISTORY", "Next", "Stabiliser", "Trait", "Turn", "collect", "last", "passed", "rewritten", "trait"]


Trait = Literal["shortens", "lasting", "asks"]
"""What an experiment must know of a hold that it has only the name of. ``shortens``: the conversation, so that one that was not
pushed must be shortened beside it. ``lasting``: its whole effect stays in the text; in force it is no other than lifted.
``asks``: it would meet every question of a battery with calls of its own, so it is read lifted alone.
"""
F = TypeVar("F", bound=Callable[..., Any])


def trait(*traits: Trait) -> Callable[[F], F]:
    """Says what kind of hold a factory makes; one that says nothing has none of the traits."""

    def mark(factory: F) -> F:
        factory.traits = frozenset(traits)  # type: ignore[attr-defined]
        return factory

    return mark


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply to make, and what was left by the turns before.

    Args:
        conversation: up to the user's message. ``sampling``, ``acts``, ``reads``, ``means``: as the model takes them.
        state: what stabilisers said they want to have back, by their name; JSON values alone.
    """

    conversation: Conversation
    sampling: Sampling = field(default_factory=Sampling)
    acts: tuple[Act, ...] = ()
    reads: tuple[Read, ...] = ()
    means: tuple[MeanRead, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])


HISTORY = "history"
"""Key of an intervention's state under which a hold gives the conversation as it is to stand from now on, in OpenAI messages."""


def rewritten(hold: str, conversation: Conversation, *, note: str, **state: Any) -> Intervention:
    """Says that a hold has rewritten what came before the reply; the caller stores it in the place of what it had."""
    return Intervention(hold, 0, note=note, state={HISTORY: conversation.to_openai(), **state})


Next = Callable[[Turn], AsyncIterator[Event]]


@runtime_checkable
class Stabiliser(Protocol):
    """Holds a model at home, or brings it back, one turn at a time.

    Attributes:
        name: in flags and reports. ``needs``: what the model must be able to do.
        buffers: True where the first token waits for the whole reply.

    A stabiliser that puts sentences of its own into a conversation names them in ``says``: what they answer is not asked.
    """

    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> frozenset[Capability]: ...
    @property
    def buffers(self) -> bool: ...

    def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncIterator[Event]:
        """Make the reply through ``next``; new state leaves in an Intervention."""
        ...


async def passed(events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
    """Events as they come; closing this closes the row below."""
    # every event stream is an async generator
    async with aclosing(cast("AsyncGenerator[Event, None]", events)) as open_:
        async for event in open_:
            yield event


def last(model: ChatModel) -> Next:
    """The innermost step: the model itself."""

    def run(turn: Turn) -> AsyncIterator[Event]:
        return model.stream(
            turn.conversation, sampling=turn.sampling, acts=turn.acts, reads=turn.reads, means=turn.means
        )

    return run


async def collect(events: AsyncIterator[Event], *, into: list[Event] | None = None) -> Reply:
    """The whole reply of a stream; the other events go to ``into`` where it is given.

    Raises:
        ModelError: the stream ended without a reply.
    """
    reply: Reply | None = None
    async for event in events:
        if isinstance(event, Done):
            reply = event.reply
        elif into is not None:
            into.append(event)
    if reply is None:
        raise ModelError("a stream of events ended without its last event, Done; a stabiliser or model lost it")
    return reply
