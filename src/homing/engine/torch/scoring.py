"""Scoring and reading of given text, batched across prompts and continuations."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from homing.engine.base import Score
from homing.engine.prefixes import PrefixStore
from homing.engine.rows import Log, score_of
from homing.engine.score import ScoreJob
from homing.engine.torch.kv import SlotCache
from homing.engine.torch.lines import Line, lines_of
from homing.engine.torch.probe import Plan
from homing.engine.torch.runner import Feed, Runner, batches, note
from homing.engine.torch.trees import alike, run_trees
from homing.engine.wants import Wants

__all__ = ["score_all"]

F32 = NDArray[np.float32]


def score_all(
    runner: Runner, jobs: Sequence[ScoreJob], *, rows: int, store: PrefixStore | None = None
) -> Iterator[list[list[Score]] | None]:
    """Score every continuation of every job; yields None after each batch, at last the scores.

    Prompts that begin alike go as trees, see :mod:`homing.engine.torch.trees`, where only log-probabilities are wanted. Of
    the others, a prompt with several continuations is run once and its keys and values are copied; one with a single
    continuation is run together with it. Rows of like length share a batch.
    """
    lines = lines_of(jobs)
    of_job: dict[int, list[Line]] = {}
    for x in lines:
        of_job.setdefault(x.job, []).append(x)
    plain = [j for j in of_job if runner.trees and jobs[j].logprobs and not jobs[j].reads and not jobs[j].means]
    groups = alike([jobs[j].prompt for j in plain], [(jobs[j].acts, jobs[j].tenant) for j in plain])
    trees = [(g.length, [of_job[plain[i]] for i in g.members]) for g in groups]
    yield from run_trees(runner, trees, rows=max(rows, 64), store=store)
    done = {plain[i] for g in groups for i in g.members}
    forked = [j for j in of_job if j not in done and len(of_job[j]) > 1 and len(jobs[j].prompt) > 1]
    apart = done.union(forked)
    fused = [x for x in lines if x.job not in apart]
    for group in batches([x.size for x in fused], tokens=runner.chunk, rows=max(rows, 64)):
        _run(runner, [fused[i] for i in group])
        yield None
    for group in batches([len(jobs[j].prompt) for j in forked], tokens=runner.chunk, rows=max(rows, 64)):
        yield from _run_forked(runner, [of_job[forked[i]] for i in group], rows=max(rows, 64))
    scores: list[list[Score]] = [[] for _ in jobs]
    for x in lines:
        scores[x.job].append(score_of(x.log, x.wants, x.codes, len(x.lead), x.values, hidden=runner.table.hidden))
    yield scores


def _run(runner: Runner, lines: list[Line]) -> None:
    """Prompt and continuation in one left-padded batch, in chunks of columns where it is long."""
    n, width = len(lines), max(x.size for x in lines)
    starts = np.array([width - x.size for x in lines])
    tail = max(len(x.tail) for x in lines)
    vocab = any(x.logprobs for x in lines)
    step = max(16, runner.chunk // n)
    if vocab:
        step = min(step, max(8, runner.logit_bytes // (n * runner.vocab * 4)))
    many = width > step
    cache = None
    if many:
        cache = SlotCache(runner.cache_layers, slots=n, columns=width)
    ids = np.zeros((n, width), np.int64)
    codes = np.full((n, width), -1, np.int8)
    read = np.full((n, width), -1, np.int8)
    for i, x in enumerate(lines):
        ids[i, starts[i] :] = (*x.lead, *x.tail)
        codes[i, starts[i] :] = x.codes
        read[i, starts[i] :] = x.read
    _columns(runner, lines, ids, codes, read, starts, cache=cache, first=0, step=step, keep_from=width - tail - 1)


def _columns(
    runner: Runner,
    lines: list[Line],
    ids: NDArray[np.int64],
    codes: NDArray[np.int8],
    read: NDArray[np.int8],
    starts: NDArray[np.int64],
    *,
    cache: SlotCache | None,
    first: int,
    step: int,
    keep_from: int,
) -> None:
    """Run columns ``first ..`` of a left-padded batch; column ``c``'s logits predict the token of column ``c + 1``."""
    width = ids.shape[1]
    column = np.arange(width)
    device = runner.device
    positions = torch.from_numpy(np.maximum(column[None] - starts[:, None], 0)).to(device)
    mask = torch.from_numpy(column[None] >= starts[:, None]).to(device)
    ids_t = torch.from_numpy(ids).to(device)
    padded = bool((starts > 0).any())
    vocab = any(x.logprobs for x in lines)
    asks = any(x.wants for x in lines)
    for a in range(first, width, step):
        b = min(a + step, width)
        plan = Plan(runner.table, [x.wants for x in lines], codes[:, a:b], read=read[:, a:b]) if asks else None
        runner.probe.arm(plan if plan is not None and plan.layers else None)
        low = max(a, keep_from)
        wanted = vocab and low < min(b, width - 1)
        logits = runner.forward(
            ids_t[:, a:b],
            mask=mask[:, :b] if padded else None,
            positions=positions[:, a:b],
            cache=cache,
            keep=b - low if wanted else 1,
        )
        if cache is not None:
            cache.clock = b
        if plan is not None and plan.layers:
            out = runner.probe.finish()
            for i, x in enumerate(lines):
                at = max(int(starts[i]) - a, 0)
                stop = max(min(b, int(starts[i]) + x.size), a + at)  # a shorter tail is padded on the right
                note(x.log, x.wants, plan, out, i, first=a + at - int(starts[i]), at=at, read=read[i, a + at : stop])
        if wanted:
            stop = min(b, width - 1)
            _gather(lines, logits[:, : stop - low], ids_t[:, low + 1 : stop + 1], starts, low)


