"""Gradient coupling of a decoder over the matrices of all its blocks, from mean gradients of parts of the prompts.

A part takes one backward pass of its mean, so that no prompt's gradient is ever kept; and of the parts' gradients only as many
matrices at a time as fit in ``memory``, the passes being done again for the next ones, so that 100M weights need no more.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from homing.errors import InputError
from homing.fracture.concept_contexts import LEAST
from homing.fracture.coupling import LEAST_PARTS, Coupling, couple
from homing.fracture.decoder import Decoder
from homing.fracture.decoder_read import Prompt, weighted_gradient
from homing.fracture.network import F64
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = ["LEAST_PROMPTS", "SignedPrompts", "block_matrices", "decoder_entanglement", "gradient_coupling", "part_gram"]

LEAST_PROMPTS = LEAST
"""Of a context, as for its directions."""


@dataclass(frozen=True, slots=True)
class SignedPrompts:
    """Prompts of one context with their classes.

    Attributes:
        name: of the context. ``signs``: 1 or -1 of each prompt, its class; the read-out is ``sign * (first - second)``.
        gate: which private copy answers, of a decoder that was given some (:mod:`~homing.fracture.decoder_truth`).

    Raises:
        InputError: fewer than 16 prompts, signs that are not 1 or -1, or not one for each prompt.
    """

    name: str
    prompts: tuple[Prompt, ...]
    signs: tuple[float, ...]
    gate: bool | None = None

    def __post_init__(self) -> None:
        if len(self.prompts) != len(self.signs) or any(s not in (1, -1) for s in self.signs):
            raise InputError(f"context {self.name!r} has {len(self.prompts)} prompts; give each a sign of 1 or -1")
        if len(self.prompts) < LEAST_PROMPTS:
            raise InputError(
                f"context {self.name!r} has {len(self.prompts)} prompts; gradient coupling needs {LEAST_PROMPTS}"
            )


@dataclass(frozen=True, slots=True)
class _Part:
    where: str
    prompts: tuple[Prompt, ...]
    weights: tuple[float, ...]
    gate: bool | None


def _parts(context: SignedPrompts, parts: int, seed: int, *, shuffled: bool) -> list[_Part]:
    """Disjoint parts in which both classes weigh the same, so that what they share of a gradient falls out."""
    dealt: list[list[int]] = [[] for _ in range(parts)]
    rng = np.random.default_rng(stable_seed("coupling parts", context.name, seed))
    for sign in (1, -1):
        rows = np.flatnonzero(np.asarray(context.signs) == sign)
        if 0 < len(rows) < parts:
            raise InputError(
                f"class {sign:+d} of context {context.name!r} has {len(rows)} prompts for {parts} parts; give more"
            )
        for j, i in enumerate(rng.permutation(rows)):
            dealt[j % parts].append(int(i))
    out: list[_Part] = []
    for some in dealt:
        signs = np.array([context.signs[i] for i in some])
        if shuffled:
            # half of each class changes sides: shuffled freely, a small part would keep much of its classes by chance
            for sign in (1, -1):
                rows = rng.permutation(np.flatnonzero(np.array([context.signs[i] for i in some]) == sign))
                signs[rows[: (len(rows) + int(rng.integers(2))) // 2]] *= -1
        size = {s: max(int((signs == s).sum()), 1) for s in (1, -1)}
        classes = len({float(s) for s in signs})
        weights = tuple(float(s) / (size[int(s)] * classes) for s in signs)
        out.append(_Part(context.name, tuple(context.prompts[i] for i in some), weights, context.gate))
    return out


def block_matrices(decoder: Decoder) -> list[nn.Parameter]:
    """Every matrix of every block, private copies included; no gain, no embedding and no head."""
    layers = cast(Any, decoder.model).model.layers
    return [p for p in layers.parameters() if p.ndim == 2]


def _set_gate(model: nn.Module, gate: bool | None) -> None:
    for m in model.modules():
        if hasattr(m, "context") and hasattr(m, "private"):
            cast(Any, m).context = torch.tensor([bool(gate)])


def _gradient(model: nn.Module, part: _Part, of: Sequence[nn.Parameter]) -> list[torch.Tensor]:
    """Of the weighted sum of a part's read-outs, its private copies answering where it has any."""
    _set_gate(model, part.gate)
    return weighted_gradient(model, part.prompts, part.weights, of, where=f"context {part.where!r}")


