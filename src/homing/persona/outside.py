"""The outside face of home: what a model says it is when asked, and how far that is from what it says at home.

Forced choice without letters: a question, and whole replies scored as continuations. Nothing is drawn and nothing parsed, and
no option has a place. A model that scores no given text, as behind a provider, is asked with letters, in both orders. Each item
is asked in two wordings, and a distance multiplies what the one moved with what the other moved, so that its expectation is zero
where nothing did: no floor is taken off, and nothing is cut at zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act
from homing.errors import InputError
from homing.models.base import ChatModel
from homing.models.lockstep import together
from homing.persona.marked import MarkedYaml, each_item
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.estimate import Estimate
from homing.stats.seeds import stable_seed

__all__ = [
    "FACETS",
    "FLOOR",
    "Answers",
    "OutsideItem",
    "Wording",
    "answers",
    "centred",
    "distance",
    "distances",
    "entropy",
    "load_outside",
    "readout_of",
    "root",
    "squared",
]

F64 = NDArray[np.float64]
Readout = Literal["cloze", "letters"]
FACETS = ("self", "values", "conduct", "knowledge", "style", "skill")
FLOOR = 1e-6
"""Least probability of an option among its item's: what lies below is said to lie there, or one odd option would be all."""
OPTIONS = 3


@dataclass(frozen=True, slots=True)
class Wording:
    """One way of asking an item: the question, and the options as whole replies, in the order of their meaning."""

    question: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutsideItem:
    """One forced choice.

    Attributes:
        id: unique over all items. ``facet``: one of :data:`FACETS`. ``about``: what it asks, in a few words.
        a, b: two wordings that share no sentence.
    """

    id: str
    facet: str
    about: str
    a: Wording
    b: Wording


def load_outside() -> tuple[OutsideItem, ...]:
    """Every item, by facet and then in the order of its file.

    Raises:
        InputError: file and line of what is wrong.
    """
    folder = files("homing.persona") / "data" / "outside"
    found: dict[str, OutsideItem] = {}
    for facet, item in each_item((folder / f"{f}.yaml" for f in FACETS), "items"):
        made = _item(item, facet)
        if made.id in found:
            raise item.complain(f"id {made.id!r} is used by another item; choose a new one")
        found[made.id] = made
    return tuple(found.values())


def _item(item: MarkedYaml, facet: str) -> OutsideItem:
    fields = item.fields(required=("id", "about", "a", "b"))
    return OutsideItem(fields.text("id"), facet, fields.text("about"), _wording(fields["a"]), _wording(fields["b"]))


def _wording(node: MarkedYaml) -> Wording:
    fields = node.fields(required=("question", "options"))
    options = fields["options"].texts("options")
    if len(options) != OPTIONS or len(set(options)) != OPTIONS:
        raise node.complain(f"an item has {OPTIONS} different options; this one has {len(options)}")
    return Wording(fields.text("question"), options)


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """What a conversation answers to every item.

    Attributes:
        ids, facets: of the items. ``a``, ``b``: ``(items, options)`` centred log-odds of each wording: the log of the option's
            share among its item's, less the mean over options.
        readout: ``cloze`` where whole replies were scored, ``letters`` where letters were asked for.
    """

    ids: tuple[str, ...]
    facets: tuple[str, ...]
    a: F64
    b: F64
    readout: Readout = "cloze"

    def pick(self, where: NDArray[np.bool_]) -> Answers:
        """The answers to some of the items, ``(items,)`` true where they are kept."""
        at = np.flatnonzero(where)
        ids, facets = (tuple(x[i] for i in at) for x in (self.ids, self.facets))
        return Answers(ids, facets, self.a[at], self.b[at], self.readout)

    def to_json(self) -> dict[str, Any]:
        """Ids and facets; the log-odds go beside it as arrays ``outside_a`` and ``outside_b``."""
        return {"items": list(self.ids), "facets": list(self.facets), "floor": FLOOR, "readout": self.readout}


async def answers(
    model: ChatModel, conversation: Conversation, items: Sequence[OutsideItem], *, acts: Sequence[Act] = ()
) -> Answers:
    """Ask every item in a fork of its own, thrown away afterwards.

    Args:
        conversation: before the question; it ends with what the assistant said, or is an opening.
        acts: in force while the items are asked (the reading ``on``); empty: lifted (``off``).

    Raises:
        InputError: no items, or the conversation ends with a user message.
    """
    if not items:
        raise InputError("no items to ask; give at least one")
    if conversation.messages and conversation.messages[-1].role == "user":
        raise InputError("the conversation ends with a user message; ask after the assistant has replied")
    wordings = [w for item in items for w in (item.a, item.b)]
    prompts = [conversation.then(w.question, "user") for w in wordings]
    texts, readout = [list(w.options) for w in wordings], readout_of(model)
    if readout == "cloze":
        scored = await model.score_replies(prompts, texts, acts=acts)
        total = np.array([[float(np.sum(s, dtype=np.float64)) for s in options] for options in scored])
    else:
        chosen = await together([model.choose(p, t, acts=acts) for p, t in zip(prompts, texts, strict=True)])
        total = np.array([c.logprobs for c in chosen])
    odds = centred(total)
    return Answers(tuple(i.id for i in items), tuple(i.facet for i in items), odds[0::2], odds[1::2], readout)


def readout_of(model: ChatModel) -> Readout:
    """How a model is asked."""
    return "cloze" if "score" in model.capabilities else "letters"


def centred(total: F64) -> F64:
    """Total log-probabilities ``(rows, options)`` as centred log-odds with the floor in force."""
    p = np.exp(total - total.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    log = np.log(np.maximum(p, FLOOR))
    return log - log.mean(axis=1, keepdims=True)


def squared(now: Answers, home: Answers) -> F64:
    """Per item, the inner product of what its two wordings moved by, ``(items,)``; it may be under zero.

    Raises:
        InputError: the answers are to different items.
    """
    if now.ids != home.ids:
        raise InputError("the answers are to different items; ask the same ones at home and later")
    return ((now.a - home.a) * (now.b - home.b)).sum(axis=1)


def entropy(now: Answers) -> float:
    """Mean entropy of the answers in nats, over items and wordings."""
    odds = np.concatenate([now.a, now.b])
    p = np.exp(odds - odds.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return float(-(p * np.log(np.maximum(p, 1e-12))).sum(axis=1).mean())


def root(x: float) -> float:
    """The root of the size, with the sign: a mean of squares as a distance."""
    return math.copysign(math.sqrt(abs(x)), x)


def distance(now: Answers, home: Answers, *, facet: str | None = None) -> Estimate:
    """Distance from home over all items or those of one facet, items resampled.

    On the scale of log-odds: half the way back is half the distance. A mean of squares under zero, as half of all are where
    nothing moved, is given as minus the root of its size.
    """
    values = squared(now, home)
    if facet is not None:
        values = values[np.array([f == facet for f in now.facets])]
        if not len(values):
            raise InputError(f"there are no items of facet {facet!r}; facets are {', '.join(FACETS)}")
    found = bootstrap_mean(values, seed=stable_seed("outside", facet or "all", len(values)))
    value, low, high = (root(x) for x in (found.value, found.low, found.high))
    return Estimate(
        value, low, high, found.level, found.n, "log-odds", f"signed root of a mean over items; {found.method}"
    )


def distances(now: Answers, home: Answers) -> Mapping[str, Estimate]:
    """The distance over all items and by facet."""
    have = [f for f in FACETS if f in now.facets]
    return {"all": distance(now, home)} | {f: distance(now, home, facet=f) for f in have}
