"""What a concept is read from: residual vectors of two classes in several contexts, and their inner products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.stats._resample import cluster_weights
from homing.stats._special import F64, I64

__all__ = ["LEAST", "Context", "Contexts", "Units"]

LEAST = 16
"""Independent prompts that a class of a context needs: under that a direction and its own noise are not told apart."""

Labels = Sequence[Any] | npt.NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class Context:
    """One context: residual vectors at one layer where the concept holds, and where it does not.

    Args:
        name: for people to read.
        positive: ``(n, hidden)``. ``negative``: ``(m, hidden)``.
        positive_clusters, negative_clusters: the prompt of each vector. Vectors of one prompt and class count as one, by their
            mean; a prompt of one name is the same prompt in both classes and in every context. None: each its own.
    """

    name: str
    positive: F64
    negative: F64
    positive_clusters: Labels | None = None
    negative_clusters: Labels | None = None

    def __post_init__(self) -> None:
        for side, given in (("positive", self.positive), ("negative", self.negative)):
            x = np.asarray(given, np.float64)
            where = f"context {self.name!r}, {side}"
            if x.ndim != 2 or x.shape[1] == 0:
                raise InputError(f"{where}: vectors have shape {x.shape}; give (n, hidden)")
            if not np.isfinite(x).all():
                bad = int((~np.isfinite(x).all(axis=1)).sum())
                raise InputError(f"{where}: {bad} of {len(x)} vectors are not finite; leave them out")
            labels: Labels | None = getattr(self, f"{side}_clusters")
            if labels is not None and len(labels) != len(x):
                raise InputError(f"{where}: {len(labels)} cluster labels for {len(x)} vectors; give one a vector")
            n = len(x) if labels is None else len({str(c) for c in labels})
            if n < LEAST:
                raise InputError(
                    f"{where}: {n} independent prompts; at least {LEAST} are needed, so add prompts or merge contexts"
                )
            if not np.ptp(x, axis=0).any():
                raise InputError(
                    f"{where}: every feature is constant over {len(x)} vectors; nothing varies to be measured"
                )
            object.__setattr__(self, side, x)

    def units(self, side: str, number: int) -> tuple[F64, list[str]]:
        """Means of each prompt of a class, ``(prompts, hidden)``, and the prompts' names."""
        x: F64 = getattr(self, side)
        labels: Labels | None = getattr(self, f"{side}_clusters")
        if labels is None:
            return x, [f"\0{number}/{side}/{i}" for i in range(len(x))]
        names, codes = np.unique(np.asarray([str(c) for c in labels]), return_inverse=True)
        sums = np.zeros((len(names), x.shape[1]))
        np.add.at(sums, codes, x)
        return sums / np.bincount(codes)[:, None], [str(n) for n in names]


