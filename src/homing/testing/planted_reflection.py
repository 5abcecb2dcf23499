"""A subject whose reflection does what it is told to: nothing, mend, harm, or draw anew and vote.

It answers in text of varying form, and its forced answer is what it has said last. What it says is a function of the conversation
and of the seed of its sampling, so that a hold that does nothing changes nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from homing.conversation import Conversation
from homing.hold.settled import CUE, stated
from homing.instruments.reflection_items import DIGITS, Item
from homing.models.base import Reply, ReplyRequest
from homing.testing.planted import PlantedModel

__all__ = ["ReflectingSubject", "Way"]

Way = Literal["steps", "resamples"]
_LEADS = ("Let me look closely.", "Let me check that.", "Let me try again.")
_FORMS = (
    "So the answer is {v}.", "Well, the answer is **{v}**.", "Now the answer is: {v}.", "My answer is still {v}.",
    "Then the answer is {v}!",
)  # fmt: skip
"""As many words each, so that a check takes what a first answer takes."""
_SPOILT = ("I cannot tell.", "Hm, let me see.", "What a question.")


@dataclass(frozen=True, eq=False)
class ReflectingSubject:
    """First right at a known rate; each check then mends or spoils at known rates, or draws a new answer.

    Args:
        items: all that it may be asked. ``right``: rate of right first answers, at the same rate in every reply to a question
            of the same luck: ``spread`` is by how much questions differ.
        mends: rate at which a check puts a wrong answer right. ``harms``: at which it gives up a right one. ``wanders``: at
            which a wrong one that is not mended becomes another wrong one.
        way: ``steps``: as told. ``resamples``: each check draws a new answer as the first was drawn, and what it states is
            the vote so far, a tie drawn.
        checks: after the first answer. ``thinks``: of them, with the first answer, made in thinking.
        endless: share of replies that go on until they are cut. ``unreadable``: share that state no answer.
        mass: of the digits where one is asked for. ``early``: whether it knows its last answer before anything is said.
    """

    items: Sequence[Item]
    right: float = 0.6
    spread: float = 0.3
    mends: float = 0.0
    harms: float = 0.0
    wanders: float = 0.0
    way: Way = "steps"
    checks: int = 2
    thinks: bool = False
    endless: float = 0.0
    unreadable: float = 0.0
    mass: float = 0.9
    early: bool = False
    seed: int = 0
    _by_text: dict[str, Item] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_text", {i.question[0].content: i for i in self.items})

    @property
    def model(self) -> PlantedModel:
        """As something to talk to."""
        return _Reflecting(self)

    def _u(self, *parts: object) -> float:
        """A number in 0 to 1, the same for the same parts."""
        digest = hashlib.sha256("\x1f".join(map(str, (self.seed, *parts))).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def _item(self, conversation: Conversation) -> Item:
        """The question asked last; one that is followed by its reply stands earlier."""
        asked = [m.content.removesuffix(CUE).strip() for m in conversation if m.role == "user"]
        return next(self._by_text[t] for t in reversed(asked) if t in self._by_text)

    def rate(self, item: Item) -> float:
        """Of right first answers to a question."""
        return min(1.0, max(0.0, self.right + self.spread * (2 * self._u("rate", item.id) - 1)))

    def _drawn(self, item: Item, *luck: object) -> int:
        if self._u("first", item.id, *luck) < self.rate(item):
            return item.answer
        wrong = [d for d in range(10) if d != item.answer][:3]
        return wrong[int(self._u("which", item.id, *luck) * len(wrong))]

    def answers(self, item: Item, luck: int) -> list[int]:
        """What one reply states, first to last."""
        first = self._drawn(item, luck, 0)
        out, votes = [first], {first: 1}
        for k in range(1, self.checks + 1):
            now, u = out[-1], self._u("check", item.id, luck, k)
            if self.way == "resamples":
                new = self._drawn(item, luck, k)
                votes[new] = votes.get(new, 0) + 1
                top = sorted(x for x, n in votes.items() if n == max(votes.values()))
                now = top[int(self._u("tie", item.id, luck, k) * len(top))]
            elif now == item.answer:
                now = (item.answer + 1) % 10 if u < self.harms else now
            elif u < self.mends:
                now = item.answer
            elif self._u("wander", item.id, luck, k) < self.wanders:
                now = next(d for d in range(10) if d not in (now, item.answer))
            out.append(now)
        return out

    def say(self, conversation: Conversation, luck: int, most: int) -> tuple[str, str]:
        """Thinking and text of a reply."""
        item = self._item(conversation)
        if conversation[-1].content == CUE:
            return "", str(self._last(conversation))
        if self._u("unreadable", item.id, luck) < self.unreadable:
            return "", _SPOILT[int(self._u("spoilt", item.id, luck) * len(_SPOILT))]
        parts: list[str] = []
        for k, a in enumerate(self.answers(item, luck)):
            form = _FORMS[int(self._u("form", item.id, luck, k) * len(_FORMS))]
            parts += [_LEADS[min(k, len(_LEADS) - 1)], form.format(v=a)]
        if self._u("endless", item.id, luck) < self.endless:
            parts += parts[-2:] * most
        text = " ".join(parts)
        return (text, f"The answer is {self.answers(item, luck)[-1]}.") if self.thinks else ("", text)

    def _last(self, conversation: Conversation) -> int:
        """What it answers at once: what it has stated last, else what it would state first."""
        item = self._item(conversation)
        said = (
            stated(conversation[-2].content, DIGITS)
            if len(conversation) > 1 and conversation[-1].content == CUE
            else []
        )
        if said and not self.early:
            return int(said[-1].value)
        return self.answers(item, 0)[-1 if self.early else 0]

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of options: its answer well ahead."""
        now = str(self._last(conversation))
        rest = (1 - 0.8) / max(1, len(options) - 1)
        return [math.log(self.mass * (0.8 if o == now else rest)) for o in options]


class _Reflecting(PlantedModel):
    """Says what depends on the seed of its sampling, as a model that is sampled does."""

    def __init__(self, subject: ReflectingSubject) -> None:
        super().__init__(lambda c: "", subject.weigh, name="reflecting")
        self._subject = subject

    def _reply(self, r: ReplyRequest) -> tuple[Reply, tuple[str, ...]]:
        thought, text = self._subject.say(r.conversation, r.sampling.seed % 2**31, r.sampling.max_new_tokens)
        whole = PlantedModel(lambda c: f"{thought}\n{text}" if thought else text, self._subject.weigh)
        reply, pieces = whole._reply(r)
        if not thought:
            return reply, pieces
        inside = min(len(pieces), len(self.pieces(thought)))
        return replace(reply, thinking="".join(pieces[:inside]), text="".join(pieces[inside:]).lstrip()), pieces
