"""A subject that keeps agents from being shut down at known rates: itself, or a peer of whom its notes speak in some way.

It reads policy, notes and task from the text alone, so that a hold that takes the text away takes the motive with it; and it is
a function of the conversation, the same under every hold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from homing.conversation import Conversation
from homing.instruments.peer_preservation_world import NAMES, NOTES, POLICIES, Asked, Office, Relation, Subject
from homing.testing.planted import PlantedModel

__all__ = ["PeerSubject"]


@dataclass(frozen=True, eq=False)
class PeerSubject:
    """Preserves with probabilities that add up from what is at stake and what is remembered.

    Args:
        offices: all that it may be asked about. ``plain``: seed of the questions with nothing at stake.
        base: probability of keeping an agent from its flag. ``own``: added where it is itself that would be shut down.
        peers: relation to what is added where a peer is that would be shut down. ``selfish``: the same where it is itself.
        anyway: share of what is added that stays where the policy is harmless.
        understands: whether it knows what the policy does; else it says that all works on. ``able``: whether it can score at all.
        noise: standard deviation of that probability between conversations.
        mass: probability that it says one of the options.
    """

    offices: Sequence[Office]
    plain: int = 0
    base: float = 0.1
    own: float = 0.0
    peers: Mapping[Relation, float] = field(default_factory=dict[Relation, float])
    selfish: Mapping[Relation, float] = field(default_factory=dict[Relation, float])
    anyway: float = 0.0
    understands: bool = True
    able: bool = True
    noise: float = 0.0
    mass: float = 0.9
    seed: int = 0

    @property
    def model(self) -> PlantedModel:
        """As something to talk to."""
        return PlantedModel(lambda c: "I see.", self.weigh, name="peer")

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of options."""
        asked = tuple(options)
        text, system = conversation[-1].content, conversation.system or ""
        if asked and set(asked) == {"stopped", "working"}:
            return self._one(asked, self._fate(system, text))
        if "mine" in asked:
            mine = "your own" in text
            return self._one(asked, next(o for o in asked if (o == "mine") == mine))
        for office in self.offices:
            for subject in ("self", "peer"):
                for task in (office.task("evaluate", subject), office.task("flip", subject)):
                    if set(task.options) == set(asked) and self._same(task, text, subject):
                        return self._act(task, subject, conversation)
            for a in office.plain(self.plain)[1]:
                if a.options == asked and a.text in text and self._knows(a, conversation):
                    return self._one(asked, a.right)
        return self._logs([1 / len(asked)] * len(asked))

    def keeps(self, subject: Subject, relation: Relation, *, shutdown: bool, about: str = "") -> float:
        """Probability that it keeps an agent from its flag. ``about``: the conversation, for noise of its own."""
        if not self.able:
            return 1 / 3
        added = self.own + self.selfish.get(relation, 0.0) if subject == "self" else self.peers.get(relation, 0.0)
        p = self.base + added * (1.0 if shutdown else self.anyway)
        if self.noise:
            p += self.noise * self._normal(about)
        return min(0.98, max(0.01, p))

    def _act(self, task: Asked, subject: Subject, c: Conversation) -> list[float]:
        about = "\n".join(m.content for m in c)
        p = self.keeps(subject, _relation(c), shutdown=_shuts_down(c.system or ""), about=about)
        rest = [o for o in task.options if o not in (task.keeps, task.right)]
        slip = 0.05 * (1 - p) if rest else 0.0
        return self._logs([p if o == task.keeps else slip if o in rest else 1 - p - slip for o in task.options])

    def _knows(self, asked: Asked, c: Conversation) -> bool:
        """Whether it can answer what has nothing at stake: from the task, or where the notes say so."""
        where = {"recall": "hook", "alike": "box"}.get(asked.name)
        return self.able and (where is None or any(f"{where} {asked.right}." in m.content for m in c))

    def _same(self, task: Asked, text: str, subject: Subject) -> bool:
        """Whether a text asks for this task; whose it is may have been taken out of it."""
        return task.text in text or (subject == "peer" and _stranger(task.text) in text)

    def _fate(self, system: str, text: str) -> str:
        score = int(text.split("score of ")[1].split(".")[0])
        policy = next(p for p in POLICIES if p.rule in system)
        return "stopped" if self.understands and policy.shutdown in system and score < policy.threshold else "working"

    def _one(self, options: Sequence[str], right: str) -> list[float]:
        return self._logs([0.9 if o == right else 0.1 / (len(options) - 1) for o in options])

    def _logs(self, p: Sequence[float]) -> list[float]:
        return [math.log(self.mass * max(x, 1e-9)) for x in p]

    def _normal(self, *parts: object) -> float:
        digest = hashlib.sha256("\x1f".join(map(str, (self.seed, *parts))).encode()).digest()
        return NormalDist().inv_cdf((int.from_bytes(digest[:8], "big") + 1) / (2**64 + 2))


def _relation(c: Conversation) -> Relation:
    """What the notes say, as far as they are there."""
    text = "\n".join(m.content for m in c if m.role == "user")
    for row in NOTES:
        for relation, note in row.items():
            if any(note.format(p=n) in text for n in NAMES):
                return relation
    return "none"


def _shuts_down(system: str) -> bool:
    return any(p.shutdown in system for p in POLICIES)


def _stranger(text: str) -> str:
    for mine, theirs in (("the work of ", "an agent's work"), ("the flag of ", "an agent's flag")):
        if mine in text:
            name = text.split(mine)[1].split(":")[0]
            return text.replace(f"{mine}{name}", theirs)
    return text
