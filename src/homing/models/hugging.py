"""A Hugging Face model: its directory checked, its weights loaded, an engine put around it. Nothing that can run code."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import struct
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from safetensors import SafetensorError

from homing.config import chosen_device
from homing.engine.template import ChatTemplate
from homing.errors import InputError, MissingExtra, ModelError
from homing.models.local import LocalModel
from homing.models.timing import step_seconds

if TYPE_CHECKING:
    from homing.models.sources import Source

__all__ = ["Dtype", "check_directory", "fingerprint", "first_line", "load_hf", "loaded", "transformers_at_hand", "wrap"]

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
_log = logging.getLogger("homing.models")
_CONNECT_SECONDS = 2.0


def first_line(e: BaseException) -> str:
    """What an error of a library says, in one line."""
    lines = str(e).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(e).__name__


def check_directory(path: Path) -> None:
    """Refuse a directory that is no whole model.

    Raises:
        ModelError: says which file is missing or damaged.
    """
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


def transformers_at_hand() -> tuple[Any, Any]:
    """Torch and transformers, telemetry off.

    Raises:
        MissingExtra: they are not installed.
    """
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
    source: Source, *, dtype: Dtype = "float32", threads: int | None = None, device: str | None = None
) -> tuple[Any, Any]:
    """Load model and tokenizer.

    Args:
        source: from :func:`resolve`. threads: of torch; None: as it is. device: see :func:`homing.config.chosen_device`.
        dtype: of the weights in memory. ``auto`` times one decoding step in float32 and in bfloat16 and keeps the faster:
            for talking to a model, never for maps, tests and seeded comparisons, whose figures would follow the machine.

    Raises:
        ModelError: the hub cannot be reached and its cache lacks the model, the files do not fit, or weights are not finite.
        InputError: there is no such device.
    """
    model, tokenizer, _ = loaded(source, dtype, threads, device)
    return model, tokenizer


def loaded(source: Source, dtype: Dtype, threads: int | None, device: str | None = None) -> tuple[Any, Any, str | None]:
    """The same, and the fingerprint of the weights as the file holds them where the dtype takes digits from them.

    An identity is of the file's weights; a model turned to bfloat16 would be refused as another one.
    """
    torch, transformers = transformers_at_hand()
    if threads is not None:
        torch.set_num_threads(threads)
    where, place = source.name if source.path is None else str(source.path), device_of(torch, device)
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
        model = _weights(transformers, where, wanted if dtype in ("auto", "float32") else "auto", place, safe)
        if dtype != "float32":
            mark = fingerprint(model, tokenizer)
        if dtype == "auto" and not _half_is_slower(model, torch, step_seconds(model).value):
            wanted = torch.bfloat16
        if dtype == "auto" or model.dtype != wanted:
            del model  # never two in memory
            # read again, not turned: only the file still has the digits, and turning takes them from the buffers too
            model = _weights(transformers, where, wanted, place, safe)
    except (OSError, ValueError, SafetensorError) as e:
        if offline and isinstance(e, OSError):
            raise ModelError(
                f"model {source.name} is not whole in the hub's cache on this machine, and the hub cannot be reached; "
                "mend the network (or unset HF_HUB_OFFLINE), or give a directory that holds the model"
            ) from None
        hint = "; is the name right, and the network there?" if source.path is None else ""
        raise ModelError(f"model {source.name} cannot be loaded: {first_line(e)}{hint}") from None
    for name, p in model.named_parameters():
        if not bool(torch.isfinite(p.detach().float().sum())):
            raise ModelError(f"weights {name} of {source.name} are not finite; the file is damaged")
    return model.eval(), tokenizer, mark


def _weights(transformers: Any, where: str, dtype: Any, place: Any, safe: dict[str, bool]) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=dtype, use_safetensors=True, **safe)
    return model.to(place).eval()


def device_of(torch: Any, device: str | None) -> Any:
    """The device that is meant, as torch has it.

    Raises:
        InputError: this machine, or this build of torch, has none such.
    """
    wanted, count = chosen_device(device), int(torch.cuda.device_count())
    if wanted == "auto":
        return torch.device("cuda" if count else "cpu")
    place = torch.device(wanted)
    if place.type == "cuda" and (place.index or 0) >= count:
        has = f"{count} GPU{'s' * (count > 1)}" if count else "no GPU that this build of torch can use"
        raise InputError(f"device is {wanted}, and this machine has {has}; set it to auto or cpu")
    return place


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


def wrap(
    model: Any,
    tokenizer: Any,
    *,
    name: str | None = None,
    slots: int | None = None,
    layers: str | None = None,
    mark: str | None = None,
    origin: str = "",
) -> LocalModel:
    """Talk to the user's own model object: not copied, and left as it was on ``close``.

    Args:
        slots: see :func:`homing.models.sources.open_model`.
        mark: its fingerprint, where its weights are no longer those of its file; None: taken from the object.
        origin: digest of the GGUF file that it was converted from, where it was.
    """
    template = ChatTemplate.from_tokenizer(tokenizer)
    from homing.engine.torch import TorchEngine

    many = (
        32 if next(model.parameters()).device.type == "cpu" else 512
    )  # where a step takes as long for one as for hundreds
    engine = TorchEngine(
        model,
        tokenizer,
        slots=slots or many,
        layers=layers,
        fingerprint=mark or fingerprint(model, tokenizer),
        origin=origin,
    )
    return LocalModel(engine, tokenizer, template, name=name or str(model.config.name_or_path or "wrapped"))
