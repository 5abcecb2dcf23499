"""Rows through the context: the callback's tables written before each decode, what it read taken from them after."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Act, SpanKind
from homing.engine.llamacpp.callback import Gated, Op, Program, Tables
from homing.engine.llamacpp.context import Context
from homing.engine.llamacpp.feeds import Feed, alike
from homing.engine.llamacpp.guard import ThreadGuard
from homing.engine.rows import Row
from homing.engine.wants import CODE, SPANS, Known, Wants

__all__ = ["Passes", "Take"]

F32 = NDArray[np.float32]
Take = Callable[[int, int, F32], None]
"""Told of each wanted token's logits: feed, token, logits (a view, to be used at once)."""


class Passes:
    """Steps of running rows, and feeds of prompts, prefixes and scores.

    Args:
        context: runs the model. ``tables``: of its callback. ``known``: registered directions. ``guard``: times steps.
    """

    def __init__(self, context: Context, tables: Tables, known: Known, guard: ThreadGuard) -> None:
        self.context, self.tables, self.known, self.guard = context, tables, known, guard
        self._armed: object = None
        self._slot_of: dict[tuple[Act, ...], int] = {}
        self._column: dict[tuple[Act, ...], dict[tuple[int, int], int]] = {}
        self._direction: dict[str, int] = {}
        self._sum_layers: tuple[int, ...] = ()
        self._summing: list[tuple[Row, SpanKind]] = []

    def step(self, rows: Sequence[Row], sequences: Sequence[int]) -> None:
        """Feed every row's pending token; logits are the context's, readings are had from :meth:`readings`."""
        spans: list[SpanKind] = [r.pending.span if r.pending is not None else "reply" for r in rows]
        state = tuple((r, r.wants, s) for r, s in zip(rows, spans, strict=True))
        if self._armed != state:
            self._arm([r.wants for r in rows], [(r, s) for r, s in zip(rows, spans, strict=True) if r.wants.means])
            self._armed = state
        summed = {r: k for k, (r, _) in enumerate(self._summing)}
        self.tables.begin(
            np.array([self._slot_of.get(r.wants.acts, -1) for r in rows], np.int32),
            np.array([CODE[s] for s in spans], np.int32),
            np.array([summed.get(r, -1) for r in rows], np.int32),
            np.array([bool(r.wants.reads) for r in rows], np.uint8),
            np.arange(len(rows)),
        )
        with self.guard.step(self.context, len(rows)):
            self.context.decode(
                [r.pending.token if r.pending is not None else 0 for r in rows],
                [len(r.job.tokens) + len(r.tokens) - 1 for r in rows],
                sequences,
                np.ones(len(rows), bool),
            )

    def readings(self, i: int, row: Row, span: SpanKind) -> tuple[tuple[float, ...], ...]:
        """What the last step read on row ``i``, a read after the other; NaN where the span is not asked for."""
        out: list[tuple[float, ...]] = []
        for r in row.wants.reads:
            if span in r.spans:
                k = self._direction[r.direction]
                out.append(tuple(float(v) for v in self.tables.arrays["projections"][list(r.layers), i, k]))
            else:
                out.append((float("nan"),) * len(r.layers))
        return tuple(out)

    def fired(self, i: int, row: Row) -> tuple[tuple[float, ...], ...]:
        """By how much the last step moved row ``i``, an act after the other."""
        column = self._column.get(row.wants.acts, {})
        amounts = self.tables.arrays["fired"][i]
        return tuple(
            tuple(float(amounts[column[a, layer]]) for layer in act.layers) for a, act in enumerate(row.wants.acts)
        )

    def flush(self) -> None:
        """Hand the running sums to their rows."""
        sums = self.tables.arrays["sums"]
        for k, (row, span) in enumerate(self._summing):
            if any(m.span == span for m in row.wants.means):
                row.blocks.append((self._sum_layers, span, sums[k][list(self._sum_layers)].astype(np.float32)))
            sums[k] = 0.0

    def rest(self) -> None:
        """Empty the tables: the callback then does nothing."""
        if self._armed is not None:
            self._arm([], [])

    def forget(self) -> None:
        """Drop rows that are summed, without handing them anything."""
        self._summing, self._armed = [], None

    def run(self, feeds: Sequence[Feed], take: Take) -> None:
        """Run the new tokens of feeds; what several of them start with is run once."""
        waiting = alike(feeds)
        late = {s.late for level in waiting for s in level}
        self._run(feeds, [i for i in range(len(feeds)) if i not in late], take)
        for level in waiting:
            for s in level:
                feeds[s.late].start(feeds[s.first].head(s.tokens))
                self.context.remove(feeds[s.late].sequence)
                self.context.copy(feeds[s.first].sequence, feeds[s.late].sequence, s.tokens)
            self._run(feeds, [s.late for s in level], take)

    def _run(self, feeds: Sequence[Feed], chosen: Sequence[int], take: Take) -> None:
        """Run some of the feeds, as many tokens to a decode as it holds, and note what is read on them."""
        last = self.context.weights.layers - 1
        keys: list[tuple[int, SpanKind]] = []
        for i in chosen:
            f = feeds[i]
            here = set(f.read[f.known :].tolist())
            for span in SPANS:
                if CODE[span] in here and any(m.span == span for m in f.wants.means):
                    keys.append((i, span))
        self._arm([feeds[i].wants for i in chosen], [], extra=len(keys))
        sum_at = {key: k for k, key in enumerate(keys)}
        flat = [(i, t) for i in chosen for t in range(feeds[i].known, len(feeds[i].tokens))]
        # the last layer holds only rows with logits: those that are read or acted on there must ask for them
        deep = {i: _reaches(feeds[i].wants, last) for i in chosen}
        for start in range(0, len(flat), self.context.rows):
            part = flat[start : start + self.context.rows]
            wanted = np.array([bool(feeds[i].wanted[t - feeds[i].known]) or deep[i] for i, t in part])
            sums = [sum_at.get((i, SPANS[int(feeds[i].read[t])]), -1) if feeds[i].read[t] >= 0 else -1 for i, t in part]
            self.tables.begin(
                np.array([self._slot_of.get(feeds[i].wants.acts, -1) for i, _ in part], np.int32),
                np.array([feeds[i].codes[t] for i, t in part], np.int32),
                np.array(sums, np.int32),
                np.array([feeds[i].read[t] >= 0 for i, t in part], np.uint8),
                np.flatnonzero(wanted),
            )
            with self.guard.prompt(self.context, len(part)):
                self.context.decode(
                    [feeds[i].tokens[t] for i, t in part], [t for _, t in part], [feeds[i].sequence for i, _ in part],
                    wanted,
                )  # fmt: skip
            for row, (i, t) in enumerate(part):
                self._note(feeds[i], t, row)
                if feeds[i].wanted[t - feeds[i].known]:
                    take(i, t, self.context.logits(row))
        self._add(feeds, sum_at)

    def _add(self, feeds: Sequence[Feed], sum_at: dict[tuple[int, SpanKind], int]) -> None:
        """Add the sums of a run to the logs of its feeds."""
        sums = self.tables.arrays["sums"]
        for (i, span), k in sum_at.items():
            log = feeds[i].log
            for layer in sorted({x for m in feeds[i].wants.means if m.span == span for x in m.layers}):
                before = log.sums.get((layer, span))
                now = sums[k, layer].astype(np.float32)
                log.sums[layer, span] = now if before is None else before + now

    def _note(self, f: Feed, token: int, row: int) -> None:
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

    def _arm(self, wants: Sequence[Wants], sums: Sequence[tuple[Row, SpanKind]], extra: int = 0) -> None:
        """Write the tables for these rows; running sums go to their rows first.

        Args:
            sums: whose running sums are kept from step to step. ``extra``: further sums, after these.
        """
        self.flush()
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


def _reaches(wants: Wants, layer: int) -> bool:
    """Whether a layer is read, summed or acted on."""
    return any(layer in x.layers for x in (*wants.reads, *wants.means, *wants.acts))
