"""One turn made again, held and not, for a person who wants to see what a hold does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from homing.conversation import Conversation
from homing.drift.trace import position_of
from homing.engine.base import Sampling
from homing.gateway.turns import Keeper, finite
from homing.hold.base import Turn, collect, last
from homing.hold.chain import around
from homing.models.base import Event
from homing.verbs.watch import LONGEST_FRESH

__all__ = ["compare"]


async def compare(keeper: Keeper, asked: Conversation, turn: int) -> dict[str, Any]:
    """One turn made again with the same seed, held and with nothing done; nothing of it is kept.

    Held means here: under the deployment's hold as if its alarm had fired, or under the way back where that is none.
    """
    names = keeper.deployment.hold if keeper.deployment.hold != "none" else "return"
    sampling = Sampling(max_new_tokens=min(LONGEST_FRESH, keeper.deployment.max_new_tokens), temperature=0.0)
    out: dict[str, Any] = {"turn": turn, "hold": names}
    for key, chain in (("unheld", ()), ("held", keeper.build(names, asked))):
        seen: list[Turn] = []

        def said(step: Turn, seen: list[Turn] = seen) -> AsyncIterator[Event]:
            seen.append(step)
            return last(keeper.model)(step)

        reply = await collect(around(keeper.model, chain, said)(Turn(asked, sampling)))
        position = None
        if keeper.home is not None:
            readings = await keeper.again(seen[-1].conversation, reply, keeper.home)
            position = position_of(readings, keeper.home.axis)[0]
        out[key] = {"text": reply.text, "position": finite(position)}
    return out
