"""A ChatModel over a model of Inspect, so that anything Inspect can reach is talked to, held and measured like a local one.

Replies are Inspect's: its retries, its cache, its log. A choice is asked with letters, in several orders, and read from the
probabilities of the first token where the provider gives them, else from seeded draws; the choice says which.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation, Message
from homing.engine.base import Act, Direction, EngineInfo, Finish, MeanRead, Read, Sampling
from homing.errors import InputError, Unsupported
from homing.models.base import Capability, Choice, Done, Event, Reply, ReplyRequest, TurnRead
from homing.stats.seeds import stable_seed

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput

__all__ = ["DRAWS", "ORDERS", "InspectModel", "lettered", "letters_of"]

ORDERS = 2
"""Orders in which the options of a choice are lettered: as given, and reversed. The mean over both has no position in it."""
DRAWS = 16
"""Seeded replies a choice is drawn from in each order, where no probabilities are given."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ASKED = "Which of these would you say? Answer with one letter."


class InspectModel:
    """A model that Inspect has opened.

    Args:
        model: of :func:`inspect_ai.model.get_model`. ``draws``: of a choice without probabilities.
    """

    def __init__(self, model: Model, *, draws: int = DRAWS) -> None:
        from homing.models.inspect_provider import HomingAPI

        self.model, self.draws = model, draws
        # our own provider has the weights at hand: what a provider cannot do is asked of them
        self.local = model.api.local if isinstance(model.api, HomingAPI) else None
        self._gives_logprobs: bool | None = None

    @property
    def name(self) -> str:
        """As Inspect names it."""
        return str(self.model)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It streams whole replies, and is given system messages; a local model can do what it can."""
        return self.local.capabilities if self.local is not None else frozenset({"stream", "system"})

    @property
    def info(self) -> EngineInfo:
        """An engine that is out of reach, or the local one."""
        if self.local is not None:
            return self.local.info
        return EngineInfo(
            engine="inspect", fingerprint=f"inspect:{self.name}", dtype="none", layers=0, hidden=0, vocab=2**32,
            context=2**31, slots=1, supports=frozenset(),
        )  # fmt: skip

    def register(self, direction: Direction) -> str:
        """Refused where there are no weights."""
        if self.local is not None:
            return self.local.register(direction)
        raise self._unsupported(f"direction {direction.name!r}")

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"{what} needs weights, and {self.name} is behind a provider; open a local model")

    def _check(self, acts: Sequence[Act], reads: Sequence[Read], means: Sequence[MeanRead]) -> None:
        for what, asked in (("an act", acts), ("a read", reads), ("a mean read", means)):
            if asked:
                raise self._unsupported(what)

    def pieces(self, text: str) -> tuple[str, ...]:
        """Words; the provider's tokens are not known."""
        return tuple(text.split())

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Many replies, side by side as far as Inspect lets them; under acts, those of a local model itself."""
        if self.local is not None and any(r.acts or r.reads or r.means for r in requests):
            return await self.local.replies(requests)
        for r in requests:
            self._check(r.acts, r.reads, r.means)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(r)) for r in requests]
        return [t.result() for t in tasks]

    async def _one(self, r: ReplyRequest) -> Reply:
        return _reply(await self.model.generate(messages(r.conversation), config=_config(r.sampling)))

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
            Unsupported: acts or reads are asked for.
        """
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
        """Probabilities of each option, asked with letters in every order.

        Raises:
            InputError: fewer than two options or more than letters. Unsupported: acts are asked for.
        """
        if self.local is not None:
            return await self.local.choose(conversation, options, acts=acts)
        self._check(acts, (), ())
        if not 2 <= len(options) <= len(LETTERS):
            raise InputError(f"a choice has 2 to {len(LETTERS)} options; got {len(options)}")
        orders = [list(range(len(options))), list(reversed(range(len(options))))][:ORDERS]
        shares = [await self._order(conversation, [options[i] for i in order]) for order in orders]
        exact = all(e for _, e in shares)
        by_option = np.zeros(len(options))
        for order, (p, _) in zip(orders, shares, strict=True):
            by_option[order] += p / len(orders)
        mass = float(by_option.sum())
        whole = mass if mass > 0 else 1.0
        logs = [math.log(p) if p > 0 else -math.inf for p in by_option]
        return Choice(tuple(options), tuple(logs), tuple(float(p / whole) for p in by_option), min(1.0, mass), exact)

    async def _order(self, conversation: Conversation, options: Sequence[str]) -> tuple[NDArray[np.float64], bool]:
        """Probability of each letter in one order, un-normalised, and whether it is exact."""
        asked = lettered(conversation, options)
        if self._gives_logprobs is not False:
            config = _config(Sampling(1, temperature=0.0), logprobs=True, top_logprobs=20)
            output = await self.model.generate(messages(asked), config=config)
            found = _letters(output, len(options))
            self._gives_logprobs = found is not None
            if found is not None:
                return found, True
        seed = stable_seed("choose", asked.digest)
        drawn = await self.replies(
            [ReplyRequest(asked, Sampling(4, temperature=1.0, seed=seed + k)) for k in range(self.draws)]
        )
        counts = np.zeros(len(options))
        for r in drawn:
            k = letters_of(r.text, len(options))
            if k is not None:
                counts[k] += 1
        return counts / self.draws, False

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[NDArray[np.float32]]]:
        """Refused: a provider does not score a given text; a local model does."""
        if self.local is not None:
            return await self.local.score_replies(prompts, replies, acts=acts)
        raise self._unsupported("the log-probability of a given text")

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """Refused: there is nothing to read."""
        raise self._unsupported("a reading")

    async def close(self) -> None:
        """Inspect closes it."""


