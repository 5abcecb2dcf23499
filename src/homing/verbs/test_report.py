"""The page of ``homing test``, from what it found: at once, or later from a JSON document that was kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_test"]


def write_test(found: Mapping[str, Any], path: Path) -> Path:
    """Write one HTML page about what was found.

    Args:
        found: what ``homing test --json`` prints, read with ``json.load`` where it was kept. ``path``: of the page.

    Raises:
        InputError: it is something else, or the file cannot be written.
    """
    from homing.report.proving import render_test
    from homing.report.render import write_page

    return write_page(render_test(found), path)


write_test.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]
