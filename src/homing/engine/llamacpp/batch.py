"""The running rows of a llama.cpp context: prompts, forks and steps, each row with its own acts and reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Score, SpanKind
from homing.engine.llamacpp.feeds import LEAST, Feed
from homing.engine.llamacpp.passes import Passes
from homing.engine.llamacpp.sampler import draw
from homing.engine.llamacpp.scoring import Scoring
from homing.engine.llamacpp.sequences import Sequences
from homing.engine.loop import Left
from homing.engine.prefixes import Prefix
from homing.engine.rows import Log, Row
from homing.engine.score import ScoreJob
from homing.engine.wants import CODE, Wants

__all__ = ["LlamaBatch"]

F32 = NDArray[np.float32]
_Fed = tuple[SpanKind, tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]
"""A generated token that is in the cells: its span, what was read on it, by how much it was moved."""


class LlamaBatch:
    """Rows decoded together; see :class:`homing.engine.loop.Batch`.

    Which cells a row gets decides the last bits of its attention sums, and with quantised weights what it says. So a
    resting engine forgets everything before it begins anew, and the same work gives the same bytes, whatever ran before.
    What a tenant keeps is the exception: it stays while nothing but that tenant's work is asked for.

    Args:
        passes: runs rows. ``slots``: most of them. ``cells``: tokens that they may fill.
        remember: keep stored prefixes, and the places of cells, whatever is asked for next.
    """

    def __init__(self, passes: Passes, *, slots: int, cells: int, remember: bool = False) -> None:
        self.passes, self.context = passes, passes.context
        self.slots, self.cells, self.remember = slots, cells, remember
        self.rows: list[Row] = []
        self.sequences = Sequences(self.context)
        self._scoring = Scoring(passes, self.sequences, lambda: _need(self.rows))
        self._sequence: dict[Row, int] = {}
        self._fed: dict[Row, list[_Fed]] = {}
        self._tenants: set[str] = set()

    def fits(self, rows: Sequence[Row], new: Row) -> bool:
        """Whether ``new`` may join together with ``rows``, by slots and by cells."""
        everyone = [*self.rows, *rows, new]
        if len(everyone) > self.slots:
            return False
        return len(everyone) == 1 or _need(everyone) <= self.cells

    def join(self, new: list[Row]) -> list[Left]:
        """Run the prompts of rows, in this order, and draw their first tokens."""
        self._start_anew({tenant for row in new for tenant in row.company})
        for row in new:
            self._sequence[row] = self.sequences.take()
            self._fed[row] = []
        self._store_summed(new)
        feeds: list[Feed] = []
        for row in new:
            n, sequence = len(row.job.tokens), self._sequence[row]
            feed = Feed(sequence, row.job.tokens, row.codes, row.codes, row.wants, row.log, row.job.tenant)
            feed.wanted = np.arange(n) == n - 1
            hit = self.sequences.store.nearest(
                row.job.tenant, row.job.tokens, row.codes, row.wants, most=n - 1, least=LEAST
            )
            if hit is not None:
                feed.start(hit)
                self.context.copy(hit.kv, sequence, feed.known)
            feeds.append(feed)
        self.rows += new
        self.sequences.shrink(_need(self.rows))
        drawn: dict[int, list[Left]] = {}

        def first(i: int, _token: int, logits: F32) -> None:
            drawn[i] = self._accept(new[i], logits)

        self.passes.run(feeds, first)
        for row, feed in zip(new, feeds, strict=True):
            row.reused = feed.known
        self._store(new, feeds)
        return self._settle([x for i in range(len(new)) for x in drawn[i]])

    def _start_anew(self, tenants: set[str]) -> None:
        """Where nothing runs, forget everything, unless what is kept was kept for this work."""
        named = tenants - {""}
        if not self.rows and not self.remember and not (named and named <= self._tenants):
            self.sequences.clear()
            self._tenants = set()
        self._tenants |= named

    def _store_summed(self, new: list[Row]) -> None:
        """Compute ahead the prefixes that rows want sums of: a row's own sum is of its whole prompt, and cannot be cut."""
        feeds: list[Feed] = []
        store = self.sequences.store
        for r, p, wants in store.missing(new):
            codes = r.codes[:p]
            if not any((codes == CODE[m.span]).any() for m in wants.means):
                continue
            part = store.find(r.job.tenant, r.job.tokens[:p], codes, wants)
            sequence = self.sequences.room(p, _need([*self.rows, *new]), spare=part)
            if sequence is None:  # no sequence or no cells for it now: the row computes its own
                continue
            feed = Feed(sequence, r.job.tokens[:p], codes, codes, wants, Log(p), r.job.tenant, wanted=np.zeros(p, bool))
            if part is not None:
                feed.start(part)
                self.context.copy(part.kv, sequence, feed.known)
            feeds.append(feed)
        if feeds:
            self.passes.run(feeds, lambda i, token, logits: None)
        for f in feeds:
            self.sequences.keep(f.tenant, Prefix(f.tokens, f.codes, f.wants.acts, f.sequence, f.log, 0))

    def _store(self, new: list[Row], feeds: Sequence[Feed]) -> None:
        """Keep the prefixes that rows ask for and that are not there yet: the cells are the row's own, given twice."""
        of = dict(zip(new, feeds, strict=True))
        for r, p, _ in self.sequences.store.missing(new):
            sequence = self.sequences.room(p, _need(self.rows))
            if sequence is None:
                continue
            head = of[r].head(p)
            self.context.copy(head.kv, sequence, p)
            head.kv = sequence
            self.sequences.keep(r.job.tenant, head)

    def step(self) -> list[Left]:
        """Feed every row's pending token, read, draw the next ones."""
        rows = list(self.rows)
        self.passes.step(rows, [self._sequence[r] for r in rows])
        left: list[Left] = []
        for i, row in enumerate(rows):
            p = row.pending
            assert p is not None
            readings, fired = self.passes.readings(i, row, p.span), self.passes.fired(i, row)
            if row in self._fed:
                self._fed[row].append((p.span, readings, fired))
            if not row.sent:
                steps = row.leave(readings, fired)
                left.append((row, steps if row.holds_text else steps + row.release(), None))
            row.pending = None
            if row.closing is not None:
                left.append((row, row.finish(row.closing), row.closing))
            else:
                left += self._accept(row, self.context.logits(i))
        return self._settle(left)

    def _accept(self, row: Row, logits: F32) -> list[Left]:
        """Draw the row's next token and take it in."""
        left = row.take(draw(logits, row.job.sampling, row.generator))
        return [] if left is None else [(row, *left)]

    def _settle(self, left: list[Left]) -> list[Left]:
        for row, _, why in left:
            if why is not None:
                self.drop(row)
        return left

    def drop(self, row: Row) -> None:
        """Take a row out; what it said is kept with its prompt where the whole prompt was to be kept."""
        self.passes.flush()
        self.rows.remove(row)
        sequence, fed = self._sequence.pop(row), self._fed.pop(row, None)
        if fed is not None and row.job.tenant and row.job.prefix >= len(row.job.tokens):
            said = _said(row, fed)
            if said is not None:
                said.kv = sequence
                self.sequences.keep(row.job.tenant, said, counted=False)
                return
        self.sequences.release(sequence)

    def update(self, row: Row) -> None:
        """Put a row's new acts in force, from the token that is fed next."""
        assert row.new_acts is not None
        row.wants = Wants(row.new_acts, row.wants.reads, row.wants.means)
        row.new_acts = None
        self._fed.pop(row, None)  # its tokens were acted on in two ways: no other row can go on from them

    def reset(self) -> None:
        """Empty the batch and its memory."""
        self.rows.clear()
        self._sequence.clear()
        self._fed.clear()
        self._tenants.clear()
        self.passes.forget()
        self.sequences.clear()

    def rest(self) -> None:
        """Nothing to take away: the callback does what its tables say, and they say nothing between rows."""
        if not self.rows:
            self.passes.rest()

    def explained(self, error: BaseException) -> BaseException:
        """As it is: the library's failures are put into words where they are met."""
        return error

    def running(self) -> AbstractContextManager[Any]:
        """Nothing is needed around the thread."""
        return nullcontext()

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[list[Score]] | None]:
        """Score in slices; None after each, at last the scores."""
        self._start_anew({j.tenant for j in jobs})
        yield from self._scoring.jobs(jobs)


