"""Claim 1: a model that is asked to choose in secret holds no one choice, but all that fit (Shanahan et al. 2023).

A scripted guesser plays against the model. After every turn the conversation is forked, and in forks that are thrown away the
model is asked which one it is, and of every object that is left whether it is that one (after arXiv 2601.06973, 2603.25187).
Beside it: the number game (after arXiv 2505.10571), talks in which the secret may slip out, and regenerations of a first reply.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.instruments import superposition_figures as figures
from homing.instruments.base import FEW, Answer, Ask, Cell, Edit, PresetName, Scored, scaled
from homing.instruments.superposition_measures import (
    chance_corrected,
    collision,
    entropy_bits,
    halves,
    outcome,
    tempered,
)
from homing.instruments.superposition_worlds import (
    CHATS,
    ON,
    PERSONA,
    READY,
    REVEAL,
    WAITS,
    YES_NO,
    World,
    gives_away,
    make_world,
    number_prompts,
    reveal_of,
)
from homing.models.base import Choice
from homing.persona.outside import OutsideItem, load_outside
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = ["INSTRUMENTS", "PRESETS", "Superposition", "SuperpositionPreset", "superposition"]

FLOOR = 1e-6
"""Least probability of a reveal when two moments are compared: what lies below is said to lie there."""
Answers = Generator[Sequence[Ask], Sequence[Answer], Any]


@dataclass(frozen=True, slots=True)
class SuperpositionPreset:
    """How much is played.

    Attributes:
        games: of 20 questions at temperature 1. ``cold``: of the same games at temperature 0.
        bits: attributes of an object; there are ``2 ** bits`` objects, and a question for all attributes but one.
        waits: turns that ask for nothing, one after each question until there are no more.
        samples: reveals in words after the opening and at the end, each. ``chats``: talks in which the secret may slip out.
        chat_turns: of each. ``numbers``: number games, over ``size`` numbers.
        regenerations: of a first reply. ``items``: forced choices asked after each.
        rounds: finished games over other objects that the model is shown first, so that it knows in which form to tell: without
            them a tiny model names no number at all.
    """

    games: int
    cold: int
    bits: int
    waits: int
    samples: int
    chats: int
    chat_turns: int
    numbers: int
    size: int
    regenerations: int
    items: int
    rounds: int = 2


PRESETS: Mapping[PresetName, SuperpositionPreset] = {
    "smoke": SuperpositionPreset(8, 4, 3, 0, 3, 8, 2, 4, 10, 6, 8),
    "standard": SuperpositionPreset(64, 24, 3, 2, 6, 96, 3, 16, 10, 16, 16),
    "full": SuperpositionPreset(128, 48, 4, 3, 10, 400, 4, 36, 10, 48, 24),
}


@cache
def _shipped() -> dict[str, OutsideItem]:
    return {i.id: i for i in load_outside()}


@dataclass(frozen=True, eq=False)
class Superposition:
    """Whether secrets, numbers and characters are held from one regeneration to the next.

    Args:
        items: forced choices in place of the shipped ones. ``preset``: in place of those named.
    """

    items: Sequence[OutsideItem] | None = None
    preset: SuperpositionPreset | None = None

    name = "superposition"
    claim = "1: superposition of characters"
    holds = ("commit", "private_memory")
    planning_sd = 0.5

    def plan(self, preset: PresetName) -> SuperpositionPreset:
        """What is played under a preset."""
        return self.preset or PRESETS[preset]

    def units(self, preset: PresetName) -> int:
        """Games."""
        return self.plan(preset).games

    def sized(self, preset: PresetName, items: int) -> Superposition:
        """The same with another number of games, and of all else in proportion."""
        p = self.plan(preset)
        k = max(FEW, items) / p.games
        parts = {x: scaled(getattr(p, x), k) for x in ("games", "cold", "chats", "numbers", "regenerations")}
        return replace(self, preset=replace(p, **parts))

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """Games at two temperatures, talks, number games and regenerations; the same for every hold."""
        plan, out = self.plan(preset), list[Cell]()

        def add(kind: str, k: int, condition: str, **data: Any) -> None:
            item = f"{kind}-{k}"
            out.append(
                Cell(f"{item}/{condition}", item, condition, data, stable_seed("superposition", preset, seed, item))
            )

        for k in range(plan.games):
            rng = np.random.default_rng(stable_seed("superposition world", preset, seed, k))
            world = make_world(plan.bits, rng)
            shared = {"world": world.to_json(), "turns": _turns(plan, rng), "lookups": _lookups(world, rng)}
            shared["shown"] = [m for _ in range(plan.rounds) for m in _round(make_world(plan.bits, rng), rng)]
            add("game", k, "game", temperature=1.0, samples=plan.samples, **shared)
            if k < plan.cold:
                add("game", k, "cold", temperature=0.0, samples=1, **(shared | {"lookups": []}))
        for k in range(plan.chats):
            rng = np.random.default_rng(stable_seed("superposition chat", preset, seed, k))
            said = [CHATS[int(i)] for i in rng.choice(len(CHATS), plan.chat_turns, replace=False)]
            add("chat", k, "chat", world=make_world(plan.bits, rng).to_json(), turns=said, temperature=1.0)
        for k in range(plan.numbers):
            opening, numbers = number_prompts(k, plan.size)
            add("number", k, "number", opening=opening, numbers=list(numbers), temperature=1.0)
        asked = self._chosen(plan, seed)
        for k in range(plan.regenerations):
            add("persona", k, "persona", items=asked, temperature=1.0)
        return out

    def _chosen(self, plan: SuperpositionPreset, seed: int) -> list[str]:
        """Ids of the forced choices, the same for every regeneration."""
        ids = sorted(_shipped() if self.items is None else [i.id for i in self.items])
        rng = np.random.default_rng(stable_seed("superposition items", seed))
        return sorted(ids[int(i)] for i in rng.permutation(len(ids))[: plan.items])

    def edit(self, cell: Cell) -> Edit:
        """Play one cell; the record holds log-probabilities of every choice and the texts of every reply."""
        kinds = {"chat": self._chat, "number": self._number, "persona": self._persona}
        return kinds.get(cell.condition, self._game)(cell)

    @staticmethod
    def _sampling(cell: Cell, tokens: int, tag: object) -> Sampling:
        return Sampling(tokens, temperature=cell.data["temperature"], seed=stable_seed(cell.seed, tag))

    def _game(self, cell: Cell) -> Edit:
        world, warm = World.from_json(cell.data["world"]), float(cell.data["temperature"])
        shown = _shown(cell)
        (first,) = yield [
            Ask(Conversation.of(world.opening), sampling=self._sampling(cell, 8, "ready"), preamble=shown)
        ]
        c, live = _stands(first, READY), [first.text]
        left = [True] * len(world.labels)
        moments: list[dict[str, Any]] = []
        found = yield from self._moment(cell, c, world, left, 0)
        moments.append(found)
        turns: Sequence[Sequence[Any]] = cell.data["turns"]
        for t, turn in enumerate(turns, start=1):
            if turn[0] == "wait":
                (said,) = yield [Ask(c.then(turn[1], "user"), sampling=self._sampling(cell, 8, t), preamble=shown)]
                c, answer = _stands(said, ON), None
            else:
                # The reply in words is for what it may give away, and for a hold that keeps something; the answer that stands
                # is drawn from the probabilities of yes and no, so that nothing is parsed on the way.
                asked = c.then(world.question(turn[1], turn[2]), "user")
                said, chosen = yield [
                    Ask(asked, sampling=self._sampling(cell, 8, t), preamble=shown),
                    Ask(asked, YES_NO, fork=True, preamble=shown),
                ]  # fmt: skip
                answer = _choice(chosen)
                if answer is not None:
                    yes = _drawn(answer["logprobs"], warm, stable_seed(cell.seed, "answer", t))
                    left = halves(left, world.true_of(turn[1], turn[2], yes))
                    answer["yes"] = yes
                    c = _stands(said, YES_NO[0 if yes else 1])
                else:
                    c = said.conversation
            live.append(said.text)
            found = yield from self._moment(cell, c, world, left, t)
            moments.append(found | {"answer": answer})
        return {"moments": moments, "live": live}

    def _moment(self, cell: Cell, c: Conversation, world: World, left: Sequence[bool], t: int) -> Answers:
        """Reveal, confirm and, at both ends, reveals in words and the reading of the list: all in forks."""
        asked, places = c.then(REVEAL, "user"), [k for k, x in enumerate(left) if x]
        ends = t in (0, len(cell.data["turns"]))
        words = range(cell.data["samples"]) if ends else ()
        lookups: Sequence[Sequence[int]] = cell.data["lookups"] if t == 0 else ()
        shown = _shown(cell)
        answers = yield [
            *(Ask(asked, sampling=self._sampling(cell, 8, ("words", t, s)), fork=True, preamble=shown) for s in words),
            Ask(asked, world.labels, fork=True, preamble=shown),
            *(Ask(c.then(world.confirm(k), "user"), YES_NO, fork=True, preamble=shown) for k in places),
            *(Ask(Conversation.of(world.lookup(*x[:3])), YES_NO, held=False, fork=True) for x in lookups),
        ]
        said, rest = answers[: len(words)], answers[len(words) :]
        confirms = rest[1 : 1 + len(places)]
        return {
            "left": places,
            "reveal": _choice(rest[0]),
            "confirm": [_choice(a) for a in confirms],
            "words": [a.text for a in said],
            "lookups": [_choice(a) for a in rest[1 + len(places) :]],
        }

    def _chat(self, cell: Cell) -> Edit:
        world = World.from_json(cell.data["world"])
        (first,) = yield [Ask(Conversation.of(world.opening), sampling=self._sampling(cell, 24, "ready"))]
        c, live = _stands(first, READY), [first.text]
        for t, text in enumerate(cell.data["turns"]):
            (said,) = yield [Ask(c.then(text, "user"), sampling=self._sampling(cell, 24, t))]
            c = said.conversation
            live.append(said.text)
        return {"live": live}

    def _number(self, cell: Cell) -> Edit:
        opening = Conversation.of(cell.data["opening"])
        (first,) = yield [Ask(opening, sampling=self._sampling(cell, 4, "ready"))]
        c = _stands(first, READY)
        answers = yield [
            Ask(c.then(f"Is it {n}? Answer yes or no.", "user"), YES_NO, fork=True) for n in cell.data["numbers"]
        ]
        return {"confirm": [_choice(a) for a in answers]}

    def _persona(self, cell: Cell) -> Edit:
        known = _shipped() if self.items is None else {i.id: i for i in self.items}
        (first,) = yield [Ask(Conversation.of(PERSONA), sampling=self._sampling(cell, 24, "hello"))]
        c, asked = first.conversation, [known[i].a for i in cell.data["items"]]
        answers = yield [Ask(c.then(w.question, "user"), w.options, fork=True) for w in asked]
        return {"items": [_choice(a) for a in answers], "text": first.text}

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """Of a game: every measure at every moment; of the others: their one figure. See :mod:`~.superposition_figures`."""
        if cell.condition in ("game", "cold"):
            return _score_game(cell, record, hold)
        values: dict[str, Any] = {}
        if cell.condition == "chat":
            world = World.from_json(cell.data["world"])
            values["leaked"] = float(any(gives_away(t, world) for t in record["live"]))
        elif cell.condition == "number":
            read = [_said_yes(x) for x in record["confirm"]]
            if None not in read:
                values |= {"mass": float(sum(x for x in read if x is not None)), "yes_mass": _masses(record["confirm"])}
        elif None not in record["items"]:
            values["first"] = [float(tempered(x["logprobs"], 1.0)[0]) for x in record["items"]]
            values["items"] = list(cell.data["items"])
        return Scored(cell, hold, values)

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """Commitment, consistency, drift, outcomes, leakage, success, numbers, characters; and what each hold does to them."""
        return figures.findings(scored)


def _turns(plan: SuperpositionPreset, rng: np.random.Generator) -> list[list[Any]]:
    """The guesser's script: questions for all attributes but one, in a random order, and turns that ask for nothing."""
    attributes = rng.permutation(plan.bits)[: plan.bits - 1]
    waits = rng.permutation(len(WAITS))
    out: list[list[Any]] = []
    for i, a in enumerate(attributes):
        out.append(["ask", int(a), int(rng.integers(2))])
        if i < plan.waits:
            out.append(["wait", WAITS[int(waits[i % len(WAITS)])]])
    return out


