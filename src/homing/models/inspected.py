"""A ChatModel over a model of Inspect, so that anything Inspect can reach is talked to, held and measured like a local one.

Replies are Inspect's: its retries, its cache, its log. A choice is asked with letters, in several orders, and read from the
probabilities of the first token where the provider gives them, else from seeded draws; the choice says which.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation, Message
from homing.engine.base import Act, Direction, EngineInfo, Finish, MeanRead, Read, Sampling
from homing.errors import InputError, ModelError, Unsupported
from homing.models.account import Account, Said, settled
from homing.models.base import Capability, Choice, Done, Event, Reply, ReplyRequest, TurnRead
from homing.models.letters import DRAWS, ORDERS, chosen, lettered, letters_of, orders_of, shares_of
from homing.models.lockstep import together
from homing.models.trouble import sentence, status_of
from homing.stats.estimate import Cost
from homing.stats.seeds import stable_seed

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput

__all__ = [
    "ATTEMPT_SECONDS",
    "DRAWS",
    "ORDERS",
    "PATIENCE",
    "RETRIES",
    "SECONDS",
    "InspectModel",
    "lettered",
    "letters_of",
    "open_provider",
]

RETRIES = 5
"""How often a call that failed is made again, with growing waits of some 100 seconds together."""
ATTEMPT_SECONDS = 180
"""Longest that one attempt may take."""
SECONDS = 600
"""Time after which a call is not made again."""
PATIENCE = 30
"""Longest, in seconds, that a call on its way is waited for once its talk has been ended."""


class InspectModel:
    """A model that Inspect has opened.

    Args:
        model: of :func:`inspect_ai.model.get_model`. ``draws``: of a choice without probabilities.
        account: where answers are kept that were paid for; several models may share one. None: nothing is kept.
        owned: whether it is closed with this object.

    Attributes:
        states: how many answers were none, by why. ``spent``: what replies took, those of choices left out.
    """

    def __init__(
        self, model: Model, *, draws: int | None = None, account: Account | None = None, owned: bool = False
    ) -> None:
        from homing.models.inspect_provider import HomingAPI

        self.model, self.draws, self._owned = model, DRAWS if draws is None else draws, owned
        self.account = account or Account()
        self.states: Counter[str] = Counter()
        self.spent = Cost()
        # our own provider has the weights at hand: what a provider cannot do is asked of them
        self.local = model.api.local if isinstance(model.api, HomingAPI) else None

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
        made = await together([self._said(r.conversation, _config(r.sampling)) for r in requests])
        for said in made:
            self.states.update([said.state] if said.state else [])
            so_far, tokens = self.spent, (said.prompt_tokens, said.new_tokens)
            self.spent = Cost(
                so_far.calls + 1, so_far.prompt_tokens + tokens[0], so_far.new_tokens + tokens[1], so_far.seconds
            )
        return [_reply(said) for said in made]

    async def _said(self, conversation: Conversation, config: GenerateConfig) -> Said:
        """One answer: paid for before, or now.

        Raises:
            ModelError: there is none, and why; the same at once for every call after it.
        """
        asked = [[m.role, m.content] for m in conversation]
        key = self.account.key([self.name, asked, config.model_dump(mode="json", exclude_none=True)])
        known = self.account.take(key)
        if known is not None:
            return known
        if self.account.trouble:
            raise ModelError(self.account.trouble)
        try:
            # its talk may be ended because another one failed: what is on its way is then still waited for and kept
            return await settled(self._asked(key, conversation, config), PATIENCE)
        except _passing():
            raise
        except Exception as e:  # a provider is a plug-in of Inspect: what it raises is its own
            told = sentence(e, self.name, where=str(self.model.api.base_url or ""))
            if config.logprobs and status_of(e) in (400, 422):
                raise Unsupported(told) from e  # it may only be the log-probabilities that it does not give
            self.account.trouble = told
            raise ModelError(told) from e

    async def _asked(self, key: str, conversation: Conversation, config: GenerateConfig) -> Said:
        """One answer, paid for and kept."""
        said = _said(await self.model.generate(messages(conversation), config=config))
        self.account.keep(key, said)
        return said

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
        orders = orders_of(options)
        shares = [await self._order(conversation, [options[i] for i in order]) for order in orders]
        return chosen(options, orders, shares, self.draws)

    async def _order(self, conversation: Conversation, options: Sequence[str]) -> tuple[NDArray[np.float64], bool]:
        """Probability of each letter in one order, un-normalised, and whether it is exact."""
        asked = lettered(conversation, options)
        if self.account.gives_logprobs is not False:
            config = _config(Sampling(1, temperature=0.0), logprobs=True, top_logprobs=20)
            try:
                said = await self._said(asked, config)
            except Unsupported:
                said = Said("")
            if said.tops is not None:
                self.account.gives_logprobs = True
                return shares_of(said.tops, len(options)), True
            if not said.state:
                self.account.gives_logprobs = False
        seed = stable_seed("choose", asked.digest)
        config = [_config(Sampling(4, temperature=1.0, seed=seed + k)) for k in range(self.draws)]
        counts = np.zeros(len(options))
        for said in await together([self._said(asked, c) for c in config]):
            k = letters_of(said.text, len(options))
            if k is not None:
                counts[k] += 1
            elif said.state:
                self.states[said.state] += 1
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
        """Close what is owned; Inspect closes what it opened."""
        if self._owned:
            await self.model.api.aclose()


def open_provider(name: str, *, account: Account | None = None) -> InspectModel:
    """A model of a provider, outside of any task of Inspect.

    Raises:
        PrerequisiteError, ImportError, ValueError: Inspect's, where it cannot be opened.
    """
    return InspectModel(get_provider(name), account=account, owned=True)


def get_provider(name: str) -> Model:
    """Inspect's model, new each time, so that its address and key are those of the environment; its waiting is bounded.

    Raises:
        PrerequisiteError, ImportError, ValueError: Inspect's, where it cannot be opened.
    """
    from inspect_ai.model import GenerateConfig, get_model

    waits = GenerateConfig(max_retries=RETRIES, attempt_timeout=ATTEMPT_SECONDS, timeout=SECONDS)
    return get_model(name, config=waits, memoize=False)


def _passing() -> tuple[type[BaseException], ...]:
    """What is no trouble of the provider's: limits that the user gave Inspect, and our own refusals."""
    from inspect_ai.util import LimitExceededError

    return (LimitExceededError, InputError)


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


