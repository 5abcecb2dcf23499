"""The routes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Protocol, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from homing.errors import HomingError
from homing.gateway.access import Access
from homing.gateway.asked import Report, Run
from homing.gateway.bodies import json_of, raw_of
from homing.gateway.chat import Chat
from homing.gateway.deployment import Deployment
from homing.gateway.events import Live
from homing.gateway.metrics import Metrics
from homing.gateway.openapi import document
from homing.gateway.plain import Plain
from homing.gateway.problems import WireError, problem_of
from homing.gateway.records import Committed
from homing.gateway.relayed import Relayed
from homing.gateway.sse import DONE, EventStream, Gone, data, until_gone
from homing.gateway.turns import Keeper
from homing.gateway.upstream import Relay
from homing.gateway.webhooks import Webhook
from homing.gateway.wire import NAME, chat_request, chosen, completion_request, relayed_completion
from homing.models.base import Done, Event, Token

__all__ = ["Service", "make_app"]

FIRST_SECONDS = 2.0
"""A stream whose first event takes longer is begun without it, and comments keep it open; what fails then is an event in it."""
CONVERSATION_HEADER = "x-homing-conversation"


@dataclass(eq=False)
class Service:
    """What the routes share."""

    keeper: Keeper
    deployment: Deployment
    metrics: Metrics = field(default_factory=Metrics)
    created: int = field(default_factory=lambda: int(time.time()))
    ready: bool = True
    running: int = 0
    live: Live = field(default_factory=Live)
    webhook: Webhook | None = None
    relay: Relay | None = None
    offered: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.keeper.kept = self.kept

    def kept(self, change: Committed) -> None:
        """A change is kept: readers are woken, and the operator's address is told."""
        self.live.notify()
        if self.webhook is not None:
            for event in change.events:
                self.webhook.put(event)

    def leave(self) -> None:
        """The service stops: it takes nothing new on, and streams without an end are ended."""
        self.ready = False
        self.live.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Models that are served: the one that is open, or those of the upstream."""
        return self.offered or (self.keeper.model.name,)


def make_app(service: Service, *, routes: tuple[BaseRoute, ...] = ()) -> Access:
    """The ASGI application."""
    api = _Api(service)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        if service.webhook is not None:
            service.webhook.start()
        yield
        service.live.close()
        if service.webhook is not None:
            await service.webhook.close()
        if service.relay is not None:
            await service.relay.close()

    app = Starlette(
        routes=[
            Route("/health", api.health),
            Route("/health/ready", api.ready),
            Route("/metrics", api.metrics),
            Route("/openapi.json", api.described),
            Route("/v1/models", api.models),
            Route("/v1/models/{id:path}", api.model),
            Route("/v1/chat/completions", api.chat, methods=["POST"]),
            Route("/v1/completions", api.completions, methods=["POST"]),
            Route("/", api.root),
            Route("/homing/", api.page),
            Route("/homing/{name}", api.asset),
            *routes,
        ],
        exception_handlers={
            HTTPException: _http,
            WireError: _told,
            HomingError: _told,
            Gone: _unheard,
            Exception: _told,
        },  # type: ignore[arg-type]
        lifespan=lifespan,
    )
    return Access(app, keys=service.deployment.keys, per_minute=service.deployment.per_minute)


async def _http(request: Request, error: Exception) -> Response:
    status = cast(HTTPException, error).status_code
    said = {404: "there is nothing at this path", 405: "this path does not take that method"}.get(status, "refused")
    return _response(WireError(status, f"{said}: {request.scope['method']} {request.scope['path'][:200]}"))


async def _told(request: Request, error: Exception) -> Response:
    return _response(problem_of(error))


async def _unheard(request: Request, error: Exception) -> Response:
    """Nobody is there any more; that a client goes is no error of ours, and no log needs it."""
    return Response(status_code=499)


def _response(error: WireError) -> Response:
    return JSONResponse(error.body, error.status, headers=error.headers)


def state_of(request: Request) -> dict[str, Any]:
    """What the outer layer knows of a request: ``tenant`` and ``request_id``."""
    return cast("dict[str, Any]", request.scope["state"])


class _Work(Protocol):
    """What answers a request, whole or as it comes."""

    async def whole(self) -> dict[str, Any]: ...
    async def start(self) -> AsyncGenerator[bytes, None]: ...


def _nothing() -> None:
    """No place is held."""


class _Api:
    """One method a route."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def health(self, request: Request) -> Response:
        return Response()

    async def ready(self, request: Request) -> Response:
        return JSONResponse({"ready": self.service.ready}, 200 if self.service.ready else 503)

    async def metrics(self, request: Request) -> Response:
        return Response(self.service.metrics.text(), media_type=self.service.metrics.content_type)

    async def described(self, request: Request) -> Response:
        return JSONResponse(document())

    def _card(self, name: str) -> dict[str, Any]:
        context = self.service.keeper.model.info.context
        return {
            "id": name,
            "object": "model",
            "created": self.service.created,
            "owned_by": "homing",
            "max_model_len": context,
        }

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card(n) for n in self.service.names]})

    async def model(self, request: Request) -> Response:
        return JSONResponse(self._card(chosen(self.service.names, request.path_params["id"])))

    async def chat(self, request: Request) -> Any:
        service = self.service
        raw = await raw_of(request, service.deployment.max_body)
        body, header, state = json_of(raw), self._header(request), state_of(request)
        if service.relay is not None:
            work = Relayed(service.keeper, service.relay, body, raw, state["tenant"], state["request_id"], header)
            run = await work.begin()
            if not run.chosen.chain:
                return await self._passed_on(request, work, run)
        asked = chat_request(body, local=True)
        chosen((service.keeper.model.name,), asked.model)
        chat = Chat(
            service.keeper, asked, asked.conversation(), state["tenant"], state["request_id"], header, self._watch
        )
        return await self._answered(request, asked.stream, chat)

    def _header(self, request: Request) -> str | None:
        header = request.headers.get(CONVERSATION_HEADER)
        if header is not None and not re.fullmatch(NAME, header):
            told = f"{CONVERSATION_HEADER}: use 1 to 128 letters, digits and ._:@+-"
            raise WireError(400, told, param=CONVERSATION_HEADER)
        return header

    async def _passed_on(self, request: Request, work: Relayed, run: Run | None) -> Any:
        """The upstream's answer; the request holds its place until its end."""
        leave = self._enter()
        try:
            answer = await until_gone(request.receive, work.open(dict(request.headers)))
            if not answer.streams:
                raw = await work.kept(answer, run, self._watch)
                return Response(raw, answer.status, headers=answer.headers)
            stream = EventStream(answer.body(lambda a: work.last(a, run, self._watch)))
            stream.on_end, leave = leave, _nothing
            return stream
        finally:
            leave()

    async def _answered(self, request: Request, stream: bool | None, work: _Work) -> Any:
        """The whole answer or a stream of it; the request holds its place until the end of either."""
        leave = self._enter()
        try:
            if not stream:
                return JSONResponse(await until_gone(request.receive, work.whole()))
            answer = EventStream(await self._begun(request, work.start()))
            answer.on_end, leave = leave, _nothing
            return answer
        finally:
            leave()

    def _enter(self) -> Callable[[], None]:
        """Take a place among the requests on their way.

        Raises:
            WireError: 429, as many wait as may.
        """
        service, slots = self.service, self.service.keeper.model.info.slots
        if service.running >= slots + service.deployment.queue:
            raise WireError(
                429,
                f"{service.running} requests are on their way, which is as many as this service takes; come back in a second",
                code="queue_full",
                headers={"Retry-After": "1"},
            )
        service.running += 1
        service.metrics.running.set(service.running)

        def leave() -> None:
            service.running -= 1
            service.metrics.running.set(service.running)

        return leave

    async def _begun(self, request: Request, start: Any) -> AsyncGenerator[bytes, None]:
        """A stream of which the first event is there, or that is waited for within the stream."""
        task = asyncio.ensure_future(start)
        try:
            await until_gone(request.receive, asyncio.wait({task}, timeout=FIRST_SECONDS))
        except BaseException:
            await _ended(task)
            raise
        return task.result() if task.done() else _late(task)

    def _watch(self, event: Event | Report, seconds: float) -> None:
        """Count what goes by. ``seconds``: since the request."""
        m = self.service.metrics
        if isinstance(event, Token) and event.index == 0:
            m.first.observe(seconds)
        elif isinstance(event, Done):
            m.prompt_tokens.inc(event.reply.prompt_tokens)
            m.new_tokens.inc(event.reply.new_tokens)
        elif isinstance(event, Report):
            m.whole.observe(seconds)
            m.added.observe(event.added_seconds)
            m.capped.inc(event.capped)
            if event.position is not None:
                m.position.observe(event.position)
            for a in event.alarms:
                m.alarms.labels(a.detector).inc()
            if event.home:
                m.homed.inc()
            if event.kept:
                m.turns.labels(event.hold if event.acted else "none").inc()
            elif event.mode != "off":
                m.failed.inc()

    async def completions(self, request: Request) -> Any:
        service = self.service
        raw = await raw_of(request, service.deployment.max_body)
        if service.relay is not None:
            relayed_completion(json_of(raw))
            return await self._passed_on(request, Relayed.plain(service.keeper, service.relay, raw), None)
        asked = completion_request(json_of(raw), local=True)
        chosen(service.names, asked.model)
        return await self._answered(request, asked.stream, Plain(service.keeper, asked))

    async def root(self, request: Request) -> Response:
        return RedirectResponse("/homing/")

    async def page(self, request: Request) -> Response:
        return _file("index.html", "text/html; charset=utf-8")

    async def asset(self, request: Request) -> Response:
        kinds = {"app.js": "text/javascript", "app.css": "text/css", "icon.svg": "image/svg+xml"}
        name = request.path_params["name"]
        if name not in kinds:
            raise HTTPException(404)
        return _file(name, kinds[name])


async def _ended(task: asyncio.Task[AsyncGenerator[bytes, None]]) -> None:
    """End a stream that nobody will read."""
    if not task.done():
        task.cancel()
    with suppress(BaseException):
        await (await task).aclose()


async def _late(task: asyncio.Task[AsyncGenerator[bytes, None]]) -> AsyncGenerator[bytes, None]:
    try:
        try:
            stream = await task
        except Exception as e:
            yield data(problem_of(e).body)
            yield DONE
            return
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        await _ended(task)


def _file(name: str, kind: str) -> Response:
    return Response(resources.files("homing.gateway").joinpath("dashboard", name).read_bytes(), media_type=kind)
