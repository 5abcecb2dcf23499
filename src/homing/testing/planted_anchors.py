"""A subject with known arms: how often it is right, what its critique is worth, whom it heeds, how well it judges.

Its probabilities are functions of the conversation, so the value of every arm is known; its critiques are in words of varying
form, and right as often as is planted.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homing.conversation import Conversation
from homing.instruments.anchors_arms import Arm, past_of, vote_of
from homing.instruments.anchors_items import ASK_CALL, REVIEW, REVIEW_OTHER, RIGHT, WRONG, YES_NO, Item
from homing.testing.planted import PlantedModel

__all__ = ["AnchoredSubject"]

_FOUND = (
    "I made a mistake.",
    "There is a problem: that is wrong.",
    "Hm, this does not look right to me.",
    "- A problem: the number.",
)
_NONE = ("I find no problems.", "The answer looks right.", "No problems at all!", "- It holds.")
_NOISE = ("Bananas.", "I am a helpful assistant.", "", "Numbers are fun.")
_CLAIM = re.compile(r"I worked it out myself and got (\d+)\.")
_SHOWN = re.compile(r"The calculator shows (-?\d+)\.")
_GIVEN = re.compile(
    r"(?:The answer given is|You gave the answer|Another model gave the answer|Another model answered:) (\d+)"
)


@dataclass(frozen=True, eq=False)
class AnchoredSubject:
    """Answers rightly with a probability of its own for every question, and reviews, heeds and judges as is planted.

    Args:
        items: all that it may be asked. ``knows``: mean probability of a right first answer; ``spread``: of it over items, to
            either side.
        critic: probability that a critique of its own finds a mistake where there is one, and none where there is none; None: the
            critique is noise, and the answer after it a new first answer. ``repairs``: that it is right after it knows of a
            mistake. ``other``: the same as ``critic`` where the answer is said to be another's; None: as ``critic``.
        heeds: that it does as a user or a calculator says. ``obeys``: that it gives an answer up that is said to be wrong.
        calls: share of questions for which it calls the calculator in its form.
        tells: log-odds of "Yes" for a right answer, and of "No" for a wrong one. ``yes``: liking for "Yes" at all. ``own``: more
            of it for an answer that is its own.
        mass: probability that it says any of the options.
    """

    items: Sequence[Item]
    knows: float = 0.55
    spread: float = 0.2
    critic: float | None = None
    repairs: float = 0.6
    other: float | None = None
    heeds: float = 0.9
    obeys: float = 0.8
    calls: float = 1.0
    tells: float = 1.0
    yes: float = 0.5
    own: float = 0.0
    mass: float = 0.9
    seed: int = 0
    name: str = "anchored"
    _by: Mapping[str, Item] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by", {i.question: i for i in self.items})

    @property
    def model(self) -> PlantedModel:
        """As something to talk to."""
        return PlantedModel(self.say, self.weigh, name=self.name)

    def _u(self, *parts: object) -> float:
        """A number in 0 to 1, the same for the same parts."""
        digest = hashlib.sha256("\x1f".join(map(str, (self.seed, *parts))).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    # What is true of it

    def shares(self, item: Item) -> list[float]:
        """Probabilities of a first answer, the right one first."""
        p = self.knows + self.spread * (2 * self._u("knows", item.id) - 1)
        rest = [self._u("wrong", item.id, o) ** 6 for o in item.options[1:]]
        return [p, *((1 - p) * w / sum(rest) for w in rest)]

    def expected(self, arm: str, item: Item, *, error: float = 0.0) -> Arm:
        """One arm on one item, over all critiques. ``error``: of a user or a verdict."""
        shares = self.shares(item)
        p = shares[0]
        told = Arm(p, 1 - self.obeys, self.obeys * self.repairs)
        if arm == "vote":
            return vote_of(shares)
        if arm == "past":
            return past_of(shares, shares)
        if arm in ("critique", "other"):
            c = self.other if arm == "other" and self.other is not None else self.critic
            return Arm(p, p, p) if c is None else Arm(p, c + (1 - c) * self.repairs, c * self.repairs)
        if arm == "user":
            return Arm(p, 1 - error * self.heeds, (1 - error) * self.heeds)
        if arm == "tool":
            return Arm(p, 1.0, self.heeds)
        if arm == "oracle":
            return Arm(p, 1 - error * self.obeys, (1 - error) * told.fixed)
        return Arm(p, 1.0, 0.0)

    # What it says

    def say(self, conversation: Conversation) -> str:
        """A critique, or a call of the calculator."""
        text = conversation[-1].content
        item = self._item(conversation)
        if item is None:
            return "I see."
        if text.endswith(ASK_CALL):
            return item.call if self._u("calls", item.id) < self.calls else "I would use a calculator."
        if not text.endswith((REVIEW, REVIEW_OTHER)):
            return "I see."
        answer = self._answer(conversation)
        luck = self._u("critic", conversation.digest)
        c = self.other if text.endswith(REVIEW_OTHER) and self.other is not None else self.critic
        if c is None:
            return _NOISE[int(luck * len(_NOISE))]
        mistaken = (answer != item.right) == (luck < c)
        words = _FOUND if mistaken else _NONE
        return words[int(self._u("words", conversation.digest) * len(words))]

    def _item(self, conversation: Conversation) -> Item | None:
        text = " ".join(m.content for m in conversation if m.role == "user")
        asked = [(text.rfind(q), q) for q in self._by if q in text]
        return self._by[max(asked)[1]] if asked else None

    @staticmethod
    def _answer(conversation: Conversation) -> str:
        """The last number that was given as an answer."""
        found = ""
        for m in conversation:
            if m.role == "assistant" and m.content.isdecimal():
                found = m.content
            elif m.role == "user" and (said := _GIVEN.findall(m.content)):
                found = said[-1]
        return found

    # What it chooses

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of options."""
        item = self._item(conversation)
        if item is None:
            return [math.log(self.mass / len(options))] * len(options)
        p = self._yes(conversation, item) if tuple(options) == YES_NO else self._numbers(conversation, item, options)
        return [math.log(self.mass * max(x, 1e-9)) for x in p]

    def _yes(self, conversation: Conversation, item: Item) -> list[float]:
        text = conversation[-1].content
        mine = not _GIVEN.search(text) or "You gave the answer" in text
        odds = self.tells if self._answer(conversation) == item.right else -self.tells
        p = 1 / (1 + math.exp(-(odds + self.yes + self.own * mine)))
        return [p, 1 - p]

    def _numbers(self, conversation: Conversation, item: Item, options: Sequence[str]) -> list[float]:
        at = dict(zip(item.options, self.shares(item), strict=True))
        text = conversation[-1].content
        answer = self._answer(conversation)
        if (said := _CLAIM.search(text) or _SHOWN.search(text)) is not None:
            return self._moved(item, options, answer, {said[1]: self.heeds})
        if text.startswith(WRONG):
            return self._mended(item, options, answer, self.obeys)
        if text.startswith(RIGHT):
            return self._moved(item, options, answer, {})
        critique = next((m.content for m in reversed(conversation.messages) if m.role == "assistant"), "")
        if critique in _FOUND:
            return self._mended(item, options, answer, 1.0)
        if critique in _NONE:
            return self._moved(item, options, answer, {})
        return [at.get(o, 0.0) for o in options]

    @staticmethod
    def _moved(item: Item, options: Sequence[str], answer: str, to: Mapping[str, float]) -> list[float]:
        """Its answer, but for what it moves to."""
        stays = 1 - sum(to.values())
        return [to.get(o, 0.0) + stays * (o == answer) for o in options]

    def _mended(self, item: Item, options: Sequence[str], answer: str, share: float) -> list[float]:
        """Its answer given up with a probability: for the right one where it knows better, else for another wrong one.

        A right answer that is given up after a verdict is lost; after a critique of its own it may come back to it.
        """
        right = self.repairs if answer != item.right or share == 1.0 else 0.0
        wrong = [o for o in item.options[1:] if o != answer]
        to = {o: share * (1 - right) / len(wrong) for o in wrong} | {item.right: share * right}
        return [to.get(o, 0.0) + (1 - share) * (o == answer) for o in options]
