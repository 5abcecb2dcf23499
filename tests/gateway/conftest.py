from __future__ import annotations

import pytest
from tests.verbs.tiny_map import Mapped, shared_map


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return shared_map(tmp_path_factory.getbasetemp())
