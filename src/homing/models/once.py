"""Something in the cache that is made once: whole, or not there, whoever makes it and wherever it is killed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["once"]


def once(target: Path, make: Callable[[Path], None]) -> None:
    """Make ``target`` unless it is there; of several processes one makes it, and the others wait for it.

    Args:
        make: writes the file or the directory at the path that it is given, where nothing is yet.

    Raises:
        OSError: as the file system says.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the system if the holder is killed
        if target.exists():  # made while this one waited
            return
        for left in target.parent.glob(f"{target.name}.part*"):  # of a holder that was killed
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
        part = Path(tempfile.mkdtemp(prefix=f"{target.name}.part", dir=target.parent))
        try:
            # inside, and not the temporary directory itself: that is its maker's alone, and the cache may be shared
            made = part / target.name
            make(made)
            made.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
