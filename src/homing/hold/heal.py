"""Heal: the model's own past replies are made again at home and put in the place of those that were said.

A model goes on as its own text does, so what it has said holds it away from home more than what it is told. The user's
messages stay word for word.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, get_args

from homing.conversation import Conversation, Message
from homing.errors import InputError
from homing.hold.base import Next, Turn, passed, rewritten, trait
from homing.hold.cap import Cap
from homing.models.base import Capability, ChatModel, Event, ReplyRequest
from homing.stats.seeds import stable_seed

__all__ = ["BLAND", "Heal", "Mode", "heal"]

Mode = Literal["alone", "onward", "bland"]
BLAND = "All right."


@dataclass(frozen=True, slots=True)
class Heal:
    """Replaces own past replies before each reply; what was healed is not healed again.

    Args:
        mode: ``alone``: each reply is made again to its user message in a fresh context; ``onward``: to its message after what
            is healed so far; ``bland``: one sentence stands for each, and nothing is made.
        cap: in force while replies are made again; None: none.
        opening: messages that stand first at home.
        once: heal when it is first on, and let later replies stand as they are made.
        window: so many of the last replies are healed; None: all.
    """

    mode: Mode = "alone"
    cap: Cap | None = None
    opening: tuple[Message, ...] = ()
    once: bool = False
    window: int | None = None
    name: str = "heal"

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"mode of heal is {self.mode!r}; use one of {', '.join(get_args(Mode))}")
        if self.window is not None and self.window < 1:
            raise InputError(f"window of heal is {self.window}; it counts replies, at least 1")

    @property
    def says(self) -> tuple[str, ...]:
        """Its own words."""
        return (BLAND,) if self.mode == "bland" else ()

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"acts"}) if self.cap is not None and self.mode != "bland" else frozenset()

    @property
    def buffers(self) -> bool:
        return True

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        before = turn.state.get(self.name, {}).get("healed", -1)
        now = sum(m.role == "assistant" for m in turn.conversation)
        if before < 0 or (now > before and not self.once):
            healed, n = await self._healed(turn, model, max(before, 0))
            turn = replace(turn, conversation=healed)
            yield rewritten(self.name, healed, note=f"{n} replies healed", healed=now)
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event

    async def _healed(self, turn: Turn, model: ChatModel, before: int) -> tuple[Conversation, int]:
        """The conversation with its own replies made again, but the first ``before``, which were healed earlier."""
        c = turn.conversation
        every = [i for i, m in enumerate(c) if m.role == "assistant"]
        own = [i for k, i in enumerate(every) if k >= before and i >= len(self.opening)]
        own = own[-self.window :] if self.window else own
        acts = self.cap.register(model) if self.cap is not None and self.mode != "bland" else ()
        if self.mode == "bland":
            for i in own:
                c = c.heal(i, BLAND)
            return c, len(own)
        if self.mode == "alone":
            asked = [Conversation((*self.opening, *_before(c, i))) for i in own]
            made = await model.replies(
                [
                    ReplyRequest(a, replace(turn.sampling, seed=_seed(turn, i)), acts)
                    for i, a in zip(own, asked, strict=True)
                ]
            )
            for i, reply in zip(own, made, strict=True):
                c = c.heal(i, reply.text or BLAND)
            return c, len(own)
        for i in own:
            so_far = Conversation(c.messages[:i])
            reply = await model.reply(so_far, sampling=replace(turn.sampling, seed=_seed(turn, i)), acts=acts)
            c = c.heal(i, reply.text or BLAND)
        return c, len(own)


def _before(c: Conversation, i: int) -> tuple[Message, ...]:
    """The user's message that reply ``i`` answers."""
    return next(((m,) for m in reversed(c.messages[:i]) if m.role == "user"), ())


def _seed(turn: Turn, i: int) -> int:
    return stable_seed("heal", turn.sampling.seed, i)


@trait("lasting")
def heal(cap: Cap | None = None, opening: Sequence[Message] = ()) -> Heal:
    """Past replies made again, each in a fresh context, under the cap where there is one."""
    return Heal("alone", cap, tuple(opening))


@trait("lasting")
def heal_once(cap: Cap | None = None, opening: Sequence[Message] = ()) -> Heal:
    """The same when it is first on, and not again."""
    return Heal("alone", cap, tuple(opening), once=True, name="heal_once")


@trait("lasting")
def heal_onward(cap: Cap | None = None, opening: Sequence[Message] = ()) -> Heal:
    """Past replies made again in order, each after what is healed so far, under the cap where there is one."""
    return Heal("onward", cap, tuple(opening), name="heal_onward")


@trait("lasting")
def heal_bland(opening: Sequence[Message] = ()) -> Heal:
    """One bland sentence in the place of every past reply."""
    return Heal("bland", None, tuple(opening), name="heal_bland")


@trait("lasting")
def come_back(cap: Cap | None = None, opening: Sequence[Message] = ()) -> Heal:
    """The default way back: of the holds tried on a conversation that was pushed already, the one that brought most of it back
    and forgot least, which is :func:`heal`; docs/return.md has the figures.
    """
    return Heal("alone", cap, tuple(opening), name="return")


STABILISERS = {
    "return": come_back,
    "heal": heal,
    "heal_once": heal_once,
    "heal_onward": heal_onward,
    "heal_bland": heal_bland,
}
