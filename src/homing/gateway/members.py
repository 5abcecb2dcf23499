"""Members of a JSON object by where they stand in its text, so that one can be taken out and nothing else changes."""

from __future__ import annotations

import json
import re
from typing import Any

from homing.gateway.problems import WireError

__all__ = ["without"]


def without(raw: bytes, name: str) -> bytes:
    """A JSON object without one member; every other byte as it was. The same bytes where it has none.

    Raises:
        WireError: it is no JSON object, or names a member twice, so that two readers might see two requests.
    """
    try:
        text = raw.decode()
        spans = _members(text)
    except (ValueError, RecursionError, IndexError):
        raise WireError(400, "the body must be one JSON object") from None
    names = [n for n, _, _ in spans]
    twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if twice is not None:
        raise WireError(400, f"{twice[:80]} is named twice; name it once", param=twice[:80])
    if name not in names:
        return raw
    kept = [text[a:b] for n, a, b in spans if n != name]
    head, tail = text[: text.index("{") + 1], text[text.rindex("}") :]
    return (head + ",".join(kept) + tail).encode()


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _members(text: str) -> list[tuple[str, int, int]]:
    """The members of a JSON object: name, and where the text of each begins and ends.

    Raises:
        ValueError, IndexError: it is none.
    """
    read = json.JSONDecoder(parse_constant=_no_constant).raw_decode
    space = re.compile(r"[ \t\n\r]*")

    def after(at: int) -> int:
        found = space.match(text, at)
        return found.end() if found is not None else at

    def take(at: int, mark: str) -> int:
        if text[at] not in mark:
            raise ValueError(f"no {mark} at {at}")
        return at + 1

    out: list[tuple[str, int, int]] = []
    at = take(after(0), "{")
    while text[after(at)] != "}" or out:
        begin = at
        name, end = read(text, after(at))
        if not isinstance(name, str):
            raise ValueError("a name is no text")
        _, end = read(text, after(take(after(end), ":")))
        at = after(end)
        out.append((name, begin, at))
        at = take(at, ",}")
        if text[at - 1] == "}":
            at -= 1
            break
    if after(take(after(at), "}")) != len(text):
        raise ValueError("something follows the object")
    return out
