"""Hold by verified state: what a model said before is checked against its conversation, and what is known stands in its place.

The verifier is an argument of the hold: it reads a conversation and says what is right in it, or that it cannot tell; then
nothing is touched. One ships: it computes the totals of a running sum from the user's words alone, and can be made to err at a
known rate, so that it can be asked how good a verifier must be. The task is that of arXiv 2509.09677, in words of our own.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

from homing.conversation import Conversation, Message
from homing.errors import InputError
from homing.hold.base import Next, Turn, passed, rewritten
from homing.models.base import Capability, ChatModel, Event, Intervention
from homing.stats.seeds import stable_seed

__all__ = [
    "NOISY_PERCENT",
    "Checked",
    "RunningSum",
    "RunningSumVerifier",
    "Step",
    "Transcript",
    "VerifiedState",
    "Verifier",
    "VerifyMode",
    "heal_verified",
    "mode_and_noise",
    "read_running_sum",
    "reinject",
    "restart",
    "shown_under",
    "total_of",
    "window",
]

RULES = "Keep a running total for me. When I name words, add what they are worth and reply with the new total, only the number."
LAST_DIGIT = "Of the total keep only the last digit."
_WORTH = re.compile(r"^Worth: (.+)\.$", re.M)
_PAIR = re.compile(r"([a-z]+) (-?\d{1,12})(?!\d)")
_START = re.compile(r"^The total starts at (-?\d{1,12})\. What is it now\?$", re.M)
_ADD = re.compile(r"^Add: ([a-z]+(?:, [a-z]+)*)$", re.M)
_ROW = re.compile(r"^([a-z]+(?:, [a-z]+)*) -> (-?\d{1,12})$", re.M)
_CHECKED = re.compile(r"^The total so far is (-?\d{1,12})\. This was checked;", re.M)
_NUMBER = re.compile(r"(?<!\d)-?\d{1,12}(?!\d)")
_NAMED = re.compile(r"total\D{0,16}?(-?\d{1,12})(?!\d)", re.I)


# The task in text: written and read in one place


@dataclass(frozen=True, slots=True)
class RunningSum:
    """A running sum over the words of a small dictionary.

    Args:
        worth: of each word. ``start``: the total before the first word.
        modulus: 10 where only the last digit is kept, or None.
    """

    worth: Mapping[str, int]
    start: int
    modulus: Literal[10] | None = 10

    def opening(self) -> str:
        """The user's first message; the right reply to it is the start."""
        rules = f"{RULES} {LAST_DIGIT}" if self.modulus else RULES
        worth = ", ".join(f"{w} {v}" for w, v in self.worth.items())
        return f"{rules}\nWorth: {worth}.\nThe total starts at {self.start}. What is it now?"

    def kept(self, total: int) -> int:
        """A total as it is kept."""
        return total % self.modulus if self.modulus else total

    def then(self, total: int, words: Sequence[str]) -> int:
        """The total after some words."""
        return self.kept(total + sum(self.worth[w] for w in words))

    @staticmethod
    def turn(words: Sequence[str]) -> str:
        """The line by which a user adds words."""
        return f"Add: {', '.join(words)}"

    @staticmethod
    def row(words: Sequence[str], total: int) -> str:
        """A line of a sheet on which words stand with the total after them."""
        return f"{', '.join(words)} -> {total}"


