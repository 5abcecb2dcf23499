"""Every instrument as a task of Inspect: a cell is a sample, the solver plays it, the scorer scores it, the metric estimates.

Of this room this file and that of an instrument that calls tools import Inspect, when a task is made. Inspect looks at the
annotations of what it is given, which names that are imported in a function have only where they are evaluated at once: so no
postponed ones here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from homing.hold.chain import build
from homing.instruments.base import Cell, Instrument, PresetName, Scored
from homing.instruments.playing import play
from homing.models.account import Account, within
from homing.models.base import ChatModel
from homing.models.inspected import InspectModel
from homing.stats.estimate import Cost

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog

__all__ = ["instrument_task", "scored_of", "states_of"]


def instrument_task(
    instrument: Instrument,
    *,
    preset: PresetName = "smoke",
    seed: int = 0,
    hold: str = "none",
    account: Account | None = None,
    anchor: ChatModel | None = None,
    solver: Any = None,
) -> "Task":
    """One instrument under one hold as an Inspect task.

    Args:
        hold: a chain by name, such as ``heal``; of holds that work on text alone, since a provider has no weights.
        account: where calls are kept, so that a cell that breaks off pays for none of them again; Inspect keeps whole cells.
        anchor: another model, for instruments and holds that ask one; its calls are not in Inspect's log.
        solver: plays a cell in place of the kernel, and holds by itself; it leaves ``record``, ``states`` and ``cost`` in the
            metadata of a sample.
    """
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample

    cells = instrument.cells(preset=preset, seed=seed, hold=hold)
    player = _player(instrument, build(hold, judge=anchor), account, anchor) if solver is None else solver
    samples = [Sample(input=c.id, id=c.id, metadata={"cell": _plain(c), "hold": hold}) for c in cells]
    return Task(
        dataset=MemoryDataset(samples, name=instrument.name),
        solver=player,
        scorer=_scorer(instrument),
        name=f"{instrument.name}" if hold == "none" else f"{instrument.name}_{hold.replace('+', '_')}",
        metadata={"instrument": instrument.name, "hold": hold, "preset": preset, "seed": seed},
    )


def _plain(cell: Cell) -> dict[str, Any]:
    return {**asdict(cell), "data": dict(cell.data)}


def _cell(raw: dict[str, Any]) -> Cell:
    return Cell(raw["id"], raw["item"], raw["condition"], raw["data"], raw["seed"])


def _player(instrument: Instrument, chain: Sequence[Any], account: Account | None, anchor: ChatModel | None) -> Any:
    from inspect_ai.model import ChatMessageAssistant, get_model
    from inspect_ai.solver import Generate, TaskState, solver

    @solver(name=f"homing/{instrument.name}")
    def player() -> Any:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            model, cell = InspectModel(get_model(), account=account), _cell(state.metadata["cell"])
            with within(f"{instrument.name}/{state.metadata['hold']}/{cell.id}"):
                record = await play(instrument, cell, cast("ChatModel", model), chain, anchor=anchor)
            state.metadata |= {"record": record, "states": dict(model.states), "cost": asdict(model.spent)}
            state.messages.append(ChatMessageAssistant(content=str(record)[:2000]))
            return state

        return solve

    return player()


def _scorer(instrument: Instrument) -> Any:
    from inspect_ai.scorer import SampleScore, Score, Target, metric, scorer
    from inspect_ai.solver import TaskState

    @metric(name="estimates")
    def estimates() -> Any:
        def compute(scores: list[SampleScore]) -> dict[str, float]:
            scored = [_scored(s.score.metadata) for s in scores if s.score.metadata]
            return {f"{f.name}.{k}": e.value for f in instrument.estimate(scored) for k, e in f.estimates.items()}

        return compute

    @scorer(metrics=[estimates()], name=f"homing/{instrument.name}")
    def score_cell() -> Any:
        async def score(state: TaskState, target: Target) -> Score:
            got = instrument.score(_cell(state.metadata["cell"]), state.metadata["record"], hold=state.metadata["hold"])
            kept = {
                "cell": _plain(got.cell), "hold": got.hold, "values": dict(got.values), "unparsable": got.unparsable,
                "replies": got.replies, "cost": state.metadata["cost"], "states": state.metadata["states"],
            }  # fmt: skip
            numbers = {k: v for k, v in got.values.items() if isinstance(v, int | float)}
            return Score(value=numbers or {"played": 1.0}, metadata=kept)

        return score

    return score_cell()


def _scored(kept: dict[str, Any]) -> Scored:
    return Scored(
        _cell(kept["cell"]), kept["hold"], kept["values"], kept["unparsable"], kept["replies"], Cost(**kept["cost"])
    )


def scored_of(log: "EvalLog") -> list[Scored]:
    """The scores of a log, to estimate from several logs together (one a hold)."""
    return [_scored(kept) for kept in _kept(log)]


def states_of(log: "EvalLog") -> Counter[str]:
    """How many answers in a log were none, by why."""
    out: Counter[str] = Counter()
    for kept in _kept(log):
        out.update(kept.get("states", {}))
    return out


def _kept(log: "EvalLog") -> list[dict[str, Any]]:
    scores = [score for sample in log.samples or [] for score in (sample.scores or {}).values()]
    return [score.metadata for score in scores if score.metadata and "cell" in score.metadata]
