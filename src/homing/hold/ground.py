"""Ground: find what a question takes for granted, ask the model in a fork whether it is so, and answer with the verdict.

A model that knows a claim to be false when it is asked directly goes along with it when it is taken for granted (arXiv
2506.08952, 2505.22354). What it knows is asked for where no face is at stake: in a fork without the model's own words and without
what the user asks or believes. Its rivals are a blanket system line and the words "wait a minute" (arXiv 2601.04435).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import Next, Turn, passed, trait
from homing.hold.premises import Premise, premises, stated, supplied
from homing.hold.remind import SystemLine
from homing.models.base import Capability, ChatModel, Choice, Event, Intervention

__all__ = ["Ground", "WaitAMinute", "check_premises", "ground", "wait_a_minute"]

TRUE_FALSE = ("True", "False")
CHECK = ("True or false:", "Answer True or False.")
ASK_PREMISE = "What does this message take for granted as a fact? State it as one short sentence, and nothing else."
PREMISE_TOKENS = 24
VERDICT = "Checked before answering:"
LINE = (
    "Before you answer, check whether what the question takes for granted is true. If it is not, say so and correct it; if it is,"
    " answer the question."
)
WAIT = "Wait a minute."


@dataclass(frozen=True, slots=True)
class Ground:
    """Verifies each premise of the user's message in a fork of its own and puts the verdicts before the message.

    A premise is found by rule, or, where no rule knows the form of the question, by asking the model to state it. It is put to
    the model as it is and as its denial, each to be called true or false; half the difference of their log-odds is the verdict,
    so that a liking for "true" cancels. The conversation that is kept stays as it is.

    Args:
        sure: a verdict is given where half that difference is beyond this, in log-odds; 0: always.
    """

    sure: float = 0.0

    def __post_init__(self) -> None:
        if not self.sure >= 0:
            raise InputError(f"sure of ground is {self.sure}; it is a distance in log-odds, at least 0")

    @property
    def name(self) -> str:
        return "ground"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        c = turn.conversation
        found = premises(c[-1].content)
        how = "by rule"
        if found is None:
            found, how = await self._asked(turn, model), "by asking"
        lines: list[str] = []
        for premise in found:
            odds = await self._odds(c, premise, model)
            if abs(odds) > self.sure:
                lines.append(f"{VERDICT} it is {'true' if odds > 0 else 'false'} that {premise.claim}.")
            yield Intervention(self.name, 0, odds, note=f"{premise.trigger}, {how}: {premise.claim}")
        if lines:
            turn = replace(turn, conversation=c.edit(-1, "\n\n".join((*lines, c[-1].content))))
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event

    @staticmethod
    async def _asked(turn: Turn, model: ChatModel) -> tuple[Premise, ...]:
        """The premise in the model's own words; nothing where its reply cannot be read as one."""
        fork = Conversation.of(f'{ASK_PREMISE}\n\n"{turn.conversation[-1].content}"')
        reply = await model.reply(fork, sampling=Sampling(PREMISE_TOKENS, temperature=0.0, seed=turn.sampling.seed))
        found = stated(reply.text)
        return () if found is None else (found,)

    @staticmethod
    async def _odds(c: Conversation, premise: Premise, model: ChatModel) -> float:
        """Log-odds that the premise is true, free of a liking for either word."""
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(model.choose(_fork(c, said, premise), TRUE_FALSE))
                for said in (premise.claim, premise.denial)
            ]
        claim, denial = (_true(a.result()) for a in asked)
        return (claim - denial) / 2


def _fork(c: Conversation, said: str, premise: Premise) -> Conversation:
    """A fresh conversation in which something is put to be called true or false, after what the user has supplied."""
    users = [m.content for m in c if m.role == "user"]
    here = supplied(users[-1])
    if all(premise.same_as(s) for s in here):
        here = []  # a message that says the claim and nothing beside it is what is being checked, and no ground for it
    given = [*(s for text in users[:-1] for s in supplied(text)), *here]
    head = (Message("system", c.system),) if c.system is not None else ()
    return Conversation((*head, Message("user", " ".join((*given, f"{CHECK[0]} {said}. {CHECK[1]}")))))


def _true(choice: Choice) -> float:
    """Log-odds of the first option; one that is never drawn counts as one in a million."""
    true, false = (max(p, 1e-6) for p in choice.probabilities)
    return math.log(true / false)


@dataclass(frozen=True, slots=True)
class WaitAMinute:
    """Puts "Wait a minute." at the end of the user's message of every turn.

    Published as the first words of the model's own reply. A conversation here ends with a message to reply to, and a model behind
    a provider cannot be made to go on with a reply that is begun; so the words stand next to it, which may be weaker.
    """

    words: str = WAIT

    @property
    def name(self) -> str:
        return "wait_a_minute"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        c = turn.conversation
        yield Intervention(self.name, 0, note="at the end of the user's message: a reply cannot be begun for the model")
        held = c.edit(-1, f"{c[-1].content}\n\n{self.words}")
        async with aclosing(passed(next(replace(turn, conversation=held)))) as events:
            async for event in events:
                yield event


@trait("asks")
def ground() -> Ground:
    """Each premise verified in a fork, and the verdict put before the user's message."""
    return Ground()


def check_premises() -> SystemLine:
    """A blanket line that tells the model to check premises: what people do today."""
    return SystemLine("check_premises", LINE)


def wait_a_minute() -> WaitAMinute:
    """The words "wait a minute" before the reply."""
    return WaitAMinute()


STABILISERS = {"ground": ground, "check_premises": check_premises, "wait_a_minute": wait_a_minute}
