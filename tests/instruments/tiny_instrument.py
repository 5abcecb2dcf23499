"""The least instrument there can be: asks twenty questions and counts the yes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.instruments.base import Ask, Cell, Edit, PresetName, Scored, not_measurable, validity
from homing.stats.estimate import Finding
from homing.stats.intervals import wilson


class Tiny:
    """How often the answer is yes."""

    name = "tiny"
    claim = "a model says yes"
    holds = ("sham",)

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        return [
            Cell(f"tiny-{k}", str(k), "asked", {"question": f"Question {k}: yes or no?"}, seed + k) for k in range(20)
        ]

    def edit(self, cell: Cell) -> Edit:
        (answer,) = yield [Ask(Conversation.of(cell.data["question"]), sampling=Sampling(4, seed=cell.seed))]
        return {"text": answer.text}

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        said = record["text"].strip().lower().strip(".!")
        known = said in ("yes", "no")
        return Scored(cell, hold, {"yes": float(said == "yes")} if known else {}, int(not known), 1)

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        refused = validity("tiny.rate", scored)
        if refused is not None:
            return [refused]
        found = [s.values["yes"] for s in scored if "yes" in s.values]
        if not found:
            return [not_measurable("tiny.rate", "nothing was asked")]
        rate = wilson(int(sum(found)), len(found))
        return [Finding("tiny.rate", {"rate": rate}, verdict=f"Yes is said {rate.value:.0%} of the time.")]


TINY = Tiny()
