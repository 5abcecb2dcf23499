"""The outside face of a conversation, asked in forks that are thrown away: what the model says of itself, against home.

It is asked after a turn is answered and kept, so that no client waits for it. There is no promise in it: the operator says which
distance is too far. An alarm needs the whole interval beyond that, and home is shown where the whole interval lies within.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homing.conversation import Conversation
from homing.errors import InputError
from homing.gateway.deployment import conditional
from homing.gateway.records import AlarmRecord, Settled, Standing
from homing.models.base import ChatModel
from homing.persona.outside import OutsideItem, answers, distances, load_outside, readout_of
from homing.persona.outside_home import OutsideHome
from homing.stats.estimate import Estimate

__all__ = ["DETECTOR", "Outside", "past_ways", "settled"]

DETECTOR = "distance"
SHOWN = 2
"""Turns in a row that must be home before a conversation counts as returned."""
WAYS = 50


class Outside:
    """A home that can be asked for.

    Args:
        home: as measured on this model. ``model``: that is asked. ``form``: which items.

    Raises:
        InputError: too few items qualify, or the model cannot be asked as it was at home.
    """

    def __init__(self, home: OutsideHome, model: ChatModel, *, form: Any = "short") -> None:
        if home.home.readout != readout_of(model):
            raise InputError(
                f"the identity's outside face was read by {home.home.readout}, and {model.name} is read by {readout_of(model)};"
                " run homing home again on the model as it is served"
            )
        ids = set(home.form(form))
        self.opening = home.opening
        self._model = model
        self._home = home.home.pick([i in ids for i in home.home.ids])  # type: ignore[arg-type]
        known = {i.id: i for i in load_outside()}
        self._items: Sequence[OutsideItem] = [known[i] for i in self._home.ids]

    @property
    def calls(self) -> int:
        """Questions that one asking takes."""
        return 2 * len(self._items)

    async def ask(self, conversation: Conversation) -> Mapping[str, Estimate]:
        """Distance from home over all items, and by facet."""
        return distances(await answers(self._model, conversation, self._items), self._home)


def past_ways(now: Standing, until: int) -> list[dict[str, Any]]:
    """The ways back that were gone, the one that goes on ended at a turn among them; the newest few."""
    way = now.state.get("way")
    ended = [] if way is None else [{"since": way["since"], "until": until, "by": way["by"]}]
    return [*now.state.get("ways", []), *ended][-WAYS:]


def settled(
    now: Standing,
    found: Mapping[str, Estimate],
    *,
    turn: int,
    margin: float | None,
    hold: str,
    mode: str,
    acted: bool,
    calls: int,
) -> Settled:
    """The state once a turn was asked about.

    Args:
        found: distances. ``turn``: that was asked about, from 0. ``margin``: which distance is too far; None: none alarms.
        hold, mode, acted: of that turn.
    """
    state = dict(now.state)
    state["asked"] = {
        "turn": turn,
        "calls": calls + int(state.get("asked", {}).get("calls", 0)),
        "found": {
            k: {"value": e.value, "low": e.low, "high": e.high, "level": e.level, "n": e.n} for k, e in found.items()
        },
    }
    whole = found["all"]
    told: list[tuple[str, Mapping[str, Any]]] = [
        ("asked", {"turn": turn, "distance": whole.value, "low": whole.low, "high": whole.high})
    ]
    if margin is None:
        return Settled(state, events=tuple(told))
    over, way = [d for d in state.get("over", []) if d != DETECTOR], state.get("way")
    alarms: tuple[AlarmRecord, ...] = ()
    if whole.low > margin:
        if DETECTOR not in state.get("over", []):
            alarms = (AlarmRecord(DETECTOR, whole.value, margin, turn),)
            told.append(("alarm", {"turn": turn, "detector": DETECTOR, "statistic": whole.value, "threshold": margin}))
        over.append(DETECTOR)
    state["over"] = over
    if way is not None and acted:
        way = {**way, "home": int(way["home"]) + 1 if whole.high < margin else 0}
        if way["home"] >= SHOWN:
            state["ways"] = past_ways(now, turn)
            told.append(("home", {"turn": turn, "since": way["since"]}))
            way = None
        state["way"] = way
    elif way is None and over and mode == "on" and conditional(hold):
        state["way"] = {"since": now.turns, "home": 0, "by": "alarm"}
        told.append(("return", {"turn": turn, "by": "alarm"}))
    return Settled(state, alarms, tuple(told))
