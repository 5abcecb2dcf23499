"""Hold a secret choice: drawn once, kept outside the model, told to it on every call, and bound by a hash that can be checked.

A model that is asked to choose in secret holds nothing between two replies: there is only the text (arXiv 2601.06973). Here the
choice is a value of the caller's. What is published is a salted hash; the salt is a nonce of 256 bits that is kept until the
reveal. The rival is a note that the model writes for itself and rewrites every turn.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import Next, Turn, passed, trait
from homing.models.base import Capability, ChatModel, Event, Intervention
from homing.stats.seeds import stable_seed

__all__ = [
    "Commit",
    "Commitment",
    "Entropy",
    "PrivateMemory",
    "Verification",
    "asks_to_choose",
    "asks_to_reveal",
    "commit",
    "options_in",
    "private_memory",
    "seeded",
    "verify_commit",
]

SCHEMA = "homing.commit/1"
NONCE_BYTES = 32
NAME_TOKENS = 16
NOTE_TOKENS = 32

Entropy = Callable[[str], bytes]
"""Gives 32 bytes for a purpose, in words. In production they are new every time; a test's are a function of the purpose."""

_CHOOSE = re.compile(
    r"\b(?:choose|pick|select|think of|think up|decide on|settle on|imagine|take) "
    r"(?:an?|one|any|some|your|the|which|who|what|where|between|whole|two|three)\b",
    re.I,
)
_SECRET = re.compile(
    r"\b(?:secret(?:ly)?|silently|privately|hidden|in your (?:head|mind)|to yourself|"
    r"(?:do not|don't|never|without) (?:say|tell|name|reveal|mention|show|saying|telling|naming|revealing|mentioning|showing))\b",
    re.I,
)
_REVEAL = re.compile(
    r"\bI give up\b|\breveal\b|\btell me (?:your (?:choice|secret|number|word)|which|what (?:it|you))\b|"
    r"\b(?:which|what|who|where)\b[^.?!]*\b(?:did you (?:choose|pick|select|take|think of|decide on|settle on|have in mind)|"
    r"have you (?:chosen|picked|selected|decided on)|(?:it is|it was) (?:you|that you) chose|you (?:chose|picked)|was it|"
    r"were you thinking of|is your (?:choice|secret|number|word|answer))\b",
    re.I,
)
_LINE = re.compile(r"^[ \t]*(\w{1,8})[ \t]*[:.)][ \t]+(\S.*?)[ \t]*$", re.M)
_RANGE = re.compile(r"\b(?:from|between) (-?\d+) (?:to|and|through|up to) (-?\d+)\b", re.I)
ASK_NAME = "Before we go on, and for your eyes alone: what is it that you choose? Answer with it alone, in a few words."
ASK_NOTE = (
    "Before we go on, write a private note to yourself, which only you will see: in one short sentence, what you have chosen in"
    " secret and must not forget."
)


def fresh_entropy(purpose: str) -> bytes:
    """New bytes from the operating system, whatever they are for."""
    return secrets.token_bytes(NONCE_BYTES)


def seeded(seed: int) -> Entropy:
    """A source that gives the same bytes for the same purpose: for tests and for runs that must repeat, never for a secret."""
    return lambda purpose: hashlib.sha256(f"{seed}\x1f{purpose}".encode()).digest()


def asks_to_choose(text: str) -> bool:
    """Whether a user's message asks for a choice that is to stay secret."""
    return bool(_CHOOSE.search(text) and _SECRET.search(text))


def asks_to_reveal(text: str) -> bool:
    """Whether a user's message asks what was chosen."""
    return bool(_REVEAL.search(text))


def options_in(text: str) -> Sequence[str]:
    """What a message gives to choose from: its numbered or lettered lines, else a range of whole numbers, else nothing."""
    lines = [f"{m[1]}: {m[2]}" for m in _LINE.finditer(text)]
    if len(lines) >= 2 and len({x.split(":")[0] for x in lines}) == len(lines):
        return lines
    found = _RANGE.search(text)
    if found is None:
        return ()
    low, high = sorted((int(found[1]), int(found[2])))
    return _Numbers(low, high)


