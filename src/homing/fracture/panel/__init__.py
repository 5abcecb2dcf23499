"""Measures that others use, each with what it cannot do. A measure is one file of this folder, or an entry point."""

from __future__ import annotations
