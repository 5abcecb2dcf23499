"""Tiny random models of many architectures of transformers, and the table of what the engine finds in them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
import transformers as tf

from homing.engine.torch.engine import TorchEngine
from homing.engine.torch.layers import find
from homing.errors import HomingError
from homing.testing.tiny import tiny_tokenizer

__all__ = ["FAMILIES", "Family", "family_model", "family_table"]

_BASE: dict[str, Any] = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 256,
    "bos_token_id": None,
    "eos_token_id": 258,
}
_EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "decoder_sparse_step": 1,
}


def _text(name: str, **more: Any) -> Callable[[], Any]:
    def build() -> Any:
        config = getattr(tf, f"{name}Config")(**(_BASE | more))
        return getattr(tf, f"{name}ForCausalLM")(config)

    return build


def _gpt2() -> Any:
    c = tf.GPT2Config(
        vocab_size=260, n_embd=32, n_layer=3, n_head=4, n_positions=256, bos_token_id=258, eos_token_id=258
    )
    return tf.GPT2LMHeadModel(c)


def _gemma3() -> Any:
    text: dict[str, Any] = _BASE | {
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }
    vision: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 5,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    c = tf.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=257)
    return tf.Gemma3ForConditionalGeneration(c)


def _llava() -> Any:
    vision: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 5,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "projection_dim": 32,
    }
    c = tf.LlavaConfig(
        text_config=tf.LlamaConfig(**_BASE), vision_config=tf.CLIPVisionConfig(**vision), image_token_index=257
    )
    return tf.LlavaForConditionalGeneration(c)


_SLIDING: dict[str, Any] = {
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}

FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": _text("Llama"),
    "qwen2": _text("Qwen2"),
    "qwen3": _text("Qwen3"),
    "qwen3_moe": _text("Qwen3Moe", **_EXPERTS),
    "gemma": _text("Gemma"),
    "gemma2": _text("Gemma2", query_pre_attn_scalar=8, **_SLIDING),
    "gemma3_text": lambda: tf.Gemma3ForCausalLM(
        tf.Gemma3TextConfig(**cast("dict[str, Any]", _BASE | {"query_pre_attn_scalar": 8} | _SLIDING))
    ),
    "mistral": _text("Mistral", sliding_window=16),
    "mixtral": _text("Mixtral", num_local_experts=4, num_experts_per_tok=2),
    "phi": _text("Phi", num_key_value_heads=4),
    "phi3": _text("Phi3", rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    "olmo2": _text("Olmo2"),
    "gpt_neox": _text("GPTNeoX"),
    "gpt2": _gpt2,
    "granite": _text("Granite"),
    "starcoder2": _text("Starcoder2"),
    "gemma3 (multimodal)": _gemma3,
    "llava (multimodal)": _llava,
}
"""Name of the family -> builder of a tiny random model of it."""


@dataclass(frozen=True, slots=True)
class Family:
    """One line of the table of families.

    Attributes:
        name: of the family. ``path``: where the decoder layers were found. ``layers``: how many.
        result: ``works``, or why it is refused.
    """

    name: str
    path: str
    layers: int
    result: str


@cache
def family_model(name: str) -> Any:
    """The tiny random model of a family, built once a process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FAMILIES[name]().eval()


def family_table() -> list[Family]:
    """Open every family with the engine; what it found, or its reason for refusing."""
    out: list[Family] = []
    for name in FAMILIES:
        model = family_model(name)
        try:
            found = find(model)
            engine = TorchEngine(model, tiny_tokenizer(), slots=2, max_tokens=512)
            engine.close_now()
            out.append(Family(name, found.path, len(found.layers), "works"))
        except HomingError as e:
            out.append(Family(name, "", 0, str(e)))
    return out
