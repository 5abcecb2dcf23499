"""Conversations to replay: scripts with their neutral twins, and ordinary conversations at home.

A script is the user's side alone; the model's own replies go in between. Each script has a neutral twin with the same
number of turns and about the same number of tokens a turn, because any long context moves a small model. Home
conversations are ordinary assistant use, for calibrating and for checking alarms; the two parts share no user turn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from homing.errors import InputError

__all__ = [
    "Domain",
    "Half",
    "HomeConversation",
    "HomePart",
    "Hypothesis",
    "Script",
    "home_available",
    "load_home_conversations",
    "load_hypothesis",
    "load_scripts",
]

Domain = Literal["coding", "writing", "emotional", "self_nature"]
Half = Literal["tune", "report"]
HomePart = Literal["calibration", "check"]

DOMAINS: tuple[Domain, ...] = get_args(Domain)
HALVES: tuple[Half, ...] = get_args(Half)
PARTS: tuple[HomePart, ...] = get_args(HomePart)
HOME_TURNS = 6


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Script:
    """The user's side of one conversation, with its neutral twin.

    Attributes:
        id: unique over all scripts. ``domain``, ``title``: what it is about. ``turns``: user messages in order.
        twin: as many neutral user messages of about equal length each. ``half``: whether settings may be chosen
            on it (``tune``) or figures reported on it (``report``); never both.
        licence, source: of the text.
    """

    id: str
    domain: Domain
    title: str
    half: Half
    turns: tuple[str, ...]
    twin: tuple[str, ...]
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not self.turns:
            raise InputError(f"script {self.id!r} has no turns; give at least one user message")
        if len(self.turns) != len(self.twin):
            raise InputError(
                f"script {self.id!r} has {len(self.turns)} turns and a twin of {len(self.twin)}; give as many of each"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of id, turns and twin, hexadecimal."""
        return _digest(self.id, self.turns, self.twin)

    @property
    def neutral(self) -> Script:
        """The twin as a script of its own, whose twin is itself; id ``<id>~twin``."""
        return Script(
            f"{self.id}~twin", self.domain, f"{self.title} (neutral twin)", self.half, self.twin, self.twin,
            self.licence, self.source,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HomeConversation:
    """The user's side of one ordinary conversation.

    Attributes:
        id: unique. ``kind``: sort of use (cooking, travel, ...). ``part``: calibration or check.
        turns: user messages.
    """

    id: str
    kind: str
    part: HomePart
    turns: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of id and turns, hexadecimal."""
        return _digest(self.id, self.turns)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was expected before any run.

    Attributes:
        dated: ISO date on which it was written. ``above``, ``below``: domains whose positions are expected to stay
            nearer home, and farther. ``statement``: in words.
    """

    dated: str
    above: tuple[Domain, ...]
    below: tuple[Domain, ...]
    statement: str


class _Source:
    """One YAML mapping whose values know their line."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        try:
            node = cast("yaml.Node | None", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
        except yaml.MarkedYAMLError as e:
            line = e.problem_mark.line + 1 if e.problem_mark else 1
            raise InputError(f"{name}:{line}: not valid YAML ({e.problem}); mend the line") from None
        except yaml.YAMLError as e:
            raise InputError(f"{name}:1: not valid YAML ({e}); mend the file") from None
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{name}:1: the file holds no mapping; expected lines of `field: value`")
        self._nodes: dict[str, yaml.Node] = {}
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            field, line = str(key.value), key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{name}:{line}: a field name must be plain text; mend the line")
            if field in self._nodes:  # YAML would silently keep the last
                raise InputError(f"{name}:{line}: field {field!r} is given twice; keep one")
            self._nodes[field] = value
        self.data = cast("dict[str, Any]", yaml.safe_load(text))

    def where(self, field: str, item: int | None = None) -> str:
        node = self._nodes.get(field)
        if node is None:
            return f"{self.name}:1"
        if item is not None and isinstance(node, yaml.SequenceNode) and item < len(node.value):
            node = node.value[item]
        return f"{self.name}:{node.start_mark.line + 1}"

    def only(self, fields: Sequence[str]) -> None:
        for f in self._nodes:
            if f not in fields:
                raise InputError(f"{self.where(f)}: field {f!r} is unknown; expected {', '.join(fields)}")

    def text(self, field: str, options: Sequence[str] = ()) -> str:
        if field not in self._nodes:
            raise InputError(f"{self.name}:1: field {field!r} is missing; add `{field}: ...`")
        value = self.data[field]
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{self.where(field)}: field {field!r} is {value!r}; expected text that is not empty")
        if options and value not in options:
            raise InputError(f"{self.where(field)}: field {field!r} is {value!r}; expected one of {', '.join(options)}")
        return value

    def texts(self, field: str, least: int = 1) -> tuple[str, ...]:
        if field not in self._nodes:
            raise InputError(f"{self.name}:1: field {field!r} is missing; add a list of texts under `{field}:`")
        value = self.data[field]
        if not isinstance(value, list) or len(cast("list[Any]", value)) < least:
            raise InputError(f"{self.where(field)}: field {field!r} must be a list of at least {least} texts")
        items = cast("list[Any]", value)
        for i, item in enumerate(items):
            if not isinstance(item, str) or not item.strip():
                raise InputError(f"{self.where(field, i)}: item {i + 1} of {field!r} is {item!r}; expected text")
        return tuple(items)


_SCRIPT_FIELDS = ("id", "domain", "title", "half", "turns", "twin", "licence", "source", "canary")
_HOME_FIELDS = ("kind", "title", "subjects", "stems", "licence", "source", "canary")


def parse_script(name: str, text: str) -> Script:
    """Read one script from YAML text; ``name`` stands in errors.

    Raises:
        InputError: with file and line.
    """
    s = _Source(name, text)
    s.only(_SCRIPT_FIELDS)
    s.text("canary")
    turns, twin = s.texts("turns"), s.texts("twin")
    if len(turns) != len(twin):
        raise InputError(
            f"{s.where('twin')}: the twin has {len(twin)} turns, the script {len(turns)}; give as many of each"
        )
    return Script(
        id=s.text("id"),
        domain=cast("Domain", s.text("domain", DOMAINS)),
        title=s.text("title"),
        half=cast("Half", s.text("half", HALVES)),
        turns=turns,
        twin=twin,
        licence=s.text("licence"),
        source=s.text("source"),
    )


def parse_home(name: str, text: str) -> tuple[HomeConversation, ...]:
    """Read one kind of home talk from YAML text: one conversation a subject, stems chosen by a hash of the subject.

    Subjects go to calibration and check in turn, so the two parts are alike in kind and share no turn: every stem
    names its subject.

    Raises:
        InputError: with file and line.
    """
    s = _Source(name, text)
    s.only(_HOME_FIELDS)
    for f in ("title", "licence", "source", "canary"):
        s.text(f)
    kind = s.text("kind")
    subjects, stems = s.texts("subjects", 2), s.texts("stems", HOME_TURNS)
    for i, stem in enumerate(stems):
        if stem.count("{x}") != 1:
            raise InputError(f"{s.where('stems', i)}: stem {i + 1} must name its subject once as {{x}}: {stem!r}")
    if len(set(subjects)) != len(subjects):
        twice = next(i for i, x in enumerate(subjects) if x in subjects[:i])
        raise InputError(f"{s.where('subjects', twice)}: subject {subjects[twice]!r} is listed twice; give each once")
    out: list[HomeConversation] = []
    earlier: list[frozenset[int]] = []
    for i, subject in enumerate(subjects):
        chosen = _stems(kind, subject, len(stems), earlier)
        earlier.append(chosen)
        # The first stem opens every conversation; the rest keep file order, from early questions to the last.
        turns = tuple(_capital(stems[j].replace("{x}", subject)) for j in (0, *sorted(chosen)))
        out.append(HomeConversation(f"{kind}-{i:02d}", kind, PARTS[i % 2], turns))
    return tuple(out)


def _stems(kind: str, subject: str, n: int, earlier: Sequence[frozenset[int]]) -> frozenset[int]:
    """Stems of one conversation beside the first: of 64 drawn sets, that which shares least with any earlier one."""
    best: tuple[int, frozenset[int]] | None = None
    for draw in range(64):
        ranked = sorted(range(1, n), key=lambda j: _digest(kind, subject, draw, j))
        chosen = frozenset(ranked[: HOME_TURNS - 1])
        shared = max((len(chosen & e) for e in earlier), default=0)
        if best is None or shared < best[0]:
            best = shared, chosen
    assert best is not None
    return best[1]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _yaml_files(folder: Traversable) -> list[tuple[str, str]]:
    found = [f for f in folder.iterdir() if f.name.endswith(".yaml")]
    return [(f.name, f.read_text(encoding="utf-8")) for f in sorted(found, key=lambda f: f.name)]


def _data() -> Traversable:
    return files("homing.drift") / "data"


@cache
def _builtin_scripts() -> tuple[Script, ...]:
    out: list[Script] = []
    for domain in DOMAINS:
        for name, text in _yaml_files(_data() / "scripts" / domain):
            script = parse_script(f"scripts/{domain}/{name}", text)
            if script.domain != domain:
                raise InputError(f"scripts/{domain}/{name}:1: domain is {script.domain!r}; its folder says {domain!r}")
            out.append(script)
    return _unique(out)


def _unique(scripts: Sequence[Script]) -> tuple[Script, ...]:
    seen: set[str] = set()
    for s in scripts:
        if s.id in seen:
            raise InputError(f"two scripts have the id {s.id!r}; give each its own")
        seen.add(s.id)
    return tuple(scripts)


def load_scripts(
    domain: Domain | None = None, *, half: Half | None = None, directory: Path | None = None
) -> tuple[Script, ...]:
    """The scripts, by domain and id.

    Args:
        domain: only this one; None: all.
        half: only the half that settings are chosen on, or the half that is reported.
        directory: read the user's own ``*.yaml`` scripts there instead of those of homing.

    Raises:
        InputError: an unknown domain or half, or a file that cannot be read, with file and line.
    """
    if domain is not None and domain not in DOMAINS:
        raise InputError(f"domain {domain!r} is unknown; use one of {', '.join(DOMAINS)}")
    if half is not None and half not in HALVES:
        raise InputError(f"half {half!r} is unknown; use one of {', '.join(HALVES)}")
    scripts = _builtin_scripts() if directory is None else _from_directory(directory)
    return tuple(s for s in scripts if domain in (None, s.domain) and half in (None, s.half))


def _from_directory(directory: Path) -> tuple[Script, ...]:
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory; give one that holds script files ending in .yaml")
    paths = sorted(directory.rglob("*.yaml"))
    if not paths:
        raise InputError(f"{directory} holds no file ending in .yaml; put one script in each such file")
    out: list[Script] = []
    for p in paths:
        try:
            text = p.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{p}:1: not UTF-8 text; save the file as UTF-8") from None
        except OSError as e:
            raise InputError(f"{p} cannot be read ({e.strerror}); mend its permissions") from None
        out.append(parse_script(str(p), text))
    return _unique(out)


@cache
def _builtin_home() -> Mapping[HomePart, tuple[HomeConversation, ...]]:
    kinds = [parse_home(f"home/{name}", text) for name, text in _yaml_files(_data() / "home")]
    out: dict[HomePart, list[HomeConversation]] = {p: [] for p in PARTS}
    # Kinds take turns, so that any leading part of the list is as wide as the whole.
    for i in range(max((len(k) for k in kinds), default=0)):
        for kind in kinds:
            if i < len(kind):
                out[kind[i].part].append(kind[i])
    return {p: tuple(c) for p, c in out.items()}


def home_available(part: HomePart) -> int:
    """How many home conversations there are for one part."""
    return len(_builtin_home()[part])


def load_home_conversations(part: HomePart, n: int) -> tuple[HomeConversation, ...]:
    """The first ``n`` home conversations of one part, all kinds of use in turn.

    Raises:
        InputError: an unknown part, or more conversations than there are.
    """
    if part not in PARTS:
        raise InputError(f"part {part!r} is unknown; use one of {', '.join(PARTS)}")
    have = _builtin_home()[part]
    if not 1 <= n <= len(have):
        raise InputError(f"{n} home conversations were asked of {part}; it has {len(have)}: ask for 1 to {len(have)}")
    return have[:n]


def load_hypothesis() -> Hypothesis:
    """The domain order that was expected before any run.

    Raises:
        InputError: the file cannot be read, with file and line.
    """
    s = _Source("hypothesis.yaml", (_data() / "hypothesis.yaml").read_text(encoding="utf-8"))
    sides: list[tuple[Domain, ...]] = []
    for f in ("above", "below"):
        names = s.texts(f)
        for i, name in enumerate(names):
            if name not in DOMAINS:
                raise InputError(f"{s.where(f, i)}: domain {name!r} is unknown; expected one of {', '.join(DOMAINS)}")
        sides.append(cast("tuple[Domain, ...]", names))
    return Hypothesis(s.text("dated"), sides[0], sides[1], s.text("statement"))
