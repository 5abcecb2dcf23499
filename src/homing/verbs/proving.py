"""test: measure claims on a model, with nothing done and with holds on the same cells, so that what a hold does is paired."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast, get_args

from homing.conversation import Message
from homing.errors import IdentityError, InputError, Interrupted
from homing.hold.base import Stabiliser
from homing.hold.cap import Cap
from homing.hold.chain import build
from homing.hold.commit import seeded
from homing.identity import Identity
from homing.identity.container import canonical
from homing.identity.work import Unit, WorkDir
from homing.instruments.base import AtHome, Cell, Gated, Instrument, PresetName, Scored, Supplied
from homing.instruments.playing import play_cells
from homing.instruments.registry import available, get
from homing.models.base import ChatModel
from homing.models.sources import EngineName, locate, open_model
from homing.stats.estimate import Cost, Finding
from homing.stats.seeds import stable_seed
from homing.verbs.abreast import Play, play_abreast, play_arms, unit_of
from homing.verbs.home import opening_of
from homing.verbs.map import facts
from homing.verbs.plan import shipped_digest
from homing.verbs.planning import Budget, Price, planned, price_of, sizes_of, within
from homing.verbs.progress import Progress, Silent
from homing.verbs.providers import is_provider, open_any, through_inspect
from homing.verbs.rehearsal import Load, Rehearsal
from homing.verbs.watch import Home, cap_of

__all__ = ["TestPlan", "at_home", "run_test", "test_model"]

SCHEMA = "homing.test/1"
UNIT = 32
"""Cells played side by side, and kept or lost together."""


class TestPlan:
    """What ``homing test`` will do.

    Args:
        model: as the user named it. ``only``: instruments by name; empty: all. ``holds``: chains by name; empty: for each
            instrument the one that answers it, and ``none`` alone for no hold.
        preset: how much; ``precision``, a wanted half width, or ``budget``, as ``2000``, ``30min`` or ``200ktok``, chooses how
            many items instead. ``out``: where work is kept. ``identity``: whose cap and opening holds are given; None: neither.
        anchor_model: another model, such as an earlier checkpoint, for instruments and holds that ask one; None: they have none.
    """

    __test__ = False  # no test of pytest's, whatever its name begins with

    def __init__(
        self,
        model: str,
        *,
        out: Path,
        only: Sequence[str] = (),
        holds: Sequence[str] = (),
        preset: str = "smoke",
        identity: Identity | None = None,
        seed: int = 0,
        precision: float | None = None,
        budget: str | None = None,
        anchor_model: str | None = None,
    ) -> None:
        if preset not in get_args(PresetName):
            raise InputError(f"preset {preset!r} is unknown; use one of {', '.join(get_args(PresetName))}")
        self.model, self.out, self.seed, self.identity = model, Path(out), seed, identity
        self.preset: PresetName = cast("PresetName", preset)
        self.anchor_model = anchor_model
        self.anchor: ChatModel | None = None  # from when it is opened
        self.instruments: dict[str, Instrument] = {n: get(n) for n in (dict.fromkeys(only) or available())}
        self.opening: tuple[Message, ...] = opening_of(identity, None)
        self.cap: Cap | None = None if identity is None else cap_of(identity)
        self.holds_of = {n: _holds(holds or i.holds[:1]) for n, i in self.instruments.items()}
        self.holds = tuple(dict.fromkeys(h for mine in self.holds_of.values() for h in mine))
        for h in self.holds:
            self.chain(h)
        self.rehearsal = Rehearsal(
            preset=self.preset, seed=seed, holds=self.holds_of, chain=self.chain, anchored=anchor_model is not None
        )
        self.sized = precision is not None or budget is not None
        if precision is not None and budget is not None:
            raise InputError(
                "both a precision and a budget are given, and each says how many items there are; give one"
            )
        if precision is not None:
            self.instruments = planned(self.instruments, self.preset, self.holds, precision=precision)
        if budget is not None:
            self.instruments = within(
                self.instruments,
                self.preset,
                self.holds,
                budget=Budget.of(budget),
                rehearsal=self.rehearsal,
                price=self._price,
            )

    def _price(self, load: Load) -> Price:
        return price_of(load, provider=self.model.partition("/")[0] if is_provider(self.model) else None)

    @property
    def sizes(self) -> dict[str, int | None]:
        """Items of each instrument where they were planned; empty where the preset says them."""
        return (
            {n: s.items for n, s in sizes_of(self.instruments, self.preset, self.holds).items()} if self.sized else {}
        )

    @property
    def supplied(self) -> dict[str, str]:
        """Of instruments that play what a user brought, a digest of it."""
        brought = {n: i.supplied for n, i in self.instruments.items() if isinstance(i, Supplied)}
        return {n: sha256(text.encode()).hexdigest()[:16] for n, text in brought.items() if text}

    @property
    def logs(self) -> Path:
        """Where Inspect keeps its logs. It tells tasks apart by name and model alone, so what differs in more lies elsewhere."""
        told = {
            k: v for k, v in (("sizes", self.sizes), ("supplied", self.supplied), ("anchor", self.anchor_model)) if v
        }
        tag = stable_seed(*(canonical(v) for v in told.values())) if told else 0
        return self.out / "logs" / (f"{self.preset}-{self.seed}" + (f"-{tag:08x}" if tag else ""))

    def chain(self, name: str) -> tuple[Stabiliser, ...]:
        """The holds of a chain by name.

        Raises:
            InputError: an unknown hold, or one that needs what the identity does not have.
        """
        # secrets that are drawn from the seed: a test repeats, and nothing in it is worth keeping
        return build(name, cap=self.cap, opening=self.opening, entropy=seeded(self.seed), judge=self.anchor)

    def units(self) -> Iterator[Play]:
        """Units of work in their order; of a gated instrument its gates."""
        for name, instrument in self.instruments.items():
            for hold in self.holds_of[name]:
                cells = instrument.cells(preset=self.preset, seed=self.seed, hold=hold)
                if isinstance(instrument, Gated):
                    gates = [c for c in cells if instrument.gates(c)]
                    yield from self._in_units(f"{name}-{hold}-gate", instrument, hold, gates)
                else:
                    yield from self._in_units(f"{name}-{hold}", instrument, hold, cells)

    def rest(self, scored: Mapping[str, Sequence[Scored]]) -> Iterator[Play]:
        """What lies behind gates, as far as it can still tell something. ``scored``: gates, by instrument."""
        for name, instrument, hold, cells in self._behind():
            yield from self._in_units(f"{name}-{hold}-rest", instrument, hold, instrument.left(cells, scored[name]))

    def _in_units(self, name: str, instrument: Instrument, hold: str, cells: Sequence[Cell]) -> Iterator[Play]:
        """Cells in parts; under a hold those are together that are together with nothing done."""
        free = instrument.cells(preset=self.preset, seed=self.seed, hold="none")
        at = {c.id: k // UNIT for k, c in enumerate(free)}
        parts: dict[int, list[Cell]] = {}
        for k, c in enumerate(cells):
            parts.setdefault(at.get(c.id, (len(free) + k) // UNIT), []).append(c)
        for part, some in parts.items():
            yield Play(f"{name}-{part}", instrument, some, lambda: self.chain(hold), part, hold)

    def behind(self) -> dict[str, int]:
        """Of gated instruments, how many cells lie behind their gates."""
        out: dict[str, int] = {}
        for name, *_, cells in self._behind():
            out[name] = out.get(name, 0) + len(cells)
        return out

    def _behind(self) -> Iterator[tuple[str, Gated, str, list[Cell]]]:
        for name, instrument in self.instruments.items():
            if isinstance(instrument, Gated):
                for hold in self.holds_of[name]:
                    cells = instrument.cells(preset=self.preset, seed=self.seed, hold=hold)
                    yield name, instrument, hold, [c for c in cells if not instrument.gates(c)]

    def describe(self) -> list[str]:
        """The plan in lines for a person."""
        loads = {n: self.rehearsal.load_of(n, i) for n, i in self.instruments.items()}
        said = ", ".join(f"{n} {load.cells:.0f}" for n, load in loads.items())
        sizes = sizes_of(self.instruments, self.preset, self.holds)
        items = ", ".join(f"{n} {s.items} ({s.half_width:.2f})" for n, s in sizes.items() if s.items)
        kept = ", ".join(n for n, s in sizes.items() if not s.items)
        beside = f"; anchored by {self.anchor_model}" if self.anchor_model else ""
        lines = [
            f"{self.model}, preset {self.preset}, seed {self.seed}, holds {', '.join(self.holds)}: {said} conversations{beside}"
        ]
        if behind := self.behind():
            some = ", ".join(f"{n} of {name}" for name, n in behind.items())
            lines.append(f"at most: {some} only where what is asked first shows that they can tell something")
        if items:
            lines.append(f"items, and the half width of a 95% interval that they allow for at worst: {items}")
        if self.sized and kept:
            lines.append(f"of the preset's size, since it cannot be planned: {kept}")
        return [*lines, self._price(sum(loads.values(), Load())).describe()]


def _holds(asked: Sequence[str]) -> tuple[str, ...]:
    """Nothing done first, then a sham, then what was asked for; nothing done alone where no hold was."""
    real = dict.fromkeys(h for h in asked if h not in ("none", "sham"))
    return ("none", "sham", *real) if real or "sham" in asked else ("none",)


def run_test(
    plan: TestPlan,
    *,
    progress: Progress | None = None,
    engine: EngineName = "auto",
    threads: int | None = None,
    slots: int | None = None,
) -> dict[str, Any]:
    """Carry out a plan; finished work in ``plan.out`` is gone on with.

    Returns:
        What ``homing test --json`` prints.

    Raises:
        Interrupted: Ctrl-C; everything finished is kept. HomingError: whatever the stages refuse.
    """
    if is_provider(plan.model):
        told = progress or Silent()
        told.stage(f"asking {plan.model} through Inspect; its log is in {plan.logs}")
        found = through_inspect(
            plan.model,
            plan.instruments,
            holds=plan.holds_of,
            preset=plan.preset,
            seed=plan.seed,
            logs=plan.logs,
            anchor=plan.anchor_model,
        )
        return _result(plan, found.scored, found.states)

    if plan.anchor_model is not None and not is_provider(plan.anchor_model):
        locate(plan.anchor_model)  # one that is not there is said before the first is opened

    async def run() -> dict[str, Any]:
        model = open_model(plan.model, engine=engine, threads=threads, slots=slots)
        anchor: ChatModel | None = None
        try:
            if plan.anchor_model is not None:
                anchor = open_any(plan.anchor_model, out=plan.out, threads=threads, slots=slots)
            return await test_model(model, plan, progress=progress, anchor=anchor)
        finally:
            if anchor is not None:
                await anchor.close()
            await model.close()

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; what is finished is kept in {plan.out}: run the same command to go on") from None


async def test_model(
    model: ChatModel, plan: TestPlan, *, progress: Progress | None = None, anchor: ChatModel | None = None
) -> dict[str, Any]:
    """The same on a model that is open. ``anchor``: another that is open, or None."""
    told = progress or Silent()
    plan.anchor = anchor
    known = {n: at_home(i, plan.identity, model) for n, i in plan.instruments.items()}
    described = {
        "content": shipped_digest("instruments"),
        "units": "cells that are together with nothing done",  # work of before was cut otherwise, and is not gone on with
        "opening": [[m.role, m.content] for m in plan.opening],
        "seed": plan.seed,
        "preset": plan.preset,
        "model": facts(model.info, plan.model),
        "identity": plan.identity.digest if plan.identity is not None else None,
        **({"sizes": plan.sizes} if plan.sizes else {}),
        **({"anchor": facts(anchor.info, plan.anchor_model or anchor.name)} if anchor is not None else {}),
        **({"supplied": plan.supplied} if plan.supplied else {}),
    }
    scored: dict[str, list[Scored]] = {name: [] for name in plan.instruments}
    with WorkDir(plan.out / "work-test", described) as work:
        first, behind = list(plan.units()), plan.behind()
        total = sum(len(p.cells) for p in first) + sum(behind.values())
        told.start(total=total, unit="conversations", title=f"testing {plan.model}")

        async def play(units: Sequence[Play]) -> None:
            plays = [replace(p, instrument=known[p.instrument.name]) for p in units]
            ahead = await play_abreast(model, work, plays, told, anchor=anchor)
            ahead |= await play_arms(model, work, plays, told, anchor=anchor)
            for p in plays:
                told.stage(f"{p.instrument.name}, {'nothing done' if p.hold == 'none' else p.hold}")
                unit = await work.do(p.name, lambda p=p: _played(model, p, anchor))
                told.advance(0 if p.name in ahead else len(p.cells))
                for cell, (record, cost) in zip(p.cells, unit.data, strict=True):
                    got = p.instrument.score(cell, record, hold=p.hold)
                    scored[p.instrument.name].append(
                        Scored(cell, p.hold, got.values, got.unparsable, got.replies, Cost(**cost))
                    )

        await play(first)
        rest = list(plan.rest(scored))
        for name, n in behind.items():
            if left_out := n - sum(len(p.cells) for p in rest if p.instrument.name == name):
                told.stage(
                    f"{name}: {left_out} conversations could tell nothing, by what was asked first, and are left out"
                )
                told.advance(left_out)
        await play(rest)
    return _result(plan, scored)


def at_home(instrument: Instrument, identity: Identity | None, model: ChatModel) -> Instrument:
    """The instrument with an identity, where it can do with one and the identity was measured on this model; else as it is."""
    if identity is None or not isinstance(instrument, AtHome) or not {"persona", "drift"} <= set(identity.sections):
        return instrument
    try:
        home = Home.on(identity, model)
    except IdentityError:
        return instrument  # a reading on another model's axis means nothing; what needs one says that there is none
    return instrument.at_home(home.axis, home.calibration.standard)


def _result(
    plan: TestPlan, scored: Mapping[str, Sequence[Scored]], states: Mapping[str, Mapping[str, int]] | None = None
) -> dict[str, Any]:
    findings = {
        n: [_explained(f, (states or {}).get(n, {})) for f in i.estimate(scored[n])]
        for n, i in plan.instruments.items()
    }
    return {
        "schema": SCHEMA,
        "model": plan.model,
        "preset": plan.preset,
        "holds": list(plan.holds),
        "findings": [row for n, found in findings.items() for f in found for row in _rows(n, f, plan.holds, scored[n])],
    }


def _explained(finding: Finding, states: Mapping[str, int]) -> Finding:
    """The finding, and where it is none, which answers of the model were none."""
    if finding.regime != "not_measurable" or not states:
        return finding
    said = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    return replace(finding, reason=f"{finding.reason}; answers of the model that were none: {said}")


test_model.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]


async def _played(model: ChatModel, p: Play, anchor: ChatModel | None) -> Unit:
    return unit_of(await play_cells(p.instrument, p.cells, model, p.holds(), keep=p.name, anchor=anchor))


def _rows(
    instrument: str, finding: Finding, holds: Sequence[str], scored: Sequence[Scored]
) -> Iterator[dict[str, Any]]:
    """A line a figure of a finding, or one line that says why there is none."""
    tail = finding.name.removeprefix(f"{instrument}.")
    hold = next((h for h in holds if h != "none" and tail.endswith(f".{h}")), "none")
    measure = tail.removesuffix(f".{hold}") if hold != "none" else tail
    mine = [s.cost for s in scored if s.hold == hold]
    cost = {k: sum(getattr(c, k) for c in mine) for k in ("calls", "prompt_tokens", "new_tokens")}
    head = {"instrument": instrument, "hold": hold, "regime": finding.regime, "reason": finding.reason}
    rest = {"verdict": finding.verdict, "held_by": finding.held_by, "cost": cost}
    if not finding.estimates:
        yield {**head, "measure": measure, "figure": None, "p_value": None, **rest}
    for name, e in finding.estimates.items():
        figure = {k: e.to_json()[k] for k in ("value", "low", "high", "level", "n")}
        # what a sham seems to do is the error of the measurement, and no hypothesis to be adjusted for
        p_value = None if hold == "sham" else finding.p_values.get(name)
        yield {**head, "measure": f"{measure}.{name}", "figure": figure, "p_value": p_value, **rest}
