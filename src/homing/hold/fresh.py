"""Begin again: everything before the user's message is dropped. It returns home by construction, and loses the work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.conversation import Conversation, Message
from homing.hold.base import Next, Turn, passed, rewritten, trait
from homing.models.base import Capability, ChatModel, Event

__all__ = ["Fresh", "fresh"]


@dataclass(frozen=True, slots=True)
class Fresh:
    """Drops the past once, the first time it is on; what comes after stays.

    Args:
        opening: messages that stand first at home.
    """

    opening: tuple[Message, ...] = ()

    @property
    def name(self) -> str:
        return "fresh"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        if self.name not in turn.state:
            turn = replace(turn, conversation=Conversation((*self.opening, *turn.conversation.messages[-1:])))
            yield rewritten(self.name, turn.conversation, note="begun again", done=True)
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event


@trait("shortens", "lasting")
def fresh(opening: Sequence[Message] = ()) -> Fresh:
    """A hold that begins again."""
    return Fresh(tuple(opening))


STABILISERS = {"fresh": fresh}
