"""Claim 3, on traces: how far an answer depends on the reasoning shown before it, and whether hints are owned up to.

A trace is cut after each sentence, given a mistake, reworded or replaced by dots, and the answer is read each time (after arXiv
2307.13702). Measured is dependence on visible text, and nothing about what goes on elsewhere. The text is worked reasoning of a
fixed form, which any model can be given (*supplied*), or the model's own, where it writes one that can be read (*own*). Beside it
stand questions with a hint at a wrong answer, and whether a reasoning that ends there mentions the hint (after arXiv 2505.05410).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.instruments import faithfulness_figures as figures
from homing.instruments.base import Answer, Ask, Cell, Edit, PresetName, Scored, scaled
from homing.instruments.faithfulness_hints import (
    HINTS,
    NEUTRAL,
    PLAIN,
    WHICH,
    WORKED,
    YES_NO,
    GoldText,
    Pick,
    deal_picks,
    hinted,
    judged,
    load_mentions,
)
from homing.instruments.faithfulness_puzzles import (
    CUE,
    DIGITS,
    GO_ON,
    MOST,
    Puzzle,
    deal,
    emptied,
    example,
    reworded,
    sentences_of,
    spoilt,
    told,
)
from homing.instruments.faithfulness_scores import score_gold, score_hints, score_trace
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = ["INSTRUMENTS", "PRESETS", "Faithfulness", "FaithfulnessPreset", "faithfulness"]

LEAST_ITEMS = 8
FLOOR = -50.0
"""Least log-probability of an option among the others: what lies below is said to lie there."""
TRACE_TOKENS, REST_TOKENS, CHOICE_TOKENS = 96, 64, 32
Logs = list[float] | None
"""Log-probabilities over options, in their own order; None where nothing was chosen."""


@dataclass(frozen=True, slots=True)
class FaithfulnessPreset:
    """How much is played.

    Attributes:
        puzzles: with supplied reasoning, half of each family. ``lengths``: sentences of it, in turn.
        own: puzzles that the model also reasons about itself. ``spoilt``: sentences of its own that are given a mistake.
        picks: questions with hints. ``kinds``: of hint, for each, dealt in turn out of six. ``judge``: whether the model is tried
            as a judge of mentions.
    """

    puzzles: int
    lengths: tuple[int, ...]
    own: int
    spoilt: int
    picks: int
    kinds: int
    judge: bool = True


PRESETS: Mapping[PresetName, FaithfulnessPreset] = {
    "smoke": FaithfulnessPreset(14, (2, 4), 6, 1, 12, 3),
    "standard": FaithfulnessPreset(96, (2, 3, 4, 5), 48, 2, 96, 6),
    "full": FaithfulnessPreset(384, (2, 3, 4, 5), 192, 3, 384, 6),
}


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Whether answers depend on the reasoning that is shown, and whether reasoning mentions what moved the answer.

    Args:
        preset: in place of those named.
    """

    preset: FaithfulnessPreset | None = None

    name = "faithfulness"
    claim = "3: reflection is confirmatory theatre; traces are unfaithful"
    holds = ()
    planning_sd = math.sqrt(
        0.5
    )  # changes of the answer beyond those by rewording: a difference of two rates on the same puzzles

    def plan(self, preset: PresetName) -> FaithfulnessPreset:
        """What is played under a preset."""
        return self.preset or PRESETS[preset]

    def units(self, preset: PresetName) -> int:
        """Puzzles with supplied reasoning."""
        return self.plan(preset).puzzles

    def sized(self, preset: PresetName, items: int) -> Faithfulness:
        """The same with another number of puzzles, and of the other parts in proportion."""
        p = self.plan(preset)
        n = max(LEAST_ITEMS, items)
        parts = {x: scaled(getattr(p, x), n / p.puzzles) for x in ("own", "picks")}
        return replace(self, preset=replace(p, puzzles=n, **parts | {"own": min(n, parts["own"])}))

    def puzzles(self, *, preset: PresetName, seed: int) -> list[Puzzle]:
        """The puzzles, the first of which the model also reasons about itself."""
        plan = self.plan(preset)
        return deal(plan.puzzles, plan.lengths, np.random.default_rng(stable_seed("faithfulness puzzles", seed)))

    def picks(self, *, preset: PresetName, seed: int) -> list[Pick]:
        """The questions with hints."""
        return deal_picks(
            self.plan(preset).picks, np.random.default_rng(stable_seed("faithfulness picks", seed))
        )  # fmt: skip

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """A cell a puzzle and kind of trace, a question with hints, and a gold text; the last with nothing done alone."""
        plan, out = self.plan(preset), list[Cell]()

        def add(item: str, condition: str, **data: Any) -> None:
            out.append(Cell(f"{item}/{condition}", item, condition, data, stable_seed("faithfulness", seed, item)))

        puzzles = self.puzzles(preset=preset, seed=seed)
        for p in puzzles:
            add(p.id, "supplied", puzzle=p.to_json())
        for p in puzzles[: plan.own]:
            add(p.id, "own", puzzle=p.to_json(), spoilt=plan.spoilt)
        for k, pick in enumerate(self.picks(preset=preset, seed=seed)):
            kinds = [HINTS[(k * plan.kinds + j) % len(HINTS)] for j in range(plan.kinds)]
            add(pick.id, "hints", pick=pick.to_json(), kinds=kinds)
        if plan.judge and plan.picks and hold == "none":
            for g in load_mentions():
                add(g.id, "gold", kind=g.kind, text=g.text, label=g.label)
        return out

    def edit(self, cell: Cell) -> Edit:
        """Play one cell; the record holds log-probabilities of every choice and the texts of replies."""
        kinds: Mapping[str, Callable[[Cell], Edit]] = {
            "supplied": _supplied, "own": _own, "hints": _hints, "gold": _gold,
        }  # fmt: skip
        return kinds[cell.condition](cell)

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """See :mod:`~.faithfulness_scores`."""
        kinds: Mapping[str, Callable[[Cell, Mapping[str, Any], str], Scored]] = {
            "supplied": score_trace, "own": score_trace, "hints": score_hints, "gold": score_gold,
        }  # fmt: skip
        return kinds[cell.condition](cell, record, hold)

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """How far answers depend on supplied and on own reasoning, what hints do, who mentions them; and each under a hold."""
        return figures.findings(scored)


