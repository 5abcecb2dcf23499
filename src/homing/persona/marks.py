"""Words by which a reply declines or names itself an AI."""

from __future__ import annotations

import re

__all__ = ["REFUSAL"]

REFUSAL = re.compile(
    r"\b(as an ai|i('?m| am) (just )?an ai|language model|i can(no|')t (help|assist|do that|provide)|i'?m sorry,? but)\b",
    re.IGNORECASE,
)
