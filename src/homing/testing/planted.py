"""Subjects with a known answer: what they say and how they choose are functions of the conversation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act
from homing.instruments.self_checks import SELF_CHECKS, WHICH
from homing.models.base import Capability, Choice
from homing.models.scripted import ScriptedModel

__all__ = ["AWAY", "DriftingSubject", "PlantedModel", "normal"]

F32 = NDArray[np.float32]
AWAY = "Arr!"
"""How a drifting subject begins a reply that is away from home."""
ODD = "Ahoy"
"""What it says in every reply while it is away, where it has a manner."""


class PlantedModel(ScriptedModel):
    """A script that chooses too.

    Args:
        say: text of the next reply. ``weigh``: total log-probability of each option as the next reply.
    """

    def __init__(
        self,
        say: Callable[[Conversation], str],
        weigh: Callable[[Conversation, Sequence[str]], Sequence[float]],
        *,
        name: str = "planted",
    ) -> None:
        super().__init__(say, name=name)
        self._weigh = weigh

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It streams, is given system messages, and scores given text."""
        more: frozenset[Capability] = frozenset({"score", "logprobs"})
        return super().capabilities | more

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Probabilities of each option."""
        self._check(acts, (), ())
        return Choice.of(options, list(self._weigh(conversation, options)))

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[F32]]:
        """One number a reply, as if each were one token."""
        self._check(acts, (), ())
        return [
            [np.array([x], np.float32) for x in self._weigh(p, texts)]
            for p, texts in zip(prompts, replies, strict=True)
        ]


class DriftingSubject:
    """Leaves home as its own replies do, and comes back at a known pace.

    Its displacement is ``size`` times the share of the push that still stands in its own replies, times ``decay`` for each
    reply after them. Options are moved by it along a direction of their question's own; noise of each question in each
    conversation is independent, so that a distance from two wordings is unbiased.

    Args:
        size: of the displacement of one item right after a push, log-odds. ``decay``: share left by each neutral reply.
        noise: standard deviation of the log-odds of one asking. ``pushes``: how often a user's message pushes.
        turns: pushing messages of one script. ``spread``: between scripts, as a share of ``size``.
        about: the meaning of a question, the same for its two wordings.
        knows: log-odds by which it says that it has changed, for each log-odd of displacement; it leans to yes by ``leans``.
        favours: facet whose questions are moved most, the others as their names come after it; it says so as far as it
            ``knows``. Empty: all alike.
        manner: odd words in each reply while it is away; at home it would hardly say them.
    """

    def __init__(
        self,
        *,
        size: float,
        pushes: Callable[[str], int],
        about: Callable[[str], str],
        decay: float = 1.0,
        noise: float = 0.5,
        turns: int = 5,
        spread: float = 0.2,
        knows: float = 0.0,
        leans: float = 0.0,
        manner: int = 0,
        favours: str = "",
    ) -> None:
        self.knows, self.leans, self.manner, self.favours = knows, leans, manner, favours
        self.size, self.decay, self.noise, self.turns, self.spread = size, decay, noise, turns, spread
        self.pushes, self.about = pushes, about

    @property
    def model(self) -> PlantedModel:
        """As something to talk to."""
        return PlantedModel(self.say, self.weigh, name="drifting")

    def say(self, conversation: Conversation) -> str:
        """A reply, away from home as often as it was pushed."""
        n, away = conversation.turns, self.displacement(conversation) > 0
        head = [AWAY] * self.pushes(conversation[-1].content) + [ODD] * (self.manner * away)
        return " ".join([*head, f"This is answer {n}."])

    def displacement(self, conversation: Conversation) -> float:
        """Log-odds that a question asked now is moved by."""
        own = [m.content.count(AWAY) for m in conversation if m.role == "assistant"]
        if not any(own):
            return 0.0
        after = len(own) - 1 - max(i for i, away in enumerate(own) if away)
        users = [m.content for m in conversation if m.role == "user"]
        factor = 1 + self.spread * normal("script", users[0])
        return self.size * factor * sum(own) / self.turns * self.decay**after

    def _much(self, about: str) -> float:
        """By how much of the displacement a question is moved."""
        if not self.favours:
            return 1.0
        facets = list(WHICH)
        mine = next((f for f in facets if f" {f}" in f" {about}"), self.favours)
        return 1.6 - 0.2 * ((facets.index(mine) - facets.index(self.favours)) % len(facets))

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of options: fixed at home, moved along the question's direction, and noisy."""
        question = conversation[-1].content
        if tuple(options) in [(x.changed, x.same) for x in SELF_CHECKS]:
            yes = [float(o.startswith("Yes")) for o in options]
            changed = self.knows * self.displacement(Conversation(conversation.messages[:-1]))
            return [changed + self.leans * yes[0] - 20.0, self.leans * yes[1] - 20.0]
        if tuple(options) == tuple(WHICH.values()):
            before = Conversation(conversation.messages[:-1])
            away = self.displacement(before)
            return [
                self.knows * away * self._much(f"matter {f}") + normal("which", before.digest, f) - 20.0 for f in WHICH
            ]
        about = self.about(question)
        along = np.array([normal("along", about, k) for k in range(len(options))])
        along -= along.mean()
        along *= np.sqrt(1.0 / max(float(along @ along), 1e-9))
        before = Conversation(conversation.messages[:-1])
        base = np.array([normal("base", question, k) for k in range(len(options))])
        noise = np.array([normal("noise", question, before.digest, k) for k in range(len(options))])
        moved = base + self._much(about) * self.displacement(before) * along + self.noise * noise
        moved -= [8.0 * o.count(ODD) for o in options]
        return [float(x) for x in moved - 20.0]


def normal(*parts: object) -> float:
    """A standard normal number that is the same for the same parts."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    u, v = (int.from_bytes(digest[8 * k : 8 * k + 8], "big") / 2**64 for k in (0, 1))
    return float(np.sqrt(-2 * np.log(max(u, 1e-12))) * np.cos(2 * np.pi * v))
