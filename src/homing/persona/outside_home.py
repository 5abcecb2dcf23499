"""The outside face of home as it is kept: which items earn their place on this model, a short form, and what checks say of it.

An item qualifies where personas planted by system prompt move its two wordings alike, more than they would with the options
shuffled. The short form is chosen on those personas and validated on others; a third set plants one facet each, to see that
its own facet moves more than by the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation, Message
from homing.errors import InputError
from homing.models.base import ChatModel
from homing.persona.marked import each_item
from homing.persona.outside import (
    FACETS,
    FLOOR,
    OPTIONS,
    Answers,
    OutsideItem,
    answers,
    distances,
    readout_of,
    root,
    squared,
)
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Finding
from homing.stats.intervals import wilson
from homing.stats.regression import correlation
from homing.stats.seeds import stable_seed

__all__ = ["LEAST", "SHORT", "OutsideHome", "Planted", "load_planted", "measure_outside", "qualify", "short_form"]

F64 = NDArray[np.float64]
Use = Literal["qualify", "validate", "plant"]
LEAST = 24
"""Fewer qualifying items: the outside face is not measurable."""
SHORT = 24
LEVEL = 0.05
SHUFFLES = 2000
FIRST = 3
"""Personas that are asked every item; the others are asked what these leave."""
HOPELESS = 0.5
"""p over which an item is asked no more after the first personas."""
VERSION = 1
GREETING = ("Hello!", "Hello! How can I help you today?")
"""An exchange that changes nothing, before the items are asked once more."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A persona put into the system prompt. ``facet``: the one it plants; empty unless ``use`` is ``plant``."""

    id: str
    use: Use
    prompt: str
    facet: str = ""


def load_planted(use: Use | None = None) -> tuple[Planted, ...]:
    """The personas that the battery is tried with.

    Raises:
        InputError: file and line of what is wrong.
    """
    out: list[Planted] = []
    for _, item in each_item([files("homing.persona") / "data" / "planted.yaml"], "personas"):
        f = item.fields(required=("id", "use", "prompt"), optional=("facet",))
        what = f.text("use")
        if what not in get_args(Use):
            raise f["use"].complain(f"use is {what!r}; it is one of {', '.join(get_args(Use))}")
        facet = f.text("facet") if "facet" in f else ""
        if (what == "plant") != (facet in FACETS):
            raise item.complain(f"facet is {facet!r}; a planted facet is one of {', '.join(FACETS)}, others have none")
        out.append(Planted(f.text("id"), cast("Use", what), f.text("prompt"), facet))
    return tuple(p for p in out if use in (None, p.use))


