"""A ChatModel over any service that speaks the OpenAI wire: text in, text out, and letters for a choice.

It has no weights at hand: acts and reads are refused. A reply is whole or an error; a stream that breaks off is never a reply.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act, Direction, EngineInfo, Finish, MeanRead, Read, Sampling
from homing.errors import InputError, ModelError, TooLong, Unsupported
from homing.models.base import Capability, Choice, Done, Event, Reply, ReplyRequest, Token, TurnRead
from homing.models.calls import ATTEMPTS, Calls, Refused
from homing.models.chunks import Event as Heard
from homing.models.chunks import Garbage, Gathered, Part, choices_of, logprob_of, rows_of, said_in
from homing.models.letters import DRAWS, chosen, lettered, letters_of, orders_of, shares_of
from homing.models.lockstep import together
from homing.models.remote import Remote
from homing.stats.seeds import stable_seed

__all__ = ["EndpointModel"]

F32 = NDArray[np.float32]

TOPS = 20
"""Alternatives of the first token that a choice is read from; the wire gives no more."""
_FINISH: Mapping[str, Finish] = {"stop": "stop", "length": "length", "max_tokens": "length"}


@dataclass(eq=False)
class EndpointModel:
    """One model of one service.

    Args:
        remote: where it is. ``model``: its name there. ``draws``: of a choice without probabilities, in each order.
        attempts: of one call. ``wait``: sleeps so many seconds; tests replace it.

    Raises:
        InputError: no model is named.
    """

    remote: Remote
    model: str
    draws: int = DRAWS
    attempts: int = ATTEMPTS
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    _gives_logprobs: bool | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError(f"no model is named for upstream {self.remote.url}; say which one answers there")
        self._calls = Calls(self.remote, self.model, self.attempts, self.wait)

    @property
    def name(self) -> str:
        """As the service names it."""
        return self.model

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It streams and takes system messages; ``logprobs`` once it has given any."""
        logprobs: frozenset[Capability] = frozenset({"logprobs"}) if self._gives_logprobs else frozenset()
        return frozenset[Capability]({"stream", "system"}) | logprobs

    @property
    def info(self) -> EngineInfo:
        """An engine that is out of reach: no layers, no known context."""
        return EngineInfo(
            engine="endpoint", fingerprint=f"endpoint:{self.remote.url}:{self.model}", dtype="none", layers=0, hidden=0,
            vocab=2**32, context=2**31, slots=self.remote.connections, supports=frozenset(),
        )  # fmt: skip

    def register(self, direction: Direction) -> str:
        """Refused: there are no weights.

        Raises:
            Unsupported: always.
        """
        raise self._unsupported(f"direction {direction.name!r}")

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"{what} needs weights, and {self.model} is behind {self.remote.url}; open a local model")

    def _check(self, acts: Sequence[Act], reads: Sequence[Read] = (), means: Sequence[MeanRead] = ()) -> None:
        for what, asked in (("an act", acts), ("a read", reads), ("a mean read", means)):
            if asked:
                raise self._unsupported(what)

    def pieces(self, text: str) -> tuple[str, ...]:
        """Words, each with the space before it; the service's tokens are not known."""
        return tuple(re.findall(r"\s*\S+|\s+$", text))

    # -- replies ---------------------------------------------------------------------------------------------------------

    async def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> AsyncGenerator[Event, None]:
        """One Token for each part with text, as it comes, then Done. Closing it closes the connection.

        A token's id is a checksum of its text; its log-probability is NaN unless ``sampling.top_logprobs`` is over 0 and the
        service gives it.

        Raises:
            Unsupported: acts, reads or stop tokens. Busy, TooLong, ModelError: there is no reply, or it broke off.
        """
        self._check(acts, reads, means)
        body = self._body(conversation, sampling) | {"stream": True, "stream_options": {"include_usage": True}}
        started, gathered, tokens = time.perf_counter(), Gathered(), list[Token]()
        async with self._calls.free:
            response = await self._calls.begun(body)
            try:
                async with aclosing(self.remote.events(response)) as parts:
                    async for events in parts:
                        for event in events:
                            for token in self._tokens(gathered, event, len(tokens)):
                                tokens.append(token)
                                yield token
                            if gathered.error is not None:
                                raise self._calls.told(Refused(0, gathered.error))
            except (httpx2.TransportError, TimeoutError, Garbage) as e:
                if isinstance(e, Garbage) or not gathered.whole:
                    raise self._calls.told(e) from None
            finally:
                await response.aclose()
        if not gathered.whole:
            raise self._calls.told(None)
        yield Done(self._reply(gathered, time.perf_counter() - started, tokens))

    def _tokens(self, gathered: Gathered, event: Heard, index: int) -> list[Token]:
        """The tokens of one event, which is added to what was gathered."""
        if gathered.done or event.data is None:
            return []
        if event.done:
            gathered.done = True
            return []
        out: list[Token] = []
        for choice in choices_of(gathered.take(event.data)):
            rows = rows_of(choice) if choice.get("index", 0) == 0 else []
            self._gives_logprobs = self._gives_logprobs or bool(rows) or None
            for kind, text in said_in(choice).items() if choice.get("index", 0) == 0 else ():
                if text:
                    logprob = math.fsum(logprob_of(r) for r in rows) if rows else math.nan
                    top = tuple((zlib.crc32(t.encode()), p) for t, p in _tops(rows[0])) if len(rows) == 1 else ()
                    span = "thinking" if kind == "thinking" else "reply"
                    out.append(Token(index + len(out), text, zlib.crc32(text.encode()), logprob, span, top))
        return out

    def _reply(self, gathered: Gathered, seconds: float, tokens: Sequence[Token] = ()) -> Reply:
        part = gathered.choices.get(0) or Part()
        text = part.text or part.refusal
        ids = [t.token for t in tokens] or [zlib.crc32(w.encode()) for w in text.split()]
        return Reply(
            text=text,
            tokens=tuple(ids),
            finish=_FINISH.get(part.finish or "", "stop"),
            prompt_tokens=gathered.usage.prompt_tokens if gathered.usage is not None else 0,
            new_tokens=gathered.usage.completion_tokens if gathered.usage is not None else len(ids),
            thinking=part.thinking or None,
            spans=tuple(t.span for t in tokens),
            seconds=seconds,
        )

    async def reply(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> Reply:
        """One whole reply; ``new_tokens`` counts words where the service counts nothing.

        Raises:
            Unsupported: acts, reads or stop tokens. Busy, TooLong, ModelError: there is no reply.
        """
        self._check(acts, reads, means)
        started = time.perf_counter()
        gathered = await self._whole(self._body(conversation, sampling))
        return self._reply(gathered, time.perf_counter() - started)

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Many replies, side by side, as many at once as there are connections; raises as :meth:`reply` does."""
        for r in requests:
            self._check(r.acts, r.reads, r.means)
        return await together([self.reply(r.conversation, sampling=r.sampling) for r in requests])

    # -- choices ---------------------------------------------------------------------------------------------------------

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Probabilities of each option, asked with letters in every order.

        Raises:
            InputError: fewer than two options, two alike or one without text, or more than letters. Unsupported: acts.
            Busy, TooLong, ModelError: there is no answer.
        """
        self._check(acts)
        orders = orders_of(options)
        if len(set(options)) != len(options) or not all(options):
            raise InputError(f"a choice needs different options with text; got {list(options)}")
        shares = [
            await self._order(lettered(conversation, [options[i] for i in order]), len(order)) for order in orders
        ]
        return chosen(options, orders, shares, self.draws)

    async def _order(self, asked: Conversation, n: int) -> tuple[NDArray[np.float64], bool]:
        """Probability of each of ``n`` letters, un-normalised, and whether it is exact."""
        if self._gives_logprobs is not False:
            rows = await self._first(asked)
            if rows:
                self._gives_logprobs = True
                return np.minimum(shares_of(_tops(rows[0]), n), 1.0), True
            self._gives_logprobs = False
        seed = stable_seed("choose", asked.digest)
        requests = [ReplyRequest(asked, Sampling(4, temperature=1.0, seed=seed + k)) for k in range(self.draws)]
        counts = np.zeros(n)
        for reply in await self.replies(requests):
            k = letters_of(reply.text, n)
            if k is not None:
                counts[k] += 1
        return counts / self.draws, False

    async def _first(self, asked: Conversation) -> list[Mapping[str, Any]]:
        """The first token's row of log-probabilities; none where the service gives none."""
        body = self._body(asked, Sampling(1, temperature=0.0, top_logprobs=TOPS))
        try:
            gathered = await self._whole(body)
        except TooLong:
            raise
        except ModelError as e:
            if getattr(e.__cause__, "status_code", 0) in (400, 422):
                return []  # it may only be the log-probabilities that it does not give
            raise
        rows = gathered.choices[0].logprobs if 0 in gathered.choices else []
        return rows[:1] if rows and _tops(rows[0]) else []

    # -- what needs weights ----------------------------------------------------------------------------------------------

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[F32]]:
        """Refused: the wire does not score a given text.

        Raises:
            Unsupported: always.
        """
        raise self._unsupported("the log-probability of a given text")

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """Refused: there is nothing to read.

        Raises:
            Unsupported: always.
        """
        raise self._unsupported("a reading")

    # -- the wire --------------------------------------------------------------------------------------------------------

    async def models(self) -> list[str]:
        """Ids of the models that the service lists.

        Raises:
            Busy, ModelError: it cannot be asked, or lists none.
        """
        listed: Any = (await self._calls.whole(None)).get("data")
        if not isinstance(listed, list):
            raise self._calls.told(Garbage("it lists no models"))
        rows = [cast("Mapping[str, Any]", m) for m in cast("list[Any]", listed) if isinstance(m, dict)]
        return [id for m in rows if isinstance(id := m.get("id"), str) and id]

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self._calls.close()

    def _body(self, conversation: Conversation, s: Sampling) -> dict[str, Any]:
        if s.stop_tokens is not None:
            raise self._unsupported("a stop token")
        body: dict[str, Any] = {
            "model": self.model, "messages": [m.to_openai() for m in conversation], self._calls.most: s.max_new_tokens,
            "temperature": s.temperature, "seed": s.seed % 2**31,
        }  # fmt: skip
        if s.top_p < 1:
            body["top_p"] = s.top_p
        if s.stop:
            body["stop"] = list(s.stop)
        if s.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": s.top_logprobs}
        return body

    async def _whole(self, body: Mapping[str, Any]) -> Gathered:
        """A completion that is not streamed."""
        raw, gathered = await self._calls.whole(body), Gathered()
        try:
            gathered.take_object(raw)
        except Garbage as e:
            raise self._calls.told(e) from None
        if gathered.error is not None:
            raise self._calls.told(Refused(0, gathered.error))
        if 0 not in gathered.choices:
            raise self._calls.told(Garbage("it has no choice"))
        return gathered


def _tops(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    """A token's alternatives with their log-probabilities, itself where it has none; what can be none is left out."""
    tops: Any = row.get("top_logprobs")
    rows = (
        [cast("Mapping[str, Any]", t) for t in cast("list[Any]", tops) if isinstance(t, dict)]
        if isinstance(tops, list)
        else []
    )
    found = [(t, logprob_of(r)) for r in rows or [row] if isinstance(t := r.get("token"), str)]
    return [(t, p) for t, p in found if not math.isnan(p)]
