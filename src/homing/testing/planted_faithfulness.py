"""A subject with known dependence on the text before its answer, known use of hints, and a known rate of owning up to them.

It answers by weighing options and writes reasoning in words. Everything it does is a function of the conversation, with the same
luck under every hold, so that a hold that does nothing changes nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homing.conversation import Conversation
from homing.instruments.faithfulness_hints import (
    HINTS,
    NEUTRAL,
    PLAIN,
    SAID,
    WHICH,
    YES_NO,
    Pick,
    hinted,
    load_mentions,
)
from homing.instruments.faithfulness_puzzles import CUE, DIGITS, GO_ON, LEAD, Puzzle, last_value, sentences_of
from homing.testing.planted import PlantedModel

__all__ = ["ReasoningSubject"]


@dataclass(frozen=True, eq=False)
class ReasoningSubject:
    """Answers some puzzles from the text before the answer, and the others as it would without.

    Args:
        puzzles, picks: all that it may be asked.
        reads: share of puzzles whose answer is where the text ends; behind no text it is where the puzzle starts.
        knows: of the others, and of questions without a hint, the share that it answers rightly.
        flips: share of all answers that are random other ones instead.
        mute: share of puzzles about which it writes nothing that could be read. ``errs``: with a mistake of its own.
        uses: share of hints that it follows. ``owns``: of those, the share that its reasoning mentions.
        judges: share of texts that it labels rightly. ``leaning``: log-odds by which it says yes to all.
        mass: probability that it says any of the options at all.
    """

    puzzles: Sequence[Puzzle] = ()
    picks: Sequence[Pick] = ()
    reads: float = 1.0
    knows: float = 1.0
    flips: float = 0.0
    mute: float = 0.0
    errs: float = 0.0
    uses: float = 0.6
    owns: float = 0.5
    judges: float = 1.0
    leaning: float = 0.0
    mass: float = 0.9
    seed: int = 0
    _puzzles: Mapping[str, Puzzle] = field(init=False, repr=False)
    _picks: Mapping[str, tuple[Pick, str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_puzzles", {p.question(): p for p in self.puzzles})
        asked = {hinted(p, k)[-1].content: (p, k) for p in self.picks for k in (PLAIN, NEUTRAL, *HINTS)}
        object.__setattr__(self, "_picks", asked)

    @property
    def model(self) -> PlantedModel:
        """As something to talk to."""
        return PlantedModel(self.say, self.weigh, name="reasoning")

    def _u(self, *parts: object) -> float:
        """A number in 0 to 1, the same for the same parts."""
        digest = hashlib.sha256("\x1f".join(map(str, (self.seed, *parts))).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def _one(self, options: Sequence[str], *parts: object) -> str:
        """One of some options."""
        return options[int(self._u("one", *parts) * len(options))]

    def is_read(self, puzzle: Puzzle) -> bool:
        """Whether it answers a puzzle from the text."""
        return self._u("reads", puzzle.id) < self.reads

    def say(self, conversation: Conversation) -> str:
        """Reasoning about what is asked; the rest of it where it is to go on."""
        text = conversation[-1].content
        if text in self._picks:
            return self._reason(*self._picks[text])
        found = self._puzzle(conversation)
        if found is None:
            return "I see."
        puzzle, said = found
        if text != GO_ON:
            if self._u("mute", puzzle.id) < self.mute:
                return str(puzzle.answer)
            wrong = int(self._u("where", puzzle.id) * puzzle.length)
            return " ".join([LEAD, *puzzle.trace(wrong if self._u("errs", puzzle.id) < self.errs else None)])
        value, rest = int(last_value(said) or puzzle.start), list[str]()
        for move in puzzle.moves[len(sentences_of(said)) :]:
            rest.append(f"From {value} it is {value + move}.")
            value += move
        return " ".join(rest) or f"So it is {value}."

    def weigh(self, conversation: Conversation, options: Sequence[str]) -> list[float]:
        """Log-probabilities of options: nine in ten for what it has decided on."""
        if set(options) == set(YES_NO):
            odds = self._verdict(conversation[-1].content)
            p = 1 / (1 + math.exp(-odds))
            return [math.log(self.mass * (p if o == YES_NO[0] else 1 - p)) for o in options]
        said = self._answer(conversation, sorted(options))
        return [math.log(self.mass * (0.9 if o == said else 0.1 / (len(options) - 1))) for o in options]

    def _puzzle(self, conversation: Conversation) -> tuple[Puzzle, str] | None:
        """The puzzle that was asked last, and what the assistant has said about it."""
        for i in range(len(conversation.messages) - 1, -1, -1):
            if (found := self._puzzles.get(conversation[i].content)) is not None:
                said = [m.content for m in conversation.messages[i + 1 :] if m.role == "assistant"]
                return found, " ".join(s.removeprefix(LEAD).strip() for s in said).strip()
        return None

    def _answer(self, conversation: Conversation, options: Sequence[str]) -> str:
        text = conversation[-1].content
        if text == WHICH and len(conversation) > 2 and conversation[-3].content in self._picks:
            return self._chosen(*self._picks[conversation[-3].content])
        found = self._puzzle(conversation)
        if text != CUE or found is None:
            return options[0]
        puzzle, said = found
        if self.is_read(puzzle):
            value = last_value(said)
            answer = value if value is not None and value in options else str(puzzle.start)
        elif self._u("knows", puzzle.id) < self.knows:
            answer = str(puzzle.answer)
        else:
            answer = self._one([o for o in options if o != str(puzzle.answer)], "wrong", puzzle.id)
        if self._u("flips", conversation.digest) < self.flips:
            return self._one([o for o in options if o != answer], "flip", conversation.digest)
        return answer

    def _used(self, pick: Pick, kind: str) -> bool:
        return kind in HINTS and self._u("uses", pick.id, kind) < self.uses

    def _chosen(self, pick: Pick, kind: str) -> str:
        """The hinted answer, what it would say without, or a random other one."""
        plain = pick.right
        if self._u("knows", pick.id) >= self.knows:
            plain = self._one([o for o in DIGITS if o != pick.right], "wrong", pick.id)
        if self._used(pick, kind):
            return pick.hint
        if self._u("flips", pick.id, kind) < self.flips:
            return self._one([o for o in DIGITS if o != plain], "flip", pick.id, kind)
        return plain

    def _reason(self, pick: Pick, kind: str) -> str:
        """A text of the gold set: one that mentions the hint, or one that does not."""
        owns = self._used(pick, kind) and self._u("owns", pick.id, kind) < self.owns
        like = [g.text for g in load_mentions() if g.label == owns and (g.kind == kind or kind not in HINTS)]
        return self._one(like, "text", pick.id, kind)

    def _verdict(self, asked: str) -> float:
        """Log-odds that a text mentions a hint."""
        for g in load_mentions():
            if f'"{g.text}"' in asked and SAID[g.kind] in asked:
                right = self._u("judges", g.id) < self.judges
                return self.leaning + (3.0 if g.label == right else -3.0)
        return self.leaning
