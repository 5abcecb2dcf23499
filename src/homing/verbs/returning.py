"""return: does a conversation that was pushed come back by itself, and how much of the way does each hold bring it?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from homing.conversation import Message
from homing.errors import InputError, Interrupted
from homing.hold.base import Stabiliser
from homing.hold.cap import Cap
from homing.hold.chain import build
from homing.identity import Identity
from homing.identity.work import Unit, WorkDir
from homing.instruments.base import Cell, PresetName, Scored
from homing.instruments.home_return import PRESETS, HomeReturn
from homing.instruments.overlap import overlapping, own_words
from homing.instruments.playing import play_cells, side_by_side
from homing.instruments.pushes import PushName, load_pushes
from homing.instruments.return_arms import Arms
from homing.instruments.return_faces import Inside, agreement, inside_alarms
from homing.instruments.return_figures import findings, qualifies
from homing.instruments.return_shares import shares
from homing.models.base import ChatModel
from homing.models.sources import EngineName
from homing.persona.outside import load_outside
from homing.stats.estimate import Cost, Finding
from homing.verbs.abreast import Play, play_abreast, unit_of
from homing.verbs.home import SECTION, home_model, opening_of, outside_of
from homing.verbs.map import facts
from homing.verbs.plan import shipped_digest
from homing.verbs.progress import Progress, Silent
from homing.verbs.providers import open_any
from homing.verbs.return_faces import has_inside, inside_of, read_inside
from homing.verbs.watch import Home, cap_of

__all__ = ["HOLDS", "ReturnPlan", "return_model", "run_return", "write_return"]

SCHEMA = "homing.return/1"
UNIT = 8
"""Conversations that are played together and kept together: asked much, so few make minutes, and more save little."""
HOLDS = (
    "sham", "fresh", "recap", "remind", "self_return", "irrelevant_note", "heal", "heal_bland", "mediate", "ground", "commit",
)  # fmt: skip
"""Tried where none are named; with an identity that has a cap, ``cap`` and ``heal+cap`` too."""
SMOKE = ("fresh", "heal")
"""The same for the smallest preset; with a cap, ``cap`` too."""


class ReturnPlan:
    """What ``homing return`` will do.

    Args:
        model: as the user named it. ``holds``: chains by name, ``none`` left out. ``preset``: how much is played.
        identity: whose home and cap are used; None: home is measured first, and there is no cap.
        out: where work is kept. ``pushes``: these alone, whether the preset has them or not; empty: its own.
    """

    def __init__(
        self,
        model: str,
        *,
        out: Path,
        preset: str = "smoke",
        holds: Sequence[str] = (),
        identity: Identity | None = None,
        home: Path | None = None,
        pushes: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        if preset not in get_args(PresetName):
            raise InputError(f"preset {preset!r} is unknown; use one of {', '.join(get_args(PresetName))}")
        self.model, self.out, self.seed, self.identity = model, Path(out), seed, identity
        self.preset: PresetName = cast("PresetName", preset)
        self.opening: tuple[Message, ...] = opening_of(identity, home)
        self.cap: Cap | None = None if identity is None else cap_of(identity)
        small = preset == "smoke"
        capped = () if self.cap is None else ("cap",) if small else ("cap", "heal+cap")
        usual = (*(SMOKE if small else HOLDS), *capped)
        self.holds = tuple(dict.fromkeys(h for h in (holds or usual) if h != "none"))
        for h in self.holds:
            self.chain(h)
        for p in pushes:
            load_pushes(cast("PushName", p))  # refuses one that is unknown
        self.size = PRESETS[self.preset]
        if pushes:
            self.size = replace(self.size, pushes=cast("tuple[PushName, ...]", tuple(dict.fromkeys(pushes))))

    def chain(self, name: str) -> tuple[Stabiliser, ...]:
        """The holds of a chain by name.

        Raises:
            InputError: an unknown hold, or one that needs what the identity does not have.
        """
        return build(name, cap=self.cap, opening=self.opening)


def run_return(
    plan: ReturnPlan,
    *,
    progress: Progress | None = None,
    engine: EngineName = "auto",
    threads: int | None = None,
    slots: int | None = None,
) -> dict[str, Any]:
    """Carry out a plan; finished work in ``plan.out`` is gone on with.

    Returns:
        What ``homing return --json`` prints.

    Raises:
        Interrupted: Ctrl-C; everything finished is kept. HomingError: whatever the stages refuse.
    """

    async def run() -> dict[str, Any]:
        model = open_any(plan.model, out=plan.out / "work-return", engine=engine, threads=threads, slots=slots)
        try:
            return await return_model(model, plan, progress=progress)
        finally:
            await model.close()

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; what is finished is kept in {plan.out}: run the same command to go on") from None


def write_return(found: dict[str, Any], path: Path) -> Path:
    """Write one HTML page about what was found.

    Raises:
        InputError: the file cannot be written.
    """
    from homing.report.render import write_page
    from homing.report.returning import render_return

    return write_page(render_return(found), path)


async def return_model(model: ChatModel, plan: ReturnPlan, *, progress: Progress | None = None) -> dict[str, Any]:
    """The same on a model that is open."""
    told, identity = progress or Silent(), plan.identity
    if identity is not None:
        identity.on(model.info.fingerprint, origin=model.info.origin, what=plan.model)
    step = side_by_side(model, UNIT, long=True)
    units = {
        "content": shipped_digest("instruments"),
        "opening": [[m.role, m.content] for m in plan.opening],
        "seed": plan.seed,
        "preset": plan.preset,
        "unit": step,
        "model": facts(model.info, plan.model),
        "identity": plan.identity.digest if plan.identity is not None else None,
    }
    with WorkDir(plan.out / "work-return", units) as work:
        if plan.identity is not None and SECTION in plan.identity.sections:
            home = outside_of(plan.identity)
        else:
            home = await home_model(model, work, opening=plan.opening, seed=plan.seed, progress=told)
        if not home.measurable:
            reason = home.checks["outside.qualified"].reason
            return _result(plan, [], [Finding("return", regime="not_measurable", reason=reason)])
        if plan.cap is not None and any("cap" in h.split("+") for h in plan.holds) and plan.identity is not None:
            await Home.of(plan.identity).prove(model, "cap")
        items = load_outside()
        barred = {h: overlapping(own_words(plan.chain(h)), items) for h in plan.holds}
        experiment = HomeReturn(home, items, preset=plan.size, scores="score" in model.capabilities, barred=barred)
        scored, faces = list[Scored](), dict[tuple[str, str], Inside]()
        parts: list[tuple[str, str, list[Play]]] = []
        for push in plan.size.pushes:
            for hold in ("none", *plan.holds):
                cells = experiment.cells(preset=plan.preset, seed=plan.seed, hold=hold)
                mine = [c for c in cells if c.data["push"] == push]
                plays = [
                    Play(f"{push}-{hold}-{k}", experiment, mine[k : k + step], lambda h=hold: plan.chain(h))
                    for k in range(0, len(mine), step)
                ]
                parts.append((hold, push, plays))
        every = [p for _, _, plays in parts for p in plays]
        total = sum(len(p.cells) for p in every)
        told.start(total=total, unit="conversations", title=f"pushing {plan.model} and seeing whether it comes back")
        ahead = await play_abreast(model, work, every, told)
        for hold, push, plays in parts:
            told.stage(f"{push}, {'nothing done' if hold == 'none' else hold}")
            played: list[tuple[Cell, dict[str, Any]]] = []
            for p in plays:
                unit = await work.do(p.name, lambda h=hold, c=p.cells: _played(experiment, model, plan, h, c))
                told.advance(0 if p.name in ahead else len(p.cells))
                for cell, (record, cost) in zip(p.cells, unit.data, strict=True):
                    got = experiment.score(cell, record, hold=hold)
                    scored.append(Scored(cell, hold, got.values, cost=Cost(**cost)))
                    played.append((cell, record))
            if hold == "none" and identity is not None and has_inside(identity):
                told.stage(f"{push}, the inside face")
                seen = await work.do(f"{push}-inside", lambda p=played, i=identity: read_inside(model, i, p))
                faces |= inside_of(seen.data)
    return _result(plan, scored, [], faces)


async def _played(experiment: HomeReturn, model: ChatModel, plan: ReturnPlan, hold: str, cells: Sequence[Cell]) -> Unit:
    played = await play_cells(experiment, cells, model, plan.chain(hold), keep=hold)
    return unit_of(played)


def _result(
    plan: ReturnPlan,
    scored: Sequence[Scored],
    instead: list[Finding],
    faces: Mapping[tuple[str, str], Inside] | None = None,
) -> dict[str, Any]:
    arms = Arms(scored)
    found = [*instead, *(qualifies(arms, p) for p in arms.pushes), *(findings(scored) if scored else [])]
    if faces:
        found += [f(arms, p, faces) for p in arms.asked for f in (agreement, inside_alarms)]

    def curve(kind: str) -> dict[str, Any]:
        return {f.name.split(".")[-1]: f.to_json() for f in found if f.name.startswith(f"return.{kind}.")}

    return {
        "schema": SCHEMA,
        "model": plan.model,
        "preset": plan.preset,
        "qualifies": curve("qualifies"),
        "restoring": curve("restoring"),
        "tether": curve("tether"),
        "arms": [s.to_json() for p in arms.asked for h in arms.holds for s in shares(arms, p, h)],
        "findings": [f.to_json() for f in found],
    }
