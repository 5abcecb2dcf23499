"""What a rewriting of a task keeps and invents: whether a text says a fact, and everything in it that could be one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from homing.instruments.lost_tasks import LISTED, LOOK_OF, ROW, STYLES, Task

__all__ = ["found_in", "marks"]

_WORDS: tuple[str, ...] = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


def _plain(text: str) -> str:
    """Lower case, number words as digits."""
    return re.sub(r"[a-z]+", lambda m: str(_WORDS.index(m[0])) if m[0] in _WORDS else m[0], text.lower())


def found_in(text: str, needles: Sequence[str], *, bare: bool = True) -> bool:
    """Whether a text says all of these as whole words. ``bare``: rows and lists of answers do not count."""
    body = _plain(LISTED.sub("", ROW.sub("", text)) if bare else text)
    return all(re.search(rf"(?<![\w]){re.escape(_plain(n))}(?![\w])", body) for n in needles)


def marks(task: Task, text: str) -> list[str]:
    """Everything in a text that could be a fact of this family: numbers, and words that a constraint can name."""
    words = {
        "table": tuple(LOOK_OF), "record": tuple(v for values in STYLES.values() for v in values), "sum": (), "formula": (),
    }[task.family]  # fmt: skip
    body = _plain(text)
    found = re.findall(r"(?<!\w)\d+(?!\w)", body)
    return found + [w for w in words for _ in re.findall(rf"(?<!\w){w}(?!\w)", body)]
