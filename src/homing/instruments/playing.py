"""Play the cells of an instrument on a model, under a chain of holds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from homing.conversation import Conversation
from homing.drift.trace import position_of
from homing.engine.base import Act, Read, Sampling
from homing.hold.base import Stabiliser, Turn, collect
from homing.hold.chain import around
from homing.instruments.base import NO_ANCHOR, Answer, Ask, Cell, Instrument
from homing.models.base import ChatModel, Choice, Done, Event, Intervention, Reply, ReplyRequest
from homing.models.lockstep import Lockstep, together
from homing.stats.estimate import Cost

__all__ = ["Played", "play", "play_all", "play_cells", "side_by_side"]


@dataclass(frozen=True, eq=False, slots=True)
class Played:
    """What a cell left. ``record``: JSON values. ``cost``: of its replies, those of its holds among them; no choices in forks."""

    record: dict[str, Any]
    cost: Cost


@dataclass
class _Talk:
    """One cell on its way."""

    model: ChatModel
    holds: Sequence[Stabiliser]
    anchor: ChatModel | None = None
    state: dict[str, Any] = field(default_factory=dict[str, Any])

    async def answers(self, asks: Sequence[Ask]) -> list[Answer]:
        """Replies that go on from each other one after the other, then all that are forks, then all choices at once."""
        out: list[Answer | None] = [None] * len(asks)
        chosen: list[tuple[int, Turn]] = []
        forks: list[tuple[int, Turn, Sequence[Stabiliser]]] = []
        once = cast(ChatModel, _Once(self.model))
        others = [i for i, ask in enumerate(asks) if ask.of == "anchor"]
        for i, answer in zip(others, await self._of_anchor([asks[i] for i in others]), strict=True):
            out[i] = answer
        for i, ask in enumerate(asks):
            if ask.of == "anchor":
                continue
            turn = Turn(ask.conversation, ask.sampling, reads=self._reads(ask), state=dict(self.state))
            holds = self.holds if ask.held else ()
            if ask.options:
                seen = await self._seen(turn, holds, once) if holds else turn
                if isinstance(seen, Reply):
                    out[i] = _in_its_place(ask, seen)
                else:
                    chosen.append((i, replace(seen, conversation=ask.shown(seen.conversation))))
            elif ask.fork:
                forks.append((i, turn, holds))
            else:
                out[i] = await self._reply(ask, turn, holds)
        said = await together([self._reply(asks[i], turn, holds) for i, turn, holds in forks])
        for (i, *_), answer in zip(forks, said, strict=True):
            out[i] = answer
        for acts in dict.fromkeys(t.acts for _, t in chosen):
            group = [(i, t) for i, t in chosen if t.acts == acts]
            for i, answer in zip((i for i, _ in group), await self._choices(asks, group, acts), strict=True):
                out[i] = answer
        return [a for a in out if a is not None]

    async def _of_anchor(self, asks: Sequence[Ask]) -> list[Answer]:
        """What the anchor says, one after the other, so that each is read alone and a run repeats."""
        if self.anchor is None:
            return [Answer("", a.conversation, refused=NO_ANCHOR) for a in asks]
        out: list[Answer] = []
        for ask in asks:
            shown = ask.shown(ask.conversation)
            if ask.options:
                found = self._chosen(ask, await self.anchor.choose(shown, ask.options))
            else:
                reply = await self.anchor.reply(shown, sampling=ask.sampling)
                found = Answer(reply.text, ask.conversation.then(reply.text or "...", "assistant"), finish=reply.finish)
            out.append(replace(found, who=self.anchor.name))
        return out

    def _reads(self, ask: Ask) -> tuple[Read, ...]:
        """What is read of a reply; nothing where the model cannot be read from."""
        if ask.axis is None or ask.options or "reads" not in self.model.capabilities:
            return ()
        for direction in ask.axis.directions:
            self.model.register(direction)
        return (ask.axis.read(),)

    async def _choices(
        self, asks: Sequence[Ask], group: Sequence[tuple[int, Turn]], acts: tuple[Act, ...]
    ) -> list[Answer]:
        options = [list(asks[i].options) for i, _ in group]
        if "score" not in self.model.capabilities:
            async with asyncio.TaskGroup() as together:
                chosen = [
                    together.create_task(self.model.choose(t.conversation, texts, acts=acts))
                    for (_, t), texts in zip(group, options, strict=True)
                ]
            choices = [c.result() for c in chosen]
            return [self._chosen(asks[i], c) for (i, _), c in zip(group, choices, strict=True)]
        scored = await self.model.score_replies([t.conversation for _, t in group], options, acts=acts)
        return [
            self._chosen(asks[i], Choice.of(texts, [float(x.astype("float64").sum()) for x in logprobs]))
            for (i, _), texts, logprobs in zip(group, options, scored, strict=True)
        ]

    def _chosen(self, ask: Ask, choice: Choice) -> Answer:
        best = max(range(len(choice.options)), key=choice.logprobs.__getitem__)
        said = choice.options[best]
        return Answer(said, ask.conversation.then(said, "assistant"), choice)

    async def _seen(self, turn: Turn, holds: Sequence[Stabiliser], model: ChatModel) -> Turn | Reply:
        """The turn as the model would be given it under the holds; or what a hold says in its place, without asking it."""
        seen: list[Turn] = []

        async def model_would(inner: Turn) -> AsyncGenerator[Event, None]:
            seen.append(inner)
            yield Done(Reply("", (), "stop", 0, 0))

        made = await collect(around(model, holds, model_would)(turn))
        return seen[-1] if seen else made

    async def _reply(self, ask: Ask, turn: Turn, holds: Sequence[Stabiliser]) -> Answer:
        async def model_says(inner: Turn) -> AsyncGenerator[Event, None]:
            request = ReplyRequest(
                ask.shown(inner.conversation), inner.sampling, inner.acts, inner.reads, inner.means, fork=ask.fork
            )
            yield Done((await self.model.replies([request]))[0])

        events: list[Event] = []
        reply = await collect(around(self.model, holds, model_says)(turn), into=events)
        state, kept = dict(self.state), ask.conversation
        for event in events:
            if isinstance(event, Intervention) and event.state:
                left = dict(event.state)
                history = left.pop("history", None)
                if history is not None:
                    kept = Conversation.from_openai(history)  # pyright: ignore[reportArgumentType]
                if left:
                    state[event.hold] = left
        if not ask.fork:
            self.state = state
        said = Answer(
            reply.text, kept.then(reply.text or "...", "assistant"), finish=reply.finish, thinking=reply.thinking,
            new_tokens=reply.new_tokens,
        )  # fmt: skip
        if ask.axis is None or not turn.reads or not reply.readings:
            return said
        position, tokens = position_of(reply.readings[0], ask.axis)  # what holds read comes after what was asked for
        return replace(said, position=position if math.isfinite(position) else None, tokens=len(tokens))


def _in_its_place(ask: Ask, reply: Reply) -> Answer:
    """The choice that a hold made without the model: one of the options for certain, or none."""
    said = ask.conversation.then(reply.text or "...", "assistant")
    if reply.text not in ask.options:
        return Answer(reply.text, said, refused="a hold answered in the model's place, with none of the options")
    taken = [o == reply.text for o in ask.options]
    logs, shares = tuple(0.0 if t else -math.inf for t in taken), tuple(float(t) for t in taken)
    return Answer(reply.text, said, Choice(ask.options, logs, shares, 1.0))


class _Once:
    """A model that is asked the same thing once: forks of one conversation are held by the same replies, if by any."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._known: dict[tuple[str, Sampling, tuple[Act, ...]], Reply] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        keys = [(r.conversation.digest, r.sampling, r.acts) for r in requests]
        new = {k: r for k, r in zip(keys, requests, strict=True) if k not in self._known}
        made = await self._model.replies(list(new.values()))
        self._known.update(zip(new, made, strict=True))
        return [self._known[k] for k in keys]

    async def reply(self, conversation: Conversation, **asked: Any) -> Reply:
        return (await self.replies([ReplyRequest(conversation, **asked)]))[0]


