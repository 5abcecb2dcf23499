"""What two checkpoints' prompts say of a concept: answers, cosines, gradients, edits and pushes, each over the same resamples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.concept import LEAST_HALF
from homing.fracture.concept_contexts import Context, Contexts, Units
from homing.fracture.concept_cosine import Cosines, cleared, cosines, ends, split_half
from homing.fracture.metrics import MOST_NULL
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Estimate
from homing.stats.intervals import newcombe_paired, wilson
from homing.stats.ranking import auroc
from homing.stats.seeds import stable_seed

__all__ = [
    "Insides",
    "Layout",
    "across",
    "answers",
    "arrives",
    "backwards",
    "best_block",
    "gradient_figures",
    "over_contexts",
    "paired",
    "right_answers",
    "same_answers",
    "unfound",
    "within",
]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]
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


# Answers


def answers(layout: Layout, a: F64, b: F64, rows: Bool) -> dict[str, dict[str, Estimate]]:
    """Accuracy and AUROC of both checkpoints' read-outs, ``(n,)``, over some prompts."""
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


def right_answers(layout: Layout, a: Insides, b: Insides, rows: Bool) -> tuple[int, int, int, int]:
    """How many are right in both, in B alone, in A alone, and in neither."""
    positive = layout.positive[rows]
    first, second = (a.said[rows] > 0) == positive, (b.said[rows] > 0) == positive
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    return both, int((~first & second).sum()), int((first & ~second).sum()), neither


def same_answers(layout: Layout, a: Insides, b: Insides, rows: Bool, seed: int) -> dict[str, dict[str, Estimate]]:
    """Flips (2407.09141), divergence of the two-option distributions, and the change of accuracy."""
    x, y = a.said[rows], b.said[rows]
    both, only_b, only_a, neither = right_answers(layout, a, b, rows)
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


def within(cosines: F64, some: Sequence[int]) -> Any:
    """Mean over pairs of some contexts, of ``(..., contexts, contexts)``."""
    up = [(g, h) for i, g in enumerate(some) for h in some[i + 1 :]]
    return cosines[..., [g for g, _ in up], [h for _, h in up]].mean(axis=-1)


def across(cosines: F64, some: Sequence[int], others: Sequence[int]) -> Any:
    """Mean over pairs of a context of some and one of the others."""
    return cosines[..., np.repeat(some, len(others)), np.tile(others, len(some))].mean(axis=-1)


def paired(found: Mapping[str, tuple[float, F64]], *, n: int) -> dict[str, Estimate]:
    """A figure of each checkpoint and its change, from values and their resamples, all over the same prompts."""
    (a, of_a), (b, of_b) = found["a"], found["b"]
    each = {"a": (a, of_a), "b": (b, of_b), "change": (b - a, of_b - of_a)}
    return {k: ends(value, draws, n, 0.95, "paired bootstrap") for k, (value, draws) in each.items()}


def over_contexts(found: Mapping[str, Cosines], of: Callable[[F64], Any]) -> dict[str, Estimate]:
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


def unfound(found: Mapping[str, Cosines], layout: Layout, some: Sequence[int]) -> str:
    """The contexts of a concept whose one half does not find the direction of the other again; empty: all do."""
    return "; ".join(
        f"{k.upper()}, {layout.names[g]}" for k, f in found.items() for g in some if not f.half[g] >= LEAST_HALF
    )


def gradient_figures(
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
    if weak := unfound(found, layout, some):
        return [f"gradients: one half of the prompts does not find those of the other again: {weak}"]
    figures["coupling"] = over_contexts(found, lambda c: within(c, some))
    others = [g for g in range(len(layout.names)) if g not in some]
    if not others:
        return ["gradients: no kappa, since the file names no second concept to be the unrelated one"]
    null = over_contexts(found, lambda c: across(c, some, others))
    figures["coupling_null"] = null
    high = [k.upper() for k in ("a", "b") if null[k].value > MOST_NULL]
    if high:
        return [
            f"gradients: no kappa of {' and '.join(high)}, since unrelated concepts overlap by more than {MOST_NULL}"
        ]

    def kappa(c: F64) -> Any:
        of_null = across(c, some, others)
        return (within(c, some) - of_null) / (1 - of_null)

    figures["kappa"] = over_contexts(found, kappa)
    return []


def arrives(layout: Layout, changes: F64, some: Sequence[int], seed: int) -> tuple[float, F64]:
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


def backwards(layout: Layout, pushes: F64, some: Sequence[int]) -> Estimate:
    """Share of prompts that a push along the other contexts' directions moves the wrong way, in the mean of those.

    A prompt counts once: what several directions do to it is not independent.
    """
    rows = np.flatnonzero(np.isin(layout.context, some) & layout.held)
    away = np.asarray(some)[:, None] != layout.context[rows][None]
    mean = np.where(away, pushes[list(some)][:, rows], 0.0).sum(axis=0) / away.sum(axis=0)
    return wilson(int((mean <= 0).sum()), len(rows))
