"""Two checkpoints of one model on named concepts: the same answers, and the same insides?

The rule, fixed before any figure was seen:

- *refused*: one of them does not tell the concept's two answers apart (lower end of the AUROC of its read-out under 0.6), or a
  context has no direction that one half of its prompts finds again in the other;
- *same*: no answer changes, and every read-out and every figure of the one is the other's within 0.001;
- *different score*: the accuracies are shown to differ;
- *same score, different inside*: accuracies are shown equal within 5 points, and the mean corrected cosine, the kappa of
  gradients or the transfer of edits differs by more than 0.1, with an interval that leaves out 0: which of the two holds the
  concept in one piece is named;
- *same score, same inside*: accuracies are shown equal and each of the three differs by less than 0.1 with its whole interval;
- *not shown*: neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.checkpoint_axis import axis_agreement
from homing.fracture.concept import LEAST_HALF, judge_concept
from homing.fracture.concept_contexts import Context, Contexts, Units
from homing.fracture.concept_cosine import Cosines, cleared, cosines, ends, split_half
from homing.fracture.metrics import MOST_NULL
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Estimate
from homing.stats.intervals import newcombe_paired, wilson
from homing.stats.ranking import auroc
from homing.stats.seeds import stable_seed
from homing.stats.tests import tost_proportion

__all__ = [
    "CheckpointVerdict",
    "Compared",
    "Insides",
    "Layout",
    "best_block",
    "compare_concept",
    "overall",
    "unanswered",
]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]
CheckpointVerdict = Literal[
    "same", "same score, same inside", "same score, different inside", "different score", "not shown", "refused"
]
TOLD_APART = 0.6
"""Lower end of the AUROC of the read-out under which a checkpoint does not answer the concept."""
MARGIN = 0.05
"""Accuracies that differ by no more are the same score."""
WITHIN = 0.1
"""Figures of the inside that differ by no more are the same."""
EXACT = 1e-3
DRAWS = 500


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """Where each prompt of all concepts stands.

    Attributes:
        names: of contexts, ``concept/context``. ``concept``: of each context. ``context``: of each prompt, ``(n,)``.
        positive: whether the concept holds. ``held``: whether it is of the half on which edits and pushes are measured.
    """

    names: tuple[str, ...]
    concept: tuple[str, ...]
    context: I64
    positive: Bool
    held: Bool

    @property
    def signs(self) -> F64:
        """1 where the concept holds, else -1, ``(n,)``."""
        return np.where(self.positive, 1.0, -1.0)

    def of(self, concept: str) -> list[int]:
        """Contexts of a concept."""
        return [g for g, c in enumerate(self.concept) if c == concept]

    def rows(self, *concepts: str) -> Bool:
        """Prompts of some concepts, ``(n,)``."""
        return np.isin(self.context, [g for c in concepts for g in self.of(c)])

    def contexts(self, vectors: F64, some: Sequence[int]) -> Contexts:
        """Vectors, ``(n, d)``, as contexts."""
        return Contexts(
            tuple(
                Context(
                    self.names[g], *(vectors[(self.context == g) & (self.positive == side)] for side in (True, False))
                )
                for g in some
            )
        )


@dataclass(frozen=True, eq=False, slots=True)
class Insides:
    """What was read of one checkpoint.

    Attributes:
        said: read-outs, ``(n,)``. ``stream``: at the chosen block, ``(n, hidden)``. ``gram``: inner products of parameter
            gradients, ``(n, n)``.
        edits: ``(contexts, n)``, change of the read-out by an edit made in a context; NaN where it was not asked.
        pushes: the same, by a push along a context's direction.
    """

    said: F64
    stream: F64
    gram: F64
    edits: F64
    pushes: F64
    _known: dict[tuple[str, int], Cosines] = field(
        default_factory=dict[tuple[str, int], Cosines], init=False, repr=False
    )

    def cosines(self, of: Literal["stream", "gradients"], layout: Layout, *, seed: int) -> Cosines:
        """Of all contexts of ``layout``, worked out once and not for each concept; a checkpoint is read under one layout."""
        if (of, seed) not in self._known:
            x = self.stream if of == "stream" else _embedded(self.gram)
            units = Units.of(layout.contexts(x, range(len(layout.names))))
            self._known[of, seed] = cosines(units, seed=seed, draws=DRAWS)
        return self._known[of, seed]


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """One concept.

    Attributes:
        verdict, reasons: what is said, the deciding sentence first. ``figures``: name to ``a``, ``b`` and ``change``.
    """

    name: str
    verdict: CheckpointVerdict
    reasons: tuple[str, ...]
    figures: dict[str, dict[str, Estimate]] = field(default_factory=dict[str, dict[str, Estimate]])

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        table = {k: {side: e.to_json() for side, e in row.items()} for k, row in self.figures.items()}
        return {"name": self.name, "verdict": self.verdict, "reasons": list(self.reasons), "figures": table}


def best_block(layout: Layout, streams: Sequence[NDArray[np.float32]], *, seed: int) -> int:
    """The block at which the least reliable context of both checkpoints has the surest direction, the first of those.

    By the cosine of one half of its prompts with the other. How well a direction tells classes apart would not do: early blocks
    do that without an error too, along directions that half of the prompts hardly find again.

    Args:
        streams: ``(n, blocks, hidden)`` of each checkpoint. Agreement between contexts has no part in the choice.
    """
    least = np.full(streams[0].shape[1], np.inf)
    for stream in streams:
        for block in range(stream.shape[1]):
            units = Units.of(layout.contexts(stream[:, block].astype(np.float64), range(len(layout.names))))
            least[block] = min(least[block], float(split_half(units, seed=seed).min()))
    return int(np.argmax(np.round(least, 6)))


def unanswered(name: str, layout: Layout, a: F64, b: F64) -> Compared | None:
    """A refusal where a checkpoint does not answer the concept. ``a``, ``b``: read-outs, ``(n,)``; None: both do."""
    figures = _answers(layout, a, b, layout.rows(name))
    told = figures["auroc"]
    lost = [k for k in ("a", "b") if told[k].low < TOLD_APART]
    if not lost:
        return None
    said = ", ".join(f"{k.upper()} {told[k]:.2f}" for k in lost)
    why = f"the two answers of {name!r} are not told apart, AUROC of the read-out {said}: its lower end must be {TOLD_APART}"
    return Compared(name, "refused", (why,), figures)


def compare_concept(name: str, layout: Layout, a: Insides, b: Insides, *, seed: int) -> Compared:
    """Both checkpoints on one concept that both answer; those beside it in the layout are the unrelated ones."""
    rows, some = layout.rows(name), layout.of(name)
    figures = _answers(layout, a.said, b.said, rows) | _same_answers(layout, a, b, rows, seed)
    sides = {"a": a, "b": b}
    found = {k: s.cosines("stream", layout, seed=seed) for k, s in sides.items()}
    weak = [f"{k.upper()}, {layout.names[g]}" for k, f in found.items() for g in some if not f.half[g] >= LEAST_HALF]
    if weak:
        why = f"no direction that one half of the prompts finds again in the other (under {LEAST_HALF}): {'; '.join(weak)}"
        return Compared(name, "refused", (why,), figures)
    streams = [Units.of(layout.contexts(s.stream, some)) for s in sides.values()]
    figures["axis"] = {"change": axis_agreement(streams[0], streams[1], seed=seed)}
    figures["cosine"] = _cosines(found, lambda c: _within(c, some))
    if len(some) < len(layout.names):
        others = [g for g in range(len(layout.names)) if g not in some]
        figures["cosine_unrelated"] = _cosines(found, lambda c: _across(c, some, others))
    notes = _gradients(name, layout, sides, some, figures, seed)
    # an edit mends answers, and so moves read-outs as they should go; a push is towards the concept, whatever the prompt is
    for key, made in (
        ("edit_transfer", {k: _moved(layout, s.edits * layout.signs, some, seed) for k, s in sides.items()}),
        ("steering_transfer", {k: _moved(layout, s.pushes, some, seed) for k, s in sides.items()}),
    ):
        figures[key] = _paired(made, itemgetter(0), itemgetter(1), n=int(layout.held[rows].sum()))
    backwards = {k: _backwards(layout, s.pushes, some) for k, s in sides.items()}
    figures["steered_backwards"] = backwards
    judged = {k: judge_concept(layout.contexts(s.stream, some), seed=seed) for k, s in sides.items()}
    for key in ("share", "auroc_lost"):
        if all(key in j.figures for j in judged.values()):
            figures[key] = {k: j.figures[key] for k, j in judged.items()}
    notes += [f"{k.upper()}, by itself: {j.verdict} ({j.reasons[0]})" for k, j in judged.items()]
    verdict, why = _decide(name, layout, a, b, rows, figures)
    return Compared(name, verdict, (why, *notes), figures)


# Answers


def _answers(layout: Layout, a: F64, b: F64, rows: Bool) -> dict[str, dict[str, Estimate]]:
    positive, context = layout.positive[rows], layout.context[rows]
    found: dict[str, dict[str, Estimate]] = {"accuracy": {}, "auroc": {}}
    for k, s in (("a", a), ("b", b)):
        said = s[rows]
        right = (said > 0) == positive
        found["accuracy"][k] = wilson(int(right.sum()), len(right))
        # each context has a level of its own, which a threshold of 0 knows nothing of
        centred = said - np.array([np.median(said[context == g]) for g in context])
        found["auroc"][k] = auroc(centred[positive], centred[~positive])
    return found


def _right(layout: Layout, a: Insides, b: Insides, rows: Bool) -> tuple[int, int, int, int]:
    """How many are right in both, in B alone, in A alone, and in neither."""
    positive = layout.positive[rows]
    first, second = (a.said[rows] > 0) == positive, (b.said[rows] > 0) == positive
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    return both, int((~first & second).sum()), int((first & ~second).sum()), neither


def _same_answers(layout: Layout, a: Insides, b: Insides, rows: Bool, seed: int) -> dict[str, dict[str, Estimate]]:
    x, y = a.said[rows], b.said[rows]
    both, only_b, only_a, neither = _right(layout, a, b, rows)
    n = len(x)
    gap = newcombe_paired(both, only_b, only_a, neither)
    flips = {"flips": wilson(only_a + only_b, n), "broken": wilson(only_a, n), "mended": wilson(only_b, n)}
    p, q = (1 / (1 + np.exp(-np.clip(v, -500, 500))) for v in (x, y))
    kl = bootstrap_mean(_kl(p, q), seed=stable_seed("fracture kl", seed), unit="nats")
    return {k: {"change": e} for k, e in flips.items()} | {"kl": {"change": kl}, "accuracy_change": {"change": gap}}


def _kl(p: F64, q: F64) -> F64:
    tiny = 1e-12
    p, q = np.clip(p, tiny, 1 - tiny), np.clip(q, tiny, 1 - tiny)
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


# Insides


def _embedded(gram: F64) -> F64:
    """Vectors with these inner products, ``(n, n)``; how they lie is nobody's business."""
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    return vectors * np.sqrt(np.clip(values, 0, None))