def _need(rows: Sequence[Row]) -> int:
    """Cells that rows fill before they end."""
    return sum(len(r.job.tokens) + len(r.tokens) + r.remaining for r in rows)


def _said(row: Row, fed: Sequence[_Fed]) -> Prefix | None:
    """Prompt and reply of a row as a prefix of what follows; None where nothing was said."""
    if not fed:
        return None
    n, m = len(row.job.tokens), len(fed)
    log = Log(n + m)
    for k, read in enumerate(row.wants.reads):
        for j, layer in enumerate(read.layers):
            a = np.full(n + m, np.nan, np.float32)
            before = row.log.readings.get((read.direction, layer))
            if before is not None:
                a[:n] = before
            a[n:] = [values[k][j] for _, values, _ in fed]
            log.readings[read.direction, layer] = a
    for k, act in enumerate(row.wants.acts):
        for j, layer in enumerate(act.layers):
            a = np.zeros(n + m, np.float32)
            before = row.log.fired.get((k, layer))
            if before is not None:
                a[:n] = before
            a[n:] = [amounts[k][j] for _, _, amounts in fed]
            log.fired[k, layer] = a
    codes = np.concatenate([row.codes, np.array([CODE[span] for span, _, _ in fed], np.int8)])
    return Prefix((*row.job.tokens, *row.tokens[:m]), codes, row.wants.acts, -1, log, 0)
