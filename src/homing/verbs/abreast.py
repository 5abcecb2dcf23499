"""Units of play that are kept one by one and played together, on a model that has room for many conversations at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from homing.hold.base import Stabiliser
from homing.identity.work import Unit, WorkDir
from homing.instruments.base import Cell, Instrument
from homing.instruments.playing import Played, play_all
from homing.models.base import ChatModel
from homing.verbs.progress import Progress

__all__ = ["Play", "play_abreast", "unit_of"]

USUAL = 32


@dataclass(frozen=True, eq=False, slots=True)
class Play:
    """One unit. ``name``: it is kept under. ``holds``: made anew for it, since some keep what they learn."""

    name: str
    instrument: Instrument
    cells: Sequence[Cell]
    holds: Callable[[], Sequence[Stabiliser]]


def unit_of(played: Sequence[Played]) -> Unit:
    """What is kept of cells: record and costs of each, without the time, which would differ from run to run."""
    return Unit(
        [
            [
                p.record,
                {"calls": p.cost.calls, "prompt_tokens": p.cost.prompt_tokens, "new_tokens": p.cost.new_tokens},
            ]
            for p in played
        ]
    )


async def play_abreast(
    model: ChatModel, work: WorkDir, plays: Sequence[Play], told: Progress, *, anchor: ChatModel | None = None
) -> set[str]:
    """Play what is not finished, whole units together, as many as the model has slots; nothing where it has few.

    Returns:
        Names of the units that were played here; their conversations were told to ``told``.
    """
    room = model.info.slots
    if model.info.engine != "torch" or room <= USUAL:
        return set()
    left = [p for p in plays if work.find(p.name) is None]
    out: set[str] = set()
    while left:
        some: list[Play] = []
        while left and (not some or sum(len(p.cells) for p in (*some, left[0])) <= room):
            some.append(left.pop(0))
        told.stage(f"{some[0].name} to {some[-1].name}")
        parts = [(p.instrument, c, holds) for p in some for holds in (p.holds(),) for c in p.cells]
        played: list[Played | None] = [None] * len(parts)
        ends = list(accumulate(len(p.cells) for p in some))

        def one(
            i: int, made: Played, played: list[Played | None] = played, ends: list[int] = ends, some: list[Play] = some
        ) -> None:
            played[i] = made
            told.advance(1)
            at = bisect_right(ends, i)
            whole = [x for x in played[ends[at] - len(some[at].cells) : ends[at]] if x is not None]
            if len(whole) == len(some[at].cells):  # kept at once: the others may take an hour more
                work.keep(some[at].name, unit_of(whole))
                out.add(some[at].name)

        await play_all(parts, model, keep=some[0].name, done=one, anchor=anchor)
    return out