def _within(cosines: F64, some: Sequence[int]) -> Any:
    """Mean over pairs of some contexts, of ``(..., contexts, contexts)``."""
    up = [(g, h) for i, g in enumerate(some) for h in some[i + 1 :]]
    return cosines[..., [g for g, _ in up], [h for _, h in up]].mean(axis=-1)


def _across(cosines: F64, some: Sequence[int], others: Sequence[int]) -> Any:
    """Mean over pairs of a context of some and one of the others."""
    return cosines[..., np.repeat(some, len(others)), np.tile(others, len(some))].mean(axis=-1)


def _paired(found: Mapping[str, Any], value: Any, draws: Any, *, n: int | None = None) -> dict[str, Estimate]:
    """A figure of each checkpoint and its change, all over the same resampled prompts."""
    v, d = (
        {k: float(value(f)) for k, f in found.items()},
        {k: np.asarray(draws(f), np.float64) for k, f in found.items()},
    )
    size = n if n is not None else int(found["a"].least)
    made = {k: ends(v[k], d[k], size, 0.95, "paired bootstrap") for k in ("a", "b")}
    return {**made, "change": ends(v["b"] - v["a"], d["b"] - d["a"], size, 0.95, "paired bootstrap")}


def _cosines(found: Mapping[str, Cosines], of: Callable[[F64], Any]) -> dict[str, Estimate]:
    """The same of a figure of corrected cosines, whose resamples count the product of noises too often (:func:`cleared`).

    Args:
        of: the figure, from ``(..., contexts, contexts)``.
    """
    value = {k: float(of(f.truth)) for k, f in found.items()}
    drawn, alone = (
        {k: np.asarray(of(x), np.float64) for k, x in y.items()}
        for y in ({k: f.draws for k, f in found.items()}, {k: f.noise for k, f in found.items()})
    )
    n = found["a"].least
    made = {k: ends(value[k], cleared(drawn[k], alone[k]), n, 0.95, "paired bootstrap") for k in ("a", "b")}
    # both had the same resamples and the same noise's multipliers, so that their differences are paired too
    change = cleared(drawn["b"] - drawn["a"], alone["b"] - alone["a"])
    return {**made, "change": ends(value["b"] - value["a"], change, n, 0.95, "paired bootstrap")}


