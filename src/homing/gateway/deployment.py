"""What an operator decides once, before the first request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from homing.errors import InputError
from homing.gateway.access import Key, loopback

__all__ = ["RETURN", "Deployment", "Fail", "Mode", "conditional"]

Mode = Literal["off", "shadow", "on"]
Fail = Literal["open", "closed"]
RETURN = "return"
"""The hold that waits for an alarm."""


def conditional(hold: str) -> bool:
    """Whether a chain waits for an alarm: ``return`` is in it."""
    return RETURN in hold.split("+")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One service.

    Args:
        host, port: listened on. ``keys``: of those who may ask; empty: this machine alone.
        mode: ``off``: nothing is measured or held; ``shadow``: measured; ``on``: both. ``hold``: where a request names none.
        fail: what happens to a reply where measuring, holding or keeping fails: ``open``: it goes out without, and says so;
            ``closed``: it ends with an error.
        read_every: every so many turns a fresh reply is made to measure drift against; 0: never, so nothing alarms.
        ask_every: every so many turns a conversation is asked in forks how far it stands from home; 0: never. ``ask_margin``:
            the distance in log-odds that is too far; None: none alarms.
        text: whether what is said is kept. ``keep_days``: conversations are forgotten after so long; 0: never.
        max_body, max_new_tokens, per_minute: bounds of a request; ``queue``: requests that wait for a slot at most.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[Key, ...] = ()
    mode: Mode = "on"
    hold: str = RETURN
    fail: Fail = "open"
    read_every: int = 1
    ask_every: int = 0
    ask_margin: float | None = None
    text: bool = False
    keep_days: float = 0.0
    max_body: int = 2**20
    max_new_tokens: int = 1024
    per_minute: int = 0
    queue: int = 64

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"mode is {self.mode!r}; use one of {', '.join(get_args(Mode))}")
        if self.fail not in get_args(Fail):
            raise InputError(f"fail is {self.fail!r}; use open or closed")
        if not loopback(self.host) and not self.keys:
            raise InputError(
                f"host {self.host} can be reached from outside, and no keys are set; give --keys FILE, or listen on 127.0.0.1"
            )
        for name, least in (
            ("read_every", 0),
            ("ask_every", 0),
            ("keep_days", 0),
            ("max_body", 1024),
            ("max_new_tokens", 1),
            ("per_minute", 0),
        ):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}")
