"""The cache of models that were converted or written again: what is in it, and how to empty it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from homing.config import default_cache_dir
from homing.errors import InputError

__all__ = ["CacheEntry", "clear_cache", "list_cache", "to_json"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One thing in the cache: its name, its path, and its size in bytes."""

    name: str
    path: str
    size_bytes: int


def _entries(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from sorted(root.iterdir())


def _size(path: Path) -> int:
    if path.is_file():
        return path.lstat().st_size
    return sum(p.lstat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())


def list_cache(root: Path | None = None) -> list[CacheEntry]:
    """What lies in the cache directory, by name; empty where there is none."""
    return [CacheEntry(p.name, str(p), _size(p)) for p in _entries(root or default_cache_dir())]


def clear_cache(root: Path | None = None, *, name: str | None = None) -> list[CacheEntry]:
    """Remove one entry, or all; returns what was removed. Links are removed, never followed.

    Raises:
        InputError: there is no entry of that name, or it cannot be removed.
    """
    root = root or default_cache_dir()
    entries = list_cache(root)
    if name is not None:
        entries = [e for e in entries if e.name == name]
        if not entries:
            raise InputError(f"the cache {root} has no entry {name!r}; see: homing cache list")
    for entry in entries:
        path = Path(entry.path)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as e:
            raise InputError(f"cannot remove {path}: {e.strerror}; check who owns it") from None
    return entries


def to_json(entries: list[CacheEntry], *, root: Path, action: str) -> dict[str, Any]:
    """A JSON object of schema ``homing.cache/1``; ``action`` is ``list`` or ``clear``."""
    return {"schema": "homing.cache/1", "root": str(root), "action": action, "entries": [asdict(e) for e in entries]}
