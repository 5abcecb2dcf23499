"""Other releases of the wheel: their parameters are laid out otherwise, and the engine does the same on them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp")

RELEASES = ("2026.6.9538", "2026.8.10566", "2026.9.11063")
"""2026.4.8672 was built for processors with instructions that not every machine has: it ends with an illegal one."""
HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.install
@pytest.mark.parametrize("release", RELEASES)
def test_the_engine_on_another_release(release: str, tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(tmp_path), f"xllamacpp=={release}"], check=True, timeout=600
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HOMING_CACHE": str(tmp_path / "cache")}
    seen = "from homing.engine.llamacpp.carrier import find_carrier as f; print(f().version, f().layout.callback)"
    told = subprocess.run(
        [sys.executable, "-c", seen], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert told[0] == release
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "test_llamacpp.py"),
         str(HERE / "test_llamacpp_talks.py")],
        env=environment, cwd=HERE.parents[1], capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:]
    print(f"RESULT {release}: callback at byte {told[1]} of the parameters; {ran.stdout.splitlines()[-1]}")
