"""A store in memory: what a turn needs, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from homing.gateway.records import AlarmRecord, Committed, EventRecord, Settled, Standing, TurnRecord


class MemoryStore:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Standing] = {}
        self.kept: dict[tuple[str, str], list[TurnRecord]] = {}
        self.alarmed: dict[tuple[str, str], list[AlarmRecord]] = {}
        self.seen: dict[tuple[str, str], str] = {}
        self.said: list[tuple[str, EventRecord]] = []
        self.fails: Exception | None = None
        self.lock = asyncio.Lock()

    async def standing(self, tenant: str, conversation: str) -> Standing | None:
        return self.rows.get((tenant, conversation))

    async def find(self, tenant: str, digest: str) -> str | None:
        return next((c for (t, c), d in reversed(self.seen.items()) if t == tenant and d == digest), None)

    async def commit(
        self,
        tenant: str,
        conversation: str,
        turn: TurnRecord,
        settle: Callable[[Standing], Settled],
        *,
        new: bool = False,
    ) -> Committed:
        if self.fails is not None:
            raise self.fails
        key = (tenant, conversation)
        async with self.lock:
            now = self.rows.get(key, Standing(conversation, tenant))
            out = settle(now)
            alarms = tuple(replace(a, id=i + 1) for i, a in enumerate(out.alarms))
            after = replace(
                now, turns=now.turns + 1, state=out.state, alarms=now.alarms + len(alarms), model=turn.model,
                position=turn.position, drift=turn.drift, updated=turn.created, created=now.created or turn.created,
            )  # fmt: skip
            self.rows[key] = after
            self.kept.setdefault(key, []).append(turn)
            self.alarmed.setdefault(key, []).extend(alarms)
            if out.seen is not None:
                self.seen.pop(key, None)
                self.seen[key] = out.seen
            events = tuple(
                EventRecord(len(self.said) + i + 1, turn.created, kind, conversation, data)
                for i, (kind, data) in enumerate(out.events)
            )
            self.said += [(tenant, e) for e in events]
            return Committed(now.turns, after, alarms, events)
