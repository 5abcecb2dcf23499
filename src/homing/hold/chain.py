"""Compose stabilisers into one, find them by name, and the sham that does nothing at the same cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any, cast

from homing.errors import InputError
from homing.hold.base import Next, Stabiliser, Trait, Turn, last, passed, trait
from homing.models.base import Capability, ChatModel, Event
from homing.plugins import chosen, found

__all__ = ["ENTRY_POINTS", "Sham", "around", "available", "build", "get", "held", "traits"]

ENTRY_POINTS = "homing.stabilisers"
Factory = Callable[..., Stabiliser]


@dataclass(frozen=True, slots=True)
class Sham:
    """Does nothing, through the same machinery: what it seems to do is the error of the measurement."""

    @property
    def name(self) -> str:
        return "sham"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event


@trait("lasting")
def sham() -> Sham:
    """The stabiliser that does nothing."""
    return Sham()


def held(model: ChatModel, turn: Turn, stabilisers: Sequence[Stabiliser] = ()) -> AsyncIterator[Event]:
    """The events of one turn under a chain of stabilisers, the first outermost.

    Raises:
        InputError: a stabiliser needs something that the model cannot do.
    """
    for s in stabilisers:
        missing = s.needs - model.capabilities
        if missing:
            raise InputError(
                f"hold {s.name!r} needs {', '.join(sorted(missing))}, which {model.name} cannot do; use a local model"
            )
    return around(model, stabilisers, last(model))(turn)


def around(model: ChatModel, stabilisers: Sequence[Stabiliser], inner: Next) -> Next:
    """One step made of a chain of stabilisers, the first outermost, around the step that replies."""
    step = inner
    for s in reversed(stabilisers):
        step = _around(s, model, step)
    return step


def _around(stabiliser: Stabiliser, model: ChatModel, inner: Next) -> Next:
    def run(turn: Turn) -> AsyncIterator[Event]:
        return stabiliser(turn, model=model, next=inner)

    return run


@cache
def _registry() -> dict[str, Any]:
    """Name to where its factory lies: a file of this room that names STABILISERS, then the entry points of others."""
    return found("homing.hold", "STABILISERS", ENTRY_POINTS)


def available() -> tuple[str, ...]:
    """The names of every stabiliser there is."""
    return tuple(sorted(_registry()))


def get(name: str) -> Factory:
    """The factory of a stabiliser; its arguments are its own.

    Raises:
        InputError: unknown name; the message lists those there are. Or a plug-in that fails to load; named.
    """
    return cast("Factory", chosen(name, _registry(), "hold"))


def traits(names: str) -> list[frozenset[Trait]]:
    """Of a chain by name, what each of its holds said of itself with :func:`homing.hold.base.trait`.

    Raises:
        InputError: as :func:`get`.
    """
    return [] if names == "none" else [getattr(get(n), "traits", frozenset()) for n in names.split("+")]


def build(names: str, **kit: Any) -> tuple[Stabiliser, ...]:
    """A chain by name, such as ``heal+cap``, the first outermost; ``none`` is an empty one.

    Args:
        kit: what an identity has for holds, by the names of factories' parameters: ``cap``, ``opening``. Each factory is
            given what it asks for.

    Raises:
        InputError: an unknown name, or a hold that needs what the identity does not have.
    """
    if names == "none":
        return ()
    out: list[Stabiliser] = []
    for name in names.split("+"):
        factory = get(name)
        wanted = signature(factory).parameters
        given = {k: v for k, v in kit.items() if k in wanted and v is not None}
        missing = [k for k, p in wanted.items() if p.default is p.empty and k not in given]
        if missing:
            raise InputError(
                f"hold {name!r} needs a {missing[0]}, and this identity has none; make one with: homing map MODEL --out DIR"
            )
        out.append(factory(**given))
    return tuple(out)


STABILISERS: dict[str, Factory] = {"sham": sham}
