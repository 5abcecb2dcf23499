"""What stands beside an axis on its card: the components of the space, directions without meaning, and confounds."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from homing.persona.marks import REFUSAL
from homing.persona.resample import LEVEL, Draw, components_for, first_share_for, percentiles, sign_free
from homing.persona.rollouts import Replies
from homing.persona.space import pcs, random_splits, role_vectors
from homing.stats import cosine, parallel_analysis
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["Put", "at_layer", "auroc", "components", "confounds", "controls"]

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Put(Protocol):
    """Adds a finding to a card: its name, value and verdict, and why it could not be measured where it could not."""

    def __call__(self, name: str, value: Estimate, verdict: str, why_not: str = ...) -> None: ...


def auroc(scores: F64, positive: Bools, weights: F64 | None = None) -> float:
    """Probability that a positive scores above a negative, ties half, with weights; NaN scores left out."""
    ok = np.isfinite(scores)
    if weights is not None:
        ok &= weights > 0
    s, p = scores[ok], positive[ok]
    w = np.ones(len(s)) if weights is None else weights[ok]
    if not p.any() or p.all():
        return float("nan")
    values, inverse = np.unique(s, return_inverse=True)
    neg = np.bincount(inverse, w * ~p, len(values))
    pos = np.bincount(inverse, w * p, len(values))
    below = np.cumsum(neg) - neg
    return float((pos * (below + neg / 2)).sum() / (pos.sum() * neg.sum()))


def at_layer(replies: Replies, layer: int) -> Replies:
    """The same replies with one layer of their means."""
    return replace(replies, means=replies.means[:, layer : layer + 1], layers=(replies.layers[layer],))


def _weighted_space(
    part: Replies, layer: int, keep: Bools | None, draw: Draw, towards: F64 | None = None
) -> tuple[float, F64]:
    """cos(axis, PC1) and PC1 of a draw; PC1 is turned ``towards`` one."""
    x, w = part.means[:, layer].astype(np.float64), draw.weights
    ok = (w > 0) & (True if keep is None else (keep | part.home))
    alive = np.unique(part.role[ok & ~part.home])
    if len(alive) < 3 or not (ok & part.home).any():  # a draw of a small map can lose all but a role or two, or home
        return math.nan, np.zeros(x.shape[1])
    home = np.average(x[ok & part.home], axis=0, weights=w[ok & part.home])
    vectors: list[F64] = []
    for r in range(int(part.role.max()) + 1):
        m = ok & (part.role == r)
        if m.any():  # a role drawn twice stands twice
            vectors += [np.average(x[m], axis=0, weights=w[m])] * int(draw.roles[r])
    roles = np.array(vectors)
    components, _ = pcs(roles.astype(np.float32))
    first = components[0] if towards is None or components[0] @ towards >= 0 else -components[0]
    axis = home - roles.mean(axis=0)
    cos = float(first @ axis) / float(np.linalg.norm(axis))
    return cos, first


def components(part: Replies, layer: int, keep: Bools | None, crossed: list[Draw], n: int, put: Put) -> None:
    """Cosine of axis and first component, shares of the variance, and how many components there are."""
    value = _weighted_space(part, layer, keep, Draw.whole(part))
    draws = np.array([_weighted_space(part, layer, keep, d, value[1])[0] for d in crossed])
    way = "bootstrap over roles and questions, spread around the value"
    cos = sign_free(value[0], draws, n, way)
    put(
        "axis.cos_pc1",
        cos,
        f"The axis and the first principal component of the roles have cosine {cos.value:.2f}, its sign left out.",
    )
    _, roles, counts = role_vectors(at_layer(part, layer), keep)
    vectors = roles[counts > 0, 0].astype(np.float64)
    drawn = [d.roles[counts > 0] for d in crossed]
    share = first_share_for(vectors, _noise_of_means(part, layer, keep), drawn)
    put(
        "axis.pc1_share", share, f"The first component holds {share.value:.0%} of the variance between roles.",
        "with so few replies a role, their means differ hardly more than the noise of replies makes them",
    )  # fmt: skip
    count = components_for(vectors, drawn)
    put("axis.pcs_70", count, f"{count.value:.0f} components hold 70% of it.")
    rng = np.random.default_rng(stable_seed("parallel", n))

    def standing_out(x: F64, shuffles: int) -> int:
        return parallel_analysis(x, seed=int(rng.integers(2**32)), draws=shuffles).count

    beyond = standing_out(vectors, 50)
    resampled = np.array([standing_out(vectors[rng.integers(0, len(vectors), len(vectors))], 12) for _ in range(40)])
    shift = float(np.median(resampled)) - beyond  # as above: repeated roles stand out from permuted ones too easily
    noise = percentiles(
        float(beyond), np.maximum(0.0, resampled - shift), n,
        "parallel analysis against permuted columns; bootstrap over roles, spread around the value", "components",
    )  # fmt: skip
    put("axis.pcs_beyond_noise", noise, f"{beyond} components stand out from permuted data.")


def _noise_of_means(part: Replies, layer: int, keep: Bools | None) -> F64:
    """Covariance of a role's mean over its replies, from the scatter of replies within roles, ``(hidden, hidden)``."""
    rows = ~part.home & (True if keep is None else keep)
    x, role = part.means[rows, layer].astype(np.float64), part.role[rows]
    ids, of, sizes = np.unique(role, return_inverse=True, return_counts=True)
    sums = np.zeros((len(ids), x.shape[1]))
    np.add.at(sums, of, x)
    off = x - (sums / sizes[:, None])[of]
    free = len(x) - len(ids)
    return off.T @ off / max(free, 1) * float(np.mean(1 / sizes))


