"""What went wrong at a provider, in one sentence that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import cast

__all__ = ["plain", "sentence", "status_of"]

LONGEST = 200
_MARKUP = re.compile(r"\[/?(?:bold|blue|red|italic|/)*\]")
_CONNECTION = ("connect", "connection", "readerror", "remoteprotocol", "writeerror")
_TIMEOUT = ("timeout", "timedout")
_SHAPE = (TypeError, AttributeError, KeyError, IndexError, ValueError)
"""What a client raises that reads a body which is no completion."""


def causes(e: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, the outermost first; attempts that were given up give their last one."""
    seen: set[int] = set()
    now: BaseException | None = e
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        last = getattr(now, "last_attempt", None)
        now = (last.exception() if last is not None else None) or now.__cause__ or now.__context__


def status_of(e: BaseException) -> int | None:
    """The HTTP status of an error, or of what it came from."""
    for cause in causes(e):
        for holder in (cause, getattr(cause, "response", None)):
            status = getattr(holder, "status_code", None)
            if isinstance(status, int):
                return status
    return None


def plain(text: object) -> str:
    """On one line, without markup, not too long."""
    line = " ".join(_MARKUP.sub("", str(text)).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST].rstrip()}..."


def sentence(e: BaseException, model: str, *, where: str = "") -> str:
    """What is wrong, where, and what to do.

    Args:
        model: as Inspect names it. ``where``: the address, where it is known.
    """
    at = f"{model} at {where}" if where else model
    status = status_of(e)
    if status is not None:
        return f"{at} {_by_status(status, e)}"
    names = [type(c).__name__.lower() for c in causes(e)]
    if any(word in n for n in names for word in _TIMEOUT):
        return f"{at} does not answer in time; see that it runs and is not overloaded"
    if any(word in n for n in names for word in _CONNECTION) or any(isinstance(c, OSError) for c in causes(e)):
        return f"{at} cannot be reached, or closes the connection ({_deepest(e)}); see that it runs and that the address is right"
    if any(isinstance(c, _SHAPE) for c in causes(e)) or any("completion" in str(c).lower() for c in causes(e)):
        return (
            f"{at} answers with something that is no completion ({_deepest(e)}); give an address that speaks its wire"
        )
    return f"{at} does not answer ({_deepest(e)}); mend that"


def _by_status(status: int, e: BaseException) -> str:
    if status in (401, 403):
        return f"refuses the key (status {status}); set the right one in its environment variable"
    if status == 404:
        return f"has no such model or no such address (status {status}); check both"
    if status == 429:
        return f"stays busy (status {status}); wait, or raise its limits"
    if status >= 500:
        return f"keeps failing (status {status}); see that it runs"
    return f"refuses what it is asked (status {status}: {_deepest(e)})"


def _deepest(e: BaseException) -> str:
    """What the service says of it, else the last of the causes that says anything."""
    for c in causes(e):
        body = getattr(c, "body", None)
        if isinstance(body, Mapping) and "message" in body:
            return plain(cast("Mapping[str, object]", body)["message"])
    said = [plain(c) for c in causes(e) if str(c).strip()]
    return said[-1] if said else type(e).__name__
