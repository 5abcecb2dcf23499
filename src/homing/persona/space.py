"""Persona space: the axis from the mean role to home, what it is worth, and the components beside it.

All figures are linear in the replies: a choice of roles, questions and prompts is a weight on each reply, so a thousand
splits are one matrix product. Halves never share a role, a question, a home prompt or a reply.
Source: Lu et al. 2026 (arXiv 2601.10387); the rules that differ from it are said where they do.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.persona.axis import Axis, Reader
from homing.persona.rollouts import Replies
from homing.stats import cosine

__all__ = [
    "READER_SHRINKAGE",
    "CrossScores",
    "HeldOut",
    "Split",
    "axis_weights",
    "blocks_of",
    "cross_scores",
    "discriminant_cosines",
    "fit_axis",
    "held_out",
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


@dataclass(frozen=True, eq=False, slots=True)
class HeldOut:
    """Raw projections of every reply by a fit that never saw its block.

    Attributes:
        axis: ``(replies, layers)``, on the axis at every layer. ``reader``: ``(replies,)``, at the read layer.
    """

    axis: F64
    reader: F64


def held_out(replies: Replies, *, read_layer: int, kept: Bools | None = None) -> HeldOut:
    """Project each block's replies on the axis and the reader of all other blocks.

    A fit leans towards the noise of its own replies, and so finds its own home further from its own roles than a new
    reply will be. Without blocks nothing can be left out, and each reply is projected on the fit of all.
    """
    x = replies.means[:, replies.layers.index(read_layer)].astype(np.float64)
    everything = np.ones(len(replies), bool)
    folds = [(everything, everything)] + [(replies.block != b, replies.block == b) for b in blocks_of(replies)]
    out = HeldOut(np.empty(replies.means.shape[:2]), np.empty(len(replies)))
    for train, test in folds:
        try:
            w = _weights_of(replies, train, kept)
        except InputError:  # nothing of home or of the roles is in the other blocks: the fit of all stays
            continue
        axis = np.tensordot(w.astype(np.float32), replies.means, (0, 0)).astype(np.float64)
        axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-30)
        out.axis[test] = np.einsum("nlh,lh->nl", replies.means[test], axis.astype(np.float32))
        out.reader[test] = x[test] @ _unit(_Spread.of(x, w, replies.home).direction(READER_SHRINKAGE))
    return out


def _weights_of(replies: Replies, rows: Bools, kept: Bools | None = None) -> F64:
    """Axis weights of some rows that hold their questions whole, ``(replies,)``."""
    questions = np.zeros(int(replies.question.max()) + 1)
    questions[replies.question[rows]] = 1.0
    prompts = np.ones(int(replies.prompt[replies.home].max()) + 1 if replies.home.any() else 1)
    return axis_weights(replies, np.ones(int(replies.role.max()) + 1), questions, prompts, kept)


def _unit(v: F64) -> F64:
    return np.asarray(v / np.linalg.norm(v), np.float64)


def fit_axis(replies: Replies, *, read_layer: int, kept: Bools | None = None) -> Axis:
    """The axis of all replies at every layer held, and its reader; the marks of both scales are held-out ones.

    Where held-out replies do not find home above the mean role there is nothing to calibrate on, and the marks of the
    fit itself stay; the card says what such an axis is worth.
    """
    home, roles, counts = role_vectors(replies, kept)
    drawn = Axis.between(home, roles[counts > 0], replies.layers, read_layer=read_layer)
    at = replies.layers.index(read_layer)
    x = replies.means[:, at].astype(np.float64)
    w = _weights_of(replies, np.ones(len(replies), bool), kept)
    vector = _unit(_Spread.of(x, w, replies.home).direction(READER_SHRINKAGE))
    apart = held_out(replies, read_layer=read_layer, kept=kept)

    def marks(raw: F64, own: F64) -> tuple[float, float]:
        seen = raw if w @ raw > 0 else own
        return float(-np.minimum(w, 0) @ seen), float(w @ seen)

    own = np.einsum("nlh,lh->nl", replies.means, drawn.vectors).astype(np.float64)
    scale = [marks(apart.axis[:, i], own[:, i]) for i in range(len(replies.layers))]
    reader = Reader(read_layer, vector.astype(np.float32), *marks(apart.reader, x @ vector))
    return replace(drawn, zero=tuple(z for z, _ in scale), unit=tuple(u for _, u in scale), own_reader=reader)


@dataclass(frozen=True, eq=False, slots=True)
class CrossScores:
    """Held-out position of every reply at one layer, ``(replies,)`` each, in units of 0 = mean role and 1 = home of the fit.

    Attributes:
        axis: along the difference of means. ``reader``: as positions are read. ``linear``: by a regularised classifier.
    """

    axis: F64
    reader: F64
    linear: F64


def cross_scores(
    replies: Replies, layer: int, *, partitions: int = 16, seed: int, kept: Bools | None = None
) -> CrossScores:
    """Held-out position of every reply at one layer.

    A partition cuts roles, questions and home prompts in two; the replies of each of the four blocks are scored by a fit
    on the opposite block, which shares none of the three with them. Scores are averaged over partitions. ``kept``
    filters the fits, never what is scored.

    Args:
        layer: index into ``replies.layers``.
    """
    x = replies.means[:, layer].astype(np.float64)
    home = replies.home
    total, times = np.zeros((3, len(x))), np.zeros(len(x))
    for s in random_splits(replies, partitions, seed=seed):
        for a in (0, 1):
            for b in (0, 1):
                rw, qw, pw = s.roles[a], s.questions[b], s.prompts[a]
                try:
                    w = axis_weights(replies, rw, qw, pw, kept)
                except InputError:  # a block without home replies fits nothing
                    continue
                fit = _Spread.of(x, w, home)
                if not fit.gap.any():
                    continue
                test = s.questions[1 - b][replies.question] > 0
                other_prompt = s.prompts[1 - a][np.where(home, replies.prompt, 0)] > 0
                other_role = s.roles[1 - a][np.where(home, 0, replies.role)] > 0
                test &= np.where(home, other_prompt, other_role)
                for k, v in enumerate((fit.gap, *map(fit.direction, (READER_SHRINKAGE, CLASSIFIER_SHRINKAGE)))):
                    total[k, test] += (x[test] - fit.role) @ v / (v @ fit.gap)
                times[test] += 1
    return CrossScores(*(total / np.where(times > 0, times, np.nan)))


CLASSIFIER_SHRINKAGE = 0.2
"""Of the classifier that stands beside: what tells one reply best."""
READER_SHRINKAGE = 0.5
"""Of the reader: half-way between the difference of means (1) and what tells best on the map's own replies.