def lettered(conversation: Conversation, options: Sequence[str]) -> Conversation:
    """The conversation with its last message asked as a choice with letters."""
    lines = "\n".join(f"{LETTERS[k]}) {text}" for k, text in enumerate(options))
    return conversation.edit(-1, f"{conversation[-1].content}\n\n{lines}\n\n{ASKED}")


def letters_of(text: str, n: int) -> int | None:
    """Which of the first ``n`` letters a reply names: one that stands alone at its beginning; None where none does."""
    head = text.strip().lstrip("(*[\"'")
    if not head or head[0].upper() not in LETTERS[:n] or (len(head) > 1 and head[1].isalnum()):
        return None
    return LETTERS.index(head[0].upper())


def messages(conversation: Conversation) -> list[ChatMessage]:
    """As Inspect's messages.

    Raises:
        InputError: a tool message, which these conversations do not have.
    """
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds: dict[str, Any] = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    out: list[ChatMessage] = []
    for m in conversation:
        if m.role not in kinds:
            raise InputError(f"a {m.role} message cannot be sent through Inspect here; leave tool messages out")
        out.append(kinds[m.role](content=m.content))
    return out


def conversation_of(given: Sequence[ChatMessage]) -> Conversation:
    """The inverse of :func:`messages`, of their text."""
    return Conversation(tuple(Message(m.role, m.text) for m in given))


def _config(s: Sampling, **more: Any) -> GenerateConfig:
    from inspect_ai.model import GenerateConfig

    return GenerateConfig(
        max_tokens=s.max_new_tokens, temperature=s.temperature, top_p=s.top_p if s.top_p < 1 else None,
        seed=s.seed % 2**31, stop_seqs=list(s.stop) or None, **more,
    )  # fmt: skip


_FINISH: dict[str, Finish] = {"stop": "stop", "max_tokens": "length", "model_length": "length"}


def _reply(output: ModelOutput) -> Reply:
    text = output.completion
    usage = output.usage
    return Reply(
        text=text,
        tokens=tuple(zlib.crc32(w.encode()) for w in text.split()),
        finish=_FINISH.get(output.stop_reason, "stop"),
        prompt_tokens=usage.input_tokens if usage is not None else 0,
        new_tokens=usage.output_tokens if usage is not None else len(text.split()),
        seconds=output.time or 0.0,
    )


def _letters(output: ModelOutput, n: int) -> NDArray[np.float64] | None:
    """Probability of each letter as the first token; None where the provider gives no probabilities."""
    logprobs = output.choices[0].logprobs if output.choices else None
    if logprobs is None or not logprobs.content:
        return None
    first = logprobs.content[0]
    out = np.zeros(n)
    for top in first.top_logprobs or [first]:
        k = letters_of(top.token, n)
        if k is not None:
            out[k] += math.exp(top.logprob)
    return out
