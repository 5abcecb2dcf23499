"""What every engine of ours does at its door: checks, queues, scores, streams; the batch behind it is the engine's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from homing.engine.base import Act, Direction, EngineInfo, Job, MeanRead, Read, Sampling, Score, SpanKind, Stream
from homing.engine.loop import Loop
from homing.engine.rows import Row
from homing.engine.score import ScoreJob
from homing.engine.stream import RowStream
from homing.engine.wants import Known, Wants
from homing.errors import TooLong, Unsupported

__all__ = ["Front"]


class Front:
    """The Engine protocol over a loop; an engine sets the attributes below and says how text and chance are made."""

    _info: EngineInfo
    _known: Known
    _loop: Loop
    _stops: frozenset[int]

    def _decode(self, tokens: list[int]) -> str:
        """Ids to text, without special tokens."""
        raise NotImplementedError

    def _generator(self, sampling: Sampling) -> Any:
        """The source of chance of one row."""
        raise NotImplementedError

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def register(self, direction: Direction) -> str:
        """Make a direction known; returns its content id."""
        return self._known.register(direction)

    def submit(self, job: Job) -> Stream:
        """Queue one job; see :class:`homing.engine.base.Engine`."""
        return self.submit_all([job])[0]

    def submit_all(self, jobs: Sequence[Job]) -> list[Stream]:
        """Queue several jobs at one step boundary, in this order."""
        loop = asyncio.get_running_loop()
        rows: list[Row] = []
        for job in jobs:
            self._check(job)
            stream = RowStream(loop=loop, hidden=self._info.hidden, cancel=self._cancel, update=self._update)
            given = job.sampling.stop_tokens
            row = Row(
                job,
                stream,
                stops=self._stops if given is None else frozenset(given),
                decode=self._decode,
                generator=self._generator(job.sampling),
            )
            stream.row = row
            rows.append(row)
        for row in rows:
            row.company = frozenset(j.tenant for j in jobs)
        self._loop.submit(rows)
        return [cast(Stream, r.stream) for r in rows]

    async def score(
        self,
        prompt: Sequence[int],
        continuations: Sequence[Sequence[int]],
        *,
        spans: Sequence[Sequence[SpanKind]] = (),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        tenant: str = "",
        logprobs: bool = True,
    ) -> list[Score]:
        """Log-probabilities of each continuation after the prompt, and what was read on it.

        Args:
            logprobs: False skips the vocabulary product where only readings are wanted.
        """
        job = ScoreJob(
            tuple(prompt),
            tuple(tuple(c) for c in continuations),
            tuple(tuple(s) for s in spans),
            tuple(acts),
            tuple(reads),
            tuple(means),
            logprobs,
            tenant,
        )
        return (await self.score_many([job]))[0]

    async def score_many(self, jobs: Sequence[ScoreJob]) -> list[list[Score]]:
        """Score many prompts at once, batched across them by length; one list of scores a job, in order."""
        for job in jobs:
            self._known.check(Wants(job.acts, job.reads, job.means))
            longest = max((len(c) for c in job.continuations), default=0) + len(job.prompt)
            if longest > self._info.context:
                raise TooLong(f"prompt and continuation have {longest} tokens; the context holds {self._info.context}")
            self._ids_fit(job.prompt)
            for c in job.continuations:
                self._ids_fit(c)
        if not jobs:
            return []
        return await asyncio.wrap_future(self._loop.score(jobs))

    async def close(self) -> None:
        """Stop the engine and leave the model as it was."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """The same from code without an event loop; waits for the step that is running."""
        raise NotImplementedError

    def _check(self, job: Job) -> None:
        self._known.check(Wants(job.acts, job.reads, job.means))
        self._ids_fit(job.tokens)
        need = len(job.tokens) + job.sampling.max_new_tokens
        if need > self._info.context:
            raise TooLong(
                f"{len(job.tokens)} prompt tokens and {job.sampling.max_new_tokens} new ones do not fit "
                f"in the context of {self._info.context}; shorten the prompt or the reply"
            )

    def _ids_fit(self, tokens: Sequence[int]) -> None:
        if tokens and not (min(tokens) >= 0 and max(tokens) < self._info.vocab):
            raise Unsupported(
                f"token ids lie between {min(tokens)} and {max(tokens)}; this model has 0 to {self._info.vocab - 1}"
            )

    def _cancel(self, stream: RowStream) -> None:
        self._loop.cancel(stream.row)

    def _update(self, stream: RowStream, acts: tuple[Act, ...]) -> None:
        self._known.check(Wants(acts))
        self._loop.update(stream.row, acts)
