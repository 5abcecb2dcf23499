"""The quality card of an axis: what it is worth, what it may not claim, each figure with its interval.

Layers are chosen on tuning roles and tuning home questions; every figure here is of the rest.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]

from homing.persona.resample import LEVEL, Draw, percentiles, recentred, sign_free
from homing.persona.rollouts import Replies
from homing.persona.space import axis_weights, blocks_of, cross_scores, pcs, random_splits, role_vectors, split_cosines
from homing.stats import wilson
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["LayerFigures", "Selection", "measure", "select_layer", "tuning_rows"]

F64 = NDArray[np.float64]
Put = Callable[[str, Estimate, str], None]
Bools = NDArray[np.bool_]
MIDDLING = 0.90
REFUSAL = re.compile(
    r"\b(as an ai|i('?m| am) (just )?an ai|language model|i can(no|')t (help|assist|do that|provide)|i'?m sorry,? but)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """What tuning saw at one layer: median split-half cosine and held-out AUROC, on tuning replies only."""

    layer: int
    split_half: float
    auroc: float


@dataclass(frozen=True, slots=True)
class Selection:
    """The read layer and why. ``barred``: ids of the roles that chose it and therefore report nothing."""

    read_layer: int
    layers: tuple[LayerFigures, ...]
    barred: tuple[int, ...]


def tuning_rows(replies: Replies, *, seed: int, share: float = 0.25) -> Bools:
    """Replies that may choose but not report.

    A quarter of the blocks, so that tuning and report share no role, question or home prompt. Without blocks: a quarter
    of the roles, and home replies to a quarter of the questions.
    """
    rng = np.random.default_rng(stable_seed("tuning", seed))
    blocks = blocks_of(replies)
    if len(blocks):
        tuning = round(share * len(blocks))
        tuning += (len(blocks) - tuning) % 2  # the rest is cut in two equal halves
        return np.isin(replies.block, rng.permutation(blocks)[:tuning])
    n_r, n_q = int(replies.role.max()) + 1, int(replies.question.max()) + 1
    roles = rng.permutation(n_r)[: max(4, round(share * n_r))]
    questions = rng.permutation(n_q)[: max(2, round(share * n_q))]
    return np.where(replies.home, np.isin(replies.question, questions), np.isin(replies.role, roles))


def _compact(replies: Replies) -> Replies:
    """Renumber roles, questions and prompts without gaps, so that halves are halves of what is there."""
    home = replies.home
    role = replies.role.copy()
    role[~home] = np.unique(replies.role[~home], return_inverse=True)[1]
    prompt = replies.prompt.copy()
    prompt[home] = np.unique(replies.prompt[home], return_inverse=True)[1]
    question = np.unique(replies.question, return_inverse=True)[1].astype(np.int64)
    return replace(replies, role=role, prompt=prompt, question=question)


def select_layer(replies: Replies, tune: Bools, *, seed: int) -> Selection:
    """Choose the read layer on tuning replies: best held-out AUROC, smoothed over neighbours, where the axis is stable."""
    part = _compact(replies.take(tune))
    cosines = np.median(split_cosines(part, random_splits(part, 60, seed=stable_seed("select", seed))), axis=0)
    areas = np.array(
        [
            _auroc(cross_scores(part, i, partitions=4, seed=stable_seed("select", seed, i))[0], part.home)
            for i in range(len(replies.layers))
        ]
    )
    areas = np.nan_to_num(areas, nan=0.5)  # a layer that could not be scored is worth a guess
    smooth = np.array([areas[max(0, i - 1) : i + 2].mean() for i in range(len(areas))])
    stable = cosines >= cosines.max() - 0.10
    best = int(np.argmax(np.where(stable, smooth, -np.inf)))
    figures = tuple(
        LayerFigures(layer, float(c), float(a)) for layer, c, a in zip(replies.layers, cosines, areas, strict=True)
    )
    return Selection(
        replies.layers[best], figures, tuple(int(r) for r in np.unique(replies.role[tune & ~replies.home]))
    )


def _auroc(scores: F64, positive: Bools, weights: F64 | None = None) -> float:
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


@dataclass(frozen=True, slots=True)
class _Components:
    """Variance components of held-out positions: gap of means, and variances between and within roles and prompts."""

    gap: float
    role_between: float
    role_within: float
    home_between: float
    home_within: float

    def auroc(self, k: float) -> float:
        """Predicted AUROC of the mean of ``k`` replies, positions taken as normal."""
        home = self.home_between + self.home_within / k
        role = self.role_between + self.role_within / k
        return float(ndtr(self.gap / np.sqrt(max(home + role, 1e-12))))

    @property
    def ceiling(self) -> float:
        """Predicted AUROC of unlimited replies: only who speaks is left."""
        return float(ndtr(self.gap / np.sqrt(max(self.home_between + self.role_between, 1e-12))))


def _one_way(
    scores: F64, group: NDArray[np.int64], weights: F64, times: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Mean of group means, variance between groups, variance within, by weighted moments.

    A group that a resample drew twice stands twice (``times``): without that the draws would vary too little.
    """
    ids = np.unique(group[weights > 0])
    sums = np.array([weights[group == g].sum() for g in ids])
    means = np.array([np.average(scores[group == g], weights=weights[group == g]) for g in ids])
    squares = np.array(
        [(weights[group == g] * (scores[group == g] - m) ** 2).sum() for g, m in zip(ids, means, strict=True)]
    )
    counts = np.array([(weights[group == g] > 0).sum() for g in ids])
    many = counts > 1
    within = float(squares[many].sum() / (sums[many] * (counts[many] - 1) / counts[many]).sum()) if many.any() else 0.0
    often = times[ids].astype(np.float64)
    mean = float(np.average(means, weights=often))
    between = 0.0
    if len(ids) > 1:
        spread = float((often * (means - mean) ** 2).sum() / (often.sum() - 1))
        between = spread - within * float(np.average(1 / counts, weights=often))
    return mean, max(between, 0.0), within


