"""The compiled callback under the sanitisers, with random tables, rows and ubatches at their bounds (callback_fuzz.c)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import homing

HERE = Path(__file__).parent
ROUNDS = 50_000


@pytest.fixture(scope="module")
def compiler() -> str:
    found = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler")
    return found


def test_no_byte_outside_and_ubatches_change_nothing(compiler: str, tmp_path: Path) -> None:
    source = Path(homing.__file__).parent / "engine" / "llamacpp"
    checks = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    made = tmp_path / "fuzz"
    built = subprocess.run(
        [*compiler.split(), "-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", *checks, "-I", str(source),
         str(HERE / "callback_fuzz.c"), "-o", str(made)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("the compiler has no sanitisers")
    assert not built.returncode, built.stderr
    ran = subprocess.run([str(made), str(ROUNDS)], capture_output=True, text=True, check=False, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, f"{ROUNDS} rounds\n"), ran.stderr[-3000:]