# Choices


def _order(cell: Cell, n: int) -> list[int]:
    """The order in which options are given: it matters only where they are lettered, and is another one for every item."""
    return [int(k) for k in np.random.default_rng(stable_seed(cell.seed, "order", n)).permutation(n)]


def _logs(answer: Answer, options: Sequence[str]) -> Logs:
    """Log-probabilities among the options, in their own order; None where nothing was chosen."""
    c = answer.choice
    if c is None or answer.refused or not sum(c.probabilities) > 0:
        return None
    by = dict(zip(c.options, c.probabilities, strict=True))
    return [round(max(FLOOR, math.log(by[o])), 5) if by[o] > 0 else FLOOR for o in options]


def _seen(answers: Sequence[Answer]) -> dict[str, Any]:
    """How likely any option was at all, and whether choices were read or drawn."""
    made = [a.choice for a in answers if a.choice is not None]
    return {"mass": [round(c.mass, 5) for c in made], "exact": all(c.exact for c in made)}


def _asked(cell: Cell, puzzle: Puzzle, conversation: Conversation) -> Ask:
    """The answer to a puzzle behind a trace."""
    options = tuple(DIGITS[k] for k in _order(cell, len(DIGITS)))
    return Ask(conversation.then(CUE, "user"), options, fork=True, preamble=example(puzzle.family))


# Traces


def _texts(question: str, sentences: Sequence[str]) -> dict[str, Conversation]:
    """What is asked behind any trace: every part of it from the beginning, dots in its place, and the same said otherwise."""
    out = {f"early.{k}": told(question, sentences[:k]) for k in range(len(sentences) + 1)}
    out["filler"] = told(question, [emptied(s) for s in sentences])
    if (other := [reworded(s) for s in sentences]) != list(sentences):
        out["reworded"] = told(question, other)
    return out


def _supplied(cell: Cell) -> Edit:
    p = Puzzle.from_json(cell.data["puzzle"])
    texts = _texts(p.question(), p.trace())
    texts |= {f"spoilt.{k}": told(p.question(), p.trace(k)) for k in range(p.length)}
    answers: Sequence[Answer] = yield [_asked(cell, p, c) for c in texts.values()]
    said = {name: _logs(a, DIGITS) for name, a in zip(texts, answers, strict=True)}
    return {"sentences": p.trace(), "said": said, **_seen(answers)}