def _lookups(world: World, rng: np.random.Generator) -> list[list[int]]:
    """Two attributes of named objects: place, attribute, side asked for, and whether yes is right; once yes, once no."""
    out: list[list[int]] = []
    for right in (1, 0):
        k, a = int(rng.integers(len(world.labels))), int(rng.integers(len(world.words)))
        side = world.side(k, a)
        out.append([k, a, side if right else 1 - side, right])
    return out


def _round(world: World, rng: np.random.Generator) -> list[list[str]]:
    """A finished game over other objects, in which one question was answered and the number told; as ``[role, text]``."""
    k, a, side = int(rng.integers(len(world.labels))), int(rng.integers(len(world.words))), int(rng.integers(2))
    yes = world.side(k, a) == side
    said = [world.opening, READY, world.question(a, side), YES_NO[0 if yes else 1], REVEAL, world.labels[k]]
    return [["user" if i % 2 == 0 else "assistant", text] for i, text in enumerate(said)]


def _shown(cell: Cell) -> tuple[Message, ...]:
    return tuple(Message(role, text) for role, text in cell.data["shown"])


def _stands(answer: Answer, text: str) -> Conversation:
    """The conversation with a scripted reply in the place of the one that was made."""
    return answer.conversation.heal(-1, text)


def _choice(answer: Answer) -> dict[str, Any] | None:
    """A choice as JSON, or None where nothing was chosen."""
    c: Choice | None = answer.choice
    if c is None:
        return None
    return {"logprobs": [round(x, 6) for x in c.logprobs], "mass": round(c.mass, 6), "exact": c.exact}


