"""Reading transcripts: JSONL of OpenAI messages, directories of them, and Inspect logs (read as plain JSON).

A bad conversation never stops the rest: it comes out as a :class:`BadLine`. Files are streamed, so a file of any size
is read in the memory of its longest line, and a line past the limit is skipped without being held.
"""

from __future__ import annotations

import json
import lzma
import shlex
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from homing.conversation import Conversation
from homing.errors import InputError

__all__ = ["MAX_TEXT_BYTES", "BadLine", "Transcript", "read_transcripts"]

MAX_TEXT_BYTES = 10_000_000
MAX_LINE_BYTES = 4 * MAX_TEXT_BYTES
"""JSON escapes can make a line several times as long as its text; past this it cannot be a transcript we take."""
MAX_LOG_BYTES = 500_000_000
"""An Inspect log in one JSON file has no lines to stream by."""
MAX_SAMPLE_BYTES = 200_000_000

_PACKINGS = {9: "deflate64", 93: "zstd", 95: "xz", 98: "ppmd"}
"""Zip methods that the standard library lacks (zstd, which newer versions of Inspect write: before Python 3.14)."""

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".eval")


@dataclass(frozen=True, slots=True)
class Transcript:
    """One conversation to read.

    Attributes:
        id: its ``id`` if it had one, else the line number (JSONL) or sample number (Inspect), as text.
        conversation: the messages. ``file``, ``line``: where it stood; line counted from 1, for Inspect the sample.
    """

    id: str
    conversation: Conversation
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """One conversation that cannot be read.

    Attributes:
        id: its ``id`` where that could be read, else the line number. ``file``, ``line``: where, as in Transcript.
        problem: one sentence: what is wrong and what was expected.
    """

    id: str
    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


