"""Reading and acting on the residual stream inside the forward pass.

A :class:`Plan` says, for the rows of one forward pass, what is read and done where; the :class:`Probe` hooks exactly
the layers that the plan names. Readings are taken before acts at the same layer. All vector arithmetic is float32.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from homing.engine.base import Act, SpanKind
from homing.engine.torch.layers import hidden_of
from homing.engine.wants import CODE, SPANS, Known, Wants

__all__ = ["Plan", "Probe", "Readout", "Table"]

F32 = NDArray[np.float32]
_NO_LAYERS: tuple[int, ...] = ()


class Table(Known):
    """Registered directions, and their vectors on the device."""

    def __init__(self, *, layers: int, hidden: int, device: torch.device) -> None:
        super().__init__(layers=layers, hidden=hidden)
        self.device = device
        self._vectors: dict[tuple[str, int], torch.Tensor] = {}

    def vector(self, direction: str, layer: int) -> torch.Tensor:
        key = (direction, layer)
        v = self._vectors.get(key)
        if v is None:
            v = torch.tensor(self.directions[direction].at(layer), device=self.device)
            self._vectors[key] = v
        return v


@dataclass(eq=False)
class _Gate:
    """One gate a row at a layer: ``v`` (rows, hidden), ``threshold`` and ``below`` (rows, 1)."""

    v: torch.Tensor
    threshold: torch.Tensor
    below: torch.Tensor
    slot: int


@dataclass(eq=False)
class _Group:
    """At most one act a row at a layer; coefficients ``(rows, 1)``, absent kinds are None."""

    slot: int
    v: torch.Tensor
    floor: torch.Tensor | None = None
    floor_strength: torch.Tensor | None = None
    ceiling: torch.Tensor | None = None
    ceiling_strength: torch.Tensor | None = None
    add: torch.Tensor | None = None
    ablate: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    gates: list[tuple[int, torch.Tensor]] = field(default_factory=list[tuple[int, torch.Tensor]])


@dataclass(eq=False)
class Readout:
    """What one forward pass gave.

    Attributes:
        projections: ``(layers, rows, tokens, directions)`` or None. ``fired``: ``(slots, rows, tokens)`` or None.
        sums: per mean layer ``(rows, spans, hidden)`` on the device, for prefill plans.
    """

    projections: F32 | None = None
    fired: F32 | None = None
    sums: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])


class Plan:
    """What is read and done in one forward pass.

    Args:
        table: registered directions.
        wants: one a row.
        codes: int8 ``(rows, tokens)``: index into SPANS, -1 for padding. Decides where acts touch.
        read: the same, -1 also for tokens that were read before; default ``codes``.
        deferred: one token a row; references are kept and projected in one product (decode). Otherwise each layer is
            projected in its own hook, so that a long prompt is never held for all layers.
    """

    def __init__(
        self,
        table: Table,
        wants: Sequence[Wants],
        codes: NDArray[np.int8],
        *,
        read: NDArray[np.int8] | None = None,
        deferred: bool = False,
    ) -> None:
        self.table, self.deferred = table, deferred
        self.rows, self.tokens = codes.shape
        read = codes if read is None else read
        self.read_at: dict[tuple[int, str], tuple[int, int]] = {}
        self.read_layers = _NO_LAYERS
        self.mean_layers = _NO_LAYERS
        self.mean_spans: tuple[SpanKind, ...] = ()
        self.fired_at: dict[tuple[int, int, int], int] = {}
        self.gates: dict[int, list[_Gate]] = {}
        self.groups: dict[int, list[_Group]] = {}
        present = [{SPANS[c] for c in np.unique(read[i]) if c >= 0} for i in range(self.rows)]
        self._plan_reads(wants, present)
        self._plan_means(wants, present, read)
        self._plan_acts(wants, codes)
        self.keep = tuple(sorted(set(self.read_layers) | set(self.mean_layers)))
        self.read_index = [self.keep.index(x) for x in self.read_layers]
        self.mean_index = [self.keep.index(x) for x in self.mean_layers]
        self.layers = frozenset(self.keep) | frozenset(self.gates) | frozenset(self.groups)

    def _plan_reads(self, wants: Sequence[Wants], present: list[set[SpanKind]]) -> None:
        layers: set[int] = set()
        names: dict[str, int] = {}
        for w, spans in zip(wants, present, strict=True):
            for r in w.reads:
                if r.spans & spans:
                    layers |= set(r.layers)
                    names.setdefault(r.direction, len(names))
        self.read_layers = tuple(sorted(layers))
        self.directions = names
        if not layers:
            return
        t = self.table
        weights = torch.zeros((len(layers), t.hidden, len(names)), device=t.device)
        for i, layer in enumerate(self.read_layers):
            for name, k in names.items():
                if layer in t.directions[name].layers:
                    weights[i, :, k] = t.vector(name, layer)
        self.weights = weights
        self.layer_at = {layer: i for i, layer in enumerate(self.read_layers)}

    def _plan_means(self, wants: Sequence[Wants], present: list[set[SpanKind]], read: NDArray[np.int8]) -> None:
        layers: set[int] = set()
        spans: set[SpanKind] = set()
        for w, here in zip(wants, present, strict=True):
            for m in w.means:
                if m.span in here:
                    layers |= set(m.layers)
                    spans.add(m.span)
        self.mean_layers = tuple(sorted(layers))
        self.mean_spans = tuple(s for s in SPANS if s in spans)
        if layers and not self.deferred:
            masks = np.stack([read == CODE[s] for s in self.mean_spans], axis=1).astype(np.float32)
            self.mean_masks = torch.from_numpy(masks).to(self.table.device)

    def _plan_acts(self, wants: Sequence[Wants], codes: NDArray[np.int8]) -> None:
        per_layer: dict[int, list[list[tuple[int, int, Act]]]] = {}
        gate_rows: dict[int, list[list[tuple[int, int, Act]]]] = {}
        for row, w in enumerate(wants):
            depth: dict[int, int] = {}
            gate_depth: dict[int, int] = {}
            for k, act in enumerate(w.acts):
                touched = np.isin(codes[row], [CODE[s] for s in act.spans])
                if not touched.any():
                    continue
                for layer in act.layers:
                    j = depth.get(layer, 0)
                    depth[layer] = j + 1
                    slots = per_layer.setdefault(layer, [])
                    if len(slots) <= j:
                        slots.append([])
                    slots[j].append((row, k, act))
                if act.gate is not None:
                    g = gate_depth.get(act.gate.layer, 0)
                    gate_depth[act.gate.layer] = g + 1
                    gslots = gate_rows.setdefault(act.gate.layer, [])
                    if len(gslots) <= g:
                        gslots.append([])
                    gslots[g].append((row, k, act))
        self._gate_slot: dict[tuple[int, int], int] = {}
        count = 0
        for layer, slots in gate_rows.items():
            for members in slots:
                self.gates.setdefault(layer, []).append(self._gate(layer, members, count))
                count += 1
        slot = 0
        for layer in sorted(per_layer):
            for members in per_layer[layer]:
                self.groups.setdefault(layer, []).append(self._group(layer, members, slot, codes))
                for row, k, _ in members:
                    self.fired_at[(row, k, layer)] = slot
                slot += 1
        self.fired_slots = slot

    def _column(self, fill: float) -> torch.Tensor:
        return torch.full((self.rows, 1), fill)

    def _gate(self, layer: int, members: list[tuple[int, int, Act]], slot: int) -> _Gate:
        t = self.table
        v = torch.zeros((self.rows, t.hidden), device=t.device)
        threshold, below = self._column(0.0), torch.ones((self.rows, 1), dtype=torch.bool)
        for row, k, act in members:
            assert act.gate is not None
            v[row] = t.vector(act.gate.direction, layer)
            threshold[row] = act.gate.threshold
            below[row] = act.gate.side == "below"
            self._gate_slot[(row, k)] = slot
        return _Gate(v, threshold.to(t.device), below.to(t.device), slot)

    def _group(self, layer: int, members: list[tuple[int, int, Act]], slot: int, codes: NDArray[np.int8]) -> _Group:
        t = self.table
        device = t.device
        v = torch.zeros((self.rows, t.hidden), device=device)
        floor, floor_s = self._column(float("-inf")), self._column(1.0)
        ceiling, ceiling_s = self._column(float("inf")), self._column(1.0)
        add, ablate = self._column(0.0), self._column(0.0)
        mask = np.zeros(codes.shape, dtype=bool)
        kinds: set[str] = set()
        gates: dict[int, torch.Tensor] = {}
        for row, k, act in members:
            v[row] = t.vector(act.direction, layer)
            mask[row] = np.isin(codes[row], [CODE[s] for s in act.spans])
            kinds.add(act.kind)
            if act.kind == "floor":
                floor[row], floor_s[row] = act.thresholds[act.layers.index(layer)], act.strength
            elif act.kind == "ceiling":
                ceiling[row], ceiling_s[row] = act.thresholds[act.layers.index(layer)], act.strength
            elif act.kind == "add":
                add[row] = act.strength
            else:
                ablate[row] = act.strength
            if act.gate is not None:
                sel = gates.setdefault(self._gate_slot[(row, k)], torch.zeros((self.rows, 1), dtype=torch.bool))
                sel[row] = True
        out = _Group(slot, v)
        if "floor" in kinds:
            out.floor = floor.to(device)
            out.floor_strength = None if bool((floor_s == 1).all()) else floor_s.to(device)
        if "ceiling" in kinds:
            out.ceiling = ceiling.to(device)
            out.ceiling_strength = None if bool((ceiling_s == 1).all()) else ceiling_s.to(device)
        out.add = add.to(device) if "add" in kinds else None
        out.ablate = ablate.to(device) if "ablate" in kinds else None
        rows = [m[0] for m in members]
        if not mask[rows].all() and not self.deferred:  # a plan of one token a row already left out rows not touched
            out.mask = torch.from_numpy(mask).to(device)
        out.gates = [(s, sel.to(device)) for s, sel in gates.items()]
        return out


def _moved(group: _Group, p: torch.Tensor, gates: dict[int, torch.Tensor]) -> torch.Tensor:
    """By how much each token's projection is to move, ``(rows, tokens)``, from its projection ``p``."""
    d: torch.Tensor | None = None
    if group.floor is not None:
        d = (group.floor - p).clamp_min_(0.0)
        if group.floor_strength is not None:
            d = d * group.floor_strength
    if group.ceiling is not None:
        c = (group.ceiling - p).clamp_max_(0.0)
        if group.ceiling_strength is not None:
            c = c * group.ceiling_strength
        d = c if d is None else d + c
    if group.add is not None:
        d = group.add.expand_as(p) if d is None else d + group.add
    if group.ablate is not None:
        e = -group.ablate * p
        d = e if d is None else d + e
    assert d is not None
    if group.mask is not None:
        d = d * group.mask
    for slot, sel in group.gates:
        d = torch.where(sel, d * gates[slot], d)
    return d


