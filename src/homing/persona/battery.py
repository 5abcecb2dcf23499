"""A generated capability battery with exact answers, and what a set of acts costs on it.

Four families: arithmetic, copying, format, look-up. Every item has one right answer and at least three wrong ones of
the same shape, all scored as continuations by total log-probability, so there are no letters, no parser and no
position bias. The price of an act is the paired change in log-probability of the right answer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Act
from homing.errors import InputError
from homing.models.base import ChatModel
from homing.persona.battery_items import FAMILIES, LEVELS, BatteryItem, Family, generate
from homing.stats import bootstrap_mean, tost_mean, wilson
from homing.stats.estimate import Cost, Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = [
    "ACCURACY_MARGIN",
    "SIZES",
    "Baseline",
    "BatteryItem",
    "Difficulty",
    "Family",
    "Scored",
    "baseline",
    "calibrate",
    "generate",
    "price",
    "score_items",
    "tuning_items",
]

F64 = NDArray[np.float64]
ACCURACY_MARGIN = 0.03
CHANCE = 0.25
CEILING = 0.98
SIZES: Mapping[str, int] = {"smoke": 120, "standard": 1360, "full": 2000}
"""Items a preset asks. A published price rests on 1,000 off floor and ceiling: ``standard`` may lose one family of four."""
BATCH_ITEMS = 32
"""Items handed to the model at once; batching itself happens below."""
FamilyState = Literal["measured", "floor", "ceiling"]


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """Log-probabilities of the options of some items.

    Attributes:
        right: ``(items,)`` total natural-log probability of the right answer.
        wrong: ``(items, 3)`` the same of the first three wrong answers.
        seconds: spent.
    """

    right: F64
    wrong: F64
    seconds: float = 0.0

    @property
    def correct(self) -> F64:
        """1.0 where the right answer beats every wrong one, ``(items,)``."""
        return (self.right > self.wrong.max(axis=1)).astype(np.float64)

    @property
    def contrast(self) -> F64:
        """Right answer minus the mean wrong one, nats, ``(items,)``: 0 where the model knows nothing."""
        return self.right - self.wrong.mean(axis=1)


@dataclass(frozen=True, slots=True)
class Difficulty:
    """The level of each family, chosen on items that no price may use.

    Attributes:
        level: family to level. ``accuracy``: family to one accuracy a level, as tried.
        barred: digests of the items used. ``seed``: of them.
    """

    level: Mapping[Family, int]
    accuracy: Mapping[Family, tuple[float, ...]]
    barred: frozenset[str]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "level": dict(self.level),
            "accuracy": {k: list(v) for k, v in self.accuracy.items()},
            "barred": sorted(self.barred),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Difficulty:
        """The inverse of :meth:`to_json`."""
        return cls(
            {cast("Family", k): int(v) for k, v in raw["level"].items()},
            {cast("Family", k): tuple(float(x) for x in v) for k, v in raw["accuracy"].items()},
            frozenset(raw["barred"]),
            int(raw["seed"]),
        )


@dataclass(frozen=True, eq=False, slots=True)
class Baseline:
    """The un-acted model on the battery: made once, compared with every hold.

    Attributes:
        items: as asked. ``scored``: their log-probabilities.
        state: of each family. ``accuracy``: of each family, Wilson. ``finding``: the same in words.
    """

    items: tuple[BatteryItem, ...]
    scored: Scored
    state: Mapping[Family, FamilyState]
    accuracy: Mapping[Family, Estimate]
    finding: Finding = field(default_factory=lambda: Finding("battery"))


async def score_items(model: ChatModel, items: Sequence[BatteryItem], *, acts: Sequence[Act] = ()) -> Scored:
    """Total log-probabilities of the right answer and of three wrong ones, per item.

    Raises:
        InputError: no items.
    """
    if not items:
        raise InputError("a battery of 0 items has no score; ask for at least 1")
    start = time.perf_counter()
    totals: list[list[float]] = []
    for first in range(0, len(items), BATCH_ITEMS):
        batch = items[first : first + BATCH_ITEMS]
        scores = await model.score_replies(
            [i.conversation for i in batch], [[i.answer, *i.distractors[:3]] for i in batch], acts=acts
        )
        totals += [[float(np.sum(option, dtype=np.float64)) for option in row] for row in scores]
    table = np.asarray(totals, np.float64)
    return Scored(table[:, 0], table[:, 1:], time.perf_counter() - start)


def tuning_items(difficulty: Difficulty, n_items: int) -> tuple[BatteryItem, ...]:
    """Items on which settings may be priced: those that chose the difficulty, which no price uses again.

    Args:
        difficulty: as chosen.
        n_items: how many, in equal parts of the families.
    """
    each = max(1, n_items // len(FAMILIES))
    return tuple(
        item
        for family, at in difficulty.level.items()
        for item in generate(each, seed=stable_seed("battery tuning", difficulty.seed, family, at), level={family: at})
    )


async def calibrate(model: ChatModel, *, seed: int = 0, per_level: int = 16) -> Difficulty:
    """Choose the level of each family whose accuracy lies nearest to half-way between chance and 1.

    The items used are barred from every later price by their digests.
    """
    level: dict[Family, int] = {}
    tried: dict[Family, tuple[float, ...]] = {}
    barred: set[str] = set()
    for family in FAMILIES:
        accuracy: list[float] = []
        for at in range(LEVELS):
            items = generate(per_level, seed=stable_seed("battery tuning", seed, family, at), level={family: at})
            barred.update(i.digest for i in items)
            accuracy.append(float((await score_items(model, items)).correct.mean()))
        tried[family] = tuple(accuracy)
        level[family] = int(np.argmin(np.abs(np.asarray(accuracy) - (CHANCE + 1) / 2)))
    return Difficulty(level, tried, frozenset(barred), seed)


def _state(accuracy: Estimate) -> FamilyState:
    if accuracy.low <= CHANCE:
        return "floor"
    return "ceiling" if accuracy.high >= CEILING else "measured"


async def baseline(
    model: ChatModel, *, n_items: int = SIZES["standard"], seed: int = 0, difficulty: Difficulty | None = None
) -> Baseline:
    """Ask the un-acted model, and say which families can show a change at all.

    A family is at the floor where the Wilson interval of its accuracy reaches down to chance (0.25), at the ceiling
    where it reaches up to 0.98. Such a family is ``not_measurable`` and stays out of the price.
    """
    items = generate(
        n_items,
        seed=stable_seed("battery report", seed),
        level=difficulty.level if difficulty else None,
        barred=difficulty.barred if difficulty else frozenset(),
    )
    scored = await score_items(model, items)
    family = np.asarray([i.family for i in items])
    accuracy: dict[Family, Estimate] = {}
    state: dict[Family, FamilyState] = {}
    for name in FAMILIES:
        mine = scored.correct[family == name]
        if len(mine):
            accuracy[name] = wilson(int(mine.sum()), len(mine))
            state[name] = _state(accuracy[name])
    lost = [f"{k} ({v})" for k, v in state.items() if v != "measured"]
    usable = [k for k, v in state.items() if v == "measured"]
    finding = Finding(
        "battery.accuracy",
        {str(k): v for k, v in accuracy.items()},
        regime="measured" if usable else "not_measurable",
        reason="" if usable else "every family stands at the floor or the ceiling of this model",
        verdict=f"Families that can show a change: {', '.join(usable) or 'none'}."
        + (f" Not measurable: {', '.join(lost)}." if lost else ""),
        cost=Cost(calls=4 * len(items), seconds=scored.seconds),
    )
    return Baseline(items, scored, state, accuracy, finding)


async def price(
    model: ChatModel,
    acts: Sequence[Act],
    *,
    n_items: int = SIZES["standard"],
    seed: int = 0,
    base: Baseline | None = None,
    difficulty: Difficulty | None = None,
    name: str = "cap.price",
) -> tuple[Finding, ...]:
    """What some acts cost: first the whole battery, then one finding a family.

    Args:
        model: to ask; the directions of ``acts`` must be registered with it.
        acts: switched on for prompt and answer alike.
        n_items: of the battery, where ``base`` is not given.
        seed: of the battery, likewise.
        difficulty: of the battery, likewise.
        base: the un-acted answers, to ask them once for many holds.
        name: of the first finding.

    Returns:
        The first finding holds ``logprob`` (paired change of the right answer's log-probability, nats, bootstrap
        clustered on the template), ``accuracy`` (paired change), ``accuracy_off`` and ``accuracy_on``; its verdict says
        equivalent, different or inconclusive by TOST with a margin of 0.03.
    """
    base = base or await baseline(model, n_items=n_items, seed=seed, difficulty=difficulty)
    held = await score_items(model, base.items, acts=acts)
    whole: list[Family] = [f for f, s in base.state.items() if s == "measured"]
    out = [_compare(name, base, held, whole)]
    for family, state in base.state.items():
        if state == "measured":
            out.append(_compare(f"{name}.{family}", base, held, [family]))
        else:
            out.append(
                Finding(
                    f"{name}.{family}",
                    {"accuracy_off": base.accuracy[family]},
                    regime="not_measurable",
                    reason=f"the un-acted model stands at the {state}: accuracy {base.accuracy[family]:.2f}",
                    verdict=f"The price on {family} cannot be measured on this model.",
                )
            )
    return tuple(out)


def _compare(name: str, base: Baseline, held: Scored, families: Sequence[Family]) -> Finding:
    cost = Cost(calls=4 * len(base.items), seconds=held.seconds)
    keep = np.asarray([i.family in families for i in base.items])
    if not keep.any():
        return Finding(
            name,
            regime="not_measurable",
            reason="every family stands at the floor or the ceiling of this model",
            verdict="The price cannot be measured on this model.",
            cost=cost,
        )
    clusters = np.asarray([f"{i.family}/{i.template}" for i in base.items])[keep]
    seed = stable_seed(name)
    change = (held.right - base.scored.right)[keep]
    hits = (held.correct - base.scored.correct)[keep]
    logprob = bootstrap_mean(change, clusters=clusters, seed=seed, unit="nats")
    test = tost_mean(hits, clusters=clusters, margin=ACCURACY_MARGIN)
    on, off = int(held.correct[keep].sum()), int(base.scored.correct[keep].sum())
    n = int(keep.sum())
    return Finding(
        name,
        {
            "logprob": logprob,
            "accuracy": bootstrap_mean(hits, clusters=clusters, seed=seed),
            "accuracy_off": wilson(off, n),
            "accuracy_on": wilson(on, n),
        },
        verdict=f"Accuracy {off / n:.1%} without, {on / n:.1%} with: {test.verdict} (margin {ACCURACY_MARGIN:.0%});"
        f" the right answer changes by {logprob:+.2f} over {n} items.",
        cost=cost,
    )
