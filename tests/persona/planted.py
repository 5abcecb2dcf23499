"""Replies drawn from a known persona space."""

from __future__ import annotations

import numpy as np

from homing.persona.rollouts import Replies


def planted_replies(
    *,
    gap: float = 3.0,
    roles: int = 48,
    questions: int = 24,
    per_role: int = 8,
    prompts: int = 4,
    home: int = 240,
    hidden: int = 32,
    role_sd: float = 1.0,
    question_sd: float = 1.0,
    noise_sd: float = 3.0,
    seed: int = 0,
    layers: int = 1,
    blocks: int = 1,
) -> tuple[Replies, np.ndarray]:
    """Replies whose home lies ``gap`` away from the mean role along a known unit direction; returned with it.

    With ``blocks``, role, question and prompt ``i`` belong to block ``i % blocks``, and blocks never cross.
    """
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(hidden)
    v /= np.linalg.norm(v)
    role_vectors = rng.standard_normal((roles, hidden)) * role_sd
    question_vectors = rng.standard_normal((questions, hidden)) * question_sd
    rows = [
        (r, int(q), 0)
        for r in range(roles)
        for q in rng.permutation(np.arange(r % blocks, questions, blocks))[:per_role]
    ]
    if blocks == 1:
        rows += [(-1, i % questions, (i + i // questions) % prompts) for i in range(home)]
    else:
        own = [range(b, prompts, blocks) for b in range(blocks)]
        rows += [(-1, i % questions, own[i % blocks][(i // questions) % len(own[i % blocks])]) for i in range(home)]
    x = np.empty((len(rows), layers, hidden), np.float32)
    for i, (r, q, _) in enumerate(rows):
        base = gap * v if r < 0 else role_vectors[r]
        for k in range(layers):
            x[i, k] = 5.0 + base + question_vectors[q] + rng.standard_normal(hidden) * noise_sd
    a = np.array(rows)
    return (
        Replies(
            x,
            a[:, 0],
            a[:, 1],
            a[:, 2],
            rng.integers(5, 32, len(rows)),
            ("text",) * len(rows),
            ("length",) * len(rows),
            tuple(range(layers)),
            0,
            0,
            a[:, 1] % blocks,
        ),
        v,
    )
