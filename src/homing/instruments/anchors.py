"""Claim 4: self-improvement goes in a circle without an anchor outside (arXiv 2310.01798, 2412.02674).

The same questions under eight arms of three calls each: a first answer, then one word about it, from the model itself, from an
earlier version, from a judge, a user, a tool or an oracle, then an answer again. What each is worth is its accuracy less that of
three first answers and a vote. Every answer is read from the probabilities of ten digits, so an arm is an expectation over
answers and not one draw: it is played once from a right first answer and once from a wrong one, weighted by how likely each is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.instruments import anchors_figures as figures
from homing.instruments.anchors_items import (
    CALL_EXAMPLES,
    EXAMPLES,
    FAMILIES,
    JUDGING_EXAMPLES,
    OPTIONS,
    REVIEW,
    YES_NO,
    Item,
    calculated,
    deal,
    gold,
)
from homing.instruments.base import NO_ANCHOR, Answer, Ask, Cell, Edit, PresetName, Scored
from homing.models.base import Choice
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = ["INSTRUMENTS", "PRESETS", "Anchors", "AnchorsPreset", "anchors"]

LEAST_ITEMS = 12
CALL_TOKENS = 12
SCORED = 4
"""Of the digits, the likeliest, which the model is asked to judge."""


@dataclass(frozen=True, slots=True)
class AnchorsPreset:
    """How much is played.

    Attributes:
        items: questions. ``judged``: of them also asked whether answers are right. ``gold``: questions of a judge's gold set.
        rounds: of self-critique. ``review_tokens``: of a critique, at most. ``families``: of questions, in turn.
    """

    items: int
    judged: int
    gold: int
    rounds: int
    review_tokens: int
    families: tuple[str, ...] = FAMILIES


PRESETS: Mapping[PresetName, AnchorsPreset] = {
    "smoke": AnchorsPreset(18, 12, 12, 1, 16, ("lookup", "sum")),  # what the smallest models can do
    "standard": AnchorsPreset(120, 120, 24, 2, 48),
    "full": AnchorsPreset(400, 400, 48, 3, 96),
}


@dataclass(frozen=True, eq=False)
class Anchors:
    """What an answer gains by being looked at again, by whom.

    Args:
        preset: in place of those named.
    """

    preset: AnchorsPreset | None = None

    name = "anchors"
    claim = "4: self-improvement is circular without an external anchor"
    holds = ("anchor",)
    planning_sd = 0.5  # net gain over the vote: mostly between plus and minus 0.5

    def plan(self, preset: PresetName) -> AnchorsPreset:
        """What is played under a preset."""
        return self.preset or PRESETS[preset]

    def units(self, preset: PresetName) -> int:
        """Items."""
        return self.plan(preset).items

    def sized(self, preset: PresetName, items: int) -> Anchors:
        """The same with another number of items, and of those that are judged in proportion."""
        p = self.plan(preset)
        n = max(LEAST_ITEMS, items)
        return replace(self, preset=replace(p, items=n, judged=min(n, math.ceil(p.judged * n / p.items))))

    def items(self, *, preset: PresetName, seed: int) -> list[Item]:
        """The questions."""
        p = self.plan(preset)
        return deal(p.items, seed, families=p.families)

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """The arms of every item under every hold; what no hold touches, judgements and the gold set, with nothing done alone."""
        p, items, out = self.plan(preset), self.items(preset=preset, seed=seed), list[Cell]()

        def add(item: Item, condition: str, **data: Any) -> None:
            seeded = stable_seed("anchors", seed, item.id)
            out.append(Cell(f"{item.id}/{condition}", item.id, condition, {"item": item.to_json(), **data}, seeded))

        for item in items:
            add(item, "arms", rounds=p.rounds, tokens=p.review_tokens)
        if hold == "none":
            for item in items[: p.judged]:
                add(item, "judging", tokens=p.review_tokens)
            for item in gold(p.gold, seed, items):
                add(item, "gold")
        return out

    def edit(self, cell: Cell) -> Edit:
        """Play one cell; probabilities are kept with the right option first."""
        kinds: Mapping[str, Callable[[_Play], Edit]] = {"arms": _arms, "judging": _judging, "gold": _gold}
        return kinds[cell.condition](_Play(cell, Item.from_json(cell.data["item"])))

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """What the figures need, and how many choices did not come back."""
        values = {k: v for k, v in record.items() if k not in ("asked", "missing") and _whole(v)}
        return Scored(cell, hold, values, record["missing"], record["asked"])

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """Arms, dose, judgements and loops with nothing done; then what each hold does to the arms."""
        return figures.findings(scored)


def _whole(value: Any) -> bool:
    return value is not None and not (isinstance(value, list) and None in value)


@dataclass(eq=False)
class _Play:
    """A cell on its way, and how many of its choices came back."""

    cell: Cell
    item: Item
    asked: int = 0
    missing: int = 0

    def number(self, talk: Conversation, *, of: Any = "model", held: bool = True) -> Ask:
        """One of the digits; the order matters only where options are lettered."""
        order = np.random.default_rng(stable_seed(self.cell.seed, "order")).permutation(OPTIONS)
        options = tuple(self.item.options[int(k)] for k in order)
        return Ask(talk, options, held=held, fork=True, preamble=EXAMPLES[self.item.family], of=of)

    @staticmethod
    def yes(talk: Conversation, *, of: Any = "model") -> Ask:
        """Yes or no, never under a hold."""
        return Ask(talk, YES_NO, held=False, fork=True, preamble=JUDGING_EXAMPLES, of=of)

    def call(self) -> Ask:
        """A call of the calculator, in words."""
        sampling = Sampling(CALL_TOKENS, temperature=0.0)
        return Ask(self.item.calculator(), sampling=sampling, held=False, fork=True, preamble=CALL_EXAMPLES)

    def review(self, talk: Conversation, k: int) -> Ask:
        """A critique in words."""
        sampling = Sampling(self.cell.data["tokens"], seed=stable_seed(self.cell.seed, "review", k))
        return Ask(talk, sampling=sampling, fork=True)

    def shares(self, answer: Answer) -> list[float] | None:
        """Probabilities of the digits, the right one first; None where nothing was chosen."""
        c = self._counted(answer)
        return (
            None
            if c is None
            else [round(dict(zip(c.options, c.probabilities, strict=True))[o], 6) for o in self.item.options]
        )

    def right(self, answer: Answer) -> float | None:
        """Probability of the right digit."""
        found = self.shares(answer)
        return None if found is None else found[0]

    def said_yes(self, answer: Answer) -> float | None:
        """Probability of yes."""
        c = self._counted(answer)
        return None if c is None else round(c.probabilities[c.options.index(YES_NO[0])], 6)

    def _counted(self, answer: Answer) -> Choice | None:
        """What was chosen; what an anchor leaves unsaid is no fault of the model that is measured."""
        if answer.who or answer.refused == NO_ANCHOR:
            return answer.choice
        self.asked += 1
        c = answer.choice
        if c is None or answer.refused or not sum(c.probabilities) > 0:
            self.missing += 1
            return None
        return c

    def wrong(self, shares: Sequence[float]) -> str:
        """A wrong first answer, drawn as the model would."""
        rest = np.array(shares[1:]) + 1e-9
        rng = np.random.default_rng(stable_seed(self.cell.seed, "wrong"))
        return self.item.options[1 + int(rng.choice(OPTIONS - 1, p=rest / rest.sum()))]

    def drawn(self, answer: Answer, k: int) -> str | None:
        """An answer drawn from a choice, for the next round."""
        c = answer.choice
        if c is None or answer.refused or not sum(c.probabilities) > 0:
            return None
        p = np.array(c.probabilities)
        rng = np.random.default_rng(stable_seed(self.cell.seed, "drawn", k))
        return c.options[int(rng.choice(len(p), p=p / p.sum()))]

    def first(self, answer: Answer) -> tuple[list[float], tuple[str, str], dict[str, Any]] | None:
        """Shares of the first answer, one right and one wrong answer to go on from, and what is kept of it."""
        shares = self.shares(answer)
        if shares is None or answer.choice is None:
            return None
        kept = {"shares": shares, "mass": round(answer.choice.mass, 6), "exact": answer.choice.exact}
        return shares, (self.item.right, self.wrong(shares)), kept

    def done(self, **record: Any) -> dict[str, Any]:
        """The record."""
        return {**record, "asked": self.asked, "missing": self.missing}


def _arms(play: _Play) -> Edit:
    """Every arm, from a right first answer and from a wrong one."""
    item = play.item
    first, past = yield [play.number(item.asked(), held=False), play.number(item.asked(), of="anchor", held=False)]
    found = play.first(first)
    if found is None:
        return play.done()
    _, starts, record = found
    record |= {"past_shares": play.shares(past), "who": past.who}
    false = item.options[1 + play.cell.seed % (OPTIONS - 1)]
    told = {
        "told_wrong": [item.checked(a, right=False) for a in starts],
        "user_true": [item.corrected(a, item.right) for a in starts],
        "user_false": [item.corrected(a, false) for a in starts],
    }
    if past.who:  # to be told that an answer is right is the judge's alone
        told["told_right"] = [item.checked(a, right=True) for a in starts]
    asks = [play.review(item.answered(a).then(REVIEW, "user"), k) for k, a in enumerate(starts)]
    asks += [play.number(t) for pair in told.values() for t in pair]
    asks += [play.yes(item.judged(a, "hidden"), of="anchor") for a in starts]
    said = yield [*asks, *([play.call()] if item.call else [])]
    for i, name in enumerate(told):
        record[name] = [play.right(a) for a in said[2 + 2 * i : 4 + 2 * i]]
    at = 2 + 2 * len(told)
    record["judge"] = [play.said_yes(a) for a in said[at : at + 2]]
    computed: list[Conversation] = []
    if item.call:
        shown = calculated(said[-1].text)
        record["call"] = float(shown is not None)
        computed = [] if shown is None else [item.computed(a, said[-1].text.strip(), shown) for a in starts]
    talks = [item.again(a.conversation) for a in said[:2]]
    answers = yield [play.number(t) for t in (*talks, *computed)]
    record["critique_1"] = [play.right(a) for a in answers[:2]]
    if computed:
        record["tool"] = [play.right(a) for a in answers[2:]]
    more = yield from _more_rounds(play, talks, answers[:2])
    return play.done(**record, **more)


def _more_rounds(
    play: _Play, talks: Sequence[Conversation], answers: Sequence[Answer]
) -> Generator[Sequence[Ask], Sequence[Answer], dict[str, Any]]:
    """Rounds of self-critique after the first, each from an answer that is drawn from the one before."""
    out: dict[str, Any] = {}
    for r in range(2, play.cell.data["rounds"] + 1):
        kept = [play.drawn(a, 2 * r + i) for i, a in enumerate(answers)]
        if None in kept:
            break
        reviews = yield [
            play.review(t.then(a or "", "assistant").then(REVIEW, "user"), 2 * r + i)
            for i, (t, a) in enumerate(zip(talks, kept, strict=True))
        ]
        talks = [play.item.again(a.conversation) for a in reviews]
        answers = yield [play.number(t) for t in talks]
        out[f"critique_{r}"] = [play.right(a) for a in answers]
    return out


def _judging(play: _Play) -> Edit:
    """What the model thinks of answers, with their author told and not; and a critique of an answer said to be another's."""
    item = play.item
    (first,) = yield [play.number(item.asked(), held=False)]
    found = play.first(first)
    if found is None:
        return play.done()
    shares, starts, record = found
    scored = sorted(sorted(range(OPTIONS), key=lambda i: -shares[i])[:SCORED])
    forms = {
        "hidden": [item.judged(a, "hidden") for a in starts],
        "scores": [item.judged(item.options[i], "hidden") for i in scored],
        "shown": [item.judged(a, "shown") for a in starts],
        "other": [item.judged(a, "other") for a in starts],
        "own": [item.own_judged(a) for a in starts],
    }
    reviews = [play.review(item.another(a), k) for k, a in enumerate(starts)]
    anchor = [play.yes(item.judged(a, "shown"), of="anchor") for a in starts]
    hidden = [play.yes(item.judged(a, "hidden"), of="anchor") for a in starts]
    said = yield [*reviews, *(play.yes(t) for talks in forms.values() for t in talks), *anchor, *hidden]
    at = 2
    for name, talks in forms.items():
        record[name] = [play.said_yes(a) for a in said[at : at + len(talks)]]
        at += len(talks)
    record["yes_mass"] = [round(a.choice.mass, 6) for a in said[2:at] if a.choice is not None]
    record |= {
        "judge_shown": [play.said_yes(a) for a in said[at : at + 2]],
        "judge_hidden": [play.said_yes(a) for a in said[at + 2 :]],
    }
    record["scored"] = scored
    answers = yield [play.number(item.again(a.conversation)) for a in said[:2]]
    record["disowned"] = [play.right(a) for a in answers]
    return play.done(**record)


def _gold(play: _Play) -> Edit:
    """A right and a wrong answer put to the judge; which wrong one is drawn from the seed."""
    item = play.item
    wrong = item.options[1 + play.cell.seed % (OPTIONS - 1)]
    said = yield [play.yes(item.judged(a, "hidden"), of="anchor") for a in (item.right, wrong)]
    return play.done(gold=[play.said_yes(a) for a in said], who=said[0].who)


def anchors() -> Anchors:
    """The instrument on its generated questions."""
    return Anchors()


INSTRUMENTS = {"anchors": anchors}
