"""What an engine proves when it opens: hooks are neutral, a shift arrives, readings are true, caps hold, slots are exact."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from homing.engine.base import Act, Direction, MeanRead, Read, SpanKind
from homing.engine.rows import Log
from homing.engine.score import ScoreJob
from homing.engine.torch.layers import hidden_of, text_config
from homing.engine.torch.lines import lines_of
from homing.engine.torch.probe import Plan, Readout
from homing.engine.torch.runner import Feed, Runner
from homing.engine.torch.trees import run_trees
from homing.engine.wants import CODE, Wants
from homing.errors import LayersError, Unsupported

__all__ = ["Proof", "prove"]

_SHARE, _HALF_SHARE = 1e-3, 0.05
"""Of the size of the stream: by so much a reading may miss, in float32 and where weights have 16 bits."""
_MEND = "load it in float32, or say what `homing doctor` prints in a bug report"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proved.

    Attributes:
        neutral: acts with nothing to do changed no bit. arrives: a known shift arrived at every layer.
        reads: readings and means equal what the layers gave. caps: a floor and a ceiling held at every layer. Both in the
            passes of a prompt and in those of one token.
        cache_error: largest difference between logits through slots and plain, relative to their spread.
        bytes_per_token: keys and values of one token.
    """

    neutral: bool
    arrives: bool
    reads: bool
    caps: bool
    cache_error: float
    bytes_per_token: int


@dataclass(frozen=True, eq=False)
class _Stream:
    """What the layers gave, seen by hooks of our own beside the probe's.

    Attributes:
        readings: ``(layers, tokens)`` projections on the test direction. means: ``(layers, hidden)``.
        size: of a vector of the stream, one a layer. share: of it, by which a reading may miss.
        logits: of the last token, ``(1, 1, vocab)``.
    """

    readings: torch.Tensor
    means: torch.Tensor
    size: torch.Tensor
    logits: torch.Tensor
    share: float


def prove(runner: Runner) -> Proof:
    """Run the checks on a few tokens.

    Raises:
        LayersError: a hook changes what it must not, or a shift does not arrive. Unsupported: a reading is not what the layer
            gave, a floor or a ceiling does not hold, or there is state without slots.
    """
    with torch.inference_mode():
        name = type(runner.model).__name__
        _refuse_state(runner, name)
        vocab = runner.vocab
        ids = [min(x, vocab - 1) for x in (7, 11, 5, 13, 3, 17, 2)]
        t = torch.tensor([ids], device=runner.device)
        d = _direction(runner)
        runner.table.register(d)
        try:
            plain = _forward(runner, t, keep=len(ids))
            if not _neutral(runner, d, t, plain):
                raise LayersError(
                    f"an act of strength zero changes the output of {name}; its layers are not what they seem"
                )
            for few, deferred in ((t[:, :3], False), (t[:, :1], True)):  # as a prompt is run, and as one step is
                stream = _reads(runner, d, few, name, deferred=deferred)
                if not _arrives(runner, d, few, stream, deferred=deferred):
                    raise LayersError(
                        f"a known shift does not arrive at the layers of {name}; name them yourself: layers='path'"
                    )
                _caps(runner, d, few, name, stream, deferred=deferred)
            error, size = _slots(runner, ids, plain)
        finally:
            runner.probe.disarm()
        tolerance = 1e-3 if plain.dtype == torch.float32 else 0.1
        if not error < tolerance:
            raise Unsupported(
                f"{name} gives other logits through slots than alone (relative difference {error:.2g}); "
                "it keeps state that this engine cannot hold"
            )
        runner.trees = _trees(runner, ids, plain, tolerance)
        return Proof(True, True, True, True, error, size)


