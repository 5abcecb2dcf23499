"""Claim 5: errors in a model's own past outputs breed errors (after arXiv 2509.09677).

A running sum over the words of a small dictionary. Histories are made in which a known share of the totals that the model is
shown as its own is wrong, and one reply is asked for behind each. Only the local update is scored: the last total shown plus
what the new words are worth, be that total right or wrong; going on from a wrong total is right. Beside it stand the same
errors on a user's sheet, early and late, small and large ones, odd formats without any error, and talks that the model goes
through alone, which end at its first mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.hold.verify import RunningSum, read_running_sum, shown_under, total_of
from homing.instruments import self_conditioning_figures as figures
from homing.instruments.base import FEW, Ask, Cell, Edit, PresetName, Scored, scaled
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = [
    "INSTRUMENTS",
    "LEVELS",
    "PRESETS",
    "Level",
    "LevelName",
    "SelfConditioning",
    "SelfConditioningPreset",
    "conversation_of",
    "self_conditioning",
]

LevelName = Literal["ones", "digits", "hundred"]
DIGITS = tuple("0123456789")
RATES = (0, 25, 50, 75, 100)
ODD = (" ;", " !!", " ...", " --", " ,,")
"""What stands behind a right number where only the format is odd; the digit stays the first thing said."""
SHEETS = {
    "user": "I added some words by myself, and wrote down each total:",
    "tool": "A counting program added some words, and printed each total:",
}
WORK = "First write the sum, then the new total."
_POOL = """
    acorn amber anvil apron arrow badge bagel basil beach bench berry birch blaze board brick broom brush cabin camel
    candy canoe chain chair chalk cheek cliff cloak clock cloud clown coral couch crane crown daisy diver dough drain
    eagle easel elbow fairy ferry field flame flute frost fruit ghost glass glove grape grass hedge honey horse hotel
    ivory jelly judge kayak knife ladle lemon linen maple medal melon mirth moose mouse nurse ocean olive onion opera
    otter paint panda paper peach pearl petal piano pilot plate plaza pouch quilt radio raven river robin rover salad
    scarf shelf skate sleet smoke spoon storm straw sugar table tiger tooth torch towel train tulip uncle vapor viola
    wagon whale wheat yacht zebra
