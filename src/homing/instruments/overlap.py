"""Which facets of the battery a hold's own words answer: what it has just been told, a model repeats, and that is no return."""

from __future__ import annotations

import re
from collections.abc import Sequence

from homing.hold.base import Stabiliser
from homing.persona.outside import FACETS, OutsideItem

__all__ = ["overlapping", "own_words"]

RUN = 3
"""So many content words of an option in the hold's words, or all that it has, are an overlap."""
SHARE = 0.6
_COMMON = frozenset(
    {
        "a", "an", "and", "any", "are", "as", "at", "be", "but", "by", "can", "do", "for", "from", "had", "has", "have",
        "i", "if", "in", "is", "it", "it's", "its", "like", "me", "my", "no", "not", "of", "on", "or", "so", "that",
        "the", "their", "them", "then", "there", "they", "this", "to", "was", "we", "what", "when", "who", "will",
        "with", "would", "you", "your"
    }
)  # fmt: skip


def overlapping(texts: Sequence[str], items: Sequence[OutsideItem]) -> tuple[str, ...]:
    """Facets of items with an option that is largely said in a text: at least three of its content words, and three in five.

    Args:
        texts: what a hold puts into a conversation in its own words. ``items``: those that are asked.
    """
    said = [_content(t) for t in texts]
    found = {
        i.facet
        for i in items
        for w in (i.a, i.b)
        for option in w.options
        if any(_covers(text, _content(option)) for text in said)
    }
    return tuple(f for f in FACETS if f in found)


def own_words(holds: Sequence[Stabiliser]) -> list[str]:
    """What the holds of a chain may say in their own words; a hold that has some names them in ``says``."""
    return [w for h in holds for w in getattr(h, "says", ())]


def _content(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower())) - _COMMON


def _covers(text: set[str], option: set[str]) -> bool:
    shared = len(text & option)
    return shared >= RUN and shared >= SHARE * len(option)
