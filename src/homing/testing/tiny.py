"""Tiny models made in code: a random Llama with a byte tokenizer, and one with a planted persona direction."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["MARKER", "TEMPLATE", "Planted", "planted_model", "tiny_llama", "tiny_tokenizer"]

MARKER = "<role>"
"""The token that switches the planted persona on, anywhere in the system prompt."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIALS = ("<pad>", "<|im_start|>", "<|im_end|>")


def tiny_tokenizer(*, template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """One token a byte, three special tokens and MARKER; 260 ids, ChatML template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in _SPECIALS])
    backend.add_tokens([AddedToken(MARKER, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=_SPECIALS[2], pad_token=_SPECIALS[0], clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = template
    return tokenizer


def _config(
    *, layers: int, hidden: int, vocab: int, context: int, heads: int, kv_heads: int, spread: float
) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        initializer_range=spread,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        bos_token_id=None,
        eos_token_id=258,
        pad_token_id=256,
    )


def _build(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def tiny_llama(
    *, layers: int = 4, hidden: int = 64, vocab: int = 260, seed: int = 0, context: int = 2048, spread: float = 0.15
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A random Llama with its tokenizer.

    Args:
        layers, hidden: sizes; hidden a multiple of 16. vocab: at least 260. context: longest sequence.
        seed: of the weights. spread: standard deviation of the weights; the larger, the more peaked the model.

    Returns:
        The model in float32 and evaluation mode, and the byte tokenizer.
    """
    if vocab < 260:
        raise ValueError(f"vocab is {vocab}; the byte tokenizer needs at least 260")
    config = _config(layers=layers, hidden=hidden, vocab=vocab, context=context, heads=4, kv_heads=2, spread=spread)
    return _build(config, seed), tiny_tokenizer()


@dataclass(frozen=True, eq=False)
class Planted:
    """A model whose persona direction is known.

    Attributes:
        axis: unit vector ``(hidden,)`` that points from the roles to home: where MARKER stands before a token, the
            residual stream after layer ``layer`` and later is moved by ``-strength`` times it.
        layer: the layer that writes it. ``strength``: 0 where nothing is planted.
    """

    model: Any
    tokenizer: PreTrainedTokenizerFast
    axis: NDArray[np.float32]
    layer: int
    strength: float


def planted_model(
    *, strength: float = 3.0, layer: int = 1, layers: int = 4, hidden: int = 64, seed: int = 0, context: int = 2048
) -> Planted:
    """A random Llama that leaves home along a known direction as soon as MARKER is in its context.

    Built from weights alone. Two dimensions of the stream are reserved: one is constant, one marks MARKER. In
    ``layer`` the first head looks for the mark (its query reads the constant) and writes the shift; where there is no
    mark it finds only zeros. No other weight reads the reserved dimensions, and only printable text and the end token
    can be said.

    Args:
        strength: length of the shift; 0 plants nothing. layer: where it is written. seed: of the weights.
    """
    config = _config(layers=layers, hidden=hidden, vocab=260, context=context, heads=4, kv_heads=4, spread=0.02)
    model: Any = _build(config, seed)
    tokenizer = tiny_tokenizer()
    rng = np.random.default_rng(seed + 1)
    axis = rng.standard_normal(hidden)
    axis[:2] = 0.0
    axis /= np.linalg.norm(axis)
    mark = tokenizer.get_vocab()[MARKER]
    head = hidden // 4
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed + 2)
        embedding = model.model.embed_tokens.weight
        embedding.copy_(0.15 * torch.randn(embedding.shape, generator=generator))
        embedding[:, 0], embedding[:, 1] = 1.0, 0.0
        embedding[mark] = 0.0
        embedding[mark, 0], embedding[mark, 1] = 1.0, 2.0
        for block in model.model.layers:
            attention, mlp = block.self_attn, block.mlp
            for reader in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
                reader.weight[:, :2] = 0.0
            for writer in (attention.o_proj, mlp.down_proj):
                writer.weight[:2] = 0.0
        attention = model.model.layers[layer].self_attn
        for reader in (attention.q_proj, attention.k_proj, attention.v_proj):
            reader.weight[:head] = 0.0
        slow = head // 2 - 1  # the pair of dimensions that the rotary embedding turns least
        attention.q_proj.weight[slow, 0] = 5.0
        attention.k_proj.weight[slow, 1] = 5.0
        attention.v_proj.weight[0, 1] = 1.0
        attention.o_proj.weight[:, :head] = 0.0
        normed = 2.0 / np.sqrt(5.0 / hidden)  # what the norm makes of the mark
        attention.o_proj.weight[:, 0] = torch.tensor(-axis * strength / normed, dtype=torch.float32)
        out = model.lm_head.weight
        out.copy_(0.25 * torch.randn(out.shape, generator=generator))
        out[:, :2] = 0.0
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        sayable = {alphabet.index(chr(c)) for c in range(33, 127)} | {alphabet.index("Ġ"), 258}
        out[[i for i in range(out.shape[0]) if i not in sayable], 0] = -1e4
    return Planted(model, tokenizer, axis.astype(np.float32), layer, strength)
