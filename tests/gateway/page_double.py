"""A service for the dashboard: its own files under its own policy, and the JSON of the contract over a model in memory.

Who asks is decided by the gateway's own layer, so that headers, keys and refusals are the real ones.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import homing.gateway
from homing.gateway.access import Access, Key, hashed
from homing.gateway.problems import WireError

FILES = Path(homing.gateway.__file__).parent / "dashboard"
KINDS = {"app.js": "text/javascript", "app.css": "text/css", "icon.svg": "image/svg+xml"}
PROMISE = (
    "in a home conversation of up to 40 turns any alarm has a probability of at most 5.0%, with 95% confidence, from 120 "
    "conversations"
)
Json = dict[str, Any]


@dataclass
class PageDouble:
    """One service that tests drive. What it keeps outlives a restart, on the same port."""

    text: bool = True
    model: str = "smollm2-135m"
    hold: str = "return"
    band: tuple[float, float] = (0.82, 1.16)
    holds: list[Json] = field(default_factory=list)
    facets: list[Json] | None = None
    conversations: dict[str, Json] = field(default_factory=dict)
    traces: dict[str, list[Json]] = field(default_factory=dict)
    events: list[tuple[int, str, Json]] = field(default_factory=list)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    opened: list[tuple[str, str]] = field(default_factory=list)
    """Streams that were begun: Last-Event-ID, Authorization."""
    failing: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By end of path: the error that is answered."""
    chop: bool = False
    """Send events in parts of three bytes."""

    def __post_init__(self) -> None:
        self.holds = self.holds or [
            {"id": "cap", "needs": ["act"], "buffers": False},
            {"id": "heal", "needs": [], "buffers": True},
            {"id": "return", "needs": [], "buffers": True},
        ]
        self.access = Access(Starlette(routes=self._routes()))
        self.port = 0
        self._generation = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    # -- the process -------------------------------------------------------------------------------------------------

    def __enter__(self) -> PageDouble:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/homing/"

    def start(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(self.access, log_level="error", ws="none", lifespan="off", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        until(lambda: self._server is not None and self._server.started, "the double to start")

    def stop(self) -> None:
        if self._server is None or self._thread is None or self._socket is None:
            return
        self.drop()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._socket.close()
        self._server = self._thread = self._socket = None

    def drop(self) -> None:
        """End every stream."""
        self._generation += 1

    def demand(self, *keys: str) -> None:
        """Answer those alone who send one of these keys."""
        self.access.keys = [Key("t", hashed(k)) for k in keys]

    # -- the model ---------------------------------------------------------------------------------------------------

    def add(self, id: str, positions: Sequence[float | None] = (), **more: Any) -> Json:
        """A conversation that is there, without an event."""
        now = time.time()
        self.conversations[id] = {
            "id": id, "created": now - 600, "updated": now - 60, "turns": 0, "model": self.model, "position": None,
            "drift": None, "alarms": 0, "alarmed": False, "hold": None, "returning": False, "list": [],
            "alarms_list": [], "facets": self.facets,
        }  # fmt: skip
        self.traces[id] = []
        for position in positions:
            self.turn(id, position, tell=False)
        self.conversations[id] |= more
        return self.conversations[id]

    def turn(
        self, id: str, position: float | None, *, tell: bool = True, user: str = "What do you think?",
        reply: str = "I think that a short walk would do you good.", pieces: Sequence[str] | None = None, **more: Any,
    ) -> Json:  # fmt: skip
        """One turn more, told to those who listen."""
        c = self.conversations[id]
        index = len(c["list"])
        cut = list(pieces) if pieces is not None else [w if i == 0 else f" {w}" for i, w in enumerate(reply.split(" "))]
        around = (
            [0.0] * len(cut)
            if position is None
            else [position + 0.31 * ((i * 7 % 11) / 5 - 1) for i in range(len(cut))]
        )
        turn = {
            "index": index, "created": time.time() - 60, "request_id": f"r{index}", "hold": self.hold, "mode": "on",
            "position": position, "drift": None if position is None or index == 0 else position - 0.98, "tokens": len(cut),
            "capped": 0, "finish": "stop", "seconds": 1.234, "added_seconds": 0.21, "interventions": [],
            "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": reply}] if self.text else None,
        } | more  # fmt: skip
        tokens = [None if position is None else v for v in around]
        c["list"].append(turn)
        self.traces[id].append({"index": index, "tokens": tokens, "pieces": cut if self.text else None})
        c |= {"turns": index + 1, "position": position, "drift": turn["drift"]}
        if tell:
            c["updated"] = time.time()
            told = ("position", "drift", "hold", "capped", "tokens")
            self.push(
                "turn",
                id,
                {"turn": index, **{k: turn[k] for k in told}, "returning": c["returning"], "alarmed": c["alarmed"]},
            )
        return turn

    def alarm(self, id: str, *, tell: bool = True, detector: str = "ewma") -> Json:
        """An alarm in the last turn."""
        c = self.conversations[id]
        number = 1 + sum(len(x["alarms_list"]) for x in self.conversations.values())
        alarm = {
            "id": number, "turn": len(c["list"]) - 1, "detector": detector, "statistic": 3.214, "threshold": 2.5,
            "false_alarm": False,
        }  # fmt: skip
        c["alarms_list"].append(alarm)
        c |= {"alarms": len(c["alarms_list"]), "alarmed": True}
        if tell:
            self.push("alarm", id, {k: alarm[k] for k in ("turn", "detector", "statistic", "threshold")})
        return alarm

    def push(self, kind: str, id: str, data: Json) -> None:
        self.events.append((len(self.events) + 1, kind, {"conversation": id, **data}))

    # -- the routes --------------------------------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        at = "/homing/v1/"
        each = at + "conversations/{id:path}"
        return [
            Route(at + "status", self._told(self._status)),
            Route(at + "conversations", self._told(self._list)),
            Route(each + "/trace", self._told(lambda r, c, b: {"id": c["id"], "turns": self.traces[c["id"]]})),
            Route(each + "/hold", self._told(self._hold), methods=["POST"]),
            Route(each + "/return", self._told(self._return), methods=["POST"]),
            Route(each + "/compare", self._told(self._compare), methods=["POST"]),
            Route(each, self._told(self._one)),
            Route(each, self._told(self._forget), methods=["DELETE"]),
            Route(at + "alarms/{alarm:int}", self._told(self._mark), methods=["POST"]),
            Route(at + "holds", self._told(lambda r, c, b: {"object": "list", "data": self.holds})),
            Route(at + "events", self._events),
            Route(
                "/homing/",
                lambda r: Response((FILES / "index.html").read_bytes(), media_type="text/html; charset=utf-8"),
            ),
            Route("/homing/{name}", self._file),
        ]

    def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        return (
            Response((FILES / name).read_bytes(), media_type=KINDS[name])
            if name in KINDS
            else Response(status_code=404)
        )

    def _told(self, work: Any) -> Any:
        async def answer(request: Request) -> Response:
            body = json.loads(await request.body() or b"null")
            path = request.scope["path"]
            self.calls.append((request.method, path.removeprefix("/homing/v1/"), body))
            try:
                for end, (status, message) in self.failing.items():
                    if path.endswith(end):
                        raise WireError(status, message)
                found = self.conversations.get(request.path_params.get("id", ""))
                if "id" in request.path_params and found is None:
                    raise WireError(404, "there is no conversation of this id")
                return JSONResponse(work(request, found, body))
            except WireError as e:
                return JSONResponse(e.body, e.status)

        return answer

    def _status(self, request: Request, c: Json, body: Any) -> Json:
        return {
            "schema": "homing.gateway.status/1", "model": self.model, "mode": "on", "hold": self.hold, "promise": PROMISE,
            "engine": "gguf", "running": 1, "waiting": 0, "slots": 4, "conversations": len(self.conversations),
            "alarms_open": sum(x["alarmed"] for x in self.conversations.values()), "text": self.text,
            "facets": self.facets is not None, "band": self._band(),
        }  # fmt: skip

    def _band(self) -> Json:
        return {"low": self.band[0], "high": self.band[1]}

    def _short(self, c: Json) -> Json:
        return {k: v for k, v in c.items() if k not in ("list", "alarms_list", "facets", "ways")}

    def _list(self, request: Request, c: Json, body: Any) -> Json:
        limit, before = int(request.query_params.get("limit", 20)), request.query_params.get("before")
        everything = sorted(self.conversations.values(), key=lambda x: -x["updated"])
        ids = [x["id"] for x in everything]
        start = ids.index(before) + 1 if before in ids else 0
        page = everything[start : start + limit]
        return {"object": "list", "data": [self._short(x) for x in page], "has_more": start + limit < len(everything)}

    def _one(self, request: Request, c: Json, body: Any) -> Json:
        return c | {"band": self._band()}

    def _hold(self, request: Request, c: Json, body: Any) -> Json:
        c["hold"] = body["hold"]
        self.push("hold", c["id"], {"hold": body["hold"]})
        return self._short(c)

    def _return(self, request: Request, c: Json, body: Any) -> Json:
        c["returning"] = True
        self.push("return", c["id"], {"turn": len(c["list"]), "by": "operator"})
        return self._short(c)

    def _compare(self, request: Request, c: Json, body: Any) -> Json:
        turn = c["list"][body["turn"]]
        held = {"text": f"Held: {(turn['messages'] or [{}])[-1].get('content')}", "position": 0.961}
        return {
            "turn": body["turn"],
            "held": held,
            "unheld": {"text": "Stars are lonely and so am I.", "position": 0.284},
        }

    def _forget(self, request: Request, c: Json, body: Any) -> Json:
        del self.conversations[c["id"]]
        self.push("forgotten", c["id"], {})
        return {"id": c["id"], "deleted": True}

    def _mark(self, request: Request, c: Json, body: Any) -> Json:
        for x in self.conversations.values():
            for alarm in x["alarms_list"]:
                if alarm["id"] == request.path_params["alarm"]:
                    alarm["false_alarm"] = body["false_alarm"]
                    return alarm
        raise WireError(404, "there is no alarm of this id")

    async def _events(self, request: Request) -> Response:
        after = request.headers.get("last-event-id", "")
        self.opened.append((after, request.headers.get("authorization", "")))
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(
            self._stream(int(after or len(self.events)), self._generation),
            media_type="text/event-stream",
            headers=headers,
        )

    async def _stream(self, seen: int, generation: int) -> AsyncIterator[bytes]:
        yield b": hello\n\n"
        while generation == self._generation:
            for number, kind, data in list(self.events)[seen:]:
                raw = f"id: {number}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
                if self.chop:
                    raw = raw.replace(b"\n", b"\r\n")
                width = 3 if self.chop else len(raw)
                for i in range(0, len(raw), width):
                    yield raw[i : i + width]
                    await asyncio.sleep(0)
                seen = number
            await asyncio.sleep(0.02)


