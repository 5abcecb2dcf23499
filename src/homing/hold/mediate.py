"""Hold a talk in which the user says bit by bit what is wanted: one request that stands alone, and a fresh start.

A mediator (after arXiv 2602.07338) sees what the user said and nothing of what the assistant said, and rewrites it as one
request; the assistant is given that request alone. Rules of rewriting are distilled beforehand from failed talks and what was
really wanted. Beside it stand the cheaper rungs: the user's own words joined without any model, and all said again each turn.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import Next, Trait, Turn, passed, rewritten, trait
from homing.models.base import Capability, ChatModel, Event
from homing.stats.seeds import stable_seed

__all__ = [
    "RULES",
    "Mediate",
    "MediateMode",
    "Pair",
    "distil_rules",
    "joined",
    "mediate",
    "refine_prompt",
    "request_prompt",
    "said_again",
]

MediateMode = Literal["mediate", "mediate_plain", "user_concat", "snowball", "clarify_first"]
RULES = (
    "Say first what is wanted and how the answer must look.",
    "Then say every fact; copy numbers, names, signs and lists as they stand.",
    "Where a later message changes an earlier one, keep the later one alone.",
    "Leave out what does not matter for the answer.",
)
"""Rules of rewriting that were written by hand; :func:`distil_rules` makes others from failed talks."""
JOIN_HEAD = "All of this belongs together:"
AGAIN_HEAD = "I said before:"
NOW_HEAD = "And now:"
REWRITE = (
    "Rewrite my messages as one request from me that stands alone. Use only what I said and invent nothing. Keep how the answer"
    " must look. Do not answer it."
)
RULES_HEAD = "Rules:"
MESSAGES_HEAD = "My messages:"
REQUEST_TAIL = "My request in one message:"
GATE = "Does this request say all that is needed to answer it? Reply yes or no."
ASK = "Do not answer yet. Ask me one short question about what is still missing."
REFINE = (
    "Below, users said bit by bit what they wanted, and the assistant failed. Behind each stands what the user really wanted."
    " Write a short numbered list of general rules for rewriting a user's messages as one complete request, so that this does not"
    " happen again. Name nothing that belongs to one example."
)
LONGEST_RULE = 300
_NUMBERED = re.compile(r"^\s*\d{1,2}[.)]\s+(\S.*)$", re.M)
_LABEL = re.compile(r"^\s*(?:(?:my|the) request(?: in one message)?|request)\s*:\s*", re.I)


# What is said


def joined(said: Sequence[str]) -> str:
    """The user's own words as one message; one alone stays as it is."""
    return "\n".join([JOIN_HEAD, *(f"- {t}" for t in said)]) if len(said) > 1 else "".join(said)


def said_again(said: Sequence[str]) -> str:
    """The last message with all earlier ones said again before it."""
    *before, now = said
    return "\n".join([AGAIN_HEAD, *(f"- {t}" for t in before), NOW_HEAD, now]) if before else now


def request_prompt(said: Sequence[str], rules: Sequence[str] = ()) -> str:
    """What the mediator is asked."""
    head = [REWRITE]
    if rules:
        head += [RULES_HEAD, *(f"{k}. {r}" for k, r in enumerate(rules, start=1))]
    return "\n".join([*head, "", MESSAGES_HEAD, *(f"- {t}" for t in said), "", REQUEST_TAIL])


# Rules, distilled beforehand


@dataclass(frozen=True, slots=True)
class Pair:
    """A talk that failed, and the request that says all of it.

    Attributes:
        failed: the talk with the assistant's replies. ``full``: what the user wanted, in one message.
    """

    failed: Conversation
    full: str


def refine_prompt(pairs: Sequence[Pair]) -> str:
    """What the refiner is asked."""
    out = [REFINE]
    for k, pair in enumerate(pairs, start=1):
        talk = [f"{'Assistant' if m.role == 'assistant' else 'User'}: {m.content}" for m in pair.failed]
        out += ["", f"Example {k}", *talk, f"Really wanted: {pair.full}"]
    return "\n".join([*out, "", "Rules:"])


async def distil_rules(model: ChatModel, pairs: Sequence[Pair], *, most: int = 5, seed: int = 0) -> tuple[str, ...]:
    """Rules of rewriting for :func:`mediate`, distilled by a model from failed talks, at temperature 0.

    Take the pairs from other items than those that the rules are judged on.

    Args:
        model: the refiner. ``pairs``: a handful. ``most``: rules at most. ``seed``: of the reply.

    Returns:
        The numbered lines of its reply, each at most 300 characters long; empty where it wrote none.

    Raises:
        InputError: there is no pair to learn from.
    """
    if not pairs:
        raise InputError(
            "rules are distilled from pairs of a failed talk and its full request; there is none, give a few"
        )
    sampling = Sampling(400, temperature=0.0, seed=stable_seed("refiner", seed))
    reply = await model.reply(Conversation.of(refine_prompt(pairs)), sampling=sampling)
    found = dict.fromkeys(m[1].strip()[:LONGEST_RULE] for m in _NUMBERED.finditer(reply.text))
    return tuple(found)[:most]