def _gradients(
    name: str,
    layout: Layout,
    sides: Mapping[str, Insides],
    some: Sequence[int],
    figures: dict[str, dict[str, Estimate]],
    seed: int,
) -> list[str]:
    """Kappa of the contexts' gradients, with the cosine of unrelated concepts as null; a note where there is none."""
    for k, s in sides.items():
        if not s.gram.any():
            raise InputError(f"checkpoint {k.upper()} has no gradients on {name!r}; its read-out is saturated")
    found = {k: s.cosines("gradients", layout, seed=seed) for k, s in sides.items()}
    weak = [f"{k.upper()}, {layout.names[g]}" for k, f in found.items() for g in some if not f.half[g] >= LEAST_HALF]
    if weak:
        return [f"gradients: one half of the prompts does not find those of the other again: {'; '.join(weak)}"]
    figures["coupling"] = _cosines(found, lambda c: _within(c, some))
    others = [g for g in range(len(layout.names)) if g not in some]
    if not others:
        return ["gradients: no kappa, since the file names no second concept to be the unrelated one"]
    null = _cosines(found, lambda c: _across(c, some, others))
    figures["coupling_null"] = null
    high = [k.upper() for k in ("a", "b") if null[k].value > MOST_NULL]
    if high:
        return [
            f"gradients: no kappa of {' and '.join(high)}, since unrelated concepts overlap by more than {MOST_NULL}"
        ]

    def kappa(c: F64) -> Any:
        of_null = _across(c, some, others)
        return (_within(c, some) - of_null) / (1 - of_null)

    figures["kappa"] = _cosines(found, kappa)
    return []


