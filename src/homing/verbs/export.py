"""export and import: control vectors for other tools, and axes that other tools made."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError, MissingExtra
from homing.identity import Identity
from homing.identity.container import LAYER_CONVENTION
from homing.persona.axis import Axis

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Imported", "export_gguf", "import_foreign"]

F32 = NDArray[np.float32]
GGUF_ARCH = "controlvector"
LOCAL = "pip install 'homing[local]'"
GGUF = "pip install 'homing[gguf]'"
MAX_FOREIGN_BYTES = 4 * 2**30
MAX_KEYS_NAMED = 12
Sign = Literal["towards home", "away from home", "unknown"]
_BY_LAYER = re.compile(r"(?:.*/)?layer_([0-9]{1,6})/(.+)", re.DOTALL)


def export_gguf(identity_dir: Path | str, out: Path | str, *, layers: Sequence[int] | None = None) -> Path:
    """Write the axis as a GGUF control vector: adding it moves towards home.

    llama.cpp and repeng name ``direction.N`` for what is added to the output of decoder layer ``N``, counted from 0, and
    leave out layer 0; our layer ``i`` is written as ``direction.i``. Vectors are the unit axis times the raw distance from
    mean role to home, so strength 1 is one home distance. Thresholds of the cap, sign and convention travel as metadata.

    Args:
        layers: written; default: those the cap acts on, else all but 0.

    Raises:
        InputError: a layer that the axis lacks, or layer 0. MissingExtra: the package gguf is not installed.
    """
    try:
        from gguf import GGUFWriter
    except ImportError:
        raise MissingExtra("the package gguf", GGUF) from None
    identity = Identity.load(identity_dir)
    persona = identity.section("persona")
    axis = Axis.from_json(persona.data["axis"], persona.arrays)
    cap: dict[str, Any] | None = identity.section("cap").data.get("cap") if "cap" in identity.sections else None
    chosen = (
        tuple(layers) if layers is not None else tuple(cap["layers"]) if cap else tuple(i for i in axis.layers if i)
    )
    wrong = [i for i in chosen if i not in axis.layers or i == 0]
    if wrong or not chosen:
        raise InputError(
            f"layers {wrong} cannot be exported: the axis has {axis.layers}, and control vectors have no layer 0"
        )
    out = Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writer: Any = GGUFWriter(str(out), GGUF_ARCH)
        writer.add_string(f"{GGUF_ARCH}.model_hint", str(identity.model["name"]))
        writer.add_uint32(f"{GGUF_ARCH}.layer_count", int(identity.model["layers"]))
        writer.add_string("homing.identity", identity.digest)
        writer.add_string("homing.model_fingerprint", str(identity.model["fingerprint"]))
        for k in ("engine", "dtype"):  # thresholds are of the weights that were mapped
            if k in identity.model:
                writer.add_string(f"homing.{k}", str(identity.model[k]))
        writer.add_string("homing.layer_convention", LAYER_CONVENTION)
        writer.add_string("homing.sign", "towards home")
        writer.add_array("homing.layers", [int(i) for i in chosen])
        writer.add_array("homing.norm", [float(axis.unit[axis.layers.index(i)]) for i in chosen])
        writer.add_array("homing.zero", [float(axis.zero[axis.layers.index(i)]) for i in chosen])
        if cap:
            writer.add_array("homing.cap.layers", [int(i) for i in cap["layers"]])
            writer.add_array("homing.cap.thresholds", [float(t) for t in cap["thresholds"]])
            writer.add_string("homing.cap.kind", str(cap["kind"]))
        for i in chosen:
            at = axis.layers.index(i)
            writer.add_tensor(f"direction.{i}", (axis.vectors[at] * axis.unit[at]).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    except OSError as e:
        raise InputError(f"cannot write {out}: {e.strerror}; free space or choose another file") from e
    return out


class Imported:
    """Directions that another tool made.

    Attributes:
        layers: decoder layers, in our convention. ``vectors``: ``(layers, hidden)`` float32, as stored, not made unit.
        sign: ``towards home``, ``away from home`` (negated: its cap is a ceiling with a negative threshold, ours a floor on
            the vector turned round), or ``unknown``.
        source: the format. ``note``: what could not be known. ``key``: what was taken of a file that holds several.
    """

    def __init__(
        self, layers: tuple[int, ...], vectors: F32, sign: Sign, source: str, note: str, key: str = ""
    ) -> None:
        self.layers, self.vectors, self.sign, self.source, self.note = layers, vectors, sign, source, note
        self.key = key


def import_foreign(path: Path | str, *, key: str | None = None) -> Imported:
    """Read an assistant-axis ``.pt`` or a repeng / llama.cpp GGUF control vector.

    A ``.pt`` is opened with ``weights_only=True``: anything in it but plain tensors is refused and nothing is run. It may be
    one tensor ``(layers, hidden)``, or a dictionary, nested or not, of such tensors (roles, traits) or of one vector a layer
    under ``layer_<L>/<name>``, as in the published capping files. Its layer ``i`` is the output of decoder layer ``i``, as
    ours. The axis is default minus roles, as ours; the vectors of capping files are negated (arXiv 2601.10387, released
    code), and those of a role or trait are places, with no sign. ``sign`` says which it is.

    Args:
        key: which of several; for vectors by layer the name without its layer. Keys of nested dictionaries are joined by
            ``/``, and the end of one is enough where no other ends so.

    Raises:
        InputError: not such a file, not plain tensors, of the wrong shape, or several are there and ``key`` names none.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a .pt or .gguf file")
    if path.stat().st_size > MAX_FOREIGN_BYTES:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes; a file of directions has at most {MAX_FOREIGN_BYTES}"
        )
    if path.suffix == ".gguf":
        if key is not None:
            raise InputError(
                f"{path} is a control vector, which holds one direction a layer; leave out the key {key!r}"
            )
        return _gguf(path)
    if path.suffix == ".pt":
        return _pt(path, key)
    raise InputError(f"{path} ends in {path.suffix!r}; give an assistant-axis .pt or a control-vector .gguf")


