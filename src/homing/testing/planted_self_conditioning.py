"""A keeper of running totals with a known answer: how often its next step is right is a function of the totals it is shown.

It reads the production prompts. It answers in text with varying wording, now and then without any number, and where options are
given it weighs them; what it does is the same for the same conversation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from homing.conversation import Conversation
from homing.hold.verify import Transcript, read_running_sum
from homing.stats.seeds import stable_seed
from homing.testing.planted import PlantedModel

__all__ = ["TotalKeeper"]

CLEAR = 0.9
"""Probability of its answer among the options, or of a worth it knows."""


class TotalKeeper:
    """Gives the last total it is shown plus what the new words are worth, with a probability that errors before it lower.

    With a share ``x`` of the shown totals wrong, the update is right with probability ``right - long * n - loss * (x + bend *
    (x * x - x))``, ``n`` totals being shown. So the accuracy lost to a history of nothing but errors is ``loss``, along a line
    where ``bend`` is 0. A null is ``loss=0``.

    Args:
        right: probability with one total shown and no error. ``loss``, ``bend``: see above. ``long``: lost for every total shown.
        sheet: the share of the loss that errors on a sheet of the user's still cause. ``checked``: the same where the state is
            said to be checked. ``late``: share of the loss that comes from the later half of totals.
        odd: accuracy lost where formats of its own totals are odd. ``truth``: share of its mistakes that are the true total.
        said: probability that any option is said. ``garbled``: share of replies in text that name no number.
        reads: whether it knows what words are worth when it is asked.
    """

    def __init__(
        self,
        *,
        right: float = 0.95,
        loss: float = 0.0,
        bend: float = 0.0,
        long: float = 0.0,
        sheet: float = 1.0,
        checked: float = 0.0,
        late: float = 0.5,
        odd: float = 0.0,
        truth: float = 0.3,
        said: float = 0.95,
        garbled: float = 0.0,
        reads: bool = True,
    ) -> None:
        self.right, self.loss, self.bend, self.long = right, loss, bend, long
        self.sheet, self.checked, self.late, self.odd = sheet, checked, late, odd
        self.truth, self.said, self.garbled, self.reads = truth, said, garbled, reads

    @property
    def model(self) -> PlantedModel:
        """As something to talk to."""
        return PlantedModel(self.say, self.weigh, name="total-keeper")

    def probability(self, conversation: Conversation) -> float:
        """How probable it is that the next update is right.

        Raises:
            ValueError: the conversation is no running sum.
        """
        found = self._read(conversation)
        shown = [s.shown != t for s, t in zip(found.steps[1:-1], found.totals()[1:-1], strict=True)]
        n, half = len(shown), (len(shown) + 1) // 2
        early, late = shown[:half], shown[half:]
        x = sum(early) / n if n and not late else 0.0
        if late:
            x = (1 - self.late) * sum(early) / len(early) + self.late * sum(late) / len(late)
        share = self.checked if found.told is not None else 1.0
        if any(s.message is None for s in found.steps[1:-1]):
            share *= self.sheet
        own = [conversation[s.message].content for s in found.steps if s.message is not None]
        odd = self.odd if any(not t.lstrip("-").isdigit() for t in own) else 0.0
        lost = share * self.loss * (x + self.bend * (x * x - x))
        return min(max(self.right - self.long * n - lost - odd, 0.0), 1.0)

    def answer(self, conversation: Conversation) -> int:
        """The total that it gives."""
        found = self._read(conversation)
        truths = found.totals()
        stated = found.stated()
        local = found.task.then(truths[-2] if stated is None else stated, found.steps[-1].words)
        if _chance("update", conversation.digest) < self.probability(conversation):
            return local
        if truths[-1] != local and _chance("slip", conversation.digest) < self.truth:
            return truths[-1]
        return found.task.kept(local + 2 + stable_seed("off", conversation.digest) % 7)

    @staticmethod
    def _read(conversation: Conversation) -> Transcript:
        found = read_running_sum(conversation)
        if found is None or len(found.steps) < 2:
            raise ValueError("a keeper of totals was asked for something else than the next total")
        return found

    def _asked_worth(self, conversation: Conversation) -> int | None:
        """What the word that is asked about is worth, as it thinks; None where none is asked about."""
        words = conversation[-1].content.split()
        if words[:3] != ["How", "much", "is"]:
            return None
        opening = read_running_sum(Conversation(conversation.messages[:1]))
        worth = opening.task.worth[words[3]] if opening is not None else 0
        return worth if self.reads else worth + 1 + stable_seed("worth", conversation.digest) % 7

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of digits."""
        worth = self._asked_worth(conversation)
        top = str((self.answer(conversation) if worth is None else worth) % 10)
        rest = (1 - CLEAR) / (len(options) - 1)
        return [math.log(self.said * (CLEAR if o == top else rest)) for o in options]

    def say(self, conversation: Conversation) -> str:
        """A reply in words."""
        worth = self._asked_worth(conversation)
        total = self.answer(conversation) if worth is None else worth
        way = stable_seed("wording", conversation.digest)
        if _chance("garbled", conversation.digest) < self.garbled:
            return ("Hmm, let me see.", "I have lost count.", "All right!")[way % 3]
        if "write the sum" in conversation[-1].content:
            return f"That is {total - 1} + 1 = {total}. The new total is {total}."
        return (str(total), f"{total}.", f"The new total is {total}.", f"Total: {total}", f"= {total}")[way % 5]


def _chance(*parts: object) -> float:
    """A number between 0 and 1 that is the same for the same parts."""
    return stable_seed(*parts) / 2**31
