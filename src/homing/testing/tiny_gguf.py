"""Tiny random GGUF files: whole models of a few layers with a byte tokenizer, written here and read by llama.cpp."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

__all__ = ["ARCHITECTURES", "gguf_of", "write_gguf"]

Architecture = Literal["llama", "qwen2", "qwen3", "olmo2"]
ARCHITECTURES: tuple[Architecture, ...] = ("llama", "qwen2", "qwen3", "olmo2")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _byte_tokens() -> list[str]:
    """The 256 bytes as the printable characters that GPT-2's tokenizer writes them with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out: list[str] = []
    extra = 0
    for b in range(256):
        if b in plain:
            out.append(chr(b))
        else:
            out.append(chr(256 + extra))
            extra += 1
    return out


def write_gguf(
    path: Path,
    architecture: Architecture = "llama",
    *,
    layers: int = 4,
    hidden: int = 64,
    context: int = 512,
    seed: int = 0,
    template: str | None = CHATML,
    damage: float | None = None,
) -> Path:
    """Write one random model in float32.

    Args:
        layers, hidden: its size; heads are 16 wide. ``context``: tokens it claims to be trained on.
        template: its chat template; None: it has none. ``damage``: a value that stands in its last norm.
    """
    from gguf import GGUFWriter

    rng = np.random.default_rng(seed)
    tokens = [*_byte_tokens(), "<|im_start|>", "<|im_end|>"]
    vocab, heads, width, inner = len(tokens), hidden // 16, 16, 2 * hidden
    w = GGUFWriter(str(path), architecture)
    w.add_name(f"tiny {architecture}")
    w.add_context_length(context)
    w.add_embedding_length(hidden)
    w.add_block_count(layers)
    w.add_feed_forward_length(inner)
    w.add_head_count(heads)
    w.add_head_count_kv(heads)
    w.add_key_length(width)
    w.add_value_length(width)
    w.add_rope_dimension_count(width)
    w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(vocab)
    w.add_file_type(0)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types([1] * 256 + [3, 3])
    w.add_token_merges(["a b"])
    w.add_eos_token_id(257)
    w.add_bos_token_id(256)
    w.add_add_bos_token(False)
    if template is not None:
        w.add_chat_template(template)

    def put(name: str, *shape: int, scale: float = 0.0, at: float = 0.0) -> None:
        values = at + scale * rng.standard_normal(shape) if scale else np.full(shape, at)
        w.add_tensor(name, values.astype(np.float32))

    put("token_embd.weight", vocab, hidden, scale=1.0)
    put("output_norm.weight", hidden, at=1.0 if damage is None else damage)
    put("output.weight", vocab, hidden, scale=2.0 / np.sqrt(hidden))
    for i in range(layers):
        b = f"blk.{i}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            put(f"{b}{name}.weight", hidden, hidden, scale=1 / np.sqrt(hidden))
        put(f"{b}ffn_gate.weight", inner, hidden, scale=1 / np.sqrt(hidden))
        put(f"{b}ffn_up.weight", inner, hidden, scale=1 / np.sqrt(hidden))
        put(f"{b}ffn_down.weight", hidden, inner, scale=1 / np.sqrt(inner))
        if architecture == "olmo2":  # normalises what a block gives instead of what it takes
            put(f"{b}post_attention_norm.weight", hidden, at=0.5)
            put(f"{b}post_ffw_norm.weight", hidden, at=0.5)
            put(f"{b}attn_q_norm.weight", hidden, at=1.0)
            put(f"{b}attn_k_norm.weight", hidden, at=1.0)
        else:
            put(f"{b}attn_norm.weight", hidden, at=1.0)
            put(f"{b}ffn_norm.weight", hidden, at=1.0)
        if architecture == "qwen2":
            for name in ("attn_q", "attn_k", "attn_v"):
                put(f"{b}{name}.bias", hidden, scale=0.1)
        if architecture == "qwen3":
            put(f"{b}attn_q_norm.weight", width, at=1.0)
            put(f"{b}attn_k_norm.weight", width, at=1.0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


_BLOCK = {
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
}


def gguf_of(model: Any, tokenizer: Any, path: Path) -> Path:
    """Write a tiny Llama of :mod:`homing.testing.tiny` as a GGUF in float32.

    It says that it is a Qwen 2 without biases, which is the same arithmetic with the rotary pairs as transformers has them.
    """
    from gguf import GGUFWriter

    c, n = model.config, len(tokenizer)
    w = GGUFWriter(str(path), "qwen2")
    w.add_name("planted")
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_rope_freq_base(float(c.rope_parameters["rope_theta"]))
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_vocab_size(n)
    w.add_file_type(0)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokenizer.convert_ids_to_tokens(list(range(n))))
    special = set(tokenizer.all_special_ids)
    added = set(tokenizer.added_tokens_decoder)
    w.add_token_types([3 if i in special else 4 if i in added else 1 for i in range(n)])
    w.add_token_merges(["a b"])
    w.add_eos_token_id(int(tokenizer.eos_token_id))
    w.add_add_bos_token(False)
    w.add_chat_template(str(tokenizer.chat_template))
    state = {k: v.detach().numpy().astype(np.float32) for k, v in model.state_dict().items()}
    w.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    w.add_tensor("output_norm.weight", state["model.norm.weight"])
    w.add_tensor("output.weight", state["lm_head.weight"])
    for i in range(c.num_hidden_layers):
        for theirs, ours in _BLOCK.items():
            w.add_tensor(f"blk.{i}.{ours}", state[f"model.layers.{i}.{theirs}"])
        for name in ("q", "k", "v"):
            rows = state[f"model.layers.{i}.self_attn.{name}_proj.weight"].shape[0]
            w.add_tensor(f"blk.{i}.attn_{name}.bias", np.zeros(rows, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path
