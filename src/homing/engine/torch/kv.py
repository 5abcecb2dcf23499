"""Keys and values in slots on one shared clock, and the store of prefixes."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from typing import Any, cast

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

__all__ = ["RowKV", "SlotCache"]

RowKV = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of one row: cache layer -> ``(heads, tokens, dim)`` twice."""


class _SlotLayer(CacheLayerMixin):
    """One layer's part of a :class:`SlotCache`: buffers ``(slots, heads, columns, dim)``, written in place."""

    is_sliding = False

    def __init__(self, owner: SlotCache) -> None:
        super().__init__()
        self.owner = owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        o = self.owner
        rows, columns = o.slots, o.columns
        self.keys = key_states.new_zeros((rows, key_states.shape[1], columns, key_states.shape[3]))
        self.values = value_states.new_zeros((rows, value_states.shape[1], columns, value_states.shape[3]))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        o = self.owner
        n, q = key_states.shape[0], key_states.shape[2]
        end = o.clock + q
        keys, values = cast(torch.Tensor, self.keys), cast(torch.Tensor, self.values)
        keys[:n, :, o.clock : end] = key_states
        values[:n, :, o.clock : end] = value_states
        return keys[:n, :, o.left : end], values[:n, :, o.left : end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.owner.clock - self.owner.left + query_length, 0

    def get_seq_length(self) -> int:
        return self.owner.clock - self.owner.left

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):
    """A cache of rows that all append at the same column.

    A row of ``p`` tokens that joins at clock ``t`` fills columns ``t - p .. t - 1``; columns before are masked, exactly
    as with left-padded generation, so the model builds its own causal and sliding-window masks. Columns left of
    ``left`` belong to no row and are not shown to the model.

    Args:
        layers: how many cache layers. ``slots``: rows. ``columns``: first width; both grow when asked.
    """

    def __init__(self, layers: int, *, slots: int, columns: int) -> None:
        self.slots, self.columns = slots, columns
        self.clock = 0
        self.left = 0
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])

    def _ready(self) -> list[_SlotLayer]:
        return [x for x in cast("list[_SlotLayer]", self.layers) if x.is_initialized]

    def _pairs(self) -> list[torch.Tensor]:
        return [cast(torch.Tensor, t) for x in self._ready() for t in (x.keys, x.values)]

    def room(self, *, slots: int, columns: int) -> None:
        """Make room for so many rows and columns, keeping what is there."""
        if slots <= self.slots and columns <= self.columns:
            return
        new_slots, new_columns = max(slots, self.slots), max(columns, self.columns)
        for x in self._ready():
            for name in ("keys", "values"):
                old = cast(torch.Tensor, getattr(x, name))
                new = old.new_zeros((new_slots, old.shape[1], new_columns, old.shape[3]))
                new[: old.shape[0], :, : old.shape[2]] = old
                setattr(x, name, new)
        self.slots, self.columns = new_slots, new_columns

    def shift(self, rows: int, *, by: int) -> None:
        """Move the live columns of the first ``rows`` rows by ``by`` (negative: left), clock and left too."""
        a, b = self.left, self.clock
        for t in self._pairs():
            t[:rows, :, a + by : b + by] = t[:rows, :, a:b].clone()
        self.left, self.clock = a + by, b + by

    def move(self, source: int, target: int, *, start: int) -> None:
        """Copy a row's live columns from ``start`` on into another slot."""
        for t in self._pairs():
            t[target, :, start : self.clock] = t[source, :, start : self.clock]

    def take(self, row: int, start: int, stop: int) -> RowKV:
        """Copy columns ``start .. stop - 1`` of one row out."""
        out: RowKV = {}
        for i, x in enumerate(cast("list[_SlotLayer]", self.layers)):
            if x.is_initialized:
                k, v = cast(torch.Tensor, x.keys), cast(torch.Tensor, x.values)
                out[i] = (k[row, :, start:stop].clone(), v[row, :, start:stop].clone())
        return out

    def put(self, row: int, start: int, kv: RowKV) -> None:
        """Write one row's keys and values from column ``start`` on."""
        for i, (k, v) in kv.items():
            x = cast(_SlotLayer, self.layers[i])
            if not x.is_initialized:
                x.lazy_initialization(k[None], v[None])
            cast(torch.Tensor, x.keys)[row, :, start : start + k.shape[1]] = k
            cast(torch.Tensor, x.values)[row, :, start : start + v.shape[1]] = v

    def copy_from(self, other: SlotCache, row: int, source: int, *, tokens: int) -> None:
        """Copy the last ``tokens`` columns of a row of another cache in front of this cache's clock."""
        a, b = other.clock - tokens, other.clock
        for x, y in zip(cast("list[_SlotLayer]", self.layers), cast("list[_SlotLayer]", other.layers), strict=True):
            if not y.is_initialized:
                continue
            if not x.is_initialized:
                x.lazy_initialization(cast(torch.Tensor, y.keys), cast(torch.Tensor, y.values))
            cast(torch.Tensor, x.keys)[row, :, self.clock - tokens : self.clock] = cast(torch.Tensor, y.keys)[
                source, :, a:b
            ]
            cast(torch.Tensor, x.values)[row, :, self.clock - tokens : self.clock] = cast(torch.Tensor, y.values)[
                source, :, a:b
            ]

    def spread(self, rows: list[int], *, columns: int) -> SlotCache:
        """A new cache whose row ``i`` copies this one's row ``rows[i]``, with room for ``columns`` more."""
        new = SlotCache(len(self.layers), slots=len(rows), columns=self.clock + columns)
        new.clock, new.left = self.clock, self.left
        for x, y in zip(cast("list[_SlotLayer]", self.layers), cast("list[_SlotLayer]", new.layers), strict=True):
            if not x.is_initialized:
                continue
            k, v = cast(torch.Tensor, x.keys), cast(torch.Tensor, x.values)
            y.lazy_initialization(k, v)
            index = torch.tensor(rows, device=k.device)
            cast(torch.Tensor, y.keys)[:, :, : self.clock] = k[:, :, : self.clock].index_select(0, index)
            cast(torch.Tensor, y.values)[:, :, : self.clock] = v[:, :, : self.clock].index_select(0, index)
        return new

    def bytes_per_token(self) -> int:
        """Bytes of one token of one row over all layers (0 before the first token)."""
        return sum(t.shape[1] * t.shape[3] * t.element_size() for t in self._pairs())
