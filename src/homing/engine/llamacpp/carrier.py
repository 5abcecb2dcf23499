"""Where the llama.cpp library comes from: a wheel that carries it, checked before anything is called.

llama.cpp has no stable structure layouts. What this engine must set in a context's parameters is found by the default
values that the library itself fills in, and refused where they are not all there: nothing is guessed, nothing patched.
"""

from __future__ import annotations

import ctypes as c
import importlib.metadata
import importlib.util
import os
import struct
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from homing.errors import MissingExtra, ModelError

__all__ = ["Batch", "Carrier", "ContextLayout", "EvalCallback", "Parameters", "find_carrier", "layout_of"]

PINNED = "xllamacpp==2026.10.11549"
INSTALL = f"pip install {PINNED}"
IMAGE = 512
"""Bytes of a parameter structure as we hold it: larger than any version's own.

A structure of over 16 bytes is passed on the stack (System V x86-64) or by address (AArch64), so more bytes than the
library knows of do no harm."""

EvalCallback = c.CFUNCTYPE(c.c_bool, c.c_void_p, c.c_bool, c.c_void_p)
LogCallback = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)


class Parameters(c.Structure):
    """A parameter structure of the library, as bytes."""

    _fields_ = (("bytes", c.c_uint8 * IMAGE),)

    def put(self, at: int, form: str, *values: Any) -> None:
        """Write values at an offset."""
        raw = struct.pack(form, *values)
        c.memmove(c.addressof(self) + at, raw, len(raw))


class Batch(c.Structure):
    """``llama_batch``: token, position, sequence and whether logits are wanted, a row each."""

    _fields_ = (
        ("n_tokens", c.c_int32),
        ("token", c.POINTER(c.c_int32)),
        ("embd", c.c_void_p),
        ("pos", c.POINTER(c.c_int32)),
        ("n_seq_id", c.POINTER(c.c_int32)),
        ("seq_id", c.POINTER(c.POINTER(c.c_int32))),
        ("logits", c.POINTER(c.c_int8)),
    )


@dataclass(frozen=True, slots=True)
class ContextLayout:
    """Offsets in ``llama_context_params``: of the sizes, of flash attention, of the callback, of the unified cache."""

    sizes: int
    flash_attention: int
    callback: int
    unified: int


_SIZES = struct.pack("4I", 512, 2048, 512, 1)
_MINUS_ONE = struct.pack("f", -1.0)


def layout_of(defaults: bytes) -> ContextLayout:
    """Find the fields by their default values.

    In order: context, batch, ubatch and sequences; flash attention (automatic); four scaling factors of -1, another value,
    and a threshold of -1; the callback and its data, both null, before the two types of the cache; at last the booleans,
    of which the unified cache is the sixth.

    Raises:
        ValueError: names the field that is not where it should be.
    """

    def only(what: str, pattern: bytes, start: int = 0) -> int:
        at = defaults.find(pattern, start)
        if at < 0:
            raise ValueError(f"no {what}")
        return at

    if not defaults.startswith(_SIZES):
        raise ValueError("no sizes")
    factors = only("scaling factors", _MINUS_ONE * 4)
    if defaults[factors + 20 : factors + 24] != _MINUS_ONE:
        raise ValueError("no threshold after the scaling factors")
    flash = factors - 12
    if defaults[flash : flash + 4] != struct.pack("i", -1):
        raise ValueError("no flash attention before the scaling factors")
    callback = (factors + 24 + 7) // 8 * 8
    if defaults[callback : callback + 24] != struct.pack("QQii", 0, 0, 1, 1):
        raise ValueError("no callback before the types of the cache")
    flags = only("booleans", bytes((0, 1, 1, 1, 1, 0)), callback + 24)
    if flags > callback + 24 + 64:
        raise ValueError("no booleans near the callback")
    return ContextLayout(0, flash, callback, flags + 5)


