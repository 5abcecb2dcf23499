"""Our own routes under ``/homing/v1``: conversations, traces, events, holds. Each sees one tenant alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from homing.conversation import Conversation
from homing.drift.detectors import DetectorState
from homing.errors import InputError
from homing.gateway.app import Service, state_of
from homing.gateway.asking import past_ways
from homing.gateway.bodies import body_of
from homing.gateway.comparing import compare
from homing.gateway.deployment import RETURN
from homing.gateway.events import stream_of
from homing.gateway.problems import WireError
from homing.gateway.records import AlarmRecord, Settled, Standing, TurnRecord
from homing.gateway.settling import AT_HOME
from homing.gateway.sse import EventStream, until_gone
from homing.gateway.store import Store
from homing.gateway.wire import HOLD, NAME
from homing.hold.chain import available, get

__all__ = ["kept_routes"]

MOST = 200
TURNS = 2000
LISTENERS = 256
"""Streams of events at once: each asks the store once a second."""
SCHEMA = "homing.gateway/1"


def kept_routes(service: Service, store: Store) -> tuple[BaseRoute, ...]:
    """The routes."""
    api = _Kept(service, store)
    at = "/homing/v1/conversations"
    return (
        Route("/homing/v1/status", api.status),
        Route("/homing/v1/holds", api.holds),
        Route("/homing/v1/identities", api.identities),
        Route("/homing/v1/events", api.events),
        Route(at, api.conversations),
        Route(f"{at}/{{id}}", api.conversation, methods=["GET", "DELETE"]),
        Route(f"{at}/{{id}}/trace", api.trace),
        Route(f"{at}/{{id}}/hold", api.hold, methods=["POST"]),
        Route(f"{at}/{{id}}/return", api.bring_back, methods=["POST"]),
        Route(f"{at}/{{id}}/compare", api.compare, methods=["POST"]),
        Route("/homing/v1/alarms/{id}", api.alarm, methods=["POST"]),
    )


def conversation_json(s: Standing) -> dict[str, Any]:
    """A conversation in a list."""
    return {
        "id": s.conversation,
        "created": s.created,
        "updated": s.updated,
        "turns": s.turns,
        "model": s.model,
        "position": s.position,
        "drift": s.drift,
        "alarms": s.alarms,
        "alarmed": bool(s.state.get("over")),
        "hold": s.hold,
        "returning": s.state.get("way") is not None,
    }


def ways_of(s: Standing) -> list[dict[str, Any]]:
    """Where the way back was gone: turns counted from 0, the last one to its end, or null where it goes on."""
    now = s.state.get("way")
    return [
        *s.state.get("ways", []),
        *([] if now is None else [{"since": now["since"], "until": None, "by": now["by"]}]),
    ]


def facets_of(s: Standing) -> list[dict[str, Any]] | None:
    """What was last asked, by facet; None where nothing was."""
    found = s.state.get("asked", {}).get("found")
    if found is None:
        return None
    return [
        {"facet": k, "distance": e["value"], "low": e["low"], "high": e["high"], "n": e["n"]}
        for k, e in found.items()
        if k != "all"
    ]


def turn_json(index: int, t: TurnRecord) -> dict[str, Any]:
    """One turn, without its trace."""
    return {
        "index": index,
        "created": t.created,
        "request_id": t.request_id,
        "hold": t.hold,
        "mode": t.mode,
        "position": t.position,
        "drift": t.drift,
        "tokens": t.new_tokens,
        "capped": t.capped,
        "finish": t.finish,
        "seconds": round(t.seconds, 4),
        "added_seconds": round(t.added_seconds, 4),
        "interventions": [dict(i) for i in t.interventions],
        "messages": None if t.messages is None else [dict(m) for m in t.messages],
    }


def alarm_json(a: AlarmRecord) -> dict[str, Any]:
    """One alarm."""
    return asdict(a)


def _integer(request: Request, name: str, default: int, least: int, most: int) -> int:
    raw = request.query_params.get(name)
    if raw is None:
        return default
    if not re.fullmatch(r"\d{1,9}", raw) or not least <= int(raw) <= most:
        raise WireError(400, f"{name}: a whole number from {least} to {most} is needed", param=name)
    return int(raw)


def _fields(raw: Any, wanted: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """The fields of a small body, and no others."""
    if not isinstance(raw, dict):
        raise WireError(400, "the body must be one JSON object")
    given = cast("dict[str, Any]", raw)
    for name in given:
        if name not in wanted:
            raise WireError(400, f"{str(name)[:80]}: is unknown; leave it out", param=str(name)[:80])
    for name, kinds in wanted.items():
        if name not in given:
            raise WireError(400, f"{name}: is missing", param=name)
        if not isinstance(given[name], kinds) or (isinstance(given[name], bool) and kinds is int):
            raise WireError(400, f"{name}: has the wrong type", param=name)
    return given


class _Kept:
    def __init__(self, service: Service, store: Store) -> None:
        self.service, self.store = service, store

    def _tenant(self, request: Request) -> str:
        return str(state_of(request)["tenant"])

    def _id(self, request: Request) -> str:
        id = request.path_params["id"]
        if not re.fullmatch(NAME, id):
            raise WireError(404, "there is no such conversation", param="id")
        return str(id)

    async def _standing(self, request: Request) -> Standing:
        found = await self.store.standing(self._tenant(request), self._id(request))
        if found is None:
            raise WireError(404, "there is no such conversation", param="id")
        return found

    async def status(self, request: Request) -> Response:
        keeper, deployment = self.service.keeper, self.service.deployment
        counts = await self.store.counts(self._tenant(request))
        info = keeper.model.info
        return JSONResponse(
            {
                "schema": SCHEMA,
                "model": keeper.model.name,
                "mode": deployment.mode,
                "hold": deployment.hold,
                "promise": keeper.home.calibration.sentence if keeper.home is not None else None,
                "engine": info.engine,
                "running": self.service.running,
                "waiting": max(0, self.service.running - info.slots),
                "slots": info.slots,
                "conversations": counts.conversations,
                "turns": counts.turns,
                "alarms": counts.alarms,
                "false_alarms": counts.false_alarms,
                "alarms_open": counts.alarms - counts.false_alarms,
                "text": deployment.text,
                "band": self._band(),
            }
        )

    async def holds(self, request: Request) -> Response:
        out: list[dict[str, Any]] = []
        for name in available():
            try:
                chain = self.service.keeper.build(name)
            except InputError:  # this deployment has not what it needs
                continue
            needs = sorted({n for s in chain for n in s.needs})
            doc = (get(name).__doc__ or "").strip().split("\n")[0]
            out.append({"id": name, "needs": needs, "buffers": any(s.buffers for s in chain), "does": doc})
        return JSONResponse({"object": "list", "data": out})

    async def identities(self, request: Request) -> Response:
        home = self.service.keeper.home
        data = (
            []
            if home is None
            else [
                {
                    "id": home.identity.digest[:12],
                    **{k: home.identity.model.get(k) for k in ("name", "engine", "dtype")},
                }
            ]
        )
        return JSONResponse({"object": "list", "data": data})

    async def conversations(self, request: Request) -> Response:
        limit = _integer(request, "limit", 50, 1, MOST)
        tenant, last = self._tenant(request), request.query_params.get("before")
        before = None
        if last is not None:
            found = await self.store.standing(tenant, last) if re.fullmatch(NAME, last) else None
            if found is None:
                raise WireError(400, "before: the id of the last conversation that was seen is needed", param="before")
            before = found.updated
        found = await self.store.conversations(tenant, limit=limit + 1, before=before)
        return JSONResponse(
            {"object": "list", "data": [conversation_json(s) for s in found[:limit]], "has_more": len(found) > limit}
        )

    async def conversation(self, request: Request) -> Response:
        tenant, standing = self._tenant(request), await self._standing(request)
        if request.method == "DELETE":
            await self.store.forget(tenant, standing.conversation)
            self.service.keeper.forget(tenant, standing.conversation)
            self.service.live.notify()
            return JSONResponse({"id": standing.conversation, "deleted": True})
        turns = await self.store.turns(tenant, standing.conversation, limit=TURNS)
        alarms = await self.store.alarms(tenant, standing.conversation)
        return JSONResponse(
            {
                **conversation_json(standing),
                "band": self._band(),
                "list": [turn_json(i, t) for i, t in turns],
                "alarms_list": [alarm_json(a) for a in alarms],
                "facets": facets_of(standing),
                "asked": standing.state.get("asked"),
                "ways": ways_of(standing),
            }
        )

    def _band(self) -> dict[str, float] | None:
        """Where nine of ten replies at home lie; drift is between two replies, so one reply has 1 / sqrt(2) of its spread."""
        home = self.service.keeper.home
        if home is None:
            return None
        off = AT_HOME * home.calibration.standard.spread(0) / math.sqrt(2)
        return {"low": 1 - off, "high": 1 + off}

    async def trace(self, request: Request) -> Response:
        standing = await self._standing(request)
        after = _integer(request, "after", -1, 0, 10**8)
        turns = await self.store.turns(self._tenant(request), standing.conversation, after=after, limit=TURNS)
        return JSONResponse(
            {
                "id": standing.conversation,
                "turns": [
                    {
                        "index": i,
                        "tokens": [x if math.isfinite(x) else None for x in t.trace],
                        "pieces": None if t.pieces is None else list(t.pieces),
                    }
                    for i, t in turns
                ],
            }
        )

    async def hold(self, request: Request) -> Response:
        raw = _fields(await body_of(request, self.service.deployment.max_body), {"hold": (str, type(None))})
        standing, hold = await self._standing(request), raw["hold"]
        if hold is not None:
            if not re.fullmatch(HOLD, hold):
                raise WireError(
                    400, "hold: a chain of names such as heal+cap is needed, or none, or null", param="hold"
                )
            self.service.keeper.built(hold, "hold")

        def change(now: Standing) -> Settled:
            return Settled(now.state, events=(("hold", {"turn": now.turns, "hold": hold}),))

        return await self._amended(request, standing, change, hold=hold)

    async def bring_back(self, request: Request) -> Response:
        _fields(await body_of(request, self.service.deployment.max_body), {})
        standing = await self._standing(request)
        if self.service.deployment.mode != "on":
            raise WireError(
                409,
                f"this service is in mode {self.service.deployment.mode} and holds nothing; start it with --mode on",
            )
        try:
            self.service.keeper.build(RETURN)
        except InputError as e:
            raise WireError(409, str(e)) from None

        def change(now: Standing) -> Settled:
            ended = past_ways(now, now.turns - 1)
            state = {**now.state, "ways": ended, "way": {"since": now.turns, "home": 0, "by": "operator"}}
            return Settled(state, events=(("return", {"turn": now.turns, "by": "operator"}),))

        return await self._amended(request, standing, change)

    async def _amended(self, request: Request, standing: Standing, change: Any, **given: Any) -> Response:
        kept = await self.store.amend(self._tenant(request), standing.conversation, change, **given)
        if kept is None:
            raise WireError(404, "there is no such conversation", param="id")
        self.service.kept(kept)
        return JSONResponse(conversation_json(kept.standing))

    async def alarm(self, request: Request) -> Response:
        raw = _fields(await body_of(request, self.service.deployment.max_body), {"false_alarm": bool})
        if not re.fullmatch(r"\d{1,18}", request.path_params["id"]):
            raise WireError(404, "there is no such alarm", param="id")
        tenant = self._tenant(request)
        found = await self.store.mark(tenant, int(request.path_params["id"]), raw["false_alarm"])
        if found is None:
            raise WireError(404, "there is no such alarm", param="id")
        conversation, alarm = found

        def change(now: Standing) -> Settled:
            told = {"turn": now.turns, "alarm": alarm.id, "false_alarm": alarm.false_alarm}
            # what an operator has looked at and let stand is no reason to bring anything back
            calm: dict[str, Any] = {
                "ways": past_ways(now, now.turns - 1), "way": None, "over": [], "detector": asdict(DetectorState())
            }  # fmt: skip
            return Settled({**now.state, **(calm if alarm.false_alarm else {})}, events=(("false_alarm", told),))

        await self.store.amend(tenant, conversation, change)
        self.service.live.notify()
        return JSONResponse(alarm_json(alarm))

    async def compare(self, request: Request) -> Response:
        raw = _fields(await body_of(request, self.service.deployment.max_body), {"turn": int})
        standing = await self._standing(request)
        turns = await self.store.turns(self._tenant(request), standing.conversation, limit=TURNS)
        if not 0 <= raw["turn"] < len(turns):
            raise WireError(400, f"turn: the conversation has {len(turns)}, counted from 0", param="turn")
        said: list[Any] = []
        for index, t in turns[: raw["turn"] + 1]:
            if t.messages is None:
                raise WireError(
                    409, "this service keeps no text, so no turn can be made again; start it with --keep-text"
                )
            said.extend(t.messages if index < raw["turn"] else t.messages[:-1])
        asked = Conversation.from_openai(said)
        return JSONResponse(await until_gone(request.receive, compare(self.service.keeper, asked, raw["turn"])))

    async def events(self, request: Request) -> Any:
        tenant = self._tenant(request)
        given = request.headers.get("last-event-id")
        if given is not None and not re.fullmatch(r"\d{1,18}", given):
            raise WireError(400, "Last-Event-ID: a whole number is needed", param="last-event-id")
        after = int(given) if given is not None else await self.store.last_event(tenant)
        live = self.service.live
        if live.readers >= LISTENERS:
            raise WireError(
                429,
                f"{live.readers} clients listen to events, which is as many as this service has places for; come back later,"
                " or have a webhook told",
                code="too_many_listeners",
                headers={"Retry-After": "30"},
            )
        self.service.metrics.events.inc()
        live.readers += 1

        def left() -> None:
            live.readers -= 1
            self.service.metrics.events.dec()

        stream = EventStream(stream_of(self.store, live, tenant, after))
        stream.on_end = left
        return stream
