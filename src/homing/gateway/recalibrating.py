"""Alarms calibrated on a service's own conversations, once a person has looked at every alarm in them.

A map calibrates on home conversations of its own making: so many turns, so long replies. A service's are longer and otherwise,
and the promise does not cover them. Conversations whose alarms are all marked false are home by the word of whoever marked them;
one with an alarm that stands is not. What was acted on is no conversation of the model's own, so a service that is to be
calibrated on runs with ``--mode shadow``: leaving out what was brought back would leave out the largest drifts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from homing.drift.calibration import TRAFFIC, Calibration, calibrate
from homing.errors import InputError
from homing.gateway.deployment import conditional
from homing.gateway.records import AlarmRecord, Standing, TurnRecord
from homing.identity import Identity, Section
from homing.jsonable import strict
from homing.stats import least_n, wilson
from homing.stats.estimate import Finding
from homing.verbs.watch import Home

__all__ = ["Reviewed", "recalibrate", "reviewed"]

PAGE = 200
MOST_TURNS = 10_000


class Kept(Protocol):
    """What this module needs of a store."""

    async def conversations(self, tenant: str, *, limit: int, before: float | None = None) -> list[Standing]: ...
    async def turns(
        self, tenant: str, conversation: str, *, after: int = -1, limit: int
    ) -> list[tuple[int, TurnRecord]]: ...
    async def alarms(self, tenant: str, conversation: str) -> list[AlarmRecord]: ...


@dataclass
class Reviewed:
    """Kept conversations, sorted by what they are to a calibration.

    Attributes:
        drifts, lengths: of the home ones, one figure a turn.
        alarmed: home ones with an alarm that is marked false. ``away``: with one that stands. ``held``: acted on from the first
            turn on. ``unread``: without any reading.
    """

    drifts: list[list[float]] = field(default_factory=list[list[float]])
    lengths: list[list[int]] = field(default_factory=list[list[int]])
    alarmed: int = 0
    away: int = 0
    held: int = 0
    unread: int = 0

    @property
    def home(self) -> int:
        """Conversations to calibrate on."""
        return len(self.drifts)


def _acted(standing: Standing, turn: int, t: TurnRecord) -> bool:
    """Whether anything was done to a turn."""
    if t.mode != "on" or t.hold == "none":
        return False
    if not conditional(t.hold):
        return True
    now = standing.state.get("way")
    ways = [*standing.state.get("ways", []), *([] if now is None else [{"since": now["since"], "until": math.inf}])]
    return any(w["since"] <= turn <= w["until"] for w in ways)


async def reviewed(store: Kept, tenants: Sequence[str], *, rest_is_true: bool = False) -> Reviewed:
    """Sort what is kept.

    Args:
        store: of the service. ``tenants``: whose conversations.
        rest_is_true: alarms that nobody marked were looked at and stand.

    Raises:
        InputError: alarms wait for somebody's judgement, or home conversations were acted on after they had begun.
    """
    out, waiting, broken = Reviewed(), 0, 0
    for tenant in tenants:
        before: float | None = None
        while found := await store.conversations(tenant, limit=PAGE, before=before):
            before = found[-1].updated
            for standing in found:
                turns = await store.turns(tenant, standing.conversation, limit=MOST_TURNS)
                alarms = await store.alarms(tenant, standing.conversation) if standing.alarms else []
                acted = [_acted(standing, i, t) for i, t in turns]
                stand = [a for a in alarms if not a.false_alarm]
                drifts = [math.nan if t.drift is None else t.drift for _, t in turns]
                if acted and acted[0]:
                    out.held += 1
                elif stand:
                    out.away += 1
                    waiting += 0 if rest_is_true else len(stand)
                elif any(acted):
                    broken += 1
                elif not any(math.isfinite(d) for d in drifts):
                    out.unread += 1
                else:
                    out.alarmed += bool(alarms)
                    out.drifts.append(drifts)
                    out.lengths.append([len(t.trace) for _, t in turns])
    if waiting:
        raise InputError(
            f"{waiting} alarms are not marked; mark those that were false on the page, and say --rest-is-true of the others"
        )
    if broken:
        raise InputError(
            f"{broken} home conversations were acted on after they had begun, so their drift is not their own, and leaving them "
            "out would leave out the largest; let the service run with --mode shadow for a while, and calibrate on that"
        )
    return out


async def recalibrate(
    identity: Identity,
    store: Kept,
    tenants: Sequence[str],
    *,
    alpha: float = 0.05,
    confidence: float = 0.95,
    rest_is_true: bool = False,
) -> tuple[Identity, dict[str, Any]]:
    """An identity whose alarms keep their promise on a service's own conversations, and what was found.

    Args:
        identity: that was served. ``store``, ``tenants``, ``rest_is_true``: as :func:`reviewed`.
        alpha: probability of any alarm in a home conversation. ``confidence``: in that promise.

    Raises:
        InputError: too few home conversations, or they are not all judged. IdentityError: the identity has no alarms.
    """
    if identity.also:
        raise InputError(
            f"this identity holds {len(identity.measured)} measurements, and a store does not say which one was served; give the "
            "directory of that one"
        )
    old = Home.of(identity).calibration
    seen = await reviewed(store, tenants, rest_is_true=rest_is_true)
    if seen.home < 4:
        raise InputError(
            f"this store has {seen.home} home conversations that were read and not acted on ({seen.away} with an alarm that "
            f"stands, {seen.held} held throughout, {seen.unread} not read); at least 4 are needed, and for this promise "
            f"{least_n(alpha, confidence)}"
        )
    context = f"conversations of a service, judged by its operator; {old.context}"
    new = calibrate(seen.drifts, seen.lengths, alpha=alpha, confidence=confidence, context=context)
    rate = wilson(seen.alarmed, seen.home, unit="of home conversations")
    longest = max(len(d) for d in seen.drifts)
    words = (
        f"{rate.value:.1%} of {rate.n} home conversations of the service, of up to {longest} turns, raised an alarm; promised "
        f"was at most {old.promise.alpha:.1%} in up to {old.max_turns}."
    )
    finding = Finding("alarm.traffic", {"value": rate}, verdict=words)
    data = {
        "calibration": new.to_json(), "findings": {"alarm.traffic": finding.to_json()}, "home": seen.home,
        "alarmed": seen.alarmed, "away": seen.away, "held": seen.held, "unread": seen.unread,
    }  # fmt: skip
    found = {
        "schema": "homing.recalibrate/1",
        "before": _told(old),
        "now": _told(new),
        "conversations": {k: data[k] for k in ("home", "alarmed", "away", "held", "unread")},
        "findings": [finding.to_json()],
    }
    return identity.with_section(TRAFFIC, Section(1, strict(data))), found


def _told(c: Calibration) -> dict[str, Any]:
    return {
        "promise": c.sentence, "max_turns": c.max_turns, "shortest": c.shortest, "longest": c.longest,
        "thresholds": {"ewma": c.threshold("ewma"), "cusum": c.threshold("cusum")}, "uncalibrated": c.uncalibrated,
        "turns_between_false_alarms": c.turns_between_false_alarms().to_json(),
    }  # fmt: skip
