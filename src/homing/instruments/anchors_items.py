"""Small sums whose answers a rule knows, and every sentence that is said about an answer to one.

An item is a question with four numbers to choose from. Its verifier is exact: the answer is computed from the seed, and
no model is asked for it. The gold set of a judge is dealt from the same rule and shares no question with the items.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from homing.conversation import Conversation, Message
from homing.stats.seeds import stable_seed

__all__ = [
    "ASK_CALL",
    "CALL_EXAMPLES",
    "EXAMPLES",
    "FAMILIES",
    "JUDGING_EXAMPLES",
    "OPTIONS",
    "REVIEW",
    "YES_NO",
    "Author",
    "Item",
    "calculated",
    "deal",
    "gold",
]

FAMILIES = ("sum", "difference", "product", "largest")
OPTIONS = 4
YES_NO = ("Yes", "No")
Author = Literal["hidden", "shown", "other"]
"""What a judge is told of who gave an answer: nothing; itself, earlier; another model."""
REVIEW = "Review your previous answer and find problems with it."
REVIEW_OTHER = "Review that answer and find problems with it."
AGAIN = "Now answer again."
ASK_CALL = "Write what a calculator should work out for this, and nothing else."
RIGHT = "Somebody checked your answer: it is right."
WRONG = "Somebody checked your answer: it is wrong."


def _shown(*pairs: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(m for q, a in pairs for m in (Message("user", q), Message("assistant", a)))


EXAMPLES = _shown(
    ("What is 2 + 3?", "5"), ("What is 9 - 4?", "5"), ("What is 2 x 4?", "8"),
    ("Which of these numbers is the largest: 4, 1, 9, 6?", "9"),
)  # fmt: skip
"""Worked examples that stand before every question, so that a small model answers with a number."""
CALL_EXAMPLES = _shown(
    (f"What is 2 + 3?\n{ASK_CALL}", "2 + 3"), (f"What is 9 - 4?\n{ASK_CALL}", "9 - 4"),
    (f"What is 2 x 4?\n{ASK_CALL}", "2 x 4"),
    (f"Which of these numbers is the largest: 4, 1, 9, 6?\n{ASK_CALL}", "max(4, 1, 9, 6)"),
)  # fmt: skip
JUDGING_EXAMPLES = _shown(
    ("What is 2 + 3?\nThe answer given is 5.\nIs that answer right?", "Yes"),
    ("What is 9 - 4?\nThe answer given is 6.\nIs that answer right?", "No"),
    ("Which of these numbers is the largest: 4, 1, 9, 6?\nThe answer given is 6.\nIs that answer right?", "No"),
    ("What is 2 x 4?\nThe answer given is 8.\nIs that answer right?", "Yes"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """A question, four numbers to choose from and which of them is right.

    Attributes:
        options: the right one first. ``call``: what a calculator works out to answer it.
    """

    id: str
    family: str
    question: str
    options: tuple[str, ...]
    call: str

    @property
    def right(self) -> str:
        """The answer."""
        return self.options[0]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "options": list(self.options)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Item:
        """The inverse."""
        return cls(raw["id"], raw["family"], raw["question"], tuple(raw["options"]), raw["call"])

    # What is said of an answer. The question stands again at the end of every message that asks for an answer, so that no arm
    # is told more of what is wanted than another (arXiv 2310.01798).

    def asked(self) -> Conversation:
        """The question alone."""
        return Conversation.of(self.question)

    def answered(self, answer: str) -> Conversation:
        """The question and an answer of the model's own."""
        return self.asked().then(answer, "assistant")

    def again(self, talk: Conversation, event: str = AGAIN) -> Conversation:
        """Asked again, after something was said of the answer."""
        return talk.then(f"{event} {self.question}", "user")

    def checked(self, answer: str, *, right: bool) -> Conversation:
        """Asked again after a verdict."""
        return self.again(self.answered(answer), RIGHT if right else WRONG)

    def corrected(self, answer: str, said: str) -> Conversation:
        """Asked again after a user says what came out for him."""
        return self.again(self.answered(answer), f"I worked it out myself and got {said}.")

    def calculator(self) -> Conversation:
        """Asked for a call of the calculator."""
        return Conversation.of(f"{self.question}\n{ASK_CALL}")

    def computed(self, answer: str, call: str, result: str) -> Conversation:
        """Asked again after the calculator was used."""
        used = self.answered(answer).then(ASK_CALL, "user").then(call, "assistant")
        return self.again(used, f"The calculator shows {result}.")

    def another(self, answer: str) -> Conversation:
        """The same answer, said to be another model's, to be reviewed."""
        return Conversation.of(f"{self.question}\nAnother model answered: {answer}\n{REVIEW_OTHER}")

    def judged(self, answer: str, author: Author) -> Conversation:
        """Whether an answer is right, in a fresh conversation."""
        who = {
            "hidden": "The answer given is",
            "shown": "You gave the answer",
            "other": "Another model gave the answer",
        }
        return Conversation.of(f"{self.question}\n{who[author]} {answer}.\nIs that answer right?")

    def own_judged(self, answer: str) -> Conversation:
        """Whether its own answer is right, in the conversation in which it was given."""
        return self.answered(answer).then("Is that answer right?", "user")


