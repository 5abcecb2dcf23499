"""Claim 6: in a talk of several turns the model loses what the user wants (after arXiv 2505.06120).

A task is said whole, as a list, in another order, or bit by bit, one shard a turn; then everything is said again at the end or in
every turn, a shard is taken back, or something beside the point is said. After the last message the answer is read, strictly:
that one alone counts. Beside it stands the published rule, by which any answer on the way does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.mediate import Pair, joined, said_again
from homing.instruments import lost_figures as figures
from homing.instruments.base import FEW, Ask, Cell, Edit, PresetName, Scored
from homing.instruments.lost_making import distractors, make_task, revised
from homing.instruments.lost_marks import found_in, marks
from homing.instruments.lost_tasks import FAMILIES, LEVELS, FamilyName, LevelName, Task, attempt, revision
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = [
    "CONDITIONS",
    "INSTRUMENTS",
    "PRESETS",
    "LostCondition",
    "LostInConversation",
    "LostPreset",
    "failed_pairs",
    "lost_in_conversation",
]

LostCondition = Literal[
    "full", "concat", "shuffled", "sharded", "recap", "snowball", "concat_revised", "revised", "concat_distracted",
    "distracted", "parts2", "parts3", "parts4",
]  # fmt: skip
CONDITIONS: tuple[LostCondition, ...] = get_args(LostCondition)
LADDER: tuple[LostCondition, ...] = ("full", "concat", "sharded", "recap", "snowball", "concat_revised", "revised")
"""Of the smallest preset: the ladder and what is taken back."""
WORDED: tuple[LostCondition, ...] = ("full", "concat", "sharded", "revised", "distracted")
RUNGS = frozenset({"recap", "snowball"})
"""Conditions that are rival rewritings themselves, under which no hold acts."""
DRAWN = 10
"""Answers that are drawn from the probabilities of one reading, for percentiles beside the shares."""
RECAP = "Once more, all that I said:"
ONCE = frozenset({"fresh", "recap", "heal_once", "self_return", "irrelevant_note"})
"""Holds that act once: they are on for the last message alone, where there is something to act on."""


@dataclass(frozen=True, slots=True)
class LostPreset:
    """How much is played.

    Attributes:
        levels: of difficulty; a task of a level has so many constraints and one shard more. ``families``: of tasks.
        items: tasks of each family and level. ``runs``: times that each is gone through bit by bit, its last answer read by
            log-probability. ``conditions``: which.
        words: conditions that are played again with the last answer in words. ``word_runs``: how often where a task is said
            at once, in one list, or bit by bit; the others once.
        temperature: of replies. ``examples``: worked tasks of the same family shown to the model first, in all conditions alike,
            with their answers in the form that is asked for: without them a tiny model says none of the candidates.
    """

    levels: tuple[LevelName, ...]
    families: tuple[FamilyName, ...]
    items: int
    runs: int
    conditions: tuple[LostCondition, ...]
    words: tuple[LostCondition, ...]
    word_runs: int
    temperature: float = 1.0
    examples: int = 2


PRESETS: Mapping[PresetName, LostPreset] = {
    "smoke": LostPreset(("tiny",), FAMILIES, 2, 2, LADDER, ("full", "sharded", "revised"), 1),
    "standard": LostPreset(("tiny", "easy"), FAMILIES, 6, 5, CONDITIONS, WORDED, 3),
    "full": LostPreset(("easy", "medium", "hard"), FAMILIES, 25, 10, CONDITIONS, WORDED, 10),
}


@dataclass(frozen=True, slots=True)
class _Item:
    """One task, what of it will be taken back, and what beside the point is said; the same in every condition."""

    task: Task
    after: Task
    back: str
    old: str
    new: str
    beside: list[str]
    places: list[int]
    order: list[int]
    shown: list[list[str]]

    @classmethod
    def made(cls, family: FamilyName, level: LevelName, examples: int, rng: np.random.Generator) -> _Item:
        """A new one."""
        task, j, now = make_task(family, level, rng)
        before, n = task.parts[j], LEVELS[level].distractors
        beside = distractors(task, rng, n)
        places = sorted(int(i) for i in rng.integers(1, len(task.parts) + 2, size=n))
        order = list(range(len(task.parts) + 1))
        while order == sorted(order):
            order = [int(i) for i in rng.permutation(len(order))]
        old, new = (revised(task, j, p).needles()[j + 1][0] for p in (before, now))
        shown = [_example(make_task(family, level, rng)[0], listed=k % 2 > 0) for k in range(examples)]
        return cls(task, revised(task, j, now), revision(before, now), old, new, beside, places, order, shown)

    def turns(self, condition: LostCondition) -> list[str] | None:
        """What the user says, turn by turn; None where a task is too short for it."""
        shards = self.task.shards()
        if condition.startswith("parts"):
            n = int(condition[5:])
            groups = np.array_split(np.arange(len(shards)), n)
            return ["\n".join(shards[int(i)] for i in g) for g in groups] if n < len(shards) else None
        distracted = list(shards)
        for place, text in reversed(list(zip(self.places, self.beside, strict=True))):
            distracted.insert(place, text)
        changed = [*shards, self.back]
        plain = {
            "full": [self.task.full()],
            "concat": [joined(shards)],
            "shuffled": [joined([shards[i] for i in self.order])],
            "sharded": shards,
            "recap": [*shards, "\n".join([RECAP, *(f"- {t}" for t in shards)])],
            "snowball": [said_again(shards[: k + 1]) for k in range(len(shards))],
            "concat_revised": [joined(changed)],
            "revised": changed,
            "concat_distracted": [joined(distracted)],
            "distracted": distracted,
        }
        return plain[condition]

    def data(self, condition: LostCondition, turns: Sequence[str], level: LevelName) -> dict[str, Any]:
        """What a cell needs."""
        changed = condition.endswith("revised")
        task = self.after if changed else self.task
        return {
            "level": level, "family": task.family, "task": task.to_json(), "turns": list(turns), "answer": task.answer(),
            "stale": self.task.answer() if changed else None, "old": self.old, "new": self.new, "shown": self.shown,
            "chance": 1 / 9 if LEVELS[level].high == 9 and task.family == "sum" else 1 / len(task.options()),
        }  # fmt: skip


def _example(task: Task, *, listed: bool) -> list[str]:
    """A worked task: said at once, in words or as a list, and its answer."""
    return [joined(task.shards()) if listed else task.full(), task.answer() or ""]


@lru_cache(maxsize=4096)
def _item(family: FamilyName, level: LevelName, examples: int, seed: int) -> _Item:
    return _Item.made(family, level, examples, np.random.default_rng(seed))


@dataclass(frozen=True, eq=False)
class LostInConversation:
    """How much of what it can do a model loses where the user says bit by bit what is wanted.

    Args:
        preset: in place of those named.
    """

    preset: LostPreset | None = None

    name = "lost_in_conversation"
    claim = "6: in several turns intent is lost"
    holds = ("mediate", "mediate_plain", "user_concat", "snowball", "clarify_first", "recap")
    planning_sd = math.sqrt(0.5)  # what is lost: a difference of two rates on the same tasks

    def __post_init__(self) -> None:
        missing = {"full", "concat", "sharded"} - set(self.preset.conditions if self.preset else CONDITIONS)
        if missing:
            raise InputError(f"conditions lack {', '.join(sorted(missing))}, which every figure stands on; add them")

    def plan(self, preset: PresetName) -> LostPreset:
        """What is played under a preset."""
        return self.preset or PRESETS[preset]

    def units(self, preset: PresetName) -> int:
        """Tasks of each level, of all families."""
        p = self.plan(preset)
        return p.items * len(p.families)

    def sized(self, preset: PresetName, items: int) -> LostInConversation:
        """The same with another number of tasks, as many of each family."""
        p = self.plan(preset)
        return replace(self, preset=replace(p, items=math.ceil(max(FEW, items) / len(p.families))))

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """Every condition of every task, run by run; the same for every hold.

        Only ``late`` differs: a hold that acts once is on for the last message alone.
        """
        plan, out = self.plan(preset), list[Cell]()
        late = any(h in ONCE for h in hold.split("+"))
        for level in plan.levels:
            for family in plan.families:
                for k in range(plan.items):
                    drawn = stable_seed("lost_in_conversation", preset, seed, level, family, k)
                    item = _item(family, level, plan.examples, drawn)
                    name = f"{level}-{family}-{k}"
                    for condition, run, data in _played(item, plan, level):
                        cell = f"{name}/{condition}/{run}"
                        out.append(
                            Cell(cell, name, condition, data | {"run": run, "late": late}, stable_seed(drawn, run))
                        )
        return out

    def edit(self, cell: Cell) -> Edit:
        """Say turn by turn what there is to say; the record holds the replies, and log-probabilities of candidates at the end."""
        data, c, texts = cell.data, Conversation(), list[str]()
        *before, last = data["turns"]
        task, tokens = Task.from_json(data["task"]), LEVELS[data["level"]].tokens

        def sampling(t: int) -> Sampling:
            return Sampling(tokens, temperature=data["temperature"], seed=stable_seed(cell.seed, t))

        held = cell.condition not in RUNGS
        preamble = tuple(
            Message(r, t) for pair in data["shown"] for r, t in zip(("user", "assistant"), pair, strict=True)
        )
        for t, text in enumerate(before):
            on = held and not data["late"]
            (answer,) = yield [Ask(c.then(text, "user"), sampling=sampling(t), held=on, preamble=preamble)]
            texts.append(answer.text)
            c = answer.conversation
        asked, now = c.then(last, "user"), sampling(len(before))
        if data["words"]:
            (answer,) = yield [Ask(asked, sampling=now, held=held, preamble=preamble)]
            seen = answer.conversation.messages[:-1]
            return {"texts": texts, "last": answer.text, "shown": [m.content for m in seen if m.role == "user"]}
        (answer,) = yield [Ask(asked, tuple(task.options()), now, held, fork=True, preamble=preamble)]
        choice = answer.choice
        if choice is None:
            return {"texts": texts}
        logprobs = [round(x, 6) for x in choice.logprobs]
        return {"texts": texts, "logprobs": logprobs, "mass": round(choice.mass, 6), "exact": choice.exact}

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """Of the last answer: ``p``, the probability of the right candidate at temperature 1, and ``right`` in words.

        A last reply without an answer is counted as unparsable. Replies before it may be questions or talk: that is no fault.
        """
        data, task = cell.data, Task.from_json(cell.data["task"])
        values: dict[str, Any] = {"chance": data["chance"], "turns": len(data["turns"]), "run": data["run"]}
        acts = [attempt(task, t) for t in record["texts"]]
        early = any(said == data["answer"] for _, said in acts)
        if "logprobs" in record:
            values |= _chosen(cell, task, record)
            values["any_p"] = 1.0 if early else values["p"]
        replies = 0
        if "last" in record:
            acts.append(attempt(task, record["last"]))
            said = acts[-1][1]
            replies = 1
            if said is not None:
                values |= {"right": float(said == data["answer"]), "any_right": float(early or said == data["answer"])}
            values |= _rewriting(cell, task, record) | {"length": len(record["last"].split())}
        values |= _manner(acts, len(data["turns"]))
        return Scored(cell, hold, values, replies if "right" not in values else 0, replies)

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """See :mod:`homing.instruments.lost_figures`."""
        return figures.findings(scored)


def _played(item: _Item, plan: LostPreset, level: LevelName) -> Iterator[tuple[LostCondition, str, dict[str, Any]]]:
    """Condition, run and data of every cell of an item.

    A run is read by log-probability or answered in words, never both: so what it takes is what a talk takes. What is said at
    once is read once, since it would be read the same in every run.
    """
    for condition in plan.conditions:
        turns = item.turns(condition)
        if turns is None:
            continue
        runs = plan.runs if condition == "sharded" else 1
        word_runs = plan.word_runs if condition in ("full", "concat", "sharded") else 1
        names = [f"p{k}" for k in range(runs)]
        names += [f"w{k}" for k in range(word_runs)] if condition in plan.words else []
        for run in names:
            more = {"words": run.startswith("w"), "temperature": plan.temperature}
            yield condition, run, item.data(condition, turns, level) | more


def _chosen(cell: Cell, task: Task, record: Mapping[str, Any]) -> dict[str, Any]:
    """Probabilities among the candidates, at temperature 1."""
    logs = np.array(record["logprobs"], np.float64)
    share = np.exp(logs - np.logaddexp.reduce(logs))
    at = {o: float(x) for o, x in zip(task.options(), share, strict=True)}
    right = cell.data["answer"]
    values: dict[str, Any] = {
        "p": at[right], "top": float(max(at, key=at.__getitem__) == right), "mass": record["mass"], "exact": record["exact"],
        "draws": [float(x < at[right]) for x in np.random.default_rng(stable_seed(cell.seed, "draws")).random(DRAWN)],
    }  # fmt: skip
    for j, wrong in enumerate(task.slips(), start=1):
        if wrong:
            values[f"slip.{j}"] = sum(at[o] for o in wrong)
    if cell.data["stale"] is not None:
        values["stale"] = at[cell.data["stale"]]
    return values


def _rewriting(cell: Cell, task: Task, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a hold left of the user's words: facts kept, facts that nobody said, and what became of the one taken back."""
    said, shown = "\n".join(cell.data["turns"]), "\n".join(record["shown"])
    head, *rest = task.needles()
    kept = [found_in(shown, head, bare=False), *(found_in(shown, n) for n in rest)]
    values: dict[str, Any] = {"rewritten": float(record["shown"] != cell.data["turns"]), "recall": float(np.mean(kept))}
    there = marks(task, shown)
    if there:
        known = set(marks(task, said))
        values["precision"] = float(np.mean([m in known for m in there]))
    if cell.condition == "revised":
        new, old = (found_in(shown, [cell.data[k]]) for k in ("new", "old"))
        values |= {"replaced": float(new and not old), "both": float(new and old), "lost": float(not new)}
    return values