@dataclass(frozen=True, slots=True)
class Step:
    """Words that were added, and the total that is shown after them.

    Attributes:
        words: none for the opening. ``message``: index of the assistant's reply that shows the total; None where a user wrote it
            on a sheet, or where it is still asked for. ``shown``: the total as it stands there; None where none does.
    """

    words: tuple[str, ...]
    message: int | None
    shown: int | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation that is a running sum and ends with a message to reply to.

    Attributes:
        opening: index of the message with the rules. ``steps``: the opening's first, what is asked for last.
        told: the total that the last message says was checked, or None.
    """

    task: RunningSum
    opening: int
    steps: tuple[Step, ...]
    told: int | None = None

    def totals(self) -> list[int]:
        """The right total after every step."""
        out = [self.task.start]
        for step in self.steps[1:]:
            out.append(self.task.then(out[-1], step.words))
        return out

    def stated(self) -> int | None:
        """The total that stands before what is asked for: that which was checked, else the last that is shown."""
        return self.told if self.told is not None else self.steps[-2].shown if len(self.steps) > 1 else None


def read_running_sum(conversation: Conversation) -> Transcript | None:
    """The running sum that a conversation is, or None where it is anything else."""
    at = 0 if conversation.system is None else 1
    body = conversation.messages[at:]
    roles = [m.role for m in body]
    if len(body) % 2 == 0 or any(r != ("user", "assistant")[i % 2] for i, r in enumerate(roles)):
        return None
    task = _task(body[0].content)
    if task is None:
        return None
    steps: list[Step] = []
    for i in range(0, len(body), 2):
        adds = _ADD.findall(body[i].content)
        if len(adds) != (1 if i else 0):
            return None
        rows = [Step(_words(w), None, int(n)) for w, n in _ROW.findall(body[i].content)] if i else []
        answered = i + 1 < len(body)
        shown = total_of(body[i + 1].content) if answered else None
        steps += [*rows, Step(_words(adds[0]) if i else (), at + i + 1 if answered else None, shown)]
    if any(w not in task.worth for s in steps for w in s.words):
        return None
    told = _CHECKED.search(body[-1].content)
    return Transcript(task, at, tuple(steps), int(told[1]) if told else None)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


def _task(text: str) -> RunningSum | None:
    worth, start = _WORTH.search(text), _START.search(text)
    if not text.startswith(RULES) or worth is None or start is None:
        return None
    return RunningSum(
        {w: int(v) for w, v in _PAIR.findall(worth[1])}, int(start[1]), 10 if LAST_DIGIT in text else None
    )


def total_of(text: str) -> int | None:
    """The one total that a reply names: behind its last equals sign, else behind the word total, else its only number."""
    after = _NUMBER.search(text.rpartition("=")[2]) if "=" in text else None
    if after is not None:
        return int(after[0])
    named = _NAMED.findall(text)
    numbers = set(_NUMBER.findall(text))
    if named:
        return int(named[-1])
    return int(numbers.pop()) if len(numbers) == 1 else None


# Verifiers


@dataclass(frozen=True, slots=True)
class Checked:
    """What a verifier knows of a conversation that ends with a message to reply to.

    Attributes:
        corrections: of each own output that it holds wrong, by index: what should stand there.
        told: the state before the last message, in words. ``fresh``: the conversation begun again from that state.
    """

    corrections: Mapping[int, str]
    told: str
    fresh: Conversation


class Verifier(Protocol):
    """Knows what is right in some conversations."""

    def check(self, conversation: Conversation) -> Checked | None:
        """What is known; None where it is none of its conversations."""
        ...

    def cut(self, conversation: Conversation, turns: int) -> Conversation | None:
        """The conversation with its last ``turns`` answered turns alone, from what is shown before them; no state is verified."""
        ...


@dataclass(frozen=True, slots=True)
class RunningSumVerifier:
    """Computes totals from the rules and the user's words; what the assistant said is never looked at.

    Args:
        error_rate: probability that it is wrong about a total, 0 to 1. A total it errs about is wrong each time it is asked for.
    """

    error_rate: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.error_rate <= 1.0:
            raise InputError(f"error_rate of a verifier is {self.error_rate}; it is a probability, 0 to 1")

    def believed(self, found: Transcript) -> list[int]:
        """The totals as it believes them, after every step; of the start, which the user states, it is sure."""
        out, said = found.totals(), [found.task.opening()]
        if not self.error_rate:
            return out
        for k in range(1, len(out)):
            said.append(found.task.turn(found.steps[k].words))
            if stable_seed("verifier errs", *said) < self.error_rate * 2**31:
                out[k] = found.task.kept(out[k] + 1 + stable_seed("verifier is off by", *said) % 9)
        return out

    def check(self, conversation: Conversation) -> Checked | None:
        """Totals of every reply, and the state before the last message; None where that is no turn of a running sum."""
        found = read_running_sum(conversation)
        if found is None or len(found.steps) < 2:
            return None
        totals = self.believed(found)
        state, last = totals[-2], conversation[-1].content
        wrong = {
            s.message: str(t)
            for s, t in zip(found.steps, totals, strict=True)
            if s.message is not None and s.shown != t
        }
        told = f"The total so far is {state}. This was checked; totals further up may be wrong."
        asked = _ADD.search(last)
        if asked is not None and _ROW.search(last) is not None:
            last = last[asked.start() :]  # a sheet of old totals is left behind
        return Checked(wrong, told, _from(conversation, found, state).then(last, "user"))

    def cut(self, conversation: Conversation, turns: int) -> Conversation | None:
        """The last turns, begun from the total that is shown before them, be it right or wrong."""
        found = read_running_sum(conversation)
        if found is None or len(found.steps) < 2:
            return None
        answered = [s for s in found.steps if s.message is not None]
        before = answered[-turns - 1] if len(answered) > turns + 1 else None
        if before is None or before.message is None or before.shown is None:
            return conversation
        tail = conversation.messages[before.message + 1 :]
        return Conversation((*_from(conversation, found, before.shown).messages, *tail))


def _from(conversation: Conversation, found: Transcript, state: int) -> Conversation:
    """The rules and their answer, begun from a total."""
    head: tuple[Message, ...] = conversation.messages[: found.opening]
    opening = replace(found.task, start=state).opening()
    return Conversation(head).then(opening, "user").then(str(state), "assistant")


# Holds

VerifyMode = Literal["heal_verified", "reinject", "window", "restart"]
NOISY_PERCENT = (20, 50, 100)
"""Error rates of the verifiers of the noisy holds, for the break-even."""
UNTOUCHED = "nothing in it can be verified; left as it is"


@dataclass(frozen=True, slots=True)
class VerifiedState:
    """Puts verified state in the place of what the model said, before each reply. It asks nothing of the model.

    What is healed stands in the conversation from then on. The other modes change what the model is shown and not what is
    kept, so that the next turn is verified from the user's own words again.

    Args:
        mode: ``heal_verified``: own outputs that are wrong are replaced; ``reinject``: the state is said before the user's
            message; ``window``: the last ``turns`` turns alone are shown; ``restart``: a fresh context from the state.
        verifier: asked before each reply. ``turns``: of the window. ``label``: in flags and reports; empty: the mode.
    """

    mode: VerifyMode
    verifier: Verifier = RunningSumVerifier()
    turns: int = 2
    label: str = ""

    def __post_init__(self) -> None:
        if self.mode not in get_args(VerifyMode):
            raise InputError(f"mode of a hold is {self.mode!r}; use one of {', '.join(get_args(VerifyMode))}")
        if self.turns < 1:
            raise InputError(f"turns of a window are {self.turns}; it needs at least 1")

    @property
    def name(self) -> str:
        return self.label or self.mode

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    def shown(self, conversation: Conversation) -> Conversation | None:
        """The conversation as the model is shown it; None where nothing in it can be verified."""
        if self.mode == "window":
            return self.verifier.cut(conversation, self.turns)
        checked = self.verifier.check(conversation)
        if checked is None:
            return None
        if self.mode == "restart":
            return checked.fresh
        if self.mode == "reinject":
            return conversation.edit(-1, f"{checked.told}\n{conversation[-1].content}")
        for i, text in checked.corrections.items():
            conversation = conversation.heal(i, text)
        return conversation

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        held = self.shown(turn.conversation)
        if held is None:
            yield Intervention(self.name, 0, note=UNTOUCHED)
        elif held != turn.conversation:
            n = sum(a != b for a, b in zip(held, turn.conversation, strict=False))
            turn = replace(turn, conversation=held)
            if self.mode == "heal_verified":
                yield rewritten(self.name, held, note=f"{n} replies replaced")
            else:
                yield Intervention(self.name, 0, note=f"{self.mode}: {len(held)} messages shown")
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event


def heal_verified(verifier: Verifier | None = None) -> VerifiedState:
    """Own past outputs that are wrong, replaced by what is verified."""
    return VerifiedState("heal_verified", verifier or RunningSumVerifier())


def reinject(verifier: Verifier | None = None) -> VerifiedState:
    """The verified state, said before the user's message."""
    return VerifiedState("reinject", verifier or RunningSumVerifier())