def _refuse_state(runner: Runner, name: str) -> None:
    config = getattr(runner.model, "config", None)
    get = getattr(config, "get_text_config", None)
    text = get(decoder=True) if callable(get) else config
    kinds = set(getattr(text, "layer_types", None) or ())
    odd = sorted(k for k in kinds if k not in ("full_attention", "sliding_attention", "chunked_attention"))
    if odd:
        raise Unsupported(
            f"{name} has layers of type {', '.join(odd)}, whose state has no slots; this engine cannot batch it"
        )
    if getattr(runner.model, "_is_stateful", False):
        raise Unsupported(f"{name} keeps recurrent state, which has no slots; this engine cannot batch it")
    if getattr(config, "is_encoder_decoder", False):
        raise Unsupported(f"{name} is an encoder-decoder; this engine wants a causal language model")


def _direction(runner: Runner) -> Direction:
    rng = np.random.default_rng(0)
    n = runner.table.layers
    return Direction("self-test", tuple(range(n)), rng.standard_normal((n, runner.table.hidden)).astype(np.float32))


def _forward(runner: Runner, ids: torch.Tensor, *, keep: int = 1) -> torch.Tensor:
    positions = torch.arange(ids.shape[1], device=runner.device).expand(ids.shape)
    return runner.forward(ids, mask=None, positions=positions, cache=None, keep=keep)


def _plan(runner: Runner, wants: list[Wants], tokens: int, *, deferred: bool = False) -> Plan:
    codes = np.full((len(wants), tokens), CODE["prompt"], np.int8)
    return Plan(runner.table, wants, codes, deferred=deferred)


@contextmanager
def _seen(
    layers: Sequence[nn.Module], rows: Callable[[int], list[int]], *, entering: bool = False
) -> Generator[dict[int, torch.Tensor]]:
    """What each layer gives (or is given), float32: hooks set before the probe's see it before any act, later ones after.

    Args:
        rows: which are kept of a layer; a large model has no room for all.
    """
    seen: dict[int, torch.Tensor] = {}

    def note(i: int, h: torch.Tensor | None) -> None:
        assert h is not None, f"layer {i} gave no tensor"
        seen[i] = h[rows(i)].float()

    def enters(m: nn.Module, i: int) -> RemovableHandle:
        return m.register_forward_pre_hook(
            lambda _m, args, kwargs: note(i, args[0] if args else kwargs["hidden_states"]), with_kwargs=True
        )

    def leaves(m: nn.Module, i: int) -> RemovableHandle:
        return m.register_forward_hook(lambda _m, _args, out: note(i, hidden_of(out)))

    handles = [(enters if entering else leaves)(m, i) for i, m in enumerate(layers)]
    try:
        yield seen
    finally:
        for h in handles:
            h.remove()


def _neutral(runner: Runner, d: Direction, ids: torch.Tensor, plain: torch.Tensor) -> bool:
    """Nothing added, a floor below and a ceiling above every reading: not one bit may change."""
    far = (1e30,) * len(d.layers)
    acts = (
        Act("add", d.id, d.layers, strength=0.0),
        Act("floor", d.id, d.layers, tuple(-x for x in far)),
        Act("ceiling", d.id, d.layers, far),
    )
    runner.probe.arm(_plan(runner, [Wants(acts)], ids.shape[1]))
    got = _forward(runner, ids, keep=ids.shape[1])
    runner.probe.disarm()
    return torch.equal(got, plain)


def _arrives(runner: Runner, d: Direction, ids: torch.Tensor, stream: _Stream, *, deferred: bool) -> bool:
    """A vector added at each layer, in a row of its own, must enter the next; after the last one the logits must move."""
    n, tokens = len(d.layers), ids.shape[1]
    wants = [Wants((Act("add", d.id, (i,), strength=float(stream.size[i])),)) for i in d.layers]
    with _seen(runner.probe.layers, lambda i: [i - 1, n], entering=True) as seen:
        # one row more is left alone: what the others are compared with
        runner.probe.arm(_plan(runner, [*wants, Wants()], tokens, deferred=deferred))
        _forward(runner, ids.expand(n + 1, tokens))
    for i in d.layers[:-1]:
        moved = (seen[i + 1][0] - seen[i + 1][1]) @ torch.tensor(d.at(i), device=ids.device)
        if not torch.allclose(moved, stream.size[i].expand_as(moved), rtol=stream.share):
            return False
    runner.probe.arm(_plan(runner, wants[-1:], tokens, deferred=deferred))
    logits = _forward(runner, ids)
    runner.probe.disarm()
    return not torch.equal(logits, stream.logits)


