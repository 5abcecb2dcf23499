"""serve: one model behind the OpenAI wire, read on every token, held and brought back, with a page that shows it live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.lazy import lazy

if TYPE_CHECKING:
    from homing.gateway.access import Key
    from homing.gateway.app import Service, make_app
    from homing.gateway.deployment import Deployment
    from homing.gateway.turns import Keeper

__all__ = ["Deployment", "Keeper", "Key", "Service", "make_app"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "access": ("Key",),
        "app": ("Service", "make_app"),
        "deployment": ("Deployment",),
        "turns": ("Keeper",),
    },
)
