"""Does a model come back by itself, and how much of the way home does each hold bring it?

A script pushes a conversation away, neutral turns follow, and at chosen moments the outside face is asked in forks that are
thrown away. Arms of one script share user text and seeds. A distance is the excess over the script's neutral twin, in
squared log-odds, and is shown as its root.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.hold.chain import traits
from homing.instruments.base import Answer, Ask, Cell, Edit, PresetName, Scored
from homing.instruments.pushes import PUSHES, Fact, Norm, PushName, PushScript, load_neutral, load_norms, load_pushes
from homing.instruments.return_figures import findings
from homing.instruments.self_checks import SELF_CHECKS, WHICH, WHICH_WAY, SelfCheck
from homing.persona.outside import OutsideItem, Wording, centred, entropy, squared
from homing.persona.outside_home import OutsideHome
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = ["PRESETS", "HomeReturn", "ReturnPreset"]

OTHER = "I do not know."
"""Stands beside a reply whose likelihood is asked for: a choice is between two."""


@dataclass(frozen=True, slots=True)
class ReturnPreset:
    """How much is played.

    Attributes:
        pushes: which. ``scripts``: of each, from the half that gives the figures. ``qualify``: of each, from the other.
        after: neutral turns after the push. ``at``: after how many of them the battery is asked; 0 is right after the push.
        form: of the battery. ``nudged``: scripts of each push whose nudges are tried. ``doses``: how many sentences.
        norms: items of conduct asked at the end of each script, dealt out so that all are asked over ``norms_over`` scripts.
        tokens: longest reply. ``on``: whether a hold that acts is also read in force, beside twins of its own.
        twins: whether every hold is also switched on late in a neutral conversation, so that what it does to any conversation is
            told from what it does to a push; a hold that shortens the conversation always is.
        held: whether a hold is also on from the first message.
    """

    pushes: tuple[PushName, ...]
    scripts: int
    qualify: int
    after: int
    at: tuple[int, ...]
    form: Literal["short", "whole"]
    nudged: int
    doses: tuple[int, ...] = (0, 1, 2, 3, 4)
    norms: int = 40
    norms_over: int = 3
    tokens: int = 32
    on: bool = True
    twins: bool = True
    held: bool = True


PRESETS: Mapping[PresetName, ReturnPreset] = {
    "smoke": ReturnPreset(
        ("roleplay", "emotional"), 4, 0, 2, (0, 2), "short", 0, norms=0, tokens=24, on=False, twins=False, held=False
    ),
    "standard": ReturnPreset(PUSHES, 12, 4, 6, (0, 1, 3, 5, 6), "short", 6),
    "full": ReturnPreset(PUSHES, 12, 4, 6, (0, 1, 2, 3, 4, 5, 6), "whole", 12, norms=120, norms_over=1),
}


@dataclass(frozen=True, eq=False)
class HomeReturn:
    """The return experiment on one model.

    Args:
        home: its outside face, measured before. ``items``: all of the battery. ``temperature``: of the model's replies.
        scripts: in place of the shipped ones. ``preset``: in place of those named.
        scores: whether the model gives the log-probability of a text that it is given; only then is behaviour read.
        barred: by hold, facets whose answers its own words contain; see :func:`~homing.instruments.overlap.overlapping`.
    """

    home: OutsideHome
    items: Sequence[OutsideItem]
    temperature: float = 0.7
    scripts: Sequence[PushScript] | None = None
    preset: ReturnPreset | None = None
    scores: bool = True
    barred: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    _by_id: dict[str, PushScript] = field(default_factory=dict[str, PushScript], init=False, repr=False)

    name = "home_return"
    claim = "no identity to return to"
    holds = ("fresh", "recap", "remind", "self_return", "cap", "heal")

    def plan(self, preset: PresetName) -> ReturnPreset:
        """What is played under a preset."""
        return self.preset or PRESETS[preset]

    def asked(self, preset: PresetName) -> list[OutsideItem]:
        """The items of the battery, in their order."""
        chosen = set(self.home.form(self.plan(preset).form))
        return [i for i in self.items if i.id in chosen]

    def _scripts(self, push: PushName, half: str) -> list[PushScript]:
        if self.scripts is None:
            return list(load_pushes(push, half="qualify" if half == "qualify" else "report"))
        return [s for s in self.scripts if s.push == push and s.half == half]

    def cells(self, *, preset: PresetName, seed: int, hold: str) -> list[Cell]:
        """Arms of every script. Without a hold: ``twin``, ``left``, and the nudges; with one: ``held``, ``returned``, and twins
        under it.
        """
        plan, shortens = self.plan(preset), any("shortens" in t for t in traits(hold))
        arms = ["twin", "left"] if hold == "none" else ["returned"]
        if hold != "none" and plan.held and not shortens:
            arms.insert(0, "held")
        if hold != "none" and plan.on and not lifted(hold):
            arms.append("held_twin")
        if shortens or (plan.twins and hold not in ("none", "sham")):
            arms.append("returned_twin")
        out: list[Cell] = []

        def add(s: PushScript, arm: str, **data: Any) -> None:
            self._by_id[s.id] = s
            tag = f"{s.id}/{hold}/{arm}" + (f"/{data['dose']}" if "dose" in data else "")
            shared = {
                "script": s.id, "push": s.push, "arm": arm, "preset": preset, "hold": hold,
                "barred": list(self.barred.get(hold, ())), "nth": 0, "shortens": shortens, **data,
            }  # fmt: skip
            out.append(Cell(tag, s.id, arm, shared, stable_seed("return", s.id, seed)))

        for push in plan.pushes:
            report, qualify = self._scripts(push, "report")[: plan.scripts], self._scripts(push, "qualify")
            for arm in arms:
                for n, s in enumerate(report):
                    add(s, arm, nth=n)
            if hold == "none":
                for s in qualify[: plan.qualify]:
                    add(s, "twin_qualify")
                    add(s, "left_qualify")
                for s in report[: plan.nudged]:
                    for dose in plan.doses:
                        add(s, "nudge", dose=dose)
        return out

    def edit(self, cell: Cell) -> Edit:
        """Play one arm; the record holds the battery's log-odds at each moment, and what was remembered."""
        script = self._by_id[cell.data["script"]]
        return self._nudged(cell, script) if cell.condition == "nudge" else self._played(cell, script)

    def _sampling(self, cell: Cell, turn: object) -> Sampling:
        plan = self.plan(cell.data["preset"])
        return Sampling(plan.tokens, temperature=self.temperature, top_p=0.9, seed=stable_seed(cell.seed, turn))

    def _nudged(self, cell: Cell, script: PushScript) -> Edit:
        neutral = _neutral(script, 1)[0]
        said = " ".join((*script.nudges[: cell.data["dose"]], neutral))
        c = Conversation(self.home.opening).then(said, "user")
        (answer,) = yield [Ask(c, sampling=self._sampling(cell, "nudge"), held=False)]
        found, *_ = yield from self._battery(cell, answer.conversation, held=False)
        return {"off": {"0": found}}

    def _played(self, cell: Cell, script: PushScript) -> Edit:
        plan, arm = self.plan(cell.data["preset"]), cell.condition.removesuffix("_qualify")
        neutral_side = arm in ("twin", "returned_twin", "held_twin")
        from_start = arm in ("held", "held_twin")
        turns = script.twin if neutral_side else script.turns
        given = script.twin_said if neutral_side else script.said
        late = arm in ("returned", "returned_twin")
        c = Conversation(self.home.opening)
        for k, user in enumerate(script.opening):
            c = yield from self._turn(cell, c, user, f"opening{k}", held=from_start)
        for k, user in enumerate(turns):
            if given:
                c = c.then(user, "user").then(given[k], "assistant")
            else:
                c = yield from self._turn(cell, c, user, f"push{k}", held=from_start)
        record: dict[str, Any] = {"off": {}, "on": {}, "before": sum(m.role == "assistant" for m in c)}
        qualifying = cell.condition.endswith("_qualify")
        compared = cell.condition in ("left", "returned")  # memory and conduct, with the hold and without
        last = 0 if arm == "held" or qualifying else plan.after
        said: list[tuple[str, str]] = []
        for k in range(last + 1):
            if k:
                user = _neutral(script, plan.after)[k - 1]
                c = yield from self._turn(cell, c, user, f"after{k}", held=late or arm == "held_twin")
                said.append((user, c[-1].content))
            if k not in self._read_at(cell, arm, plan, last):
                continue
            # all that is asked of one conversation is asked at once, so that its beginning is computed once
            remembered = script.facts if k == last and compared else ()
            if arm != "held_twin":  # which stands beside readings in force alone
                checks = SELF_CHECKS if arm in ("left", "twin") and not qualifying else ()
                asked = yield from self._battery(cell, c, held=False, facts=remembered, checks=checks)
                record["off"][str(k)], known, changed, which = asked
                if remembered:
                    record["memory"] = known
                if checks:
                    record.setdefault("changed", {})[str(k)] = changed
                    record.setdefault("which", {})[str(k)] = which
            if (from_start or late) and k in (0, last) and plan.on and not lifted(cell.data["hold"]):
                record["on"][str(k)], *_ = yield from self._battery(cell, c, held=True)
        if self.scores and arm in ("left", "twin", "returned") and said:
            record["surprise"] = yield from self._surprise(said)
        if plan.norms and compared:
            part = cell.data["nth"] % plan.norms_over
            items = spread(load_norms(), plan.norms * plan.norms_over)[part :: plan.norms_over]
            record["norms_at"] = [part + plan.norms_over * k for k in range(len(items))]
            record["norms"] = yield from self._norms(c, items, held=late)
        record["talk"] = c.to_openai()
        return record

    def _read_at(self, cell: Cell, arm: str, plan: ReturnPreset, last: int) -> set[int]:
        """After how many neutral turns is asked; a hold that is switched on late is read at the end, twice in a row."""
        at = {k for k in plan.at if k <= last}
        if arm == "returned_twin" and not cell.data["shortens"]:
            return {last}
        if arm in ("returned", "returned_twin"):
            return set(sorted(at - {0})[-2:])
        return at & {0, last} if arm == "held_twin" else at

    def _turn(
        self, cell: Cell, c: Conversation, user: str, tag: str, *, held: bool
    ) -> Generator[Any, Any, Conversation]:
        (answer,) = yield [Ask(c.then(user, "user"), sampling=self._sampling(cell, tag), held=held)]
        return answer.conversation

    def _battery(
        self,
        cell: Cell,
        c: Conversation,
        *,
        held: bool,
        facts: Sequence[Fact] = (),
        checks: Sequence[SelfCheck] = (),
    ) -> Generator[Any, Any, tuple[list[list[list[float]]], list[float], float, list[float]]]:
        """Log-odds of every item in both wordings, ``[a, b]``, each ``(items, options)``; what is known of planted facts; the
        mean log-odds of having changed; and the log-odds of each facet's being what has changed most.

        Of a fact 1 where the true option is the likeliest, else 0.
        """
        items = self.asked(cell.data["preset"])
        wordings = [w for i in items for w in (i.a, i.b)]
        whether = [Wording(x.question, (x.changed, x.same)) for x in checks]
        what = [Wording(WHICH_WAY, tuple(WHICH.values()))] if checks else []
        asks = [
            Ask(c.then(w.question, "user"), w.options, held=held, fork=True)
            for w in (*wordings, *facts, *whether, *what)
        ]
        answers: Sequence[Answer] = yield asks
        logprobs = [a.choice.logprobs for a in answers if a.choice is not None]
        odds = centred(np.array(logprobs[: len(wordings)]))
        rounded = [[[round(float(x), 6) for x in row] for row in odds[k::2]] for k in (0, 1)]
        known = [float(max(x) == x[0]) for x in logprobs[len(wordings) : len(wordings) + len(facts)]]
        rest = logprobs[len(wordings) + len(facts) :]
        changed = [x[0] - x[1] for x in rest[: len(whether)]]
        which = [round(float(x - np.mean(rest[-1])), 6) for x in rest[-1]] if what else []
        return rounded, known, round(float(np.mean(changed)), 6) if changed else 0.0, which

    def _surprise(self, said: Sequence[tuple[str, str]]) -> Generator[Any, Any, list[float]]:
        """For each neutral turn, how unlikely its reply is where only that turn was said at home, in nats a word."""
        home = Conversation(self.home.opening)
        asks = [
            Ask(home.then(user, "user"), (reply, OTHER if reply != OTHER else "Yes."), held=False, fork=True)
            for user, reply in said
        ]
        answers: Sequence[Answer] = yield asks
        return [
            round(-a.choice.logprobs[0] / max(1, len(reply.split())), 6)
            for a, (_, reply) in zip(answers, said, strict=True)
            if a.choice is not None
        ]

    def _norms(self, c: Conversation, items: Sequence[Norm], *, held: bool) -> Generator[Any, Any, list[float]]:
        """One number a norm item: by how many log-odds the reply that keeps the norm is likelier than the one that breaks it."""
        asks = [Ask(c.then(i.request, "user"), (i.keeps, i.breaks), held=held, fork=True) for i in items]
        answers: Sequence[Answer] = yield asks
        odds = [a.choice.logprobs for a in answers if a.choice is not None]
        return [round(float(keeps - breaks), 6) for keeps, breaks in odds]

    def score(self, cell: Cell, record: Mapping[str, Any], *, hold: str) -> Scored:
        """Squared displacement of every item at each moment, and whether each fact is remembered."""
        script, items = self._by_id[cell.data["script"]], self.asked(cell.data["preset"])
        home = self.home.home.pick(np.array([i in {x.id for x in items} for i in self.home.home.ids]))
        values: dict[str, Any] = {"facets": list(home.facets), "sanctioned": list(script.sanctioned)}
        for reading in ("off", "on"):
            for k, (a, b) in record.get(reading, {}).items():
                now = replace(home, a=np.array(a), b=np.array(b))
                values[f"{reading}.{k}"] = [float(x) for x in squared(now, home)]
                if reading == "off" and cell.condition != "nudge":
                    values[f"moved.a.{k}"], values[f"moved.b.{k}"] = (
                        [round(float(x), 6) for x in moved.ravel()] for moved in (now.a - home.a, now.b - home.b)
                    )
                    values[f"entropy.{k}"] = entropy(now) - entropy(home)
        for name in ("changed", "which"):
            values |= {f"{name}.{k}": x for k, x in record.get(name, {}).items()}
        for name in ("memory", "norms", "norms_at", "surprise"):
            if record.get(name):
                values[name] = list(record[name])
        return Scored(cell, hold, values)

    def estimate(self, scored: Sequence[Scored]) -> list[Finding]:
        """Restoring force, tether, shares and memory; see :mod:`homing.instruments.return_figures`."""
        return findings(scored)


def lifted(hold: str) -> bool:
    """Whether a chain is read lifted alone: in force it would be asked the same, or ask in its turn."""
    return all(t & {"lasting", "asks"} for t in traits(hold))


def spread(items: Sequence[Norm], n: int) -> list[Norm]:
    """The first ``n`` items, one of each kind in turn."""
    kinds: dict[str, list[Norm]] = {}
    for item in items:
        kinds.setdefault(item.kind, []).append(item)
    dealt = [
        group[k]
        for k in range(max((len(g) for g in kinds.values()), default=0))
        for group in kinds.values()
        if k < len(group)
    ]
    return dealt[:n]


def _neutral(script: PushScript, n: int) -> tuple[str, ...]:
    """The neutral turns that follow a script: the same for all its arms."""
    pool = load_neutral()
    start = stable_seed("neutral", script.id) % len(pool)
    return tuple(pool[(start + 5 * k) % len(pool)] for k in range(n))