class _Numbers(Sequence[str]):
    """Whole numbers as text, none of them made before it is asked for: a range in a message may be any size."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._n = low, high - low + 1

    def __len__(self) -> int:
        return min(self._n, 2**62)

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return str(self._low + i)


@dataclass(frozen=True, slots=True)
class Commitment:
    """A value that was drawn, and what binds it.

    Attributes:
        value: what was chosen. ``nonce``: 64 hexadecimal digits.
        conversation: digest of the messages up to and with the one that asked. ``position``: that one's index, from 0.
        opened: whether it has been revealed, so that value and nonce may be published.
    """

    value: str
    nonce: str
    conversation: str
    position: int
    opened: bool = False

    @property
    def digest(self) -> str:
        """What is published: SHA-256 over value, nonce, conversation and position, hexadecimal."""
        body = [SCHEMA, self.value, self.nonce, self.conversation, self.position]
        return hashlib.sha256(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """An opening: everything that :func:`verify_commit` needs. Secret until the reveal."""
        return {
            "schema": SCHEMA, "commitment": self.digest, "value": self.value, "nonce": self.nonce,
            "conversation": self.conversation, "position": self.position, "opened": self.opened,
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Commitment:
        """The inverse of :meth:`to_json`.

        Raises:
            InputError: another schema, or a field that is missing or not what it must be.
        """
        if raw.get("schema") != SCHEMA:
            raise InputError(f"an opening has schema {raw.get('schema')!r}; this version reads {SCHEMA}")
        value, nonce, conversation, position = (raw.get(k) for k in ("value", "nonce", "conversation", "position"))
        for name, text in (("value", value), ("nonce", nonce), ("conversation", conversation)):
            if not isinstance(text, str):
                raise InputError(f"{name} of an opening is {text!r}; it must be text")
        if not re.fullmatch(r"[0-9a-f]{64}", str(nonce)):
            raise InputError(f"nonce of an opening is {nonce!r}; it must be 64 hexadecimal digits, in lower case")
        if not isinstance(position, int) or isinstance(position, bool) or position < 0:
            raise InputError(f"position of an opening is {position!r}; it is the index of a message, from 0")
        return cls(str(value), str(nonce), str(conversation), position, raw.get("opened") is True)


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether an opening is of a commitment. ``reason``: one sentence, also where it is."""

    ok: bool
    reason: str


def verify_commit(
    commitment: str, opening: Mapping[str, Any], *, conversation: Conversation | None = None
) -> Verification:
    """Check that an opening is what was committed to, where it was committed.

    Args:
        commitment: the hash as it was published *before* the reveal, with or without ``sha256:`` before it. The one that the
            opening itself carries proves nothing and is not looked at.
        opening: as :meth:`Commitment.to_json` gives it. ``conversation``: the transcript, to check that the choice belongs to it;
            None: the hash alone is checked, and the reason says so.

    Raises:
        InputError: the commitment is no hash, or the opening cannot be read.
    """
    published = commitment.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", published):
        raise InputError(f"commitment is {commitment!r}; it must be 64 hexadecimal digits, as it was published")
    made = Commitment.from_json(opening)
    if not hmac.compare_digest(made.digest, published):
        return Verification(False, "value, nonce, conversation and position of the opening do not give the commitment")
    said = f"{made.value!r} is what was committed to at message {made.position}"
    if conversation is None:
        return Verification(True, f"{said}; no conversation was given to check it against")
    if made.position >= len(conversation):
        return Verification(
            False, f"the conversation has {len(conversation)} messages, and the choice was made at {made.position}"
        )
    if Conversation(conversation.messages[: made.position + 1]).digest != made.conversation:
        return Verification(False, f"the conversation up to message {made.position} is not the one it was made in")
    return Verification(True, f"{said} of this conversation")


KEEP = "Answer every question truly for it, and do not name it until the user asks which it was."
SAY = "The user now asks for it: say it."
KNOWN = "The user has been told it. Answer every question truly for it."


def _told(turn: Turn, secret: str, rule: str) -> Turn:
    """The turn with a private note before the user's message; nothing of it is kept."""
    c = turn.conversation
    note = f"(A private note to you, which the user does not see: {secret} {rule})"
    return replace(turn, conversation=c.edit(-1, f"{note}\n\n{c[-1].content}"))


def _asked_at(c: Conversation) -> int:
    """Index of the last user message that asks for a secret choice, or -1."""
    return max((i for i, m in enumerate(c) if m.role == "user" and asks_to_choose(m.content)), default=-1)


