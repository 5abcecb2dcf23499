"""The Identity: a container of named, versioned sections. It knows how to keep them, not what they mean."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from homing.errors import IdentityError, InputError

__all__ = ["LAYER_CONVENTION", "SCHEMA", "Identity", "Section"]

SCHEMA = "homing.identity/1"
READABLE = frozenset({SCHEMA})  # one version back, once there is one
LAYER_CONVENTION = "layer i is the residual stream after decoder layer i, counted from 0"
JSON_FILE = "identity.json"
ARRAY_FILE = "identity.safetensors"
MAX_JSON_BYTES = 64 * 2**20

Array = NDArray[Any]


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, eq=False)
class Section:
    """One named part of an identity.

    Args:
        version: of the section's own format, from 1.
        data: JSON object. ``arrays``: name to array; floats are kept as they are.
    """

    version: int
    data: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict[str, Array])

    @property
    def digest(self) -> str:
        """SHA-256 over version, data, and each array's name, type, shape and bytes."""
        h = hashlib.sha256(canonical({"version": self.version, "data": self.data}).encode())
        for name in sorted(self.arrays):
            a = np.ascontiguousarray(self.arrays[name])
            h.update(f"{name}|{a.dtype.str}|{a.shape}".encode())
            h.update(a.tobytes())
        return h.hexdigest()


@dataclass(frozen=True, eq=False)
class Identity:
    """Who a model is at home, as files: sections written by the rooms above.

    Marks and thresholds are those of the weights and the engine that they were measured on. One identity can hold several
    such measurements of one model, as of its quantisations: the first is shown, and each engine takes its own.

    Args:
        model: what it was measured on: ``fingerprint``, ``name``, ``engine``, ``dtype``, ``layers``, ``hidden``; ``origin``: of
            the GGUF file behind the weights, where there is one.
        sections: by name.
        volatile: times and other things that differ from run to run; kept, shown, and outside every hash.
        also: the same model measured on other weights or engines; none of them has ``also`` itself.
    """

    model: Mapping[str, Any]
    sections: Mapping[str, Section] = field(default_factory=dict[str, Section])
    volatile: Mapping[str, Any] = field(default_factory=dict[str, Any])
    also: Sequence[Identity] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of everything but ``volatile``: equal for equal identities."""
        body: dict[str, Any] = {
            "schema": SCHEMA, "model": self.model, "sections": {k: s.digest for k, s in self.sections.items()},
        }  # fmt: skip
        if self.also:
            body["also"] = [i.digest for i in self.also]
        return hashlib.sha256(canonical(body).encode()).hexdigest()

    @property
    def measured(self) -> tuple[Identity, ...]:
        """Every measurement it holds, its own first."""
        return (replace(self, also=()), *self.also)

    def section(self, name: str) -> Section:
        """One section.

        Raises:
            IdentityError: it is not there; the message says what has it written.
        """
        if name not in self.sections:
            have = ", ".join(sorted(self.sections)) or "nothing"
            raise IdentityError(f"this identity has no section {name!r} (it has {have}); run `homing map` to write it")
        return self.sections[name]

    def with_section(self, name: str, section: Section) -> Identity:
        """A new identity with this section put in."""
        return replace(self, sections={**self.sections, name: section})

    def on(
        self, fingerprint: str, *, origin: str = "", engine: str = "", dtype: str = "", what: str = "the model"
    ) -> Identity:
        """What was measured on these weights and this engine; else on others that come from the same file.

        Args:
            origin: of the GGUF file behind the weights, where there is one. ``engine``, ``dtype``: of the model at hand; of
                several from one file those that fit are taken. ``what``: the model at hand, for the message.

        Raises:
            IdentityError: neither is here.
        """
        for i in self.measured:
            if i.model.get("fingerprint") == fingerprint:
                return i
        # before origins were written, a GGUF on llama.cpp had that of its file as its own
        same = [i for i in self.measured if origin and origin in (i.model.get("origin"), i.model.get("fingerprint"))]
        if same:
            return max(same, key=lambda i: (i.model.get("engine") == engine, i.model.get("dtype") == dtype))
        mine = " and ".join(f"{i.model.get('name', 'another model')}{_where(i)} ({_short(i)})" for i in self.measured)
        raise IdentityError(
            f"this identity belongs to {mine}, not to {what}{f' on {engine}' if engine else ''}"
            f" ({fingerprint[:12]}); open the model it was made for, or map"
            " this one, and where both are one model in two quantisations put the identities together with `homing join`"
        )

    def save(self, directory: Path | str) -> Path:
        """Write ``identity.json`` and ``identity.safetensors``, each replaced whole; the JSON last, so that it vouches.

        Raises:
            InputError: the directory cannot be written.
        """
        from safetensors.numpy import save as to_bytes

        directory = Path(directory)
        arrays = {
            f"{_place(n)}{name}/{key}": np.ascontiguousarray(a)
            for n, part in enumerate(self.measured)
            for name, s in sorted(part.sections.items())
            for key, a in sorted(s.arrays.items())
        }
        blob = to_bytes(arrays)
        manifest = {
            "schema": SCHEMA,
            "digest": self.digest,
            "layer_convention": LAYER_CONVENTION,
            "arrays_sha256": hashlib.sha256(blob).hexdigest(),
            **_written(self),
        }
        if self.also:
            manifest["also"] = [_written(i) for i in self.also]
        text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            write_atomically(directory / ARRAY_FILE, blob)
            write_atomically(directory / JSON_FILE, text.encode())
        except OSError as e:
            raise InputError(
                f"cannot write the identity to {directory}: {e.strerror}; free space or choose another directory"
            ) from e
        return directory

    @classmethod
    def load(cls, directory: Path | str) -> Self:
        """Read and verify an identity.

        Args:
            directory: holds ``identity.json`` and ``identity.safetensors``.

        Raises:
            IdentityError: missing, damaged, edited, or of an unreadable version.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load as from_bytes

        directory = Path(directory)
        jf, af = directory / JSON_FILE, directory / ARRAY_FILE
        for f in (jf, af):
            if not f.is_file():
                raise IdentityError(f"no identity in {directory}: {f.name} is missing; make one with `homing map`")
        try:
            if jf.stat().st_size > MAX_JSON_BYTES:
                raise IdentityError(
                    f"{jf} has {jf.stat().st_size} bytes, over the {MAX_JSON_BYTES} that an identity may have"
                )
            raw = cast("dict[str, Any]", json.loads(jf.read_bytes()))
            blob = af.read_bytes()
        except (OSError, ValueError, RecursionError) as e:
            raise IdentityError(f"{jf} cannot be read ({e}); restore it or map again") from None
        if not isinstance(raw, dict) or raw.get("schema") not in READABLE:  # pyright: ignore[reportUnnecessaryIsInstance]
            found = raw.get("schema") if isinstance(raw, dict) else None  # pyright: ignore[reportUnnecessaryIsInstance]
            raise IdentityError(f"{jf} has schema {found!r}; this version reads {', '.join(sorted(READABLE))}")
        edited = IdentityError(
            f"the identity in {directory} was damaged or edited (a hash does not match); restore it or map again"
        )
        try:
            if hashlib.sha256(blob).hexdigest() != raw["arrays_sha256"]:
                raise edited
            arrays = from_bytes(blob)
            own, *others = (
                _read(part, arrays, _place(n), edited) for n, part in enumerate((raw, *raw.get("also", ())))
            )
            identity = cls(own.model, own.sections, own.volatile, tuple(others))
            if identity.digest != raw["digest"]:
                raise edited
        except (KeyError, TypeError, ValueError, AttributeError, SafetensorError):
            raise edited from None
        return identity