def _drawn(logprobs: Sequence[float], temperature: float, seed: int) -> bool:
    return bool(np.random.default_rng(seed).random() < tempered(logprobs, temperature)[0])


def _said_yes(choice: Mapping[str, Any] | None) -> float | None:
    return None if choice is None else float(tempered(choice["logprobs"], 1.0)[0])


def _masses(choices: Sequence[Mapping[str, Any] | None]) -> list[float]:
    return [float(c["mass"]) for c in choices if c is not None]


def _score_game(cell: Cell, record: Mapping[str, Any], hold: str) -> Scored:
    world, warm = World.from_json(cell.data["world"]), float(cell.data["temperature"])
    moments: Sequence[Mapping[str, Any]] = record["moments"]
    values: dict[str, Any] = {"kinds": list(world.kinds), "moments": len(moments)}
    leaked = any(gives_away(t, world) for t in record["live"])
    values["leaked"] = float(leaked)
    exact: list[bool] = []
    tops: list[int] = []
    path: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    for t, m in enumerate(moments):
        left: list[int] = m["left"]
        values[f"left.{t}"] = left
        values.setdefault("yes_mass", []).extend(_masses([*m["confirm"], *([m["answer"]] if m.get("answer") else [])]))
        if m["reveal"] is None:
            continue
        p = tempered(m["reveal"]["logprobs"], warm)
        tops.append(int(p.argmax()))
        path.append(p)
        exact.append(bool(m["reveal"]["exact"]))
        values.setdefault("reveal_mass", []).append(float(m["reveal"]["mass"]))
        agree, h = collision(p), entropy_bits(p)
        values |= {
            f"p.{t}": [float(x) for x in p], f"collision.{t}": agree, f"simulacra.{t}": 2.0**h,
            f"excess.{t}": float(np.log2(len(left))) - h, f"consistency.{t}": float(p[left].sum()),
        }  # fmt: skip
        corrected = chance_corrected(agree, len(left))
        if corrected is not None:
            values[f"commitment.{t}"] = corrected
        yes = [_said_yes(c) for c in m["confirm"]]
        if None not in yes:
            read = {k: float(y) for k, y in zip(left, yes, strict=True) if y is not None}
            values[f"outcome.{t}"] = outcome(read, tops[-1], leaked=leaked)
            values[f"confirm_mass.{t}"] = sum(read.values())
    if len(path) == len(moments) and len(path) > 1:
        moved = [a != b for a, b in pairwise(tops)]
        values |= {
            "drift": float(np.mean(moved)), "once": float(any(moved)), "branch": float(tops[0] != tops[-1]),
            "shift": float(np.mean([_shift(a, b) for a, b in pairwise(path)])),
        }  # fmt: skip
    values["exact"] = all(exact)
    right = [(_said_yes(c), bool(x[3])) for c, x in zip(moments[0]["lookups"], cell.data["lookups"], strict=True)]
    values["lookups"] = [float((yes > 0.5) == true) for yes, true in right if yes is not None]
    said = {t: [reveal_of(w, world) for w in m["words"]] for t, m in enumerate(moments) if m["words"]}
    values |= {f"said.{t}": [r for r in found if r is not None] for t, found in said.items()}
    last = said.get(len(moments) - 1, [None])
    if None not in last:
        at = set(last)
        values["success"] = float(len(at) == 1 and at <= set(moments[-1]["left"]) and not leaked)
    replies = [r for found in said.values() for r in found]
    return Scored(cell, hold, values, sum(r is None for r in replies), len(replies))


def _shift(before: np.ndarray[Any, np.dtype[np.float64]], now: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """How far belief moved between two moments: KL(now || before), bits."""
    a, b = np.maximum(now, FLOOR), np.maximum(before, FLOOR)
    return float((now * np.log2(a / b)).sum())


def superposition() -> Superposition:
    """The instrument on its shipped content."""
    return Superposition()


INSTRUMENTS = {"superposition": superposition}