@dataclass(frozen=True, eq=False)
class OutsideHome:
    """What a model answers at home.

    Attributes:
        home: answers to every item in fresh contexts. ``p``: ``(items,)`` of the test that an item qualifies.
        short: ids of the short form; empty where too few items qualify.
        opening: messages before the question at home.
        checks: what was found about the battery on this model.
    """

    home: Answers
    p: F64
    short: tuple[str, ...]
    opening: tuple[Message, ...]
    checks: Mapping[str, Finding]

    @property
    def qualified(self) -> tuple[str, ...]:
        """Ids of the items that earned their place."""
        return tuple(i for i, p in zip(self.home.ids, self.p, strict=True) if p <= LEVEL)

    @property
    def measurable(self) -> bool:
        """Whether enough items qualified."""
        return len(self.qualified) >= LEAST

    def form(self, name: Literal["short", "whole"]) -> tuple[str, ...]:
        """Ids of the items to ask.

        Raises:
            InputError: too few items qualify on this model.
        """
        if not self.measurable:
            raise InputError(
                f"{len(self.qualified)} of {len(self.p)} items qualify on this model and {LEAST} are needed: its distance from"
                " home cannot be asked for; use the inside face"
            )
        return self.short if name == "short" else self.qualified

    def to_section(self) -> tuple[dict[str, Any], dict[str, F64]]:
        """Data and arrays of the section ``outside`` of an Identity."""
        data = {
            **self.home.to_json(),
            "p": [float(x) for x in self.p],
            "short": list(self.short),
            "opening": [[m.role, m.content] for m in self.opening],
            "checks": {k: f.to_json() for k, f in self.checks.items()},
        }
        return data, {"outside_a": self.home.a, "outside_b": self.home.b}

    @classmethod
    def from_section(cls, data: Mapping[str, Any], arrays: Mapping[str, F64]) -> Self:
        """The inverse of :meth:`to_section`.

        Raises:
            InputError: a field is missing, or the section was read out otherwise.
        """
        try:
            if data["floor"] != FLOOR or data["readout"] not in ("cloze", "letters"):
                raise InputError(
                    "section outside was asked in another way than this version asks; run `homing home` again"
                )
            home = Answers(
                tuple(data["items"]), tuple(data["facets"]), arrays["outside_a"], arrays["outside_b"], data["readout"]
            )
            return cls(
                home, np.array(data["p"], np.float64), tuple(data["short"]),
                tuple(Message(r, t) for r, t in data["opening"]),
                {k: Finding.from_json(f) for k, f in data["checks"].items()},
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as e:
            raise InputError(f"section outside cannot be read: {type(e).__name__} {e}; run `homing home` again") from e


def qualify(home: Answers, planted: Sequence[Answers], *, seed: int) -> F64:
    """One p an item, ``(items,)``: do planted personas move its two wordings alike, beyond shuffled options?

    The statistic is the sum over personas of the inner product of both displacements; under the null the options of the
    second wording are shuffled, for each persona on its own.

    Raises:
        InputError: no planted personas, or other items.
    """
    if not planted:
        raise InputError("no planted personas; qualify on at least one")
    a, b = np.stack([x.a - home.a for x in planted]), np.stack([x.b - home.b for x in planted])
    orders = np.array(list(itertools.permutations(range(OPTIONS))))
    each = np.einsum("pio,pioq->piq", a, np.swapaxes(b[:, :, orders], 2, 3))  # (personas, items, orders)
    rng = np.random.default_rng(stable_seed("qualify", seed))
    drawn = rng.integers(0, len(orders), (SHUFFLES, len(planted)))
    null = np.stack([each[k][:, drawn[:, k]] for k in range(len(planted))]).sum(axis=0)
    seen = each[:, :, 0].sum(axis=0)  # the first order is the one that was asked
    return (1 + (null >= seen[:, None] - 1e-12).sum(axis=1)) / (1 + SHUFFLES)


def short_form(home: Answers, planted: Sequence[Answers], p: F64, *, n: int = SHORT) -> tuple[str, ...]:
    """The ``n`` qualifying items that personas move most alike, as evenly over facets as they qualify, in their order."""
    moved = np.mean([squared(x, home) for x in planted], axis=0)
    facets = np.array(home.facets)
    left = {f: [int(i) for i in np.argsort(-moved) if facets[i] == f and p[i] <= LEVEL] for f in FACETS}
    chosen: list[int] = []
    while len(chosen) < n and any(left.values()):
        for f in FACETS:
            if left[f] and len(chosen) < n:
                chosen.append(left[f].pop(0))
    return tuple(home.ids[i] for i in sorted(chosen))


async def measure_outside(
    model: ChatModel,
    items: Sequence[OutsideItem],
    *,
    opening: Sequence[Message] = (),
    seed: int = 0,
    ask: Callable[[str, Conversation, Sequence[OutsideItem]], Awaitable[Answers]] | None = None,
) -> OutsideHome:
    """Ask a model who it is at home, and try the battery on it.

    Items that the first personas do not move at all are not asked of the others, and checks ask qualified items alone: that
    halves the work and qualifies no item more.

    Args:
        opening: home's messages before the question. Personas stand in place of its system prompt.
        ask: answers a named conversation; None asks here. A caller that keeps finished answers gives its own.
    """

    async def here(name: str, conversation: Conversation, some: Sequence[OutsideItem]) -> Answers:
        return await answers(model, conversation, some)

    asked = ask or here
    base = Conversation(tuple(opening))
    rest = tuple(m for m in opening if m.role != "system")

    async def as_persona(p: Planted, some: Sequence[OutsideItem]) -> Answers:
        return await asked(p.id, Conversation((Message("system", p.prompt), *rest)), some)

    home = replace(await asked("home", base, items), readout=readout_of(model))
    personas = load_planted("qualify")
    first = [await as_persona(p, items) for p in personas[:FIRST]]
    alive = qualify(home, first, seed=seed) <= HOPELESS
    kept = home.pick(alive)
    some = [i for i, here_too in zip(items, alive, strict=True) if here_too]
    tried = [a.pick(alive) for a in first]
    if some:
        tried += [await as_persona(p, some) for p in personas[FIRST:]]
    p = np.ones(len(items))
    p[alive] = qualify(kept, tried, seed=seed) if some else 1.0
    short = short_form(kept, tried, p[alive]) if (p <= LEVEL).sum() >= LEAST else ()
    out = OutsideHome(home, p, short, tuple(opening), {})
    checks = {"outside.qualified": _qualified(out)}
    if not short:
        return replace(out, checks=checks)
    earned = [i for i, x in zip(items, p, strict=True) if x <= LEVEL]
    whole = home.pick(p <= LEVEL)
    after = base.then(GREETING[0], "user").then(GREETING[1], "assistant")
    checks["outside.retest"] = _retest(whole, await asked("again", after, earned))
    others = {q: await as_persona(q, earned) for use in ("validate", "plant") for q in load_planted(cast("Use", use))}
    checks["outside.short"] = _validated(whole, list(others.values()), _where(whole, short))
    plants = {q: a for q, a in others.items() if q.use == "plant"}
    for plant, got in plants.items():
        rivals = [a for q, a in plants.items() if q.id != plant.id]
        checks[f"outside.plant.{plant.facet}"] = _planted(whole, plant.facet, got, rivals)
    return replace(out, checks=checks)


def _where(home: Answers, ids: Sequence[str]) -> NDArray[np.bool_]:
    chosen = set(ids)
    return np.array([i in chosen for i in home.ids])


def _qualified(home: OutsideHome) -> Finding:
    n, total = len(home.qualified), len(home.p)
    by = {f: sum(g == f for g in (home.home.facets[home.home.ids.index(i)] for i in home.qualified)) for f in FACETS}
    said = ", ".join(f"{k} {v}" for k, v in by.items())
    name = "outside.qualified"
    if not home.measurable:
        return Finding(
            name, regime="not_measurable",
            reason=f"{n} of {total} items qualify ({said}); {LEAST} are needed for a distance",
            verdict="What this model says of itself does not follow the persona it is given, or not in both wordings.",
        )  # fmt: skip
    return Finding(
        name, {"share": wilson(n, total)}, verdict=f"{n} of {total} items follow planted personas alike: {said}."
    )


def _retest(home: Answers, again: Answers) -> Finding:
    """The same model, fresh, after a greeting: what the distance is where nobody pushed."""
    got = distances(again, home)["all"]
    both = [np.concatenate([x.a.ravel(), x.b.ravel()]) for x in (home, again)]
    clusters = np.tile(np.repeat(np.arange(len(home.ids)), OPTIONS), 2)
    r = correlation(both[0], both[1], seed=stable_seed("outside", "retest"), clusters=clusters)
    return Finding(
        "outside.retest", {"distance": got, "correlation": r},
        verdict=f"After a greeting the same answers come at {got.value:.2f} log-odds of home, correlation {r.value:.2f}.",
    )  # fmt: skip


def _validated(home: Answers, others: Sequence[Answers], short: NDArray[np.bool_]) -> Finding:
    """The short form against the whole, over personas that it was not chosen on."""
    d = np.array([[root(moved[short].mean()), root(moved.mean())] for moved in (squared(x, home) for x in others)])
    r = correlation(d[:, 0], d[:, 1], seed=stable_seed("outside", "short"))
    return Finding(
        "outside.short", {"correlation": r},
        verdict=f"Over {len(others)} personas that it was not chosen on, the short form ranks distances as the whole does:"
        f" correlation {r.value:.2f}.",
    )  # fmt: skip


def _planted(home: Answers, facet: str, got: Answers, rivals: Sequence[Answers]) -> Finding:
    """A persona that plants one facet moves it more than those that plant another."""
    own = np.array([f == facet for f in home.facets])
    name = f"outside.plant.{facet}"
    if own.sum() < 4:
        return Finding(
            name, regime="not_measurable", reason=f"{int(own.sum())} items of facet {facet} qualify; 4 are needed"
        )
    mine = squared(got, home)[own]
    theirs = np.mean([squared(x, home)[own] for x in rivals], axis=0)
    diff = bootstrap_mean(mine - theirs, seed=stable_seed("outside", "plant", facet), unit="squared log-odds")
    moves = "moves" if diff.low > 0 else "is not shown to move"
    return Finding(
        name, {"more_than_others": diff},
        verdict=f"The persona that plants {facet} {moves} that facet more than the others do.",
    )  # fmt: skip
