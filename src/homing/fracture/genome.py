"""A picture's genome that a user has: one XML file, or a zip with one, read without trust.

Nodes have a branch and an id, an activation and a type (in, hidden, out), and links a source, a target and a weight. Nothing
is unpickled, no document type and no entity is read, and size, depth and counts are bounded before they are spent.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from homing.errors import InputError
from homing.fracture.graph import Graph, Unit
from homing.fracture.grids import INPUTS

__all__ = ["Genome", "load_genome", "read_genome"]

MOST_FILE = 4 << 20
MOST_XML = 16 << 20
MOST_NODES = 2_000
MOST_LINKS = 20_000
MOST_DEPTH = 32
MOST_TEXT = 200
KINDS = {
    "identity": "identity", "cache": "identity", "sin": "sin", "sine": "sin", "cos": "cos", "cosine": "cos", "tanh": "tanh",
    "sigmoid": "sigmoid", "gaussian": "gaussian", "relu": "relu", "abs": "abs",
}  # fmt: skip
MARKING = re.compile(r"[A-Za-z0-9.-]+_[A-Za-z0-9.-]+")
LABELS = {"x": "x", "y": "y", "d": "d", "bias": "b", "b": "b", "1": "b"}
OUTPUTS = ("ink", "brightness", "value", "v")
"""Labels whose output is the brightness, the first found; a picture in colour is read in its brightness alone."""


@dataclass(frozen=True, eq=False, slots=True)
class Genome:
    """A genome that can be drawn.

    Attributes:
        graph: reads :data:`INPUTS`, gives one output, the brightness. ``nodes``, ``links``: how many.
        output: the label of the one that is read.
    """

    graph: Graph
    nodes: int
    links: int
    output: str


def load_genome(path: Path | str) -> Genome:
    """Read a file.

    Raises:
        InputError: it cannot be read, is too large, or is not such a genome.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MOST_FILE:
            raise InputError(f"{path.name} has {size} bytes; a genome has at most {MOST_FILE}")
        with path.open("rb") as f:
            blob = f.read(MOST_FILE + 1)
    except OSError as e:
        raise InputError(f"genome {path} cannot be read: {e.strerror}; give an XML file, or a zip with one") from None
    return read_genome(blob, name=path.name)


def read_genome(blob: bytes, *, name: str = "genome") -> Genome:
    """Read a genome's bytes.

    Raises:
        InputError: as :func:`load_genome`.
    """
    if len(blob) > MOST_FILE:
        raise InputError(f"{name} has more than {MOST_FILE} bytes; a genome is smaller")
    return _genome(_parsed(_unzipped(blob, name) if blob[:2] == b"PK" else blob, name), name)


def _unzipped(blob: bytes, name: str) -> bytes:
    """The one XML file of a zip; no more of it is unpacked than may be."""
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as z:
            inside = [i for i in z.infolist() if not i.is_dir()]
            if len(inside) != 1:
                raise InputError(
                    f"{name} holds {len(inside)} files; give a zip with one XML file, or the XML file itself"
                )
            if inside[0].compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):  # others unpack without a bound
                raise InputError(f"{name} is packed in an unusual way; unpack it and give the XML file")
            if inside[0].flag_bits & 1:
                raise InputError(f"{name} is encrypted; unpack it and give the XML file")
            with z.open(inside[0]) as f:
                text = f.read(MOST_XML + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, RuntimeError, OSError) as e:
        raise InputError(f"{name} is no zip that can be read ({e}); give the XML file itself") from None
    if len(text) > MOST_XML:
        raise InputError(f"{name} unpacks to more than {MOST_XML} bytes; a genome is smaller")
    return text


