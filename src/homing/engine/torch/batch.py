"""The running batch: rows in slots of one cache, joining and leaving between steps."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from homing.engine.base import Score, SpanKind, Step
from homing.engine.loop import Left
from homing.engine.prefixes import Prefix, PrefixStore
from homing.engine.rows import Log, Row
from homing.engine.score import ScoreJob
from homing.engine.torch.kv import SlotCache
from homing.engine.torch.probe import Plan, Readout
from homing.engine.torch.runner import Feed, Runner, batches
from homing.engine.torch.sampler import Sampler
from homing.engine.torch.scoring import score_all
from homing.engine.wants import CODE, Wants
from homing.errors import EngineError

__all__ = ["Batch"]


class Batch:
    """Rows that are decoded together.

    Args:
        runner: runs the model. store: of prefixes. slots: most rows. max_tokens: most rows times columns.
    """

    def __init__(self, runner: Runner, store: PrefixStore, *, slots: int, max_tokens: int) -> None:
        self.runner, self.store = runner, store
        self.slots, self.max_tokens = slots, max_tokens
        self.rows: list[Row] = []
        self.sampler = Sampler()
        d = runner.device
        self._cache = SlotCache(runner.cache_layers, slots=1, columns=1)
        self._ids = torch.zeros((slots, 1), dtype=torch.long, device=d)
        self._positions = torch.zeros((slots, 1), dtype=torch.long, device=d)
        self._mask = torch.zeros((slots, 1), dtype=torch.bool, device=d)
        self._sums: torch.Tensor | None = None
        self._sum_layers: tuple[int, ...] = ()
        self._plan: Plan | None = None
        self._stale = True

    def fits(self, rows: Sequence[Row], new: Row) -> bool:
        """Whether ``new`` may join the batch together with ``rows``, by slots and by memory."""
        everyone = [*self.rows, *rows, new]
        if len(everyone) > self.slots:
            return False
        length = max(len(r.job.tokens) + len(r.tokens) for r in everyone)
        return len(everyone) == 1 or len(everyone) * (length + max(r.remaining for r in everyone)) <= self.max_tokens

    def join(self, new: list[Row]) -> list[Left]:
        """Prefill rows, put them into slots in this order, and draw their first tokens."""
        feeds = self._feeds(new)
        width = max(len(r.job.tokens) for r in new)
        n = len(self.rows)
        columns = width + max(r.remaining for r in new)
        if n == 0:
            self._cache.clock = self._cache.left = width
            self._room(len(new), columns)
        else:
            self._go_on(n + len(new), max(r.remaining for r in new), least=columns)
            if width > self._cache.clock:
                self._shift(width - self._cache.clock)
        logits: list[torch.Tensor | None] = [None] * len(new)
        clock = self._cache.clock
        for group in batches([f.new for f in feeds], tokens=self.runner.chunk, rows=self.slots):
            scratch, last = self.runner.prefill([feeds[i] for i in group])
            assert last is not None
            for k, i in enumerate(group):
                self._cache.copy_from(scratch, n + i, k, tokens=len(feeds[i].tokens))
                logits[i] = last[k]
        for i, row in enumerate(new):
            p = len(row.job.tokens)
            row.start = clock - p
            self._mask[n + i] = False
            self._mask[n + i, row.start : clock] = True
            self._positions[n + i] = p
            row.sum_span = "reply"
            if self._sums is not None:
                self._sums[:, n + i] = 0.0
        self.rows += new
        self._cache.left = min(r.start for r in self.rows)
        self._stale = True
        rows = list(range(n, n + len(new)))
        return self._settle(self._draw(rows, torch.stack([x for x in logits if x is not None])))

    def _feeds(self, new: list[Row]) -> list[Feed]:
        """What each row must still run, after prefixes; computes and stores the prefixes that are asked for."""
        made: list[tuple[str, Prefix]] = []
        asked = self.store.missing(new)
        feeds: list[Feed] = []
        for r, p, wants in asked:
            feed = Feed(r.job.tokens[:p], r.codes[:p], wants, Log(p))
            part = self.store.find(r.job.tenant, r.job.tokens[:p], r.codes[:p], wants)
            if part is not None:
                part.fill(feed.log, wants, feed.codes)
                feed.known, feed.kv = len(part.tokens), part.kv
            feeds.append(feed)
        for group in batches([f.new for f in feeds], tokens=self.runner.chunk, rows=self.slots):
            scratch, _ = self.runner.prefill([feeds[i] for i in group], logits=False)
            for k, i in enumerate(group):
                f = feeds[i]
                kv = scratch.take(k, scratch.clock - len(f.tokens), scratch.clock)
                size = sum(t.numel() * t.element_size() for pair in kv.values() for t in pair)
                made.append((asked[i][0].job.tenant, Prefix(tuple(f.tokens), f.codes, f.wants.acts, kv, f.log, size)))
        for tenant, prefix in made:
            self.store.add(tenant, prefix)
        out: list[Feed] = []
        for row in new:
            feed = Feed(row.job.tokens, row.codes, row.wants, row.log)
            hit = self.store.find(row.job.tenant, row.job.tokens, row.codes, row.wants)
            if hit is not None:
                hit.fill(row.log, row.wants, row.codes)
                feed.known, feed.kv = len(hit.tokens), hit.kv
                row.reused = len(hit.tokens)
            out.append(feed)
        return out

    def _room(self, slots: int, columns: int) -> None:
        columns = -(-columns // 64) * 64
        self._cache.room(slots=min(self.slots, -(-slots // 4) * 4), columns=columns)
        if self._mask.shape[1] < self._cache.columns:
            mask = self._mask.new_zeros((self.slots, self._cache.columns))
            mask[:, : self._mask.shape[1]] = self._mask
            self._mask = mask

    def _go_on(self, slots: int, ahead: int, *, least: int = 0) -> None:
        """Room for so many columns behind the clock, and ``least`` in all.

        What lies left of every row is given back first where it is a quarter: the clock goes on for as long as the batch is
        never empty, and columns would go on with it.
        """
        cache = self._cache
        if cache.clock + ahead > cache.columns and cache.left * 4 >= cache.columns:
            self._shift(-cache.left)
        self._room(slots, max(least, cache.clock + ahead))

    def _shift(self, by: int) -> None:
        n = len(self.rows)
        a, b = self._cache.left, self._cache.clock
        self._cache.shift(n, by=by)
        live = self._mask[:n, a:b].clone()
        self._mask[:n] = False
        self._mask[:n, a + by : b + by] = live
        for r in self.rows:
            r.start += by

    def step(self) -> list[Left]:
        """Feed every row's pending token, read, draw the next ones."""
        n = len(self.rows)
        cache = self._cache
        if cache.clock >= cache.columns:
            self._go_on(n, max(r.remaining for r in self.rows))
        self._refresh()
        plan = self._plan
        self.runner.probe.arm(plan)
        clock = cache.clock
        self._mask[:n, clock] = True
        ragged = any(r.start != cache.left for r in self.rows)
        logits = self.runner.forward(
            self._ids[:n],
            mask=self._mask[:n, cache.left : clock + 1] if ragged else None,
            positions=self._positions[:n],
            cache=cache,
            keep=1,
        )[:, 0]
        cache.clock = clock + 1
        self._positions[:n] += 1
        out = self.runner.probe.finish(self._sums) if plan is not None else None
        left: list[Left] = []
        going: list[int] = []
        for i, row in enumerate(self.rows):
            if row.pending is not None and not row.sent:
                left.append((row, self._leave(i, row, out), None))
            row.pending = None
            if row.closing is None:
                going.append(i)
            else:
                left.append((row, row.finish(row.closing), row.closing))
        if going:
            left += self._draw(going, logits if len(going) == n else logits[going])
        return self._settle(left)

    def _draw(self, rows: list[int], logits: torch.Tensor) -> list[Left]:
        members = [self.rows[i] for i in rows]
        drawn = self.sampler.draw(logits, [r.job.sampling for r in members], [r.generator for r in members])
        out: list[Left] = []
        for row, d in zip(members, drawn, strict=True):
            left = row.take(d)
            if left is not None:
                out.append((row, *left))
        self._ids[rows, 0] = torch.tensor([d.token for d in drawn], device=self._ids.device)
        return out

    def _settle(self, left: list[Left]) -> list[Left]:
        """Take rows that ended out of their slots."""
        for row, _, why in left:
            if why is not None:
                self.drop(row)
        return left

    def drop(self, row: Row) -> None:
        """Free a row's slot: the last row moves into the hole."""
        i = self.rows.index(row)
        self._flush(i)
        last = len(self.rows) - 1
        if i != last:
            moved = self.rows[last]
            self._cache.move(last, i, start=moved.start)
            self._mask[i] = self._mask[last]
            self._positions[i] = self._positions[last]
            self._ids[i] = self._ids[last]
            if self._sums is not None:
                self._sums[:, i] = self._sums[:, last]
            self.rows[i] = moved
        self.rows.pop()
        self._stale = True
        if self.rows:
            self._cache.left = min(r.start for r in self.rows)
        else:
            self._plan = None
            self.rest()

    def reset(self) -> None:
        """Empty the batch and its memory."""
        self.rows.clear()
        self._cache = SlotCache(self.runner.cache_layers, slots=1, columns=1)
        self._mask = self._mask.new_zeros((self.slots, 1))
        self._sums, self._sum_layers, self._plan, self._stale = None, (), None, True

    def rest(self) -> None:
        """Take the hooks away."""
        self.runner.probe.disarm()

    def score(self, jobs: Sequence[ScoreJob]) -> Iterator[list[list[Score]] | None]:
        """Score in slices; None after each, at last the scores."""
        return score_all(self.runner, jobs, rows=self.slots, store=self.store)

    def running(self) -> AbstractContextManager[Any]:
        """Without gradients."""
        return torch.inference_mode()

    def explained(self, error: BaseException) -> BaseException:
        """A device whose memory is full, in one sentence."""
        if not isinstance(error, torch.OutOfMemoryError):
            return error
        return EngineError(
            f"the memory of {self.runner.device} is full with {self.slots} replies at once; ask for fewer (--slots)"
        )

    def _refresh(self) -> None:
        """Make the plan again where rows, acts or spans have changed."""
        spans: list[SpanKind] = [r.pending.span if r.pending is not None else "reply" for r in self.rows]
        for i, (row, span) in enumerate(zip(self.rows, spans, strict=True)):
            if span != row.sum_span:
                self._flush(i)
                row.sum_span = span
                self._stale = self._stale or row.heavy
        if not self._stale:
            return
        self._stale = False
        if not any(r.wants for r in self.rows):
            self._plan = None
            return
        codes = np.array([[CODE[s]] for s in spans], np.int8)
        plan = Plan(self.runner.table, [r.wants for r in self.rows], codes, deferred=True)
        if plan.mean_layers != self._sum_layers:
            for i in range(len(self.rows)):
                self._flush(i)
            self._sum_layers = plan.mean_layers
            shape = (len(plan.mean_layers), self.slots, self.runner.table.hidden)
            self._sums = torch.zeros(shape, device=self.runner.device) if plan.mean_layers else None
        self._plan = plan if plan.layers else None

    def _flush(self, i: int) -> None:
        """Hand the running sum of slot ``i`` to its row."""
        row = self.rows[i]
        if self._sums is None:
            return
        if any(m.span == row.sum_span for m in row.wants.means):
            row.blocks.append((self._sum_layers, row.sum_span, self._sums[:, i].cpu().numpy().copy()))
        self._sums[:, i] = 0.0

    def update(self, row: Row) -> None:
        """Put a row's new acts in force, from the token that is fed next."""
        assert row.new_acts is not None
        row.wants = Wants(row.new_acts, row.wants.reads, row.wants.means)
        row.new_acts = None
        self._stale = True

    def _leave(self, i: int, row: Row, out: Readout | None) -> list[Step]:
        plan, p = self._plan, row.pending
        assert p is not None
        readings: list[tuple[float, ...]] = []
        for r in row.wants.reads:
            k = plan.directions.get(r.direction) if plan is not None else None
            if plan is None or out is None or out.projections is None or k is None or p.span not in r.spans:
                readings.append((float("nan"),) * len(r.layers))
            else:
                values = out.projections[:, i, 0, k]
                readings.append(tuple(float(values[plan.layer_at[x]]) for x in r.layers))
        fired: list[tuple[float, ...]] = []
        for a, act in enumerate(row.wants.acts):
            amounts: list[float] = []
            for layer in act.layers:
                slot = plan.fired_at.get((i, a, layer)) if plan is not None else None
                amounts.append(
                    0.0 if slot is None or out is None or out.fired is None else float(out.fired[slot, i, 0])
                )
            fired.append(tuple(amounts))
        steps = row.leave(tuple(readings), tuple(fired))
        return steps if row.holds_text else steps + row.release()
