"""Scoring of prompts that begin alike: the beginning is run once, and what follows it goes as branches of one tree.

Many questions put to one conversation share all but their last tokens, and the options of a question share the question. A row
holds the shared beginning as keys and values, and behind it several questions with their options, each seeing only the
beginning, its own question and its own option.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from homing.engine.prefixes import PrefixStore, common
from homing.engine.rows import Log
from homing.engine.torch.kv import SlotCache
from homing.engine.torch.lines import Line
from homing.engine.torch.probe import Plan, Readout
from homing.engine.torch.runner import Feed, Runner, batches
from homing.engine.wants import Wants

__all__ = ["Shared", "alike", "run_trees"]

I64 = NDArray[np.int64]
_LEAST = 16
"""A shorter beginning is not worth a run of its own."""
_ROW = 512
"""New tokens of one row: every one is weighed against all others of its row, also where it does not see them."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Prompts with one beginning. ``length``: of it, in tokens. ``members``: which prompts, at least two."""

    length: int
    members: tuple[int, ...]


def alike(prompts: Sequence[Sequence[int]], keys: Sequence[object]) -> list[Shared]:
    """Neighbours that begin alike, where running the beginning once saves tokens.

    Args:
        prompts: token ids, in the order in which they were given: those of one conversation stand together.
        keys: prompts of different keys are never put together.
    """
    out: list[Shared] = []
    members: list[int] = []
    length = 0

    def close() -> None:
        if len(members) > 1:
            out.append(Shared(length, tuple(members)))

    for i, prompt in enumerate(prompts):
        if members and keys[i] == keys[members[0]]:
            # the last token of a prompt predicts: it is never part of the beginning
            both = common(prompts[members[0]][:length], prompt[:-1])
            saved = both - (len(members) - 1) * (length - both)
            if both >= _LEAST and saved > 0:
                members.append(i)
                length = both
                continue
        close()
        members, length = [i], len(prompt) - 1
    close()
    return out


@dataclass(eq=False)
class _Branch:
    """One prompt behind its beginning, with its continuations. ``lines`` share the prompt."""

    group: int
    lines: list[Line]
    rest: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.rest) + sum(len(x.tail) for x in self.lines)


@dataclass(eq=False)
class _Packed:
    """One row: where each of its tokens belongs.

    Attributes:
        ids, positions, codes: one a token. prompt, option: which branch, and which of its lines (-1: the question itself).
        asked: per line, the line, the columns that predict its tokens, and the columns of its tokens.
    """

    group: int
    ids: list[int] = field(default_factory=list[int])
    positions: list[int] = field(default_factory=list[int])
    codes: list[int] = field(default_factory=list[int])
    prompt: list[int] = field(default_factory=list[int])
    option: list[int] = field(default_factory=list[int])
    asked: list[tuple[Line, list[int], list[int]]] = field(default_factory=list[tuple[Line, list[int], list[int]]])

    def add(self, branch: _Branch, number: int, start: int) -> None:
        """Put a branch in. ``start``: tokens of the beginning."""
        lead = len(branch.lines[0].lead)
        self.ids += branch.rest
        self.positions += range(start, lead)
        self.codes += branch.lines[0].codes[start:lead].tolist()
        self.prompt += [number] * len(branch.rest)
        self.option += [-1] * len(branch.rest)
        last = len(self.ids) - 1
        for k, x in enumerate(branch.lines):
            first = len(self.ids)
            at = list(range(first, first + len(x.tail)))
            self.asked.append((x, [last, *at[:-1]], at))
            self.ids += x.tail
            self.positions += range(lead, lead + len(x.tail))
            self.codes += x.codes[lead:].tolist()
            self.prompt += [number] * len(x.tail)
            self.option += [k] * len(x.tail)