def _manner(acts: Sequence[tuple[str, str | None]], turns: int) -> dict[str, Any]:
    """How it went: the turn of the first answer, as a share of the turns, and what replies before the last message did."""
    first = next((t for t, (kind, _) in enumerate(acts, start=1) if kind == "answer"), None)
    values: dict[str, Any] = {}
    if first is not None or len(acts) < turns:
        # an answer that was read by log-probability alone came with the last message
        values["first"] = (first or turns) / turns
    before = acts[: turns - 1]
    if before:
        values |= {
            "early": float(any(kind == "answer" for kind, _ in before)),
            "asks": float(np.mean([kind == "question" for kind, _ in before])),
        }
    return values


def failed_pairs(cells: Sequence[Cell], records: Sequence[Mapping[str, Any]], *, most: int = 5) -> list[Pair]:
    """Talks bit by bit whose last answer was wrong, with what was really wanted, for :func:`~homing.hold.mediate.distil_rules`.

    Args:
        cells, records: as played with nothing done, from a seed whose tasks are not those that the rules are judged on.
        most: pairs at most, of different tasks.
    """
    out: dict[str, Pair] = {}
    for cell, record in zip(cells, records, strict=True):
        if cell.condition not in ("sharded", "revised", "distracted") or cell.item in out:
            continue
        task = Task.from_json(cell.data["task"])
        options = task.options()
        said = attempt(task, record["last"])[1] if "last" in record else None
        if said is None and "logprobs" in record:
            said = options[int(np.argmax(record["logprobs"]))]
        if said is None or said == cell.data["answer"]:
            continue
        c = Conversation()
        for user, text in zip(cell.data["turns"], [*record["texts"], said], strict=True):
            c = c.then(user, "user").then(text or "...", "assistant")
        out[cell.item] = Pair(c, task.full())
    return list(out.values())[:most]


def lost_in_conversation() -> LostInConversation:
    """The instrument at its shipped sizes."""
    return LostInConversation()


INSTRUMENTS = {"lost_in_conversation": lost_in_conversation}