class _Reader:
    """What the parser calls. Anything that could reach outside the file, or grow inside it, ends the reading."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path: list[str] = []
        self.nodes: list[dict[str, str]] = []
        self.links: list[dict[str, str]] = []
        self._text = ""

    def refuse(self, *_: object) -> int:
        raise InputError(f"{self.name} declares a document type or entities, which no genome needs; take them out")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.path.append(tag)
        self._text = ""
        if len(self.path) > MOST_DEPTH:
            raise InputError(f"{self.name} nests tags more than {MOST_DEPTH} deep; this is not a genome")
        if any(len(v) > MOST_TEXT for v in attributes.values()):
            raise InputError(f"{self.name} has an attribute of more than {MOST_TEXT} characters; this is not a genome")
        if tag == "node":
            self.nodes.append({k: attributes[k] for k in ("type", "label") if k in attributes})
            if len(self.nodes) > MOST_NODES:
                raise InputError(f"{self.name} has more than {MOST_NODES} nodes; give a smaller genome")
        elif tag == "link":
            self.links.append({})
            if len(self.links) > MOST_LINKS:
                raise InputError(f"{self.name} has more than {MOST_LINKS} links; give a smaller genome")
        elif tag in ("marking", "source", "target") and self._inside() is not None:
            into = self._inside()
            if into is not None:
                into[tag] = f"{attributes.get('branch', '')}_{attributes.get('id', '')}"

    def _inside(self) -> dict[str, str] | None:
        """The node or link that encloses the present tag."""
        if len(self.path) < 2:
            return None
        return {"node": self.nodes, "link": self.links}.get(self.path[-2], [None])[-1]

    def data(self, text: str) -> None:
        if self.path and self.path[-1] in ("activation", "weight"):
            self._text += text
            if len(self._text) > MOST_TEXT:
                raise InputError(f"{self.name} has a value of more than {MOST_TEXT} characters; this is not a genome")

    def end(self, tag: str) -> None:
        into = self._inside()
        if tag in ("activation", "weight") and into is not None:
            into[tag] = self._text.strip()
        self.path.pop()


def _parsed(text: bytes, name: str) -> _Reader:
    reader = _Reader(name)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.UnparsedEntityDeclHandler = reader.refuse
    parser.ExternalEntityRefHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    try:
        parser.Parse(text, True)
    except expat.ExpatError as e:
        raise InputError(f"{name} is not XML ({e}); give the genome as it was saved") from None
    except (LookupError, ValueError) as e:
        raise InputError(f"{name} is in an encoding that cannot be read ({e}); save it as UTF-8") from None
    if not reader.nodes:
        raise InputError(f"{name} has no nodes; give a genome: nodes with branch, id, activation and type, and links")
    return reader


def _genome(read: _Reader, name: str) -> Genome:
    label, outputs, units = dict[str, str](), dict[str, str](), dict[str, dict[str, float]]()
    kinds: dict[str, str] = {}
    for k, node in enumerate(read.nodes):
        marking, kind = node.get("marking", "_"), node.get("type", "")
        if not MARKING.fullmatch(marking):
            raise InputError(
                f"node {k + 1} of {name} has no marking with branch and id; give it one, of letters and digits"
            )
        if marking in label or marking in kinds:
            raise InputError(f"{name} has two nodes {marking}; give each its own branch and id")
        if kind == "in":
            known = LABELS.get(node.get("label", "").lower())
            if known is None:
                raise InputError(f"input {node.get('label', '')!r} of {name} is unknown; inputs are x, y, d and bias")
            if known in label.values():
                raise InputError(f"{name} has two inputs {known}; give one of each")
            label[marking] = known
            continue
        if kind not in ("hidden", "out"):
            raise InputError(f"node {marking} of {name} has type {kind!r}; types are in, hidden and out")
        activation = re.sub(r"\(x\)$", "", node.get("activation", "")).strip().lower()
        if activation not in KINDS:
            raise InputError(
                f"activation {activation!r} of node {marking} of {name} is unknown; use one of {', '.join(KINDS)}"
            )
        kinds[marking], units[marking] = KINDS[activation], {}
        if kind == "out":
            outputs[node.get("label", "").lower()] = marking
    for k, link in enumerate(read.links):
        source, target = link.get("source", ""), link.get("target", "")
        if target not in units or (source not in units and source not in label):
            raise InputError(
                f"link {k + 1} of {name} goes from {source!r} to {target!r}, which is not there or is an input"
            )
        try:
            weight = float(link.get("weight", ""))
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight) or abs(weight) > 1e6:
            raise InputError(
                f"link {k + 1} of {name} has the weight {link.get('weight', '')!r}; give a number up to a million"
            )
        source = label.get(source, source)
        units[target][source] = units[target].get(source, 0.0) + weight  # two links between one pair of nodes add up
    output = next((o for o in OUTPUTS if o in outputs), None)
    if output is None:
        raise InputError(f"{name} has no output {', '.join(OUTPUTS[:2])}; label the node whose value is the brightness")
    graph = Graph(INPUTS, {m: Unit(kinds[m], units[m]) for m in units}, (outputs[output],))
    return Genome(graph, len(read.nodes), len(read.links), output)
