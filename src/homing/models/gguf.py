"""A GGUF file as it is, on llama.cpp: torch is not needed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from homing.engine.template import ChatTemplate
from homing.errors import InputError, ModelError
from homing.models.local import LocalModel

if TYPE_CHECKING:
    from homing.models.hugging import Dtype
    from homing.models.sources import Source

__all__ = ["content_digest", "open_gguf"]

EMBEDDED_KIND = "Q8_0"
"""How the embedded model runs: its file has four bits a weight, for which llama.cpp's fast products are not written. Written
once as eight bits it is the same model to a part in three hundred of a weight, and reads a prompt 1.6 times as fast."""
_HEAD = 1 << 25
_SAMPLE = 1 << 16


def content_digest(file: Path) -> str:
    """SHA-256 of size, head and samples all over the file: a few gigabytes are not read whole each time.

    Raises:
        ModelError: it is no GGUF file, or cannot be read.
    """
    try:
        size = file.stat().st_size
        h = hashlib.sha256(str(size).encode())
        with file.open("rb") as f:
            head = f.read(_HEAD)  # header, vocabulary and template of the models there are
            if head[:4] != b"GGUF":
                raise ModelError(f"{file} is not a GGUF file; give a GGUF file or a model directory")
            h.update(head)
            for at in range(len(head), size, max(_SAMPLE, size // 128)):
                f.seek(at)
                h.update(f.read(_SAMPLE))
            f.seek(max(0, size - _SAMPLE))
            h.update(f.read())
    except OSError as e:
        raise ModelError(f"{file} cannot be read ({e.strerror or e}); mend its permissions or copy it again") from None
    return h.hexdigest()


def open_gguf(
    source: Source, *, dtype: Dtype = "float32", threads: int | None = None, slots: int = 32, layers: str | None = None
) -> LocalModel:
    """Open a GGUF on llama.cpp: as it is, or for the embedded model as :data:`EMBEDDED_KIND`.

    Args:
        source: of kind ``gguf``. The others: as for :func:`homing.models.sources.open_model`.

    Raises:
        InputError: a dtype or the place of layers was asked for. ModelError: llama.cpp cannot open or read the file.
        MissingExtra: no wheel that carries llama.cpp is installed.
    """
    if source.kind != "gguf" or source.path is None:
        raise InputError(f"llama.cpp opens GGUF files, and {source.name} is none; leave --engine, or set it to torch")
    if dtype in ("bfloat16", "float16"):
        raise InputError(
            f"dtype is {dtype}, and llama.cpp takes the weights of {source.name} as the file holds them;"
            " leave --dtype, or set --engine to torch"
        )
    if layers is not None:
        raise InputError(
            "llama.cpp finds the layers of a GGUF by their names; leave --layers, or set --engine to torch"
        )
    file, origin = source.path, content_digest(source.path)
    from homing.engine.llamacpp import GgufTokenizer, LlamaEngine
    from homing.engine.llamacpp.carrier import find_carrier
    from homing.engine.llamacpp.trial import tried
    from homing.models.sources import EMBEDDED, cache_directory

    carrier = find_carrier()
    if source.name == EMBEDDED:
        from homing.models.requantise import requantised

        file = requantised(file, EMBEDDED_KIND, cache_directory())
    mark = content_digest(file)
    tried(file, cache_directory() / "tried" / f"{mark[:32]}-{carrier.package}-{carrier.version}")

    engine = LlamaEngine(file, slots=slots, threads=threads, fingerprint=mark, origin=origin)
    try:
        tokenizer = GgufTokenizer(engine.weights)
        return LocalModel(engine, tokenizer, ChatTemplate.from_tokenizer(tokenizer), name=source.name)
    except BaseException:
        engine.close_now()
        raise
