"""A GGUF file turned into a model directory, once, for torch: whole, or not there."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from homing.errors import InputError, MissingExtra, ModelError
from homing.models.gguf import content_digest
from homing.models.hugging import check_directory, first_line, transformers_at_hand
from homing.models.once import once

__all__ = ["converted", "mend_splitting"]

_log = logging.getLogger("homing.models")
_CONVERTER = "2"


def converted(file: Path, cache: Path, *, convert: Callable[[Path, Path], None] | None = None) -> Path:
    """The directory that a GGUF file was converted into, made once: whole, or not there.

    Args:
        file: the GGUF. cache: the cache directory. convert: writes a directory from a file; transformers' own by default.

    Raises:
        ModelError: it is not a GGUF file, or cannot be converted. InputError: the cache cannot be written.
    """
    target = cache / "models" / f"{content_digest(file)[:24]}-{_CONVERTER}"
    if not target.is_dir():  # a whole one is taken as it is, also from a cache that cannot be written

        def make(out: Path) -> None:
            _log.warning("converting %s, once; about half a minute", file.name)
            out.mkdir()
            (convert or _convert)(file, out)

        try:
            once(target, make)
        except (OSError, SafetensorError) as e:  # safetensors has an error of its own for a full disk
            why = (e.strerror if isinstance(e, OSError) else None) or first_line(e)
            raise InputError(
                f"{file.name} cannot be converted into {target.parent}: {why}; "
                "free space, or set HOMING_CACHE (cache_dir in homing.toml) to a folder that can be written"
            ) from None
    check_directory(target)
    return target


def _convert(file: Path, out: Path) -> None:
    torch, transformers = transformers_at_hand()
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except ImportError as e:
        raise MissingExtra(f"what reads a GGUF file ({first_line(e)})", "pip install 'homing[local]'") from None
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, struct.error) as e:
        raise ModelError(
            f"{file} cannot be converted: {first_line(e)}; is the file whole, and its family known?"
        ) from None
    model.hf_quantizer = None  # the weights are whole again; transformers would refuse to save them
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    mend_splitting(out / "tokenizer.json", _splitting(file), file)


_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


_SPLITTING: dict[str, tuple[dict[str, Any], ...]] = {
    "smollm": ({"type": "Digits", "individual_digits": True}, {**_BYTES, "use_regex": True}),
    "llama-bpe": (_split(_WORDS % "{1,3}"), _BYTES),
    "qwen2": (_split(_WORDS % ""), _BYTES),
}
"""How a text is split before its pieces are merged, by the name that a GGUF gives it. transformers does not read the name
and splits as GPT-2 does: two spaces before a digit become two tokens, and the model sees what it was not trained on."""


def _splitting(file: Path) -> str | None:
    """The name of the splitting in the header of a file of byte pairs, or None."""
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    kind, name = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    return str(name.contents()) if kind is not None and name is not None and kind.contents() == "gpt2" else None


def mend_splitting(tokenizer: Path, name: str | None, file: Path) -> None:
    """Write into a ``tokenizer.json`` how the model splits text.

    Args:
        name: of the splitting, from the header; None: nothing to do. One that is not known is said in the log.
    """
    if name is None:
        return
    if name not in _SPLITTING:
        _log.warning(
            "%s splits text in a way (%s) that is not known here: tokens may differ from the model's own; llama.cpp reads it",
            file.name, name,
        )  # fmt: skip
        return
    raw = json.loads(tokenizer.read_text("utf-8"))
    raw["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(_SPLITTING[name])}
    tokenizer.write_text(json.dumps(raw, ensure_ascii=False), "utf-8")
