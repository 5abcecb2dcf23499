"""Singular vectors of two checkpoints' matrices on the side of the residual stream: which of the one are strange to the other.

A fine-tuned matrix can have strong singular vectors that lie near none of the old ones ("intruder dimensions", 2410.21228). The
streams are laid over each other first, by the rotation that brings one embedding nearest to the other, so that a mere change of
basis is none. It says nothing of any concept.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh  # pyright: ignore[reportMissingTypeStubs]

from homing.fracture.decoder import READS, Decoder
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Estimate
from homing.stats.intervals import wilson
from homing.stats.seeds import stable_seed

__all__ = ["FAR", "TOP", "Panel", "Spectra", "panel", "spectra"]

F32 = NDArray[np.float32]
TOP = 10
"""Leading singular vectors of each matrix that are looked at."""
FAR = 0.6
"""A vector whose best cosine with the other's is under this is an intruder."""


@dataclass(frozen=True, eq=False, slots=True)
class Spectra:
    """Of one checkpoint.

    Attributes:
        vectors: ``(matrices, top, hidden)``. ``blocks``: of each matrix. ``embedding``: ``(vocab, hidden)``.
    """

    vectors: F32
    blocks: tuple[int, ...]
    embedding: F32


@dataclass(frozen=True, slots=True)
class Panel:
    """Two checkpoints.

    Attributes:
        intruders: share of the second's leading vectors that are far from all of the first's. ``overlap``: of the spaces that
            the leading vectors span, 1 where they are one. ``basis``: share of the second's embedding that the rotation explains.
    """

    intruders: Estimate
    overlap: Estimate
    basis: Estimate

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {k: getattr(self, k).to_json() for k in ("intruders", "overlap", "basis")}


@torch.no_grad()
def spectra(decoder: Decoder, *, top: int = TOP) -> Spectra:
    """Leading singular vectors of every matrix in the stream. Fix the gauge first."""
    found: list[F32] = []
    blocks: list[int] = []
    n = decoder.hidden
    for i, name, m in decoder.matrices():
        w = m.weight.float()
        gram = (w.T @ w if name in READS else w @ w.T).cpu().numpy()
        # the leading ones alone: all of them would take ten times as long
        _, v = eigh(gram, subset_by_index=[n - top, n - 1])
        found.append(v.T[::-1].astype(np.float32))
        blocks.append(i)
    return Spectra(np.stack(found), tuple(blocks), decoder.embedding.float().cpu().numpy().copy())


def panel(a: Spectra, b: Spectra) -> Panel:
    """The second against the first; matrices of one block are resampled together."""
    u, _, v = np.linalg.svd(b.embedding.T.astype(np.float64) @ a.embedding.astype(np.float64))
    turn = u @ v
    left = float(((b.embedding @ turn - a.embedding) ** 2).sum() / (b.embedding.astype(np.float64) ** 2).sum())
    cos = np.einsum("mkh,mlh->mkl", b.vectors @ turn, a.vectors.astype(np.float64))
    best = np.abs(cos).max(axis=2)
    shared = (cos**2).sum(axis=(1, 2)) / cos.shape[1]
    far = (best < FAR).mean(axis=1)
    blocks, seed = list(a.blocks), stable_seed("fracture panel")
    n = cos.shape[0] * cos.shape[1]
    intruders = (
        bootstrap_mean(far, seed=seed, clusters=blocks) if np.ptp(far) else wilson(int(far[0] * n), n)
    )  # fmt: skip
    value = max(0.0, 1 - left)
    return Panel(
        intruders,
        bootstrap_mean(shared, seed=seed, clusters=blocks),
        Estimate(value, value, value, 0.95, len(a.embedding), "", "share of squares, of all tokens"),
    )