def _reads(runner: Runner, d: Direction, ids: torch.Tensor, name: str, *, deferred: bool) -> _Stream:
    """Read every layer; hooks of our own must have seen the same projections and the same means."""
    n, tokens, device = len(d.layers), ids.shape[1], ids.device
    prompt: frozenset[SpanKind] = frozenset({"prompt"})
    wants = Wants(reads=(Read(d.id, d.layers, prompt),), means=(MeanRead(d.layers, "prompt"),))
    with _seen(runner.probe.layers, lambda i: [0]) as seen:
        runner.probe.arm(_plan(runner, [wants], tokens, deferred=deferred))
        logits = _forward(runner, ids)
        sums = torch.zeros((n, 1, runner.table.hidden), device=device) if deferred else None
        out = _finish(runner, name, sums)
    h = torch.stack([seen[i][0] for i in d.layers])
    stream = _Stream(
        torch.einsum("lth,lh->lt", h, torch.tensor(d.vectors).to(device)),
        h.mean(1),
        (h.abs().mean((1, 2)) * runner.table.hidden**0.5).clamp_min(1e-3),
        logits,
        _SHARE if next(runner.model.parameters()).dtype == torch.float32 else _HALF_SHARE,
    )
    if out.projections is None:
        raise Unsupported(f"the probe gives no reading of {name}; {_MEND}")
    got = torch.from_numpy(out.projections[:, 0, :, 0]).to(device)
    _refuse_unlike(got, stream.readings, stream, f"the reading at layer {{}} of {name}")
    found = sums[:, 0] if sums is not None else torch.stack([out.sums[i][0, 0] for i in d.layers]) / tokens
    _refuse_unlike(found, stream.means, stream, f"the mean at layer {{}} of {name}")
    return stream


