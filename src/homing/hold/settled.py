"""Answers that a text states on its way, where its sentences end, and what a question gives to choose from: all by rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from homing.hold.commit import options_in

__all__ = ["CUE", "MOST_OPTIONS", "Stated", "closed", "ends", "stated", "value_of"]

CUE = "Your answer now, and nothing else?"
"""Asked in a fork behind what has been said so far."""
MOST_OPTIONS = 20
"""More to choose from than this, and a choice is not read from probabilities."""
_SAYS = re.compile(
    r"(?:\b(?:answer|result|solution)\b[^\S\n]*(?:is|was|are|remains|stays|:|=|would be|should be|must be|to this is|here is)"
    r"[^\S\n]*(?:still|again|now|then|therefore|indeed|also|really)?[^\S\n]*:?|\\boxed\{|####)"
    r"[^\S\n]*([^\n]*)",
    re.I,
)
_VALUE = re.compile(r"[^\S\n]*[*_`$({\[\"']*[^\S\n]*(-?\d+(?:,\d{3})*(?:\.\d+)?|[^\n.;!?}]+)")
_ENDS = re.compile(r"[.!?][)\]\"'*_}]*(?=\s|$)|\n+")
_NO_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|No|vs|etc|e\.g|i\.e)|(?:^|\n)\s*\d{1,2})\.$", re.I)
_WORDS = 6
"""An answer in words has at most so many; what is longer is a sentence about it."""
_EITHER = re.compile(r"\b(?:answer|reply|say)\b[^.?!\n]*\b(yes or no|no or yes|true or false|false or true)\b", re.I)


@dataclass(frozen=True, slots=True)
class Stated:
    """An answer that a text gives. ``value``: normalised. ``at``: place just behind it, in characters."""

    value: str
    at: int


def value_of(text: str, options: Sequence[str] = ()) -> str:
    """An answer in the form in which answers are compared; empty where there is none.

    Args:
        options: what there is to choose from; then the value is one of them or nothing. Else a number, or a few words.
    """
    plain = re.sub(r"[*_`$\"']", "", text).strip()
    if options:
        first = [(m.start(), -len(o), o) for o in options if (m := _whole(o).search(plain)) is not None]
        return min(first)[2] if first else ""
    found = _VALUE.match(plain)
    said = (found[1] if found else "").strip().rstrip(",:)").lower()
    said = re.sub(r"^(?:the|an?)\s+", "", said)
    return "" if len(said.split()) > _WORDS else said.replace(",", "") if said[:1].isdigit() else said


def _whole(option: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-]){re.escape(option)}(?![\w]|\.\d)", re.I)


def stated(text: str, options: Sequence[str] = ()) -> list[Stated]:
    """Every answer that a text states in so many words, in order: "the answer is 7", a box, a line of ``####``.

    Results on the way, "3 + 4 = 7", are none.
    """
    out: list[Stated] = []
    for m in _SAYS.finditer(text):
        # two on one line are two: what is read of the first ends where the second begins
        rest = m[1][: n.start()] if (n := _SAYS.search(m[1])) is not None else m[1]
        out += _one(rest, m.start(1), options)
        if n is not None:
            out += [Stated(s.value, s.at + m.start(1)) for s in stated(m[1], options)]
    return out


def _one(rest: str, start: int, options: Sequence[str]) -> list[Stated]:
    found = _VALUE.match(rest)
    if found is None or not (value := value_of(found[0], options)):
        return []
    return [Stated(value, start + found.end())]


def ends(text: str, *, rest: bool = True) -> list[int]:
    """Places just behind each sentence; a line is a sentence too.

    Args:
        rest: whether what stands behind the last one counts as another.
    """
    out: list[int] = []
    for m in _ENDS.finditer(text):
        end = m.end() if m[0][0] != "\n" else m.start()
        before = out[-1] if out else 0
        if text[before:end].strip() and not _NO_END.search(text[:end]):
            out.append(end)
    if rest and text[out[-1] if out else 0 :].strip():
        out.append(len(text))
    return out


def closed(question: str) -> tuple[str, ...]:
    """What a question gives to choose from, where it is few: numbers of a range, marks of lines, or two words; else nothing."""
    if (either := _EITHER.search(question)) is not None:
        first, _, second = either[1].lower().split()
        return (first.capitalize(), second.capitalize())
    found = options_in(question)
    if not 2 <= len(found) <= MOST_OPTIONS:
        return ()
    return tuple(o.split(":")[0] for o in found)
