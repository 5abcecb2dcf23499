"""A gateway on a port of its own, in a thread or in a process, for as long as a block runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import uvicorn
from tests.gateway.memory import MemoryStore
from tests.verbs.tiny_map import Mapped

from homing.gateway.app import Service, make_app
from homing.gateway.connections import configured
from homing.gateway.connections import run as on_its_loop
from homing.gateway.deployment import Deployment
from homing.gateway.routes import kept_routes
from homing.gateway.serve import listen
from homing.gateway.store import Store
from homing.gateway.turns import Keeper
from homing.models.local import LocalModel
from homing.models.sources import open_model
from homing.verbs.watch import Home


@dataclass(eq=False)
class Served:
    url: str
    service: Service
    store: Any
    loop: asyncio.AbstractEventLoop
    server: uvicorn.Server

    @property
    def model(self) -> str:
        return self.service.keeper.model.name


@contextmanager
def served(
    mapped: Mapped,
    deployment: Deployment | None = None,
    *,
    slots: int = 4,
    with_home: bool = True,
    store: str | None = None,
    model: Callable[[], LocalModel] | None = None,
    change: Callable[[Keeper], None] = lambda keeper: None,
) -> Iterator[Served]:
    decided = deployment or Deployment()
    listening = listen(replace(decided, port=0))
    started, out, trouble = threading.Event(), list[Served](), list[BaseException]()
    server: list[uvicorn.Server] = []

    async def run() -> None:
        # its own copy: several run in one test
        opened = open_model(str(mapped.model), slots=slots) if model is None else model()
        home = Home.on(mapped.identity, opened) if with_home else None
        kept: Any = MemoryStore() if store is None else await Store.open(store, text=decided.text)
        keeper = Keeper(opened, home, kept, decided, salt=b"salt")
        change(keeper)
        service = Service(keeper, decided)
        app = make_app(service, routes=() if store is None else kept_routes(service, kept))
        service.app = app  # type: ignore[attr-defined]
        server.append(uvicorn.Server(configured(app, drain=5)))
        server[0].install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        out.append(Served(url, service, kept, asyncio.get_running_loop(), server[0]))
        try:
            task = asyncio.create_task(server[0].serve(sockets=[listening]))
            while not server[0].started and not task.done():
                await asyncio.sleep(0.01)
            started.set()
            await task
        finally:
            await opened.close()
            if store is not None:
                await kept.close()

    def thread() -> None:
        try:
            on_its_loop(run())
        except BaseException as e:
            trouble.append(e)
        finally:
            started.set()

    t = threading.Thread(target=thread)
    t.start()
    try:
        assert started.wait(60), "the gateway did not start"
        if trouble:
            raise trouble[0]
        yield out[0]
    finally:
        if server:
            server[0].should_exit = True
            if out:
                out[0].loop.call_soon_threadsafe(out[0].service.leave)
        t.join(30)
        listening.close()
    if trouble:
        raise trouble[0]


@contextmanager
def running(*args: object, env: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``homing serve`` in a process of its own: its address, and the process."""
    asked = [sys.executable, "-m", "homing.cli", "serve", *map(str, args), "--port", "0"]
    p = subprocess.Popen(asked, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    try:
        assert p.stderr is not None
        said = ""
        for line in p.stderr:
            said += line
            if line.startswith("serving on "):
                break
        assert "serving on " in said, said
        rest = threading.Thread(target=p.stderr.read)  # so that it never waits for a reader
        rest.start()
        yield said.rpartition("serving on ")[2].split("/v1")[0], p
    finally:
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
        p.wait(60)
        rest.join(10)
        p.stderr.close()


def until(seen: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