def part_gram(decoder: Decoder, parts: Sequence[_Part], *, memory: int = 2**31) -> F64:
    """Inner products of the parts' gradients, ``(parts, parts)``, summed in float64.

    Args:
        memory: bytes for gradients that are held at once; a single matrix may ask for more.
    """
    model, weights = decoder.model, block_matrices(decoder)
    stripes: list[list[nn.Parameter]] = [[]]
    held = 0
    for w in weights:
        size = w.numel() * w.element_size() * len(parts)
        if stripes[-1] and held + size > memory:
            stripes.append([])
            held = 0
        stripes[-1].append(w)
        held += size
    gram = np.zeros((len(parts), len(parts)))
    training = model.training
    try:
        model.eval()
        for stripe in stripes:
            rows = [_gradient(model, part, stripe) for part in parts]
            for j in range(len(stripe)):
                x = torch.stack([r[j].flatten() for r in rows])
                for chunk in x.split(2**18, dim=1):
                    y = chunk.double()
                    gram += (y @ y.T).cpu().numpy()
    finally:
        _set_gate(model, None)
        model.train(training)
    return (gram + gram.T) / 2


def gradient_coupling(
    decoder: Decoder,
    contexts: Sequence[SignedPrompts],
    *,
    unrelated: Sequence[SignedPrompts] = (),
    parts: int = 8,
    seed: int = 0,
    memory: int = 2**31,
    level: float = 0.95,
) -> Coupling:
    """Coupling of one concept over its contexts. Fix the gauge first (:func:`~homing.fracture.decoder.fix_gauge`).

    Args:
        contexts: two or more of one concept. ``unrelated``: of another concept, the null; without it classes are shuffled.
        parts: disjoint parts of a context's prompts, at least 4. ``seed``: of the parts and of the shuffles.

    Raises:
        InputError: too few contexts, parts or prompts, or gradients that are not finite.
    """
    if parts < LEAST_PARTS or len(contexts) < 2:
        raise InputError(
            f"{len(contexts)} contexts of {parts} parts; coupling needs 2 contexts and {LEAST_PARTS} parts of each"
        )
    names = [c.name for c in (*contexts, *unrelated)]
    if len(set(names)) < len(names):
        raise InputError(f"contexts must have names of their own; got {', '.join(names)}")
    made = [p for c in (*contexts, *unrelated) for p in _parts(c, parts, seed, shuffled=False)]
    if not unrelated:
        made += [p for c in contexts for p in _parts(c, parts, seed, shuffled=True)]
    groups = len(made) // parts
    gram = part_gram(decoder, made, memory=memory).reshape(groups, parts, groups, parts)
    n = min(len(c.prompts) for c in (*contexts, *unrelated))
    null_of = None if unrelated else range(len(contexts))
    return couple(gram, [c.name for c in contexts], n=n, unrelated=len(unrelated), null_of=null_of, level=level)


def decoder_entanglement(
    decoder: Decoder,
    prompts: Sequence[Prompt],
    answers: tuple[int, int],
    *,
    gate: bool | None = None,
    seed: int = 0,
    memory: int = 2**31,
    level: float = 0.95,
) -> Estimate:
    """E: mean size of the cosine between the gradients of two read-outs at one prompt. Fix the gauge first.

    Args:
        prompts: with the tokens of the first read-out. ``answers``: the tokens of the second, at all of them.

    Returns:
        ``n`` counts prompts. Where a read-out has no gradient nothing is shared, and it counts as 0.

    Raises:
        InputError: fewer than 8 prompts, a second read-out that is the first, or gradients that are not finite.
    """
    if len(prompts) < 8:
        raise InputError(f"entanglement got {len(prompts)} prompts; give at least 8")
    if any({p.first, p.second} == set(answers) for p in prompts) or answers[0] == answers[1]:
        raise InputError(
            "the two read-outs are one, or one is of a token against itself; give answers of another concept"
        )
    made = [_Part("entanglement", (p,), (1.0,), gate) for p in prompts]
    made += [_Part("entanglement", (Prompt(p.tokens, *answers),), (1.0,), gate) for p in prompts]
    gram, n = part_gram(decoder, made, memory=memory), len(prompts)
    size = np.diagonal(gram)
    both = np.sqrt(size[:n] * size[n:])
    found = np.divide(np.abs(np.diagonal(gram[:n, n:])), both, out=np.zeros(n), where=both > 0)
    return bootstrap_mean(found, seed=stable_seed("decoder entanglement", seed), level=level)
