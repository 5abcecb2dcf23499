from __future__ import annotations

from pathlib import Path

import pytest
from tests.verbs.tiny_map import Mapped, shared_map


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return shared_map(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "MODEL",
        "ENGINE",
        "DTYPE",
        "DEVICE",
        "THREADS",
        "SLOTS",
        "CACHE",
        "IDENTITY",
        "PRESET",
        "SEED",
        "LOG_LEVEL",
    ):
        monkeypatch.delenv(f"HOMING_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
