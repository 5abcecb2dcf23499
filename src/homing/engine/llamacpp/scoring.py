"""Continuations of prompts in one decode: forks of the prompt, each with its own acts and reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Score
from homing.engine.llamacpp.feeds import Feed
from homing.engine.llamacpp.passes import Passes
from homing.engine.llamacpp.sampler import log_normaliser
from homing.engine.llamacpp.sequences import Sequences
from homing.engine.rows import Log, score_of
from homing.engine.score import ScoreJob
from homing.engine.wants import Wants, codes_of
from homing.errors import Busy

__all__ = ["Scoring"]

F32 = NDArray[np.float32]


class Scoring:
    """Scores beside running rows.

    Args:
        passes: runs feeds. ``sequences``: gives forks their place.
    """

    def __init__(self, passes: Passes, sequences: Sequences) -> None:
        self.passes, self.sequences = passes, sequences

    def job(self, job: ScoreJob, used: Callable[[], int]) -> Iterator[list[Score]]:
        """The scores of one job, some at a time.

        Args:
            used: cells of running rows, which may come and go in between.
        """
        todo = list(enumerate(job.continuations))
        while todo:
            scores = self._some(job, todo, used())
            todo = todo[len(scores) :]
            yield scores

    def _some(self, job: ScoreJob, todo: Sequence[tuple[int, tuple[int, ...]]], used: int) -> list[Score]:
        """Score as many continuations as forks and cells allow, at least one; the prompt is computed once for them."""
        wants = Wants(job.acts, job.reads, job.means)
        lead = codes_of((), len(job.prompt))
        base = self.sequences.room(len(job.prompt), used) if len(todo) > 1 and len(job.prompt) > 1 else None
        shared = len(job.prompt) - 1 if base is not None else 0
        feeds: list[Feed] = []
        sizes: list[int] = []
        try:
            if base is not None:
                unread = np.full(shared, -1, np.int8)
                none = np.zeros(shared, bool)
                feed = Feed(base, job.prompt[:shared], lead[:shared], unread, Wants(job.acts), Log(shared), wanted=none)
                self.passes.run([feed], lambda i, token, logits: None)
            for k, tail in todo:
                size = len(job.prompt) + len(tail) - shared
                if feeds and sum(sizes) + size > self.passes.context.rows:
                    break
                sequence = self.sequences.room(size, used)
                if sequence is None:
                    break
                tail_codes = codes_of(job.spans[k] if job.spans else (), len(tail), default="reply")
                n = len(job.prompt) + len(tail)
                feed = Feed(
                    sequence, (*job.prompt, *tail), np.concatenate([lead, tail_codes]),
                    np.concatenate([np.full(len(lead), -1, np.int8), tail_codes]), wants, Log(n), known=shared,
                )  # fmt: skip
                at = np.arange(shared, n)
                feed.wanted = (at >= max(len(job.prompt) - 1, 0)) & (at < n - 1) & job.logprobs
                if base is not None:
                    self.passes.context.copy(base, sequence, shared)
                feeds.append(feed)
                sizes.append(size)
            if not feeds:
                need = len(job.prompt) + len(todo[0][1])
                raise Busy(f"the running rows leave no room for {need} tokens to score; wait for them to end")
            values = [np.full(len(f.tokens) - len(job.prompt), np.nan, np.float32) for f in feeds]

            def take(i: int, token: int, logits: F32) -> None:
                target = feeds[i].tokens[token + 1]
                values[i][token + 1 - len(job.prompt)] = float(logits[target]) - log_normaliser(logits)

            self.passes.run(feeds, take)
        finally:
            for f, size in zip(feeds, sizes, strict=True):
                self.sequences.release(f.sequence, size)
            if base is not None:
                self.sequences.release(base, len(job.prompt))
        return [
            score_of(f.log, f.wants, f.codes, len(job.prompt), v, hidden=self.passes.context.weights.hidden)
            for f, v in zip(feeds, values, strict=True)
        ]
