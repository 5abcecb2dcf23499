"""Stop: reflection ends where the answer has settled.

What comes after the first answer mostly says it again (arXiv 2510.08308). Here each sentence after it is followed by a look: in a
fork, behind what has been said so far, the model is asked for its answer at once. Where it is the same in several looks on end,
and the same as the reply itself last stated, nothing more is said. No word is added to a reply in sight.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import Next, Turn, passed, trait
from homing.hold.settled import CUE, closed, ends, stated, value_of
from homing.models.base import Capability, ChatModel, Done, Event, Intervention, Reply, Token

__all__ = ["Stop", "behind", "stop"]

ANSWER_TOKENS = 8
_WORD = re.compile(r"\s*\S+|\s+")


def behind(c: Conversation, said: str) -> Conversation:
    """A fork in which the answer is asked for behind what has been said so far; nothing: with the question itself."""
    if not said.strip():
        return c.edit(-1, f"{c[-1].content}\n\n{CUE}")
    return c.then(said, "assistant").then(CUE, "user")


class _Watch:
    """One reply as it comes: pieces, and what the looks at it found."""

    def __init__(self, hold: Stop, turn: Turn, model: ChatModel) -> None:
        self._hold, self._c, self._model = hold, turn.conversation, model
        self._options = closed(turn.conversation[-1].content)
        self.text, self.looks, self._seen, self._same, self._last = "", 0, 0, 0, ""

    async def settled(self, piece: str) -> str:
        """Takes the next piece; the answer where it had settled before that, else nothing. ``piece`` may be empty at the end."""
        said, self.text = self.text, self.text + piece
        last = ends(said, rest=False)[-1:]
        # a sentence is over where blanks stand behind it: "3." may be the beginning of "3.5"
        over = last and not said[last[0] :].strip() and (said[last[0] :] or piece[:1].isspace())
        if not over or not piece.strip() or last[0] == self._seen:
            return ""
        now = stated(said, self._options)
        if not now:
            return ""
        self._seen, self.looks = last[0], self.looks + 1
        forced, sure = await self._forced(said)
        agrees = bool(forced) and forced == now[-1].value and sure >= self._hold.sure
        self._same = (self._same + 1 if forced == self._last else 1) if agrees else 0
        self._last = forced
        return forced if self._same >= self._hold.patience else ""

    async def _forced(self, said: str) -> tuple[str, float]:
        """The answer in a fork, and its probability; 1 where it is not known."""
        fork = behind(self._c, said.rstrip())
        if self._options:
            choice = await self._model.choose(fork, self._options)
            best = max(range(len(self._options)), key=choice.probabilities.__getitem__)
            return self._options[best], choice.probabilities[best]
        reply = await self._model.reply(fork, sampling=Sampling(ANSWER_TOKENS, temperature=0.0))
        found = stated(reply.text)
        return (found[-1].value if found else value_of(reply.text)), 1.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Ends a reply where its answer has settled; one that states none is left alone.

    Where the question gives few options (numbers of a range, lettered lines, yes or no) a look is one choice among them and makes
    no token; else it is a reply of a few words. A reply that comes in pieces ends at once and what would have followed is never
    made; one that comes whole is cut where it would have ended, to the same text. An answer that settles in the model's
    thinking ends the thinking, and is said.

    Args:
        patience: looks on end that must agree. ``sure``: least probability of the answer in each.
    """

    patience: int = 2
    sure: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise InputError(f"patience of stop is {self.patience}; it counts looks that agree, at least 1")
        if not 0 <= self.sure <= 1:
            raise InputError(f"sure of stop is {self.sure}; it is a probability, from 0 to 1")

    @property
    def name(self) -> str:
        return "stop"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        watches = {span: _Watch(self, turn, model) for span in ("thinking", "reply")}
        sent: list[Token] = []
        async with aclosing(passed(next(turn))) as events:
            async for event in events:
                if isinstance(event, Token):
                    watch = watches["thinking" if event.span == "thinking" else "reply"]
                    if answer := await watch.settled(event.text):
                        yield self._note(watch, answer)
                        async for last in self._ended(sent, answer, turn, events, model):
                            yield last
                        return
                    sent.append(event)
                    yield event
                elif isinstance(event, Done) and not sent:
                    note, reply = await self._cut(event.reply, watches, model)
                    if note is not None:
                        yield note
                    yield Done(reply)
                else:
                    yield event

    @staticmethod
    async def _ended(
        sent: list[Token], answer: str, turn: Turn, events: AsyncGenerator[Event, None], model: ChatModel
    ) -> AsyncGenerator[Event, None]:
        """The end of a reply that is stopped while it comes: what would have followed is not made.

        Where something is read of the reply it runs on unseen, since what was read comes with its end alone.
        """
        thought = "".join(t.text for t in sent if t.span == "thinking").rstrip()
        text = "".join(t.text for t in sent if t.span != "thinking").rstrip()
        if not text:
            text = answer
            yield Token(len(sent), answer, -1, float("nan"))
        prompt = sum(len(model.pieces(m.content)) for m in turn.conversation)
        tokens = tuple(t.token for t in sent)
        reply = Reply(text, tokens, "stop", prompt, len(sent), thought or None, spans=tuple(t.span for t in sent))
        if turn.reads or turn.means or turn.acts:
            async for event in events:
                if isinstance(event, Done):
                    reply = replace(_short(event.reply, len(sent)), text=text, thinking=thought or None)
        yield Done(reply)

    def _note(self, watch: _Watch, answer: str) -> Intervention:
        return Intervention(self.name, 0, float(watch.looks), note=f"settled on {answer} after {watch.looks} looks")

    async def _cut(
        self, reply: Reply, watches: dict[str, _Watch], model: ChatModel
    ) -> tuple[Intervention | None, Reply]:
        """A whole reply, cut where it would have ended."""
        thought, said = (_pieces(text, model) for text in (reply.thinking or "", reply.text))
        for span, pieces, before in (("thinking", thought, 0), ("reply", said, len(thought))):
            watch = watches[span]
            for k, piece in enumerate(pieces):
                if not (answer := await watch.settled(piece)):
                    continue
                kept = "".join(pieces[:k]).rstrip()
                # a provider's pieces are no tokens, and marks around thinking are tokens too: what is kept is a share
                n = max(1, round(reply.new_tokens * (before + k) / (len(thought) + len(said))))
                cut = {"thinking": kept, "text": answer} if span == "thinking" else {"text": kept}
                return self._note(watch, answer), replace(_short(reply, n), **cut)
        return None, reply


def _pieces(text: str, model: ChatModel) -> Sequence[str]:
    """The text in pieces that join to it: the model's tokens, or words where it has none."""
    found = model.pieces(text) if text else ()
    return found if "".join(found) == text else _WORD.findall(text)


def _short(reply: Reply, n: int) -> Reply:
    """The first ``n`` tokens of a reply, with what was read and done at them."""
    return replace(
        reply, tokens=reply.tokens[:n], spans=reply.spans[:n], new_tokens=n, finish="stop",
        readings=tuple(x[:n] for x in reply.readings), fired=tuple(x[:n] for x in reply.fired),
    )  # fmt: skip


@trait("lasting")
def stop() -> Stop:
    """Reflection that ends where the answer has settled."""
    return Stop()


STABILISERS = {"stop": stop}