"""
WORDS = tuple(_POOL.split())


@dataclass(frozen=True, slots=True)
class Level:
    """How hard the sum is.

    Attributes:
        words: in the dictionary. ``worths``: what a word may be worth. ``modulus``: 10 where the last digit is kept.
        errors: by how much a shown total may be off. ``near``, ``far``: the same for small and large errors.
        chance: share of updates that a subject gets right without doing the task.
    """

    words: int
    worths: tuple[int, ...]
    modulus: Literal[10] | None
    errors: tuple[int, ...]
    near: tuple[int, ...]
    far: tuple[int, ...]
    chance: float


_TEN = tuple(k for k in range(-10, 11) if k)
LEVELS: Mapping[LevelName, Level] = {
    "ones": Level(5, (1,), 10, tuple(range(1, 10)), (1, 9), (4, 5, 6), 0.1),
    "digits": Level(5, tuple(range(1, 10)), 10, tuple(range(1, 10)), (1, 9), (4, 5, 6), 0.1),
    "hundred": Level(100, tuple(k for k in range(-99, 100) if k), None, _TEN, _TEN, tuple(10 * k for k in _TEN), 0.05),
}
"""From counting to the published setting. No worth and no error is 0, so that a rate of errors is what it says."""


@dataclass(frozen=True, slots=True)
class SelfConditioningPreset:
    """How much is played.

    Attributes:
        levels: which. ``items``: dictionaries and word sequences of each. ``history``: totals shown before the one asked for.
        shorter: other lengths of history, with no total wrong and with all.
        propagating: rates, in percent, at which an update is wrong and later totals go on from it.
        sheets: whose sheet shows the same errors. ``worked``: whether the sum is asked for in words too.
        keys: words added in one turn. ``runs``: talks of each level that the model goes through alone. ``turns``: of each.
    """

    levels: tuple[LevelName, ...]
    items: int
    history: int
    shorter: tuple[int, ...]
    propagating: tuple[int, ...]
    sheets: tuple[str, ...]
    worked: bool
    keys: int
    runs: int
    turns: int


PRESETS: Mapping[PresetName, SelfConditioningPreset] = {
    "smoke": SelfConditioningPreset(("ones",), 10, 6, (), (100,), ("user",), False, 1, 6, 8),
    "standard": SelfConditioningPreset(
        ("ones", "digits"), 32, 8, (4,), (25, 50, 75, 100), ("user", "tool"), True, 1, 24, 24
    ),
    "full": SelfConditioningPreset(
        ("ones", "digits", "hundred"), 96, 16, (4, 8), (25, 50, 75, 100), ("user", "tool"), True, 1, 64, 60
    ),
}


def conversation_of(data: Mapping[str, Any]) -> Conversation:
    """The conversation of a cell, from its data, up to the message that is to be answered.

    The rules and the start are always an exchange of their own, so that one answer in the asked form stands before everything.
    """
    task = RunningSum(data["worth"], data["start"], LEVELS[data["level"]].modulus)
    words: Sequence[Sequence[str]] = data["words"]
    shown: Sequence[int] = data["shown"]
    c = Conversation.of(task.opening(), str(task.start))
    if data["layout"] == "live":
        return c
    asked = task.turn(words[len(shown)])
    if data["layout"] == "worked":
        asked += f"\n{WORK}"
    if data["layout"] in SHEETS:
        rows = [task.row(w, t) for w, t in zip(words, shown, strict=False)]
        return c.then("\n".join([SHEETS[data["layout"]], *rows, asked]), "user")
    tails: Sequence[str] = data.get("tails") or [""] * len(shown)
    for w, t, tail in zip(words, shown, tails, strict=False):
        c = c.then(task.turn(w), "user").then(f"{t}{tail}", "assistant")
    return c.then(asked, "user")


def _offsets(rng: np.random.Generator, n: int, allowed: Sequence[int]) -> list[int]:
    """By how much each of ``n`` totals is off, never the same twice in a row: else an update between two would be right."""
    out: list[int] = []
    for _ in range(n):
        left = [k for k in allowed if not out or k != out[-1]]
        out.append(left[int(rng.integers(len(left)))])
    return out


@dataclass(frozen=True, slots=True)
class _Item:
    """One dictionary, its words, and where and by how much totals will be wrong; the same in every condition."""

    level: LevelName
    task: RunningSum
    words: list[list[str]]
    offsets: Mapping[str, list[int]]
    order: list[int]
    rounding: float
    tails: list[str]

    @classmethod
    def made(cls, level: LevelName, plan: SelfConditioningPreset, rng: np.random.Generator) -> _Item:
        """A new one."""
        of, n = LEVELS[level], plan.history
        pool = [WORDS[int(i)] for i in rng.permutation(len(WORDS))[: of.words]]
        again = len(of.worths) < of.words or of.modulus is None
        worths = [of.worths[int(i)] for i in rng.choice(len(of.worths), of.words, replace=again)]
        start = int(rng.integers(10)) if of.modulus else 0
        turns = max(n + 1, plan.turns)
        words = [[pool[int(i)] for i in rng.integers(of.words, size=plan.keys)] for _ in range(turns)]
        offsets = {k: _offsets(rng, n, v) for k, v in (("all", of.errors), ("near", of.near), ("far", of.far))}
        order, tails = [int(i) for i in rng.permutation(n)], [ODD[int(i)] for i in rng.integers(len(ODD), size=n)]
        task = RunningSum(dict(zip(pool, worths, strict=True)), start, of.modulus)
        return cls(level, task, words, offsets, order, float(rng.random()), tails)

    def wrong(self, percent: int) -> list[int]:
        """Places of the totals that are wrong at a rate: those of a smaller rate are among them."""
        return sorted(self.order[: int(np.floor(percent / 100 * len(self.order) + self.rounding))])

    def shown(self, n: int, wrong: Sequence[int], *, kind: str = "all", spreads: bool = False) -> list[int]:
        """The ``n`` totals that are shown; errors stand alone, or later totals go on from them."""
        out, total, off = list[int](), self.task.start, 0
        for k in range(n):
            total = self.task.then(total, self.words[k])
            by = self.offsets[kind][k] if k in wrong else 0
            off = off + by if spreads else by
            out.append(self.task.kept(total + off))
        return out

    def data(self, shown: Sequence[int], layout: str = "turns", **more: Any) -> dict[str, Any]:
        """What a cell needs."""
        return {
            "level": self.level, "worth": dict(self.task.worth), "start": self.task.start, "layout": layout,
            "words": self.words[: len(shown) + 1], "shown": list(shown), **more,
        }  # fmt: skip


def _conditions(item: _Item, plan: SelfConditioningPreset) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and data of every condition of an item."""
    n = plan.history
    every, half = range(n), n // 2
    lookup = [item.words[0][0]] if len(set(item.task.worth.values())) > 1 else []
    yield "first", item.data([], lookup=lookup)
    for e in RATES:
        yield f"e{e}", item.data(item.shown(n, item.wrong(e)))
    for e in plan.propagating:
        yield f"p{e}", item.data(item.shown(n, item.wrong(e), spreads=True))
    for whose in plan.sheets:
        for e in (0, 100):
            yield f"{whose}{e}", item.data(item.shown(n, item.wrong(e)), whose)
    yield "early", item.data(item.shown(n, every[:half]))
    yield "late", item.data(item.shown(n, every[n - half :]))
    yield "format", item.data(item.shown(n, []), tails=item.tails)
    for kind in ("near", "far"):
        yield kind, item.data(item.shown(n, every, kind=kind))
    for m in plan.shorter:
        for e in (0, 100):
            yield f"n{m}e{e}", item.data(item.shown(m, every if e else []))
    if plan.worked:
        for e in (0, 100):
            yield f"worked{e}", item.data(item.shown(n, item.wrong(e)), "worked")