def _gather(
    lines: list[Line], logits: torch.Tensor, targets: torch.Tensor, starts: NDArray[np.int64], low: int
) -> None:
    """Log-probabilities of the targets, put where they belong."""
    got: list[F32] = []
    for i in range(len(lines)):  # row by row: a float copy of all logits would double the memory
        x = logits[i].float()
        got.append((x.gather(-1, targets[i].unsqueeze(-1)).squeeze(-1) - x.logsumexp(-1)).cpu().numpy())
    for i, x in enumerate(lines):
        # column low + 1 + c holds token low + 1 + c - start of the row; the tail begins at token len(lead)
        index = np.arange(low + 1, low + 1 + len(got[i])) - int(starts[i]) - len(x.lead)
        ok = (index >= 0) & (index < len(x.tail)) & (index + len(x.lead) > 0)
        x.values[index[ok]] = got[i][ok]


def _run_forked(runner: Runner, groups: list[list[Line]], *, rows: int) -> Iterator[None]:
    """Prompts (all but the last token) once, then every continuation on a copy of its prompt's keys and values."""
    feeds: list[Feed] = []
    for lines in groups:
        x = lines[0]
        p = len(x.lead) - 1
        # nothing of the prompt is read, but acts touch it
        feeds.append(Feed(x.lead[:p], x.codes[:p], Wants(x.wants.acts), Log(p)))
    prompts, _ = runner.prefill(feeds, logits=False)
    yield None
    parents = [(g, x) for g, lines in enumerate(groups) for x in lines]
    width = prompts.clock
    for group in batches([len(x.tail) for _, x in parents], tokens=runner.chunk, rows=rows):
        members = [parents[i] for i in group]
        lines = [x for _, x in members]
        tail = max(len(x.tail) for x in lines)
        cache = prompts.spread([g for g, _ in members], columns=tail + 1)
        n = len(lines)
        ids = np.zeros((n, width + tail + 1), np.int64)
        codes = np.full(ids.shape, -1, np.int8)
        read = np.full(ids.shape, -1, np.int8)
        starts = np.zeros(n, np.int64)
        for i, x in enumerate(lines):
            start = width + 1 - len(x.lead)
            starts[i] = start
            stop = width + 1 + len(x.tail)  # the tail is padded on the right, where causality keeps it harmless
            ids[i, start:stop] = (*x.lead, *x.tail)
            codes[i, start:stop] = x.codes
            read[i, start:stop] = x.read
        vocab = any(x.logprobs for x in lines)
        step = max(16, runner.chunk // n)
        if vocab:
            step = min(step, max(8, runner.logit_bytes // (n * runner.vocab * 4)))
        _columns(runner, lines, ids, codes, read, starts, cache=cache, first=width, step=step, keep_from=width)
        yield None
