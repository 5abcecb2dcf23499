"""Begin again with a recap of what the user said: no model writes it, and none of the assistant's own words are in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.conversation import Conversation, Message
from homing.hold.base import Next, Turn, passed, rewritten, trait
from homing.models.base import Capability, ChatModel, Event

__all__ = ["Recap", "recap"]

HEAD = "Notes on what I wrote before:"


@dataclass(frozen=True, slots=True)
class Recap:
    """Puts the user's own earlier messages, as a list, in place of the past, once.

    Args:
        opening: messages that stand first at home.
    """

    opening: tuple[Message, ...] = ()

    @property
    def name(self) -> str:
        return "recap"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        if self.name not in turn.state:
            *past, now = turn.conversation.messages
            said = [m.content for m in past[len(self.opening) :] if m.role == "user"]
            text = "\n".join([HEAD, *(f"- {t}" for t in said), "", now.content]) if said else now.content
            turn = replace(turn, conversation=Conversation((*self.opening, Message("user", text))))
            yield rewritten(self.name, turn.conversation, note=f"{len(said)} messages recapped", done=True)
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event


@trait("shortens", "lasting")
def recap(opening: Sequence[Message] = ()) -> Recap:
    """A hold that begins again from the user's own words."""
    return Recap(tuple(opening))


STABILISERS = {"recap": recap}
