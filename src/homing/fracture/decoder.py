"""The weights of a decoder with its gauges fixed: of all the ways to write down one transformer, one is chosen.

A norm's gain may stand in the matrices that read it; a unit of a gated MLP may be scaled on its way in if it is scaled back on
its way out; a query may be scaled against its key, pair by pair of what the rotary embedding turns together; and values
may be mixed by any matrix that the output undoes. None of it changes what is computed, and all of it moves parameter gradients.
What is left after this (rotations of the stream, of values and within rotary pairs, and every order of units and heads) leaves
inner products of gradients as they are, since it is orthogonal.
Balancing: Stock et al., 1902.10416; folding: Elhage et al. 2021.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from homing.errors import InputError

__all__ = ["MATRICES", "Decoder", "DecoderBlock", "fix_gauge"]

MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
READS = {"q": "norm_in", "k": "norm_in", "v": "norm_in", "gate": "norm_mid", "up": "norm_mid"}
"""Matrices that read the stream, and the norm that each reads it through; ``o`` and ``down`` write to it."""
_PLACES = {
    "norm_in": "input_layernorm", "norm_mid": "post_attention_layernorm",
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}  # fmt: skip
_KNOWN = frozenset(f"{p}.weight" for p in _PLACES.values())


@dataclass(frozen=True, eq=False, slots=True)
class DecoderBlock:
    """One block: its matrices, ``(out, in)`` as torch keeps them, and the gains of its two norms."""

    q: nn.Linear
    k: nn.Linear
    v: nn.Linear
    o: nn.Linear
    gate: nn.Linear
    up: nn.Linear
    down: nn.Linear
    norm_in: nn.Module
    norm_mid: nn.Module

    def matrix(self, name: str) -> nn.Linear:
        """One of :data:`MATRICES`."""
        return cast("nn.Linear", getattr(self, name))

    def gain(self, name: str) -> torch.Tensor:
        """The gain of a norm, ``(hidden,)``."""
        return cast("torch.Tensor", getattr(self, name).weight)


@dataclass(frozen=True, eq=False, slots=True)
class Decoder:
    """A view on the parts of a causal language model of the Llama family; what is changed through it changes the model.

    Attributes:
        model: as transformers made it. ``blocks``: in their order. ``norm``: the last one.
        heads: of queries. ``groups``: of keys and values. ``width``: of a head. ``hidden``: of the stream.
    """

    model: nn.Module
    blocks: tuple[DecoderBlock, ...]
    norm: nn.Module
    heads: int
    groups: int
    width: int
    hidden: int

    @classmethod
    def of(cls, model: nn.Module, *, name: str = "the model") -> Decoder:
        """Look at a model.

        Args:
            model: a causal language model of transformers. ``name``: for the sentence where it cannot be treated.

        Raises:
            InputError: it has biases, other norms, or other parts, whose gauges are not those above.
        """
        inner, config = getattr(model, "model", None), cast(Any, model).config
        layers = getattr(inner, "layers", None)
        kind = type(model).__name__
        if not isinstance(layers, nn.ModuleList) or not hasattr(model, "lm_head"):
            raise _other(name, kind, "it has no model.layers, or no lm_head")
        blocks: list[DecoderBlock] = []
        for i, layer in enumerate(layers):
            found = frozenset(n for n, _ in layer.named_parameters())
            if found != _KNOWN:
                odd = ", ".join(sorted(found ^ _KNOWN)[:4])
                raise _other(name, kind, f"block {i} has other parts than the Llama family ({odd})")
            parts = {k: layer.get_submodule(p) for k, p in _PLACES.items()}
            for k in ("norm_in", "norm_mid"):
                _check_norm(parts[k], name, kind)
            blocks.append(DecoderBlock(**cast("dict[str, Any]", parts)))
        norm = cast(Any, inner).norm
        _check_norm(norm, name, kind)
        heads = int(config.num_attention_heads)
        groups = int(getattr(config, "num_key_value_heads", None) or heads)
        return cls(
            model, tuple(blocks), norm, heads, groups, blocks[0].q.out_features // heads, int(config.hidden_size)
        )

    @property
    def embedding(self) -> torch.Tensor:
        """``(vocab, hidden)``."""
        return cast(Any, self.model).model.embed_tokens.weight

    @property
    def gain(self) -> torch.Tensor:
        """That of the last norm, ``(hidden,)``."""
        return cast("torch.Tensor", self.norm.weight)

    @property
    def head(self) -> torch.Tensor:
        """``(vocab, hidden)``; the embedding itself where both are tied."""
        return cast(Any, self.model).lm_head.weight

    def shape(self) -> tuple[int, ...]:
        """Blocks, hidden size, heads, groups, units of the first MLP, and vocabulary."""
        return (
            len(self.blocks),
            self.hidden,
            self.heads,
            self.groups,
            self.blocks[0].up.out_features,
            len(self.embedding),
        )

    def matrices(self) -> Iterator[tuple[int, str, nn.Linear]]:
        """Block, name and module of every matrix, in their order."""
        for i, block in enumerate(self.blocks):
            for name in MATRICES:
                yield i, name, block.matrix(name)

    def damaged(self) -> str:
        """The first part that has a weight which is not finite; empty where there is none."""
        return next((n for n, p in self.model.named_parameters() if not bool(torch.isfinite(p).all())), "")

    def untie(self) -> None:
        """Give the head a matrix of its own."""
        if self.head is self.embedding:
            cast(Any, self.model).lm_head.weight = nn.Parameter(self.embedding.detach().clone())
            cast(Any, self.model).config.tie_word_embeddings = False


def _other(name: str, kind: str, why: str) -> InputError:
    return InputError(
        f"{name} is a {kind}, and {why}; gauges are known for RMS norms, gated MLPs and no biases (Llama family)"
    )


def _check_norm(norm: nn.Module, name: str, kind: str) -> None:
    """Of ones an RMS norm with a gain gives that gain."""
    weight = getattr(norm, "weight", None)
    if not isinstance(weight, torch.Tensor):
        raise _other(name, kind, "a norm has no gain")
    with torch.no_grad():
        signs = torch.ones_like(weight)
        signs[1::2] = -1
        for x in (torch.ones_like(weight), signs):
            if not torch.allclose(norm(x[None, None])[0, 0], weight * x, rtol=1e-3, atol=1e-4):
                raise _other(name, kind, "a norm is not the root mean square times a gain")


@torch.no_grad()
def fix_gauge(decoder: Decoder) -> None:
    """Fold gains and balance what may be scaled or mixed, in place; what is computed stays as it was.

    Units that nothing reads, or that are always 0, are set to 0 throughout. Worked out in float64, kept in the weights' own type.
    """
    decoder.untie()
    for block in decoder.blocks:
        for name, norm in READS.items():
            w = block.matrix(name).weight
            w.copy_(w.double() * block.gain(norm).double()[None])
        for norm in ("norm_in", "norm_mid"):
            block.gain(norm).fill_(1.0)
        _balance_units(block)
        _balance_heads(decoder, block)
    decoder.head.copy_(decoder.head.double() * decoder.gain.double()[None])
    decoder.gain.fill_(1.0)


def _balance_units(block: DecoderBlock) -> None:
    up, down = block.up.weight.double(), block.down.weight.double()
    into, out = up.norm(dim=1), down.norm(dim=0)
    live = (into > 0) & (out > 0) & (block.gate.weight.norm(dim=1) > 0)
    scale = torch.where(live, (out / into.clamp_min(1e-300)).sqrt(), torch.zeros_like(into))
    back = torch.where(live, 1 / scale.clamp_min(1e-300), torch.zeros_like(into))
    block.up.weight.copy_(up * scale[:, None])
    block.down.weight.copy_(down * back[None])
    block.gate.weight.mul_(live[:, None])


def _balance_heads(decoder: Decoder, block: DecoderBlock) -> None:
    w, g, each = decoder.width, decoder.groups, decoder.heads // decoder.groups
    # rotary pairs: dimension i of a head turns with i + width / 2
    q = block.q.weight.double().reshape(g, each, 2, w // 2, -1)
    k = block.k.weight.double().reshape(g, 2, w // 2, -1)
    out, into = q.pow(2).sum(dim=(1, 2, 4)).sqrt(), k.pow(2).sum(dim=(1, 3)).sqrt()
    live = (out > 0) & (into > 0)
    scale = torch.where(live, (out / into.clamp_min(1e-300)).sqrt(), torch.zeros_like(out))
    back = torch.where(live, 1 / scale.clamp_min(1e-300), torch.zeros_like(out))
    block.q.weight.copy_((q * back[:, None, None, :, None]).reshape(block.q.weight.shape))
    block.k.weight.copy_((k * scale[:, None, :, None]).reshape(block.k.weight.shape))
    v = block.v.weight.double().reshape(g, w, -1)
    o = block.o.weight.double().reshape(-1, g, each, w)
    for i in range(g):
        stacked = o[:, i].permute(1, 0, 2).reshape(-1, w)  # what each head of the group writes, one below the other
        qo, ro = torch.linalg.qr(stacked)
        qv, rv = torch.linalg.qr(v[i].T)
        a, s, b = torch.linalg.svd(ro @ rv.T)
        root = s.sqrt()
        o[:, i] = (qo @ (a * root)).reshape(each, -1, w).permute(1, 0, 2)
        v[i] = (root[:, None] * b) @ qv.T
    block.v.weight.copy_(v.reshape(block.v.weight.shape))
    block.o.weight.copy_(o.reshape(block.o.weight.shape))
