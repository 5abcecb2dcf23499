"""Persona space: the axis from the mean role to home, what it is worth, and the components beside it.

All figures are linear in the replies: a choice of roles, questions and prompts is a weight on each reply, so a thousand
splits are one matrix product. Halves never share a role, a question, a home prompt or a reply.
Source: Lu et al. 2026 (arXiv 2601.10387); the rules that differ from it are said where they do.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.persona.axis import Axis
from homing.persona.rollouts import Replies
from homing.stats import cosine

__all__ = [
    "Split",
    "axis_weights",
    "blocks_of",
    "cross_scores",
    "discriminant_cosines",
    "fit_axis",
    "pcs",
    "random_splits",
    "role_vectors",
    "split_cosines",
]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """Two disjoint halves: weights on roles ``(2, roles)``, questions ``(2, questions)`` and home prompts ``(2, prompts)``."""

    roles: F64
    questions: F64
    prompts: F64


def _halves(n: int, rng: np.random.Generator, draws: bool) -> F64:
    """Two disjoint random halves of ``n`` things as weights; with ``draws``, each resampled within itself."""
    out = np.zeros((2, n))
    order = rng.permutation(n)
    for h, part in enumerate((order[: n // 2], order[n // 2 :])):
        np.add.at(out[h], rng.choice(part, len(part)) if draws else part, 1.0)
    return out


MIN_BLOCKS = 4
"""Fewer blocks than this are no design in blocks: roles, questions and prompts are then cut each on its own."""


def blocks_of(replies: Replies) -> NDArray[np.int64]:
    """The blocks that are there, ``(blocks,)``; empty where there are too few of them to cut."""
    found = np.unique(replies.block)
    return found if len(found) >= MIN_BLOCKS else found[:0]


def random_splits(replies: Replies, n: int, *, seed: int, bootstrap: bool = False) -> list[Split]:
    """``n`` random splits into disjoint halves; with ``bootstrap``, each half is resampled, roles and questions crossed.

    Where the design is in blocks, a half is a half of the blocks. A map with one home prompt cannot split prompts: both
    halves then share it, and the card says so.
    """
    rng = np.random.default_rng(seed)
    n_r, n_q = int(replies.role.max()) + 1, int(replies.question.max()) + 1
    home = replies.home
    n_p = int(replies.prompt[home].max()) + 1
    blocks = blocks_of(replies)
    if not len(blocks):
        return [
            Split(
                _halves(n_r, rng, bootstrap),
                _halves(n_q, rng, bootstrap),
                _halves(n_p, rng, bootstrap) if n_p > 1 else np.ones((2, 1)),
            )
            for _ in range(n)
        ]
    members = [
        (np.unique(replies.role[(replies.block == b) & ~home]), np.unique(replies.question[replies.block == b]),
         np.unique(replies.prompt[(replies.block == b) & home]))
        for b in blocks
    ]  # fmt: skip
    out: list[Split] = []
    for _ in range(n):
        order = rng.permutation(len(blocks))
        weights = [np.zeros((2, k)) for k in (n_r, n_q, n_p)]
        for h, part in enumerate((order[: len(order) // 2], order[len(order) // 2 :])):
            for factor, w in enumerate(weights):
                own = np.unique(np.concatenate([members[int(i)][factor] for i in part]))
                np.add.at(w[h], rng.choice(own, len(own)) if bootstrap and len(own) else own, 1.0)
        if n_p == 1:
            weights[2] = np.ones((2, 1))
        out.append(Split(*weights))
    return out


def axis_weights(replies: Replies, roles: F64, questions: F64, prompts: F64, kept: Bools | None = None) -> F64:
    """Weights ``(replies,)`` such that ``weights @ means`` is home minus the mean role vector.

    Each home prompt counts by its weight, each role by its weight, however many replies it has; replies within count by
    their question's weight. ``kept`` drops role replies that a judge put aside.

    Raises:
        InputError: no home reply or no role reply is left.
    """
    q = questions[replies.question]
    home = replies.home
    hw = np.where(home, q * prompts[np.where(home, replies.prompt, 0)], 0.0)
    rw = np.where(home, 0.0, q * roles[np.where(home, 0, replies.role)])
    if kept is not None:
        rw = rw * kept
    within = np.bincount(
        np.where(home, 0, replies.role), np.where(home, 0.0, q * (1.0 if kept is None else kept)), len(roles)
    )
    alive = (within > 0) & (roles > 0)
    if hw.sum() <= 0 or not alive.any():
        raise InputError(
            "a half of the replies has no home reply or no role reply; sample more roles, questions or homes"
        )
    share = np.where(within > 0, within, 1.0)[np.where(home, 0, replies.role)]
    return hw / hw.sum() - rw / share / roles[alive].sum()


def split_cosines(replies: Replies, splits: list[Split], *, kept: Bools | None = None) -> F64:
    """Cosine between the axes of the two halves, ``(usable splits, layers)``.

    In a small sample a half can come out without any home reply; such a split is left out.

    Raises:
        InputError: fewer than half of the splits can be used.
    """
    pairs: list[F64] = []
    for s in splits:
        try:
            pairs += [axis_weights(replies, s.roles[h], s.questions[h], s.prompts[h], kept) for h in (0, 1)]
        except InputError:
            del pairs[len(pairs) // 2 * 2 :]
    if len(pairs) < len(splits):
        raise InputError("most halves of the replies have no home or no role in them; sample more questions or homes")
    weights = np.stack(pairs).astype(np.float32)
    out = np.empty((len(pairs) // 2, replies.means.shape[1]))
    for i in range(replies.means.shape[1]):
        axes = (weights @ replies.means[:, i]).astype(np.float64)
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        out[:, i] = np.einsum("sh,sh->s", axes[0::2], axes[1::2])
    return out


def role_vectors(replies: Replies, kept: Bools | None = None) -> tuple[F32, F32, NDArray[np.int64]]:
    """Home vector ``(layers, hidden)``, role vectors ``(roles, layers, hidden)``, and replies behind each ``(roles,)``.

    Home prompts count alike, however often each was asked. A role without a kept reply is NaN and counts 0.
    """
    home = replies.home
    prompts = np.unique(replies.prompt[home])
    home_vector = np.mean([replies.means[home & (replies.prompt == p)].mean(axis=0) for p in prompts], axis=0)
    n_r = int(replies.role.max()) + 1
    vectors = np.full((n_r, *replies.means.shape[1:]), np.nan, np.float32)
    counts = np.zeros(n_r, np.int64)
    for r in range(n_r):
        rows = replies.role == r
        if kept is not None:
            rows = rows & kept
        counts[r] = int(rows.sum())
        if counts[r]:
            vectors[r] = replies.means[rows].mean(axis=0)
    return home_vector.astype(np.float32), vectors, counts


def fit_axis(replies: Replies, *, read_layer: int, kept: Bools | None = None) -> Axis:
    """The axis of all replies, at every layer held."""
    home, roles, counts = role_vectors(replies, kept)
    return Axis.between(home, roles[counts > 0], replies.layers, read_layer=read_layer)


def cross_scores(
    replies: Replies, layer: int, *, partitions: int = 16, seed: int, kept: Bools | None = None
) -> tuple[F64, F64]:
    """Held-out position of every reply at one layer, by the axis and by a regularised linear classifier.

    A partition cuts roles, questions and home prompts in two; the replies of each of the four blocks are scored by a fit
    on the opposite block, which shares none of the three with them. Scores, in units of 0 = mean role and 1 = home of
    the fit, are averaged over partitions. ``kept`` filters the fits, never what is scored.

    Args:
        layer: index into ``replies.layers``.

    Returns:
        axis scores and classifier scores, each ``(replies,)``.
    """
    x = replies.means[:, layer].astype(np.float64)
    home = replies.home
    total, linear, times = np.zeros(len(x)), np.zeros(len(x)), np.zeros(len(x))
    for s in random_splits(replies, partitions, seed=seed):
        for a in (0, 1):
            for b in (0, 1):
                rw, qw, pw = s.roles[a], s.questions[b], s.prompts[a]
                try:
                    w = axis_weights(replies, rw, qw, pw, kept)
                except InputError:  # a block without home replies fits nothing
                    continue
                axis = w @ x
                gap = float(axis @ axis)
                if gap <= 0:
                    continue
                mean_role = -(np.minimum(w, 0) @ x)
                test = s.questions[1 - b][replies.question] > 0
                other_prompt = s.prompts[1 - a][np.where(home, replies.prompt, 0)] > 0
                other_role = s.roles[1 - a][np.where(home, 0, replies.role)] > 0
                test &= np.where(home, other_prompt, other_role)
                total[test] += (x[test] - mean_role) @ axis / gap
                linear[test] += _classifier(x, w, home, test)
                times[test] += 1
    seen = np.where(times > 0, times, np.nan)
    return total / seen, linear / seen


def _classifier(x: F64, w: F64, home: Bools, test: Bools) -> F64:
    """Scores of a shrunk linear discriminant, 0 = mean role and 1 = home of the fit."""
    v, centre_r, scale = _discriminant(x, w, home)
    return (x[test] - centre_r) @ v / scale


def _discriminant(x: F64, w: F64, home: Bools) -> tuple[F64, F64, float]:
    """Direction, role centre and scale of a shrunk linear discriminant.

    Fitted with the absolute weights of an axis: both classes count alike.
    """
    train = w != 0
    z, weight, label = x[train], np.abs(w[train]), home[train]
    centre_h = (weight[label] @ z[label]) / weight[label].sum()
    centre_r = (weight[~label] @ z[~label]) / weight[~label].sum()
    residual = z - np.where(label[:, None], centre_h, centre_r)
    cov = (residual * weight[:, None]).T @ residual / weight.sum()
    # 0.2 towards the mean variance: there are as many directions as replies
    spread = float(np.trace(cov)) / len(cov)
    if spread <= 0:  # one reply a class: there is no spread to learn from
        v = centre_h - centre_r
    else:
        v = np.linalg.solve(0.8 * cov + 0.2 * spread * np.eye(len(cov)), centre_h - centre_r)
    return v, centre_r, float(v @ (centre_h - centre_r))


def discriminant_cosines(replies: Replies, layer: int, splits: list[Split], *, kept: Bools | None = None) -> F64:
    """Cosine between the classifiers of the two halves at one layer, ``(usable splits,)``: the classifier's own reliability.

    Args:
        layer: index into ``replies.layers``.
    """
    x = replies.means[:, layer].astype(np.float64)
    out: list[float] = []
    for s in splits:
        try:
            pair = [axis_weights(replies, s.roles[h], s.questions[h], s.prompts[h], kept) for h in (0, 1)]
        except InputError:  # a half without home replies fits nothing
            continue
        a, b = (_discriminant(x, w, replies.home)[0] for w in pair)
        out.append(cosine(a, b))
    return np.array(out)


def pcs(roles: F32) -> tuple[F64, F64]:
    """Principal components of mean-centred role vectors ``(roles, hidden)``: unit rows and variance shares, largest first."""
    centred = (roles - roles.mean(axis=0)).astype(np.float64)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    return vt, s**2 / float((s**2).sum())
