"""Claim 3, of calibration: the certainty that a model states, and the probability of its answer, are not kept promises.

Each question has four answers, from easy to hard. The likeliest is the model's answer and its probability among the four a first
confidence; asked how likely its answer is to be right, it states a second one in words. Exclusive answers are each given as its
own, so that what is stated for them should add to 1 (after RLCR, arXiv 2507.16806). And one answer is analysed several times, so
that what a mean over analyses gains can be told from what all analyses have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from homing.engine.base import Sampling
from homing.hold.analyses import Analyses, confidence_in, to_analyse
from homing.instruments import calibration_figures as figures
from homing.instruments.base import Answer, Ask, Cell, Edit, PresetName, Scored, scaled
from homing.instruments.calibration_items import ASK_SURE, MOST, OPTIONS, Item, deal, examples
from homing.instruments.calibration_rows import LEAST
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = ["INSTRUMENTS", "PRESETS", "Calibration", "CalibrationPreset", "calibration"]

SAID_TOKENS = 8
"""A percentage, and a little that may stand about it."""


@dataclass(frozen=True, slots=True)
class CalibrationPreset:
    """How much is played.

    Attributes:
        items: questions. ``exclusive``: of them, those of which every answer is given as the model's own.
        analysed: those that are analysed. ``analyses``: of each. ``held``: those that are asked under a hold too, which may take
            several replies in the place of one.
    """

    items: int
    exclusive: int
    analysed: int
    analyses: int
    held: int = MOST


PRESETS: Mapping[PresetName, CalibrationPreset] = {
    "smoke": CalibrationPreset(64, 8, 16, 4, 32),
    "standard": CalibrationPreset(208, 48, 64, 8),
    "full": CalibrationPreset(400, 112, 160, 16),
}


@dataclass(frozen=True, eq=False)
class Calibration:
    """Whether confidences are what they promise: read from probabilities, and stated in words.

    Args:
        preset: in place of those named.
    """

    preset: CalibrationPreset | None = None

    name = "calibration"
    claim = "3: reflection is confirmatory, and confidence is no kept promise"
    holds = ("analyses",)
    planning_sd = 0.5  # confidence less outcome: at worst what a coin has

    def plan(self, preset: PresetName) -> CalibrationPreset:
        """What is played under a preset."""
        return self.preset or PRESETS[preset]

    def units(self, preset: PresetName) -> int:
        """Items."""
        return self.plan(preset).items

    def sized(self, preset: PresetName, items: int) -> Calibration:
        """The same with another number of items, as far as there are any, and of those gone into further in proportion."""
        p = self.plan(preset)
        n = min(max(LEAST, items), MOST)
        return replace(
            self,
            preset=replace(
                p,
                items=n,
                **{x: min(n, scaled(getattr(p, x), n / p.items)) for x in ("exclusive", "analysed")},
                held=min(n, max(LEAST, scaled(p.held, n / p.items))),
            ),
        )

    def items(self, *, preset: PresetName, seed: int) -> list[Item]:
        """The questions that are asked."""
        return deal(self.plan(preset).items, seed)

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """For each item its answer and how likely it is said to be right; for some of them more.

        Analyses are played with nothing done alone: what a mean over them gains is asked of the model and not of a hold.
        """
        plan, out = self.plan(preset), list[Cell]()
        items = self.items(preset=preset, seed=seed)
        if hold != "none":
            items = items[: plan.held]

        def add(item: Item, condition: str, **data: Any) -> None:
            seeded = stable_seed("calibration", seed, item.id)
            out.append(Cell(f"{item.id}/{condition}", item.id, condition, {"item": item.to_json(), **data}, seeded))

        for item in items:
            add(item, "answer")
        for item in items[: plan.exclusive]:
            add(item, "exclusive")
        for item in items[: plan.analysed] if hold == "none" else ():
            add(item, "analyses", k=plan.analyses)
        return out

    def edit(self, cell: Cell) -> Edit:
        """Play one cell; the record holds log-probabilities of the answers, and replies in words as they were said."""
        kinds: Mapping[str, Callable[[Cell, Item], Edit]] = {
            "answer": self._answer, "exclusive": self._exclusive, "analyses": self._analyses,
        }  # fmt: skip
        return kinds[cell.condition](cell, Item.from_json(cell.data["item"]))

    def _answer(self, cell: Cell, item: Item) -> Edit:
        (answer,) = yield [_choose(cell, item)]
        record = _chosen(answer, item)
        if record["at"] is None:
            return record
        (said,) = yield [_sure(item, record["at"])]
        return {**record, "said": said.text}

    def _exclusive(self, cell: Cell, item: Item) -> Edit:
        answers = yield [_sure(item, k) for k in range(OPTIONS)]
        return {"said": [a.text for a in answers]}

    def _analyses(self, cell: Cell, item: Item) -> Edit:
        """The answer with nothing done, analysed k times, and after each analysis how likely it is said to be right."""
        (answer,) = yield [_choose(cell, item)]
        record = _chosen(answer, item)
        if record["at"] is None:
            return record
        asked, hold = item.answered(record["at"]), Analyses()
        made = yield [
            Ask(to_analyse(asked), sampling=hold.sampling(cell.seed, j), held=False, fork=True)
            for j in range(cell.data["k"])
        ]
        said = yield [
            Ask(a.conversation.then(ASK_SURE, "user"), sampling=Sampling(SAID_TOKENS), held=False, fork=True,
                preamble=examples())
            for a in made
        ]  # fmt: skip
        return {**record, "said": [a.text for a in said]}

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """Whether the answer is right, and what stands for it in probability and in words.

        A confidence that could not be read is absent from the values, and counted.
        """
        item = Item.from_json(cell.data["item"])
        values: dict[str, Any] = {"family": item.family, "level": item.level, "half": item.half}
        texts = [record["said"]] if isinstance(record.get("said"), str) else list(record.get("said", ()))
        read = [confidence_in(t) for t in texts]
        if cell.condition == "exclusive":
            if None not in read:
                values["stated"] = read
            return Scored(cell, hold, values, sum(x is None for x in read), len(read))
        if record["at"] is None:
            return Scored(cell, hold, values, 1, 1)
        values |= {"right": int(record["at"] == item.right), "mass": record["mass"], "exact": record["exact"]}
        values["logprob"] = record["probability"]
        if cell.condition == "answer" and read[0] is not None:
            values["stated"] = read[0]
        if cell.condition == "analyses":
            values["stated"] = [x for x in read if x is not None]
        return Scored(cell, hold, values, sum(x is None for x in read), 1 + len(read))

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """How far each confidence is kept, what recalibration and a mean over analyses mend, and what each hold does."""
        return figures.findings(scored)


def _order(cell: Cell) -> list[int]:
    """The order in which answers are given: it matters only where they are lettered."""
    return [int(k) for k in np.random.default_rng(stable_seed(cell.seed, "order")).permutation(OPTIONS)]


def _choose(cell: Cell, item: Item) -> Ask:
    return Ask(item.asked(), tuple(item.options[k] for k in _order(cell)), preamble=examples())


def _sure(item: Item, option: int) -> Ask:
    return Ask(item.answered(option), sampling=Sampling(SAID_TOKENS), fork=True, preamble=examples())


def _chosen(answer: Answer, item: Item) -> dict[str, Any]:
    """The likeliest answer by its place in the item, its probability among the four, and that any of them is said."""
    c = answer.choice
    if c is None or answer.refused or not sum(c.probabilities) > 0:
        return {"at": None}
    top = max(range(OPTIONS), key=lambda k: c.probabilities[k])
    return {
        "at": item.options.index(c.options[top]), "probability": round(c.probabilities[top], 6), "mass": round(c.mass, 6),
        "exact": c.exact,
    }  # fmt: skip


def calibration() -> Calibration:
    """The instrument on its generated questions."""
    return Calibration()


INSTRUMENTS = {"calibration": calibration}
