"""A GGUF written again with another quantisation of its weights: what `compare` needs, and what the embedded model runs as."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from homing.errors import InputError, MissingExtra, ModelError
from homing.models.gguf import content_digest
from homing.models.once import once

__all__ = ["KINDS", "Kind", "requantise", "requantised"]

Kind = Literal["F32", "F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1"]
KINDS: tuple[Kind, ...] = ("F32", "F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1")
_log = logging.getLogger("homing.models")
_WRITER = "1"


def requantise(file: Path, kind: Kind, out: Path) -> None:
    """Write ``file`` to ``out`` with every matrix as ``kind``; vectors (norms) and the header stay as they are.

    What was rounded before stays rounded: a file of four bits written as eight is the model of four bits.

    Raises:
        ModelError: it is no GGUF file, or its weights are of a type that cannot be read. MissingExtra: package ``gguf``.
    """
    try:
        import gguf
    except ImportError:
        raise MissingExtra("what writes a GGUF file", "pip install 'homing[gguf]'") from None
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}; give one of {', '.join(KINDS)}")
    to = gguf.GGMLQuantizationType[kind]
    try:
        reader = gguf.GGUFReader(file)
        architecture = str(reader.fields["general.architecture"].contents())
        writer = gguf.GGUFWriter(out, architecture, endianess=reader.endianess)
        for field in reader.fields.values():
            if not field.name.startswith("GGUF.") and field.name not in _OURS:
                sort = field.types[0]
                part = field.types[-1] if sort == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(field.name, field.contents(), sort, sub_type=part)
        writer.add_file_type(gguf.LlamaFileType[_FILE_TYPE[kind]])
        if kind.startswith("Q"):
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for tensor in reader.tensors:
            data: Any = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            block = gguf.GGML_QUANT_SIZES[to][0]
            if data.ndim < 2 or data.shape[-1] % block:
                writer.add_tensor(tensor.name, data)
            else:
                writer.add_tensor(tensor.name, gguf.quants.quantize(data, to), raw_dtype=to)
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError) as e:
        if isinstance(e, OSError) and e.errno:
            raise
        raise ModelError(f"{file} cannot be written as {kind}: {e}; is the file whole?") from None
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


_OURS = ("general.architecture", "general.file_type", "general.quantization_version")
_FILE_TYPE: dict[Kind, str] = {
    "F32": "ALL_F32", **{k: f"MOSTLY_{k}" for k in KINDS if k != "F32"},
}  # fmt: skip


def requantised(file: Path, kind: Kind, cache: Path) -> Path:
    """The same, made once into the cache: whole, or not there.

    Raises:
        InputError: the cache cannot be written. ModelError: as above.
    """
    target = cache / "models" / f"{content_digest(file)[:24]}-{kind}-{_WRITER}.gguf"
    if target.is_file():
        return target

    def make(out: Path) -> None:
        _log.warning("writing %s as %s, once; a few seconds", file.name, kind)
        requantise(file, kind, out)

    try:
        once(target, make)
    except OSError as e:
        raise InputError(
            f"{file.name} cannot be written into {target.parent}: {e.strerror}; "
            "free space, or set HOMING_CACHE (cache_dir in homing.toml) to a folder that can be written"
        ) from None
    return target
