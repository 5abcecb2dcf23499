"""Units of play that are kept one by one and played together, on a model that has room for many conversations at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from homing.hold.base import Stabiliser
from homing.identity.work import Unit, WorkDir
from homing.instruments.base import Cell, Instrument
from homing.instruments.playing import Played, play_all, side_by_side
from homing.models.base import ChatModel
from homing.verbs.progress import Progress

__all__ = ["Play", "play_abreast", "play_arms", "unit_of"]

USUAL = 32


@dataclass(frozen=True, eq=False, slots=True)
class Play:
    """One unit.

    ``name``: it is kept under. ``holds``: made anew for it, since some keep what they learn. ``part``: of which part of an
    instrument's cells it is; units of one part play the same cells under different holds. ``hold``: the name of its own.
    """

    name: str
    instrument: Instrument
    cells: Sequence[Cell]
    holds: Callable[[], Sequence[Stabiliser]]
    part: int = 0
    hold: str = "none"


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


async def play_arms(
    model: ChatModel, work: WorkDir, plays: Sequence[Play], told: Progress, *, anchor: ChatModel | None = None
) -> set[str]:
    """Play what is not finished on llama.cpp, the same cells with nothing done and under each hold side by side.

    What they begin with is then computed once for all of them, and what a hold leaves as it is, once. The units of one part are
    kept together, and where one of them is missing all are played, so that each has the same company every time.

    Returns:
        Names of the units that were played here; their conversations were told to ``told``.
    """
    if model.info.engine != "llamacpp":
        return set()
    parts: dict[tuple[str, int], list[Play]] = {}
    for p in plays:
        parts.setdefault((p.instrument.name, p.part), []).append(p)
    out: set[str] = set()
    for arms in parts.values():
        missing = [p for p in arms if work.find(p.name) is None]
        if not missing:
            continue
        told.stage(f"{arms[0].instrument.name}, {len(arms)} ways" if len(arms) > 1 else arms[0].name)
        step = side_by_side(model, USUAL) // (2 if len(arms) > 1 else 1)
        made: dict[tuple[str, str], Played] = {}
        every = list(dict.fromkeys(c.id for p in arms for c in p.cells))
        for k in range(0, len(every), step):
            now = set(every[k : k + step])
            some = [(p, c, holds) for p in arms for holds in (p.holds(),) for c in p.cells if c.id in now]
            played = await play_all([(p.instrument, c, h) for p, c, h in some], model, keep=arms[0].name, anchor=anchor)
            made |= {(p.name, c.id): x for (p, c, _), x in zip(some, played, strict=True)}
            told.advance(sum(p in missing for p, *_ in some))
        for p in missing:
            work.keep(p.name, unit_of([made[p.name, c.id] for c in p.cells]))
            out.add(p.name)
    return out
