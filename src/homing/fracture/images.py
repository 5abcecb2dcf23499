"""Grey pictures as PNG, written with the standard library alone, so that a page can carry them."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from homing.errors import InputError
from homing.fracture.network import F64

__all__ = ["data_uri", "grey", "png", "sheet"]


def grey(values: F64, *, low: float = 0.0, high: float = 1.0) -> F64:
    """Brightness clipped to 0 to 1; ``low`` is black and ``high`` white. Without a range between them: middle grey."""
    if not high > low:
        return np.full(values.shape, 0.5)
    return np.clip((np.nan_to_num(values) - low) / (high - low), 0.0, 1.0)


def png(picture: F64) -> bytes:
    """One 8-bit grey picture ``(rows, columns)`` of brightness 0 to 1.

    Raises:
        InputError: not two-dimensional, or empty.
    """
    if picture.ndim != 2 or not picture.size:
        raise InputError(f"a picture has shape {picture.shape}; give (rows, columns)")
    rows, columns = picture.shape
    pixels = np.zeros((rows, columns + 1), np.uint8)  # each row begins with its filter, none
    pixels[:, 1:] = np.round(np.clip(picture, 0, 1) * 255)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels.tobytes(), 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def data_uri(picture: F64) -> str:
    """The PNG as an address that a page can hold."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()


def sheet(pictures: Sequence[F64], columns: int, *, gap: int = 2) -> F64:
    """Square pictures of one size side by side, ``columns`` a row, on white."""
    side = pictures[0].shape[0]
    rows = -(-len(pictures) // columns)
    out = np.ones((rows * (side + gap) - gap, columns * (side + gap) - gap))
    for k, p in enumerate(pictures):
        r, c = divmod(k, columns)
        out[r * (side + gap) : r * (side + gap) + side, c * (side + gap) : c * (side + gap) + side] = p
    return out
