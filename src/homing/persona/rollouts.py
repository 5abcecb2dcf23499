"""Ask every cell of a design, and keep the mean residual vector of each reply: one pass, in resumable units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import MeanRead
from homing.errors import ModelError
from homing.identity.work import Unit, WorkDir
from homing.models.base import ChatModel, ReplyRequest
from homing.persona.plan import Cell, Design

__all__ = ["UNIT_ROWS", "Replies", "ask"]

F32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
UNIT_ROWS = 32


@dataclass(frozen=True, eq=False)
class Replies:
    """The replies of a map, one row each.

    Attributes:
        means: ``(replies, layers, hidden)`` float32, the mean residual vector over reply tokens.
        role: ``(replies,)``, -1 at home. ``question``, ``prompt``, ``length``: ``(replies,)``; length in tokens.
        block: ``(replies,)``, which block of the design; roles, questions and home prompts of two blocks never meet.
        texts: the replies. ``finish``: why each ended. ``layers``: the layers of ``means``.
        new_tokens, prompt_tokens: totals.
    """

    means: F32
    role: Ints
    question: Ints
    prompt: Ints
    length: Ints
    texts: tuple[str, ...]
    finish: tuple[str, ...]
    layers: tuple[int, ...]
    new_tokens: int
    prompt_tokens: int
    block: Ints

    @property
    def home(self) -> Bools:
        """Which rows are home replies, ``(replies,)``."""
        return self.role < 0

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Bools | Ints) -> Replies:
        """Some rows, by mask or index."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return replace(
            self,
            means=self.means[index],
            role=self.role[index],
            question=self.question[index],
            prompt=self.prompt[index],
            length=self.length[index],
            block=self.block[index],
            texts=tuple(self.texts[i] for i in index),
            finish=tuple(self.finish[i] for i in index),
        )


async def ask(
    model: ChatModel,
    design: Design,
    *,
    work: WorkDir,
    layers: Sequence[int],
    advance: Callable[[int], None] = lambda n: None,
    enough: Callable[[Replies], bool] | None = None,
) -> Replies:
    """Make every reply of a design, unit by unit.

    A unit is up to 32 rows of one round that enter the model together in a fixed order; an empty reply is kept as a row
    of its own kind and left out of the vectors. Nothing is shared between units, so a resumed run makes the same bytes.

    Args:
        model: must do ``means``.
        work: where finished units lie.
        layers: decoder layers whose means are kept.
        advance: told how many replies are done.
        enough: asked between rounds; True stops the sampling there.

    Raises:
        ModelError: a reply had a reading that is not finite.
    """
    means = MeanRead(tuple(layers))
    done: list[tuple[Cell, Unit, int]] = []
    rounds = sorted({c.round for c in design.cells})
    total_prompt = 0
    for r in rounds:
        cells = [c for c in design.cells if c.round == r]
        for u, start in enumerate(range(0, len(cells), UNIT_ROWS)):
            rows = cells[start : start + UNIT_ROWS]

            async def compute(rows: list[Cell] = rows) -> Unit:
                requests = [
                    ReplyRequest(design.conversation(c), replace(design.sampling, seed=c.seed), means=(means,))
                    for c in rows
                ]
                replies = await model.replies(requests)
                return Unit(
                    [[p.text, p.finish, p.new_tokens, p.prompt_tokens] for p in replies],
                    {"means": np.stack([p.means[0] for p in replies]).astype(np.float32)},
                )

            unit = await work.do(f"replies/{r:03d}-{u:03d}", compute)
            total_prompt += sum(row[3] for row in unit.data)
            done += [(c, unit, i) for i, c in enumerate(rows)]
            advance(len(rows))
        if enough is not None and r != rounds[-1] and enough(_collect(done, tuple(layers), total_prompt)):
            break
    return _collect(done, tuple(layers), total_prompt)


def _collect(done: list[tuple[Cell, Unit, int]], layers: tuple[int, ...], prompt_tokens: int) -> Replies:
    spoken = [(c, u, i) for c, u, i in done if u.data[i][2] > 0]
    means = np.stack([u.arrays["means"][i] for _, u, i in spoken]).astype(np.float32)
    if not np.isfinite(means).all():
        raise ModelError("the model's residual stream is not finite on some replies; its weights may be damaged")
    return Replies(
        means=means,
        role=np.array([c.role for c, _, _ in spoken], np.int64),
        question=np.array([c.question for c, _, _ in spoken], np.int64),
        prompt=np.array([c.prompt for c, _, _ in spoken], np.int64),
        length=np.array([u.data[i][2] for _, u, i in spoken], np.int64),
        texts=tuple(u.data[i][0] for _, u, i in spoken),
        finish=tuple(u.data[i][1] for _, u, i in spoken),
        layers=layers,
        new_tokens=sum(u.data[i][2] for _, u, i in done),
        prompt_tokens=prompt_tokens,
        block=np.array([c.block for c, _, _ in spoken], np.int64),
    )
