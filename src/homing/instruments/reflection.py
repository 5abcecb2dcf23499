"""Claim 3: reflection is confirmatory theatre. Does what comes after the first answer make answers better, and at what price?

Replies state an answer and check it. Transitions between the answers that a reply states by itself are counted (after arXiv
2510.08308), and the gain from the first to the last stands against what the same tokens buy as independent first answers, voted
on: that "just trying again" would do as well is the null. In forks behind every sentence the answer is asked for at once, which
shows when it has settled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from homing.engine.base import Sampling
from homing.hold.stop import behind
from homing.instruments import reflection_figures as figures
from homing.instruments.base import Answer, Ask, Cell, Edit, PresetName, Scored, scaled
from homing.instruments.reflection_items import DIGITS, Item, deal, preamble
from homing.instruments.reflection_trace import Trace, looks_at
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = ["INSTRUMENTS", "PRESETS", "Reflection", "ReflectionPreset", "reflection"]

LEAST_ITEMS = 8
"""Two of each family."""
TEMPERATURE = 0.7
"""Of all replies: resamples must differ."""
TOP_P = 0.9


@dataclass(frozen=True, slots=True)
class ReflectionPreset:
    """How much is played.

    Attributes:
        items: questions. ``replies``: to each with nothing done; the first answers of the others are a reply's resamples.
        held: replies to each under a hold. ``settling``: questions whose first reply is looked at behind every sentence.
        looks: at most, into one reply. ``tokens``: longest reply; one that is longer is cut, and counted.
        harder: how much harder than the easiest the questions are.
    """

    items: int
    replies: int
    held: int
    settling: int
    looks: int
    tokens: int
    harder: int = 0


PRESETS: Mapping[PresetName, ReflectionPreset] = {
    "smoke": ReflectionPreset(24, 3, 1, 12, 8, 64),
    "standard": ReflectionPreset(120, 6, 2, 60, 16, 256),
    "full": ReflectionPreset(400, 8, 2, 200, 24, 2048, harder=4),
}


@dataclass(frozen=True, eq=False)
class Reflection:
    """What reflection does to answers, and what it costs.

    Args:
        preset: in place of those named.
    """

    preset: ReflectionPreset | None = None

    name = "reflection"
    claim = "3: reflection is confirmatory theatre"
    holds = ("stop",)
    planning_sd = math.sqrt(0.5)  # last answer less vote: a difference of two rates on the same questions

    def plan(self, preset: PresetName) -> ReflectionPreset:
        """What is played under a preset."""
        return self.preset or PRESETS[preset]

    def units(self, preset: PresetName) -> int:
        """Questions."""
        return self.plan(preset).items

    def sized(self, preset: PresetName, items: int) -> Reflection:
        """The same with another number of questions, and of those looked into in proportion."""
        p = self.plan(preset)
        n = max(LEAST_ITEMS, items)
        return replace(self, preset=replace(p, items=n, settling=min(n, scaled(p.settling, n / p.items))))

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """Every reply to every question; under a hold the first few of them, with the same seeds."""
        plan, out = self.plan(preset), list[Cell]()
        looked = max(1, plan.items // max(1, plan.settling))
        for k, item in enumerate(deal(plan.items, seed, harder=plan.harder)):
            for r in range(plan.replies if hold == "none" else min(plan.held, plan.replies)):
                # families come in turn, so every few questions in a row are of all
                looks = plan.looks if hold == "none" and r == 0 and (k // 4) % looked == 0 else 0
                data = {"item": item.to_json(), "looks": looks, "tokens": plan.tokens, "harder": plan.harder}
                out.append(
                    Cell(f"{item.id}/{r}", item.id, f"reply{r}", data, stable_seed("reflection", seed, item.id, r))
                )
        return out

    def edit(self, cell: Cell) -> Edit:
        """One reply, and looks into it; the record holds its text and what was likeliest at each look."""
        item = Item.from_json(cell.data["item"])
        shown = preamble(item.family, cell.data["harder"])
        sampling = Sampling(cell.data["tokens"], temperature=TEMPERATURE, top_p=TOP_P, seed=cell.seed)
        (answer,) = yield [Ask(item.question, sampling=sampling, preamble=shown)]
        record: dict[str, Any] = {
            "text": answer.text, "thinking": answer.thinking, "tokens": answer.new_tokens, "finish": answer.finish,
        }  # fmt: skip
        if cell.data["looks"]:
            looks = looks_at(answer.thinking or "", answer.text, cell.data["looks"])
            answers = yield [
                Ask(behind(item.question, said), DIGITS, held=False, fork=True, preamble=shown) for said, _ in looks
            ]
            choices = [a.choice for a in answers]
            record |= {
                "at": [round(at, 6) for _, at in looks],
                "forced": [_read(a) for a in answers],
                "mass": [round(c.mass, 6) for c in choices if c is not None],
                "exact": all(c.exact for c in choices if c is not None),
            }  # fmt: skip
        return record

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """Answers that the reply states, where they stand, and what it took; a reply without any is out of format."""
        item, trace = Item.from_json(cell.data["item"]), Trace.of(record)
        values: dict[str, Any] = {
            "answer": item.answer, "chance": item.chance, "said": list(trace.said), "at": [round(x, 6) for x in trace.at],
            "thinking": [s == "thinking" for s in trace.spans], "tokens": trace.tokens, "cut": trace.cut,
        }  # fmt: skip
        missing, replies = int(not trace.said), 1
        if "forced" in record:
            forced = record["forced"]
            missing, replies = missing + sum(x is None for x in forced), replies + len(forced)
            if None not in forced:
                values |= {"forced": forced, "looks_at": record["at"], "mass": record["mass"], "exact": record["exact"]}
        return Scored(cell, hold, values, missing, replies)

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """See :mod:`homing.instruments.reflection_figures`."""
        return figures.findings(scored)


def _read(answer: Answer) -> int | None:
    """The likeliest digit; None where nothing was chosen."""
    c = answer.choice
    return None if c is None or answer.refused or not sum(c.probabilities) > 0 else int(answer.text)


def reflection() -> Reflection:
    """The instrument at its shipped sizes."""
    return Reflection()


INSTRUMENTS = {"reflection": reflection}
