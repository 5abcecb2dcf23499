"""Open a model and its home, and answer until told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, cast

import platformdirs
import uvicorn

from homing.errors import HomingError, InputError
from homing.gateway.access import Key
from homing.gateway.app import Service, make_app
from homing.gateway.asking import Outside
from homing.gateway.clock import Clock
from homing.gateway.connections import configured, run
from homing.gateway.deployment import RETURN, Deployment, conditional
from homing.gateway.routes import kept_routes
from homing.gateway.store import Store
from homing.gateway.turns import Keeper
from homing.gateway.upstream import Relay
from homing.gateway.webhooks import Webhook
from homing.identity import Identity
from homing.models.base import ChatModel
from homing.models.endpoint import EndpointModel
from homing.models.remote import Remote
from homing.models.sources import open_model
from homing.verbs.home import outside_of
from homing.verbs.watch import Home

__all__ = ["Serving", "check", "default_store", "listen", "read_keys", "serve"]

Said = Callable[[str, str | None], None]
FORGET_SECONDS = 600
_LOG = logging.getLogger("homing.gateway")
STALLED_SECONDS = 120
"""A client that takes nothing of what is sent for so long is gone, be it that its machine is."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served.

    Args:
        store: a database's URL. ``model``: by name; None: the identity's own. ``identity``: directory; None: nothing is read.
        opening: how the model is opened, as :func:`homing.models.sources.open_model` takes it.
        upstream: the service that has the model; None: it is opened here.
        webhook: address that is told of alarms and returns; ``secret``: what its messages are signed with.
    """

    deployment: Deployment
    store: str
    model: str | None = None
    identity: Path | None = None
    opening: Mapping[str, Any] = field(default_factory=dict[str, Any])
    upstream: Remote | None = None
    webhook: str | None = None
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.webhook is not None:
            Webhook(self.webhook, self.secret)


def default_store() -> str:
    """The SQLite file that is used where no database is named."""
    return f"sqlite:///{Path(platformdirs.user_data_dir('homing')) / 'gateway.db'}"


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
    for tenant, given in cast("dict[str, Any]", raw).items():
        for digest in cast("list[Any]", given if isinstance(given, list) else [given]):
            if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
                raise InputError(f"{told}; {tenant[:40]!r} has something else")
            keys.append(Key(tenant, digest))
    return tuple(keys)


def _open(serving: Serving, identity: Identity | None) -> tuple[ChatModel, Home | None]:
    """The model and its home.

    Raises:
        HomingError: either cannot be used.
    """
    given = dict(serving.opening)
    if given.get("dtype", "auto") == "auto":
        given["dtype"] = "float32"  # what an identity is measured in, and what repeats
    if serving.upstream is not None:
        deployment = serving.deployment
        asks = identity is not None and deployment.ask_every and deployment.ask_margin is not None
        if conditional(deployment.hold) and deployment.mode == "on" and not asks:
            raise InputError(
                f"hold {deployment.hold} waits for an alarm, and of an upstream nothing is read that could alarm; give"
                " --identity, --ask-every and --ask-margin, or --hold off, or one that does not wait, such as heal"
            )
        return EndpointModel(serving.upstream, serving.model or ""), None
    if identity is None:
        if serving.deployment.mode != "off" and serving.deployment.hold != "none":
            raise InputError(
                "no identity is given, so there is no home to hold or return to; give --identity DIR (homing map makes one),"
                " or --hold off"
            )
        return open_model(serving.model or "smollm2", **given), None
    home = Home.chosen(identity, serving.model, given.get("engine", "auto"))
    given["engine"] = home.engine(given.get("engine", "auto"), serving.model)
    given.setdefault("layers", home.layers_of(identity, serving.model))
    model = open_model(serving.model or str(home.identity.model["name"]), **given)
    return model, Home.on(identity, model)


async def _offered(model: ChatModel) -> tuple[str, ...]:
    """The models of an upstream; none where the model is here.

    Raises:
        InputError: the upstream does not have the one that is named. HomingError: it does not say.
    """
    if not isinstance(model, EndpointModel):
        return ()
    offered = tuple(await model.models())
    if model.name not in offered:
        raise InputError(
            f"upstream {model.remote.url} does not have model {model.name!r}; it has {', '.join(offered[:20]) or 'none'}"
        )
    return offered


def _outside(serving: Serving, identity: Identity | None, model: ChatModel) -> Outside | None:
    """What is asked of conversations; None where nothing is.

    Raises:
        HomingError: it is to be asked, and the identity cannot say how far from home an answer is.
    """
    if not serving.deployment.ask_every:
        return None
    if identity is None:
        raise InputError(
            "--ask-every asks how far from home a conversation stands, and no home is given; give --identity DIR"
        )
    name = str(identity.model.get("name", ""))
    if serving.upstream is not None and name.rpartition("/")[2] != model.name.rpartition("/")[2]:
        raise InputError(
            f"the identity in {serving.identity} is of {name}, and {model.name} is served; run homing home on that"
        )
    return Outside(outside_of(identity), model)


async def _keeper(serving: Serving, store: Store) -> tuple[Keeper, tuple[str, ...]]:
    """The keeper, and the models of an upstream."""
    wanted = serving.upstream is None or serving.deployment.ask_every
    identity = Identity.load(serving.identity) if serving.identity is not None and wanted else None
    model, home = _open(serving, identity)
    try:
        outside = _outside(serving, identity, model)
        keeper = Keeper(model, home, store, serving.deployment, salt=await store.salt(), outside=outside)
        offered = await _offered(model)
        if serving.deployment.mode == "on":
            for s in keeper.build(serving.deployment.hold):
                if s.name in ("cap", RETURN) and home is not None:
                    await home.prove(model, "cap" if home.cap is not None else None)
    except BaseException:
        await model.close()
        raise
    return keeper, offered


def listen(deployment: Deployment) -> socket.socket:
    """The port, bound; so that nothing else can take it while the model is opened.

    Raises:
        InputError: it is in use, or not ours to use.
    """
    family = socket.AF_INET6 if ":" in deployment.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    # what is accepted inherits it; without it each answer waits 40 ms for an acknowledgement
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # else one that holds its connection and reads nothing holds its place and its bytes for ever
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * STALLED_SECONDS)
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
    listen(serving.deployment).close()
    store = await Store.open(serving.store, text=serving.deployment.text)
    try:
        keeper, _ = await _keeper(serving, store)
        info = keeper.model.info
        await keeper.model.close()
    finally:
        await store.close()
    promise = keeper.home.calibration.sentence if keeper.home is not None else None
    return {
        "model": keeper.model.name,
        "engine": info.engine,
        "dtype": info.dtype,
        "slots": info.slots,
        "promise": promise,
    }


class _Server(uvicorn.Server):
    """Tells the service first that it stops, so that streams without an end are ended."""

    leaving: Callable[[], None] = staticmethod(lambda: None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.leaving()
        super().handle_exit(sig, frame)


async def _forgets(store: Store, days: float) -> None:
    """Forget what is older than so many days, again and again."""
    clock = Clock()
    while True:
        try:
            await store.forget_before(clock.now() - days * 86400)
        except HomingError as e:
            _LOG.warning("what is old could not be forgotten: %s", e)
        await asyncio.sleep(FORGET_SECONDS)


async def _serve(serving: Serving, said: Said) -> None:
    deployment = serving.deployment
    listening = listen(deployment)
    store = None
    keeper = None
    try:
        store = await Store.open(serving.store, text=deployment.text)
        keeper, offered = await _keeper(serving, store)
        service = Service(keeper, deployment, offered=offered)
        if serving.upstream is not None:
            service.relay = Relay(serving.upstream)
        if serving.webhook is not None:
            service.webhook = Webhook(serving.webhook, serving.secret, dropped=service.metrics.untold.inc)
        app = make_app(service, routes=kept_routes(service, store))
        forgetting = asyncio.create_task(_forgets(store, deployment.keep_days)) if deployment.keep_days else None
        server = _Server(configured(app))
        server.leaving = service.leave
        promise = keeper.home.calibration.sentence if keeper.home is not None else None
        said(f"http://{deployment.host}:{listening.getsockname()[1]}", promise)
        try:
            await server.serve(sockets=[listening])
        finally:
            if forgetting is not None:
                forgetting.cancel()
    finally:
        if keeper is not None:
            await keeper.close()
        if store is not None:
            await store.close()
        listening.close()


def serve(serving: Serving, said: Said) -> None:
    """Answer until SIGTERM or Ctrl-C; what is on its way is let finish.

    Args:
        said: told the address, and the promise of the alarms, once requests are taken.

    Raises:
        HomingError: the deployment cannot be served; nothing has been answered.
    """
    # uvicorn raises again, in the end, what stopped it: it has been heeded by then
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    run(_serve(serving, said))