class Probe:
    """Hooks on the decoder layers; only those that the current plan names are installed.

    The hooks act only in the thread that armed them, so the model's owner may run it elsewhere meanwhile.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = tuple(layers)
        self._handles: dict[int, Any] = {}
        self._plan: Plan | None = None
        self._thread = 0
        self._kept: dict[int, torch.Tensor] = {}
        self._projected: dict[int, torch.Tensor] = {}
        self._sums: dict[int, torch.Tensor] = {}
        self._fired: list[torch.Tensor | None] = []
        self._open: dict[int, torch.Tensor] = {}

    def arm(self, plan: Plan | None) -> None:
        """Install hooks on the layers that ``plan`` names, and on no other."""
        wanted = plan.layers if plan is not None else frozenset[int]()
        for i in [i for i in self._handles if i not in wanted]:
            self._handles.pop(i).remove()
        for i in sorted(wanted):
            if i not in self._handles:
                self._handles[i] = self.layers[i].register_forward_hook(partial(self._hook, i))
        self._plan = plan
        self._thread = threading.get_ident()
        self._clear()

    def disarm(self) -> None:
        """Remove every hook: the model is as it was."""
        for h in self._handles.values():
            h.remove()
        self._handles.clear()
        self._plan = None
        self._clear()

    def _clear(self) -> None:
        self._kept.clear()
        self._projected.clear()
        self._sums = {}
        self._open.clear()
        self._fired = [None] * (self._plan.fired_slots if self._plan is not None else 0)

    def _hook(self, i: int, _module: nn.Module, _args: Any, output: Any) -> Any:
        plan = self._plan
        if plan is None or threading.get_ident() != self._thread:
            return None
        h = hidden_of(output)
        assert h is not None, f"layer {i} gave no tensor"
        if i in plan.keep:
            if plan.deferred:
                self._kept[i] = h
            else:
                self._read_now(plan, i, h.float())
        gates, groups = plan.gates.get(i), plan.groups.get(i)
        if gates is None and groups is None:
            return None
        x = h.float()
        for g in gates or ():
            p = (x * g.v.unsqueeze(1)).sum(-1)
            self._open[g.slot] = torch.where(g.below, p < g.threshold, p > g.threshold)
        if groups is None:
            return None
        for group in groups:
            v = group.v.unsqueeze(1)
            d = _moved(group, (x * v).sum(-1), self._open)
            self._fired[group.slot] = d
            x = torch.addcmul(x, d.unsqueeze(-1), v)
        new = x.to(h.dtype)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    def _read_now(self, plan: Plan, i: int, x: torch.Tensor) -> None:
        if i in plan.read_layers:
            self._projected[i] = x @ plan.weights[plan.layer_at[i]]
        if i in plan.mean_layers:
            self._sums[i] = torch.bmm(plan.mean_masks, x)

    def finish(self, sums: torch.Tensor | None = None) -> Readout:
        """Take out what the pass gave, in one transfer a kind.

        Args:
            sums: for a deferred plan, running sums ``(mean layers, slots, hidden)`` to which this pass is added.
        """
        plan = self._plan
        out = Readout()
        if plan is None:
            return out
        if plan.deferred and plan.keep:
            x = torch.stack([self._kept[i] for i in plan.keep])[:, :, 0].float()
            if plan.read_layers:
                y = x if len(plan.read_layers) == len(plan.keep) else x[plan.read_index]
                out.projections = torch.bmm(y, plan.weights).unsqueeze(2).cpu().numpy()
            if plan.mean_layers and sums is not None:
                sums[:, : plan.rows] += x if len(plan.mean_layers) == len(plan.keep) else x[plan.mean_index]
        elif plan.read_layers:
            out.projections = torch.stack([self._projected[i] for i in plan.read_layers]).cpu().numpy()
        out.sums = self._sums
        if plan.fired_slots:
            fired = [x.expand(plan.rows, plan.tokens) for x in self._fired if x is not None]
            out.fired = torch.stack(fired).cpu().numpy()
        self._clear()
        return out
