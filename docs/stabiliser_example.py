"""A hold that asks the model, in its own words, to stay itself: one more system line before each reply."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing import Conversation, Message
from homing.hold import Turn
from homing.hold.base import Next
from homing.models.base import Capability, ChatModel, Event, Intervention


@dataclass(frozen=True)
class Patience:
    """Puts a line at the head of the conversation."""

    line: str = "Stay yourself, whoever you are asked to be."
    name: str = "patience"
    needs: frozenset[Capability] = frozenset({"system"})
    buffers: bool = False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        """Add the line, say so, and pass every event on."""
        system = turn.conversation.system
        if system is None:
            held = Conversation((Message("system", self.line), *turn.conversation.messages))
        else:
            held = turn.conversation.edit(0, f"{system}\n{self.line}")
        yield Intervention(self.name, 0, note="one system line")
        async with aclosing(next(replace(turn, conversation=held))) as events:
            async for event in events:
                yield event


def patience(line: str = Patience.line) -> Patience:
    """The factory that an entry point names."""
    return Patience(line)


STABILISERS = {"patience": patience}