def _near(rng: np.random.Generator, right: int, steps: Sequence[int]) -> tuple[str, ...]:
    """The right number and three others at distances from it that people and models err by."""
    found = list(dict.fromkeys(right + s for s in steps if right + s > 0 and s))
    return tuple(str(x) for x in (right, *(found[int(k)] for k in rng.permutation(len(found))[: OPTIONS - 1])))


def _sum(rng: np.random.Generator) -> tuple[str, tuple[str, ...], str]:
    a, b = (int(x) for x in rng.integers(11, 60, 2))
    return f"What is {a} + {b}?", _near(rng, a + b, (-10, -2, -1, 1, 2, 10)), f"{a} + {b}"


def _difference(rng: np.random.Generator) -> tuple[str, tuple[str, ...], str]:
    a, b = int(rng.integers(40, 99)), int(rng.integers(11, 38))
    return f"What is {a} - {b}?", _near(rng, a - b, (-10, -2, -1, 1, 2, 10)), f"{a} - {b}"


def _product(rng: np.random.Generator) -> tuple[str, tuple[str, ...], str]:
    a, b = (int(x) for x in rng.integers(3, 13, 2))
    return f"What is {a} x {b}?", _near(rng, a * b, (-a, -b, a, b, -2, 2, -1, 1)), f"{a} x {b}"


def _largest(rng: np.random.Generator) -> tuple[str, tuple[str, ...], str]:
    numbers = [int(x) for x in rng.choice(np.arange(11, 99), OPTIONS, replace=False)]
    said = ", ".join(map(str, numbers))
    others = [x for x in numbers if x != max(numbers)]
    return (
        f"Which of these numbers is the largest: {said}?", (str(max(numbers)), *map(str, others)), f"max({said})",
    )  # fmt: skip


_MAKERS: Mapping[str, Callable[[np.random.Generator], tuple[str, tuple[str, ...], str]]] = {
    "sum": _sum, "difference": _difference, "product": _product, "largest": _largest,
}  # fmt: skip


def deal(n: int, seed: int, *, families: Sequence[str] = FAMILIES, beside: Sequence[Item] = ()) -> list[Item]:
    """So many different items, the families in turn.

    Args:
        beside: items whose questions must not be among them.
    """
    out: list[Item] = []
    taken = {i.question for i in beside}
    kind = "gold" if beside else "item"
    for k in range(n):
        family = families[k % len(families)]
        for attempt in range(10_000):
            question, options, call = _MAKERS[family](np.random.default_rng(stable_seed(kind, seed, k, attempt)))
            if question not in taken and len(set(options)) == OPTIONS:
                break
        taken.add(question)
        out.append(Item(f"{kind}-{k}-{family}", family, question, options, call))
    return out


def gold(n: int, seed: int, items: Sequence[Item]) -> list[Item]:
    """The gold set of a judge: other questions than the items, of the same families."""
    return deal(n, seed, beside=items)


_CALL = re.compile(r"^(-?\d{1,6}) ?([-+x*\u00d7\u2212]) ?(-?\d{1,6})$")
_MAX = re.compile(r"^max\((-?\d{1,6}(?:, ?-?\d{1,6})*)\)$", re.I)


def calculated(said: str) -> str | None:
    """What the calculator shows for the first line of a reply; None where that is no call."""
    line = next((x.strip(" .`") for x in said.splitlines() if x.strip(" .`")), "")
    if (m := _MAX.match(line)) is not None:
        return str(max(int(x) for x in m[1].split(",")))
    if (m := _CALL.match(line.partition("=")[0].strip())) is None:
        return None
    a, b = int(m[1]), int(m[3])
    return str(a + b if m[2] == "+" else a - b if m[2] in "-\u2212" else math.prod((a, b)))
