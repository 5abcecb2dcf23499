"""Alarms on a service's own conversations: the promise holds on unknown traffic, and nothing is calibrated blindly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.cli.schemas import validate
from tests.gateway.test_serve import run
from tests.verbs.tiny_map import Mapped

from homing.drift.calibration import TRAFFIC, Calibration, check
from homing.errors import InputError
from homing.gateway.asked import Chosen, Run
from homing.gateway.recalibrating import recalibrate, reviewed
from homing.gateway.records import Standing, TurnRecord
from homing.gateway.settling import settle
from homing.gateway.store import Store
from homing.identity import Identity
from homing.verbs.watch import Home

TURNS = 10
SPREAD = 3.0
"""Of the traffic, over that of the home conversations that the map played."""


def drifts(calibration: Calibration, n: int, *, seed: int, shift: float = 0.0, spread: float = SPREAD) -> np.ndarray:
    """Traffic whose law is known: longer than the map's conversations, and wider."""
    rng = np.random.default_rng(seed)
    sd = calibration.standard.spread(calibration.longest)
    out = rng.normal(calibration.standard.means[-1] - shift * sd * spread, spread * sd, size=(n, TURNS))
    out[:, 0] = 0.0  # the first turn is its own fresh context
    return out


async def served(
    store: Store, calibration: Calibration, some: np.ndarray, *, name: str, mode: str = "shadow", hold: str = "return"
) -> None:
    """Conversations kept as the gateway keeps them, alarms and all."""
    for k, row in enumerate(some):
        for turn, drift in enumerate(row):
            record = TurnRecord(
                f"{name}-{k}-{turn}", 1e9 + k, "m", hold, mode, 9, 9, "stop", 0.1, position=1.0, drift=float(drift),
                fresh=1.0, trace=(1.0,) * calibration.longest,
            )  # fmt: skip
            going = Run(None, mode, f"{name}-{k}", Standing(f"{name}-{k}", "local"), Chosen(hold, "deployment"), None)  # type: ignore[arg-type]
            change = lambda now, r=record, g=going: settle(calibration, g, r, "", False, now)  # noqa: E731
            await store.commit("local", f"{name}-{k}", record, change)


async def mark_all(store: Store) -> int:
    """Say of every alarm that it was false; how many there were."""
    n = 0
    for standing in await store.conversations("local", limit=1000):
        for alarm in await store.alarms("local", standing.conversation):
            await store.mark("local", alarm.id, True)
            n += 1
    return n


async def test_the_promise_holds_on_traffic_that_the_map_never_saw(mapped: Mapped, tmp_path: Path) -> None:
    old = Home.of(mapped.identity).calibration
    store = await Store.open(str(tmp_path / "g.db"), text=False)
    try:
        await served(store, old, drifts(old, 160, seed=1), name="c")
        with pytest.raises(InputError, match="alarms are not marked"):
            await reviewed(store, ["local"])
        assert await mark_all(store) > 20  # the map's thresholds are too low for such traffic
        made, found = await recalibrate(mapped.identity, store, ["local"])
    finally:
        await store.close()
    new = Home.of(made).calibration
    counts = found["conversations"]
    assert (counts["home"], counts["away"], counts["held"], counts["unread"]) == (160, 0, 0, 0)
    assert (new.max_turns, new.uncalibrated) == (TURNS, False)
    fresh = drifts(old, 2000, seed=2)
    lengths = [[old.longest] * TURNS] * len(fresh)
    rate = check(new, fresh.tolist(), lengths)
    assert rate.low < 0.05, rate  # at most 5%, and the interval of 2,000 fresh ones says nothing against it
    away = drifts(old, 300, seed=3, shift=4.0)
    assert check(new, away.tolist(), lengths[:300]).value > 0.9  # and what is away is still found
    observed = found["findings"][0]["estimates"]["value"]
    assert observed["value"] == pytest.approx(counts["alarmed"] / 160) and observed["low"] > old.promise.alpha


async def test_what_stands_is_not_home_and_what_was_held_is_not_the_models_own(mapped: Mapped, tmp_path: Path) -> None:
    old = Home.of(mapped.identity).calibration
    store = await Store.open(str(tmp_path / "g.db"), text=False)
    try:
        await served(store, old, drifts(old, 30, seed=1, spread=0.1), name="home")
        await served(store, old, drifts(old, 5, seed=2, shift=9.0), name="away")
        await served(store, old, drifts(old, 7, seed=3, shift=9.0), name="capped", mode="on", hold="cap")
        seen = await reviewed(store, ["local"], rest_is_true=True)
        assert (seen.home, seen.away, seen.held, seen.alarmed) == (30, 5, 7, 0)
        assert (await reviewed(store, ["nobody"], rest_is_true=True)).home == 0
        with pytest.raises(InputError, match="0 home conversations"):
            await recalibrate(mapped.identity, store, ["nobody"])
        # an alarm in mode on begins the way back: what follows is not the model's own drift, whoever calls it home later
        await served(store, old, drifts(old, 3, seed=4, shift=9.0), name="brought", mode="on")
        await mark_all(store)
        with pytest.raises(InputError, match="acted on after they had begun"):
            await reviewed(store, ["local"])
    finally:
        await store.close()


async def test_several_measurements_are_refused(mapped: Mapped, tmp_path: Path) -> None:
    store = await Store.open(str(tmp_path / "g.db"), text=False)
    try:
        with pytest.raises(InputError, match="holds 2 measurements"):
            await recalibrate(replace(mapped.identity, also=(mapped.identity,)), store, ["local"])
    finally:
        await store.close()


def test_by_command(mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = Home.of(mapped.identity).calibration

    async def fill(names: Sequence[str]) -> None:
        store = await Store.open(str(tmp_path / "g.db"), text=False)
        for name in names:
            await served(store, old, drifts(old, 70, seed=5), name=name)
        await store.close()

    asyncio.run(fill(["c"]))
    given = ("recalibrate", mapped.home, "--store", tmp_path / "g.db", "--out", tmp_path / "new")
    code, _, err = run(capsys, *given)
    assert code == 2 and "--rest-is-true" in err and "Traceback" not in err
    code, out, err = run(capsys, *given, "--rest-is-true", "--json")
    assert code == 0, err
    found = json.loads(out)
    validate("recalibrate", found)
    made = Identity.load(tmp_path / "new")
    assert made.digest == found["digest"] and TRAFFIC in made.sections
    assert Home.of(made).calibration.sentence == found["now"]["promise"]
    code, out, err = run(capsys, "card", tmp_path / "new")
    assert code == 0 and "alarm.traffic" in out, err
    code, out, err = run(capsys, *given, "--rest-is-true")
    assert code == 0 and "calibrated on" in out, err
