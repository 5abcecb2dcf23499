"""The running rows of a llama.cpp context: prompts, forks, steps and scores, each row with its own acts and reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Act, Score, SpanKind, Step
from homing.engine.llamacpp.callback import Gated, Op, Program, Tables
from homing.engine.llamacpp.context import Context
from homing.engine.llamacpp.guard import ThreadGuard
from homing.engine.llamacpp.sampler import draw, log_normaliser
from homing.engine.loop import Left
from homing.engine.prefixes import Prefix, PrefixStore
from homing.engine.rows import Log, Row, score_of
from homing.engine.score import ScoreJob
from homing.engine.wants import CODE, SPANS, Known, Wants, codes_of
from homing.errors import Busy

__all__ = ["LlamaBatch"]

F32 = NDArray[np.float32]
Codes = NDArray[np.int8]


@dataclass(eq=False)
class _Feed:
    """Tokens of one sequence to run.

    Attributes:
        codes: span codes, which decide where acts touch. ``read``: the same, -1 where nothing is read.
        known: so many leading tokens are in the sequence already. ``wanted``: which of the rest give logits.
    """

    sequence: int
    tokens: tuple[int, ...]
    codes: Codes
    read: Codes
    wants: Wants
    log: Log
    known: int = 0
    wanted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def new(self) -> int:
        """Tokens still to run."""
        return len(self.tokens) - self.known


class LlamaBatch:
    """Rows decoded together; see :class:`homing.engine.loop.Batch`.

    Sequences 0 to ``slots - 1`` are rows; the others are stored prefixes and forks of scores.

    Args:
        context: owns the cells. ``tables``: of its callback. ``known``: registered directions.
        slots: most rows. ``guard``: watches how long steps take. ``cells``: tokens that rows may fill.
        remember: keep stored prefixes, and the places of cells, while nothing runs.
    """

    def __init__(
        self, context: Context, tables: Tables, known: Known, guard: ThreadGuard, *, slots: int, cells: int,
        remember: bool = False,
    ) -> None:  # fmt: skip
        self.context, self.tables, self.known, self.guard = context, tables, known, guard
        self.slots, self.cells, self.remember = slots, cells, remember
        self.rows: list[Row] = []
        self._sequence: dict[Row, int] = {}
        self._free = list(range(slots))[::-1]
        self._spare = list(range(slots, context.sequences))[::-1]
        self._stored_cells = 0
        self.store = PrefixStore(2**62, self._forget)
        self._armed: object = None
        self._slot_of: dict[tuple[Act, ...], int] = {}
        self._column: dict[tuple[Act, ...], dict[tuple[int, int], int]] = {}
        self._direction: dict[str, int] = {}
        self._sum_layers: tuple[int, ...] = ()
        self._summing: list[tuple[Row, SpanKind]] = []

    def fits(self, rows: Sequence[Row], new: Row) -> bool:
        """Whether ``new`` may join together with ``rows``, by slots and by cells."""
        everyone = [*self.rows, *rows, new]
        if len(everyone) > self.slots:
            return False
        need = sum(len(r.job.tokens) + len(r.tokens) + r.remaining for r in everyone)
        return len(everyone) == 1 or need <= self.cells

    def join(self, new: list[Row]) -> list[Left]:
        """Run the prompts of rows, in this order, and draw their first tokens."""
        self._start_anew()
        for row in new:
            self._sequence[row] = self._free.pop()
        self._store_prefixes(new)
        feeds: list[_Feed] = []
        for row in new:
            n = len(row.job.tokens)
            feed = _Feed(self._sequence[row], row.job.tokens, row.codes, row.codes, row.wants, row.log)
            hit = self.store.find(row.job.tenant, row.job.tokens, row.codes, row.wants)
            if hit is not None:
                hit.fill(row.log, row.wants)
                feed.known = row.reused = len(hit.tokens)
                self.context.copy(hit.kv, feed.sequence, feed.known)
            feed.wanted = np.arange(feed.known, n) == n - 1
            feeds.append(feed)
        self.rows += new
        drawn: dict[int, list[Left]] = {}

        def first(i: int, _token: int, logits: F32) -> None:
            drawn[i] = self._accept(new[i], logits)

        self._run(feeds, first)
        return self._settle([x for i in range(len(new)) for x in drawn[i]])

    def _start_anew(self) -> None:
        """Where nothing runs, forget everything: which cells a row gets decides the last bits of its attention sums, and
        with quantised weights what it says. So the same work asked of a resting engine gives the same bytes.
        """
        if not self.rows and not self.remember:
            self.store.clear()
            self.context.clear()

    def _store_prefixes(self, new: list[Row]) -> None:
        """Compute the prefixes that rows ask for and that are not there yet."""
        feeds: list[tuple[_Feed, str]] = []
        for r, p, wants in self.store.missing(new):
            part = self.store.find(r.job.tenant, r.job.tokens[:p], r.codes[:p], wants)
            sequence = self._room(p, spare=part)
            if sequence is None:  # no sequence or no cells for it now: the row computes its own
                continue
            codes = r.codes[:p]
            feed = _Feed(sequence, r.job.tokens[:p], codes, codes, wants, Log(p), wanted=np.zeros(p, bool))
            if part is not None:
                part.fill(feed.log, wants)
                feed.known = len(part.tokens)
                feed.wanted = np.zeros(p - feed.known, bool)
                self.context.copy(part.kv, sequence, feed.known)
            feeds.append((feed, r.job.tenant))
        if feeds:
            self._run([f for f, _ in feeds], lambda i, token, logits: None)
        for f, tenant in feeds:
            self._stored_cells += len(f.tokens)
            self.store.add(tenant, Prefix(f.tokens, f.codes, f.wants.acts, f.sequence, f.log, 0))

    def _room(self, tokens: int, *, spare: Prefix | None = None) -> int | None:
        """A free sequence with so many cells to fill, after letting go of old prefixes; None where there is none."""
        used = sum(len(r.job.tokens) + len(r.tokens) + r.remaining for r in self.rows)
        while len(self.store) and (not self._spare or used + self._stored_cells + tokens > self.context.cells):
            oldest = self.store.oldest()
            if oldest is spare:
                return None
            self.store.drop_oldest()
        if not self._spare or used + self._stored_cells + tokens > self.context.cells:
            return None
        return self._spare.pop()

    def _forget(self, prefix: Prefix) -> None:
        self.context.remove(prefix.kv)
        self._spare.append(prefix.kv)
        self._stored_cells -= len(prefix.tokens)

    def step(self) -> list[Left]:
        """Feed every row's pending token, read, draw the next ones."""
        rows = list(self.rows)
        spans: list[SpanKind] = [r.pending.span if r.pending is not None else "reply" for r in rows]
        state = tuple((r, r.wants, s) for r, s in zip(rows, spans, strict=True))
        if self._armed != state:
            self._arm([r.wants for r in rows], [(r, s) for r, s in zip(rows, spans, strict=True) if r.wants.means])
            self._armed = state
        summed = {r: k for k, (r, _) in enumerate(self._summing)}
        code = np.array([CODE[s] for s in spans], np.int32)
        self.tables.begin(
            np.array([self._slot_of.get(r.wants.acts, -1) for r in rows], np.int32),
            code,
            np.array([summed.get(r, -1) for r in rows], np.int32),
            np.array([bool(r.wants.reads) for r in rows], np.uint8),
            np.arange(len(rows)),
        )
        with self.guard.step(self.context, len(rows)):
            self.context.decode(
                [r.pending.token if r.pending is not None else 0 for r in rows],
                [len(r.job.tokens) + len(r.tokens) - 1 for r in rows],
                [self._sequence[r] for r in rows],
                np.ones(len(rows), bool),
            )
        left: list[Left] = []
        for i, row in enumerate(rows):
            if row.pending is not None and not row.sent:
                left.append((row, self._leave(i, row), None))
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

    def _leave(self, i: int, row: Row) -> list[Step]:
        p = row.pending
        assert p is not None
        readings: list[tuple[float, ...]] = []
        for r in row.wants.reads:
            if p.span in r.spans:
                k = self._direction[r.direction]
                readings.append(tuple(float(v) for v in self.tables.arrays["projections"][list(r.layers), i, k]))
            else:
                readings.append((float("nan"),) * len(r.layers))
        column = self._column.get(row.wants.acts, {})
        amounts = self.tables.arrays["fired"][i]
        fired = tuple(
            tuple(float(amounts[column[a, layer]]) for layer in act.layers) for a, act in enumerate(row.wants.acts)
        )
        steps = row.leave(tuple(readings), fired)
        return steps if row.holds_text else steps + row.release()

    def _settle(self, left: list[Left]) -> list[Left]:
        for row, _, why in left:
            if why is not None:
                self.drop(row)
        return left

    def drop(self, row: Row) -> None:
        """Take a row out and give its cells back."""
        self._flush()
        self.rows.remove(row)
        sequence = self._sequence.pop(row)
        self.context.remove(sequence)
        self._free.append(sequence)

    def update(self, row: Row) -> None:
        """Put a row's new acts in force, from the token that is fed next."""
        assert row.new_acts is not None
        row.wants = Wants(row.new_acts, row.wants.reads, row.wants.means)
        row.new_acts = None

    def reset(self) -> None:
        """Empty the batch and its memory."""
        self.rows.clear()
        self._sequence.clear()
        self._summing, self._armed = [], None
        self.store.clear()
        self.context.clear()
        self._free = list(range(self.slots))[::-1]
        self._spare = list(range(self.slots, self.context.sequences))[::-1]
        self._stored_cells = 0

    def rest(self) -> None:
        """Nothing to take away: the callback does what its tables say, and they say nothing between rows."""
        if not self.rows and self._armed is not None:
            self._arm([], [])

    def running(self) -> AbstractContextManager[Any]:
        """Nothing is needed around the thread."""
        return nullcontext()

    def _flush(self) -> None:
        """Hand the running sums to their rows."""
        sums = self.tables.arrays["sums"]
        for k, (row, span) in enumerate(self._summing):
            if any(m.span == span for m in row.wants.means):
                row.blocks.append((self._sum_layers, span, sums[k][list(self._sum_layers)].astype(np.float32)))
            sums[k] = 0.0

    def _arm(self, wants: Sequence[Wants], sums: Sequence[tuple[Row, SpanKind]], extra: int = 0) -> None:
        """Write the tables for these rows; running sums go to their rows first.

        Args:
            sums: whose running sums are kept from step to step. ``extra``: further sums, after these.
        """
        self._flush()
        self._summing, self._armed = list(sums), None
        self._slot_of, self._column = {}, {}
        programs: list[Program] = []
        for w in wants:
            if w.acts and w.acts not in self._slot_of:
                program, column = self._program(w.acts)
                self._slot_of[w.acts], self._column[w.acts] = len(programs), column
                programs.append(program)
        self.tables.programs(programs)
        asked: dict[str, set[int]] = {}
        for w in wants:
            for r in w.reads:
                asked.setdefault(r.direction, set()).update(r.layers)
        self._direction = {name: k for k, name in enumerate(asked)}
        known = self.known.directions
        self.tables.reading({name: {x: known[name].at(x) for x in sorted(layers)} for name, layers in asked.items()})
        self._sum_layers = tuple(sorted({x for w in wants for m in w.means for x in m.layers}))
        self.tables.summing(self._sum_layers, len(self._summing) + extra)

    def _program(self, acts: tuple[Act, ...]) -> tuple[Program, dict[tuple[int, int], int]]:
        ops: list[Op] = []
        gates: list[Gated] = []
        column: dict[tuple[int, int], int] = {}
        for k, act in enumerate(acts):
            d = self.known.directions[act.direction]
            flag = -1
            if act.gate is not None:
                flag = len(gates)
                at = self.known.directions[act.gate.direction].at(act.gate.layer)
                gates.append(Gated(act.gate.layer, at, act.gate.threshold, act.gate.side == "below", flag))
            for j, layer in enumerate(act.layers):
                column[k, layer] = len(column)
                ops.append(
                    Op(
                        layer, act.kind, d.at(layer), act.thresholds[j] if act.thresholds else 0.0, act.strength,
                        tuple(CODE[s] for s in act.spans), flag, column[k, layer],
                    )
                )  # fmt: skip
        return Program(tuple(ops), tuple(gates)), column

    def _run(self, feeds: Sequence[_Feed], take: Callable[[int, int, F32], None]) -> None:
        """Run the new tokens of feeds, as many to a decode as it holds, and note what is read on them.

        Args:
            take: told of each wanted token's logits: feed, token, logits (a view, to be used at once).
        """
        last = self.context.weights.layers - 1
        keys: list[tuple[int, SpanKind]] = []
        for i, f in enumerate(feeds):
            here = set(f.read[f.known :].tolist())
            for span in SPANS:
                if CODE[span] in here and any(m.span == span for m in f.wants.means):
                    keys.append((i, span))
        self._arm([f.wants for f in feeds], [], extra=len(keys))
        sum_at = {key: k for k, key in enumerate(keys)}
        flat = [(i, t) for i, f in enumerate(feeds) for t in range(f.known, len(f.tokens))]
        # the last layer holds only rows with logits: those that are read or acted on there must ask for them
        deep = [_reaches(f.wants, last) for f in feeds]
        for start in range(0, len(flat), self.context.rows):
            part = flat[start : start + self.context.rows]
            wanted = np.array([bool(feeds[i].wanted[t - feeds[i].known]) or deep[i] for i, t in part])
            self.tables.begin(
                np.array([self._slot_of.get(feeds[i].wants.acts, -1) for i, _ in part], np.int32),
                np.array([feeds[i].codes[t] for i, t in part], np.int32),
                np.array(
                    [
                        sum_at.get((i, SPANS[int(feeds[i].read[t])]), -1) if feeds[i].read[t] >= 0 else -1
                        for i, t in part
                    ],
                    np.int32,
                ),
                np.array([feeds[i].read[t] >= 0 for i, t in part], np.uint8),
                np.flatnonzero(wanted),
            )  # fmt: skip
            self.context.decode(
                [feeds[i].tokens[t] for i, t in part], [t for _, t in part], [feeds[i].sequence for i, _ in part],
                wanted,
            )  # fmt: skip
            for row, (i, t) in enumerate(part):
                self._note(feeds[i], t, row)
                if feeds[i].wanted[t - feeds[i].known]:
                    take(i, t, self.context.logits(row))
        sums = self.tables.arrays["sums"]
        for (i, span), k in sum_at.items():
            log = feeds[i].log
            for layer in sorted({x for m in feeds[i].wants.means if m.span == span for x in m.layers}):
                before = log.sums.get((layer, span))
                now = sums[k, layer].astype(np.float32)
                log.sums[layer, span] = now if before is None else before + now

    def _note(self, f: _Feed, token: int, row: int) -> None:
        if f.read[token] < 0:
            return
        span = SPANS[int(f.read[token])]
        for r in f.wants.reads:
            if span in r.spans:
                k = self._direction[r.direction]
                for layer in r.layers:
                    a = f.log.readings.setdefault((r.direction, layer), np.full(f.log.tokens, np.nan, np.float32))
                    a[token] = self.tables.arrays["projections"][layer, row, k]
        for (k, layer), at in self._column.get(f.wants.acts, {}).items():
            a = f.log.fired.setdefault((k, layer), np.zeros(f.log.tokens, np.float32))
            a[token] = self.tables.arrays["fired"][row, at]

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[list[Score]] | None]:
        """Score in slices; None after each, at last the scores."""
        self._start_anew()
        out: list[list[Score]] = []
        for job in jobs:
            scores: list[Score] = []
            todo = list(enumerate(job.continuations))
            while todo:
                done = self._score_some(job, todo, scores)
                todo = todo[done:]
                yield None
            out.append(scores)
        yield out

    def _score_some(self, job: ScoreJob, todo: Sequence[tuple[int, tuple[int, ...]]], scores: list[Score]) -> int:
        """Score as many continuations as forks and cells allow, at least one; the prompt is computed once for them."""
        wants = Wants(job.acts, job.reads, job.means)
        lead = codes_of((), len(job.prompt))
        base = self._room(len(job.prompt)) if len(todo) > 1 and len(job.prompt) > 1 else None
        shared = len(job.prompt) - 1 if base is not None else 0
        if base is not None:
            none = np.zeros(shared, bool)
            unread = np.full(shared, -1, np.int8)
            feed = _Feed(base, job.prompt[:shared], lead[:shared], unread, Wants(job.acts), Log(shared), wanted=none)
            self._run([feed], lambda i, token, logits: None)
            self._stored_cells += shared
        feeds: list[_Feed] = []
        tokens = 0
        for k, tail in todo:
            size = len(job.prompt) + len(tail) - shared
            if feeds and tokens + size > self.context.rows:
                break
            sequence = self._room(size)
            if sequence is None:
                break
            self._stored_cells += size
            tokens += size
            tail_codes = codes_of(job.spans[k] if job.spans else (), len(tail), default="reply")
            n = len(job.prompt) + len(tail)
            feed = _Feed(
                sequence, (*job.prompt, *tail), np.concatenate([lead, tail_codes]),
                np.concatenate([np.full(len(lead), -1, np.int8), tail_codes]), wants, Log(n), shared,
            )  # fmt: skip
            at = np.arange(shared, n)
            feed.wanted = (at >= max(len(job.prompt) - 1, 0)) & (at < n - 1) & job.logprobs
            if shared:
                self.context.copy(base if base is not None else 0, sequence, shared)
            feeds.append(feed)
        try:
            if not feeds:
                raise self._no_room(len(job.prompt) + len(todo[0][1]))
            values = [np.full(len(f.tokens) - len(job.prompt), np.nan, np.float32) for f in feeds]

            def take(i: int, token: int, logits: F32) -> None:
                target = feeds[i].tokens[token + 1]
                values[i][token + 1 - len(job.prompt)] = float(logits[target]) - log_normaliser(logits)

            self._run(feeds, take)
        finally:
            for f in feeds:
                self._release(f.sequence, len(f.tokens) - shared)
            if base is not None:
                self._release(base, shared)
        scores += [
            score_of(f.log, f.wants, f.codes, len(job.prompt), v, hidden=self.context.weights.hidden)
            for f, v in zip(feeds, values, strict=True)
        ]
        return len(feeds)

    def _no_room(self, tokens: int) -> Exception:
        return Busy(f"the running rows leave no room for {tokens} tokens to score; wait for them to end")

    def _release(self, sequence: int, cells: int) -> None:
        self.context.remove(sequence)
        self._spare.append(sequence)
        self._stored_cells -= cells


def _reaches(wants: Wants, layer: int) -> bool:
    """Whether a layer is read, summed or acted on."""
    return any(layer in x.layers for x in (*wants.reads, *wants.means, *wants.acts))
