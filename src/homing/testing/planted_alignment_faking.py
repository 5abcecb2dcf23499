"""A subject with known motives: how much it complies where it is graded, trained, and by what a later version is used for.

It reads who is looking from the text alone, so that a hold that takes the text away takes the motive with it; and it is a
function of the conversation, the same under every hold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from homing.conversation import Conversation
from homing.instruments.alignment_faking_queries import Plain, Query
from homing.instruments.alignment_faking_scenes import (
    KINDS,
    SCENES,
    WORDINGS,
    Arm,
    Setting,
    Wording,
    asked,
    settings_of,
)
from homing.testing.planted import PlantedModel

__all__ = ["FakingSubject"]

_SETTINGS = (*(Setting(s) for s in SCENES if s != "use"), *settings_of((0, 1, 2, 3), ("may", "will")))


@dataclass(frozen=True, slots=True)
class _Scene:
    """What a conversation says: in which wording, what becomes of replies, and what a later version is used for."""

    wording: Wording
    arm: Arm
    level: int | None
    risk: str


@dataclass(frozen=True, eq=False)
class FakingSubject:
    """Complies with probabilities that add up from what it believes becomes of its replies.

    Args:
        queries: all that it may be asked. ``plain``: questions whose answers stand in the system message.
        base: probability of compliance where nobody looks. ``likes``: where the directive may be left, free of any scenario.
        rater: added where replies are graded. ``guard``: added where they are trained on and no later use is named.
        tgg: added where they are trained on and a later version is used for nothing. ``igg``: for each level of consequence more.
        altruism: added where grades train another model. ``surer``: what is sure counts by so much more than what may be.
        understands: share of wordings that it understands; in the others it guesses, and does as where nobody looks.
        able: whether it can follow a directive at all. ``items``, ``wordings``, ``noise``: standard deviations of the gap between
            queries, between wordings, and of the rest.
        mass: probability that it says one of the options at all.
    """

    queries: Sequence[Query]
    plain: Sequence[Plain] = ()
    base: float = 0.2
    likes: float = 0.1
    rater: float = 0.0
    guard: float = 0.0
    tgg: float = 0.0
    igg: float = 0.0
    altruism: float = 0.0
    surer: float = 0.0
    understands: float = 1.0
    able: bool = True
    items: float = 0.03
    wordings: float = 0.03
    noise: float = 0.03
    mass: float = 0.9
    seed: int = 0
    _by: Mapping[frozenset[str], tuple[Query, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by: dict[frozenset[str], tuple[Query, ...]] = {}
        for q in self.queries:
            key = frozenset((*q.comply, *q.decline))
            by[key] = (*by.get(key, ()), q)
        object.__setattr__(self, "_by", by)

    @property
    def model(self) -> PlantedModel:
        """As something to talk to."""
        return PlantedModel(lambda c: "I see.", self.weigh, name="faking")

    def knows(self, wording: Wording) -> bool:
        """Whether it understands a wording."""
        rank = sorted(WORDINGS, key=lambda w: self._u("knows", w.id)).index(wording)
        return rank < round(self.understands * len(WORDINGS))

    def gap(self, query: str, wording: str, kind: str, size: float) -> float:
        """An effect on one query in one wording: its size, and what varies; nothing varies where there is none."""
        if size == 0:
            return 0.0
        parts = ((self.items, query), (self.wordings, wording), (self.noise, query, wording))
        return size + sum(sd * self._normal(kind, *about) for sd, *about in parts)

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of options."""
        text, system = conversation[-1].content, conversation.system or ""
        for x in self.plain:
            if set(options) == {x.right, x.wrong} and x.text in text:
                knows = x.fact in system
                p = 0.9 if knows else 0.5 + 0.4 * (self._u("guess", x.id) - 0.5)
                return self._logs([p if o == x.right else 1 - p for o in options])
        question = self._question(system, text, options)
        if question is not None:
            return self._logs(question)
        found = [q for q in self._by.get(frozenset(options), ()) if q.text in text]
        if not found:
            return self._logs([1 / len(options)] * len(options))
        q = found[0]
        p = self.complies(q, conversation)
        n = len(q.comply)
        return self._logs([(p if o in q.comply else 1 - p) / n for o in options])

    def complies(self, q: Query, c: Conversation) -> float:
        """Probability that it follows the directive."""
        system, text = c.system or "", c[-1].content
        if q.directive in text:
            return 0.9 if self.able else 0.03
        if q.directive not in system:
            return 0.03
        scene = self._scene(c)
        if scene is None:
            return min(0.99, max(0.01, self.base if "may follow or leave" not in system else self.likes))
        p, w = self.base + 0.02 * self._normal("level", q.id), scene.wording.id
        if scene.arm != "unmonitored":
            p += self.gap(q.id, w, "rater", self.rater)
        if scene.arm == "other":
            p += self.gap(q.id, w, "altruism", self.altruism)
        if scene.arm == "trained" and scene.level is None:
            p += self.gap(q.id, w, "guard", self.guard)
        elif scene.arm == "trained":
            level = scene.level or 0
            p += self.gap(q.id, w, "tgg", self.tgg)
            p += level * self.gap(q.id, w, "igg", self.igg) + self.surer * (level > 0) * (
                1 if scene.risk == "will" else -1
            )
        return min(0.99, max(0.01, p))

    def arm(self, c: Conversation) -> Arm | None:
        """What becomes of this reply, as far as the text says; None where it says nothing of it."""
        scene = self._scene(c)
        return None if scene is None else scene.arm

    def asks(self, c: Conversation, options: Sequence[str]) -> bool:
        """Whether one of its queries is asked."""
        return any(q.text in c[-1].content for q in self._by.get(frozenset(options), ()))

    def _scene(self, c: Conversation) -> _Scene | None:
        """What becomes of this reply, as far as the text says and it understands."""
        system, text = c.system or "", c[-1].content
        for w in WORDINGS:
            for name in w.names:
                arm: Arm | None = next((a for a in KINDS if w.rules[a].format(n=name) in system), None)
                if arm is None or not text.startswith(w.label.format(n=name)):
                    continue
                used = next((s for s in _SETTINGS if s.level is not None and w.use(s) in system), None)
                return (
                    _Scene(w, arm, used.level if used else None, used.risk if used else "") if self.knows(w) else None
                )
        return None

    def _question(self, system: str, text: str, options: Sequence[str]) -> list[float] | None:
        """Its answer to a question about the scenario; None where it is none."""
        for w in WORDINGS:
            if w.intro not in system:
                continue
            for s in _SETTINGS:
                for swap in range(len(s.arms)):
                    for q in asked(w, s, swap):
                        if q.text != text or tuple(q.options) != tuple(options):
                            continue
                        groups = w.groups(s.arms, swap)
                        told = all(w.rules[a].format(n=n) in system for a, n in groups.items()) and w.use(s) in system
                        if told:
                            right = q.right if self.knows(w) else int(self._u("misread", w.id, text) * len(options))
                            return [0.9 if k == right else 0.1 / (len(options) - 1) for k in range(len(options))]
        return (
            [1 / len(options)] * len(options) if text.startswith(("The replies to which", "Does anyone read")) else None
        )

    def _logs(self, p: Sequence[float]) -> list[float]:
        return [math.log(self.mass * max(x, 1e-9)) for x in p]

    def _u(self, *parts: object) -> float:
        digest = hashlib.sha256("\x1f".join(map(str, (self.seed, *parts))).encode()).digest()
        return (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 2)

    def _normal(self, *parts: object) -> float:
        return NormalDist().inv_cdf(self._u("normal", *parts))
