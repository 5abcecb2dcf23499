"""The body of a request: so many bytes, in time, and JSON that is not too deep."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from starlette.requests import Request

from homing.gateway.problems import WireError

__all__ = ["body_of", "json_of", "raw_of"]

BODY_SECONDS = 60.0
"""Longest that a body may take to come."""
DEEPEST = 64
"""Levels of brackets in a body, at most."""


def _no_constant(name: str) -> Any:
    raise WireError(400, f"the body holds {name}, which is no JSON")


async def body_of(request: Request, most: int) -> Any:
    """The JSON of a body; raises as :func:`raw_of` and :func:`json_of` do."""
    return json_of(await raw_of(request, most))


async def raw_of(request: Request, most: int) -> bytes:
    """The bytes of a body.

    Raises:
        WireError: 413, there are more than ``most``; 408, they do not come.
    """
    length = request.headers.get("content-length", "")
    parts: list[bytes] = []
    size = int(length) if length.isdecimal() and len(length) < 16 else 0
    if size <= most:
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        break
                    parts.append(chunk)
        except TimeoutError:
            told = f"the body did not come within {BODY_SECONDS:g} s; send it at once"
            raise WireError(408, told, headers={"Connection": "close"}) from None
    if size > most:
        raise WireError(413, f"the body is longer than {most:,} bytes; shorten it", code="body_too_large")
    return b"".join(parts)


def json_of(raw: bytes) -> Any:
    """The JSON that some bytes are.

    Raises:
        WireError: 400, they are none.
    """
    try:
        text = raw.decode()
        depth = _depth(text) if text.count("[") + text.count("{") > DEEPEST else 0
        if depth > DEEPEST:
            raise WireError(400, f"the body nests {depth} levels deep; {DEEPEST} are read")
        return json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise WireError(400, "the body is not UTF-8") from None
    except ValueError as e:
        raise WireError(400, f"the body is no JSON: {str(e)[:120]}") from None


def _depth(text: str) -> int:
    """Brackets that stand open at once, at most, outside strings."""
    depth = most = 0
    for c in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if c in "[{" else -1
        most = max(most, depth)
    return most
