"""The scoreboard in short, as it is shipped: every score, what it was asked, and whether it passed.

``data/scoreboard.json`` is written by ``benchmarks/fracture_marks.py`` from the full figures, which are not in the wheel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast, get_args

from homing.errors import InputError

__all__ = ["Asked", "Board", "Mark", "Score", "Stand", "load_board", "read_board"]

SCHEMA = "homing.fracture-scoreboard/1"
Stand = Literal["pass", "fail", "none"]
"""``none``: not applicable, as a dose of what the score is not for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that was asked of every score: a name, a short title, and the question in a sentence."""

    name: str
    title: str
    asks: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How one score did in one test. ``said``: the figures behind it, in words."""

    stand: Stand
    said: str


@dataclass(frozen=True, slots=True)
class Score:
    """One score. ``ours``: it is of this package. ``cannot``: of the others, in a few words. ``marks``: by test, in its order."""

    name: str
    title: str
    ours: bool
    cannot: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """The scoreboard. ``networks``: on how many of known wiring the scores were read."""

    tests: tuple[Asked, ...]
    scores: tuple[Score, ...]
    networks: int


def load_board() -> Board:
    """The one that is shipped."""
    text = files("homing.fracture").joinpath("data", "scoreboard.json").read_text("utf-8")
    return read_board(json.loads(text))


def read_board(raw: Mapping[str, Any]) -> Board:
    """A scoreboard from JSON.

    Raises:
        InputError: it is something else, a field is missing, or a mark is unknown.
    """
    if raw.get("schema") != SCHEMA:
        raise InputError(
            f"this is {raw.get('schema')!r} and no scoreboard of {SCHEMA}; write it with benchmarks/fracture_marks.py"
        )
    try:
        tests = tuple(Asked(t["name"], t["title"], t["asks"]) for t in raw["tests"])
        scores = tuple(
            Score(
                s["name"], s["title"], bool(s["ours"]), s["cannot"],
                tuple(_mark(s["marks"][t.name], s["name"]) for t in tests),
            )
            for s in raw["scores"]
        )  # fmt: skip
        return Board(tests, scores, int(raw["networks"]))
    except (KeyError, TypeError) as e:
        raise InputError(f"the scoreboard lacks {e}; write it again with benchmarks/fracture_marks.py") from None


def _mark(raw: Mapping[str, str], score: str) -> Mark:
    if raw["mark"] not in get_args(Stand):
        raise InputError(f"score {score} has the mark {raw['mark']!r}; known are {', '.join(get_args(Stand))}")
    return Mark(cast("Stand", raw["mark"]), raw["said"])
