"""A hold that shows the model another conversation than the one that is kept, made of that one alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.conversation import Conversation
from homing.hold.base import Next, Turn, passed
from homing.models.base import Capability, ChatModel, Event, Intervention

__all__ = ["Shown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """The conversation that is kept stays as it is.

    Args:
        name: in flags and reports. ``show``: makes what the model is given; the same one where nothing is to be done.
        note: said of it where something was. ``says``: sentences of its own that it puts into a conversation.
    """

    name: str
    show: Callable[[Conversation], Conversation]
    note: str
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
        seen = self.show(turn.conversation)
        if seen != turn.conversation:
            yield Intervention(self.name, 0, note=self.note)
        async with aclosing(passed(next(replace(turn, conversation=seen)))) as events:
            async for event in events:
                yield event