def _short(identity: Identity) -> str:
    return str(identity.model.get("fingerprint", ""))[:12]


def _where(identity: Identity) -> str:
    engine = identity.model.get("engine")
    return f" on {engine}" if engine else ""


def _place(n: int) -> str:
    """What the names of the arrays of the n-th measurement begin with."""
    return f"also-{n}/" if n else ""


def _written(i: Identity) -> dict[str, Any]:
    return {
        "model": i.model,
        "sections": {
            k: {"version": s.version, "digest": s.digest, "data": s.data, "arrays": sorted(s.arrays)}
            for k, s in sorted(i.sections.items())
        },
        "volatile": i.volatile,
    }


def _read(raw: Mapping[str, Any], arrays: Mapping[str, Array], place: str, edited: IdentityError) -> Identity:
    sections: dict[str, Section] = {}
    for name, s in raw["sections"].items():
        own = {k: arrays[f"{place}{name}/{k}"] for k in s["arrays"]}
        section = Section(int(s["version"]), s["data"], own)
        if section.digest != s["digest"]:
            raise edited
        sections[name] = section
    return Identity(raw["model"], sections, raw.get("volatile", {}))


def write_atomically(path: Path, blob: bytes) -> None:
    """Replace a file whole: a reader sees the old bytes or the new ones, never half.

    Raises:
        OSError: as the file system says.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as f:
            f.write(blob)
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