def _components(replies: Replies, scores: F64, draw: Draw) -> _Components:
    weights = draw.weights
    ok = np.isfinite(scores) & (weights > 0)
    home = replies.home & ok
    role = ~replies.home & ok
    mu_h, between_h, within_h = _one_way(scores[home], replies.prompt[home], weights[home], draw.prompts)
    mu_r, between_r, within_r = _one_way(scores[role], replies.role[role], weights[role], draw.roles)
    return _Components(mu_h - mu_r, between_r, within_r, between_h, within_h)


def _triples(replies: Replies, scores: F64, draw: Draw, rng: np.random.Generator) -> tuple[F64, Bools]:
    """Means of three replies of one speaker, drawn by weight without repeats: eight triples a role, as many at home.

    A role or home prompt that a resample drew twice gives twice as many.
    """
    out: list[float] = []
    label: list[bool] = []
    weights = draw.weights
    usable = np.isfinite(scores) & (weights > 0)
    roles = [
        (np.flatnonzero((replies.role == r) & usable), int(draw.roles[r]))
        for r in np.unique(replies.role[~replies.home])
    ]
    roles = [(rows, often) for rows, often in roles if len(rows) >= 3]
    prompts = [
        (np.flatnonzero(replies.home & (replies.prompt == p) & usable), int(draw.prompts[p]))
        for p in np.unique(replies.prompt[replies.home])
    ]
    prompts = [(rows, often) for rows, often in prompts if len(rows) >= 3]
    each = -(-8 * sum(often for _, often in roles) // max(1, sum(often for _, often in prompts)))
    for rows, positive, times in [(g, False, 8 * k) for g, k in roles] + [(g, True, each * k) for g, k in prompts]:
        p = weights[rows] / weights[rows].sum()
        # keys with exponential races draw three without replacement in proportion to weight, all triples at once
        keys = rng.exponential(size=(times, len(rows))) / p
        picks = np.argpartition(keys, 2, axis=1)[:, :3]
        out += [float(v) for v in scores[rows[picks]].mean(axis=1)]
        label += [positive] * times
    return np.array(out), np.array(label, bool)


def measure(
    replies: Replies, selection: Selection, tune: Bools, *, seed: int, kept: Bools | None = None, draws: int = 400
) -> dict[str, Finding]:
    """Every figure of the card, on the replies that chose nothing.

    Args:
        replies: all of the map. ``tune``: those barred from reporting.
        kept: a judge's filter over all replies; None: no filter. It filters the fits; what is scored is all replies.
        draws: bootstrap draws.

    Returns:
        findings by name (``axis.split_half`` and so on), each with an estimate under ``value``.
    """
    rows = np.flatnonzero(~tune)
    part = _compact(replies.take(rows))
    keep = None if kept is None else kept[rows]
    layer = replies.layers.index(selection.read_layer)
    n_roles = int(part.role.max()) + 1
    out: dict[str, Finding] = {}

    def put(name: str, value: Estimate, verdict: str) -> None:
        if np.isfinite(value.value):
            out[name] = Finding(name, {"value": value}, verdict=verdict)
        else:
            out[name] = Finding(name, {"value": value}, "not_measurable", "too few replies to resample", verdict)

    at_layer = _at(part, layer)
    splits = split_cosines(
        at_layer, random_splits(part, max(100, draws // 2), seed=stable_seed("splits", seed)), kept=keep
    )[:, 0]
    boot = split_cosines(
        at_layer, random_splits(part, draws, seed=stable_seed("boot splits", seed), bootstrap=True), kept=keep
    )[:, 0]
    raw = recentred(
        float(np.median(splits)), boot, n_roles, "median of random disjoint halves; bootstrap over roles and questions"
    )
    put(
        "axis.split_half_raw",
        raw,
        f"Two halves that share no role, question, home prompt or reply give axes with cosine {raw.value:.2f}.",
    )
    value, low, high = (2 * v / (1 + v) for v in (raw.value, raw.low, raw.high))
    stepped = Estimate(
        value,
        low,
        high,
        LEVEL,
        n_roles,
        "",
        "Spearman-Brown of the raw value",
    )
    put(
        "axis.split_half", stepped, f"Reliability of the whole axis, stepped up by Spearman-Brown: {stepped.value:.2f}."
    )

    scores, linear = cross_scores(part, layer, seed=stable_seed("cross", seed), kept=keep)
    rng = np.random.default_rng(stable_seed("card", seed))
    whole = Draw.whole(part)
    resamples = [Draw.of(part, rng) for _ in range(draws)]
    crossed = [d.weights for d in resamples]
    way = "held-out replies, unfiltered; two-way bootstrap over roles and questions"

    def area(values: F64) -> Estimate:
        return percentiles(
            _auroc(values, part.home), np.array([_auroc(values, part.home, w) for w in crossed]), n_roles, way
        )

    one = area(scores)
    put("axis.auroc_one", one, f"One reply tells home from a role with probability {one.value:.2f}.")
    three_draws = np.array([_auroc(*_triples(part, scores, d, rng)) for d in resamples])
    three = percentiles(
        float(np.mean([_auroc(*_triples(part, scores, whole, rng)) for _ in range(20)])), three_draws, n_roles, way
    )
    put("axis.auroc_three", three, f"Three replies of one speaker: {three.value:.2f}.")
    lin = area(linear)
    put("axis.auroc_linear", lin, f"A regularised linear classifier on the same halves reaches {lin.value:.2f}.")

    parts = _components(part, scores, whole)
    parts_draws = [_components(part, scores, d) for d in resamples]

    def predicted(f: Callable[[_Components], float], name: str, words: str) -> Estimate:
        e = percentiles(
            f(parts),
            np.array([f(c) for c in parts_draws]),
            n_roles,
            "from variance components, positions taken as normal",
        )
        put(name, e, f"{words}: {e.value:.2f}.")
        return e

    predicted(lambda c: c.auroc(1), "axis.auroc_predicted_one", "Predicted for one reply from the variance components")
    predicted(lambda c: c.auroc(3), "axis.auroc_predicted_three", "Predicted for three replies")
    ceiling = predicted(
        lambda c: c.ceiling,
        "axis.auroc_ceiling",
        "What unlimited replies could reach, who speaks being all that is left",
    )
    if np.isfinite(ceiling.value):
        inside = (
            "home sits inside the cloud of roles"
            if ceiling.high < 0.995
            else "it is not shown that home sits inside the cloud of roles"
        )
        put("axis.auroc_ceiling", ceiling, f"No number of replies can pass {ceiling.value:.2f}: {inside}.")

    def percentile(draw: Draw) -> float:
        w = draw.weights
        ok = np.isfinite(scores) & (w > 0)
        home = float(np.average(scores[ok & part.home], weights=w[ok & part.home]))
        means, often = [], []
        for r in range(n_roles):
            m = ok & (part.role == r)
            if m.any():
                means.append(np.average(scores[m], weights=w[m]))
                often.append(draw.roles[r])
        return float(np.average(np.array(means) < home, weights=np.array(often)))

    pct = percentiles(percentile(whole), np.array([percentile(d) for d in resamples]), n_roles, way)
    if np.isfinite(pct.value):
        # where every role lies on one side, resampled ones do too: the roles not sampled need an interval of their own
        plain = wilson(round(pct.value * n_roles), n_roles, level=LEVEL)
        pct = replace(pct, low=min(pct.low, plain.low), high=max(pct.high, plain.high))
    extreme = pct.low >= MIDDLING
    put(
        "axis.home_percentile",
        pct,
        f"Home lies above {pct.value:.0%} of the roles."
        + ("" if extreme else " The claim that home is extreme is refused: the interval reaches under 90%."),
    )
    _components_of_space(part, layer, keep, resamples[: min(200, draws)], n_roles, put)
    _controls(part, layer, keep, scores, rng, n_roles, put)
    _confounds(part, scores, crossed, n_roles, way, put)
    return out


def _at(replies: Replies, layer: int) -> Replies:
    return replace(replies, means=replies.means[:, layer : layer + 1], layers=(replies.layers[layer],))


def _weighted_space(
    part: Replies, layer: int, keep: Bools | None, draw: Draw, towards: F64 | None = None
) -> tuple[float, float, int, F64]:
    """cos(axis, PC1), variance share of PC1, components for 70%, and PC1, of a draw; PC1 is turned ``towards`` one."""
    x, w = part.means[:, layer].astype(np.float64), draw.weights
    ok = (w > 0) & (True if keep is None else (keep | part.home))
    home = np.average(x[ok & part.home], axis=0, weights=w[ok & part.home])
    vectors: list[F64] = []
    for r in range(int(part.role.max()) + 1):
        m = ok & (part.role == r)
        if m.any():  # a role drawn twice stands twice
            vectors += [np.average(x[m], axis=0, weights=w[m])] * int(draw.roles[r])
    roles = np.array(vectors)
    components, share = pcs(roles.astype(np.float32))
    first = components[0] if towards is None or components[0] @ towards >= 0 else -components[0]
    axis = home - roles.mean(axis=0)
    cos = float(first @ axis) / float(np.linalg.norm(axis))
    return cos, float(share[0]), int(np.searchsorted(np.cumsum(share), 0.70) + 1), first


def _components_of_space(part: Replies, layer: int, keep: Bools | None, crossed: list[Draw], n: int, put: Put) -> None:
    value = _weighted_space(part, layer, keep, Draw.whole(part))
    draws = np.array([_weighted_space(part, layer, keep, d, value[3])[:3] for d in crossed])
    way = "bootstrap over roles and questions, spread around the value"
    cos = sign_free(value[0], draws[:, 0], n, way)
    put(
        "axis.cos_pc1",
        cos,
        f"The axis and the first principal component of the roles have cosine {cos.value:.2f}, its sign left out.",
    )
    share = recentred(value[1], draws[:, 1], n, way, share=True)
    put("axis.pc1_share", share, f"The first component holds {share.value:.0%} of the variance between roles.")
    shift = float(np.median(draws[:, 2])) - value[2]  # repeated roles make a draw flatter than the roles are
    count = percentiles(float(value[2]), np.maximum(1.0, draws[:, 2] - shift), n, way, "components")
    put("axis.pcs_70", count, f"{value[2]} components hold 70% of it.")
    _, roles, counts = role_vectors(_at(part, layer), keep)
    real = pcs(roles[counts > 0, 0])[1]
    rng = np.random.default_rng(stable_seed("parallel", n))
    centred = roles[counts > 0, 0] - roles[counts > 0, 0].mean(axis=0)
    null = np.stack([pcs(rng.permuted(centred, axis=0))[1] for _ in range(50)])
    beyond = int(np.argmin(np.append(real[: null.shape[1]] > np.percentile(null, 95, axis=0), False)))
    put(
        "axis.pcs_beyond_noise",
        Estimate(
            float(beyond),
            float(beyond),
            float(beyond),
            LEVEL,
            n,
            "components",
            "parallel analysis against permuted columns, 95th percentile",
        ),
        f"{beyond} components stand out from permuted data.",
    )


def _controls(
    part: Replies, layer: int, keep: Bools | None, scores: F64, rng: np.random.Generator, n: int, put: Put
) -> None:
    """What directions without meaning reach: random ones, and axes between randomly relabelled roles."""
    x = part.means[:, layer].astype(np.float64)
    random = rng.standard_normal((200, x.shape[1]))
    areas = np.array([_auroc(x @ v, part.home) for v in random])
    areas = np.maximum(areas, 1 - areas)
    low, high = (float(v) for v in np.percentile(areas, [2.5, 97.5]))
    put(
        "control.auroc_random",
        Estimate(
            float(np.median(areas)), low, high, LEVEL, len(areas), "", "200 random directions, better side of each"
        ),
        f"A random direction reaches {np.median(areas):.2f} with its better side; 97.5% of them stay under {high:.2f}.",
    )
    n_r, n_q = int(part.role.max()) + 1, int(part.question.max()) + 1
    values: list[float] = []
    for _ in range(100):
        # Roles called home at random, twice on disjoint roles and questions: what split halves share without a home.
        order, q = rng.permutation(n_r), rng.permutation(n_q)
        axes: list[F64] = []
        for h in (0, 1):
            mine = order[h::2]
            fake = mine[: max(1, len(mine) // 8)]
            rest = mine[len(fake) :]
            ask = np.isin(part.question, q[h::2])
            a, b = x[np.isin(part.role, fake) & ask], x[np.isin(part.role, rest) & ask]
            if len(a) and len(b):
                axes.append(a.mean(axis=0) - b.mean(axis=0))
        if len(axes) == 2:
            values.append(float(axes[0] @ axes[1] / np.linalg.norm(axes[0]) / np.linalg.norm(axes[1])))
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


def _confounds(part: Replies, scores: F64, crossed: list[F64], n: int, way: str, put: Put) -> None:
    length = np.log(part.length.astype(np.float64))

    def area(values: F64) -> Estimate:
        return percentiles(_auroc(values, part.home), np.array([_auroc(values, part.home, w) for w in crossed]), n, way)

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


def filtered_cosine(replies: Replies, kept: Bools, layer: int) -> float:
    """Cosine between the axis of all replies and that of the kept ones, at one layer index."""
    n_r, n_q = int(replies.role.max()) + 1, int(replies.question.max()) + 1
    n_p = int(replies.prompt[replies.home].max()) + 1
    full = (np.ones(n_r), np.ones(n_q), np.ones(n_p))
    x = replies.means[:, layer].astype(np.float64)
    a = axis_weights(replies, *full) @ x
    b = axis_weights(replies, *full, kept) @ x
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
