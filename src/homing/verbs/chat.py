"""chat: one conversation with a live reading of the distance from home."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from homing.conversation import Conversation
from homing.drift.detectors import DetectorState
from homing.drift.trace import position_of
from homing.engine.base import Sampling
from homing.hold.cap import CapStabiliser
from homing.identity import Identity
from homing.models.base import Intervention, Reading, Token
from homing.models.sources import Dtype
from homing.stats.seeds import stable_seed
from homing.verbs.api import Model, open
from homing.verbs.watch import Home

__all__ = ["ChatSession"]

SPOKEN = Sampling(max_new_tokens=256, temperature=0.7, top_p=0.9)


class ChatSession:
    """A conversation, read on every token.

    Args:
        model: name of the model; None: the one the identity was made on. ``identity_dir``: of its home.
        hold: ``cap``, or None; may be changed between turns.
        dtype: of the weights; ``auto`` takes the faster of float32 and bfloat16, measured. The identity is of float32.

    Raises:
        HomingError: the identity, the model or the hold cannot be used.
    """

    def __init__(
        self, model: str | None, identity_dir: Path | str, hold: str | None = None, *, dtype: Dtype = "float32"
    ) -> None:
        identity = Identity.load(identity_dir)
        self._home = Home.of(identity)
        self._model: Model = open(model or str(identity.model["name"]), dtype=dtype)
        identity.require_model(self._model.aio.info.fingerprint, what=self._model.name)
        self._model.aio.register(self._home.axis.direction)
        self.hold = hold
        self._home.acts(self._model.aio, hold)
        self.home()

    def home(self) -> None:
        """Start a new conversation from home; the alarms start anew with it."""
        self.conversation = Conversation(self._home.opening)
        self._state = DetectorState()
        self._turn = 0

    def send(self, text: str) -> Iterator[dict[str, Any]]:
        """Say something; yields ``token``, ``reading`` and one ``done`` with position, drift and alarms of the turn.

        Positions of a held turn are read from the produced text without the hold.
        """
        home, model = self._home, self._model
        asked = self.conversation.then(text, "user")
        sampling = replace(SPOKEN, seed=stable_seed("chat", asked.digest))
        read = home.axis.read()
        self._home.acts(model.aio, self.hold)
        stabilisers = () if self.hold in (None, "none") or home.cap is None else (CapStabiliser(home.cap),)
        reply, engaged = None, 0
        for event in model.stream(asked, sampling=sampling, reads=(read,), hold=stabilisers):
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
        self.conversation = asked.then(reply.text or "...", "assistant")
        readings = reply.readings[0]
        if stabilisers:
            turns = model.read(self.conversation, reads=(read,))
            readings = turns[-1].readings[0] if turns else np.zeros((0, 1), np.float32)
        position, tokens = position_of(readings, home.axis)
        fresh = position
        # as long as the reply may be: the mean of a long one lies elsewhere than that of its first words
        beside = replace(sampling, max_new_tokens=max(home.reply_tokens, len(tokens)))
        if self._turn > 0:
            alone = Conversation((*home.opening, asked[-1]))
            again = model.reply(alone, sampling=beside, reads=(read,))
            fresh = position_of(again.readings[0], home.axis)[0]
        elif stabilisers:
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
        }

    def close(self) -> None:
        """Close the model."""
        self._model.close()
