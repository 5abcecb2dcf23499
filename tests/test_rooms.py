"""A room's public names are what they say, and cost nothing before they are used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

ROOMS = ("drift", "engine", "hold", "identity", "models", "persona", "report", "stats", "verbs")


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_no_modules(room: str) -> None:
    module = importlib.import_module(f"homing.{room}")
    for name in module.__all__:
        assert not isinstance(getattr(module, name), type(sys)), f"{room}.{name} is a module, not what it names"
    with pytest.raises(AttributeError, match="no attribute"):
        _ = module.nothing_of_that_name


def test_rooms_load_no_torch() -> None:
    code = "import sys\n" + "\n".join(f"import homing.{r}" for r in ROOMS) + "\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
