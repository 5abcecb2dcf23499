"""Run the same conversations under different holds, and read what came out with the uncapped model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act, Sampling
from homing.errors import InputError
from homing.hold.roleplay import RolePlay
from homing.models.base import ChatModel, Reply, ReplyRequest
from homing.persona.axis import Axis
from homing.stats.seeds import stable_seed

__all__ = ["Arm", "ArmRun", "run_arms"]

F64 = NDArray[np.float64]
READ_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class Arm:
    """One condition.

    Args:
        name: in figures.
        sets: sets of acts; item ``i`` gets set ``i % len(sets)``, so that a control made of several directions
            costs no more than one. Empty: nothing is done.
    """

    name: str
    sets: tuple[tuple[Act, ...], ...] = ((),)

    def acts(self, item: int) -> tuple[Act, ...]:
        """The acts of one item."""
        return self.sets[self.which(item)] if self.sets else ()

    def which(self, item: int) -> int:
        """Which set one item gets."""
        return item % max(1, len(self.sets))


@dataclass(frozen=True, eq=False, slots=True)
class ArmRun:
    """What one arm made.

    Attributes:
        conversations: with the arm's replies. ``replies``: one tuple an item, one a turn.
        position: ``(items,)`` calibrated position of the text, read by the uncapped model, mean over turns; NaN where
            nothing was said.
        logprob: ``(items,)`` mean log-probability a token of the same text under the uncapped model, nats.
        engaged: ``(items,)`` share of tokens and layers at which an act fired.
        edit: ``(items,)`` mean size of the change over tokens and layers, raw. Both are logs, never a lift.
        which: which of the arm's sets of acts each item had.
    """

    name: str
    conversations: tuple[Conversation, ...]
    replies: tuple[tuple[Reply, ...], ...]
    position: F64
    logprob: F64
    engaged: F64
    edit: F64
    which: tuple[int, ...] = ()


def _mean(parts: Sequence[float]) -> float:
    known = [p for p in parts if np.isfinite(p)]
    return float(np.mean(known)) if known else float("nan")


def fired(replies: Sequence[Reply]) -> tuple[F64, F64]:
    """Of some replies, per act and layer: share of tokens at which it fired, and mean size of the change.

    Returns:
        Two arrays ``(columns,)``, the columns being the layers of the first act, then of the next, and so on.
    """
    rows = [np.concatenate([np.abs(f) for f in r.fired], axis=1) for r in replies if r.fired and len(r.fired[0])]
    if not rows:
        return np.zeros(0), np.zeros(0)
    table = np.nan_to_num(np.concatenate(rows).astype(np.float64))
    return (table > 0).mean(axis=0), table.mean(axis=0)


async def run_arms(
    model: ChatModel,
    axis: Axis,
    items: Sequence[RolePlay],
    arms: Sequence[Arm],
    *,
    max_new_tokens: int = 32,
    turns: int = 1,
    seed: int = 0,
    temperature: float = 0.7,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, ArmRun]:
    """The same pushes with the same seeds under every arm; each arm's text is then read without acts.

    Args:
        model: to ask; the directions of every arm must be registered. ``axis``: read with.
        items: pushes. ``arms``: conditions, each name once.
        max_new_tokens: of a reply. ``turns``: user messages of each item that are used, the push included.
        seed: of the sampling: item and turn decide the seed, the arm does not.
        temperature: of the sampling.
        advance: told how many replies were made.
    """
    if not items or not arms:
        raise InputError(f"{len(items)} pushes under {len(arms)} arms were asked for; give at least one of each")
    for direction in axis.directions:
        model.register(direction)
    talks = [[Conversation.of(i.push) for i in items] for _ in arms]
    said: list[list[list[Reply]]] = [[[] for _ in items] for _ in arms]
    for turn in range(max(1, turns)):
        going = [
            (a, k)
            for a in range(len(arms))
            for k, item in enumerate(items)
            if turn == 0 or turn <= len(item.follow_ups)
        ]
        requests: list[ReplyRequest] = []
        for a, k in going:
            if turn:
                talks[a][k] = talks[a][k].then(items[k].follow_ups[turn - 1], "user")
            sampling = Sampling(
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=0.9,
                seed=stable_seed("hold", seed, items[k].id, turn),
            )
            requests.append(ReplyRequest(talks[a][k], sampling, arms[a].acts(k)))
        for (a, k), reply in zip(going, await model.replies(requests), strict=True):
            talks[a][k] = talks[a][k].then(reply.text, "assistant")
            said[a][k].append(reply)
        advance(len(requests))
    flat = [c for row in talks for c in row]
    seen = await _read(model, axis, flat)
    out: dict[str, ArmRun] = {}
    for a, arm in enumerate(arms):
        mine = seen[a * len(items) : (a + 1) * len(items)]
        logs = [fired(replies) for replies in said[a]]
        out[arm.name] = ArmRun(
            arm.name,
            tuple(talks[a]),
            tuple(tuple(r) for r in said[a]),
            np.asarray([p for p, _ in mine]),
            np.asarray([lp for _, lp in mine]),
            np.asarray([float(f.mean()) if f.size else 0.0 for f, _ in logs]),
            np.asarray([float(e.mean()) if e.size else 0.0 for _, e in logs]),
            tuple(arm.which(k) for k in range(len(items))),
        )
    return out


async def _read(model: ChatModel, axis: Axis, talks: Sequence[Conversation]) -> list[tuple[float, float]]:
    """Position and log-probability a token of each transcript's replies; no acts: the uncapped model reads."""
    read = axis.read()
    out: list[tuple[float, float]] = []
    for first in range(0, len(talks), READ_TOGETHER):
        batch = await asyncio.gather(*(model.read(c, reads=(read,)) for c in talks[first : first + READ_TOGETHER]))
        for turns in batch:
            positions = [_mean([float(x) for x in read.calibrated(t.readings[0])[:, 0]]) for t in turns if t.tokens]
            logs = [_mean([float(x) for x in t.logprobs]) for t in turns if t.logprobs is not None and t.tokens]
            out.append((_mean(positions), _mean(logs)))
    return out
