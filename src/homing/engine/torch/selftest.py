"""What an engine proves when it opens: hooks are neutral, a shift arrives, slots give what the plain model gives."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from homing.engine.base import Act, Direction
from homing.engine.torch.probe import CODE, Plan, Wants
from homing.engine.torch.runner import Feed, Log, Runner
from homing.errors import LayersError, Unsupported

__all__ = ["Proof", "prove"]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proved.

    Attributes:
        neutral: an act of strength zero changed no bit. arrives: a known shift arrived at every layer.
        cache_error: largest difference between logits through slots and plain, relative to their spread.
        bytes_per_token: keys and values of one token.
    """

    neutral: bool
    arrives: bool
    cache_error: float
    bytes_per_token: int


def prove(runner: Runner) -> Proof:
    """Run the checks on a few tokens.

    Raises:
        LayersError: a hook changes what it must not, or a shift does not arrive. Unsupported: state without slots.
    """
    with torch.inference_mode():
        name = type(runner.model).__name__
        _refuse_state(runner, name)
        vocab = runner.vocab
        ids = [min(x, vocab - 1) for x in (7, 11, 5, 13, 3, 17, 2)]
        t = torch.tensor([ids], device=runner.device)
        positions = torch.arange(len(ids), device=runner.device)[None]
        try:
            plain = runner.forward(t, mask=None, positions=positions, cache=None, keep=len(ids))
            neutral = _neutral(runner, t, positions, plain)
            if not neutral:
                raise LayersError(
                    f"an act of strength zero changes the output of {name}; its layers are not what they seem"
                )
            arrives = _arrives(runner, t, positions)
            if not arrives:
                raise LayersError(
                    f"a known shift does not arrive at the layers of {name}; name them yourself: layers='path'"
                )
            error, size = _slots(runner, ids, plain)
        finally:
            runner.probe.disarm()
        tolerance = 1e-3 if plain.dtype == torch.float32 else 0.1
        if not error < tolerance:
            raise Unsupported(
                f"{name} gives other logits through slots than alone (relative difference {error:.2g}); "
                "it keeps state that this engine cannot hold"
            )
        return Proof(neutral, arrives, error, size)


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


def _neutral(runner: Runner, ids: torch.Tensor, positions: torch.Tensor, plain: torch.Tensor) -> bool:
    d = _direction(runner)
    runner.table.register(d)
    act = Act("add", d.id, d.layers, strength=0.0)
    codes = np.full(tuple(ids.shape), CODE["prompt"], np.int8)
    runner.probe.arm(Plan(runner.table, [Wants((act,))], codes))
    got = runner.forward(ids, mask=None, positions=positions, cache=None, keep=ids.shape[1])
    runner.probe.finish()
    runner.probe.disarm()
    return torch.equal(got, plain)


def _arrives(runner: Runner, ids: torch.Tensor, positions: torch.Tensor) -> bool:
    """Add a vector at each layer; the next layer must receive it (for the last one: the logits must move)."""
    d = _direction(runner)
    layers = runner.probe.layers
    inputs: dict[int, torch.Tensor] = {}
    handles = [
        m.register_forward_pre_hook(
            lambda _m, args, kwargs, i=i: inputs.__setitem__(
                i, (args[0] if args else kwargs["hidden_states"]).float().clone()
            ),
            with_kwargs=True,
        )
        for i, m in enumerate(layers)
    ]
    codes = np.full(tuple(ids.shape), CODE["prompt"], np.int8)
    try:
        plain = runner.forward(ids, mask=None, positions=positions, cache=None, keep=1)
        before = dict(inputs)
        for i in range(len(layers)):
            scale = float(before[min(i + 1, len(layers) - 1)].abs().mean()) * runner.table.hidden**0.5
            act = Act("add", d.id, (i,), strength=max(scale, 1e-3))
            runner.probe.arm(Plan(runner.table, [Wants((act,))], codes))
            logits = runner.forward(ids, mask=None, positions=positions, cache=None, keep=1)
            runner.probe.finish()
            if i + 1 == len(layers):
                return not torch.equal(logits, plain)
            moved = (inputs[i + 1] - before[i + 1]) @ torch.tensor(d.at(i), device=ids.device)
            if not torch.allclose(moved, torch.full_like(moved, act.strength), rtol=0.05, atol=1e-4):
                return False
    finally:
        for h in handles:
            h.remove()
    return True


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
