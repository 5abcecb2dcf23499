"""export and import: control vectors for other tools, and axes that other tools made."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError, MissingExtra
from homing.identity import Identity
from homing.identity.container import LAYER_CONVENTION
from homing.persona.axis import Axis

__all__ = ["Imported", "export_gguf", "import_foreign"]

F32 = NDArray[np.float32]
GGUF_ARCH = "controlvector"
LOCAL = "pip install 'homing[local]'"
MAX_FOREIGN_BYTES = 4 * 2**30


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
        raise MissingExtra("the package gguf", LOCAL) from None
    identity = Identity.load(identity_dir)
    persona = identity.section("persona")
    axis = Axis.from_json(persona.data["axis"], persona.arrays["axis"])
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
        sign: ``towards home`` or ``unknown``. ``source``: the format. ``note``: what could not be known.
    """

    def __init__(self, layers: tuple[int, ...], vectors: F32, sign: str, source: str, note: str) -> None:
        self.layers, self.vectors, self.sign, self.source, self.note = layers, vectors, sign, source, note


def import_foreign(path: Path | str) -> Imported:
    """Read an assistant-axis ``.pt`` (a tensor of all layers) or a repeng / llama.cpp GGUF control vector.

    A ``.pt`` is opened with ``weights_only=True``: anything in it but plain tensors is refused and nothing is run. Its
    layer ``i`` is the output of decoder layer ``i``, as ours; its sign is default minus roles, as ours, but the files
    its capping uses hold negated vectors, so check with a cosine before capping (arXiv 2601.10387, released code).

    Raises:
        InputError: not such a file, not plain tensors, or of the wrong shape.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a .pt or .gguf file")
    if path.stat().st_size > MAX_FOREIGN_BYTES:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes; a file of directions has at most {MAX_FOREIGN_BYTES}"
        )
    if path.suffix == ".gguf":
        return _gguf(path)
    if path.suffix == ".pt":
        return _pt(path)
    raise InputError(f"{path} ends in {path.suffix!r}; give an assistant-axis .pt or a control-vector .gguf")


def _gguf(path: Path) -> Imported:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise MissingExtra("the package gguf", LOCAL) from None
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


def _pt(path: Path) -> Imported:
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
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, OSError):
        raise refused from None
    if isinstance(raw, dict):
        tensors = [v for v in raw.values() if isinstance(v, torch.Tensor)]  # pyright: ignore[reportUnknownVariableType]
        if len(tensors) != 1:
            raise InputError(f"{path} holds {len(tensors)} tensors; give a file with one, of shape (layers, hidden)")
        raw = tensors[0]
    if not isinstance(raw, torch.Tensor) or raw.ndim != 2:
        raise InputError(f"{path} does not hold one tensor of shape (layers, hidden); give the axis file")
    vectors = raw.detach().to(torch.float32).numpy()
    if not np.isfinite(vectors).all():
        raise InputError(f"{path} holds values that are not finite; download it again")
    return Imported(
        tuple(range(len(vectors))), vectors, "towards home", "assistant-axis .pt",
        "published as default minus roles; files meant for its capping are negated",
    )  # fmt: skip