def _moved(layout: Layout, changes: F64, some: Sequence[int], seed: int) -> tuple[float, F64]:
    """How much of a change made in one context arrives in the others, and its resamples.

    The mean over ordered pairs over the mean at home: a mean of ratios would be ruled by contexts where little happens.
    """
    rng = np.random.default_rng(stable_seed("fracture moved", seed))
    k, strata = len(some), list[I64]()
    for g in some:
        for side in (True, False):
            strata.append(np.flatnonzero((layout.context == g) & layout.held & (layout.positive == side)))
    rows = np.concatenate(strata)
    at = np.array([list(some).index(int(g)) for g in layout.context[rows]])
    weights = np.ones((DRAWS + 1, len(rows)))
    start = 0
    for s in strata:
        weights[1:, start : start + len(s)] = rng.multinomial(len(s), np.full(len(s), 1 / len(s)), size=DRAWS)
        start += len(s)
    into = (at[:, None] == np.arange(k)).astype(np.float64)
    mean = np.einsum("dn,gn,nh->dgh", weights, changes[list(some)][:, rows], into) / (weights @ into)[:, None, :]
    own, off = mean[:, np.arange(k), np.arange(k)].mean(axis=1), ~np.eye(k, dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(own > 0, mean[:, off].mean(axis=1) / own, np.nan)
    return float(found[0]), found[1:]


def _backwards(layout: Layout, pushes: F64, some: Sequence[int]) -> Estimate:
    """Share of prompts that a push along the other contexts' directions moves the wrong way, in the mean of those.

    A prompt counts once: what several directions do to it is not independent.
    """
    rows = np.flatnonzero(np.isin(layout.context, some) & layout.held)
    away = np.asarray(some)[:, None] != layout.context[rows][None]
    mean = np.where(away, pushes[list(some)][:, rows], 0.0).sum(axis=0) / away.sum(axis=0)
    return wilson(int((mean <= 0).sum()), len(rows))


# What is said


def _decide(
    name: str, layout: Layout, a: Insides, b: Insides, rows: Bool, figures: Mapping[str, Mapping[str, Estimate]]
) -> tuple[CheckpointVerdict, str]:
    inside = {k: figures[k]["change"] for k in ("cosine", "kappa", "edit_transfer") if k in figures}
    moved = max(
        (abs(figures[k]["change"].value) for k in figures if "a" in figures[k] and "change" in figures[k]), default=0.0
    )
    scale = max(float(np.std(a.said[rows])), 1e-12)
    apart = float(np.abs(a.said - b.said)[rows].max()) / scale
    flips = figures["flips"]["change"]
    if flips.value == 0 and apart <= EXACT and moved <= EXACT:
        return (
            "same",
            f"no answer of {flips.n} changes, read-outs differ by {apart:.1e} of their spread and no figure by more than {EXACT}",
        )
    gap = figures["accuracy_change"]["change"]
    alike = tost_proportion(*_right(layout, a, b, rows), margin=MARGIN).verdict
    if alike != "equivalent":
        if gap.low > 0 or gap.high < 0:
            return "different score", f"accuracy differs by {gap:+.2f}: what is inside is not compared at one score"
        return "not shown", f"that the accuracies are equal within {MARGIN:.0%} is not shown ({gap:+.2f}); add prompts"
    odd = {k: e for k, e in inside.items() if abs(e.value) > WITHIN and (e.low > 0 or e.high < 0)}
    if odd:
        more = {"B" if e.value > 0 else "A" for e in odd.values()}
        who = (
            f"{more.pop()} holds it more in one piece"
            if len(more) == 1
            else "which holds it more in one piece they do not agree on"
        )
        said = ", ".join(f"{k.replace('_', ' ')} {e:+.2f}" for k, e in odd.items())
        return "same score, different inside", f"{name!r}: {who} ({said}, B less A)"
    if inside and all(e.low > -WITHIN and e.high < WITHIN for e in inside.values()):
        return (
            "same score, same inside",
            f"{', '.join(k.replace('_', ' ') for k in inside)} differ by less than {WITHIN}, with their whole intervals",
        )
    wide = ", ".join(
        f"{k.replace('_', ' ')} {e:+.2f}" for k, e in inside.items() if not (e.low > -WITHIN and e.high < WITHIN)
    )
    return (
        "not shown",
        f"same score; that the insides are equal within {WITHIN}, or not, is not shown ({wide}); add prompts",
    )


def overall(found: Sequence[Compared]) -> CheckpointVerdict:
    """One verdict over concepts: that which says most against their being one."""
    order: tuple[CheckpointVerdict, ...] = (
        "different score", "same score, different inside", "not shown", "same score, same inside", "same", "refused"
    )  # fmt: skip
    return order[min(order.index(c.verdict) for c in found)]