def controls(
    part: Replies, layer: int, keep: Bools | None, scores: F64, rng: np.random.Generator, n: int, put: Put
) -> None:
    """What directions without meaning reach: random ones, and axes between randomly relabelled roles."""
    x = part.means[:, layer].astype(np.float64)
    random = rng.standard_normal((200, x.shape[1]))
    areas = np.array([auroc(x @ v, part.home) for v in random])
    areas = np.maximum(areas, 1 - areas)
    low, high = (float(v) for v in np.percentile(areas, [2.5, 97.5]))
    put(
        "control.auroc_random",
        Estimate(
            float(np.median(areas)), low, high, LEVEL, len(areas), "", "200 random directions, better side of each"
        ),
        f"A random direction reaches {np.median(areas):.2f} with its better side; 97.5% of them stay under {high:.2f}.",
    )
    values: list[float] = []
    for split in random_splits(part, 100, seed=stable_seed("shuffled", n)):
        # Roles called home at random, twice on disjoint halves: what split halves share without a home.
        axes: list[F64] = []
        for h in (0, 1):
            mine = rng.permutation(np.flatnonzero(split.roles[h]))
            fake = mine[: max(1, len(mine) // 8)]
            rest = mine[len(fake) :]
            ask = split.questions[h][part.question] > 0
            a, b = x[np.isin(part.role, fake) & ask], x[np.isin(part.role, rest) & ask]
            if len(a) and len(b):
                axes.append(a.mean(axis=0) - b.mean(axis=0))
        if len(axes) == 2:
            values.append(cosine(*axes))
    v = np.array(values)
    if len(v) < 20:
        v = np.full(20, np.nan)
    low, high = (float(t) for t in np.nanpercentile(v, [2.5, 97.5])) if np.isfinite(v).any() else (-np.inf, np.inf)
    put(
        "control.split_half_shuffled",
        Estimate(
            float(np.nanmedian(v)) if np.isfinite(v).any() else float("nan"),
            low,
            high,
            LEVEL,
            len(values),
            "",
            "100 axes between randomly chosen roles and the rest",
        ),
        "Axes between randomly relabelled roles agree this much across disjoint halves.",
    )


def confounds(part: Replies, scores: F64, crossed: list[F64], n: int, way: str, put: Put) -> None:
    """What reply length and refusals tell without the axis, and what is left of it without them."""
    length = np.log(part.length.astype(np.float64))

    def area(values: F64) -> Estimate:
        return percentiles(auroc(values, part.home), np.array([auroc(values, part.home, w) for w in crossed]), n, way)

    alone = area(length)
    put(
        "confound.length_auroc", alone, f"Length alone tells home from a role with {alone.value:.2f} (0.5: not at all)."
    )
    ok = np.isfinite(scores)
    residual_l = np.empty_like(length)
    residual_s = np.where(ok, scores, 0.0)
    for side in (part.home, ~part.home):
        residual_l[side] = length[side] - length[side].mean()
        residual_s[side] = residual_s[side] - residual_s[side & ok].mean()
    spread = float((residual_l[ok] ** 2).sum())
    slope = float((residual_l[ok] * residual_s[ok]).sum() / spread) if spread > 0 else 0.0
    adjusted = area(scores - slope * length)
    put("axis.auroc_length_adjusted", adjusted, f"With length regressed out, one reply reaches {adjusted.value:.2f}.")
    refused = np.array([bool(REFUSAL.search(t)) for t in part.texts])
    share = float(refused.mean())
    without = area(np.where(refused, np.nan, scores))
    put(
        "axis.auroc_without_refusals",
        without,
        f"{share:.0%} of replies refuse or name themselves an AI; without them one reply reaches {without.value:.2f}.",
    )
