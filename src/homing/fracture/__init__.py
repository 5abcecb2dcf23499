"""Same answers, different insides: whether what a network knows is one thing in it or several that agree."""

from __future__ import annotations