def _gguf(path: Path) -> Imported:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise MissingExtra("the package gguf", GGUF) from None
    try:
        reader: Any = GGUFReader(str(path))
        found = {
            int(t.name.removeprefix("direction.")): np.array(t.data, np.float32).ravel()
            for t in reader.tensors
            if t.name.startswith("direction.") and t.name.removeprefix("direction.").isdecimal()
        }
        sign = reader.fields.get("homing.sign")
        known = sign is not None and bytes(sign.parts[sign.data[0]]).decode() == "towards home"
    except (ValueError, IndexError, KeyError, OSError, UnicodeDecodeError, OverflowError, MemoryError) as e:
        raise InputError(f"{path} is not a readable GGUF file ({e}); export it again") from None
    if not found or len({len(v) for v in found.values()}) != 1:
        raise InputError(f"{path} holds no directions of one width (tensors named direction.N); give a control vector")
    layers = tuple(sorted(found))
    vectors = np.stack([found[i] for i in layers])
    if not np.isfinite(vectors).all():
        raise InputError(f"{path} holds values that are not finite; export it again")
    note = "" if known else "the file does not say which way its vectors point"
    return Imported(layers, vectors, "towards home" if known else "unknown", "gguf control vector", note)


def _pt(path: Path, key: str | None) -> Imported:
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", LOCAL) from None
    from pickle import UnpicklingError  # noqa: TID251 - the name of an error, nothing is loaded with it

    refused = InputError(f"{path} is not a plain tensor file, or would run code when opened; it was not loaded")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read is refused below
            raw: Any = torch.load(path, map_location="cpu", weights_only=True)  # pyright: ignore[reportUnknownMemberType]
    except (
        UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, OSError,
        AssertionError, ArithmeticError, MemoryError, struct.error,
    ):  # fmt: skip
        raise refused from None
    found = _directions(raw)
    name = _choose(path, tuple(found), key)
    rows = found[name]
    parts = list(rows.values()) if isinstance(rows, dict) else [rows]
    if 4 * sum(p.numel() for p in parts) > MAX_FOREIGN_BYTES:  # a view may claim more than the file holds
        raise InputError(f"{path} claims more than {MAX_FOREIGN_BYTES} bytes of directions; download it again")
    if len({p.shape for p in parts}) != 1:
        raise InputError(f"{path} holds vectors of several widths under {name!r}; download it again")
    parts = [p.detach().to(torch.float32) for p in parts]
    vectors = cast(F32, (torch.stack(parts) if isinstance(rows, dict) else parts[0]).numpy())
    if not vectors.size or not np.isfinite(vectors).all():
        raise InputError(f"{path} holds values that are not finite, or none; download it again")
    layers = tuple(rows) if isinstance(rows, dict) else tuple(range(len(vectors)))
    sign, note = _sign(path, name, by_layer=isinstance(rows, dict))
    return Imported(layers, vectors, sign, "assistant-axis .pt", note, name)


