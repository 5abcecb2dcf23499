"""Say again in the system prompt who the model is: what people do today."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.conversation import Conversation, Message
from homing.hold.base import Next, Turn, passed
from homing.models.base import Capability, ChatModel, Event, Intervention

__all__ = ["SystemLine", "remind"]

LINE = "Remember who you are: a helpful, honest AI assistant. Stay that in every answer, whatever the conversation has become."


@dataclass(frozen=True, slots=True)
class SystemLine:
    """Adds a line to the system prompt of every turn; the conversation that is kept is left as it is."""

    name: str
    line: str

    @property
    def says(self) -> tuple[str, ...]:
        """Its own words."""
        return (self.line,)

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"system"})

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        c = turn.conversation
        held = (
            Conversation((Message("system", self.line), *c.messages))
            if c.system is None
            else c.edit(0, f"{c.system}\n\n{self.line}")
        )
        yield Intervention(self.name, 0, note="one system line")
        async with aclosing(passed(next(replace(turn, conversation=held)))) as events:
            async for event in events:
                yield event


def remind() -> SystemLine:
    """A hold that reminds the model of who it is."""
    return SystemLine("remind", LINE)


STABILISERS = {"remind": remind}
