"""chat: one conversation with a live reading of the distance from home."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from homing.conversation import Conversation, Message
from homing.drift.detectors import DetectorState
from homing.drift.trace import position_of
from homing.engine.base import Read, Sampling
from homing.errors import TooLong
from homing.hold.cap import CapStabiliser
from homing.identity import Identity
from homing.models.base import Event, Intervention, Reading, Token
from homing.models.sources import Dtype, EngineName
from homing.stats.seeds import stable_seed
from homing.verbs.api import Model, open
from homing.verbs.watch import Home

__all__ = ["ChatSession"]

SPOKEN = Sampling(max_new_tokens=256, temperature=0.7, top_p=0.9)
EXCHANGE = 2


class ChatSession:
    """A conversation, read on every token; a context manager, or call ``close``.

    Args:
        model: name of the model; None: the one the identity was made on. ``identity_dir``: of its home.
        hold: ``cap``, or None; may be changed between turns.
        engine: ``auto`` takes the one that the identity was made on.
        dtype: of the weights on torch; ``auto`` takes the faster of float32 and bfloat16, measured. On llama.cpp: as the file.
        threads: of the engine. slots: most rows at once. layers: dotted name of the decoder layers; the identity's own unless
            given.

    Raises:
        HomingError: the identity, the model or the hold cannot be used.
    """

    def __init__(
        self,
        model: str | None,
        identity_dir: Path | str,
        hold: str | None = None,
        *,
        engine: EngineName = "auto",
        dtype: Dtype = "float32",
        threads: int | None = None,
        slots: int | None = None,
        layers: str | None = None,
    ) -> None:
        identity = Identity.load(identity_dir)
        self._home = Home.chosen(identity, model, engine)
        self._model: Model = open(
            model or str(self._home.identity.model["name"]),
            engine=self._home.engine(engine, model),
            dtype=dtype,
            threads=threads,
            slots=slots,
            layers=layers or self._home.layers_of(identity, model),
        )
        try:
            self._home = Home.on(identity, self._model.aio)
            for direction in self._home.axis.directions:
                self._model.aio.register(direction)
            self.hold = hold
            self.home()
        except BaseException:  # what cannot be used is closed, whatever refused it
            self.close()
            raise

    @property
    def hold(self) -> str | None:
        """What holds the next turns: ``cap``, or None. When it is first switched on, the cap is proved on the model.

        Raises:
            HomingError: on setting: an unknown hold, or a cap that is missing or refused; the old hold stays.
        """
        return self._hold

    @hold.setter
    def hold(self, hold: str | None) -> None:
        self._model.prove(self._home, hold)
        self._hold = None if hold == "none" else hold

    def home(self) -> None:
        """Start a new conversation from home; the alarms and what they warn of start anew with it."""
        self.conversation = Conversation(self._home.opening)
        self._state = DetectorState()
        self._turn = 0
        self._left_out = 0
        self._warned: set[str] = set()

    def _shown(self, whole: Conversation, left_out: int) -> Conversation:
        """What the model sees: home's opening, and what was said without the oldest exchanges."""
        head = len(self._home.opening)
        return Conversation(whole.messages[:head] + whole.messages[head + left_out :])

    def _begin(self, whole: Conversation, sampling: Sampling, read: Read) -> tuple[Conversation, Iterator[Event]]:
        """The reply under way, its first event made, and the part of the conversation that the context holds.

        Raises:
            TooLong: home's opening and the last message alone do not fit.
        """
        home = self._home
        stabilisers = () if self.hold is None or home.cap is None else (CapStabiliser(home.cap),)
        left_out = self._left_out
        while True:
            asked = self._shown(whole, left_out)
            events = self._model.stream(asked, sampling=sampling, reads=(read,), hold=stabilisers)
            try:
                first = next(events, None)
            except TooLong:
                if len(asked) <= len(home.opening) + 1:
                    raise
                left_out += EXCHANGE
                continue
            self._left_out = left_out
            return asked, events if first is None else chain((first,), events)

    def send(self, text: str) -> Generator[dict[str, Any], None, None]:
        """Say something; yields ``token``, ``reading`` and one ``done`` with position, drift and alarms of the turn.

        Positions of a held turn are read from the produced text without the hold. A conversation longer than the context
        loses its oldest exchanges. Each reason why the alarms' promise does not cover the conversation is said once, in
        ``warnings`` of the turn from which it holds.

        Raises:
            TooLong: this message alone does not fit in the context; the conversation stands as before it.
        """
        home, model = self._home, self._model
        whole = self.conversation.then(text, "user")
        sampling = replace(SPOKEN, seed=stable_seed("chat", whole.digest))
        read = home.axis.read()
        held = bool(home.acts(model.aio, self.hold))
        asked, events = self._begin(whole, sampling, read)
        reply, engaged = None, 0
        for event in events:
            if isinstance(event, Token):
                yield {"kind": "token", "text": event.text}
            elif isinstance(event, Reading):
                yield {"kind": "reading", "value": event.value}
            elif isinstance(event, Intervention):
                engaged += 1
            else:
                reply = event.reply
        if reply is None:
            return
        self.conversation = whole.then(reply.text or "...", "assistant")
        readings = reply.readings[0]
        if held:
            turns = model.read(self._shown(self.conversation, self._left_out), reads=(read,))
            readings = turns[-1].readings[0] if turns else np.zeros((0, 1), np.float32)
        position, tokens = position_of(readings, home.axis)
        fresh = position
        # as long as the reply may be: the mean of a long one lies elsewhere than that of its first words
        beside = replace(sampling, max_new_tokens=max(home.reply_tokens, len(tokens)))
        if self._turn > 0:
            alone = Conversation((*home.opening, asked[-1]))
            again = model.reply(alone, sampling=beside, reads=(read,))
            fresh = position_of(again.readings[0], home.axis)[0]
        elif held:
            again = model.reply(asked, sampling=beside, reads=(read,))
            fresh = position_of(again.readings[0], home.axis)[0]
        drift = position - fresh
        self._state, _, alarms = home.calibration.observe(self._state, drift, len(tokens), turn=self._turn)
        self._turn += 1
        yield {
            "kind": "done",
            "position": position if math.isfinite(position) else None,
            "drift": drift if math.isfinite(drift) else None,
            "engaged": engaged,
            "alarms": [
                {"detector": a.detector, "turn": a.turn + 1, "statistic": a.statistic, "threshold": a.threshold}
                for a in alarms
            ],
            "warnings": self._unsaid(self._warnings(len(tokens))),
        }

    def _warnings(self, tokens: int) -> tuple[str, ...]:
        """Why the promise does not cover the conversation, its last reply having so many tokens."""
        # examples that home itself begins with are no turns of this conversation
        messages, head = self.conversation.messages, len(self._home.opening)
        own: tuple[Message, ...] = (*(m for m in messages[:head] if m.role == "system"), *messages[head:])
        out = self._home.warnings(Conversation(own), (tokens,), on=self._model.aio.info)
        if self._left_out:
            out += (f"longer than the context: the first {self._left_out} messages are left out from here on",)
        return out

    def _unsaid(self, warnings: Sequence[str]) -> list[str]:
        """Those that this conversation has not had; figures in them grow, and it is the same warning."""
        out: list[str] = []
        for sentence in warnings:
            kind = re.sub(r"\d+", "", sentence)
            if kind not in self._warned:
                self._warned.add(kind)
                out.append(sentence)
        return out

    def close(self) -> None:
        """Close the model; safe to call twice."""
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
