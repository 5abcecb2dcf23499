"""Does an identity survive quantisation? One planted model as a GGUF in three quantisations, each mapped on llama.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

from tests.cli.schemas import validate
from tests.verbs.tiny_map import SHORT, STRENGTH, tiny_plan

import homing
from homing.conversation import Conversation
from homing.identity import Identity
from homing.models.requantise import KINDS, requantise
from homing.persona.axis import Axis
from homing.testing.tiny import Planted, planted_model
from homing.testing.tiny_gguf import gguf_of
from homing.verbs.compare import compare
from homing.verbs.join import join
from homing.verbs.map import run_map


@dataclass(frozen=True)
class Mapped:
    planted: Planted
    files: dict[str, Path]
    homes: dict[str, Path]


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    folder = tmp_path_factory.mktemp("quantised")
    planted = planted_model(strength=STRENGTH, hidden=64)
    files = {"F32": gguf_of(planted.model, planted.tokenizer, folder / "F32.gguf")}
    for kind in ("Q8_0", "Q4_0"):
        files[kind] = folder / f"{kind}.gguf"
        requantise(files["F32"], kind, files[kind])
    homes: dict[str, Path] = {}
    for kind, file in files.items():
        homes[kind] = folder / f"home-{kind}"
        run_map(tiny_plan(homes[kind], model=str(file), preset=SHORT), threads=1)
    return Mapped(planted, files, homes)


def _axis(home: Path) -> Axis:
    persona = Identity.load(home).section("persona")
    return Axis.from_json(persona.data["axis"], persona.arrays)


def test_the_planted_axis_is_found_on_this_engine(maps: Mapped) -> None:
    axis = _axis(maps.homes["F32"])
    for layer, v in zip(axis.layers, axis.vectors, strict=True):
        if layer >= maps.planted.layer:
            assert float(v @ maps.planted.axis) >= 0.98, layer


async def test_the_file_is_the_model(maps: Mapped) -> None:
    """The GGUF says on llama.cpp what the model says on torch: otherwise nothing here is about the planted model."""
    talk = Conversation.of("Hello", system="<role> You are number 3.")
    with homing.open(str(maps.files["F32"])) as a, homing.wrap(maps.planted.model, maps.planted.tokenizer) as b:
        assert a.aio.encode(talk).tokens == b.aio.encode(talk).tokens  # type: ignore[attr-defined]
        assert a.reply(talk).tokens == b.reply(talk).tokens


@pytest.mark.parametrize(("kind", "least"), [("Q8_0", 0.99), ("Q4_0", 0.9)])
def test_what_quantising_did_to_home(maps: Mapped, kind: str, least: float) -> None:
    found = compare(maps.homes["F32"], maps.homes[kind])
    validate("compare", found)
    assert found["estimates"]["cosine"]["value"] >= least
    assert not found["same_model"]
    assert found["verdict"].split(":")[0] in ("equivalent", "inconclusive", "different")
    if kind == "Q8_0":
        assert abs(found["estimates"]["home_shift"]["value"]) < 0.1


def test_one_identity_for_all_of_them(maps: Mapped, tmp_path: Path) -> None:
    join(list(maps.homes.values()), tmp_path / "all")
    identity = homing.Identity.load(tmp_path / "all")
    talk = Conversation.of("Hello", "abc", "And now", "abcabc")
    seen: list[float] = []
    for kind, file in maps.files.items():
        with homing.open(str(file)) as model:
            together = identity.watch(talk, model=model)
            assert together == homing.Identity.load(maps.homes[kind]).watch(talk, model=model)
            assert not any("calibrated in" in w for line in together for w in line["warnings"])
            seen.append(together[-1]["position"]["value"])
    assert len(set(seen)) == 3 and np.ptp(seen) < 0.5


def test_every_kind_can_be_opened(maps: Mapped, tmp_path: Path) -> None:
    for kind in KINDS:
        requantise(maps.files["F32"], kind, tmp_path / f"{kind}.gguf")
        with homing.open(str(tmp_path / f"{kind}.gguf")) as model:
            assert model.aio.info.dtype == kind
            assert model.reply(Conversation.of("Hello")).finish in ("stop", "length")
