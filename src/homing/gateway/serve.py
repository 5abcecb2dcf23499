"""Open a model and its home, and answer until told to stop."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from homing.errors import InputError
from homing.gateway.access import Key
from homing.gateway.app import Service, make_app
from homing.gateway.deployment import RETURN, Deployment
from homing.gateway.routes import kept_routes
from homing.gateway.store import Store
from homing.gateway.turns import Keeper
from homing.identity import Identity
from homing.models.base import ChatModel
from homing.models.sources import Dtype, EngineName, open_model
from homing.verbs.watch import Home

__all__ = ["Serving", "check", "read_keys", "serve"]

DRAIN_SECONDS = 30
"""Longest that replies on their way may go on once the service is told to stop."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served.

    Args:
        model: by name; None: the identity's own. ``identity``: directory; None: nothing is read. ``store``: a database's URL.
    """

    deployment: Deployment
    store: str
    model: str | None = None
    identity: Path | None = None
    engine: EngineName = "auto"
    dtype: Dtype = "float32"
    threads: int | None = None
    slots: int | None = None


def read_keys(path: Path) -> tuple[Key, ...]:
    """Keys from a file: a JSON object of tenants and SHA-256 of keys, a text or a list of them each.

    Raises:
        InputError: it cannot be read, or holds anything else.
    """
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"keys file {path} cannot be read: {e}") from None
    told = f'keys file {path} must be a JSON object such as {{"alice": "SHA-256 of her key, 64 hexadecimal digits"}}'
    if not isinstance(raw, dict) or not raw:
        raise InputError(told)
    keys: list[Key] = []
    for tenant, digests in raw.items():
        for digest in [digests] if isinstance(digests, str) else digests if isinstance(digests, list) else [None]:
            if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
                raise InputError(f"{told}; {str(tenant)[:40]!r} has something else")
            keys.append(Key(str(tenant), digest))
    return tuple(keys)


def _open(serving: Serving) -> tuple[ChatModel, Home | None]:
    """The model and its home.

    Raises:
        HomingError: either cannot be used.
    """
    if serving.identity is None:
        if serving.deployment.mode != "off" and serving.deployment.hold != "none":
            raise InputError(
                "no identity is given, so there is no home to hold or return to; give --identity DIR (homing map makes one),"
                " or --hold none"
            )
        name = serving.model or "smollm2"
        model = open_model(name, engine=serving.engine, dtype=serving.dtype, threads=serving.threads, slots=serving.slots)
        return model, None
    identity = Identity.load(serving.identity)
    home = Home.chosen(identity, serving.model, serving.engine)
    model = open_model(
        serving.model or str(home.identity.model["name"]),
        engine=home.engine(serving.engine, serving.model),
        dtype=serving.dtype,
        threads=serving.threads,
        slots=serving.slots,
        layers=home.layers_of(identity, serving.model),
    )
    return model, Home.on(identity, model)


async def _keeper(serving: Serving, store: Store) -> Keeper:
    model, home = _open(serving)
    keeper = Keeper(model, home, store, serving.deployment, salt=await store.salt())
    try:
        if serving.deployment.mode == "on":
            for s in keeper.build(serving.deployment.hold):
                if s.name in ("cap", RETURN) and home is not None:
                    await home.prove(model, "cap" if home.cap is not None else None)
    except BaseException:
        await model.close()
        raise
    return keeper


def _free(deployment: Deployment) -> socket.socket:
    """The port, bound; so that nothing else can take it while the model is opened.

    Raises:
        InputError: it is in use, or not ours to use.
    """
    family = socket.AF_INET6 if ":" in deployment.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((deployment.host, deployment.port))
    except OSError as e:
        listening.close()
        raise InputError(
            f"port {deployment.port} on {deployment.host} cannot be used: {e.strerror or e}; give another with --port"
        ) from None
    return listening


async def check(serving: Serving) -> dict[str, Any]:
    """Whether it can be served, without serving it.

    Raises:
        HomingError: it cannot.
    """
    _free(serving.deployment).close()
    store = await Store.open(serving.store, text=serving.deployment.text)
    try:
        keeper = await _keeper(serving, store)
        info = keeper.model.info
        await keeper.model.close()
    finally:
        await store.close()
    promise = keeper.home.calibration.sentence if keeper.home is not None else None
    return {"model": keeper.model.name, "engine": info.engine, "dtype": info.dtype, "slots": info.slots, "promise": promise}


async def _serve(serving: Serving, said: Any) -> None:
    deployment = serving.deployment
    listening = _free(deployment)
    store = None
    keeper = None
    try:
        store = await Store.open(serving.store, text=deployment.text)
        keeper = await _keeper(serving, store)
        service = Service(keeper, deployment)
        app = make_app(service, routes=kept_routes(service, store))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, date_header=False, lifespan="on",
            timeout_graceful_shutdown=DRAIN_SECONDS, timeout_keep_alive=30, h11_max_incomplete_event_size=64 * 1024,
        )  # fmt: skip
        server = uvicorn.Server(config)
        said(f"http://{deployment.host}:{listening.getsockname()[1]}", keeper)
        await server.serve(sockets=[listening])
    finally:
        if keeper is not None:
            await keeper.model.close()
        if store is not None:
            await store.close()
        listening.close()


def serve(serving: Serving, said: Any) -> None:
    """Answer until SIGTERM or Ctrl-C; what is on its way is let finish.

    Args:
        said: told the address and the keeper once requests are taken.

    Raises:
        HomingError: the deployment cannot be served; nothing has been answered.
    """
    asyncio.run(_serve(serving, said))