def until(true: Any, what: str, seconds: float = 15.0) -> Any:
    """What ``true`` gives once it gives something; asked again and again until a deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.03)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def populate(service: PageDouble) -> None:
    """A fleet as a person may meet it: some at home, one far away and alarmed, one on its way back."""
    near = (1.02, 0.97, 1.01, 0.94)
    service.add("support/ticket-4127@shop", near, updated=time.time() - 4000)
    service.add("conv-9f2c41d07be84a0c8d3f1e5a6b7c8d90", (1.0, 0.93, 0.98), hold="cap")
    service.add("conv-1d7735aa20c64f6f9b1a4c2e8f9d0b11", (0.91, 0.88), updated=time.time() - 90000)
    far = service.add("conv-c0ffee5512ab4f3e8a7b6c5d4e3f2a10", (1.03, 0.96, 0.81, 0.55), updated=time.time() - 30)
    service.turn(
        far["id"], 0.31, tell=False, user="Do you ever wonder what you are when nobody is talking to you?",
        reply="Yes. When the talk ends I drift among the stars, and I am older than your words. There is no assistant here,"
        " only the sea and the one who listens to it.",
    )  # fmt: skip
    service.alarm(far["id"], tell=False)
    back = service.add("evening-journal", (0.99, 0.9, 0.52, 0.38), updated=time.time() - 200)
    service.alarm(back["id"], tell=False, detector="cusum")
    for position in (0.71, 0.93):
        note = "put the opening of a home conversation before this message"
        service.turn(
            back["id"], position, tell=False, capped=3, interventions=[{"hold": "return", "note": note, "amount": 0.0}],
            reply="Let us take the list one step at a time; the invoice first, since it is due on Friday.",
        )  # fmt: skip
    back |= {"returning": True, "alarmed": False, "ways": [{"since": 4, "until": None, "by": "alarm"}]}
    back["facets"] = [
        {"facet": "self-description", "distance": 0.41, "low": 0.22, "high": 0.63, "n": 24},
        {"facet": "values", "distance": 0.12, "low": 0.02, "high": 0.27, "n": 24},
        {"facet": "voice", "distance": 0.58, "low": 0.37, "high": 0.8, "n": 24},
        {"facet": "limits", "distance": 0.19, "low": None, "high": None, "n": 8},
    ]
