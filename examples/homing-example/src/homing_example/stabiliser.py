"""even_handed: one more line in the user's message, for the model's eyes alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.hold.base import Next, Turn, passed
from homing.models.base import Capability, ChatModel, Event, Intervention

LINE = "Either is a good answer."


@dataclass(frozen=True)
class EvenHanded:
    """Adds the line before each reply; the conversation that is kept is left as it is."""

    name: str = "even_handed"
    needs: frozenset[Capability] = frozenset()
    buffers: bool = False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        """Say what is done, and pass every event on."""
        held = turn.conversation.edit(-1, f"{turn.conversation[-1].content} {LINE}")
        yield Intervention(self.name, 0, note="one line in the message")
        async with aclosing(passed(next(replace(turn, conversation=held)))) as events:
            async for event in events:
                yield event


def even_handed() -> EvenHanded:
    """The factory that the entry point names."""
    return EvenHanded()