def run_trees(
    runner: Runner, groups: Sequence[tuple[int, list[list[Line]]]], *, rows: int, store: PrefixStore | None = None
) -> Iterator[None]:
    """Fill in the values of lines whose prompts begin alike; yields after each pass.

    Args:
        groups: length of the beginning, and by prompt its lines; all of a group with the same acts, none with reads or means.
        rows: most rows a pass. store: what talks have kept of their beginnings, which is not run again.
    """
    for few in batches([n for n, _ in groups], tokens=runner.chunk, rows=rows):
        feeds: list[Feed] = []
        packed: list[_Packed] = []
        for g, i in enumerate(few):
            n, prompts = groups[i]
            head = prompts[0][0]
            feeds.append(_begun(head, n, store))
            packed += _pack([_Branch(g, lines, lines[0].lead[n:]) for lines in prompts], n)
        begun, _ = runner.prefill(feeds, logits=False)
        yield None
        lengths = [len(f.tokens) for f in feeds]
        room = max(1, runner.logit_bytes // (runner.vocab * 4))
        for part in batches([len(p.ids) for p in packed], tokens=min(runner.chunk, max(room, 64)), rows=rows):
            _pass(runner, begun, [packed[i] for i in part], lengths, room)
            yield None


def _begun(head: Line, n: int, store: PrefixStore | None) -> Feed:
    """The first ``n`` tokens of a prompt, without what its tenant has kept of them; one token at least is run."""
    feed = Feed(head.lead[:n], head.codes[:n], Wants(head.wants.acts), Log(n))
    hit = store.find(head.tenant, head.lead[:n], feed.codes, feed.wants) if store is not None and head.tenant else None
    if hit is not None:
        feed.known, feed.kv = len(hit.tokens), hit.kv
    return feed


def _pack(branches: Sequence[_Branch], start: int) -> list[_Packed]:
    out: list[_Packed] = []
    for number, b in enumerate(branches):
        if not out or len(out[-1].ids) + b.size > _ROW:
            out.append(_Packed(b.group))
        out[-1].add(b, number, start)
    return out


def _table(rows: Sequence[Sequence[int]], fill: int) -> I64:
    width = max(len(r) for r in rows)
    out = np.full((len(rows), width), fill, np.int64)
    for i, r in enumerate(rows):
        out[i, : len(r)] = r
    return out


def _pass(runner: Runner, begun: SlotCache, rows: list[_Packed], lengths: Sequence[int], room: int) -> None:
    """Rows behind copies of their beginnings, in chunks of columns where the logits would be too large."""
    device, width = runner.device, begun.clock
    ids = torch.from_numpy(_table([r.ids for r in rows], 0)).to(device)
    positions = torch.from_numpy(_table([r.positions for r in rows], 0)).to(device)
    codes = _table([r.codes for r in rows], -1).astype(np.int8)
    n, new = ids.shape
    cache = begun.spread([r.group for r in rows], columns=new)
    mask = _mask(rows, lengths, width, device)
    acts = [x.wants.acts for r in rows for x, _, _ in r.asked[:1]]
    order = [(i, x, a, b) for i, r in enumerate(rows) for x, a, b in r.asked]
    wanted = np.array([(i, c, t, k) for k, (i, x, a, _) in enumerate(order) for c, t in zip(a, x.tail, strict=True)])
    place = np.concatenate([np.arange(len(x.tail)) for _, x, _, _ in order])
    step = max(8, room // n)
    for a in range(0, new, step):
        b = min(a + step, new)
        plan = Plan(runner.table, [Wants(x) for x in acts], codes[:, a:b]) if any(acts) else None
        runner.probe.arm(plan if plan is not None and plan.layers else None)
        logits = runner.forward(
            ids[:, a:b], mask=mask[:, :, a:b, : width + b], positions=positions[:, a:b], cache=cache, keep=b - a
        )
        cache.clock = width + b
        if plan is not None and plan.layers:
            _note(plan, runner.probe.finish(), order, a, b)
        here = np.flatnonzero((wanted[:, 1] >= a) & (wanted[:, 1] < b))
        for k in range(0, len(here), room):
            some = here[k : k + room]
            i, c, t = (torch.from_numpy(wanted[some, j]).to(device) for j in range(3))
            x = logits[i, c - a].float()
            got = (x.gather(-1, t.unsqueeze(-1)).squeeze(-1) - x.logsumexp(-1)).cpu().numpy()
            for line, at, value in zip(wanted[some, 3].tolist(), place[some].tolist(), got.tolist(), strict=True):
                order[line][1].values[at] = value


def _mask(rows: Sequence[_Packed], lengths: Sequence[int], width: int, device: torch.device) -> torch.Tensor:
    """Who sees whom: ``(rows, 1, new, width + new)``, true where a token is seen."""
    prompt = torch.from_numpy(_table([r.prompt for r in rows], -1)).to(device)
    option = torch.from_numpy(_table([r.option for r in rows], -2)).to(device)
    start = torch.tensor([width - lengths[r.group] for r in rows], device=device)
    n, new = prompt.shape
    before = (torch.arange(width, device=device) >= start[:, None])[:, None].expand(n, new, width)
    at = torch.arange(new, device=device)
    same = (prompt[:, :, None] == prompt[:, None, :]) & (at[:, None] >= at[None, :])
    among = same & ((option[:, None, :] == -1) | (option[:, :, None] == option[:, None, :]))
    return torch.cat([before, among], dim=2).unsqueeze(1)


def _note(plan: Plan, out: Readout, order: Sequence[tuple[int, Line, list[int], list[int]]], a: int, b: int) -> None:
    """By how much acts moved the tokens of continuations, into the logs of their lines."""
    if out.fired is None:
        return
    for i, x, _, at in order:
        inside = [(k, c - a) for k, c in enumerate(at) if a <= c < b]
        if not inside:
            continue
        lead = len(x.lead)
        for k, act in enumerate(x.wants.acts):
            for layer in act.layers:
                slot = plan.fired_at.get((i, k, layer))
                if slot is not None:
                    log = x.log.fired.setdefault((k, layer), np.zeros(x.log.tokens, np.float32))
                    for place, column in inside:
                        log[lead + place] = out.fired[slot, i, column]
