"""What a plan will ask for, counted before it starts: some of its cells are played on a model that answers at once."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act, Direction
from homing.hold.base import Stabiliser
from homing.instruments.base import Cell, Instrument, PresetName, Sized
from homing.instruments.playing import play
from homing.models.base import Capability, ChatModel, Choice, Reply, ReplyRequest
from homing.models.scripted import ScriptedModel

__all__ = ["Load", "Rehearsal", "tokens_of"]

_PIECE = re.compile(r"[^\W\d]+|\d|[^\w\s]|\n")
LONG = 9
"""Letters from which on a word is taken for two tokens."""
TOKENS_PER_PIECE = 1.1
"""With this the texts of the four instruments are 1.02 to 1.11 of what the embedded model's tokenizer counts."""
WORDS_PER_TOKEN = 0.75
"""Of replies in English."""
TOKENS_PER_MESSAGE = 5
"""What a chat template puts around a message."""
COUNTED = 64
"""Items up to which every cell is counted; larger sizes are multiples of this one."""
SAMPLED = 64
"""Cells of one instrument under one hold that are played, at least two of every condition."""


def tokens_of(text: str) -> float:
    """About how many tokens a text has, from its words, digits, signs and line breaks."""
    return TOKENS_PER_PIECE * sum(math.ceil(len(w) / LONG) for w in _PIECE.findall(text))


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a model.

    Attributes:
        cells: conversations. ``replies``: to be made. ``choices``: between given replies. ``options``: of all choices.
        reply_prompts: prompt tokens of replies. ``choice_prompts``: of choices, each once. ``option_tokens``: of given replies.
        fresh_tokens: prompt tokens that are not the beginning of what the same cell has asked before.
        new_tokens: of replies, each as long as it may become.
    """

    cells: float = 0.0
    replies: float = 0.0
    choices: float = 0.0
    options: float = 0.0
    reply_prompts: float = 0.0
    choice_prompts: float = 0.0
    option_tokens: float = 0.0
    fresh_tokens: float = 0.0
    new_tokens: float = 0.0

    def __add__(self, other: Load) -> Load:
        return Load(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def times(self, n: float) -> Load:
        """As much ``n`` times."""
        return Load(*(n * a for a in astuple(self)))


class _Counts(ScriptedModel):
    """Says words until it must stop, takes the first option, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(lambda c: "", name="rehearsal")
        self.load = Load()
        self._seen: set[tuple[str, ...]] = set()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Whatever a hold may need."""
        return frozenset({"stream", "acts", "reads", "means", "score", "logprobs", "system"})

    def register(self, direction: Direction) -> str:
        """Taken, and never used."""
        return direction.name

    def _whole_and_fresh(self, c: Conversation) -> tuple[float, float]:
        """Tokens of a conversation, and of its part behind the longest beginning that was seen before."""
        whole = fresh = 0.0
        so_far: tuple[str, ...] = ()
        for m in c:
            so_far = (*so_far, f"{m.role} {m.content}")
            size = TOKENS_PER_MESSAGE + tokens_of(m.content)
            whole += size
            if so_far not in self._seen:
                self._seen.add(so_far)
                fresh += size
        return whole, fresh

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Each as long as it may become."""
        return [self._said(r) for r in requests]

    def _said(self, r: ReplyRequest) -> Reply:
        new = r.sampling.max_new_tokens
        whole, fresh = self._whole_and_fresh(r.conversation)
        self.load += Load(replies=1, reply_prompts=whole, fresh_tokens=fresh, new_tokens=new)
        text = " ".join(["word"] * max(1, int(new * WORDS_PER_TOKEN)))
        self._whole_and_fresh(r.conversation.then(text, "assistant"))  # what it said itself is known to it
        return Reply(text, (), "length", int(whole), new)

    async def reply(self, conversation: Conversation, **asked: object) -> Reply:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One of them."""
        return self._said(ReplyRequest(conversation, **asked))  # pyright: ignore[reportArgumentType]

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """The first."""
        scored = await self.score_replies([conversation], [options])
        return Choice.of(options, [float(x[0]) for x in scored[0]])

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[NDArray[np.float32]]]:
        """The first option is the likeliest."""
        for prompt, texts in zip(prompts, replies, strict=True):
            whole, fresh = self._whole_and_fresh(prompt)
            said = sum(tokens_of(t) for t in texts)
            self.load += Load(
                choices=1, options=len(texts), choice_prompts=whole, option_tokens=said, fresh_tokens=fresh
            )
        return [
            [np.array([math.log(0.5 if k == 0 else 0.5 / len(texts))], np.float32) for k in range(len(texts))]
            for texts in replies
        ]


class Rehearsal:
    """Counts what instruments of any size will ask for under some holds.

    What a cell of a condition takes is measured once, on the instrument at its first size, and then multiplied.

    Args:
        preset, seed: of the plan. ``holds``: by instrument. ``chain``: makes the stabilisers of a hold.
        anchored: whether another model is asked too; what it is asked is counted with the rest.
    """

    def __init__(
        self,
        *,
        preset: PresetName,
        seed: int,
        holds: Mapping[str, Sequence[str]],
        chain: Callable[[str], Sequence[Stabiliser]],
        anchored: bool = False,
    ) -> None:
        self._preset: PresetName = preset
        self._seed, self._holds, self._chain, self._anchored = seed, holds, chain, anchored
        self._cell: dict[tuple[str, str, str], Load] = {}

    def load(self, instruments: Mapping[str, Instrument]) -> Load:
        """All that is asked, at most."""
        return sum((self.load_of(n, i) for n, i in instruments.items()), Load())

    def load_of(self, name: str, instrument: Instrument) -> Load:
        """What one instrument asks, under all holds."""
        items = instrument.units(self._preset) if isinstance(instrument, Sized) else 0
        if isinstance(instrument, Sized) and items > COUNTED:
            part = instrument.sized(self._preset, COUNTED)
            there = part.units(self._preset) if isinstance(part, Sized) else items
            if there < items:
                return self._counted(name, part).times(items / there)
        return self._counted(name, instrument)

    def _counted(self, name: str, instrument: Instrument) -> Load:
        """The same, of one whose cells are few enough to be listed."""
        total = Load()
        for hold in self._holds[name]:
            cells = instrument.cells(preset=self._preset, seed=self._seed, hold=hold)
            new = [c for c in cells if (name, hold, c.condition) not in self._cell]
            self._cell |= {(name, hold, k): v for k, v in self._measured(instrument, new, hold).items()}
            for condition, n in Counter(c.condition for c in cells).items():
                total += self._cell[name, hold, condition].times(n) + Load(cells=n)
        return total

    def _measured(self, instrument: Instrument, cells: Sequence[Cell], hold: str) -> dict[str, Load]:
        """Condition to what a cell of it takes on average."""
        by: dict[str, list[Cell]] = {}
        for c in cells:
            by.setdefault(c.condition, []).append(c)
        most = max(2, SAMPLED // max(1, len(by)))
        chosen = {k: spread(group, most) for k, group in by.items()}
        chain = self._chain(hold)

        async def one(cell: Cell) -> Load:
            model = _Counts()
            asked = cast("ChatModel", model)
            await play(instrument, cell, asked, chain, anchor=asked if self._anchored else None)
            return model.load

        async def every() -> dict[str, Load]:
            out: dict[str, Load] = {}
            for k, group in chosen.items():
                out[k] = sum([await one(c) for c in group], Load()).times(1 / len(group))
            return out

        if not chosen:
            return {}
        with ThreadPoolExecutor(1) as thread:  # a caller may have a loop of its own running
            return thread.submit(lambda: asyncio.run(every())).result()


def spread(cells: Sequence[Cell], most: int) -> list[Cell]:
    """At most so many, evenly from first to last."""
    if len(cells) <= most:
        return list(cells)
    return [cells[int(k)] for k in np.linspace(0, len(cells) - 1, most)]
