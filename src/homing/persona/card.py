"""The quality card of an axis: what it is worth, what it may not claim, each figure with its interval.

Layers are chosen on tuning roles and tuning home questions; every figure here is of the rest.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]

from homing.persona.card_beside import at_layer, auroc, components, confounds, controls
from homing.persona.resample import LEVEL, Draw, percentiles, recentred, roles_below, split_half
from homing.persona.rollouts import Replies
from homing.persona.space import (
    axis_weights,
    blocks_of,
    cross_scores,
    discriminant_cosines,
    random_splits,
)
from homing.stats import wilson
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["LayerFigures", "Selection", "measure", "most_telling", "select_layer", "tuning_rows"]

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
MIDDLING = 0.90


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """What tuning saw at one layer: median split-half cosine and held-out AUROC, on tuning replies only."""

    layer: int
    split_half: Estimate
    auroc: Estimate

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"layer": self.layer, "split_half": self.split_half.to_json(), "auroc": self.auroc.to_json()}


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
    splits = random_splits(part, 60, seed=stable_seed("select", seed))
    rng = np.random.default_rng(stable_seed("select draws", seed))
    weights = [Draw.of(part, rng).weights for _ in range(100)]
    figures: list[LayerFigures] = []
    for i, layer in enumerate(replies.layers):
        scores = cross_scores(part, i, partitions=4, seed=stable_seed("select", seed, i)).reader
        area = percentiles(
            auroc(scores, part.home), np.array([auroc(scores, part.home, w) for w in weights]),
            int(part.role.max()) + 1, "held-out tuning replies; two-way bootstrap over roles and questions",
        )  # fmt: skip
        figures.append(LayerFigures(layer, split_half(at_layer(part, i), splits), area))
    best = most_telling([f.split_half for f in figures], [f.auroc.value for f in figures])
    barred = tuple(int(r) for r in np.unique(replies.role[tune & ~replies.home]))
    return Selection(replies.layers[best], tuple(figures), barred)


def most_telling(stability: Sequence[Estimate], areas: Sequence[float]) -> int:
    """Place of the layer with the best AUROC, smoothed over neighbours, among those whose axis is stable.

    Stable: within 0.10 of the stablest, or not to be told from it. With few roles the stablest layer is one of chance, and would
    else shut out all that tell home from a role.
    """
    cosines, highs = (np.array(x) for x in zip(*((s.value, s.high) for s in stability), strict=True))
    area = np.nan_to_num(np.asarray(areas, float), nan=0.5)  # what could not be scored is worth a guess
    smooth = np.array([area[max(0, i - 1) : i + 2].mean() for i in range(len(area))])
    stable = (cosines >= cosines.max() - 0.10) | (highs >= cosines.max())
    return int(np.argmax(np.where(stable, smooth, -np.inf)))


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

    def put(name: str, value: Estimate, verdict: str, why_not: str = "too few replies to resample") -> None:
        if np.isfinite(value.value):
            out[name] = Finding(name, {"value": value}, verdict=verdict)
        else:
            out[name] = Finding(name, {"value": value}, "not_measurable", why_not, verdict)

    read = at_layer(part, layer)
    splits = random_splits(part, max(100, draws // 2), seed=stable_seed("splits", seed))
    raw = split_half(read, splits, kept=keep)
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

    cross = cross_scores(part, layer, seed=stable_seed("cross", seed), kept=keep)
    scores = cross.reader
    rng = np.random.default_rng(stable_seed("card", seed))
    whole = Draw.whole(part)
    resamples = [Draw.of(part, rng) for _ in range(draws)]
    crossed = [d.weights for d in resamples]
    way = "held-out replies, unfiltered; two-way bootstrap over roles and questions"

    def area(values: F64) -> Estimate:
        return percentiles(
            auroc(values, part.home), np.array([auroc(values, part.home, w) for w in crossed]), n_roles, way
        )

    one = area(scores)
    put("axis.auroc_one", one, f"One reply tells home from a role with probability {one.value:.2f}.")
    three_draws = np.array([auroc(*_triples(part, scores, d, rng)) for d in resamples])
    three = percentiles(
        float(np.mean([auroc(*_triples(part, scores, whole, rng)) for _ in range(20)])), three_draws, n_roles, way
    )
    put("axis.auroc_three", three, f"Three replies of one speaker: {three.value:.2f}.")
    along = area(cross.axis)
    put("axis.auroc_axis", along, f"Read along the axis itself instead of with the reader: {along.value:.2f}.")
    lin = area(cross.linear)
    put("axis.auroc_linear", lin, f"A regularised linear classifier on the same halves reaches {lin.value:.2f}.")
    agree = [
        discriminant_cosines(read, 0, random_splits(part, n, seed=stable_seed(name, seed), bootstrap=again), kept=keep)
        for name, n, again in (("linear", 10, False), ("linear boot", 24, True))
    ]
    if len(agree[0]):
        way_linear = "median of random disjoint halves; bootstrap over roles and questions"
        same = recentred(float(np.median(agree[0])), agree[1], n_roles, way_linear)
        words = (
            f"The classifier's direction has cosine {same.value:.2f} between the same halves, the axis {raw.value:.2f}:"
        )
        words += " what tells best is not what is most the same."
        put("axis.linear_agreement", same, words if same.value < raw.value else words.partition(":")[0] + ".")

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
        words = (
            f"No number of replies can pass {ceiling.value:.2f}: home sits inside the cloud of roles."
            if ceiling.high < 0.995
            else f"Unlimited replies would reach {ceiling.value:.2f}; that home sits inside the cloud of roles is not shown."
        )
        put("axis.auroc_ceiling", ceiling, words)

    pct = percentiles(
        roles_below(scores, part, whole), np.array([roles_below(scores, part, d) for d in resamples]), n_roles, way
    )
    if np.isfinite(pct.value):
        # where every role lies on one side, resampled ones do too: the roles not sampled need an interval of their own
        plain = wilson(round(pct.value * n_roles), n_roles, level=LEVEL)
        pct = replace(pct, low=min(pct.low, plain.low), high=max(pct.high, plain.high))
    seen = roles_below(scores, part, whole, as_read=True)
    extreme = pct.low >= MIDDLING
    put(
        "axis.home_percentile",
        pct,
        f"Home lies above {pct.value:.0%} of the roles, the noise of their few replies taken out ({seen:.0%} as read)."
        + ("" if extreme else " The claim that home is extreme is refused: the interval reaches under 90%."),
    )
    components(part, layer, keep, resamples[: min(200, draws)], n_roles, put)
    controls(part, layer, keep, scores, rng, n_roles, put)
    confounds(part, scores, crossed, n_roles, way, put)
    return out


def filtered_cosine(replies: Replies, kept: Bools, layer: int) -> float:
    """Cosine between the axis of all replies and that of the kept ones, at one layer index."""
    n_r, n_q = int(replies.role.max()) + 1, int(replies.question.max()) + 1
    n_p = int(replies.prompt[replies.home].max()) + 1
    full = (np.ones(n_r), np.ones(n_q), np.ones(n_p))
    x = replies.means[:, layer].astype(np.float64)
    a = axis_weights(replies, *full) @ x
    b = axis_weights(replies, *full, kept) @ x
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
