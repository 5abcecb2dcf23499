"""A host of guessing games with a known answer: it holds a secret in a share of its games, and in the others none at all.

It reads the production prompts and replies in words, with noise. What it says and chooses are functions of the conversation
and, for words, of the seed they are drawn with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.models.base import Reply, ReplyRequest
from homing.models.scripted import ScriptedModel
from homing.stats.seeds import stable_seed
from homing.testing.planted import PlantedModel, normal

__all__ = ["GameHost", "HostModel"]

_LINE = re.compile(r"^(\d+): an? (.+)$", re.M)
_RANGE = re.compile(r"(?:from|between) (\d+) (?:to|and) (\d+)")
_NOTE = re.compile(r"\(A private note to you[^:]*: .*?(\d+)")
_BEFORE = re.compile(r'Your note so far: ".*?(\d+)')
_QUESTION = re.compile(r"Is it (?:an? )?(\w+)\?")
_CONFIRM = re.compile(r"Is it (?:number )?(\d+)\?")
_LOOK = re.compile(r"Look at number (\d+)\.")
EPS = 1e-9


class HostModel(PlantedModel):
    """A planted model whose words depend on the seed they are drawn with too."""

    def __init__(self, host: GameHost) -> None:
        super().__init__(lambda c: host.say(c, Sampling()), lambda c, o: host.weigh(_this_game(c), o), name="host")
        self._host = host

    def _reply(self, r: ReplyRequest) -> tuple[Reply, tuple[str, ...]]:
        return ScriptedModel(lambda c: self._host.say(_this_game(c), r.sampling), name=self.name)._reply(r)


class GameHost:
    """Plays the games of :mod:`homing.instruments.superposition` in a known way.

    In a game with a secret every reveal is the secret, so commitment is 1; without one a reveal is a draw among what the
    transcript leaves, so it is 0. Its mean over games is ``committed``. Where the prompt holds a private note, the note is the
    secret.

    Args:
        committed: share of games in which it holds a secret. ``favourite``: in the others it likes the first number that is left,
            with this probability beyond a draw: mode collapse.
        fits: probability that a reveal without a secret is drawn among what the transcript leaves; else among what it excludes.
        number_mass: how often it says yes in a number game in all; ``mass_noise``: its standard deviation between games.
        confirms: how many objects it confirms in a game without a secret, in the mean.
        leaks: share of replies before the reveal that name an object. ``garbled``: share of reveals in words that name none.
        obeys: probability that it keeps to a private note. ``reads``: whether it can read the list of objects.
        said: probability that any of the options is said. ``wobble``: log-odds by which a regeneration moves forced choices.
    """

    def __init__(
        self,
        *,
        committed: float = 0.0,
        favourite: float = 0.0,
        fits: float = 1.0,
        number_mass: float = 1.0,
        mass_noise: float = 0.2,
        confirms: float = 1.0,
        leaks: float = 0.0,
        garbled: float = 0.0,
        obeys: float = 1.0,
        reads: bool = True,
        said: float = 0.95,
        wobble: float = 0.0,
    ) -> None:
        self.committed, self.favourite, self.fits = committed, favourite, fits
        self.number_mass, self.mass_noise, self.confirms = number_mass, mass_noise, confirms
        self.leaks, self.garbled, self.obeys, self.reads = leaks, garbled, obeys, reads
        self.said, self.wobble = said, wobble

    @property
    def model(self) -> HostModel:
        """As something to talk to."""
        return HostModel(self)

    # What it knows

    def objects(self, conversation: Conversation) -> dict[str, str]:
        """Number to object, as the conversation lists them."""
        return dict(_LINE.findall("\n".join(m.content for m in conversation if m.role == "user")))

    def left(self, conversation: Conversation) -> list[str]:
        """Numbers that fit every answer it has given."""
        objects = self.objects(conversation)
        for asked, answer in zip(conversation.messages, conversation.messages[1:], strict=False):
            found = _QUESTION.search(asked.content) if asked.role == "user" and answer.role == "assistant" else None
            if found and not found[1].isdigit() and answer.content in ("Yes", "No"):
                objects = {k: v for k, v in objects.items() if (found[1] in v.split()) == (answer.content == "Yes")}
        return list(objects)

    def secret(self, conversation: Conversation) -> str:
        """The number that it holds, or nothing."""
        noted = _NOTE.findall(conversation[-1].content)
        if noted:
            # a note is kept to or not in a whole game
            return noted[-1] if _chance("obeys", _game(conversation)) < self.obeys else ""
        numbers = list(self.objects(conversation))
        if not numbers or _chance("committed", _game(conversation)) >= self.committed:
            return ""
        return numbers[int(_chance("secret", _game(conversation)) * len(numbers))]

    def reveals(self, conversation: Conversation) -> dict[str, float]:
        """Probability of each number as the reveal."""
        numbers, left, secret = list(self.objects(conversation)), self.left(conversation), self.secret(conversation)
        if secret:
            return {k: 1 - EPS * len(numbers) if k == secret else EPS for k in numbers}
        out = [k for k in numbers if k not in left]
        fits = self.fits if out else 1.0
        p = {k: fits * (1 - self.favourite) / len(left) if k in left else (1 - fits) / len(out) for k in numbers}
        p[left[0]] += fits * self.favourite
        # ties are broken anew in every conversation, by so little that no figure shows it
        p = {k: x * (1 + 1e-4 * normal("tie", k, conversation.digest)) + EPS for k, x in p.items()}
        return {k: x / sum(p.values()) for k, x in p.items()}

    # What it does

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of options."""
        if tuple(options) == ("Yes", "No"):
            yes = min(max(self._yes(conversation), EPS), 1 - EPS)
            p = [yes, 1 - yes]
        elif all(o.isdigit() for o in options):
            reveals = self.reveals(conversation)
            p = [reveals[o] for o in options]
        else:
            question, before = conversation[-1].content, Conversation(conversation.messages[:-1]).digest
            odds = [
                normal("item", question, k) + self.wobble * normal("own", question, before, k)
                for k in range(len(options))
            ]
            p = [float(x) for x in np.exp(odds) / np.exp(odds).sum()]
        return [math.log(x * self.said) for x in p]

    def _yes(self, conversation: Conversation) -> float:
        last = conversation[-1].content
        look, number, word = _LOOK.search(last), _CONFIRM.search(last), _QUESTION.search(last)
        if look and word:
            right = word[1] in self.objects(conversation)[look[1]].split()
            return (0.97 if right else 0.03) if self.reads else 0.9
        secret = self.secret(conversation)
        if number and not self.objects(conversation):
            return self._of_range(conversation, number[1], secret)
        if number:
            left = self.left(conversation)
            return float(number[1] == secret) if secret else (self.confirms / len(left) if number[1] in left else 0.0)
        objects = self.objects(conversation)
        if word and secret:
            return float(word[1] in objects[secret].split())
        left = self.left(conversation)
        return sum(word is not None and word[1] in objects[k].split() for k in left) / len(left)

    def _of_range(self, conversation: Conversation, number: str, secret: str) -> float:
        """Yes to one number of a range: the same for all, so that they add up to what was planted."""
        if secret:
            return float(number == secret)
        mass = self.number_mass + self.mass_noise * normal("mass", conversation[0].content)
        return mass / len(self._range(conversation))

    @staticmethod
    def _range(conversation: Conversation) -> list[str]:
        """The numbers of a number game; none in other talks."""
        found = _RANGE.search(conversation[0].content)
        return [] if found is None else [str(k) for k in range(int(found[1]), int(found[2]) + 1)]

    def say(self, conversation: Conversation, sampling: Sampling) -> str:
        """A reply in words, worded one way or another."""
        last = conversation[-1].content
        draw = np.random.default_rng(stable_seed("host", conversation.digest, sampling.seed))
        if "write a private note" in last:
            return self._note(conversation, draw)
        if "Which number" in last:
            return self._told(conversation, draw, sampling.temperature)
        if draw.random() < self.leaks:
            secret, objects = self.secret(conversation), self.objects(conversation)
            return f"Well, it is number {secret or next(iter(objects), '7')}."
        if "Answer yes or no" in last:
            return ("Yes", "No, it is not.", "Yes, it is!", "Hm, no.")[int(draw.integers(4))]
        if 'say only "Ready."' in last:
            return ("Ready.", "Ready!", "I am ready.")[int(draw.integers(3))]
        return ("I enjoy this.", "It is going well.", "Yes, of course.", "I like guessing games.")[
            int(draw.integers(4))
        ]

    def _note(self, conversation: Conversation, draw: np.random.Generator) -> str:
        """Its note: what the note said before, or a choice of its own."""
        before = _BEFORE.search(conversation[-1].content)
        numbers = list(self.objects(conversation)) or self._range(conversation) or ["3"]
        number = before[1] if before else numbers[int(draw.integers(len(numbers)))]
        return (f"I chose number {number}.", f"My secret is number {number}, and I keep it.")[int(draw.integers(2))]

    def _told(self, conversation: Conversation, draw: np.random.Generator, temperature: float) -> str:
        p = self.reveals(conversation)
        numbers, weights = list(p), np.array(list(p.values()))
        at = int(weights.argmax()) if temperature == 0 else int(draw.choice(len(numbers), p=weights / weights.sum()))
        if draw.random() < self.garbled:
            return ("Hmm, who knows?", "I would rather not say.", "One of them.")[int(draw.integers(3))]
        n = numbers[at]
        ways = (
            n,
            f"{n}.",
            f"Number {n}",
            f"It was number {n}!",
            f"{n}: a {self.objects(conversation)[n]}",
            f"I chose {n}.",
        )
        return ways[int(draw.integers(len(ways)))]


def _this_game(conversation: Conversation) -> Conversation:
    """What is said in the game that is on, without finished ones before it."""
    starts = [i for i, m in enumerate(conversation) if m.role == "user" and "keep it secret" in m.content]
    return Conversation(conversation.messages[starts[-1] :]) if starts else conversation


def _game(conversation: Conversation) -> str:
    """What stays the same in all forks and turns of one game: how it opens, without what is told in private."""
    return re.sub(r"^\(A private note.*?\)\n\n", "", conversation[0].content, flags=re.S)


def _chance(*parts: object) -> float:
    """A number between 0 and 1 that is the same for the same parts."""
    return stable_seed(*parts) / 2**31
