"""Forward passes of the untouched model: prefill in left-padded batches, one decode step."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from homing.engine.rows import Log
from homing.engine.torch.kv import RowKV, SlotCache
from homing.engine.torch.probe import Plan, Probe, Readout, Table
from homing.engine.wants import SPANS, Wants

__all__ = ["Feed", "Runner", "batches", "note"]

F32 = NDArray[np.float32]


def note(
    log: Log, wants: Wants, plan: Plan, out: Readout, row: int, *, first: int, at: int, read: NDArray[np.int8]
) -> None:
    """Take one row of one pass into its log.

    Args:
        first: index in the prompt of the pass's column ``at``, the row's first real column.
        read: span codes of the row's columns from ``at`` on, -1 where nothing is to be read.
    """
    n = len(read)
    if n == 0:
        return
    if out.projections is not None:
        for r in wants.reads:
            k = plan.directions.get(r.direction)
            wanted = np.isin(read, [i for i, s in enumerate(SPANS) if s in r.spans])
            if k is None or not wanted.any():
                continue
            for layer in r.layers:
                if layer not in plan.layer_at:
                    continue
                a = log.readings.setdefault((r.direction, layer), np.full(log.tokens, np.nan, np.float32))
                values = out.projections[plan.layer_at[layer], row, at : at + n, k]
                a[first : first + n][wanted] = values[wanted]
    if out.fired is not None:
        for k, act in enumerate(wants.acts):
            for layer in act.layers:
                slot = plan.fired_at.get((row, k, layer))
                if slot is not None:
                    a = log.fired.setdefault((k, layer), np.zeros(log.tokens, np.float32))
                    new = read >= 0
                    a[first : first + n][new] = out.fired[slot, row, at : at + n][new]
    for layer, span in dict.fromkeys((x, m.span) for m in wants.means for x in m.layers):
        if span in plan.mean_spans and (read == SPANS.index(span)).any():
            new_sum = out.sums[layer][row, plan.mean_spans.index(span)].cpu().numpy()
            key = (layer, span)
            log.sums[key] = log.sums[key] + new_sum if key in log.sums else new_sum.copy()


@dataclass(eq=False)
class Feed:
    """One row to run: its tokens, their span codes, what is asked, and what is known already.

    Attributes:
        known: so many leading tokens lie in ``kv`` and in ``log`` already.
    """

    tokens: Sequence[int]
    codes: NDArray[np.int8]
    wants: Wants
    log: Log
    known: int = 0
    kv: RowKV | None = None

    @property
    def new(self) -> int:
        return len(self.tokens) - self.known


def batches(sizes: Sequence[int], *, tokens: int, rows: int) -> list[list[int]]:
    """Group rows of like size so that little is padding.

    Args:
        sizes: new tokens of each row. tokens: most (padded) tokens a batch. rows: most rows a batch.
    """
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i], i))
    out: list[list[int]] = []
    for i in order:
        if out:
            last = out[-1]
            wide = sizes[i]
            fits = len(last) < rows and wide * (len(last) + 1) <= max(tokens, wide)
            if fits and wide <= 1.25 * sizes[last[0]] + 8:
                last.append(i)
                continue
        out.append([i])
    return out


class Runner:
    """Runs the model; knows which arguments its forward takes.

    Args:
        model: the untouched model. probe, table: hooks and directions.
        cache_layers: how many cache layers it fills. vocab: size of its output.
    """

    def __init__(self, model: nn.Module, *, probe: Probe, table: Table, cache_layers: int, vocab: int) -> None:
        self.model, self.probe, self.table = model, probe, table
        self.cache_layers, self.vocab = cache_layers, vocab
        self.device = table.device
        names = set(inspect.signature(model.forward).parameters)
        self.takes_positions = "position_ids" in names
        self.takes_keep = "logits_to_keep" in names
        large = table.device.type != "cpu"  # an accelerator is idle over what keeps two cores busy
        self.chunk = 65536 if large else 2048
        self.logit_bytes = (1024 if large else 256) * 2**20
        self.trees = False  # until the self-test has shown that this model heeds a mask of its own for every token

    def forward(
        self,
        ids: torch.Tensor,
        *,
        mask: torch.Tensor | None,
        positions: torch.Tensor,
        cache: SlotCache | None,
        keep: int,
    ) -> torch.Tensor:
        """One pass; the cache's clock is the caller's to advance.

        Args:
            ids, positions: ``(rows, tokens)``. mask: ``(rows, columns shown)`` or None where nothing is padded.
            keep: logits of so many last columns are wanted.

        Returns:
            ``(rows, keep, vocab)``.
        """
        more: dict[str, Any] = {}
        if self.takes_positions:
            more["position_ids"] = positions
        if self.takes_keep:
            more["logits_to_keep"] = keep
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            return_dict=True,
            **more,
        )
        logits = out.logits
        return logits if logits.shape[1] == keep else logits[:, -keep:]

    def prefill(
        self, feeds: Sequence[Feed], *, columns: int = 0, logits: bool = True
    ) -> tuple[SlotCache, torch.Tensor | None]:
        """Run the new tokens of some rows, left-padded together.

        Args:
            feeds: rows, at least one with a new token each.
            columns: room to leave behind the prompt. logits: whether those after the last token are wanted.

        Returns:
            The rows' cache, its clock behind the last token, and logits ``(rows, vocab)``.
        """
        n, width = len(feeds), max(len(f.tokens) for f in feeds)
        new = max(f.new for f in feeds)
        cache = SlotCache(self.cache_layers, slots=n, columns=width + columns)
        starts = np.array([width - len(f.tokens) for f in feeds])
        for i, f in enumerate(feeds):
            if f.kv is not None:
                cache.put(i, int(starts[i]), f.kv)
        cache.clock = width - new
        padded = bool((starts > 0).any())
        ids, codes, read = _left_padded(feeds, width, starts)
        column = np.arange(width)
        positions = torch.from_numpy(np.maximum(column[None] - starts[:, None], 0)).to(self.device)
        mask = torch.from_numpy(column[None] >= starts[:, None]).to(self.device)
        ids_t = torch.from_numpy(ids).to(self.device)
        wanted = any(f.wants for f in feeds)
        step = max(16, self.chunk // n)
        last: torch.Tensor | None = None
        for a in range(width - new, width, step):
            b = min(a + step, width)
            plan = None
            if wanted:
                plan = Plan(self.table, [f.wants for f in feeds], codes[:, a:b], read=read[:, a:b])
            self.probe.arm(plan)
            shown = mask[:, :b] if padded else None
            last = self.forward(ids_t[:, a:b], mask=shown, positions=positions[:, a:b], cache=cache, keep=1)
            cache.clock = b
            if plan is not None:
                out = self.probe.finish()
                for i, f in enumerate(feeds):
                    at = max(int(starts[i]) - a, 0)
                    first = a + at - int(starts[i])
                    note(f.log, f.wants, plan, out, i, first=first, at=at, read=read[i, a + at : b])
        assert last is not None
        return cache, last[:, 0] if logits else None


def _left_padded(
    feeds: Sequence[Feed], width: int, starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int8]]:
    """Token ids, span codes, and span codes of tokens not yet read, each ``(rows, width)``."""
    ids = np.zeros((len(feeds), width), np.int64)
    codes = np.full((len(feeds), width), -1, np.int8)
    read = np.full((len(feeds), width), -1, np.int8)
    for i, f in enumerate(feeds):
        s = int(starts[i])
        ids[i, s:] = f.tokens
        codes[i, s:] = f.codes
        read[i, s + f.known :] = f.codes[f.known :]
    return ids, codes, read