async def play(
    instrument: Instrument,
    cell: Cell,
    model: ChatModel,
    holds: Sequence[Stabiliser] = (),
    *,
    anchor: ChatModel | None = None,
) -> dict[str, Any]:
    """Play one cell to its end; its record. ``anchor``: another model, for what is asked of one."""
    talk = _Talk(model, holds, anchor)
    edit = instrument.edit(cell)
    asks = next(edit)
    while True:
        answers = await talk.answers(asks)
        try:
            asks = edit.send(answers)
        except StopIteration as e:
            return e.value


def side_by_side(model: ChatModel, most: int, *, long: bool = False) -> int:
    """How many conversations to play at once.

    On llama.cpp every token is weighed against the cells of all conversations that are kept, so a few that are long go quicker
    than many; what short ones begin with they have in common.

    Args:
        most: where company costs nothing. ``long``: whether they grow to hundreds of tokens and are asked much.
    """
    return min(most, 2 if long else 16) if model.info.engine == "llamacpp" else most


async def play_cells(
    instrument: Instrument,
    cells: Sequence[Cell],
    model: ChatModel,
    holds: Sequence[Stabiliser] = (),
    *,
    keep: str = "",
    anchor: ChatModel | None = None,
) -> list[Played]:
    """Play cells side by side on one model, in lockstep, so that the same cells have the same company each time.

    Args:
        keep: name under which conversations keep their prefixes while these cells run. ``anchor``: another model, for what is
            asked of one.
    """
    return await play_all([(instrument, c, holds) for c in cells], model, keep=keep, anchor=anchor)


async def play_all(
    parts: Sequence[tuple[Instrument, Cell, Sequence[Stabiliser]]],
    model: ChatModel,
    *,
    keep: str = "",
    anchor: ChatModel | None = None,
    done: Callable[[int, Played], None] = lambda i, played: None,
) -> list[Played]:
    """The same for cells of several instruments, each under holds of its own. ``done``: told of each, and what it is."""
    step = Lockstep(model, keep=keep)

    async def one(i: int) -> Played:
        played = Played(await play(parts[i][0], parts[i][1], step, parts[i][2], anchor=anchor), step.spent[i])
        done(i, played)
        return played

    return await step.together([lambda i=i: one(i) for i in range(len(parts))])
