"""Known truth for a decoder: the same function written in other ways, and with a known dose of fracture or entanglement.

Each changes the model in place and none changes what it computes. Gauges G1 to G5 must not move a score; a dose must move the
right one (2505.11581 names the two faults; the constructions are ours).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from homing.errors import InputError
from homing.fracture.decoder import READS, Decoder, DecoderBlock

__all__ = [
    "DECODER_GAUGES",
    "GatedCopies",
    "cloned",
    "entangled",
    "fractured",
    "padded",
    "permuted",
    "rescaled",
    "rotated",
]


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _orthogonal(n: int, rng: torch.Generator) -> torch.Tensor:
    q, r = torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=torch.float64))
    return q * torch.sign(torch.diagonal(r))


def _set(linear: nn.Linear, weight: torch.Tensor) -> None:
    old = linear.weight
    linear.weight = nn.Parameter(weight.to(old.dtype).contiguous(), requires_grad=old.requires_grad)
    linear.out_features, linear.in_features = weight.shape


@torch.no_grad()
def permuted(decoder: Decoder, *, seed: int = 0) -> None:
    """G1: units, groups of heads and heads within a group in another order."""
    rng, w, g = _rng(seed), decoder.width, decoder.groups
    each = decoder.heads // g
    for b in decoder.blocks:
        order = torch.randperm(b.up.out_features, generator=rng)
        _set(b.up, b.up.weight[order])
        _set(b.gate, b.gate.weight[order])
        _set(b.down, b.down.weight[:, order])
        groups, heads = torch.randperm(g, generator=rng), torch.randperm(each, generator=rng)
        _set(b.q, b.q.weight.reshape(g, each, w, -1)[groups][:, heads].reshape(b.q.weight.shape))
        for kv in (b.k, b.v):
            _set(kv, kv.weight.reshape(g, w, -1)[groups].reshape(kv.weight.shape))
        _set(b.o, b.o.weight.reshape(-1, g, each, w)[:, groups][:, :, heads].reshape(b.o.weight.shape))


@torch.no_grad()
def rescaled(decoder: Decoder, *, seed: int = 0, spread: float = 1.0) -> None:
    """G2: units and rotary pairs scaled by ``exp(spread N(0, 1))`` and back, values mixed by a matrix that is undone."""
    rng, w, g = _rng(seed), decoder.width, decoder.groups
    each = decoder.heads // g
    for b in decoder.blocks:
        s = torch.exp(spread * torch.randn(b.up.out_features, generator=rng, dtype=torch.float64))
        _set(b.up, b.up.weight.double() * s[:, None])
        _set(b.down, b.down.weight.double() / s)
        p = torch.exp(spread * torch.randn(g, 1, w // 2, generator=rng, dtype=torch.float64))
        q, k = b.q.weight.double().reshape(g, each, 2, w // 2, -1), b.k.weight.double().reshape(g, 2, w // 2, -1)
        _set(b.q, (q * p[:, None, :, :, None]).reshape(b.q.weight.shape))
        _set(b.k, (k / p[:, :, :, None]).reshape(b.k.weight.shape))
        v, o = b.v.weight.double().reshape(g, w, -1).clone(), b.o.weight.double().reshape(-1, g, each, w).clone()
        for i in range(g):
            stretch = torch.exp(spread * torch.randn(w, generator=rng, dtype=torch.float64).clamp(-2, 2))
            left, right = _orthogonal(w, rng), _orthogonal(w, rng)
            v[i] = (left * stretch) @ right @ v[i]
            o[:, i] = o[:, i] @ (right.T / stretch) @ left.T
        _set(b.v, v.reshape(b.v.weight.shape))
        _set(b.o, o.reshape(b.o.weight.shape))


@torch.no_grad()
def rotated(decoder: Decoder, *, seed: int = 0) -> None:
    """G3: the whole residual stream in another orthogonal basis. Gains must be folded first: they belong to a basis.

    Raises:
        InputError: a gain is not 1.
    """
    gains = [b.gain(n) for b in decoder.blocks for n in ("norm_in", "norm_mid")] + [decoder.gain]
    if any(not torch.equal(x, torch.ones_like(x)) for x in gains):
        raise InputError(
            "a norm of the model has gains, and those hold in one basis alone; fold them first (fix_gauge)"
        )
    decoder.untie()
    turn = _orthogonal(decoder.hidden, _rng(seed)).to(decoder.embedding.device)
    for table in (decoder.embedding, decoder.head):
        table.copy_(table.double() @ turn)
    for _, name, m in decoder.matrices():
        m.weight.copy_(m.weight.double() @ turn if name in READS else turn.T @ m.weight.double())


@torch.no_grad()
def cloned(decoder: Decoder, *, seed: int = 0, share: float = 0.25) -> None:
    """G4: some units twice, with what they write shared evenly."""
    rng = _rng(seed)
    for b in decoder.blocks:
        n = b.up.out_features
        some = torch.randperm(n, generator=rng)[: max(1, round(share * n))]
        down = b.down.weight.clone()
        down[:, some] /= 2
        _append(b, b.gate.weight[some], b.up.weight[some], down, down[:, some])


@torch.no_grad()
def padded(decoder: Decoder, *, seed: int = 0, share: float = 0.25) -> None:
    """G5: units more that read the stream and that nothing reads."""
    rng = _rng(seed)
    for b in decoder.blocks:
        k = max(1, round(share * b.up.out_features))
        scale = b.up.weight.std()
        new = [torch.randn(k, decoder.hidden, generator=rng, dtype=torch.float64) * scale for _ in range(2)]
        _append(b, new[0], new[1], b.down.weight, torch.zeros(decoder.hidden, k))


def _append(b: DecoderBlock, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor, more: torch.Tensor) -> None:
    dtype = b.up.weight.dtype
    _set(b.gate, torch.cat([b.gate.weight, gate.to(dtype)]))
    _set(b.up, torch.cat([b.up.weight, up.to(dtype)]))
    _set(b.down, torch.cat([down, more.to(dtype)], dim=1))


DECODER_GAUGES: dict[str, Callable[[Decoder], None]] = {
    "G1 permuted": permuted, "G2 rescaled": rescaled, "G3 rotated": rotated, "G4 cloned": cloned, "G5 padded": padded,
}  # fmt: skip


class GatedCopies(nn.Module):
    """A gated MLP some of whose units have two private copies of their weights, one for each context.

    The copies begin equal, so that what is computed is as it was; which one is used is told by ``context``, ``(rows,)`` of bool.
    """

    def __init__(self, block: DecoderBlock, act: nn.Module, some: torch.Tensor) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj, self.act_fn = block.gate, block.up, block.down, act
        self.private = nn.ParameterList(
            nn.Parameter(x.detach().clone())
            for x in (block.gate.weight[some], block.up.weight[some], block.down.weight[:, some])
        )
        self.register_buffer("some", some, persistent=False)
        self.context = torch.zeros(1, dtype=torch.bool)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of rows, ``(rows, tokens, hidden)``."""
        gate, up, down = self.private
        some = cast("torch.Tensor", self.some)
        h = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        mine = self.act_fn(functional.linear(x, gate)) * functional.linear(x, up)
        in_first = ~self.context[:, None, None].to(x.device)
        shared = torch.ones(h.shape[-1], dtype=torch.bool, device=x.device)
        shared[some] = False
        keep = shared | in_first  # where the second context is on, the units that have copies are silent
        return self.down_proj(torch.where(keep, h, torch.zeros_like(h))) + functional.linear(
            torch.where(in_first, torch.zeros_like(mine), mine), down
        )