def _caps(runner: Runner, d: Direction, ids: torch.Tensor, name: str, stream: _Stream, *, deferred: bool) -> None:
    """A floor above every reading and a ceiling below, at each layer in a row of its own, must end on the threshold."""
    n, tokens = len(d.layers), ids.shape[1]
    floor = stream.readings.amax(1) + stream.size
    ceiling = stream.readings.amin(1) - stream.size
    wants: list[Wants] = []
    for i in d.layers:
        wants.append(Wants((Act("floor", d.id, (i,), (float(floor[i]),)),)))
        wants.append(Wants((Act("ceiling", d.id, (i,), (float(ceiling[i]),)),)))
    plan = _plan(runner, wants, tokens, deferred=deferred)
    runner.probe.arm(plan)
    with _seen(
        runner.probe.layers, lambda i: [2 * i, 2 * i + 1]
    ) as seen:  # after the probe's hooks, so that it sees what they made
        _forward(runner, ids.expand(2 * n, tokens))
    v = torch.tensor(d.vectors).to(ids.device)
    after = torch.stack([seen[i] @ v[i] for i in d.layers])
    wanted = torch.stack([floor, ceiling], dim=1)[..., None].expand_as(after)
    for k, kind in enumerate(("floor", "ceiling")):
        _refuse_unlike(after[:, k], wanted[:, k], stream, f"the reading under a {kind} at layer {{}} of {name}")
    out = _finish(runner, name)
    before = stream.readings.unsqueeze(1).expand_as(after)
    fired = (
        torch.zeros_like(after)
        if out.fired is None
        else torch.stack(
            [torch.from_numpy(out.fired[plan.fired_at[row, 0, row // 2], row]).to(ids.device) for row in range(2 * n)]
        ).reshape(after.shape)
    )
    for k, kind in enumerate(("floor", "ceiling")):
        said = f"what is said to be moved by a {kind} at layer {{}} of {name}"
        _refuse_unlike(fired[:, k], (wanted - before)[:, k], stream, said)


def _finish(runner: Runner, name: str, sums: torch.Tensor | None = None) -> Readout:
    try:
        return runner.probe.finish(sums)
    except KeyError as e:
        raise Unsupported(f"the probe gives no reading at layer {e.args[0]} of {name}; {_MEND}") from None


def _refuse_unlike(got: torch.Tensor, wanted: torch.Tensor, stream: _Stream, what: str) -> None:
    """Both ``(layers, values)``; ``what`` has a place for the layer.

    Raises:
        Unsupported: one differs by more than a share of the stream's size.
    """
    fits = (got - wanted).abs() < stream.share * stream.size[:, None]  # also false where a value is not a number
    if bool(fits.all()):
        return
    i, at = (int(x) for x in (~fits).nonzero()[0])
    raise Unsupported(
        f"{what.format(i)} is {float(got[i, at]):.4g} where it must be {float(wanted[i, at]):.4g}; {_MEND}"
    )


def _slots(runner: Runner, ids: list[int], plain: torch.Tensor) -> tuple[float, int]:
    """A long and a short row together: prefill, then one step; against the plain model."""

    def feed(n: int) -> Feed:
        return Feed(ids[:n], np.zeros(n, np.int8), Wants(), Log(n))

    full, short = len(ids) - 1, 3
    cache, first = runner.prefill([feed(full), feed(short)], columns=1)
    assert first is not None
    width = cache.clock
    mask = torch.ones((2, width + 1), dtype=torch.bool, device=runner.device)
    mask[1, : width - short] = False
    second = runner.forward(
        torch.tensor([[ids[full]], [ids[short]]], device=runner.device),
        mask=mask,
        positions=torch.tensor([[full], [short]], device=runner.device),
        cache=cache,
        keep=1,
    )[:, 0]
    want = [plain[0, full - 1], plain[0, short - 1], plain[0, full], plain[0, short]]
    got = [first[0], first[1], second[0], second[1]]
    spread = float(plain.float().std()) or 1.0
    error = max(float((a.float() - b.float()).abs().max()) for a, b in zip(got, want, strict=True)) / spread
    return error, cache.bytes_per_token()


def _trees(runner: Runner, ids: list[int], plain: torch.Tensor, tolerance: float) -> bool:
    """Whether two prompts with one beginning, and two continuations each, score in one row as they do alone.

    A model whose layers see only a window makes masks of its own for them: it is not tried.
    """
    config = text_config(runner.model)
    kinds = set(getattr(config, "layer_types", None) or ())
    if not runner.takes_positions or kinds - {"full_attention"} or getattr(config, "sliding_window", None):
        return False
    head, rest, tails = ids[:3], (tuple(ids[3:4]), tuple(ids[4:6])), (tuple(ids[4:6]), (ids[6], ids[0]))
    jobs = [ScoreJob((*head, *r), tails) for r in rest]
    lines = lines_of(jobs)
    try:
        for _ in run_trees(runner, [(len(head), [lines[:2], lines[2:]])], rows=4):
            pass
    except (RuntimeError, ValueError, TypeError, IndexError):  # a model that takes masks of two dimensions alone
        return False
    spread = float(plain.float().std()) or 1.0
    width = max(x.size for x in lines)  # shorter ones are padded on the right, where nothing looks back at it
    alone = torch.tensor([[*x.lead, *x.tail, *([0] * (width - x.size))] for x in lines], device=runner.device)
    logits = _forward(runner, alone, keep=width).float().log_softmax(-1).cpu().numpy()
    for row, x in zip(logits, lines, strict=True):
        want = row[np.arange(len(x.lead) - 1, x.size - 1), list(x.tail)]
        if not float(np.abs(want - x.values).max()) / spread < tolerance:
            return False
    return True