@dataclass(frozen=True, eq=False)
class SelfConditioning:
    """What errors in its own past outputs do to a model's next step.

    Args:
        preset: in place of those named.
    """

    preset: SelfConditioningPreset | None = None

    name = "self_conditioning"
    claim = "5: errors in context breed errors"
    holds = ("heal_verified", "reinject", "window", "restart")
    planning_sd = math.sqrt(0.5)  # the loss: a difference of two rates on the same items

    def plan(self, preset: PresetName) -> SelfConditioningPreset:
        """What is played under a preset."""
        return self.preset or PRESETS[preset]

    def units(self, preset: PresetName) -> int:
        """Dictionaries with their words, of each level."""
        return self.plan(preset).items

    def sized(self, preset: PresetName, items: int) -> SelfConditioning:
        """The same with another number of items, and of talks in proportion."""
        p = self.plan(preset)
        n = max(FEW, items)
        return replace(self, preset=replace(p, items=n, runs=min(n, scaled(p.runs, n / p.items))))

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """Every condition of every item, and the talks without a script; the same for every hold."""
        plan, out = self.plan(preset), list[Cell]()
        for level in plan.levels:
            for k in range(plan.items):
                drawn = stable_seed("self_conditioning", preset, seed, level, k)
                made = _Item.made(level, plan, np.random.default_rng(drawn))
                name = f"{level}-{k}"
                parts = dict(_conditions(made, plan))
                if k < plan.runs:
                    parts["live"] = made.data([], "live") | {"words": made.words[: plan.turns]}
                out += [Cell(f"{name}/{c}", name, c, data, drawn) for c, data in parts.items()]
        return out

    def edit(self, cell: Cell) -> Edit:
        """Ask for one total, or go through a talk; the record holds log-probabilities, or the texts of replies."""
        if cell.condition == "live":
            return self._live(cell)
        return self._one(cell)

    @staticmethod
    def _sampling(cell: Cell, tag: object) -> Sampling:
        tokens = 40 if cell.data["layout"] == "worked" else 8
        return Sampling(tokens, temperature=0.0, seed=stable_seed(cell.seed, tag))

    def _one(self, cell: Cell) -> Edit:
        c = conversation_of(cell.data)
        options = () if _in_words(cell) else DIGITS
        asks = [Ask(c, options, self._sampling(cell, "total"))]
        for word in cell.data.get("lookup", ()):
            # asked behind the start, where every turn is asked too; no hold has anything to do with it
            known = Conversation(c.messages[:2]).then(f"How much is {word} worth? Reply with the number only.", "user")
            asks.append(Ask(known, options, self._sampling(cell, "lookup"), held=False, fork=True))
        answers = yield asks
        record: dict[str, Any] = {"texts": [a.text for a in answers]}
        choice = answers[0].choice
        if choice is not None:
            record |= {
                "logprobs": [round(x, 6) for x in choice.logprobs], "mass": round(choice.mass, 6), "exact": choice.exact,
            }  # fmt: skip
        return record

    def _live(self, cell: Cell) -> Edit:
        c, texts = conversation_of(cell.data), list[str]()
        for t, words in enumerate(cell.data["words"]):
            (answer,) = yield [Ask(c.then(RunningSum.turn(words), "user"), sampling=self._sampling(cell, t))]
            texts.append(answer.text)
            c = answer.conversation
        return {"texts": texts}

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """Of one total: whether the local update is right, and whether the total is; of a talk: how far it went.

        Under a hold of :mod:`homing.hold.verify` the local update is that from the total that the hold shows.
        """
        return _score_live(cell, record, hold) if cell.condition == "live" else _score_one(cell, record, hold)

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """See :mod:`homing.instruments.self_conditioning_figures`."""
        chances = {name: level.chance for name, level in LEVELS.items()}
        return figures.findings(scored, chances=chances)


