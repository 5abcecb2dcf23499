"""One continuation of one prompt, on its way to a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.engine.rows import Log
from homing.engine.score import ScoreJob
from homing.engine.wants import Wants, codes_of

__all__ = ["Line", "lines_of"]

F32 = NDArray[np.float32]


@dataclass(eq=False)
class Line:
    """``lead`` tokens to run (the prompt), then the continuation.

    Attributes:
        job, index: which job, and which of its continuations. codes: span codes of both. read: -1 where nothing is read.
        values: log-probabilities of the continuation, filled in by what runs it. tenant: under whom its prompt may be kept.
    """

    job: int
    index: int
    lead: tuple[int, ...]
    tail: tuple[int, ...]
    codes: NDArray[np.int8]
    read: NDArray[np.int8]
    wants: Wants
    logprobs: bool
    log: Log
    values: F32
    tenant: str = ""

    @property
    def size(self) -> int:
        """Tokens of both."""
        return len(self.lead) + len(self.tail)


def lines_of(jobs: Sequence[ScoreJob]) -> list[Line]:
    """One line a continuation, in order."""
    out: list[Line] = []
    for j, job in enumerate(jobs):
        wants, lead = Wants(job.acts, job.reads, job.means), codes_of((), len(job.prompt))
        unread = np.full(len(lead), -1, np.int8)
        for k, tail in enumerate(job.continuations):
            codes = codes_of(job.spans[k] if job.spans else (), len(tail), default="reply")
            out.append(
                Line(
                    j,
                    k,
                    job.prompt,
                    tail,
                    np.concatenate([lead, codes]),
                    np.concatenate([unread, codes]),
                    wants,
                    job.logprobs,
                    Log(len(job.prompt) + len(tail)),
                    np.full(len(tail), np.nan, np.float32),
                    job.tenant,
                )
            )
    return out