@dataclass(frozen=True, eq=False, slots=True)
class Contexts:
    """Two or more contexts of one concept; four or more are better."""

    contexts: tuple[Context, ...]

    def __post_init__(self) -> None:
        if len(self.contexts) < 2:
            raise InputError(
                f"{len(self.contexts)} contexts; whether a concept is one thing needs at least two, better four"
            )
        names = [c.name for c in self.contexts]
        if len(set(names)) < len(names):
            raise InputError(f"contexts are named {', '.join(names)}; give each a name of its own")
        sizes = {c.name: (c.positive.shape[1], c.negative.shape[1]) for c in self.contexts}
        if len({s for pair in sizes.values() for s in pair}) > 1:
            said = ", ".join(f"{k} {a}/{b}" for k, (a, b) in sizes.items())
            raise InputError(f"vectors have different hidden sizes ({said}); take all from one layer of one model")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the contexts, in order."""
        return tuple(c.name for c in self.contexts)


@dataclass(frozen=True, eq=False, slots=True)
class Units:
    """Every independent vector of every context, with the inner products of all of them.

    Directions of contexts are weights on these vectors, so a resample costs one product with ``gram``.

    Attributes:
        x: ``(units, hidden)``, the mean of all taken out. ``gram``: ``(units, units)``.
        block: ``(units,)``, 2 g for the positives of context g and 2 g + 1 for its negatives.
        cluster: ``(units,)``, the prompt. ``at``: ``(clusters, blocks)``, the unit of a prompt in a block, or -1.
        names: of the contexts. ``kinds``: clusters by the blocks that they are in; each kind is resampled and halved on its own.
    """

    x: F64
    gram: F64
    block: I64
    cluster: I64
    at: I64
    names: tuple[str, ...]
    kinds: tuple[I64, ...]

    @classmethod
    def of(cls, contexts: Contexts) -> Units:
        """Collapse each class of each context to its prompts."""
        parts, blocks, labels = list[F64](), list[int](), list[str]()
        for g, c in enumerate(contexts.contexts):
            for s, side in enumerate(("positive", "negative")):
                x, names = c.units(side, g)
                parts.append(x)
                blocks += [2 * g + s] * len(x)
                labels += names
        every = np.concatenate(parts)
        every = every - every.mean(axis=0)
        cluster = np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)
        block = np.asarray(blocks, np.int64)
        at = np.full((int(cluster.max()) + 1, 2 * len(contexts.contexts)), -1, np.int64)
        at[cluster, block] = np.arange(len(block))
        kind = np.unique(at >= 0, axis=0, return_inverse=True)[1].ravel()
        kinds = tuple(np.flatnonzero(kind == k) for k in range(int(kind.max()) + 1))
        return cls(every, every @ every.T, block, cluster, at, contexts.names, kinds)

    @property
    def count(self) -> int:
        """Contexts."""
        return len(self.names)

    @property
    def sizes(self) -> I64:
        """Units of each block, ``(blocks,)``."""
        return np.bincount(self.block, minlength=2 * self.count)

    @property
    def least(self) -> int:
        """Units of the smallest block."""
        return int(self.sizes.min())

    def resampled(self, draws: int, rng: np.random.Generator) -> F64:
        """How often each cluster is drawn, ``(draws, clusters)``."""
        return cluster_weights(rng, self.kinds, len(self.at), draws)

    def halves(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Two disjoint halves of the units, ``(units,)`` each; a prompt is in one of them with all that it has."""
        first = np.zeros(len(self.at), bool)
        spare = bool(rng.integers(2))  # which half gets the odd one of a stratum, in turn
        for s in self.kinds:
            more = len(s) % 2 and spare
            spare ^= bool(len(s) % 2)
            first[rng.permutation(s)[: len(s) // 2 + more]] = True
        mask = first[self.cluster]
        return mask, ~mask

    def directions(self, rows: npt.NDArray[np.bool_] | None = None) -> F64:
        """Mean of positives less mean of negatives of each context, over some units or all, ``(contexts, hidden)``."""
        use = self.block[:, None] == np.arange(2 * self.count)
        if rows is not None:
            use &= rows[:, None]
        means = (use.T.astype(np.float64) @ self.x) / use.sum(axis=0)[:, None]
        return means[0::2] - means[1::2]

    def contrast(self) -> F64:
        """Blocks to contexts, ``(blocks, contexts)``: +1 for a context's positives, -1 for its negatives."""
        out = np.zeros((2 * self.count, self.count))
        g = np.arange(self.count)
        out[2 * g, g], out[2 * g + 1, g] = 1.0, -1.0
        return out

    def sums(self, gram: F64, weights: F64) -> tuple[F64, F64]:
        """Weighted sums of inner products between blocks, ``(draws, blocks, blocks)``: of all pairs, and of a prompt with itself.

        Args:
            gram: ``(units, units)``. ``weights``: of each cluster, ``(draws, clusters)``.
        """
        b2 = 2 * self.count
        each = weights[:, self.cluster]
        member = (self.block[:, None] == np.arange(b2)).astype(np.float64)
        every = np.empty((len(weights), b2, b2))
        for b in range(b2):
            rows = self.block == b
            every[:, b] = ((each[:, rows] @ gram[rows]) * each) @ member
        there = self.at >= 0
        own = gram[self.at[:, :, None], self.at[:, None, :]] * (there[:, :, None] & there[:, None, :])
        same = (weights**2 @ own.reshape(len(own), -1)).reshape(-1, b2, b2)
        return every, same

    def pairs(self, weights: F64) -> tuple[F64, F64]:
        """The same sums with every inner product 1: all pairs, and those of a prompt with itself."""
        b2 = 2 * self.count
        total = weights @ (self.at >= 0)
        there = (self.at >= 0).astype(np.float64)
        same = (weights**2 @ (there[:, :, None] * there[:, None, :]).reshape(len(there), -1)).reshape(-1, b2, b2)
        return total[:, :, None] * total[:, None, :], same

    def products(self, weights: F64) -> tuple[F64, F64]:
        """Inner products of the contexts' directions, ``(draws, contexts, contexts)``: as they are, and without noise.

        Without noise: from pairs of *different* prompts only, which share no noise. It is the mean over all ways to halve the
        prompts of one half's direction times the other's, and unbiased; a squared length may come out under 0.
        """
        (every, same), (pairs, own), c = self.sums(self.gram, weights), self.pairs(weights), self.contrast()
        with np.errstate(invalid="ignore", divide="ignore"):
            plain, clean = every / pairs, (every - same) / (pairs - own)
        return c.T @ plain @ c, c.T @ clean @ c

    def residuals(self) -> F64:
        """Every vector less the mean of its block, at the scale of the noise, ``(units, hidden)``."""
        sizes = self.sizes
        means = np.stack([self.x[self.block == b].mean(axis=0) for b in range(len(sizes))])
        return (self.x - means[self.block]) * np.sqrt(sizes / (sizes - 1))[self.block][:, None]

    def noise_products(self, residuals: F64, multipliers: F64) -> tuple[F64, F64]:
        """As :meth:`products`, of directions that are noise alone: each prompt's residual times a random number.

        Args:
            residuals: of :meth:`residuals`. ``multipliers``: of each cluster, ``(draws, clusters)``, of mean 0 and variance 1.
        """
        every, same = self.sums(residuals @ residuals.T, multipliers)
        (pairs, own), c = self.pairs(np.ones((1, len(self.at)))), self.contrast()
        return c.T @ (every / pairs) @ c, c.T @ ((every - same) / (pairs - own)) @ c
