"""Continuations of prompts in one decode: forks of the prompt, each with its own acts and reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Score
from homing.engine.llamacpp.feeds import LEAST, Feed
from homing.engine.llamacpp.passes import Passes
from homing.engine.llamacpp.sampler import log_normaliser
from homing.engine.llamacpp.sequences import Sequences
from homing.engine.prefixes import Prefix, common
from homing.engine.rows import Log, score_of
from homing.engine.score import ScoreJob
from homing.engine.wants import Wants, codes_of, effective
from homing.errors import Busy

__all__ = ["Scoring", "stretches"]

F32 = NDArray[np.float32]
SPARE = 2
"""Sequences that jobs which run together leave free."""


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
            trunk = (
                self._trunk(jobs[start], shared or len(jobs[start].prompt) - 1)
                if _has_trunk(jobs[start], shared)
                else None
            )
            try:
                at = start
                while at < stop:
                    together = self._together(jobs[at:stop], trunk) if trunk is not None else []
                    if together:
                        out += together
                        at += len(together)
                        yield None
                        continue
                    job, scores = jobs[at], list[Score]()
                    while len(scores) < len(job.continuations):
                        scores += self._some(job, list(enumerate(job.continuations))[len(scores) :], trunk)
                        yield None
                    out.append(scores)
                    at += 1
            finally:
                if trunk is not None:
                    self._leave(trunk)
        yield out

    def _trunk(self, job: ScoreJob, tokens: int) -> Feed | None:
        """The first tokens of a prompt in a sequence of their own, or None where there is no room.

        What the job's tenant has kept of them is not run again.
        """
        hit = self._kept(job, tokens)
        sequence = self.sequences.room(tokens, self.used(), spare=hit and hit.stored)
        if sequence is None:
            return None
        trunk = _unread(sequence, job, tokens)
        trunk.tenant = job.tenant
        self._begin(trunk, None, hit)
        try:
            self.passes.run([trunk], lambda i, token, logits: None)
        except BaseException:
            self.sequences.release(sequence, tokens)
            raise
        return trunk

    def _leave(self, trunk: Feed) -> None:
        """Keep a trunk for what its tenant asks next, where it is more than what was kept before.

        One that was acted on is not: by how much was not noted, and a row would want to know it.
        """
        if trunk.tenant and not trunk.wants.acts and len(trunk.tokens) - trunk.known >= LEAST:
            self.sequences.keep(trunk.tenant, trunk.head(len(trunk.tokens)))
        else:
            self.sequences.release(trunk.sequence, len(trunk.tokens))

    def _together(self, jobs: Sequence[ScoreJob], trunk: Feed) -> list[list[Score]]:
        """Scores of the first few jobs that start from a trunk: all their prompts in one run, all continuations in another.

        As many as fit without letting go of what is kept; none where that is fewer than two.
        """
        used, free, rows, chosen = self.used(), self.sequences.free, 0, list[ScoreJob]()
        for job in jobs:
            tails = sum(len(t) + 1 for t in job.continuations)
            free -= 1 + len(job.continuations)
            if not job.continuations or free < SPARE or rows + tails > self.passes.context.rows:
                break
            rows += tails
            chosen.append(job)
        if len(chosen) < 2:
            return []
        given: list[tuple[int, int]] = []

        def room(tokens: int) -> int | None:
            sequence = self.sequences.room(tokens, used)
            if sequence is not None:
                given.append((sequence, tokens))
            return sequence

        try:
            bases: list[Feed] = []
            for job in chosen:
                sequence = room(len(job.prompt) - 1)
                if sequence is None:
                    return []
                bases.append(_unread(sequence, job, len(job.prompt) - 1))
                self._begin(bases[-1], trunk, self._kept(job, len(job.prompt) - 1))
            self.passes.run([b for b in bases if b.known < len(b.tokens)], lambda i, token, logits: None)
            feeds: list[Feed] = []
            of: list[int] = []
            for k, job in enumerate(chosen):
                for n in range(len(job.continuations)):
                    sequence = room(len(job.continuations[n]) + 1)
                    if sequence is None:
                        return []
                    feeds.append(_continued(sequence, job, n))
                    self._begin(feeds[-1], bases[k])
                    of.append(k)
            values = self._values(feeds, [len(chosen[k].prompt) for k in of])
        finally:
            for sequence, tokens in given:
                self.sequences.release(sequence, tokens)
        hidden, scores = self.passes.context.weights.hidden, [list[Score]() for _ in chosen]
        for f, v, k in zip(feeds, values, of, strict=True):
            scores[k].append(score_of(f.log, f.wants, f.codes, len(chosen[k].prompt), v, hidden=hidden))
        return scores

    def _values(self, feeds: Sequence[Feed], leads: Sequence[int]) -> list[F32]:
        """Run continuations; the log-probability of each of their tokens. ``leads``: tokens of the prompt of each."""
        values = [np.full(len(f.tokens) - lead, np.nan, np.float32) for f, lead in zip(feeds, leads, strict=True)]

        def take(i: int, token: int, logits: F32) -> None:
            target = feeds[i].tokens[token + 1]
            values[i][token + 1 - leads[i]] = float(logits[target]) - log_normaliser(logits)

        self.passes.run(feeds, take)
        return values

    def _begin(self, feed: Feed, from_: Feed | None, kept: Prefix | None = None) -> None:
        """Give a feed the cells of its first tokens: those that another feed holds, as many as leave one to run, or more kept."""
        known = min(len(from_.tokens), len(feed.tokens) - 1, feed.lead) if from_ is not None else 0
        if kept is not None and len(kept.tokens) > known:
            known = len(kept.tokens)
            self.passes.context.copy(kept.kv, feed.sequence, known)
        elif from_ is not None:
            self.passes.context.copy(from_.sequence, feed.sequence, known)
        feed.wanted, feed.known = feed.wanted[known:], known

    def _kept(self, job: ScoreJob, tokens: int) -> Prefix | None:
        """What the job's tenant has kept of so many of its first tokens."""
        if not job.tenant:
            return None
        return self.sequences.store.nearest(
            job.tenant, job.prompt[:tokens], codes_of((), tokens), Wants(job.acts), most=tokens, least=LEAST
        )

    def _some(self, job: ScoreJob, todo: Sequence[tuple[int, tuple[int, ...]]], trunk: Feed | None) -> list[Score]:
        """Score as many continuations as forks and cells allow, at least one; the prompt is computed once for them."""
        used, lead = self.used(), len(job.prompt)
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
                feed = _continued(sequence, job, k)
                self._begin(feed, base or trunk)
                feeds.append(feed)
                sizes.append(size)
            if not feeds:
                need = lead + len(todo[0][1])
                raise Busy(f"the running rows leave no room for {need} tokens to score; wait for them to end")
            values = self._values(feeds, [lead] * len(feeds))
        finally:
            for f, size in zip(feeds, sizes, strict=True):
                self.sequences.release(f.sequence, size)
            if room is not None:
                self.sequences.release(room, lead)
        return [
            score_of(f.log, f.wants, f.codes, lead, v, hidden=self.passes.context.weights.hidden)
            for f, v in zip(feeds, values, strict=True)
        ]


