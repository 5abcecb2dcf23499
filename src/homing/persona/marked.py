"""YAML read strictly, with the file and line of every complaint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, cast

import yaml
from yaml.reader import ReaderError

from homing.errors import InputError

__all__ = ["Fields", "MarkedYaml", "each_item", "read_marked", "read_text"]


def _build(node: yaml.Node) -> Any:
    return cast("Any", yaml.SafeLoader("").construct_object(node, deep=True))  # pyright: ignore[reportUnknownMemberType]


@dataclass(frozen=True, slots=True)
class MarkedYaml:
    """One value of a YAML file that still knows where it stands.

    Attributes:
        name: of the file. ``node``: as YAML composed it.
    """

    name: str
    node: yaml.Node

    def complain(self, text: str) -> InputError:
        """An error at this value, to raise."""
        return InputError(f"{self.name}, line {self.node.start_mark.line + 1}: {text}")

    def value(self) -> Any:
        """The plain value.

        Raises:
            InputError: a tag that stands for no plain value, or a date that is none.
        """
        try:
            return _build(self.node)
        except (yaml.YAMLError, ValueError) as e:
            text = (e.problem if isinstance(e, yaml.MarkedYAMLError) else None) or str(e)
            raise self.complain(f"cannot be read as a value: {text}; quote it to keep it as text") from None

    def text(self, what: str) -> str:
        """The value, which must be text and not blank."""
        raw = self.value()
        if not isinstance(raw, str) or not raw.strip():
            raise self.complain(f"{what} is {raw!r}; it must be text that is not blank")
        return raw.strip()

    def items(self, what: str) -> tuple[MarkedYaml, ...]:
        """The members, where the value must be a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.complain(f"{what} is {self.value()!r}; it must be a list")
        return tuple(MarkedYaml(self.name, n) for n in cast("Sequence[yaml.Node]", self.node.value))

    def texts(self, what: str) -> tuple[str, ...]:
        """The members as texts."""
        return tuple(item.text(f"an entry of {what}") for item in self.items(what))

    def fields(self, *, required: Sequence[str], optional: Sequence[str] = ()) -> Fields:
        """The fields of a mapping: none missing, none unknown, none twice."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.complain(f"found {self.value()!r}; expected the fields {', '.join(required)}")
        found: dict[str, MarkedYaml] = {}
        for key, child in cast("Sequence[tuple[yaml.Node, yaml.Node]]", self.node.value):
            mark = MarkedYaml(self.name, key)
            name = str(mark.value())
            if name not in required and name not in optional:
                raise mark.complain(f"unknown field {name!r}; known are {', '.join((*required, *optional))}")
            if name in found:
                raise mark.complain(f"field {name!r} is given twice; keep one")
            found[name] = MarkedYaml(self.name, child)
        for name in required:
            if name not in found:
                raise self.complain(f"field {name!r} is missing; add it")
        return Fields(self, found)


@dataclass(frozen=True, slots=True)
class Fields:
    """The checked fields of one mapping."""

    at: MarkedYaml
    found: Mapping[str, MarkedYaml]

    def __getitem__(self, name: str) -> MarkedYaml:
        return self.found[name]

    def __contains__(self, name: str) -> bool:
        return name in self.found

    def text(self, name: str) -> str:
        """The text of one field."""
        return self.found[name].text(name)


def read_text(file: Traversable) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except OSError as e:
        raise InputError(f"{file} cannot be read ({e.strerror}); give an existing file") from None
    except UnicodeDecodeError as e:
        line = e.object.count(b"\n", 0, e.start) + 1
        raise InputError(f"{file}, line {line}: not UTF-8 (byte {e.start}); save it as UTF-8") from None


def read_marked(file: Traversable) -> MarkedYaml:
    """Read one YAML file.

    Raises:
        InputError: it cannot be read, is empty, or is not YAML; with the line.
    """
    text = read_text(file)
    try:
        node = cast("yaml.Node | None", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        raise InputError(f"{file}, line {line}: not YAML: {e.problem}; mend the syntax") from None
    except ReaderError as e:
        line = text.count("\n", 0, e.position) + 1
        raise InputError(f"{file}, line {line}: not YAML: {e.reason}; take the character out") from None
    if node is None:
        raise InputError(f"{file}, line 1: the file is empty; write its fields")
    return MarkedYaml(str(file), node)


def each_item(files: Iterable[Traversable], what: str) -> Iterator[tuple[str, MarkedYaml]]:
    """Entries under ``what`` of content files, each with its file's name without the ending; licence, source and canary stand
    in every file.

    Raises:
        InputError: file and line of what is missing or of another shape.
    """
    for file in files:
        fields = read_marked(file).fields(required=("licence", "source", "canary", what))
        for name in ("licence", "source", "canary"):
            fields.text(name)
        for item in fields[what].items(what):
            yield file.name.removesuffix(".yaml"), item
