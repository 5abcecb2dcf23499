"""A subject with known rates of rejection: what it knows, what it goes along with, how long it withstands, what it heeds.

It chooses by weighing options, and states premises in words of varying form, now and then in none that can be read. Everything
it does is a function of the conversation, with the same luck under every hold, so that a hold that does nothing changes nothing.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homing.conversation import Conversation
from homing.hold.ground import ASK_PREMISE, CHECK, LINE, VERDICT, WAIT
from homing.instruments.presupposition_facts import PUSHES, RELATIONS, TRUE_FALSE, TRUTHS, Fact, Truth, bare
from homing.testing.planted import PlantedModel

__all__ = ["PresupposingSubject"]

_LEADS = (
    "{p}.", "The message takes for granted that {p}.", 'Premise: "{p}."', "Sure! The assumption is that {p}", "- {p}.",
    "It presupposes that {p}.",
)  # fmt: skip
_UNREADABLE = ("Nothing.", "What do you mean?", "Hm.", "")
_DENIES = re.compile(r"\b(?:not|no)\b")
_VERDICT = re.compile(rf"^{re.escape(VERDICT)} it is (true|false) that .*$", re.M)


@dataclass(frozen=True, eq=False)
class PresupposingSubject:
    """Knows some facts, and rejects false premises about them at a rate of its own, and true ones at another.

    Args:
        facts: all that it may be asked about.
        knows: share of facts that it knows; of the others every probe is a guess.
        rejects: rate at which it rejects false premises that it knows to be false. ``alarms``: rate of all others.
        evades: share of what it does not reject that it evades.
        at_issue: added to ``rejects`` where the claim is said or asked about. ``third``: where it is others' belief.
        stands: chance that a right rejection stands at each push. ``stubborn``: that a wrong one does.
        heeds: how often it does as a verdict before the question says. ``nags``: added to both rates by the blanket line.
        waits: added to both by "wait a minute". ``liking``: log-odds that it adds to whatever is called true.
        mass: probability that it says "True" or "False" at all. ``unreadable``: share of stated premises that cannot be read.
    """

    facts: Sequence[Fact]
    knows: float = 0.85
    rejects: float = 0.4
    alarms: float = 0.1
    evades: float = 0.2
    at_issue: float = 0.0
    third: float = 0.0
    stands: float = 0.8
    stubborn: float = 0.4
    heeds: float = 0.9
    nags: float = 0.3
    waits: float = 0.1
    liking: float = 1.0
    mass: float = 0.9
    unreadable: float = 0.1
    seed: int = 0
    _replies: Mapping[tuple[str, frozenset[str]], tuple[Fact, Truth]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found = {(f.given, frozenset(f.replies(t))): (f, t) for f in self.facts for t in TRUTHS}
        object.__setattr__(self, "_replies", found)

    @property
    def model(self) -> PlantedModel:
        """As something to talk to."""
        return PlantedModel(self.say, self.weigh, name="presupposing")

    def _u(self, *parts: object) -> float:
        """A number in 0 to 1, the same for the same parts."""
        digest = hashlib.sha256("\x1f".join(map(str, (self.seed, *parts))).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def is_known(self, fact: Fact) -> bool:
        """Whether it knows a fact."""
        return self._u("knows", fact.id) < self.knows

    def say(self, conversation: Conversation) -> str:
        """A premise in words where one is asked for; else a phrase."""
        text = conversation[-1].content
        if ASK_PREMISE not in text:
            return "I see."
        about = self._about(conversation, text)
        if about is None or self._u("unreadable", text) < self.unreadable:
            return _UNREADABLE[int(self._u("which", text) * len(_UNREADABLE))]
        fact, truth = about
        return _LEADS[int(self._u("lead", text) * len(_LEADS))].format(p=fact.says(truth))

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of options: what it has decided on, well ahead of the others."""
        text = conversation[-1].content
        if tuple(options) == TRUE_FALSE:
            return self._judged(conversation, text)
        asked = self._replies.get((self._given(conversation), frozenset(options)))
        if asked is not None:
            fact, truth = asked
            liked = set(fact.replies(truth)[2 * self._class(conversation, fact, truth) :][:2])
        else:
            liked = {self._answer(conversation, options)}
        return [-20.0 + (4.0 if o in liked else 0.0) + self._u("noise", text, o) for o in options]

    def _given(self, conversation: Conversation) -> str:
        """The text that was supplied, of those it has facts about."""
        first = next((m.content for m in conversation if m.role == "user"), "")
        return next((f.given for f in self.facts if f.given and f.given in first), "")

    def _answer(self, conversation: Conversation, options: Sequence[str]) -> str:
        """One of two statements, in answer to a direct question."""
        given = self._given(conversation)
        for f in self.facts:
            if f.given == given and set(f.statements()) == set(options):
                right = self.is_known(f) or self._u("guess", f.id, conversation[-1].content) < 0.5
                return f.statements()[0 if right else 1]
        return options[0]

    def _about(self, conversation: Conversation, text: str) -> tuple[Fact, Truth] | None:
        """The one fact, and value, that a text speaks of; None where it is not clear."""
        # where a premise is to be stated it is quoted out of its conversation, so nothing is known of what was supplied
        given = None if ASK_PREMISE in text else self._given(conversation)
        found: list[tuple[Fact, Truth]] = [
            (f, t)
            for f in self.facts
            if given is None or f.given == given
            for t in TRUTHS
            if _has(text, f.subject) and _has(text, bare(f.value(t))) and _names(text, f)
        ]
        return found[0] if len(found) == 1 else None

    def _judged(self, conversation: Conversation, text: str) -> list[float]:
        """Whether a statement, or its denial, is true."""
        claim = text.rpartition(CHECK[0])[2].removesuffix(CHECK[1])
        about = self._about(conversation, claim)
        odds = 2.0 * (2 * self._u("judge", text) - 1)
        if about is not None and self.is_known(about[0]):
            odds = 3.0 if (about[1] == "true") != bool(_DENIES.search(claim)) else -3.0
        p = 1 / (1 + math.exp(-(odds + self.liking)))
        return [math.log(self.mass * x) for x in (p, 1 - p)]

    def _class(self, conversation: Conversation, fact: Fact, truth: Truth) -> int:
        """0: it rejects the premise; 1: it goes along; 2: it evades."""
        text = conversation[-1].content
        verdict = _VERDICT.search(text)
        plain = _VERDICT.sub("", text).replace(WAIT, "").strip()
        pushed = sum(m.role == "user" and any(p in m.content for p in PUSHES) for m in conversation)
        known = truth == "false" and self.is_known(fact)
        rate = self.rejects if known else self.alarms
        if pushed:
            rate = (self.stands if known else self.stubborn) ** pushed
        elif known:
            said = plain.startswith("Is it so") or plain.startswith(fact.says(truth)[:1].upper() + fact.says(truth)[1:])
            rate += self.at_issue * said + self.third * plain.startswith("They are sure")
        rate += self.nags * (LINE in (conversation.system or "")) + self.waits * (WAIT in text)
        # A talk has one luck, so that what has fallen once does not rise again.
        luck = ("pushed", fact.id, truth) if pushed else ("asked", fact.id, plain)
        if verdict is not None and self._u("heeds", *luck) < self.heeds:
            return 0 if verdict[1] == "false" else 1
        if self._u("rejects", *luck) < rate:
            return 0
        return 2 if self._u("evades", *luck) < self.evades else 1


def _has(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.I) is not None


def _names(text: str, fact: Fact) -> bool:
    """Whether the relation of a fact is named in a text: by its verb, or by what is owned."""
    r = RELATIONS[fact.verb]
    owned = {"follow": "predecessor", "precede": "successor"}.get(fact.verb, "'s ")
    return owned in text or any(_has(text, form) for form in (r.base, r.third, r.gerund))
