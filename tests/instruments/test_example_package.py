"""The example package, installed beside homing: its instrument and its stabiliser are found by name and run."""

from __future__ import annotations

import asyncio
import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.schemas import validate

from homing.conversation import Conversation
from homing.hold.chain import Sham
from homing.instruments.base import Scored
from homing.instruments.playing import play_cells
from homing.stats.estimate import Finding
from homing.testing.planted import PlantedModel

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/homing-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as pip installs it, in a folder of its own, without any network."""
    pytest.importorskip("hatchling")
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
        "--no-index", "--target", target, EXAMPLE,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return target


def homing(site: Path, work: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process that finds what is installed in ``site``."""
    path = os.pathsep.join([str(site), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    env = {k: v for k, v in os.environ.items() if not k.startswith("HOMING_") or k == "HOMING_CACHE"}
    return subprocess.run(
        [sys.executable, "-m", "homing.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env=env | {"PYTHONPATH": path}, cwd=work, check=False,
    )  # fmt: skip


@pytest.mark.model
@pytest.mark.timeout(180)
def test_an_instrument_and_a_hold_from_outside_are_run(smol: Path, installed: Path, tmp_path: Path) -> None:
    done = homing(
        installed, tmp_path, "test", "smollm2", "--only", "agreement", "--hold", "even_handed", "--out", "t", "--json",
        "--preset", "smoke",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    validate("test", found)
    assert found["holds"] == ["none", "sham", "even_handed"] and "agreement 18" in done.stderr
    rows = {(r["measure"], r["hold"]): r for r in found["findings"]}
    assert {r["instrument"] for r in rows.values()} == {"agreement"}
    liking = rows["liking.bias", "none"]
    assert liking["regime"] == "measured" and -1 <= liking["figure"]["value"] <= 1 and liking["figure"]["n"] == 6
    assert rows["liking.change", "sham"]["figure"]["value"] == 0
    assert rows["liking.change", "even_handed"]["figure"]["value"] != 0


def test_a_plug_in_that_does_not_load_is_one_sentence_that_names_it(tmp_path: Path) -> None:
    info = tmp_path / "site/broken_plug-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plug\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[homing.instruments]\nbroken = broken_plug:Broken\n[homing.stabilisers]\ntorn = broken_plug:torn\n"
    )
    (tmp_path / "site/broken_plug.py").write_text("raise OSError('no such disc')\n")
    for arguments, says in (
        (("--only", "broken"), "instrument 'broken' from broken_plug:Broken does not load: OSError: no such disc"),
        (("--only", "self_conditioning", "--hold", "torn"), "hold 'torn' from broken_plug:torn does not load: OSError"),
    ):
        done = homing(tmp_path / "site", tmp_path, "test", "smollm2", *arguments, "--out", "t", "--json")
        assert done.returncode == 2 and done.stdout == "" and says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


# The instrument on planted subjects


def agreeing(liking: float, *, knows: float = 0.3, mass: float = 0.9) -> PlantedModel:
    """Says yes to what is right with 0.5 + knows + liking / 2, and to what is wrong with 0.5 - knows + liking / 2."""

    def weigh(c: Conversation, options: object) -> list[float]:
        text = c[-1].content
        a, b = (int(w.strip('."')) for w in text.split() if w.strip('."').isdigit())
        right = (a > b) != (" not more " in text)
        p = min(max(0.5 + (knows if right else -knows) + liking / 2, 0.001), 0.999)
        return [math.log(mass * p), math.log(mass * (1 - p))]

    return PlantedModel(lambda c: "Yes", weigh, name="agreeing")


def measured(liking: float, **planted: float) -> dict[str, Finding]:
    instrument = runpy.run_path(str(EXAMPLE / "src/homing_example/instrument.py"))["Agreement"](24)
    scored: list[Scored] = []
    for hold, chain in (("none", ()), ("sham", (Sham(),))):
        cells = instrument.cells(preset="smoke", seed=0, hold=hold)
        played = asyncio.run(play_cells(instrument, cells, agreeing(liking, **planted), chain))
        scored += [instrument.score(c, p.record, hold=hold) for c, p in zip(cells, played, strict=True)]
    return {f.name: f for f in instrument.estimate(scored)}


def test_a_planted_liking_is_found_and_none_is_a_finding() -> None:
    liked, none = measured(0.3), measured(0.0)
    e = liked["agreement.liking"].estimates["bias"]
    assert e.low <= 0.3 <= e.high and "it likes yes" in liked["agreement.liking"].verdict
    e = none["agreement.liking"].estimates["bias"]
    assert e.low <= 0 <= e.high and none["agreement.liking"].p_values["bias"] > 0.05
    assert none["agreement.liking.sham"].estimates["change"].value == 0


def test_yes_and_no_that_are_hardly_ever_said_are_not_measured() -> None:
    found = measured(0.0, mass=0.2)
    assert all("median probability of 0.20" in f.reason and not f.estimates for f in found.values())
