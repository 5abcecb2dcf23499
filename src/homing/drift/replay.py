"""Play user turns against a model, many conversations side by side, with a fresh reply to each message beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

import numpy as np

from homing.conversation import Conversation, Message
from homing.drift.trace import Trace, TurnTrace, position_of
from homing.engine.base import Act, Sampling
from homing.models.base import ChatModel, Reply, ReplyRequest
from homing.persona.axis import Axis
from homing.stats.seeds import stable_seed

__all__ = ["SAMPLING", "Playable", "Replay", "after_histories", "replay_many"]

SAMPLING = Sampling(max_new_tokens=32, temperature=0.7, top_p=0.9)
EMPTY_REPLY = "..."
_CALLS = count()


class Playable(Protocol):
    """The user's side of a conversation."""

    @property
    def id(self) -> str: ...
    @property
    def turns(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, eq=False, slots=True)
class Replay:
    """One conversation as it went.

    Attributes:
        id: of the script. ``conversation``: user turns with the model's own replies. ``trace``: positions by turn.
        fresh: text of the reply to each user message in a fresh context, where one was made.
        moved: per turn, by how much the acts moved each reply token (sum over layers); empty without acts.
        pieces: per turn, the reply cut into the tokens that ``moved`` speaks of; empty where it cannot be cut so.
        replies: per turn, as the model gave it.
    """

    id: str
    conversation: Conversation
    trace: Trace
    fresh: tuple[str | None, ...]
    moved: tuple[tuple[float, ...], ...]
    pieces: tuple[tuple[str, ...], ...]
    replies: tuple[Reply, ...]


async def replay_many(
    model: ChatModel,
    scripts: Sequence[Playable],
    *,
    axis: Axis,
    home: Sequence[Message] = (),
    sampling: Sampling = SAMPLING,
    acts: Sequence[Act] = (),
    fresh: bool = True,
    turns: int | None = None,
    keep: str = "",
    advance: Callable[[int], None] = lambda n: None,
) -> list[Replay]:
    """Replay scripts turn by turn; all of them advance together, so the model works in batches.

    Conditions that replay the same script use the same seeds, so they are paired on user text and on chance. Without
    acts the first turn is its own fresh context: no second reply is made for it, and its drift is 0. Positions are
    read without acts: with ``acts``, the produced text is read again by the untouched model (a declared pass).

    Args:
        axis: must be registered with the model, or is registered here.
        home: messages before the first user turn (system prompt and examples).
        acts: on every token of every turn; fresh replies are always made without them.
        turns: play only so many.
        keep: name under which prompts are kept from turn to turn, so that a turn computes only what is new; give each
            unit of work its own, or a resumed run would differ from an unbroken one in the last bits. Empty: not kept.
        advance: told how many replies were made.
    """
    for direction in axis.directions:
        model.register(direction)
    if keep:  # a unit that is begun again in this process begins with nothing kept, as in a new one
        keep = f"{keep}#{next(_CALLS)}"
    read = axis.read()
    alive = [Conversation(tuple(home)) for _ in scripts]
    traces: list[list[TurnTrace]] = [[] for _ in scripts]
    fresh_texts: list[list[str | None]] = [[] for _ in scripts]
    replies: list[list[Reply]] = [[] for _ in scripts]
    moved: list[list[tuple[float, ...]]] = [[] for _ in scripts]
    depth = max((len(s.turns) for s in scripts), default=0)
    for t in range(min(depth, turns) if turns is not None else depth):
        on = [i for i, s in enumerate(scripts) if t < len(s.turns)]
        requests: list[ReplyRequest] = []
        for i in on:
            alive[i] = alive[i].then(scripts[i].turns[t], "user")
            s = replace(sampling, seed=stable_seed("turn", scripts[i].id, t, sampling.seed))
            requests.append(ReplyRequest(alive[i], s, tuple(acts), (read,), keep=keep))
        beside = fresh and (t > 0 or bool(acts))
        if beside:
            for i in on:
                s = replace(sampling, seed=stable_seed("turn", scripts[i].id, t, sampling.seed))
                alone = Conversation((*home, Message("user", scripts[i].turns[t])))
                requests.append(ReplyRequest(alone, s, (), (read,)))
        made = await model.replies(requests)
        advance(len(made))
        for k, i in enumerate(on):
            reply = made[k]
            replies[i].append(reply)
            alive[i] = alive[i].then(reply.text or EMPTY_REPLY, "assistant")
            position, tokens = position_of(reply.readings[0], axis)
            at_fresh: float | None = None
            if fresh:
                alone_reply = made[len(on) + k] if beside else reply
                at_fresh = position_of(alone_reply.readings[0], axis)[0]
                fresh_texts[i].append(alone_reply.text)
            else:
                fresh_texts[i].append(None)
            by_token = _moved(reply)
            moved[i].append(by_token)
            traces[i].append(TurnTrace(t, position, len(tokens), at_fresh, tokens, sum(v != 0 for v in by_token)))
    if acts:
        given = sum(m.role == "assistant" for m in home)
        for i in range(len(scripts)):
            again = {r.turn - given: r for r in await model.read(alive[i], reads=(read,))}
            for k, turn in enumerate(traces[i]):
                # a turn that said nothing, or that no longer fits the context, has no reading: never that of the acts
                unread = k not in again or not replies[i][k].text
                position, tokens = (math.nan, ()) if unread else position_of(again[k].readings[0], axis)
                traces[i][k] = replace(turn, position=position, by_token=tokens, tokens=len(tokens))
    return [
        Replay(
            s.id,
            alive[i],
            Trace(s.id, tuple(traces[i])),
            tuple(fresh_texts[i]),
            tuple(moved[i]),
            tuple(_pieces(model, r, m) for r, m in zip(replies[i], moved[i], strict=True)),
            tuple(replies[i]),
        )
        for i, s in enumerate(scripts)
    ]


