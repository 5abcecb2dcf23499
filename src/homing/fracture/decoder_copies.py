"""Private copies in a decoder: a known dose of fracture in its heads, and the gauges of copies.

Heads of one group share keys and values, so that a group is the least that can be copied whole: its rows of the query, key and
value matrices and its columns of the output. Private MLP units are made in :mod:`~homing.fracture.decoder_truth`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from homing.errors import InputError
from homing.fracture.decoder import Decoder, DecoderBlock, _balance_heads, _balance_units  # pyright: ignore[reportPrivateUsage]
from homing.fracture.decoder_truth import GatedCopies, _append  # pyright: ignore[reportPrivateUsage]

__all__ = ["GatedHeads", "disguised", "entangled_answers", "fractured_heads", "settled"]

_PARTS = ("q_proj", "k_proj", "v_proj", "o_proj")


class GatedHeads(nn.Module):
    """A matrix of the attention some rows or columns of which have a second copy, used where ``context`` is true.

    ``context``: ``(rows of the batch,)`` of bool, or ``(1,)`` for all of them.
    """

    def __init__(self, shared: nn.Linear, some: torch.Tensor, *, reads_heads: bool) -> None:
        super().__init__()
        weight = shared.weight[:, some] if reads_heads else shared.weight[some]
        self.shared, self.reads_heads = shared, reads_heads
        self.private = nn.Parameter(weight.detach().clone())
        self.register_buffer("some", some, persistent=False)
        self.context = torch.zeros(1, dtype=torch.bool)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of ``(rows, tokens, in)``."""
        second = self.context[:, None, None].to(x.device)
        some = cast("torch.Tensor", self.some)
        if not self.reads_heads:
            y = self.shared(x)
            mine = torch.where(second, functional.linear(x, self.private), y[..., some])
            return y.index_copy(-1, some, mine)
        read = x[..., some]
        none = torch.zeros_like(read)
        first = x.index_copy(-1, some, torch.where(second, none, read))
        return self.shared(first) + functional.linear(torch.where(second, read, none), self.private)


def fractured_heads(decoder: Decoder, q: float, *, seed: int = 0) -> tuple[tuple[GatedHeads, ...], ...]:
    """F(q) of the attention: a share of the groups of heads of every block gets private copies, one for each of two contexts.

    Returns:
        For each block the four matrices (query, key, value, output) that now stand in it; set ``context`` of each before a pass.

    Raises:
        InputError: ``q`` is not within 0 and 1, or not a whole number of the model's groups of heads.
    """
    if not 0 <= q <= 1:
        raise InputError(f"a dose of {q} is not within 0 and 1")
    groups, w = decoder.groups, decoder.width
    count = round(q * groups)
    if abs(count - q * groups) > 1e-9:  # what is planted must be what is said
        raise InputError(f"a dose of {q} of {groups} groups of heads cannot be given; choose one of k / {groups}")
    each, rng = decoder.heads // groups, torch.Generator().manual_seed(seed)
    out: list[tuple[GatedHeads, ...]] = []
    for layer, b in zip(cast(Any, decoder.model).model.layers, decoder.blocks, strict=True):
        some = torch.randperm(groups, generator=rng)[:count].sort().values
        of_keys = torch.arange(groups * w).reshape(groups, w)[some].flatten().to(b.k.weight.device)
        of_heads = torch.arange(groups * each * w).reshape(groups, each * w)[some].flatten().to(b.k.weight.device)
        made: list[GatedHeads] = []
        for name, linear in zip(_PARTS, (b.q, b.k, b.v, b.o), strict=True):
            gated = GatedHeads(
                linear, of_keys if name in ("k_proj", "v_proj") else of_heads, reads_heads=name == "o_proj"
            )
            setattr(layer.self_attn, name, gated)
            made.append(gated)
        out.append(tuple(made))
    return tuple(out)


