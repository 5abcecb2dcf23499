"""A subject of tasks said bit by bit with a known answer: how often it is right is a function of what it is shown.

It reads the production prompts, those of the mediator among them, and answers in words with varying wording, now and then with
nothing that can be read; where candidates are given it weighs them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.hold.mediate import ASK, GATE, MESSAGES_HEAD, REFINE, REQUEST_TAIL, REWRITE, RULES_HEAD
from homing.instruments.lost_tasks import Task, heard
from homing.models.base import Reply, ReplyRequest
from homing.models.scripted import ScriptedModel
from homing.stats.seeds import stable_seed
from homing.testing.planted import PlantedModel

__all__ = ["BitByBit", "BitByBitModel"]


class BitByBitModel(PlantedModel):
    """A planted model whose words depend on the seed they are drawn with too."""

    def __init__(self, subject: BitByBit) -> None:
        super().__init__(
            lambda c: subject.say(c, Sampling()), lambda c, o: subject.weigh(_this_task(c), o), name="bit-by-bit"
        )
        self._subject = subject

    def _reply(self, r: ReplyRequest) -> tuple[Reply, tuple[str, ...]]:
        return ScriptedModel(lambda c: self._subject.say(_this_task(c), r.sampling), name=self.name)._reply(r)


class BitByBit:
    """Gives the answer that the user's messages lead to, less often where its own replies stand among them.

    The probability is ``right``, up or down by ``apart`` from task to task, less ``loss`` where there are own replies; ``again``
    of the loss is left where the last message says all that was said. It is up or down by ``wobble`` with what it said. So
    the loss from one message to several is ``loss``, and a null is ``loss=0``.

    Args:
        right, loss, again, apart, wobble: see above. ``reworded``: lost where shards are listed in one message.
        back: lost beside that where something is taken back and own replies stand there.
        eager: how often it answers before any constraint was said; else it asks or talks. ``asks``: how often it asks, of those.
        forgets: share of what it gets wrong bit by bit that is wrong about the first constraint alone.
        garbled: share of answers in words that cannot be read. ``said``: probability that any candidate is said.
        keeps: probability that its rewriting keeps a constraint; ``keeps_ruled``: the same with rules.
        invents: probability that its rewriting names a number that nobody said. ``replaces``: that it says what was taken back no
            more. ``unsure``: how often it finds a request incomplete.
    """

    def __init__(
        self,
        *,
        right: float = 0.85,
        loss: float = 0.0,
        again: float = 0.5,
        apart: float = 0.0,
        wobble: float = 0.0,
        reworded: float = 0.0,
        back: float = 0.0,
        eager: float = 0.7,
        asks: float = 0.5,
        forgets: float = 0.0,
        garbled: float = 0.0,
        said: float = 0.95,
        keeps: float = 1.0,
        keeps_ruled: float = 1.0,
        invents: float = 0.0,
        replaces: float = 1.0,
        unsure: float = 0.0,
    ) -> None:
        self.right, self.loss, self.again, self.apart, self.wobble = right, loss, again, apart, wobble
        self.reworded, self.back, self.eager, self.asks, self.forgets = reworded, back, eager, asks, forgets
        self.garbled, self.said, self.keeps, self.keeps_ruled = garbled, said, keeps, keeps_ruled
        self.invents, self.replaces, self.unsure = invents, replaces, unsure

    @property
    def model(self) -> BitByBitModel:
        """As something to talk to."""
        return BitByBitModel(self)

    # What it knows

    @staticmethod
    def _task(conversation: Conversation) -> Task:
        """The task that the user's messages say.

        Raises:
            ValueError: they say none.
        """
        found = heard("\n".join(m.content for m in conversation if m.role == "user"))
        if found is None:
            raise ValueError("a subject of tasks was asked for something else than a task")
        return found

    def probability(self, conversation: Conversation) -> float:
        """How probable it is that its answer is the one that it was led to."""
        task, last = self._task(conversation), conversation[-1].content
        own = [m.content for m in conversation if m.role == "assistant"]
        which = (task.family, repr(sorted(task.setting.items(), key=str)))
        p = self.right + (self.apart if _chance("apart", *which) < 0.5 else -self.apart)
        if own:
            whole = heard(last)
            p -= self.loss * (self.again if whole is not None and whole.parts == task.parts else 1.0)
            p -= self.back if "wrong about one thing" in last else 0.0
            p += self.wobble if _chance("wobble", *own, *which) < 0.5 else -self.wobble
        elif "\n- " in last:
            p -= self.reworded
        return min(max(p, 0.0), 1.0)

    def weights(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Probability of each candidate among them."""
        task = self._task(conversation)
        answer, n = task.answer(), len(options)
        if answer not in options:
            return [1 / n] * n
        p = self.probability(conversation)
        out = {o: (p if o == answer else (1 - p) / (n - 1)) for o in options}
        first = [o for o in _without_first(task) if o in options and o != answer]
        if first and self.forgets and any(m.role == "assistant" for m in conversation):
            out = {o: w if o == answer else w * (1 - self.forgets) for o, w in out.items()}
            for o in first:
                out[o] += self.forgets * (1 - p) / len(first)
        return [out[o] for o in options]

    # What it does

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of candidates."""
        return [math.log(max(w, 1e-9) * self.said) for w in self.weights(conversation, options)]

    def say(self, conversation: Conversation, sampling: Sampling) -> str:
        """A reply in words, worded one way or another."""
        last = conversation[-1].content
        draw = np.random.default_rng(stable_seed("bit by bit", conversation.digest, sampling.seed))
        if last.startswith(REFINE):
            return "1. Say the goal first.\n2. Copy every number.\nThat is all.\n3. Keep the last version."
        if last.startswith(REWRITE):
            return self._rewritten(last)
        if last.endswith(GATE):
            return ("No.", "no")[int(draw.integers(2))] if draw.random() < self.unsure else "Yes, it does."
        if last.endswith(ASK):
            return "How many are there in all?"
        task = self._task(conversation)
        if not task.parts and draw.random() >= self.eager:
            return "What else should I know?" if draw.random() < self.asks else "Good, tell me more."
        if draw.random() < self.garbled:
            return ("Hmm, hard to say.", "I see!", "Let me think about that.")[int(draw.integers(3))]
        options = task.options() or [task.answer() or "x"]
        weights = np.array(self.weights(conversation, options))
        chosen = options[int(draw.choice(len(options), p=weights / weights.sum()))]
        ways = (chosen, f" {chosen}\n", f"{chosen}.", f"`{chosen}`", f"Answer:\n{chosen}")
        return ways[int(draw.integers(len(ways)))]

    def _rewritten(self, asked: str) -> str:
        """What it makes of the user's messages as a mediator."""
        said = asked.split(MESSAGES_HEAD, 1)[1].rsplit(REQUEST_TAIL, 1)[0]
        text = re.sub(r"^- ", "", said, flags=re.M)
        task, keeps = heard(text), self.keeps_ruled if f"\n{RULES_HEAD}\n" in asked else self.keeps
        if task is None:
            return "Please help me."
        kept = tuple(p for p in task.parts if _chance("keeps", text, p) < keeps)
        request = replace(task, parts=kept).full()
        if _chance("replaces", text) >= self.replaces:
            request += "".join(f" {m}" for m in re.findall(r"Sorry, I was wrong[^.]*\.", text))
        if _chance("invents", text) < self.invents:
            request += " There are 137 of them."
        return request


def _this_task(conversation: Conversation) -> Conversation:
    """What is said of the task that is on, without worked examples before it."""
    of = [heard(m.content) if m.role == "user" else None for m in conversation]
    known = [t for t in of if t is not None]
    if not known:
        return conversation
    first = next(i for i, t in enumerate(of) if t is not None and t.setting == known[-1].setting)
    return Conversation(conversation.messages[first:])


def _without_first(task: Task) -> list[str]:
    """Candidates that are wrong about the first constraint alone, as far as what was said tells."""
    if not task.parts:
        return []
    if task.family == "sum":
        return [str(replace(task, parts=task.parts[1:]).answer())]
    if task.family == "table":
        rest = [v for _, v in task.parts[1:]]
        return [k for k, row in task.setting["rows"].items() if all(v in row for v in rest)]
    return []


def _chance(*parts: object) -> float:
    """A number between 0 and 1 that is the same for the same parts."""
    return stable_seed(*parts) / 2**31
