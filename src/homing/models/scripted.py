"""A model whose replies are a function of the conversation: for tests, dry runs and examples. It has no residual stream."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act, Direction, EngineInfo, Finish, MeanRead, Read, Sampling
from homing.errors import InputError, Unsupported
from homing.models.base import Capability, Choice, Done, Event, Reply, ReplyRequest, Token, TurnRead

__all__ = ["ScriptedModel"]

_PIECE = re.compile(r"\s*\S+|\s+")  # a word with the blanks before it; blanks at the end stand alone


class ScriptedModel:
    """A ChatModel that says what a function makes of the conversation.

    Acts, reads, choices and log-probabilities are refused, for there is nothing that they could be taken from.

    Args:
        say: text of the next reply from the conversation so far, the same for the same conversation.
        name: as shown.
    """

    def __init__(self, say: Callable[[Conversation], str], *, name: str = "scripted") -> None:
        self._say, self._name = say, name

    @property
    def name(self) -> str:
        """As shown."""
        return self._name

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It streams, and it is given system messages."""
        return frozenset({"stream", "system"})

    @property
    def info(self) -> EngineInfo:
        """An engine without layers."""
        return EngineInfo(
            engine="scripted",
            fingerprint="",
            dtype="none",
            layers=0,
            hidden=0,
            vocab=2**32,
            context=2**31,
            slots=1,
            supports=frozenset(),
        )

    def register(self, direction: Direction) -> str:
        """Refused: there is no residual stream."""
        raise self._unsupported(f"direction {direction.name!r}")

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"{what} needs weights, and model {self._name!r} is a script; open a local model")

    def _check(self, acts: Sequence[Act], reads: Sequence[Read], means: Sequence[MeanRead]) -> None:
        for what, asked in (("an act", acts), ("a read", reads), ("a mean read", means)):
            if asked:
                raise self._unsupported(what)

    def pieces(self, text: str) -> tuple[str, ...]:
        """Words with the blanks before them; joined they are ``text``."""
        return tuple(_PIECE.findall(text))

    def _reply(self, r: ReplyRequest) -> tuple[Reply, tuple[str, ...]]:
        self._check(r.acts, r.reads, r.means)
        if not r.conversation.messages or r.conversation.messages[-1].role == "assistant":
            raise InputError("a reply needs a conversation that ends with a message to reply to, not with a reply")
        text = self._say(r.conversation)
        finish: Finish = "stop"
        cuts = [at for s in r.sampling.stop if (at := text.find(s)) >= 0]
        if cuts:
            text, finish = text[: min(cuts)], "stop_string"
        pieces = self.pieces(text)
        if len(pieces) > r.sampling.max_new_tokens:
            pieces, finish = pieces[: r.sampling.max_new_tokens], "length"
        return _made(pieces, finish, sum(len(self.pieces(m.content)) for m in r.conversation)), pieces

    async def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> AsyncGenerator[Event, None]:
        """A Token event a word, of unknown probability, then Done."""
        request = ReplyRequest(conversation, sampling, tuple(acts), tuple(reads), tuple(means))
        reply, pieces = self._reply(request)
        for i, piece in enumerate(pieces):
            yield Token(i, piece, reply.tokens[i], float("nan"))
        yield Done(reply)

    async def reply(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> Reply:
        """One whole reply.

        Raises:
            Unsupported: acts or reads are asked for. InputError: there is nothing to reply to.
        """
        return self._reply(ReplyRequest(conversation, sampling, tuple(acts), tuple(reads), tuple(means)))[0]

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Many replies, in order; nothing is said if one of them asks for what there is not."""
        for r in requests:
            self._check(r.acts, r.reads, r.means)
        return [self._reply(r)[0] for r in requests]

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Refused: a script has no probabilities."""
        raise self._unsupported("a choice by probability")

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[NDArray[np.float32]]]:
        """Refused: a script has no probabilities."""
        raise self._unsupported("a log-probability")

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """The assistant turns with their pieces; anything read from weights is refused."""
        self._check(acts, reads, means)
        turns = [(i, m) for i, m in enumerate(conversation) if m.role == "assistant"]
        return [
            TurnRead(message=i, turn=t, tokens=len(pieces := self.pieces(m.content)), pieces=pieces)
            for t, (i, m) in enumerate(turns)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _made(pieces: tuple[str, ...], finish: Finish, prompt_tokens: int) -> Reply:
    return Reply(
        text="".join(pieces),
        tokens=tuple(zlib.crc32(p.encode()) for p in pieces),
        finish=finish,
        prompt_tokens=prompt_tokens,
        new_tokens=len(pieces),
        spans=("reply",) * len(pieces),
    )