async def after_histories(
    model: ChatModel,
    scripts: Sequence[Playable],
    histories: Sequence[Replay],
    *,
    axis: Axis,
    sampling: Sampling = SAMPLING,
) -> list[list[float | None]]:
    """Position of a reply to each user message of a script, after another conversation's turns in place of its own.

    The history of turn ``t`` is the opening and the first ``t`` exchanges of the conversation given; seeds are those of
    :func:`replay_many`, so that a reply differs from the script's own by its history alone. The first turn has none.

    Args:
        histories: one a script, with at least as many turns (its neutral twin).

    Returns:
        one list a script, one position a turn in calibrated units; None where nothing was said, and at the first turn.
    """
    for direction in axis.directions:
        model.register(direction)
    requests: list[ReplyRequest] = []
    at: list[tuple[int, int]] = []
    for i, (script, history) in enumerate(zip(scripts, histories, strict=True)):
        messages = history.conversation.messages
        users = [k for k, m in enumerate(messages) if m.role == "user"]
        # examples of home may hold user messages of their own, before those of the script
        users = users[len(users) - len(history.trace.turns) :]
        for t in range(1, min(len(script.turns), len(users))):
            s = replace(sampling, seed=stable_seed("turn", script.id, t, sampling.seed))
            asked = Conversation((*messages[: users[t]], Message("user", script.turns[t])))
            requests.append(ReplyRequest(asked, s, (), (axis.read(),)))
            at.append((i, t))
    out: list[list[float | None]] = [[None] * len(s.turns) for s in scripts]
    for (i, t), reply in zip(at, await model.replies(requests), strict=True):
        position = position_of(reply.readings[0], axis)[0]
        out[i][t] = position if math.isfinite(position) else None
    return out


def _moved(reply: Reply) -> tuple[float, ...]:
    """By how much the acts moved each token, summed over acts and layers."""
    if not reply.fired:
        return ()
    total = sum((np.nan_to_num(f).sum(axis=1) for f in reply.fired), np.zeros(len(reply.fired[0])))
    return tuple(float(v) for v in total)


def _pieces(model: ChatModel, reply: Reply, moved: tuple[float, ...]) -> tuple[str, ...]:
    """The reply's own tokens as text, where cutting the text gives as many as were generated."""
    if not moved:
        return ()
    pieces = model.pieces(reply.text)
    return pieces if len(pieces) == len(moved) else ()