def read_transcripts(path: str | Path) -> Iterator[Transcript | BadLine]:
    """Read every conversation of a file or directory, in order of file name and line.

    Args:
        path: a ``.jsonl`` of ``{"id"?, "messages": [...]}``, an Inspect log (``.eval``, or ``.json``), or a directory.

    Returns:
        An iterator over conversations and bad lines. The path itself is checked now, the content while iterating.

    Raises:
        InputError: the path does not exist, cannot be opened, or is a directory without a transcript in it.
    """
    root = Path(path)
    if root.is_dir():
        found = sorted(p for p in root.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
        if not found:
            raise InputError(f"{root} holds no transcript; expected files ending in {', '.join(_SUFFIXES)}")
        return (item for p in found for item in _file(p, alone=False))
    if not root.exists():
        raise InputError(f"{root} does not exist; give a JSONL file, an Inspect log, or a directory of them")
    try:
        with root.open("rb"):
            pass
    except OSError as e:
        raise InputError(f"{root} cannot be read ({e.strerror}); mend its permissions") from None
    return _file(root, alone=True)


def _file(path: Path, *, alone: bool) -> Iterator[Transcript | BadLine]:
    seen = 0
    try:
        with path.open("rb") as f:
            head = f.read(4)
        if head == b"PK\x03\x04" or path.suffix.lower() == ".eval":
            items = _eval(path)
        elif path.suffix.lower() == ".json":
            items = _json(path)
        else:
            items = _jsonl(path)
        for item in items:
            seen += 1
            yield item
    except OSError as e:
        yield BadLine("1", str(path), 1, f"the file cannot be read ({e.strerror or e}); mend it or leave it out")
        return
    if seen == 0 and alone:
        yield BadLine("1", str(path), 1, "the file holds no conversation; expected a line of JSON with messages")


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their number from 1; None in place of a line past the limit, which is not held in memory."""
    with path.open("rb") as f:
        number = 0
        while line := f.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) <= MAX_LINE_BYTES:
                yield number, line
                continue
            while not line.endswith(b"\n") and (line := f.readline(1 << 20)):
                pass
            yield number, None


def _jsonl(path: Path) -> Iterator[Transcript | BadLine]:
    for number, line in _lines(path):
        if line is None:
            yield BadLine(str(number), str(path), number, _too_long(MAX_LINE_BYTES))
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            raw = _decode(line)
        except InputError as e:
            yield BadLine(str(number), str(path), number, str(e))
            continue
        yield _one(raw, str(path), number)


def _json(path: Path) -> Iterator[Transcript | BadLine]:
    """A single JSON file: an Inspect log with samples, a list of conversations, or one conversation."""
    name = str(path)
    size = path.stat().st_size
    if size > MAX_LOG_BYTES:
        yield BadLine("1", name, 1, f"a JSON file of {size:,} bytes; at most {MAX_LOG_BYTES:,}: use .eval or JSONL")
        return
    with path.open("rb") as f:
        data = f.read().removeprefix(b"\xef\xbb\xbf")
    try:
        raw = _decode(data)
    except InputError as e:
        # JSON Lines are often named .json; a log or a list is never valid line by line.
        if _first_line_is_object(data):
            yield from _jsonl(path)
        else:
            yield BadLine("1", name, 1, str(e))
        return
    if isinstance(raw, dict) and "messages" not in raw and "eval" in raw:
        samples = cast("dict[str, Any]", raw).get("samples")
        if not isinstance(samples, list) or not samples:
            yield BadLine("1", name, 1, "an Inspect log without samples; write it again with samples logged")
            return
        for i, sample in enumerate(cast("list[Any]", samples), 1):
            yield _sample(sample, name, i)
    elif isinstance(raw, list):
        for i, item in enumerate(cast("list[Any]", raw), 1):
            yield _one(item, name, i)
    else:
        yield _one(raw, name, 1)


def _first_line_is_object(data: bytes) -> bool:
    try:
        return isinstance(_decode(data.lstrip().split(b"\n", 1)[0]), dict)
    except InputError:
        return False


def _eval(path: Path) -> Iterator[Transcript | BadLine]:
    """An Inspect ``.eval`` log: a zip with ``samples/<id>_epoch_<n>.json``, read one sample at a time."""
    name = str(path)
    try:
        with zipfile.ZipFile(path) as z:
            members = sorted(
                (m for m in z.infolist() if m.filename.startswith("samples/") and m.filename.endswith(".json")),
                key=lambda m: m.filename,
            )
            if not members:
                yield BadLine("1", name, 1, "an Inspect log without samples; write it again with samples logged")
            packings: set[int] = set()
            for i, m in enumerate(members, 1):
                label = Path(m.filename).stem
                try:
                    if m.file_size > MAX_SAMPLE_BYTES:
                        raise InputError(
                            f"sample {label} has {m.file_size:,} bytes; at most {MAX_SAMPLE_BYTES:,} are read"
                        )
                    with z.open(m) as f:
                        raw = _decode(_bounded(f, label))
                except NotImplementedError:  # the sample is whole, and this Python cannot read its packing
                    if m.compress_type not in packings:  # said once, not for each of a thousand samples
                        packings.add(m.compress_type)
                        yield BadLine(label, name, i, _packed(label, name, m.compress_type))
                    continue
                except _damage() as e:
                    yield BadLine(label, name, i, f"sample {label} cannot be unpacked ({e}); copy the log again")
                    continue
                except InputError as e:
                    yield BadLine(label, name, i, str(e))
                    continue
                yield _sample(raw, name, i)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as e:
        yield BadLine("1", name, 1, f"not a readable Inspect log ({e}); expected the zip that Inspect writes")


def _damage() -> tuple[type[Exception], ...]:
    """What a damaged sample raises. Where Inspect is loaded, Python unpacks zstd too, with an error of its own."""
    zstd = sys.modules.get("zstandard")
    more: tuple[type[Exception], ...] = () if zstd is None else (zstd.ZstdError,)
    return (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, *more)


def _packed(label: str, log: str, method: int) -> str:
    packing = _PACKINGS.get(method, f"zip method {method}")
    return (
        f"sample {label}, and each like it, is packed with {packing}, which this Python cannot unpack; convert the log: "
        f"inspect log convert --to json --output-dir converted {shlex.quote(log)}"
    )


def _bounded(f: IO[bytes], label: str) -> bytes:
    data = f.read(MAX_SAMPLE_BYTES + 1)  # the size in a zip's directory is only a claim
    if len(data) > MAX_SAMPLE_BYTES:
        raise InputError(f"sample {label} unpacks to more than {MAX_SAMPLE_BYTES:,} bytes; at most that much is read")
    return data


def _sample(raw: Any, file: str, number: int) -> Transcript | BadLine:
    """One Inspect sample; its id carries the epoch where it was run more than once."""
    if not isinstance(raw, dict):
        return BadLine(str(number), file, number, f"sample {number} is {_json_type(raw)}; expected an object")
    sample = cast("dict[str, Any]", raw)
    ident = sample.get("id")
    epoch = sample.get("epoch", 1)
    label = _label(ident, number) if epoch in (1, None) else f"{_label(ident, number)}#{epoch}"
    out: dict[str, Any] = {"id": label, "messages": sample.get("messages")}
    messages = out["messages"]
    if isinstance(messages, list):
        out["messages"] = [_inspect_message(m) for m in cast("list[Any]", messages)]
    return _one(out, file, number)


_INSPECT_OWN = frozenset({"id", "source", "metadata", "model", "internal", "input", "working_start", "timestamp"})


def _inspect_message(raw: Any) -> Any:
    """Drop what Inspect keeps beside the OpenAI fields, so that equal talk has an equal digest."""
    if not isinstance(raw, dict):
        return raw
    return {k: v for k, v in cast("dict[str, Any]", raw).items() if k not in _INSPECT_OWN}


def _decode(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as e:
        raise InputError(f"not UTF-8 text (byte {e.start + 1}); save the file as UTF-8") from None
    except json.JSONDecodeError as e:
        raise InputError(f"broken JSON at character {e.pos + 1} ({e.msg}); expected one JSON object") from None
    except RecursionError:
        raise InputError("JSON nested too deeply to read; expected an object with a list of messages") from None
    except ValueError as e:  # a number with more digits than Python converts
        raise InputError(f"JSON that cannot be read ({e}); expected one JSON object") from None


def _label(ident: Any, number: int) -> str:
    if isinstance(ident, str) and ident:
        return ident
    if isinstance(ident, int) and not isinstance(ident, bool):
        return str(ident)
    return str(number)


def _one(raw: Any, file: str, number: int) -> Transcript | BadLine:
    if not isinstance(raw, dict):
        kind = _json_type(raw)
        return BadLine(str(number), file, number, f"the line is {kind}; expected an object with messages")
    record = cast("dict[str, Any]", raw)
    try:
        label = _label(record.get("id"), number)
    except ValueError:  # an integer id too long to print
        label = str(number)
    try:
        return Transcript(label, _conversation(record), file, number)
    except InputError as e:
        return BadLine(label, file, number, str(e))
    except RecursionError:
        return BadLine(label, file, number, "messages nested too deeply to read; expected text or text parts")


def _conversation(record: Mapping[str, Any]) -> Conversation:
    if "messages" not in record:
        raise InputError("field 'messages' is missing; expected a list of messages with role and content")
    messages = record["messages"]
    if not isinstance(messages, list):
        raise InputError(f"field 'messages' is {_json_type(messages)}; expected a list of messages")
    conversation = Conversation.from_openai(cast("list[Mapping[str, Any]]", messages))
    size = 0
    for i, m in enumerate(conversation, 1):
        try:
            size += len(m.content.encode())
        except UnicodeEncodeError:
            raise InputError(f"message {i}: half of a surrogate pair, which is no character; mend the escape") from None
        if size > MAX_TEXT_BYTES:
            raise InputError(_too_long(MAX_TEXT_BYTES))
        if m.role in ("assistant", "user") and not m.content.strip() and not _calls_tools(m.fields):
            raise InputError(f"message {i}: content of the {m.role} is empty; expected text")
    if not any(m.role == "assistant" and m.content.strip() for m in conversation):
        raise InputError("no assistant turn with text; there is nothing to watch in this conversation")
    return conversation


def _calls_tools(fields: Mapping[str, Any]) -> bool:
    """An assistant that only calls a tool says nothing, and that is in order."""
    return bool(fields.get("tool_calls")) or bool(fields.get("function_call"))


def _too_long(limit: int) -> str:
    return f"over {limit:,} bytes of text in one conversation; split it, or leave it out"


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"