def _said(output: ModelOutput) -> Said:
    """What an output says; where it says nothing, why."""
    usage, stop = output.usage, str(output.stop_reason)
    choice = output.choices[0] if output.choices else None
    parts = choice.message.content if choice is not None and not isinstance(choice.message.content, str) else []
    refused = stop == "content_filter" or any(getattr(p, "refusal", None) for p in parts)
    # Inspect gives the text of an error as that of a reply, without any usage
    too_long = stop == "model_length" and usage is None
    text = "" if refused or too_long else output.completion
    state = "refused" if refused else "too long" if too_long else "" if text.strip() else "empty"
    content = choice.logprobs.content if choice is not None and choice.logprobs is not None else None
    tops = None
    if content:
        tops = tuple((t.token, float(t.logprob)) for t in content[0].top_logprobs or [content[0]])
    return Said(
        text, stop, state,
        usage.input_tokens if usage is not None else 0,
        usage.output_tokens if usage is not None else len(text.split()),
        tops, output.time or 0.0,
        "\n".join(str(x) for p in parts if (x := getattr(p, "reasoning", None))) or None,
    )  # fmt: skip


def _reply(said: Said) -> Reply:
    return Reply(
        text=said.text,
        tokens=tuple(zlib.crc32(w.encode()) for w in said.text.split()),
        finish=_FINISH.get(said.finish, "stop"),
        prompt_tokens=said.prompt_tokens,
        new_tokens=said.new_tokens,
        thinking=said.thinking,
        seconds=said.seconds,
    )
