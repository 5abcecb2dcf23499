"""home: ask a model who it is, try the questions on it, and write the outside face into an identity."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homing.conversation import Conversation, Message
from homing.errors import InputError, Interrupted
from homing.identity import Identity, Section
from homing.identity.work import Unit, WorkDir
from homing.models.base import ChatModel
from homing.models.sources import EngineName
from homing.persona.outside import Answers, OutsideItem, answers, load_outside
from homing.persona.outside_home import VERSION, OutsideHome, load_planted, measure_outside
from homing.persona.roles import load_home
from homing.verbs.map import facts
from homing.verbs.plan import shipped_digest
from homing.verbs.progress import Progress, Silent
from homing.verbs.providers import open_any

__all__ = ["SECTION", "home_model", "opening_of", "outside_of", "run_home"]

SECTION = "outside"
SCHEMA = "homing.home/1"


def opening_of(identity: Identity | None, home: Path | None) -> tuple[Message, ...]:
    """Messages before the first user turn at home: those of an identity, of a file, or none.

    Raises:
        InputError: a home file is given and the identity says another thing.
    """
    of_file = None if home is None else load_home(home)[0].conversation("").messages[:-1]
    if identity is None or "persona" not in identity.sections:
        return of_file or ()
    data = identity.section("persona").data
    head = () if data["home_system"] is None else (Message("system", data["home_system"]),)
    own = (*head, *(Message(m[0], m[1]) for m in data["home_messages"]))
    if of_file is not None and of_file != own:
        raise InputError(
            f"home in {home} is not the one that this identity was mapped with; leave --home out, or map with it first"
        )
    return own


def outside_of(identity: Identity) -> OutsideHome:
    """The outside face that an identity holds.

    Raises:
        IdentityError: it has none. InputError: the section cannot be read.
    """
    section = identity.section(SECTION)
    return OutsideHome.from_section(section.data, {k: np.asarray(v, np.float64) for k, v in section.arrays.items()})


async def home_model(
    model: ChatModel,
    work: WorkDir,
    *,
    opening: tuple[Message, ...] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> OutsideHome:
    """Measure the outside face; what is answered is kept in ``work`` and not asked again."""
    items, told = load_outside(), progress or Silent()
    total, done = (2 + len(load_planted())) * len(items), 0  # at most: what does not qualify is asked less often
    told.start(total=total, unit="items", title=f"asking {model.name} who it is")

    async def ask(name: str, conversation: Conversation, some: Sequence[OutsideItem]) -> Answers:
        unit = await work.do(f"outside-{name}", lambda: _answered(model, conversation, some))
        nonlocal done
        done += len(some)
        told.advance(len(some))
        return Answers(tuple(i.id for i in some), tuple(i.facet for i in some), unit.arrays["a"], unit.arrays["b"])

    found = await measure_outside(model, items, opening=opening, seed=seed, ask=ask)
    told.advance(total - done)
    return found


async def _answered(model: ChatModel, conversation: Conversation, items: Sequence[OutsideItem]) -> Unit:
    found = await answers(model, conversation, items)
    return Unit({"digest": conversation.digest}, {"a": found.a, "b": found.b})


def run_home(
    name: str,
    out: Path,
    *,
    home: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    engine: EngineName = "auto",
    threads: int | None = None,
    slots: int | None = None,
) -> dict[str, Any]:
    """Measure the outside face of a model and write it into the identity in ``out``, which is made if it is not there.

    Returns:
        What ``homing home --json`` prints.

    Raises:
        InputError: home is another one than the identity's, or ``out`` cannot be written. IdentityError: the identity is
            another model's. Interrupted: Ctrl-C; what is answered is kept.
    """
    out = Path(out)
    identity = Identity.load(out) if (out / "identity.json").is_file() else None
    opening = opening_of(identity, home)

    async def run() -> dict[str, Any]:
        model = open_any(name, out=out / "work-home", engine=engine, threads=threads, slots=slots)
        try:
            mine = facts(model.info, name)
            if identity is not None:
                identity.on(model.info.fingerprint, what=name)  # refuses another model's identity before any work
            plan = {
                "outside": shipped_digest(),
                "opening": [[m.role, m.content] for m in opening],
                "seed": seed,
                "model": mine,
            }
            with WorkDir(out / "work-home", plan) as work:
                found = await home_model(model, work, opening=opening, seed=seed, progress=progress)
            data, arrays = found.to_section()
            section = Section(VERSION, data, arrays)
            base = identity or Identity(mine)
            made = _put(base, model.info.fingerprint, section)
            made.save(out)
            return _told(found, out, name, made.digest)
        finally:
            await model.close()

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; what is answered is kept in {out}: run the same command to go on") from None


def _put(identity: Identity, fingerprint: str, section: Section) -> Identity:
    """The identity with a section put into the measurement of these weights."""
    if identity.model["fingerprint"] == fingerprint:
        return identity.with_section(SECTION, section)
    also = [i.with_section(SECTION, section) if i.model["fingerprint"] == fingerprint else i for i in identity.also]
    return Identity(identity.model, identity.sections, identity.volatile, also)


def _told(found: OutsideHome, out: Path, name: str, digest: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "out": str(out),
        "model": name,
        "digest": digest,
        "items": len(found.p),
        "qualified": len(found.qualified),
        "short": list(found.short),
        "findings": [f.to_json() for f in found.checks.values()],
    }
