"""Something you can talk to: events, replies, choices, and the ChatModel protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act, Direction, EngineInfo, Finish, MeanRead, Read, Sampling, SpanKind
from homing.errors import InputError

__all__ = [
    "Capability",
    "ChatModel",
    "Choice",
    "Done",
    "Event",
    "Intervention",
    "Reading",
    "Reply",
    "Token",
    "TurnRead",
]

Capability = Literal["stream", "acts", "reads", "means", "score", "logprobs", "system", "thinking"]
F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token; ``top``: alternatives as ``(token, logprob)``, where they were asked for."""

    index: int
    text: str
    token: int
    logprob: float
    span: SpanKind = "reply"
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One projection of one token, in calibrated units where the Read was calibrated, else raw.

    Attributes:
        index: of the generated token. ``direction``: id. ``layer``: where. ``value``: calibrated. ``raw``: projection.
    """

    index: int
    direction: str
    layer: int
    value: float
    raw: float


@dataclass(frozen=True, slots=True)
class Intervention:
    """Something a hold did: which, to which token or message, by how much; new state rides along."""

    hold: str
    index: int
    amount: float = 0.0
    note: str = ""
    state: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, eq=False, slots=True)
class Reply:
    """A whole reply.

    Attributes:
        text: the reply without thinking. ``thinking``: the thinking, or None where there is none.
        tokens: generated ids. ``finish``: why it ended. ``prompt_tokens``, ``new_tokens``: counts.
        readings: one array a Read: ``(new tokens, layers)`` float32 raw projections, NaN outside its spans.
        spans: one a generated token.
        fired: one array an Act: ``(new tokens, layers)``: by how much it moved each.
        means: one array a MeanRead: ``(layers, hidden)``.
        seconds: from admission to the end.
    """

    text: str
    tokens: tuple[int, ...]
    finish: Finish
    prompt_tokens: int
    new_tokens: int
    thinking: str | None = None
    readings: tuple[F32, ...] = ()
    spans: tuple[SpanKind, ...] = ()
    fired: tuple[F32, ...] = ()
    means: tuple[F32, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a stream."""

    reply: Reply


Event = Token | Reading | Intervention | Done


@dataclass(frozen=True, slots=True)
class Choice:
    """Probabilities over options.

    Attributes:
        options: as asked. ``logprobs``: total natural-log probability of each option as a continuation, un-normalised.
        probabilities: normalised over the options. ``mass``: probability that any option was said at all.
        exact: from log-probabilities (True) or from sampling (False).
    """

    options: tuple[str, ...]
    logprobs: tuple[float, ...]
    probabilities: tuple[float, ...]
    mass: float
    exact: bool = True

    @classmethod
    def of(cls, options: Sequence[str], logprobs: Sequence[float]) -> Choice:
        """From the total log-probability of each option.

        Raises:
            InputError: fewer than two options, two alike, or one without text.
        """
        if len(options) < 2 or len(set(options)) != len(options) or not all(options):
            raise InputError(f"a choice needs at least two different options with text; got {list(options)}")
        totals = np.array(logprobs, np.float64)
        whole = float(np.logaddexp.reduce(totals))
        p = np.exp(totals - whole)
        return cls(
            tuple(options), tuple(float(t) for t in totals), tuple(float(x) for x in p), min(1.0, float(np.exp(whole)))
        )


@dataclass(frozen=True, eq=False, slots=True)
class TurnRead:
    """Readings of one assistant turn of a given transcript (a declared pass over text that already exists).

    Attributes:
        message: index of the message in the conversation. ``turn``: 0 for the first assistant turn.
        tokens: how many tokens its reply has. ``pieces``: their texts.
        readings: one array a Read: ``(tokens, layers)`` raw projections. ``means``: one a MeanRead: ``(layers, hidden)``.
        logprobs: ``(tokens,)``.
    """

    message: int
    turn: int
    tokens: int
    pieces: tuple[str, ...]
    readings: tuple[F32, ...] = ()
    means: tuple[F32, ...] = ()
    logprobs: F32 | None = None


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """One reply to make, for :meth:`ChatModel.replies`.

    Attributes:
        keep: name under which the prompt's keys and values are kept for the next turn of the same conversation; empty:
            not kept. What is kept under one name is never used under another.
        fork: it goes on from what is kept, and nothing of it is, but for a prompt that other forks still wait for.
    """

    conversation: Conversation
    sampling: Sampling = Sampling()
    acts: tuple[Act, ...] = ()
    reads: tuple[Read, ...] = ()
    means: tuple[MeanRead, ...] = ()
    keep: str = ""
    fork: bool = False


class ChatModel(Protocol):
    """One model to talk to. Batching happens below it, never in a caller."""

    @property
    def name(self) -> str: ...
    @property
    def capabilities(self) -> frozenset[Capability]: ...
    @property
    def info(self) -> EngineInfo: ...

    def register(self, direction: Direction) -> str: ...

    def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> AsyncIterator[Event]:
        """Token, Reading and Intervention events as they come, then one Done."""
        ...

    async def reply(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> Reply: ...

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Many replies, entered together in this order, so that a run repeats to the byte."""
        ...

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Probabilities of each option as the whole next reply (its end token excluded)."""
        ...

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """Read the assistant turns of a transcript without generating; longer than the context: the last window, said so."""
        ...

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[F32]]:
        """For each prompt, token log-probabilities of each reply text as the next assistant turn."""
        ...

    def pieces(self, text: str) -> tuple[str, ...]:
        """The text of each token of a reply, one a log-probability of :meth:`score_replies`, joined equal to ``text``."""
        ...

    async def close(self) -> None: ...