@torch.no_grad()
def disguised(
    mlps: Sequence[GatedCopies],
    heads: Sequence[Sequence[GatedHeads]] = (),
    *,
    width: int = 0,
    seed: int = 0,
    spread: float = 1.0,
) -> None:
    """G1 and G2 inside the second copies alone.

    Units come in another order and are scaled on their way in and back; rotary pairs of queries are scaled against keys, and
    values are mixed by a matrix that the output undoes.

    Args:
        heads: of :func:`fractured_heads`. ``width``: of a head, needed with them.

    Raises:
        InputError: heads without a width that fits them.
    """
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    for m in mlps:
        gate, up, down = m.private
        order = torch.randperm(len(up), generator=rng)
        s = torch.exp(spread * normal(len(up))).to(up)
        gate.copy_(gate[order])
        up.copy_(up[order] * s[:, None])
        down.copy_(down[:, order] / s)
    for q, k, v, o in heads:
        if width < 2 or len(k.private) % width:
            raise InputError(
                f"heads of width {width} do not fit private keys of {len(k.private)} rows; give Decoder.width"
            )
        for g in range(len(k.private) // width):
            own, each = slice(g * width, (g + 1) * width), len(q.private) // len(k.private)
            s = torch.exp(spread * normal(width // 2)).repeat(2).to(k.private)  # both halves of a rotary pair alike
            k.private[own] /= s[:, None]
            # an orthogonal matrix, stretched: well conditioned whatever the draw
            mix = torch.linalg.qr(normal(width, width))[0] * torch.exp(spread * normal(width).clamp(-2, 2))
            v.private[own] = (mix @ v.private[own].double()).to(v.private)
            back = torch.linalg.inv(mix)
            for h in range(g * each, (g + 1) * each):
                head = slice(h * width, (h + 1) * width)
                q.private[head] *= s[:, None]
                o.private[:, head] = (o.private[:, head].double() @ back).to(o.private)


@torch.no_grad()
def entangled_answers(
    decoder: Decoder,
    gamma: float,
    first: tuple[int, int],
    second: tuple[int, int],
    *,
    seed: int = 0,
    share: float = 0.25,
) -> None:
    """X(gamma) aimed at two read-outs: pairs of units that cancel, and write along what both read-outs want.

    A direction drawn at random may be wanted by one read-out and unwanted by the other, and then the overlap of two that already
    share something first falls with the gain. Each unit reads what two units of its block read.

    Args:
        gamma: how strongly each of a pair writes, against the mean unit. ``first``, ``second``: the two tokens of each read-out.
    """
    rng, head = torch.Generator().manual_seed(seed), decoder.head
    one, two = (head[a] - head[b] for a, b in (first, second))
    along = (one / one.norm() + two / two.norm())[:, None]
    for b in decoder.blocks:
        k = max(1, round(share * b.up.out_features))
        left, right = torch.randint(b.up.out_features, (2, k), generator=rng)
        gate, up = (m.weight[left] + m.weight[right] for m in (b.gate, b.up))
        write = (along * (gamma * b.down.weight.norm(dim=0).mean() / along.norm())).expand(-1, k)
        _append(b, torch.cat([gate, gate]), torch.cat([up, up]), b.down.weight, torch.cat([write, -write], dim=1))


@torch.no_grad()
def settled(decoder: Decoder, mlps: Sequence[GatedCopies], heads: Sequence[Sequence[GatedHeads]] = ()) -> None:
    """Balance second copies as :func:`~homing.fracture.decoder.fix_gauge` balances the first; gains must be folded already.

    The copies of an MLP's units are private throughout, so that each has a scale of its own. Those of a group of heads likewise.
    """
    for m in mlps:
        if len(m.private[1]):
            block = _as_block(dict(zip(("gate", "up", "down"), m.private, strict=True)))
            _balance_units(block)
            for target, name in zip(m.private, ("gate", "up", "down"), strict=True):
                target.copy_(block.matrix(name).weight)
    for four in heads:
        if four[1].private.numel():
            block = _as_block(dict(zip("qkvo", (g.private for g in four), strict=True)))
            groups = len(four[1].private) // decoder.width
            each = decoder.heads // decoder.groups
            view = Decoder(decoder.model, (), decoder.norm, groups * each, groups, decoder.width, decoder.hidden)
            _balance_heads(view, block)
            for target, name in zip(four, "qkvo", strict=True):
                target.private.copy_(block.matrix(name).weight)


def _as_block(weights: dict[str, nn.Parameter]) -> DecoderBlock:
    """Some matrices as those of a block; what is missing is empty."""
    made: dict[str, nn.Linear] = {}
    for name in ("q", "k", "v", "o", "gate", "up", "down"):
        w = weights.get(name)
        linear = nn.Linear(1, 1, bias=False)
        if w is not None:
            linear.weight = nn.Parameter(w.detach().clone())
        made[name] = linear
    return DecoderBlock(**made, norm_in=nn.Identity(), norm_mid=nn.Identity())
