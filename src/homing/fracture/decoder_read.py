"""What a decoder says of prompts, where it says it, and how the parameters that say it overlap from prompt to prompt."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from homing.errors import InputError
from homing.fracture.decoder import Decoder

__all__ = [
    "Prompt",
    "differentiated",
    "edited",
    "gradient_gram",
    "mean_gradient",
    "read",
    "steered",
    "weighted_gradient",
]

F64 = NDArray[np.float64]
Told = Callable[[int], None]
BATCH = 32


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as tokens, and the two tokens of which the first is right where the concept holds."""

    tokens: tuple[int, ...]
    first: int
    second: int


def _batches(prompts: Sequence[Prompt]) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Places, ids and attention of prompts of one length each, so that nothing is padded and none depends on its company."""
    by: dict[int, list[int]] = {}
    for i, p in enumerate(prompts):
        by.setdefault(len(p.tokens), []).append(i)
    for length in sorted(by):
        for k in range(0, len(by[length]), BATCH):
            some = by[length][k : k + BATCH]
            ids = torch.tensor([prompts[i].tokens for i in some])
            yield some, ids, torch.ones_like(ids)


def _readout(logits: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
    """Logit of the first token less that of the second behind each prompt, ``(rows,)``."""
    rows = torch.arange(len(prompts))
    last = logits[:, -1]  # the only ones asked for: a vocabulary at every token would cost as much as many blocks
    return last[rows, torch.tensor([p.first for p in prompts])] - last[rows, torch.tensor([p.second for p in prompts])]


def read(
    decoder: Decoder, prompts: Sequence[Prompt], *, told: Told = lambda n: None
) -> tuple[F64, NDArray[np.float32]]:
    """Read-outs and residual vectors.

    Args:
        told: of each batch how many prompts it had.

    Returns:
        ``(n,)``, the logit difference of each prompt; and ``(n, blocks, hidden)``, the stream behind each at the last token.
    """
    said = np.empty(len(prompts))
    stream = np.empty((len(prompts), len(decoder.blocks), decoder.hidden), np.float32)
    device = decoder.embedding.device
    with torch.no_grad():
        for some, ids, mask in _batches(prompts):
            out = cast(Any, decoder.model)(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                use_cache=False,
                output_hidden_states=True,
                logits_to_keep=1,
            )
            said[some] = _readout(out.logits.double(), [prompts[i] for i in some]).cpu().numpy()
            # transformers gives the last state behind the final norm; the direction is the same up to the length
            stream[some] = torch.stack([h[:, -1] for h in out.hidden_states[1:]], dim=1).float().cpu().numpy()
            told(len(some))
    return said, stream


def _checked(value: torch.Tensor, where: str) -> None:
    if not bool(torch.isfinite(value).all()):
        raise InputError(
            f"a gradient of {where} is not finite; the weights or the prompts of this checkpoint cannot be differentiated"
        )


@contextmanager
def differentiated(model: nn.Module, parameters: Sequence[torch.Tensor]) -> Generator[None]:
    """These parameters alone want a gradient; afterwards each wants what it wanted before."""
    before = [p.requires_grad for p in model.parameters()]
    try:
        for p in model.parameters():
            p.requires_grad_(False)
        for p in parameters:
            p.requires_grad_(True)
        yield
    finally:
        for p, was in zip(model.parameters(), before, strict=True):
            p.requires_grad_(was)


def gradient_gram(
    decoder: Decoder, prompts: Sequence[Prompt], blocks: Sequence[int], *, told: Told = lambda n: None
) -> F64:
    """Inner products of the parameter gradients of every prompt's read-out, over the matrices of some blocks, ``(n, n)``.

    The gradient of a matrix is a sum over tokens of what came out times what went in, so its inner products need those two alone:
    ``sum((H H'^T) * (D D'^T))``, and no gradient is ever kept. Fix the gauge first.

    Args:
        blocks: which blocks' matrices count. ``told``: of each step of ``len(blocks)`` steps that it is done.

    Raises:
        InputError: a gradient is not finite.
    """
    model, device = decoder.model, decoder.embedding.device
    chosen = [(i, name, m) for i, name, m in decoder.matrices() if i in set(blocks)]
    into: dict[tuple[int, str], list[torch.Tensor]] = {(i, n): [] for i, n, _ in chosen}
    back: dict[tuple[int, str], list[torch.Tensor]] = {(i, n): [] for i, n, _ in chosen}
    owner: list[int] = []
    seen: dict[tuple[int, str], torch.Tensor] = {}

    def keep(key: tuple[int, str]) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], out: torch.Tensor) -> None:
            into[key].append(args[0].detach().reshape(-1, args[0].shape[-1]).float().cpu())
            seen[key] = out

        return hook

    handles = [m.register_forward_hook(keep((i, n))) for i, n, m in chosen]
    try:
        # of weights no gradient is asked: they want one so that what comes out of their matrix has a graph
        with differentiated(model, [m.weight for _, _, m in chosen]):
            for some, ids, mask in _batches(prompts):
                seen.clear()
                with torch.enable_grad():
                    out = cast(Any, model)(
                        input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False, logits_to_keep=1
                    )
                    total = _readout(out.logits, [prompts[i] for i in some]).sum()
                    keys = list(seen)
                    grads = torch.autograd.grad(total, [seen[k] for k in keys])
                for key, g in zip(keys, grads, strict=True):
                    _checked(g, f"block {key[0]}, {key[1]}")
                    back[key].append(g.reshape(-1, g.shape[-1]).float().cpu())
                owner += [i for i in some for _ in range(ids.shape[1])]
    finally:
        for h in handles:
            h.remove()
    order = np.asarray(owner)
    which = torch.from_numpy((order[:, None] == np.arange(len(prompts))[None]).astype(np.float32))
    gram = torch.zeros(len(prompts), len(prompts), dtype=torch.float64)
    for block in blocks:
        for i, name, _ in chosen:
            if i == block:
                h, d = torch.cat(into.pop((i, name))), torch.cat(back.pop((i, name)))
                gram += _of_prompts(h, d, which)
        told(1)
    return gram.numpy()


def _of_prompts(h: torch.Tensor, d: torch.Tensor, which: torch.Tensor, rows: int = 512) -> torch.Tensor:
    """Sums over the tokens of pairs of prompts, ``(prompts, prompts)``, a stripe of tokens at a time with those behind it."""
    out = torch.zeros(which.shape[1], which.shape[1], dtype=torch.float64)
    for k in range(0, len(h), rows):
        stop = k + rows
        mine, first = which[k:stop].T, slice(k, stop)
        out += (mine @ (((h[first] @ h[first].T) * (d[first] @ d[first].T)) @ which[first])).double()
        if stop < len(h):  # a pair of stripes once for both of its orders
            rest = (mine @ (((h[first] @ h[stop:].T) * (d[first] @ d[stop:].T)) @ which[stop:])).double()
            out += rest + rest.T
    return out


def weighted_gradient(
    model: nn.Module, prompts: Sequence[Prompt], weights: Sequence[float], of: Sequence[torch.Tensor], *, where: str
) -> list[torch.Tensor]:
    """Gradient of the sum of ``weights`` times read-outs, one tensor a parameter of ``of``; 0 where one was not used.

    Args:
        where: of the prompts, for the sentence where it is not finite.

    Raises:
        InputError: it is not finite.
    """
    device = of[0].device
    total = [torch.zeros_like(w) for w in of]
    with differentiated(model, of):
        for some, ids, mask in _batches(prompts):
            with torch.enable_grad():
                out = cast(Any, model)(
                    input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False, logits_to_keep=1
                )
                toward = torch.tensor([weights[i] for i in some], dtype=out.logits.dtype, device=device)
                f = _readout(out.logits, [prompts[i] for i in some]) @ toward
                # of a private copy that was not used there may be none
                grads = cast("Sequence[torch.Tensor | None]", torch.autograd.grad(f, of, allow_unused=True))
            for t, g in zip(total, grads, strict=True):
                if g is not None:
                    t += g
    for t in total:
        _checked(t, where)
    return total


def mean_gradient(decoder: Decoder, prompts: Sequence[Prompt], signs: Sequence[float]) -> list[torch.Tensor]:
    """Gradient of the mean of ``signs`` times read-outs, one tensor a matrix in the order of :meth:`Decoder.matrices`.

    Raises:
        InputError: it is not finite.
    """
    of = [m.weight for _, _, m in decoder.matrices()]
    share = [s / len(prompts) for s in signs]
    return weighted_gradient(decoder.model, prompts, share, of, where="the mean over prompts")


@contextmanager
def edited(decoder: Decoder, step: Sequence[torch.Tensor], length: float) -> Generator[None]:
    """Every matrix moved along ``step`` by ``length`` times it, and put back bit by bit."""
    weights = [m.weight for _, _, m in decoder.matrices()]
    before = [w.detach().clone() for w in weights]
    try:
        with torch.no_grad():
            for w, s in zip(weights, step, strict=True):
                w.add_(s, alpha=length)
        yield
    finally:
        with torch.no_grad():
            for w, b in zip(weights, before, strict=True):
                w.copy_(b)


@contextmanager
def steered(decoder: Decoder, block: int, push: F64) -> Generator[None]:
    """``push``, ``(hidden,)``, added to the stream behind one block, at every token."""
    layer = cast(Any, decoder.model).model.layers[block]
    add = torch.from_numpy(np.asarray(push)).to(decoder.embedding)

    def hook(_module: nn.Module, _args: tuple[Any, ...], out: Any) -> Any:
        return (out[0] + add, *out[1:]) if isinstance(out, tuple) else out + add

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