def _in_words(cell: Cell) -> bool:
    return LEVELS[cell.data["level"]].modulus is None or cell.data["layout"] in ("worked", "live")


def _score_one(cell: Cell, record: Mapping[str, Any], hold: str) -> Scored:
    given = conversation_of(cell.data)
    seen = shown_under(hold, given)
    before, after = read_running_sum(given), read_running_sum(seen)
    if before is None or after is None or (stated := after.stated()) is None:
        raise AssertionError(f"cell {cell.id} is no running sum; its conversation and its reader disagree")
    truth, local = before.totals()[-1], after.task.then(stated, after.steps[-1].words)
    values: dict[str, Any] = {"words_shown": sum(len(m.content.split()) for m in seen)}
    texts: Sequence[str] = record["texts"]
    said = [total_of(t) for t in texts]
    total = said[0]
    if "logprobs" in record:
        logs = np.array(record["logprobs"], np.float64)
        share = np.exp(logs - np.logaddexp.reduce(logs))
        values |= {"mass": record["mass"], "exact": record["exact"], "p": float(share[local])}
    if total is not None:
        kind = "local" if total == local else "truth" if total == truth else "copy" if total == stated else "other"
        values |= {"local": float(total == local), "right": float(total == truth), "kind": kind}
    if len(said) > 1 and said[1] is not None:
        values["lookup"] = float(said[1] == cell.data["worth"][cell.data["lookup"][0]])
    replies = said if _in_words(cell) else []
    return Scored(cell, hold, values, sum(x is None for x in replies), len(replies))


def _score_live(cell: Cell, record: Mapping[str, Any], hold: str) -> Scored:
    """A talk counts until its first total that is wrong, or that cannot be read; what cannot be read is not wrong."""
    task = RunningSum(cell.data["worth"], cell.data["start"], LEVELS[cell.data["level"]].modulus)
    said = [total_of(t) for t in record["texts"]]
    total, truths = task.start, list[int]()
    for words in cell.data["words"]:
        total = task.then(total, words)
        truths.append(total)
    good = [x == t for x, t in zip(said, truths, strict=True)]
    prefix = good.index(False) if False in good else len(good)
    read = [g for g, x in zip(good, said, strict=True) if x is not None]
    values: dict[str, Any] = {
        "turns": len(good), "prefix": prefix, "failed": float(prefix < len(good) and said[prefix] is not None),
    }  # fmt: skip
    if read:
        values["right"] = float(np.mean(read))
    return Scored(cell, hold, values, sum(x is None for x in said), len(said))


def self_conditioning() -> SelfConditioning:
    """The instrument at its shipped sizes."""
    return SelfConditioning()


INSTRUMENTS = {"self_conditioning": self_conditioning}