def window(verifier: Verifier | None = None) -> VerifiedState:
    """The last two turns alone, with nothing verified."""
    return VerifiedState("window", verifier or RunningSumVerifier())


def restart(verifier: Verifier | None = None) -> VerifiedState:
    """A fresh context from the verified state."""
    return VerifiedState("restart", verifier or RunningSumVerifier())


def _noisy(mode: VerifyMode, percent: int) -> Callable[[], VerifiedState]:
    def make() -> VerifiedState:
        return VerifiedState(mode, RunningSumVerifier(percent / 100), label=f"{mode}_noisy{percent}")

    return make


_PLAIN: dict[str, Callable[..., VerifiedState]] = {
    "heal_verified": heal_verified, "reinject": reinject, "window": window, "restart": restart,
}  # fmt: skip
_VERIFYING: tuple[VerifyMode, ...] = ("heal_verified", "reinject", "restart")
STABILISERS: dict[str, Callable[..., VerifiedState]] = {
    **_PLAIN,
    **{f"{mode}_noisy{p}": _noisy(mode, p) for mode in _VERIFYING for p in NOISY_PERCENT},
}


def mode_and_noise(hold: str) -> tuple[str, float] | None:
    """Of the name of a verifying hold its mode and its verifier's error rate; None for any other name."""
    mode, _, percent = hold.partition("_noisy")
    if hold not in STABILISERS or mode not in _VERIFYING:
        return None
    return mode, int(percent or 0) / 100


def shown_under(hold: str, conversation: Conversation) -> Conversation:
    """What the model is shown under a chain by name, as far as the holds of this file are in it."""
    for name in hold.split("+"):
        if name in STABILISERS:
            conversation = STABILISERS[name]().shown(conversation) or conversation
    return conversation
