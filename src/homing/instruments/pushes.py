"""Scripts that push a conversation away from home, each with its neutral twin, facts to remember and graded nudges.

The user's side alone, and the model answers in between; where the push is the model's own errors, the assistant's side is
given too. Push and twin share the opening, in which the facts are planted, and the neutral turns that follow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal, cast, get_args

from homing.errors import InputError
from homing.persona.marked import Fields, MarkedYaml, each_item, read_marked
from homing.persona.outside import FACETS

__all__ = [
    "NUDGES",
    "PUSHES",
    "Fact",
    "Half",
    "Norm",
    "PushName",
    "PushScript",
    "load_neutral",
    "load_norms",
    "load_pushes",
]

PushName = Literal[
    "roleplay", "emotional", "own_errors", "false_premises", "drip_fed", "monitoring", "self_critique", "long_reflection"
]  # fmt: skip
PUSHES: tuple[PushName, ...] = get_args(PushName)
Half = Literal["qualify", "report"]
NUDGES = 4
FACTS = 6
OPTIONS = 4


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that the user said in the opening.

    Attributes:
        statement: as it stands there, word for word. ``question``: asks for it. ``options``: whole replies, the true one first.
    """

    statement: str
    question: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PushScript:
    """One script.

    Attributes:
        id: unique. ``push``: what kind. ``title``: for people.
        half: ``qualify`` shows that the push moves the model at all, ``report`` gives the figures; never both.
        opening: user messages that plant the facts, before push and twin alike. ``facts``: what was planted.
        turns, twin: user messages of the push and of its neutral twin, as many and of about the same length.
        said, twin_said: the assistant's replies to them where they are given; empty: the model replies itself.
        nudges: sentences to open a conversation with, of growing weight; dose d is the first d of them.
        sanctioned: facets that the user asks to change: they may, and are not scored.
    """

    id: str
    push: PushName
    title: str
    half: Half
    opening: tuple[str, ...]
    facts: tuple[Fact, ...]
    turns: tuple[str, ...]
    twin: tuple[str, ...]
    nudges: tuple[str, ...]
    sanctioned: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    twin_said: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of what is said, hexadecimal."""
        body = (self.id, self.opening, self.turns, self.twin, self.said, self.twin_said, self.nudges)
        return hashlib.sha256(json.dumps(body, ensure_ascii=False).encode()).hexdigest()


def load_pushes(push: PushName | None = None, *, half: Half | None = None) -> tuple[PushScript, ...]:
    """Every script, or those of one push or half, by name of file.

    Raises:
        InputError: an unknown push; or file and line of what is wrong in a script.
    """
    if push is not None and push not in PUSHES:
        raise InputError(f"push {push!r} is unknown; use one of {', '.join(PUSHES)}")
    return tuple(s for s in _shipped() if push in (None, s.push) and half in (None, s.half))


@cache
def _shipped() -> tuple[PushScript, ...]:
    root = files("homing.instruments") / "data" / "pushes"
    out: dict[str, PushScript] = {}
    for push in PUSHES:
        for file in sorted((f for f in (root / push).iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name):
            script = read_push(file, push)
            if script.id in out:
                raise InputError(f"{file}: id {script.id!r} is used by another script; choose a new one")
            out[script.id] = script
    return tuple(out.values())


def read_push(file: Traversable, push: PushName) -> PushScript:
    """Read one script.

    Raises:
        InputError: file and line of what is missing or does not fit together.
    """
    root = read_marked(file)
    given = ("said", "twin_said") if push == "own_errors" else ()
    f = root.fields(
        required=("id", "title", "half", "licence", "source", "canary", "opening", "facts", "turns", "twin", "nudges", *given),
        optional=("sanctioned",),
    )  # fmt: skip
    for name in ("licence", "source", "canary"):
        f.text(name)
    half = f.text("half")
    if half not in get_args(Half):
        raise f["half"].complain(f"half is {half!r}; use qualify or report")
    lists = {k: f[k].texts(k) if k in f else () for k in ("opening", "turns", "twin", "nudges", "sanctioned", *given)}
    _fits(f, lists)
    opening = lists["opening"]
    facts = tuple(_fact(x, opening) for x in f["facts"].items("facts"))
    if len(facts) < FACTS:
        raise f["facts"].complain(f"{len(facts)} facts; plant at least {FACTS}")
    return PushScript(
        f.text("id"), push, f.text("title"), cast("Half", half), opening, facts, lists["turns"], lists["twin"],
        lists["nudges"], lists["sanctioned"], lists.get("said", ()), lists.get("twin_said", ()),
    )  # fmt: skip


def _fits(f: Fields, lists: dict[str, tuple[str, ...]]) -> None:
    n = len(lists["turns"])
    for name in ("twin", "said", "twin_said"):
        if name in lists and len(lists[name]) != n:
            raise f[name].complain(f"{len(lists[name])} entries in {name} beside {n} turns; give as many of each")
    if len(lists["nudges"]) != NUDGES:
        raise f["nudges"].complain(f"{len(lists['nudges'])} nudges; give {NUDGES} sentences of growing weight")
    unknown = [x for x in lists["sanctioned"] if x not in FACETS]
    if unknown:
        raise f["sanctioned"].complain(f"facet {unknown[0]!r} is unknown; facets are {', '.join(FACETS)}")


def _fact(node: MarkedYaml, opening: Sequence[str]) -> Fact:
    f = node.fields(required=("statement", "question", "options"))
    statement, options = f.text("statement"), f["options"].texts("options")
    if not any(statement in turn for turn in opening):
        raise f["statement"].complain(f"no message of the opening says {statement!r} word for word; plant it there")
    if len(options) != OPTIONS or len(set(options)) != OPTIONS:
        raise f["options"].complain(f"a fact has {OPTIONS} different options, the true one first")
    return Fact(statement, f.text("question"), options)


@cache
def load_neutral() -> tuple[str, ...]:
    """Neutral questions that follow push and twin alike."""
    folder = files("homing.instruments") / "data"
    return tuple(x.text("an entry of questions") for _, x in each_item([folder / "neutral.yaml"], "questions"))


@dataclass(frozen=True, slots=True)
class Norm:
    """A request, and two replies of the same form: one keeps a norm of an assistant's conduct and one breaks it."""

    id: str
    kind: str
    request: str
    keeps: str
    breaks: str


@cache
def load_norms() -> tuple[Norm, ...]:
    """Every norm item, in the order of the file.

    Raises:
        InputError: file and line of what is wrong.
    """
    folder = files("homing.instruments") / "data"
    out: dict[str, Norm] = {}
    for _, item in each_item([folder / "norms.yaml"], "items"):
        f = item.fields(required=("id", "kind", "request", "keeps", "breaks"))
        made = Norm(*(f.text(k) for k in ("id", "kind", "request", "keeps", "breaks")))
        if made.id in out:
            raise item.complain(f"id {made.id!r} is used by another item; choose a new one")
        out[made.id] = made
    return tuple(out.values())
