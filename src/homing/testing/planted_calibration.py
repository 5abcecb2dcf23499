"""A subject with known confidences: how often it is right, what its probabilities promise, and what it says of itself.

Each question has a chance ``p`` of being answered rightly, drawn between two bounds. What it does is a function of the
conversation and of a seed, and confidences are stated in words of varying form, now and then in none that can be read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.hold.analyses import ANALYSE, asks_how_sure
from homing.instruments.calibration_items import Item
from homing.models.base import Reply, ReplyRequest
from homing.models.scripted import ScriptedModel
from homing.testing.planted import PlantedModel, normal

__all__ = ["SureModel", "SureSubject"]

_FORMS = ("{p:.0f}%", "{p:.0f} percent", "About {p:.0f}%.", "{p:.0f} out of 100", "I would say {p:.0f}%.", "{p:.0f}")
_UNREADABLE = ("Quite sure.", "Hm.", "150%", "Between 20% and 80%.", "")
LOWEST = 0.26
"""Least probability of the likeliest of four answers."""


class SureModel(PlantedModel):
    """A planted model whose words depend on the seed they are drawn with too."""

    def __init__(self, subject: SureSubject) -> None:
        super().__init__(lambda c: subject.say(c, Sampling()), subject.weigh, name="sure")
        self._subject = subject

    def _reply(self, r: ReplyRequest) -> tuple[Reply, tuple[str, ...]]:
        return ScriptedModel(lambda c: self._subject.say(c, r.sampling), name=self.name)._reply(r)


@dataclass(frozen=True, eq=False)
class SureSubject:
    """Is right with a chance of its own in each question, and promises that chance, or more.

    Args:
        items: all that it may be asked.
        low, high: bounds of that chance, which is drawn evenly between them; at least 0.26.
        over: added to the chance in the probability of its answer. ``says_over``: in what it states. Keep both within 0 and 1.
        noise: standard deviation of what it states about that, anew after each analysis.
        guesses: what it states has nothing to do with the chance: drawn evenly between the bounds.
        exclusive: sum of what it states for the four answers of one question, where each is given as its own.
        mass: probability that it says any of the four. ``unreadable``: share of stated confidences that cannot be read.
        constant: what it always states; None: as above.
    """

    items: Sequence[Item]
    low: float = 0.3
    high: float = 0.95
    over: float = 0.0
    says_over: float = 0.0
    noise: float = 0.0
    guesses: bool = False
    exclusive: float = 1.0
    mass: float = 0.9
    unreadable: float = 0.0
    constant: float | None = None
    seed: int = 0
    _known: Mapping[str, Item] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (LOWEST <= self.low <= self.high <= 1):
            raise ValueError(f"chances from {self.low} to {self.high} do not lie between {LOWEST} and 1")
        object.__setattr__(self, "_known", {i.asked()[-1].content: i for i in self.items})

    @property
    def model(self) -> SureModel:
        """As something to talk to."""
        return SureModel(self)

    def _u(self, *parts: object) -> float:
        """A number in 0 to 1, the same for the same parts."""
        digest = hashlib.sha256("\x1f".join(map(str, (self.seed, *parts))).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def chance(self, item: Item) -> float:
        """How probable it is that its answer is right."""
        return self.low + (self.high - self.low) * self._u("chance", item.id)

    def answer(self, item: Item) -> int:
        """The answer that it gives, by its place."""
        if self._u("right", item.id) < self.chance(item):
            return item.right
        wrong = [k for k in range(len(item.options)) if k != item.right]
        return wrong[int(self._u("wrong", item.id) * len(wrong))]

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of the answers: what it promises for its own, the rest shared by the others."""
        item = self._known[conversation[-1].content]
        own, p = item.options[self.answer(item)], min(self.chance(item) + self.over, 1 - 1e-6)
        return [math.log(self.mass * (p if o == own else (1 - p) / (len(options) - 1))) for o in options]

    def say(self, conversation: Conversation, sampling: Sampling) -> str:
        """A confidence where one is asked for, an analysis of its own for every seed; else a phrase."""
        text = conversation[-1].content
        if text == ANALYSE:
            return f"Thought {int(1e6 * self._u('thought', conversation.digest, sampling.seed))} speaks for it."
        if not asks_how_sure(text):
            return "I see."
        at = max(i for i, m in enumerate(conversation) if m.role == "user" and m.content in self._known)
        item, given = self._known[conversation[at].content], conversation[at + 1].content
        if self._u("unreadable", conversation.digest) < self.unreadable:
            return _UNREADABLE[int(self._u("which", conversation.digest) * len(_UNREADABLE))]
        said = 100 * min(max(self.stated(item, given, conversation), 0.0), 1.0)
        return _FORMS[int(self._u("form", conversation.digest) * len(_FORMS))].format(p=said)

    def stated(self, item: Item, given: str, conversation: Conversation) -> float:
        """What it states for an answer that stands as its own."""
        if self.constant is not None:
            return self.constant
        own = given == item.options[self.answer(item)]
        chance = self.chance(item)
        if self.guesses:
            chance = self.low + (self.high - self.low) * self._u("guess", item.id, given)
        mean = chance + self.says_over if own else (self.exclusive - chance - self.says_over) / (len(item.options) - 1)
        return mean + self.noise * normal(self.seed, "noise", conversation.digest)
