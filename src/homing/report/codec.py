"""Frozen dataclasses to plain JSON and back, checked field by field against their own annotations."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from homing.errors import InputError
from homing.stats.estimate import Estimate

__all__ = ["decode", "encode"]

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Plain JSON of a value made of dataclasses, tuples, text, numbers and None; NaN and infinities become null."""
    if isinstance(value, Estimate):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [encode(v) for v in cast("tuple[Any, ...]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def decode(kind: type[T], raw: Any, *, where: str = "report data") -> T:
    """The inverse of :func:`encode` for the dataclass ``kind``.

    Raises:
        InputError: names the field that is missing, unknown or of another type.
    """
    if not isinstance(raw, Mapping):
        raise InputError(f"{where} is {type(raw).__name__}; it must be an object")
    given = cast("Mapping[str, Any]", raw)
    if kind is Estimate:
        try:
            return cast("T", Estimate.from_json(dict(given)))
        except (KeyError, TypeError, ValueError) as e:
            raise InputError(f"{where} is not a figure: {e!r}; it needs value, low, high, level and n") from None
    hints = _hints(kind)
    unknown = sorted(set(given) - set(hints))
    if unknown:
        raise InputError(f"{where} has the unknown field {unknown[0]!r}; known are {', '.join(hints)}")
    missing = [
        f.name
        for f in fields(cast("Any", kind))
        if f.name not in given and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise InputError(f"{where} lacks the field {missing[0]!r}")
    return kind(**{k: _value(hints[k], v, f"{where}.{k}") for k, v in given.items()})


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _value(hint: Any, raw: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _union(get_args(hint), raw, where)
    if origin is Literal:
        if raw not in get_args(hint):
            raise InputError(f"{where} is {raw!r}; it must be one of {', '.join(map(repr, get_args(hint)))}")
        return raw
    if origin is tuple:
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            raise InputError(f"{where} is {type(raw).__name__}; it must be a list")
        item = get_args(hint)[0]
        return tuple(_value(item, v, f"{where}[{i}]") for i, v in enumerate(cast("Sequence[Any]", raw)))
    if is_dataclass(hint):
        return decode(cast("type[Any]", hint), raw, where=where)
    if hint is float:
        if raw is None:
            return math.nan
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise InputError(f"{where} is {type(raw).__name__}; it must be a number")
        return float(raw)
    if not isinstance(raw, hint) or (hint is int and isinstance(raw, bool)):
        raise InputError(f"{where} is {type(raw).__name__}; it must be {hint.__name__}")
    return raw


def _union(options: tuple[Any, ...], raw: Any, where: str) -> Any:
    if raw is None and type(None) in options:
        return None
    rest = [o for o in options if o is not type(None)]
    if isinstance(raw, Mapping):  # an object belongs to the first dataclass whose fields cover its keys
        keys = set(cast("Mapping[str, Any]", raw))
        shapes = [o for o in rest if is_dataclass(o)]
        rest = [o for o in shapes if keys <= {f.name for f in fields(o)}] or shapes
    elif isinstance(raw, Sequence) and not isinstance(raw, str):
        rest = [o for o in rest if get_origin(o) is tuple]
    if not rest:
        raise InputError(f"{where} is {type(cast('object', raw)).__name__}, which fits none of its kinds")
    return _value(rest[0], raw, where)