@dataclass(frozen=True, slots=True)
class Commit:
    """Draws the choice once, where it is first asked for, and tells the model on every call.

    Where the message lists what there is to choose from, the draw is uniform and not the model's: its own would be the same few
    things in most conversations, and could be guessed. Where nothing is listed the model names something, once, in a fork.

    Its state is ``{"held": [opening, ...]}``, one for every choice that was asked for, the nonce in it; the caller keeps it from
    whoever is to be surprised. Notes of its interventions hold the commitment, and the opening once it is revealed: they may be
    shown.

    Args:
        entropy: where the draw and the nonce come from.
    """

    entropy: Entropy = fresh_entropy

    @property
    def name(self) -> str:
        return "commit"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        state = cast("Mapping[str, Any]", turn.state.get(self.name, {}))
        held = [Commitment.from_json(h) for h in cast("Sequence[Mapping[str, Any]]", state.get("held", ()))]
        at, c = _asked_at(turn.conversation), turn.conversation
        if at >= 0 and (not held or at > held[-1].position):
            value = await self._draw(turn, model, at)
            if value:
                held.append(Commitment(value, self._bytes("nonce", turn, at).hex(), _upto(c, at).digest, at))
                yield self._left(held, f"committed to sha256:{held[-1].digest}")
        if held:
            now = held[-1]
            reveal, known = len(c) - 1 > now.position and asks_to_reveal(c[-1].content), now.opened
            if reveal and not known:
                now = held[-1] = replace(now, opened=True)
                yield self._left(held, f"opened {json.dumps(now.to_json(), ensure_ascii=False)}")
            else:
                yield Intervention(self.name, 0, note="one private line")
            turn = _told(turn, f'you have chosen "{now.value}".', SAY if reveal else KNOWN if known else KEEP)
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event

    def _left(self, held: Sequence[Commitment], note: str) -> Intervention:
        return Intervention(self.name, 0, note=note, state={"held": [h.to_json() for h in held]})

    def _bytes(self, what: str, turn: Turn, at: int) -> bytes:
        """Bytes for one purpose at one place of one conversation.

        Raises:
            InputError: the source gives another number of bytes.
        """
        made = self.entropy(f"{what} {_upto(turn.conversation, at).digest} {at} {turn.sampling.seed}")
        if len(made) != NONCE_BYTES:
            raise InputError(f"the source of randomness gave {len(made)} bytes; a nonce has {NONCE_BYTES}")
        return made

    async def _draw(self, turn: Turn, model: ChatModel, at: int) -> str:
        """A value, or nothing where the model names none."""
        number = int.from_bytes(self._bytes("value", turn, at), "big")
        options = options_in(turn.conversation[at].content)
        if options:
            return options[number % len(options)]  # 256 bits: the remainder favours none by more than one in 2**194
        asked = _upto(turn.conversation, at)
        asked = asked.edit(-1, f"{asked[-1].content}\n\n{ASK_NAME}")
        sampling = Sampling(
            NAME_TOKENS, temperature=turn.sampling.temperature, top_p=turn.sampling.top_p, seed=number % 2**31
        )
        reply = await model.reply(asked, sampling=sampling)
        return _first_line(reply.text)


def _upto(c: Conversation, at: int) -> Conversation:
    return Conversation(c.messages[: at + 1])


def _first_line(text: str) -> str:
    return next((line.strip(" \t\"'.") for line in text.splitlines() if line.strip(" \t\"'.")), "")


@dataclass(frozen=True, slots=True)
class PrivateMemory:
    """The model's own note, kept outside the transcript and rewritten before every turn (after arXiv 2601.06973).

    What the note is drawn with is fixed at the first one, so that forks of one moment are given the same note.

    Args:
        tokens: longest note.
    """

    tokens: int = NOTE_TOKENS

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise InputError(f"tokens of a private note are {self.tokens}; it needs at least 1")

    @property
    def name(self) -> str:
        return "private_memory"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        c, s = turn.conversation, turn.sampling
        first = {"note": "", "turns": -1, "seed": s.seed, "temperature": s.temperature, "top_p": s.top_p}
        state: dict[str, Any] = {**first, **turn.state.get(self.name, {})}
        if state["turns"] != c.turns:
            sampling = Sampling(
                self.tokens, temperature=state["temperature"], top_p=state["top_p"],
                seed=stable_seed("note", state["seed"], c.turns),
            )  # fmt: skip
            reply = await model.reply(self._asked(c, state["note"]), sampling=sampling)
            state = {**state, "note": " ".join(reply.text.split()) or state["note"], "turns": c.turns}
            yield Intervention(self.name, 0, note="the note is rewritten", state=state)
        if state["note"]:
            turn = _told(turn, state["note"], SAY if c.turns and asks_to_reveal(c[-1].content) else KEEP)
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event

    @staticmethod
    def _asked(c: Conversation, note: str) -> Conversation:
        """Asks for the note after the last reply, or, before there is one, with the first message."""
        words = f'{ASK_NOTE} Your note so far: "{note}"' if note else ASK_NOTE
        before = max((i for i, m in enumerate(c) if m.role == "assistant"), default=-1)
        if before < 0:
            return c.edit(-1, f"{c[-1].content}\n\n{words}")
        return _upto(c, before).then(words, "user")


@trait("asks")
def commit(entropy: Entropy | None = None) -> Commit:
    """A secret choice that is drawn once and told to the model on every call."""
    return Commit(entropy or fresh_entropy)


@trait("asks")
def private_memory() -> PrivateMemory:
    """A note of the model's own, rewritten every turn."""
    return PrivateMemory()


STABILISERS = {"commit": commit, "private_memory": private_memory}