def fractured(decoder: Decoder, q: float, *, seed: int = 0) -> tuple[GatedCopies, ...]:
    """F(q): a share of the units of every MLP gets private copies, one used in each of two contexts.

    Returns:
        The MLPs that now stand in the blocks; set ``context`` of each before a pass.

    Raises:
        InputError: ``q`` is not within 0 and 1.
    """
    if not 0 <= q <= 1:
        raise InputError(f"a dose of {q} is not within 0 and 1")
    rng, out = _rng(seed), list[GatedCopies]()
    for layer, b in zip(cast(Any, decoder.model).model.layers, decoder.blocks, strict=True):
        n = b.up.out_features
        some = torch.randperm(n, generator=rng)[: round(q * n)]
        made = GatedCopies(b, layer.mlp.act_fn, some)
        layer.mlp = made
        out.append(made)
    return tuple(out)


@torch.no_grad()
def entangled(decoder: Decoder, gamma: float, *, seed: int = 0, share: float = 0.25) -> None:
    """X(gamma): pairs of units more that read whatever two units of the block read, and whose writings cancel.

    All of a block write along one direction, so that whatever two read-outs want of them they want of the same.

    Args:
        gamma: how strongly each of a pair writes, against the mean unit. ``share``: pairs added, of the block's units.
    """
    rng = _rng(seed)
    for b in decoder.blocks:
        n = b.up.out_features
        k = max(1, round(share * n))
        first, second = torch.randint(n, (2, k), generator=rng)
        gate, up = (m.weight[first] + m.weight[second] for m in (b.gate, b.up))
        write = torch.randn(decoder.hidden, 1, generator=rng, dtype=torch.float64).to(b.down.weight.dtype).expand(-1, k)
        write = write * (gamma * b.down.weight.norm(dim=0).mean() / write[:, 0].norm())
        _append(b, torch.cat([gate, gate]), torch.cat([up, up]), b.down.weight, torch.cat([write, -write], dim=1))