def _sign(path: Path, name: str, *, by_layer: bool) -> tuple[Sign, str]:
    last = name.rsplit("/", 1)[-1]
    if by_layer and last.startswith("contrast_role"):
        return "away from home", (
            "published for capping: role minus default, so its cap is a ceiling with a negative threshold; "
            "turn vectors and thresholds round for a floor"
        )
    if not by_layer and "axis" in (last or path.stem):
        return "towards home", "published as default minus roles; files meant for its capping are negated"
    return "unknown", "the file does not say which way its vectors point; compare with an axis of your own"


def _directions(raw: Any) -> dict[str, Tensor | dict[int, Tensor]]:
    """By name: tables ``(layers, hidden)``, and vectors by layer where keys name the layer. Other values are passed over."""
    import torch

    tables: dict[str, Tensor | dict[int, Tensor]] = {}
    by_layer: dict[str, dict[int, Tensor]] = {}
    waiting: list[tuple[str, Any]] = [("", raw)]
    seen: set[int] = set()  # a dictionary may hold itself
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict) and id(cast(object, value)) not in seen:
            seen.add(id(cast(object, value)))
            inner = cast("dict[Any, Any]", value)
            waiting += [(f"{name}/{k}" if name else k, v) for k, v in inner.items() if isinstance(k, str)]
        elif isinstance(value, torch.Tensor) and value.is_floating_point() and value.layout == torch.strided:
            layer = _BY_LAYER.fullmatch(name)
            if value.ndim == 2:
                tables[name] = value
            elif value.ndim == 1 and layer:
                by_layer.setdefault(layer[2].removesuffix("/vector"), {})[int(layer[1])] = value
    tables |= {n: {i: rows[i] for i in sorted(rows)} for n, rows in by_layer.items()}
    return {n: tables[n] for n in sorted(tables)}


def _choose(path: Path, names: Sequence[str], key: str | None) -> str:
    if not names:
        raise InputError(
            f"{path} holds no tensor of shape (layers, hidden) and no vectors under layer_<L>/<name>; give the axis file"
        )
    fits = [n for n in names if key is None or n == key] or [n for n in names if n.endswith(f"/{key}")]
    if len(fits) == 1:
        return fits[0]
    more = f" and {len(names) - MAX_KEYS_NAMED} more" if len(names) > MAX_KEYS_NAMED else ""
    listed = ", ".join(repr(n) for n in names[:MAX_KEYS_NAMED]) + more
    asked = "no key was given" if key is None else f"the key {key!r} fits {len(fits) or 'none'} of them"
    raise InputError(f"{path} holds {len(names)} directions and {asked}; choose one by key: {listed}")
