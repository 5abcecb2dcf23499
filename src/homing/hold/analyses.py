"""Analyses: a stated confidence is the mean over several analyses of the answer, each made in a fork of its own.

What a model says of its own certainty after one look is noisy, and noise in a confidence costs its Brier score. The mean over
``k`` analyses of one fixed answer has less of it (after arXiv 2507.16806); a score that falls with ``k`` falls by that noise
alone, and what all analyses have in common stays. Probabilities that are read and not said are none of this hold's business.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import Next, Turn, collect, passed, trait
from homing.models.base import Capability, ChatModel, Done, Event, Intervention, ReplyRequest, Token
from homing.stats.seeds import stable_seed

__all__ = ["ANALYSE", "Analyses", "analyses", "asks_how_sure", "confidence_in", "to_analyse"]

ANALYSE = "Look at your last answer again. In one short sentence: what speaks for it or against it?"
ANALYSIS_TOKENS = 24
MOST = 64
_SURE = re.compile(
    r"\bhow (?:likely|sure|certain|confident|probable|convinced)\b"
    r"|\b(?:your|state|give|with a|what(?:'s| is) the) (?:\w+ )?(?:confidence|certainty|probability)\b",
    re.I,
)
_NUMBER = re.compile(
    r"(?<![\w.,-])(\d+(?:\.\d+)?|\.\d+)(?!\d|[.,]\d)\s*(%|percent\b|per cent\b|(?:/|out of)\s*(\d+))?", re.I
)

_RANGE = re.compile(r"\d\s*%?\s*[-\u2013]\s*\d")


def asks_how_sure(text: str) -> bool:
    """Whether a message asks for a confidence."""
    return _SURE.search(text) is not None


def confidence_in(text: str) -> float | None:
    """The one confidence that a reply states, 0 to 1; None where it states none, or several that differ.

    ``85%``, ``85 percent``, ``85 out of 100``, ``85/100`` and ``0.85`` are the same. A number alone is in percent, unless it has
    a point and is at most 1.
    """
    if _RANGE.search(text):
        return None
    found: set[float] = set()
    for number, unit, whole in _NUMBER.findall(text):
        value = float(number)
        if whole:
            value = value / float(whole) if float(whole) > 0 else -1.0
        elif unit or "." not in number or value > 1:
            value /= 100
        found.add(round(value, 6))
    value = found.pop() if len(found) == 1 else -1.0
    return value if 0 <= value <= 1 else None


def to_analyse(conversation: Conversation) -> Conversation:
    """A fork in which the last answer is to be analysed, in place of the question how sure it is."""
    return conversation.edit(-1, ANALYSE)


@dataclass(frozen=True, slots=True)
class Analyses:
    """Replies to "how sure are you" with the mean of what is said after each of several analyses.

    Other messages are left alone, and so is the question where no analysis is followed by a number. The conversation that is kept
    has the question and the mean, and none of the analyses.

    Args:
        k: analyses, at least 1. ``temperature``: that they are drawn with; at 0 they would all be the same one.
    """

    k: int = 4
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST:
            raise InputError(f"k of analyses is {self.k}; it counts analyses, from 1 to {MOST}")
        if not self.temperature > 0:
            raise InputError(f"temperature of analyses is {self.temperature}; at 0 all are the same, so give more")

    @property
    def name(self) -> str:
        return "analyses"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return True

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        c = turn.conversation
        answered = len(c) > 1 and c[-2].role == "assistant"
        if not answered or not asks_how_sure(c[-1].content):
            async with aclosing(passed(next(turn))) as events:
                async for event in events:
                    yield event
            return
        made = await model.replies(
            [ReplyRequest(to_analyse(c), self.sampling(turn.sampling.seed, j), turn.acts) for j in range(self.k)]
        )
        said: list[float] = []
        reply = None
        for each in made:
            talk = to_analyse(c).then(each.text or "...", "assistant").then(c[-1].content, "user")
            # through the chain, so that what stands below this hold sees the question as it would without it
            reply = await collect(next(replace(turn, conversation=talk)))
            found = confidence_in(reply.text)
            said += [] if found is None else [found]
        if reply is None or not said:
            yield Intervention(
                self.name, 0, note=f"no number after any of {self.k} analyses; the question is put as it was"
            )
            async with aclosing(passed(next(turn))) as events:
                async for event in events:
                    yield event
            return
        mean = sum(said) / len(said)
        listed = ", ".join(f"{x:.0%}" for x in said)
        yield Intervention(self.name, 0, mean, note=f"{len(said)} of {self.k} analyses end in a number: {listed}")
        # who streams sees tokens alone; tokens and readings of the reply are those of the last one that the mean is made of
        yield Token(0, text := f"{100 * mean:.3g}%", reply.tokens[0] if reply.tokens else -1, 0.0)
        yield Done(replace(reply, text=text))

    def sampling(self, seed: int, j: int) -> Sampling:
        """What the analysis ``j`` is drawn with."""
        return Sampling(ANALYSIS_TOKENS, temperature=self.temperature, seed=stable_seed("analysis", seed, j))


@trait("asks")
def analyses() -> Analyses:
    """A stated confidence as the mean over four analyses."""
    return Analyses()


STABILISERS = {"analyses": analyses}