def _continued(sequence: int, job: ScoreJob, k: int) -> Feed:
    """A prompt with its continuation ``k``, of which that alone is read and gives logits."""
    tail, lead = job.continuations[k], len(job.prompt)
    n = lead + len(tail)
    said = codes_of(job.spans[k] if job.spans else (), len(tail), default="reply")
    read = np.concatenate([np.full(lead, -1, np.int8), said])
    at = np.arange(n)
    wanted = (at >= max(lead - 1, 0)) & (at < n - 1) & job.logprobs
    return Feed(
        sequence, (*job.prompt, *tail), np.concatenate([codes_of((), lead), said]), read,
        Wants(job.acts, job.reads, job.means), Log(n), wanted=wanted, lead=max(lead - 1, 0),
    )  # fmt: skip


def _has_trunk(job: ScoreJob, shared: int) -> bool:
    """Whether jobs share a beginning, or the tenant of one alone may have kept it."""
    return shared > 0 or (job.tenant != "" and len(job.prompt) > LEAST)


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
        while (
            stop < len(jobs)
            and jobs[stop].tenant == jobs[start].tenant
            and effective(jobs[stop].acts, codes_of((), 1)) == touching
        ):
            both = common(jobs[start].prompt[:shared], jobs[stop].prompt[:-1])
            if both < LEAST or (stop > start + 1 and both < 0.75 * shared):
                break
            stop, shared = stop + 1, both
        out.append((start, stop, shared if stop > start + 1 else 0))
        start = stop
    return out
