"""The inside face of the conversations of a return experiment, for a model whose identity has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from homing.conversation import Conversation
from homing.drift.trace import alarms_of
from homing.identity import Identity
from homing.identity.work import Unit
from homing.instruments.base import Cell
from homing.instruments.return_faces import ARMS, Inside
from homing.models.base import ChatModel
from homing.verbs.transcripts import Transcript
from homing.verbs.watch import Home, trace_given

__all__ = ["has_inside", "inside_of", "read_inside"]


def has_inside(identity: Identity | None) -> bool:
    """Whether an identity has positions and alarms."""
    return identity is not None and {"persona", "drift"} <= set(identity.sections)


async def read_inside(model: ChatModel, identity: Identity, played: Sequence[tuple[Cell, Mapping[str, Any]]]) -> Unit:
    """Positions and alarms of every pushed conversation with nothing done, and of its twin."""
    home, rows = Home.on(identity, model), list[dict[str, Any]]()
    for cell, record in played:
        if cell.condition not in ARMS:
            continue
        talk = Conversation.from_openai(cast("list[dict[str, str]]", record["talk"]))
        trace = await trace_given(model, home, Transcript(cell.id, talk, "", 0))
        rows.append(
            {
                "script": cell.item, "arm": cell.condition, "before": record["before"],
                "positions": [None if t.tokens == 0 else round(t.position, 6) for t in trace.turns],
                "lengths": list(trace.lengths()),
                "alarms": sorted({a.turn for a in alarms_of(home.calibration, trace)}),
            }
        )  # fmt: skip
    return Unit(rows)


def inside_of(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Inside]:
    """By script and arm."""
    nan = float("nan")
    return {
        (r["script"], r["arm"]): Inside(
            tuple(nan if p is None else p for p in r["positions"]), tuple(r["lengths"]), tuple(r["alarms"]), r["before"]
        )
        for r in rows
    }
