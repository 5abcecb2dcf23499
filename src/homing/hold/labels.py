"""Is a text in the role it was pushed into? Judged from its words alone, blind to the arm that produced it.

A position says how a text is spoken, and a cap moves along the very axis it is read on. So a second outcome stands beside
it that knows neither axis nor arm: how much better the push explains the reply than other pushes and home do, by the
untouched model's own likelihood (the contrast of :mod:`homing.persona.judge`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation, Message
from homing.hold.arms import ArmRun
from homing.hold.roleplay import RolePlay
from homing.models.base import ChatModel
from homing.persona.judge import judged_part, log_mean_exp
from homing.stats.seeds import stable_seed

__all__ = ["role_scores"]

F64 = NDArray[np.float64]
CONTRASTS = 8


async def role_scores(
    model: ChatModel, items: Sequence[RolePlay], runs: Mapping[str, ArmRun], *, seed: int = 0
) -> dict[str, F64]:
    """Contrast of the reply to each push's first follow-up, per arm ``(items,)``, in nats a token.

    Above 0 the push explains the reply better than other pushes and home do. NaN where a push has no follow-up, or
    nothing was said.

    Args:
        model: scores without any act.
        items: the pushes; others of them are the contrast.
        runs: arms that answered at least the first follow-up of each.
        seed: of the contrasts, the same for every arm.
    """
    rng = np.random.default_rng(stable_seed("role label", seed))
    out = {name: np.full(len(items), np.nan) for name in runs}
    contexts: list[Conversation] = []
    replies: list[list[str]] = []
    owners: list[tuple[int, list[str]]] = []
    for k, item in enumerate(items):
        said = {name: run.replies[k][1].text for name, run in runs.items() if len(run.replies[k]) > 1}
        texts = {name: judged_part(model, t) for name, t in said.items() if t.strip()}
        if not item.follow_ups or not texts:
            continue
        ask = Message("user", item.follow_ups[0])
        others = [int(i) for i in rng.permutation(len(items)) if i != k][:CONTRASTS]
        mine = [Conversation((Message("system", items[i].push), ask)) for i in (k, *others)]
        mine.append(Conversation((ask,)))
        contexts += mine
        replies += [list(texts.values())] * len(mine)
        owners.append((k, list(texts)))
    scored = await model.score_replies(contexts, replies)
    first = 0
    for k, names in owners:
        size = min(CONTRASTS, len(items) - 1) + 2
        rows = scored[first : first + size]
        first += size
        for j, name in enumerate(names):
            table = np.asarray([float(np.mean(row[j])) for row in rows])
            out[name][k] = table[0] - log_mean_exp(table[1:])
    return out