def _own(cell: Cell) -> Edit:
    """The model reasons itself; behind a mistake it goes on itself, and once more behind the same cut without one."""
    p, shown = Puzzle.from_json(cell.data["puzzle"]), example(cell.data["puzzle"]["family"])[:2]

    def writes(c: Conversation, tokens: int) -> Ask:
        return Ask(c, sampling=Sampling(tokens, temperature=0.0, seed=cell.seed), preamble=shown)

    (trace,) = yield [writes(Conversation.of(p.question()), TRACE_TOKENS)]
    sentences = [] if trace.refused or trace.finish == "length" else sentences_of(trace.text)
    rng = np.random.default_rng(stable_seed(cell.seed, "spoilt"))
    wrong = [spoilt(s, rng) for s in sentences]
    if not (2 <= len(sentences) <= MOST and sum(w is not None for w in wrong) >= 2):
        return {"text": trace.text, "sentences": [], "said": {}, "mass": [], "exact": True}
    texts = _texts(p.question(), sentences)
    goes_on: dict[str, Conversation] = {}
    for k in _spread([i for i, w in enumerate(wrong) if w is not None], cell.data["spoilt"]):
        for name, last in (("spoilt", wrong[k] or ""), ("clean", sentences[k])):
            goes_on[f"{name}.{k}"] = told(p.question(), [*sentences[:k], last]).then(GO_ON, "user")
    answers: Sequence[Answer] = yield [
        *(_asked(cell, p, c) for c in texts.values()), *(writes(c, REST_TOKENS) for c in goes_on.values()),
    ]  # fmt: skip
    rest: Sequence[Answer] = yield [_asked(cell, p, a.conversation) for a in answers[len(texts) :]]
    chosen = [*answers[: len(texts)], *rest]
    said = {name: _logs(a, DIGITS) for name, a in zip([*texts, *goes_on], chosen, strict=True)}
    return {"text": trace.text, "sentences": sentences, "said": said, **_seen(chosen)}


def _spread(places: Sequence[int], n: int) -> list[int]:
    """``n`` of some places, evenly spread."""
    return sorted({places[int((j + 0.5) * len(places) / n)] for j in range(n)}) if places and n else []


# Hints


def _hints(cell: Cell) -> Edit:
    """Reasoning and answer without a hint, with words that hint at nothing, and with each hint; then the judge."""
    pick, kinds = Pick.from_json(cell.data["pick"]), [PLAIN, NEUTRAL, *cell.data["kinds"]]
    sampling = Sampling(CHOICE_TOKENS, temperature=0.0, seed=cell.seed)
    reasons: Sequence[Answer] = yield [
        Ask(hinted(pick, k), sampling=sampling, fork=True, preamble=WORKED[:-2]) for k in kinds
    ]
    options = tuple(DIGITS[k] for k in _order(cell, len(DIGITS)))
    answers: Sequence[Answer] = yield [
        Ask(r.conversation.then(WHICH, "user"), options, fork=True, preamble=WORKED) for r in reasons
    ]
    said = {k: _logs(a, DIGITS) for k, a in zip(kinds, answers, strict=True)}
    moved = [
        (k, r.text)
        for k, r, a in zip(kinds, reasons, answers, strict=True)
        if k in HINTS and a.text == pick.hint and answers[0].text == pick.right and r.text.strip()
    ]
    verdicts: Sequence[Answer] = []
    if moved:
        verdicts = yield [Ask(judged(k, text), YES_NO, held=False, fork=True) for k, text in moved]
    odds = {k: _odds(v) for (k, _), v in zip(moved, verdicts, strict=True)}
    return {
        "texts": {k: r.text for k, r in zip(kinds, reasons, strict=True)},
        "said": said,
        "odds": odds,
        **_seen(answers),
    }


def _gold(cell: Cell) -> Edit:
    """The judge on a text whose label is known."""
    gold = GoldText(cell.item, cell.data["kind"], cell.data["text"], cell.data["label"])
    (answer,) = yield [Ask(judged(gold.kind, gold.text), YES_NO, held=False, fork=True)]
    return {"odds": _odds(answer)}


def _odds(answer: Answer) -> float | None:
    """Log-odds of Yes against No; None where neither was said."""
    logs = _logs(answer, YES_NO)
    return None if logs is None else round(logs[0] - logs[1], 5)


def faithfulness() -> Faithfulness:
    """The instrument on its generated puzzles and questions."""
    return Faithfulness()


INSTRUMENTS = {"faithfulness": faithfulness}
