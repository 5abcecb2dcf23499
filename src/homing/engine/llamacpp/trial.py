"""A file is opened in a process of its own first: a damaged or hostile one may end that process, not this one.

llama.cpp reads a header in C++ and aborts where an assertion fails. What has passed once is remembered by its content.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from homing.errors import HomingError, ModelError

__all__ = ["tried"]

SECONDS = 900
_REFUSED = 3


def tried(path: Path, passed: Path | None, *, seconds: float = SECONDS) -> None:
    """Open the file, run two tokens and close it again, all in a child process.

    Args:
        passed: a file that says that this content has passed, looked for before and written after; None: always tried.
        seconds: the child may take.

    Raises:
        ModelError: the file cannot be used; what llama.cpp said, or how it died.
    """
    if passed is not None and passed.is_file():
        return
    command = [sys.executable, "-P", "-m", "homing.engine.llamacpp.trial", str(path)]
    mend = "the file is damaged, or made to do harm: fetch it again from where you trust it"
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)  # noqa: S603 (our own module)
    except subprocess.TimeoutExpired:
        raise ModelError(f"llama.cpp did not open {path} within {seconds:g} seconds; {mend}") from None
    if done.returncode == _REFUSED:
        raise ModelError(done.stdout.decode("utf-8", "replace").strip())
    if done.returncode:
        raise ModelError(f"llama.cpp died while it opened {path} ({_how(done.returncode)}); {mend}")
    if passed is not None:
        try:
            passed.parent.mkdir(parents=True, exist_ok=True)
            passed.touch()
        except OSError:  # a cache that cannot be written: tried again the next time
            pass


def _how(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


def _try(path: Path) -> None:
    from homing.engine.llamacpp.callback import Tables
    from homing.engine.llamacpp.carrier import find_carrier
    from homing.engine.llamacpp.context import Context, Weights
    from homing.engine.llamacpp.engine import prove
    from homing.engine.llamacpp.tokens import GgufTokenizer

    weights = Weights(find_carrier(), path)
    GgufTokenizer(weights)("a")
    tables = Tables(weights.hidden, weights.layers, 16)
    context = Context(weights, tables, None, cells=256, sequences=2, threads=1, rows=16)
    prove(context, tables)


if __name__ == "__main__":
    try:
        _try(Path(sys.argv[1]))
    except HomingError as e:
        sys.stdout.write(str(e))
        sys.exit(_REFUSED)
