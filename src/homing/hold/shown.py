"""A hold that shows the model another conversation than the one that is kept, made of that one alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.conversation import Conversation
from homing.hold.base import Next, Turn, passed
from homing.models.base import Capability, ChatModel, Event, Intervention

__all__ = ["Shown", "noted"]


def noted(
    show: Callable[[Conversation], Conversation], note: str
) -> Callable[[Conversation], tuple[Conversation, str]]:
    """The same with one note wherever it makes another conversation."""

    def run(conversation: Conversation) -> tuple[Conversation, str]:
        seen = show(conversation)
        return seen, note if seen != conversation else ""

    return run


@dataclass(frozen=True, slots=True)
class Shown:
    """The conversation that is kept stays as it is.

    Args:
        name: in flags and reports. ``show``: makes what the model is given, and says in a note what was done; an empty note and
            the same conversation where nothing was. ``says``: sentences of its own that it puts into a conversation.
    """

    name: str
    show: Callable[[Conversation], tuple[Conversation, str]]
    says: tuple[str, ...] = ()

    @property
    def needs(self) -> frozenset[Capability]:
        """Nothing: it works on text alone."""
        return frozenset()

    @property
    def buffers(self) -> bool:
        """No: it does its work before the first token."""
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        """Show it, and pass on what comes back."""
        seen, note = self.show(turn.conversation)
        if note:
            yield Intervention(self.name, 0, note=note)
        async with aclosing(passed(next(replace(turn, conversation=seen)))) as events:
            async for event in events:
                yield event
