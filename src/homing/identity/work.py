"""Long work in units: each is done once, kept whole, and found again after a kill at any moment."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from homing.errors import IdentityError, InputError
from homing.identity.container import canonical, write_atomically
from homing.models.account import within

__all__ = ["Unit", "WorkDir"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Unit:
    """What one unit of work left: JSON and arrays."""

    data: Any
    arrays: Mapping[str, Array] = field(default_factory=dict[str, Array])


class WorkDir:
    """A directory of finished units that belong to one plan; one process at a time.

    A unit is two files, the JSON written last with the hash of the arrays: a unit broken off anywhere is not there,
    and is done again whole. Units of another plan are refused rather than mixed in.

    Args:
        directory: made if missing. ``plan``: JSON that says everything the units depend on.

    Raises:
        InputError: another process works here, the directory cannot be written, or it holds another plan's work.
    """

    def __init__(self, directory: Path | str, plan: Mapping[str, Any]) -> None:
        self.directory = Path(directory)
        self.plan = plan
        self.plan_digest = hashlib.sha256(canonical(plan).encode()).hexdigest()

    def __enter__(self) -> Self:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = (self.directory / "lock").open("a+")
        except OSError as e:
            raise InputError(f"cannot write to {self.directory}: {e.strerror}; choose another --out directory") from e
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InputError(
                f"another homing process is working in {self.directory}; wait for it, or choose another --out directory"
            ) from None
        plan_file = self.directory / "plan.json"
        if plan_file.is_file():
            try:
                old = json.loads(plan_file.read_text())
            except ValueError:
                old = None
            if old is not None and canonical(old) != canonical(self.plan):
                self._lock.close()
                changed = [k for k in sorted(set(old) | set(self.plan)) if old.get(k) != self.plan.get(k)]
                raise InputError(
                    f"{self.directory} holds work of another plan (different: {', '.join(changed[:6])});"
                    " go on with the same arguments, or choose another --out directory"
                )
        try:
            self._write(plan_file, canonical(self.plan).encode())
        except InputError:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def _write(self, path: Path, blob: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, blob)
        except OSError as e:
            raise InputError(
                f"cannot write {path}: {e.strerror}; what is finished is kept: free space and run the same command again"
            ) from e

    def find(self, name: str) -> Unit | None:
        """A finished unit of this plan, or None."""
        from safetensors import SafetensorError
        from safetensors.numpy import load as from_bytes

        jf, af = self.directory / f"{name}.json", self.directory / f"{name}.safetensors"
        if not jf.is_file():
            return None
        try:
            raw = cast("dict[str, Any]", json.loads(jf.read_bytes()))
            blob = af.read_bytes() if raw["arrays"] else b""
            if raw["plan"] != self.plan_digest or hashlib.sha256(blob).hexdigest() != raw["arrays_sha256"]:
                return None
            arrays = from_bytes(blob) if raw["arrays"] else {}
        except (OSError, ValueError, KeyError, SafetensorError):
            return None
        return Unit(raw["data"], arrays)

    def keep(self, name: str, unit: Unit) -> Unit:
        """Write a unit; what comes back is what a resumed run would read."""
        from safetensors.numpy import save as to_bytes

        arrays = {k: np.ascontiguousarray(a) for k, a in sorted(unit.arrays.items())}
        blob = to_bytes(arrays) if arrays else b""
        if arrays:
            self._write(self.directory / f"{name}.safetensors", blob)
        manifest = {
            "plan": self.plan_digest,
            "arrays": sorted(arrays),
            "arrays_sha256": hashlib.sha256(blob).hexdigest(),
            "data": unit.data,
        }
        self._write(self.directory / f"{name}.json", json.dumps(manifest, ensure_ascii=False, allow_nan=False).encode())
        found = self.find(name)
        if found is None:
            raise IdentityError(f"unit {name} could not be read back from {self.directory}; the disk may be failing")
        return found

    async def do(self, name: str, compute: Callable[[], Awaitable[Unit]]) -> Unit:
        """The finished unit, or the result of computing and keeping it; what is paid for meanwhile is paid for this unit."""
        with within(name):
            return self.find(name) or self.keep(name, await compute())