_VP, _I32, _CSTR = c.c_void_p, c.c_int32, c.c_char_p
SYMBOLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (LogCallback, _VP)),
    "llama_model_default_params": (Parameters, ()),
    "llama_context_default_params": (Parameters, ()),
    "llama_model_load_from_file": (_VP, (_CSTR, Parameters)),
    "llama_model_free": (None, (_VP,)),
    "llama_init_from_model": (_VP, (_VP, Parameters)),
    "llama_free": (None, (_VP,)),
    "llama_set_n_threads": (None, (_VP, _I32, _I32)),
    "llama_n_ctx": (c.c_uint32, (_VP,)),
    "llama_model_get_vocab": (_VP, (_VP,)),
    "llama_vocab_n_tokens": (_I32, (_VP,)),
    "llama_vocab_is_eog": (c.c_bool, (_VP, _I32)),
    "llama_vocab_bos": (_I32, (_VP,)),
    "llama_vocab_eos": (_I32, (_VP,)),
    "llama_vocab_get_add_bos": (c.c_bool, (_VP,)),
    "llama_tokenize": (_I32, (_VP, _CSTR, _I32, c.POINTER(_I32), _I32, c.c_bool, c.c_bool)),
    "llama_token_to_piece": (_I32, (_VP, _I32, c.c_char_p, _I32, _I32, c.c_bool)),
    "llama_model_n_embd": (_I32, (_VP,)),
    "llama_model_n_layer": (_I32, (_VP,)),
    "llama_model_n_head": (_I32, (_VP,)),
    "llama_model_n_head_kv": (_I32, (_VP,)),
    "llama_model_n_ctx_train": (_I32, (_VP,)),
    "llama_model_is_recurrent": (c.c_bool, (_VP,)),
    "llama_model_is_hybrid": (c.c_bool, (_VP,)),
    "llama_model_n_params": (c.c_uint64, (_VP,)),
    "llama_model_size": (c.c_uint64, (_VP,)),
    "llama_model_desc": (_I32, (_VP, c.c_char_p, c.c_size_t)),
    "llama_model_meta_val_str": (_I32, (_VP, _CSTR, c.c_char_p, c.c_size_t)),
    "llama_model_chat_template": (_CSTR, (_VP, _CSTR)),
    "llama_batch_init": (Batch, (_I32, _I32, _I32)),
    "llama_batch_free": (None, (Batch,)),
    "llama_decode": (_I32, (_VP, Batch)),
    "llama_get_logits_ith": (c.POINTER(c.c_float), (_VP, _I32)),
    "llama_get_memory": (_VP, (_VP,)),
    "llama_memory_clear": (None, (_VP, c.c_bool)),
    "llama_memory_seq_cp": (None, (_VP, _I32, _I32, _I32, _I32)),
    "llama_memory_seq_rm": (c.c_bool, (_VP, _I32, _I32, _I32)),
    "ggml_get_name": (_CSTR, (_VP,)),
    "ggml_nelements": (c.c_int64, (_VP,)),
    "ggml_backend_tensor_get": (None, (_VP, _VP, c.c_size_t, c.c_size_t)),
    "ggml_backend_tensor_set": (None, (_VP, _VP, c.c_size_t, c.c_size_t)),
}


@dataclass(frozen=True, eq=False)
class Carrier:
    """The library, bound.

    Attributes:
        package, version: of the wheel that carries it. ``path``: of the shared object. ``lib``: its functions.
        layout: where the context's parameters lie.
    """

    package: str
    version: str
    path: Path
    lib: Any
    layout: ContextLayout

    def address(self, name: str) -> int:
        """The address of one of its functions, for the callback."""
        return int(c.cast(getattr(self.lib, name), _VP).value or 0)


def _spot(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _candidates() -> list[tuple[str, Path, Path]]:
    """Package, its folder, and the shared object, in order of preference."""
    out: list[tuple[str, Path, Path]] = []
    home = _spot("llama_cpp")
    if home is not None:
        out += [
            ("llama-cpp-python", home, f) for f in sorted(home.glob("lib/libllama.*")) if f.suffix in (".so", ".dylib")
        ]
    home = _spot("xllamacpp")
    if home is not None:
        out += [("xllamacpp", home, f) for f in sorted(home.glob("xllamacpp*.so"))]
    return out


def load(package: str, version: str, path: Path) -> Carrier:
    """Open one shared object, test its symbols, find its layout.

    Raises:
        ModelError: it cannot be opened, lacks a symbol, or is laid out otherwise; names the version and the mend.
    """
    what = f"{package} {version}"
    mend = f"install the version that is tested: {INSTALL}"
    try:
        for name in ("libggml-base", "libggml-cpu", "libggml"):
            for near in sorted(path.parent.glob(f"{name}.*")):
                c.CDLL(str(near), mode=c.RTLD_GLOBAL)
        lib = c.CDLL(str(path), mode=os.RTLD_LAZY | c.RTLD_LOCAL)
    except OSError as e:
        raise ModelError(f"{what} cannot be opened ({e}); on Debian install libgomp1, or {mend}") from None
    missing = [n for n in SYMBOLS if not hasattr(lib, n)]
    if missing:
        raise ModelError(
            f"{what} does not export {missing[0]}{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}; {mend}"
        )
    for name, (result, arguments) in SYMBOLS.items():
        f = getattr(lib, name)
        f.restype, f.argtypes = result, list(arguments)
    try:
        layout = layout_of(bytes(lib.llama_context_default_params().bytes))
    except ValueError as e:
        raise ModelError(f"{what} lays out its parameters in a way that is not known ({e}); {mend}") from None
    return Carrier(package, version, path, lib, layout)


@LogCallback
def _quiet(_level: int, _text: bytes, _data: int) -> None:
    """llama.cpp writes to the standard error stream by itself; what matters reaches users as errors of ours."""


@cache
def find_carrier() -> Carrier:
    """The library of the first wheel that has one, initialised.

    Raises:
        ModelError: no wheel is installed, or what is there cannot be used; says what to do.
    """
    if sys.platform == "win32":
        raise ModelError("GGUF models are not run on Windows: its wheels export no functions; use WSL, or torch")
    found = _candidates()
    if not found:
        raise MissingExtra("the llama.cpp library that runs a GGUF", INSTALL)
    package, _, path = found[0]
    carrier = load(package, importlib.metadata.version(package), path)
    carrier.lib.llama_log_set(_quiet, None)
    carrier.lib.llama_backend_init()
    if hasattr(carrier.lib, "ggml_backend_load_all"):
        carrier.lib.ggml_backend_load_all()
    return carrier
