"""One scoring job as data, so that many can be batched across prompts."""

from __future__ import annotations

from dataclasses import dataclass

from homing.engine.base import Act, MeanRead, Read, SpanKind
from homing.errors import InputError

__all__ = ["ScoreJob"]


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Continuations of one prompt to score or to read.

    Args:
        prompt: token ids; may be empty. ``continuations``: token ids of each.
        spans: one sequence a continuation, one SpanKind a token; empty: all ``reply``. The prompt counts as ``prompt``.
        acts, reads, means: for every continuation; acts also touch the prompt where their spans say so.
        logprobs: False skips the vocabulary product where only readings are wanted; log-probabilities are then NaN.
        tenant: kept for engines that share prompts.
    """

    prompt: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]
    spans: tuple[tuple[SpanKind, ...], ...] = ()
    acts: tuple[Act, ...] = ()
    reads: tuple[Read, ...] = ()
    means: tuple[MeanRead, ...] = ()
    logprobs: bool = True
    tenant: str = ""

    def __post_init__(self) -> None:
        for i, c in enumerate(self.continuations):
            if not c:
                raise InputError(f"continuation {i} has no tokens; give at least one")
        if self.spans and [len(s) for s in self.spans] != [len(c) for c in self.continuations]:
            raise InputError("spans of a scoring job do not fit its continuations; give one span a token of each")
