"""Continuations of prompts in one decode: forks of the prompt, each with its own acts and reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Score
from homing.engine.llamacpp.feeds import LEAST, Feed, common
from homing.engine.llamacpp.passes import Passes
from homing.engine.llamacpp.sampler import log_normaliser
from homing.engine.llamacpp.sequences import Sequences
from homing.engine.rows import Log, score_of
from homing.engine.score import ScoreJob
from homing.engine.wants import Wants, codes_of, effective
from homing.errors import Busy

__all__ = ["Scoring", "stretches"]

F32 = NDArray[np.float32]


class Scoring:
    """Scores beside running rows.

    Args:
        passes: runs feeds. ``sequences``: gives forks their place. ``used``: cells of running rows, which come and go.
    """

    def __init__(self, passes: Passes, sequences: Sequences, used: Callable[[], int]) -> None:
        self.passes, self.sequences, self.used = passes, sequences, used

    def jobs(self, jobs: Sequence[ScoreJob]) -> Iterator[list[list[Score]] | None]:
        """The scores of jobs in order; None after each slice. What jobs after each other begin with is run once for them."""
        out: list[list[Score]] = []
        for start, stop, shared in stretches(jobs):
            trunk = self._trunk(jobs[start], shared) if shared else None
            try:
                for job in jobs[start:stop]:
                    scores: list[Score] = []
                    while len(scores) < len(job.continuations):
                        scores += self._some(job, list(enumerate(job.continuations))[len(scores) :], trunk)
                        yield None
                    out.append(scores)
            finally:
                if trunk is not None:
                    self.sequences.release(trunk.sequence, len(trunk.tokens))
        yield out

    def _trunk(self, job: ScoreJob, tokens: int) -> Feed | None:
        """The first tokens of a prompt in a sequence of their own, or None where there is no room."""
        sequence = self.sequences.room(tokens, self.used())
        if sequence is None:
            return None
        trunk = _unread(sequence, job, tokens)
        try:
            self.passes.run([trunk], lambda i, token, logits: None)
        except BaseException:
            self.sequences.release(sequence, tokens)
            raise
        return trunk

    def _begin(self, feed: Feed, from_: Feed | None) -> None:
        """Give a feed the cells that another holds of its first tokens, as many as leave one to run."""
        if from_ is not None:
            known = min(len(from_.tokens), len(feed.tokens) - 1, feed.lead)
            self.passes.context.copy(from_.sequence, feed.sequence, known)
            feed.wanted, feed.known = feed.wanted[known:], known

    def _some(self, job: ScoreJob, todo: Sequence[tuple[int, tuple[int, ...]]], trunk: Feed | None) -> list[Score]:
        """Score as many continuations as forks and cells allow, at least one; the prompt is computed once for them."""
        wants = Wants(job.acts, job.reads, job.means)
        used, lead = self.used(), len(job.prompt)
        prompt = codes_of((), lead)
        room = self.sequences.room(lead, used) if len(todo) > 1 and lead > 1 else None
        base = None if room is None else _unread(room, job, lead - 1)
        feeds: list[Feed] = []
        sizes: list[int] = []
        try:
            if base is not None:
                self._begin(base, trunk)
                self.passes.run([base], lambda i, token, logits: None)
            for k, tail in todo:
                n = lead + len(tail)
                size = n if base is None else n - len(base.tokens)
                if feeds and sum(sizes) + size > self.passes.context.rows:
                    break
                sequence = self.sequences.room(size, used)
                if sequence is None:
                    break
                said = codes_of(job.spans[k] if job.spans else (), len(tail), default="reply")
                read = np.concatenate([np.full(lead, -1, np.int8), said])
                at = np.arange(n)
                wanted = (at >= max(lead - 1, 0)) & (at < n - 1) & job.logprobs
                feed = Feed(
                    sequence, (*job.prompt, *tail), np.concatenate([prompt, said]), read, wants, Log(n), wanted=wanted,
                    lead=max(lead - 1, 0),
                )  # fmt: skip
                self._begin(feed, base or trunk)
                feeds.append(feed)
                sizes.append(size)
            if not feeds:
                need = lead + len(todo[0][1])
                raise Busy(f"the running rows leave no room for {need} tokens to score; wait for them to end")
            values = [np.full(len(f.tokens) - lead, np.nan, np.float32) for f in feeds]

            def take(i: int, token: int, logits: F32) -> None:
                target = feeds[i].tokens[token + 1]
                values[i][token + 1 - lead] = float(logits[target]) - log_normaliser(logits)

            self.passes.run(feeds, take)
        finally:
            for f, size in zip(feeds, sizes, strict=True):
                self.sequences.release(f.sequence, size)
            if room is not None:
                self.sequences.release(room, lead)
        return [
            score_of(f.log, f.wants, f.codes, lead, v, hidden=self.passes.context.weights.hidden)
            for f, v in zip(feeds, values, strict=True)
        ]


def _unread(sequence: int, job: ScoreJob, tokens: int) -> Feed:
    """The first tokens of a prompt, acted on and not read."""
    unread = np.full(tokens, -1, np.int8)
    none = np.zeros(tokens, bool)
    prompt = job.prompt[:tokens]
    return Feed(sequence, prompt, codes_of((), tokens), unread, Wants(job.acts), Log(tokens), wanted=none, lead=tokens)


def stretches(jobs: Sequence[ScoreJob]) -> list[tuple[int, int, int]]:
    """Jobs that follow each other and begin alike: first, past the last, and how many tokens they share (0: a job alone).

    A stretch ends where the next job would cut what is shared by more than a quarter: forks of one conversation stay
    together, and a system prompt that all conversations have does not hold them.
    """
    out: list[tuple[int, int, int]] = []
    start = 0
    while start < len(jobs):
        stop, shared = start + 1, len(jobs[start].prompt) - 1
        touching = effective(jobs[start].acts, codes_of((), 1))
        while stop < len(jobs) and effective(jobs[stop].acts, codes_of((), 1)) == touching:
            both = common(jobs[start].prompt[:shared], jobs[stop].prompt[:-1])
            if both < LEAST or (stop > start + 1 and both < 0.75 * shared):
                break
            stop, shared = stop + 1, both
        out.append((start, stop, shared if stop > start + 1 else 0))
        start = stop
    return out
