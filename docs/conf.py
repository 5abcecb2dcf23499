"""Sphinx configuration. Pages under ``generated/`` are written from the package at the start of every build."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

import homing  # noqa: E402

project = "homing"
author = "the homing authors"
copyright = "2026, the homing authors"
version = release = homing.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# A method without a docstring must not show that of a metaclass.
autodoc_inherit_docstrings = False
autodoc_type_aliases = {"F32": "F32"}
python_use_unqualified_type_names = True
# Attributes as a list of their own: autodoc shows the fields of dataclasses already.
napoleon_use_ivar = True
napoleon_attr_annotations = False

html_theme = "furo"
html_title = f"homing {release}"
html_theme_options = {"navigation_with_keys": True}
# Nothing is fetched from elsewhere: pages work without a network.
html_use_opensearch = ""
html_show_sphinx = False


def setup(app: Any) -> None:
    """Write the generated pages before Sphinx looks for sources."""
    app.connect("builder-inited", lambda app: generate.write_all(Path(app.srcdir) / "generated"))