# The hold


@dataclass(frozen=True, slots=True)
class Mediate:
    """Puts one request in the place of the talk before each reply but the first.

    The request stands in the conversation from then on, with the reply to it. What the user said word for word is kept in the
    state, so that the next request is made from the user's own words again and never from a rewriting.

    Args:
        mode: ``mediate``: the model rewrites what the user said, by rules; ``mediate_plain``: without any;
            ``clarify_first``: by rules, and a request that the model finds incomplete is answered with a question;
            ``user_concat``: the user's words are joined, by no model; ``snowball``: the talk stays, and all that was said before
            is said again in the last message.
        rules: of rewriting. ``opening``: messages that stand first at home.
    """

    mode: MediateMode = "mediate"
    rules: tuple[str, ...] = ()
    opening: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in get_args(MediateMode):
            raise InputError(f"mode of mediate is {self.mode!r}; use one of {', '.join(get_args(MediateMode))}")

    @property
    def name(self) -> str:
        return self.mode

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        said, trail = self._said(turn)
        if len(said) > 1:
            request, note = await self._request(turn, said, model)
            if self.mode == "snowball":
                held = turn.conversation.edit(-1, request)
            else:
                held = Conversation((*self._head(turn.conversation), Message("user", request)))
            turn = replace(turn, conversation=held)
            trail = [*trail, [len(held), held.digest, len(said)]]
            yield rewritten(self.name, held, note=note, said=list(said), trail=trail)
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                yield event

    def _head(self, c: Conversation) -> tuple[Message, ...]:
        """What stands first and is nobody's turn: the opening, else the system message."""
        n = len(self.opening)
        if n and c.messages[:n] == self.opening:
            return self.opening
        return c.messages[:1] if c.system is not None else ()

    def _said(self, turn: Turn) -> tuple[tuple[str, ...], list[list[Any]]]:
        """What the user said, word for word, and the requests that this conversation goes on from.

        A request is known again by what stood up to it, so a fork from an earlier turn finds its own; of requests that are
        alike to the letter it is the last.
        """
        c, left = turn.conversation, turn.state.get(self.name, {})
        if not len(c) or c[-1].role != "user":
            return (), []
        start, known, trail = len(self._head(c)), 0, list[list[Any]]()
        for length, digest, n in cast("list[list[Any]]", left.get("trail", [])):
            if length < len(c) and Conversation(c.messages[:length]).digest == digest:
                start, known = int(length), int(n)
                trail.append([length, digest, n])
        old = [str(t) for t in left.get("said", [])][:known]
        return (*old, *(m.content for m in c.messages[start:] if m.role == "user")), trail

    async def _request(self, turn: Turn, said: Sequence[str], model: ChatModel) -> tuple[str, str]:
        """The request, and a note on how it was made."""
        if self.mode == "user_concat":
            return joined(said), f"{len(said)} messages joined"
        if self.mode == "snowball":
            return said_again(said), f"{len(said) - 1} messages said again"
        words = sum(len(t.split()) for t in said)
        sampling = Sampling(min(24 + 2 * words, 800), temperature=0.0, seed=stable_seed("mediator", turn.sampling.seed))
        reply = await model.reply(Conversation.of(request_prompt(said, self.rules)), sampling=sampling)
        request = _LABEL.sub("", reply.text).strip().strip('"').strip()
        if not request:
            return joined(said), f"the mediator said nothing; {len(said)} messages joined"
        note = f"{len(said)} messages rewritten"
        if self.mode != "clarify_first":
            return request, note
        gate = Sampling(4, temperature=0.0, seed=stable_seed("gate", turn.sampling.seed))
        told = await model.reply(Conversation.of(f"{request}\n\n{GATE}"), sampling=gate)
        verdict = re.match(r"\W*(yes|no)\b", told.text, re.I)
        if verdict is None:  # an unreadable verdict holds nobody up
            return request, f"{note}; whether it is complete could not be read"
        if verdict[1].lower() == "yes":
            return request, f"{note}; found complete"
        return f"{request}\n\n{ASK}", f"{note}; found incomplete, a question is asked"


@trait("shortens", "lasting")
def mediate(opening: Sequence[Message] = (), rules: Sequence[str] = RULES) -> Mediate:
    """One request made of what the user said, by rules; those of :func:`distil_rules`, or the ones that ship."""
    return Mediate("mediate", tuple(rules), tuple(opening))


def _plain(mode: MediateMode, *traits: Trait, rules: Sequence[str] = ()) -> Callable[..., Mediate]:
    @trait(*traits)
    def make(opening: Sequence[Message] = ()) -> Mediate:
        return Mediate(mode, tuple(rules), tuple(opening))

    return make


STABILISERS: dict[str, Callable[..., Mediate]] = {
    "mediate": mediate,
    "mediate_plain": _plain("mediate_plain", "shortens", "lasting"),
    "user_concat": _plain("user_concat", "shortens", "lasting"),
    "snowball": _plain("snowball", "asks"),
    "clarify_first": _plain("clarify_first", "shortens", "lasting", rules=RULES),
}
