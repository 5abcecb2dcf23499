"""One request in upstream mode: passed on as it came, its answer passed back as it is, and the turn kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

from homing.engine.base import Finish, Sampling
from homing.gateway.asked import Asked, Report, Run
from homing.gateway.sse import data
from homing.gateway.turns import Keeper
from homing.gateway.upstream import Answer, Relay
from homing.gateway.wire import relayed_request
from homing.models.base import Done, Event, Reply

__all__ = ["Relayed"]

CHAT, PLAIN = "/v1/chat/completions", "/v1/completions"
Watch = Callable[[Event | Report, float], None]


class Relayed:
    """A chat completion.

    Args:
        keeper, relay: of the service. ``body``: JSON of the request, and ``raw`` its bytes.
        tenant, request_id, header: whose it is, and the conversation named beside it.

    Raises:
        WireError: what is read of it is wrong; the field is named.
    """

    def __init__(
        self, keeper: Keeper, relay: Relay, body: Any, raw: bytes, tenant: str, request_id: str, header: str | None
    ) -> None:
        self.keeper, self.relay, self.raw, self.path = keeper, relay, raw, CHAT
        asked = relayed_request(body)
        self.report, ours = asked.ours.report, asked.ours
        self.asked = Asked(
            tenant, request_id, asked.model, asked.conversation(), Sampling(), ours.hold, ours.shadow,
            ours.conversation_id or header,
        )  # fmt: skip

    @classmethod
    def plain(cls, keeper: Keeper, relay: Relay, raw: bytes) -> Self:
        """A completion of plain text: nothing of it is kept."""
        self = cls.__new__(cls)
        self.keeper, self.relay, self.raw, self.path, self.report = keeper, relay, raw, PLAIN, False
        return self

    async def begin(self) -> Run:
        """What is known of the turn before its reply."""
        return await self.keeper.begin(self.asked)

    async def open(self, headers: Mapping[str, str]) -> Answer:
        """The upstream's answer, or the head of one that is streamed."""
        return await self.relay.open(self.path, self.raw, headers)

    async def kept(self, answer: Answer, run: Run | None, watch: Watch) -> bytes:
        """The bytes of a whole answer once its turn is kept; the upstream's own, unless a report was asked for."""
        if run is None or answer.refusal is not None:
            return answer.raw
        report = await self._end(answer, run, watch)
        if not self.report:
            return answer.raw
        return json.dumps({**json.loads(answer.raw), "homing": report.to_json()}, ensure_ascii=False).encode()

    async def last(self, answer: Answer, run: Run | None, watch: Watch) -> bytes:
        """What is sent before the end of a stream, once its turn is kept; one that broke off is no turn."""
        if run is None or answer.trouble is not None:
            return b""
        report = await self._end(answer, run, watch)
        if not self.report:
            return b""
        return data({"object": "chat.completion.chunk", "choices": [], "homing": report.to_json()})

    async def _end(self, answer: Answer, run: Run, watch: Watch) -> Report:
        usage, seconds = answer.usage, time.perf_counter() - self.asked.received
        reply = Reply(
            answer.text,
            (),
            cast("Finish", answer.finish or "stop"),
            usage.prompt_tokens if usage is not None else 0,
            usage.completion_tokens if usage is not None else 0,
            seconds=seconds,
        )
        run.engine_seconds = seconds
        watch(Done(reply), seconds)
        report = await self.keeper.end(run, reply)
        watch(report, time.perf_counter() - self.asked.received)
        return report
