"""Many conversations side by side on one model: what all of them wait for is asked together, in an order that repeats.

Each conversation is a coroutine that talks to this model as to any other. When every one of them waits, what they wait for is
given to the model below as one batch, in the order of the conversations. So a caller writes one conversation after the
other, the engine decodes them together, and the same work has the same company each time it runs. What several of them wait for
at once, to the seed, is asked of an engine of our own once: it would draw the same for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Hashable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act, Direction, EngineInfo, MeanRead, Read, Sampling
from homing.models.base import Capability, ChatModel, Choice, Done, Event, Reply, ReplyRequest, TurnRead
from homing.stats.estimate import Cost

__all__ = ["Lockstep", "first_of", "together"]

T = TypeVar("T")
R = TypeVar("R")
W = TypeVar("W", bound=Hashable)
F32 = NDArray[np.float32]
_TALK: ContextVar[int] = ContextVar("talk")
_CALLS = count()
OWN = ("torch", "llamacpp")
"""Engines that draw the same for the same seed."""


@dataclass(eq=False, slots=True)
class _Wish:
    talk: int
    kind: Literal["reply", "score", "read"]
    body: Any
    answer: asyncio.Future[Any]


class Lockstep:
    """A ChatModel over another, for coroutines started by :meth:`together`.

    A stream gives its last event alone, since the reply comes whole.

    Args:
        model: asked in the end. ``keep``: name under which conversations keep their prefixes from reply to reply, so that a
            reply computes only what is new, and what several of them begin with is computed once; another name for every run
            that is to repeat. Empty: not kept.

    Attributes:
        spent: what the replies of each conversation took, by its number.
    """

    def __init__(self, model: ChatModel, *, keep: str = "") -> None:
        self.model = model
        self._keep = keep and f"{keep}#{next(_CALLS)}"
        self.spent: dict[int, Cost] = {}
        self._running: set[int] = set()
        self._wishes: list[_Wish] = []
        self._flush: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """That of the model below."""
        return self.model.name

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the model below."""
        return self.model.capabilities

    @property
    def info(self) -> EngineInfo:
        """That of the model below."""
        return self.model.info

    def register(self, direction: Direction) -> str:
        """As the model below."""
        return self.model.register(direction)

    def pieces(self, text: str) -> tuple[str, ...]:
        """As the model below."""
        return self.model.pieces(text)

    async def together(self, talks: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """What coroutines return that run side by side, in their order; the first failure ends all of them."""

        async def one(i: int) -> T:
            _TALK.set(i)
            try:
                return await talks[i]()
            finally:
                self._running.discard(i)
                self._look()

        self.spent = {i: Cost() for i in range(len(talks))}
        self._running = set(range(len(talks)))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(i)) for i in range(len(talks))]
        except BaseExceptionGroup as e:
            raise first_of(e) from None
        finally:
            if self._flush is not None:
                self._flush.cancel()
            self._wishes, self._flush = [], None
        return [t.result() for t in tasks]

    def _look(self) -> None:
        """Ask for everything once every conversation that still runs waits for something."""
        waiting = {w.talk for w in self._wishes}
        if self._wishes and self._running <= waiting and (self._flush is None or self._flush.done()):
            self._flush = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        wishes, self._wishes = sorted(self._wishes, key=lambda w: w.talk), []
        try:
            replies = [w for w in wishes if w.kind == "reply"]
            if replies:
                requests = [self._kept(r) for w in replies for r in w.body]
                made = iter(await self._once_each(requests, self.model.replies))
                for w in replies:
                    mine = [next(made) for _ in w.body]
                    for reply in mine:
                        self._count(w.talk, reply)
                    w.answer.set_result(mine)
            groups: dict[tuple[Act, ...], list[_Wish]] = {}
            for w in wishes:
                if w.kind == "score":
                    groups.setdefault(w.body[2], []).append(w)
            for acts, group in groups.items():
                pairs = [pair for w in group for pair in zip(w.body[0], w.body[1], strict=True)]
                scored = iter(await self._once_each(pairs, lambda some, a=acts: self._scored(some, a)))
                for w in group:
                    w.answer.set_result([next(scored) for _ in w.body[0]])
            for w in wishes:
                if w.kind == "read":
                    conversation, reads, means, acts = w.body
                    w.answer.set_result(await self.model.read(conversation, reads=reads, means=means, acts=acts))
        except BaseException as e:
            for w in wishes:
                if not w.answer.done():
                    w.answer.set_exception(e)
            if not isinstance(e, Exception):
                raise
        finally:
            self._flush = None

    async def _once_each(self, wanted: Sequence[W], ask: Callable[[list[W]], Awaitable[list[R]]]) -> list[R]:
        """What is made of each, of those that are alike once. An endpoint may draw anew each time, and is asked as often."""
        if self.model.info.engine not in OWN:
            return await ask(list(wanted))
        once = list(dict.fromkeys(wanted))
        made = dict(zip(once, await ask(once), strict=True))
        return [made[x] for x in wanted]

    async def _scored(
        self, pairs: Sequence[tuple[Conversation, tuple[str, ...]]], acts: tuple[Act, ...]
    ) -> list[list[F32]]:
        """Scores, going on from what each conversation has kept, where the model can."""
        prompts, texts = [p for p, _ in pairs], [t for _, t in pairs]
        kept = getattr(self.model, "score_kept", None)
        if kept is None or not self._keep:
            return await self.model.score_replies(prompts, texts, acts=acts)
        keep = [self._keep] * len(prompts)
        return await cast("Awaitable[list[list[F32]]]", kept(prompts, texts, acts=acts, keep=keep))

    def _count(self, talk: int, reply: Reply) -> None:
        so_far = self.spent.get(talk, Cost())
        self.spent[talk] = Cost(
            so_far.calls + 1, so_far.prompt_tokens + reply.prompt_tokens, so_far.new_tokens + reply.new_tokens,
            so_far.seconds + reply.seconds,
        )  # fmt: skip

    def _kept(self, request: ReplyRequest) -> ReplyRequest:
        return replace(request, keep=self._keep) if self._keep and not request.keep else request

    async def _wish(self, kind: Literal["reply", "score", "read"], body: Any) -> Any:
        talk = _TALK.get(-1)
        wish = _Wish(talk, kind, body, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._look()
        return await wish.answer

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Many replies, together with those that other conversations wait for."""
        return cast("list[Reply]", await self._wish("reply", tuple(requests))) if requests else []

    async def reply(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> Reply:
        """One reply."""
        request = ReplyRequest(conversation, sampling, tuple(acts), tuple(reads), tuple(means))
        return (await self.replies([request]))[0]

    async def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> AsyncGenerator[Event, None]:
        """The last event, once the reply is whole."""
        yield Done(await self.reply(conversation, sampling=sampling, acts=acts, reads=reads, means=means))

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Probabilities of each option as the whole next reply."""
        if "score" not in self.model.capabilities:
            return await self.model.choose(conversation, options, acts=acts)
        scored = await self.score_replies([conversation], [list(options)], acts=acts)
        return Choice.of(options, [float(s.astype(np.float64).sum()) for s in scored[0]])

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """Read the assistant turns of a transcript."""
        return cast("list[TurnRead]", await self._wish("read", (conversation, tuple(reads), tuple(means), tuple(acts))))

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[F32]]:
        """Log-probabilities of replies, together with those that other conversations wait for."""
        body = (tuple(prompts), tuple(tuple(r) for r in replies), tuple(acts))
        return cast("list[list[F32]]", await self._wish("score", body)) if prompts else []

    async def close(self) -> None:
        """The model below is its owner's to close."""


async def together(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What calls return that run side by side, in their order.

    Where one fails the others are waited for, since what is on its way may be paid for; then the first failure is raised.
    """
    made = await asyncio.gather(*calls, return_exceptions=True)
    for found in made:
        if isinstance(found, BaseException):
            raise found
    return cast("list[T]", made)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single exception in a group of groups."""
    first = group.exceptions[0]
    return (
        first_of(cast("BaseExceptionGroup[BaseException]", first)) if isinstance(first, BaseExceptionGroup) else first
    )
