"""Unity of a named concept: do two inputs that should share a mechanism move the same parameters?

For a read-out f and pairs (a, b) that ought to be served by one mechanism, C is the median cosine of the parameter gradients of
f at a and at b, and C_null the same with b replaced by an unrelated input of b's context. Unity is
``kappa = (C - C_null) / (1 - C_null)`` and fracture ``1 - kappa``. The parts are old: stiffness (1901.09491), the empirical
tangent kernel. A kappa is about one concept, one pairing and one set of layers; it says nothing of whether the task is solved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.fracture.gauges import balanced
from homing.fracture.network import F64, Network, Pass, gradient_overlap
from homing.fracture.unrelated import Null, unrelated
from homing.stats._check import group_codes
from homing.stats._resample import percentile_ends
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["LEAST_PAIRS", "MOST_NULL", "MOST_ZERO", "Pairs", "Unity", "cosines", "rows_of", "unity"]

Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]
LEAST_PAIRS = 16
"""Fewer pairs, or clusters of pairs: refused."""
MOST_NULL = 0.9
"""Unrelated inputs that overlap more than this leave no room to tell pairs from them."""
MOST_ZERO = 0.1
"""A larger share of pairs without any gradient: refused as saturated."""
DRAWS = 1000


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """Inputs that should share a mechanism.

    Attributes:
        a, b: ``(n, inputs)``, row by row one pair. ``gate_a, gate_b``: ``(n,)``, the context that chooses private copies.
        concept: what is named, in words. ``cluster``: ``(n,)`` labels; pairs with one label are resampled as one, and none is
            an unrelated input of another.
        fold: why both inputs of every pair are equal, where that is so by design (``|x|`` was taken before the first layer).
            Without it such pairs are refused; with it they are measured and labelled as true but trivial.
    """

    a: F64
    b: F64
    gate_a: Bool | None = None
    gate_b: Bool | None = None
    concept: str = ""
    cluster: NDArray[Any] | None = None
    fold: str = ""

    def __post_init__(self) -> None:
        if self.a.ndim != 2 or self.a.shape != self.b.shape:
            raise InputError(f"inputs of pairs have shapes {self.a.shape} and {self.b.shape}; give (n, inputs) twice")
        for name, x in (("a", self.a), ("b", self.b)):
            if not np.isfinite(x).all():
                raise InputError(
                    f"{int((~np.isfinite(x)).sum())} inputs of {name} are not finite; leave such pairs out"
                )
        for name, g in (("gate_a", self.gate_a), ("gate_b", self.gate_b), ("cluster", self.cluster)):
            if g is not None and g.shape != (len(self.a),):
                raise InputError(f"{name} has shape {g.shape} for {len(self.a)} pairs; give one value a pair")

    def __len__(self) -> int:
        return len(self.a)

    def of(self, rows: I64 | Bool) -> Pairs:
        """Some of the pairs."""
        take = [None if v is None else v[rows] for v in (self.gate_a, self.gate_b, self.cluster)]
        return replace(self, a=self.a[rows], b=self.b[rows], gate_a=take[0], gate_b=take[1], cluster=take[2])

    @property
    def alike(self) -> Bool:
        """Pairs whose two sides are one input in one context, ``(n,)``."""
        off = np.zeros(len(self), bool)
        gates = (off if self.gate_a is None else self.gate_a) == (off if self.gate_b is None else self.gate_b)
        return (self.a == self.b).all(axis=1) & gates


@dataclass(frozen=True, slots=True)
class Unity:
    """How far a concept is one thing.

    Attributes:
        kappa: unity, at most 1; 0 is no more than unrelated inputs share. NaN where refused. ``coupling``: C. ``null``: C_null.
        refused: why there is no figure, or none. ``label``: what must be said beside the figure; empty if nothing.
        concept: what was named. ``left_out``: pairs without a gradient, or whose sides are one input.
    """

    kappa: Estimate
    coupling: Estimate
    null: Estimate
    refused: str | None = None
    label: str = ""
    concept: str = ""
    left_out: int = 0

    @property
    def fracture(self) -> Estimate:
        """``1 - kappa``."""
        k = self.kappa
        return Estimate(1 - k.value, 1 - k.high, 1 - k.low, k.level, k.n, k.unit, k.method)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        figures = {"kappa": self.kappa, "coupling": self.coupling, "null": self.null, "fracture": self.fracture}
        words = {"refused": self.refused, "label": self.label, "concept": self.concept, "left_out": self.left_out}
        return {k: e.to_json() for k, e in figures.items()} | words


def rows_of(passed: Pass, rows: I64 | Bool) -> Pass:
    """Some rows of a pass."""
    return Pass(
        tuple(h[rows] for h in passed.inputs),
        tuple(z[rows] for z in passed.sums),
        tuple(None if p is None else p[rows] for p in passed.private),
        passed.outputs[rows],
    )


def cosines(
    network: Network, a: Pass, da: Sequence[F64], b: Pass, db: Sequence[F64], *, layers: Sequence[int] | None = None
) -> F64:
    """Cosine of the parameter gradients of paired rows, ``(n,)``; NaN where one is zero."""
    inner = gradient_overlap(network, a, da, b, db, layers=layers)
    norms = gradient_overlap(network, a, da, a, da, layers=layers) * gradient_overlap(
        network, b, db, b, db, layers=layers
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norms > 0, np.clip(inner / np.sqrt(norms), -1, 1), np.nan)


def _nothing(n: int, why: str) -> Estimate:
    return Estimate(math.nan, -math.inf, math.inf, 0.95, n, "", why)


def _medians(values: F64, weights: F64) -> F64:
    """Median of weighted values for each draw. ``values``: ``(k,)``; ``weights``: ``(draws, k)``, how often each counts."""
    order = np.argsort(values, kind="stable")
    sorted_, running = values[order], np.cumsum(weights[:, order], axis=1)
    half = running[:, -1:] / 2
    low, high = (running < half).sum(axis=1), (running <= half).sum(axis=1)
    return np.where(half[:, 0] > 0, (sorted_[low % len(values)] + sorted_[high % len(values)]) / 2, np.nan)


def _figures(pair: F64, null: F64, stand: I64, codes: I64, m: int, seed: int) -> tuple[Estimate, Estimate, Estimate]:
    """kappa, C and C_null with percentile ends over resampled clusters.

    An unrelated overlap is of two clusters, that of the pair and that of its stand-in, and is drawn as often as both are.

    Args:
        pair: ``(n,)``. ``null``, ``stand``: ``(n, some)``, overlaps and the rows they are with.
    """
    method = f"clustered bootstrap of medians, percentile, {DRAWS} draws"
    c, c_null = float(np.median(pair)), float(np.median(null))
    rng, draws = np.random.default_rng(seed), np.empty((3, DRAWS))
    chunk = max(1, 4_000_000 // null.size)
    for start in range(0, DRAWS, chunk):
        at = slice(start, min(DRAWS, start + chunk))
        k = at.stop - at.start
        drawn = rng.multinomial(m, np.full(m, 1 / m), size=k).astype(np.float64)[:, codes]
        draws[1, at] = _medians(pair, drawn)
        draws[2, at] = _medians(null.ravel(), (drawn[:, :, None] * drawn[:, stand]).reshape(k, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        draws[0] = np.where(draws[2] < 1, (draws[1] - draws[2]) / (1 - draws[2]), np.nan)
    kappa = (c - c_null) / (1 - c_null) if c_null < 1 else math.nan
    out: list[Estimate] = []
    for value, each in zip((kappa, c, c_null), draws, strict=True):
        low, high = percentile_ends(each, 0.95, m / (m - 1), m - 1)
        out.append(Estimate(value, low, high, 0.95, m, "", method))
    return out[0], out[1], out[2]


def unity(
    network: Network,
    pairs: Pairs,
    *,
    readout: F64,
    seed: int = 0,
    layers: Sequence[int] | None = None,
    null: Null = "matched",
    balance: bool = True,
) -> Unity:
    """Unity of a concept over pairs, in the balanced gauge.

    Args:
        readout: ``(outputs,)``, what each output weighs in f.
        seed: of the unrelated inputs and of the resampling.
        layers: which parameters count; None: all.
        null: which inputs are unrelated: of like read-out, of like read-out and as far from a as b is, or any; none close to b.
        balance: fix the gauge first. False only to show what the gauge does.

    Returns:
        Figures, or a refusal with its reason: too few pairs, no true pairing, gradients that are not finite or are zero,
        no unrelated input, or unrelated inputs that overlap as pairs do.

    Raises:
        InputError: shapes that do not fit.
    """
    outputs, inputs = network.layers[-1].width, network.layers[0].weights.shape[0]
    if readout.shape != (outputs,) or pairs.a.shape[1] != inputs:
        raise InputError(
            f"the network takes {inputs} inputs and gives {outputs} outputs; pairs have {pairs.a.shape[1]} and the "
            f"read-out has shape {readout.shape}"
        )
    total = len(pairs)

    def refuse(why: str, left: int = 0) -> Unity:
        none = _nothing(total - left, why)
        return Unity(none, none, none, why, "", pairs.concept, left)

    alike = pairs.alike
    if total and alike.all() and not pairs.fold:
        return refuse("both sides of every pair are one input, so there is no pairing; pair inputs that differ")
    kept = pairs if pairs.fold else pairs.of(~alike)
    trivial = bool(pairs.fold) and bool((pairs.a == pairs.b).all())
    label = f"the architecture forces sharing ({pairs.fold}): true and trivial" if trivial else ""
    codes, m = group_codes(kept.cluster, len(kept))
    if m < LEAST_PAIRS:
        return refuse(f"{m} pairs or clusters of pairs; at least {LEAST_PAIRS} are needed", total - len(kept))
    fixed = balanced(network) if balance else network
    a, b = fixed.run(kept.a, gate=kept.gate_a), fixed.run(kept.b, gate=kept.gate_b)
    of = np.broadcast_to(readout, (len(kept), outputs))
    da, db = fixed.deltas(a, of), fixed.deltas(b, of)
    sizes = [gradient_overlap(fixed, p, d, p, d, layers=layers) for p, d in ((a, da), (b, db))]
    if not np.isfinite(sizes).all():
        bad = int((~np.isfinite(sizes).all(axis=0)).sum())
        return refuse(f"gradients of {bad} of {len(kept)} pairs are not finite; the network has values that overflow")
    least = 1e-24 * float(np.max(sizes))  # a gradient a million million times smaller than the largest is none
    live = (np.minimum(*sizes) > least) & (np.minimum(*sizes) > 0)
    dead = int((~live).sum())
    if dead > MOST_ZERO * len(kept):
        return refuse(f"{dead} of {len(kept)} pairs have no gradient: the output is saturated there", total - len(kept))
    left = total - len(kept) + dead
    a, b, da, db = rows_of(a, live), rows_of(b, live), [d[live] for d in da], [d[live] for d in db]
    codes, m = group_codes(codes[live].tolist(), int(live.sum()))
    if m < LEAST_PAIRS:
        return refuse(f"{m} pairs or clusters of pairs have a gradient; at least {LEAST_PAIRS} are needed", left)
    if not label and len(fixed.layers) > 1 and all(_same(p, q) for p, q in zip(a.inputs[1], b.inputs[1], strict=True)):
        label = "the architecture forces sharing (pairs are equal after the first layer): true and trivial"
    gate = np.zeros(len(kept), bool) if kept.gate_b is None else kept.gate_b
    rng = np.random.default_rng(stable_seed("unity null", seed))
    stand = unrelated(kept.a[live], kept.b[live], b.outputs @ readout, gate[live], codes, rng, null)
    if stand is None:
        return refuse("some pair has no unrelated input in its context; give pairs of several clusters", left)
    pair = cosines(fixed, a, da, b, db, layers=layers)
    off = np.stack([
        cosines(fixed, a, da, rows_of(b, j), [d[j] for d in db], layers=layers) for j in stand.T
    ], axis=1)  # fmt: skip
    kappa, c, c_null = _figures(pair, off, stand, codes, m, stable_seed("unity", seed))
    if c_null.value > MOST_NULL:
        why = f"unrelated inputs overlap by {c_null.value:.3f}, over {MOST_NULL}: pairs cannot be told from them"
        return Unity(_nothing(m, why), c, c_null, why, label, pairs.concept, left)
    return Unity(kappa, c, c_null, None, label, pairs.concept, left)


def _same(p: F64, q: F64) -> bool:
    return bool(np.allclose(p, q, rtol=1e-12, atol=1e-12))