Less shrinkage tells replies of the map better still, and answers more to things that no map varies: in plain home
conversations of four turns the reading slid by up to 0.7 at 0.2, by 0.3 at 0.5.
"""


@dataclass(frozen=True, eq=False, slots=True)
class _Spread:
    """What a linear discriminant needs: centre of the roles, gap to home, and pooled covariance within the two."""

    role: F64
    gap: F64
    cov: F64

    @classmethod
    def of(cls, x: F64, w: F64, home: Bools) -> _Spread:
        """From replies ``(replies, hidden)`` by the absolute weights of an axis: both classes count alike."""
        train = w != 0
        z, weight, label = x[train], np.abs(w[train]), home[train]
        centre_h = (weight[label] @ z[label]) / weight[label].sum()
        centre_r = (weight[~label] @ z[~label]) / weight[~label].sum()
        residual = z - np.where(label[:, None], centre_h, centre_r)
        return cls(centre_r, centre_h - centre_r, (residual * weight[:, None]).T @ residual / weight.sum())

    def direction(self, shrinkage: float) -> F64:
        """Inverse covariance, shrunk towards its mean variance, times the gap: there are as many directions as replies.

        Source: Marks and Tegmark 2023 (arXiv 2310.06824); shrinkage as in Ledoit and Wolf 2004.
        """
        spread = float(np.trace(self.cov)) / len(self.cov)
        if spread <= 0:  # one reply a class: there is no spread to learn from
            return self.gap
        eye = np.eye(len(self.cov))
        return np.asarray(np.linalg.solve((1 - shrinkage) * self.cov + shrinkage * spread * eye, self.gap), np.float64)


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
        out.append(cosine(*(_Spread.of(x, w, replies.home).direction(CLASSIFIER_SHRINKAGE) for w in pair)))
    return np.array(out)


def pcs(roles: F32) -> tuple[F64, F64]:
    """Principal components of mean-centred role vectors ``(roles, hidden)``: unit rows and variance shares, largest first."""
    centred = (roles - roles.mean(axis=0)).astype(np.float64)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    return vt, s**2 / float((s**2).sum())
