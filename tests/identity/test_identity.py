"""The artefact: what goes in comes out, and what was touched is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from homing.errors import IdentityError, InputError
from homing.identity import Identity, Section
from homing.identity.work import Unit, WorkDir


def _identity() -> Identity:
    arrays = {"axis": np.arange(6, dtype=np.float32).reshape(2, 3)}
    return Identity(
        {"fingerprint": "f" * 64, "name": "tiny"}, {"persona": Section(1, {"a": [1, 2.5]}, arrays)}, {"when": "now"}
    )


def test_round_trip(tmp_path) -> None:
    identity = _identity()
    back = Identity.load(identity.save(tmp_path / "home"))
    assert back.digest == identity.digest
    assert np.array_equal(back.section("persona").arrays["axis"], identity.section("persona").arrays["axis"])
    assert back.volatile == {"when": "now"}


def test_times_are_outside_the_hash() -> None:
    identity = _identity()
    assert Identity(identity.model, identity.sections, {"when": "later"}).digest == identity.digest


@pytest.mark.parametrize("what", ["data", "arrays", "model", "schema", "truncated", "not json", "missing"])
def test_touched_identities_are_refused(tmp_path, what: str) -> None:
    home = _identity().save(tmp_path / "home")
    jf, af = home / "identity.json", home / "identity.safetensors"
    raw = json.loads(jf.read_text())
    if what == "data":
        raw["sections"]["persona"]["data"]["a"] = [1, 2.6]
    elif what == "arrays":
        af.write_bytes(af.read_bytes()[:-1] + b"\x01")
    elif what == "model":
        raw["model"]["fingerprint"] = "e" * 64
    elif what == "schema":
        raw["schema"] = "homing.identity/99"
    elif what == "truncated":
        af.write_bytes(af.read_bytes()[:-5])
    elif what == "not json":
        raw = "{"
    jf.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    if what == "missing":
        af.unlink()
    with pytest.raises(IdentityError) as e:
        Identity.load(home)
    assert "\n" not in str(e.value) and str(tmp_path) in str(e.value)


def _several() -> Identity:
    one = _identity()
    model = {"fingerprint": "a" * 64, "name": "tiny-q4.gguf", "origin": "a" * 64}
    other = Section(1, {"a": [3]}, {"axis": np.full((2, 3), 7.0, np.float32)})
    return replace(one, also=(Identity(model, {"persona": other}),))


def test_several_measurements_of_one_model(tmp_path) -> None:
    several = _several()
    back = Identity.load(several.save(tmp_path / "home"))
    assert back.digest == several.digest != _identity().digest
    assert [i.model["name"] for i in back.measured] == ["tiny", "tiny-q4.gguf"]
    assert back.measured[0].digest == _identity().digest
    found = back.on("a" * 64).section("persona")
    assert found.arrays["axis"].max() == 7.0 and found.data == {"a": [3]}
    assert back.on("f" * 64).section("persona").arrays["axis"].max() == 5.0


@pytest.mark.parametrize("what", ["data", "model", "gone"])
def test_a_touched_second_measurement_is_refused(tmp_path, what: str) -> None:
    home = _several().save(tmp_path / "home")
    raw = json.loads((home / "identity.json").read_text())
    if what == "data":
        raw["also"][0]["sections"]["persona"]["data"]["a"] = [4]
    elif what == "model":
        raw["also"][0]["model"]["fingerprint"] = "e" * 64
    else:
        del raw["also"]
    (home / "identity.json").write_text(json.dumps(raw))
    with pytest.raises(IdentityError, match="damaged or edited"):
        Identity.load(home)


def test_another_model_is_refused() -> None:
    with pytest.raises(IdentityError, match=r"belongs to tiny \(f+\), not to Ada \(0+\); open .* `homing join`"):
        _identity().on("0" * 64, what="Ada")
    with pytest.raises(IdentityError, match=r"belongs to tiny \(f+\) and tiny-q4.gguf \(a+\), not to"):
        _several().on("0" * 64)
    with pytest.raises(IdentityError, match="belongs to"):  # no origin is no common origin
        _identity().on("0" * 64, origin="")


def test_the_same_file_on_another_engine_is_the_same_model() -> None:
    assert _several().on("b" * 64, origin="a" * 64).model["name"] == "tiny-q4.gguf"
    assert _several().on("f" * 64, origin="a" * 64).model["name"] == "tiny"  # its own weights come first


def test_of_several_from_one_file_those_of_the_engine_come_first() -> None:
    def made(mark: str, engine: str, dtype: str, **more: str) -> Identity:
        return Identity({"fingerprint": mark * 64, "name": mark, "engine": engine, "dtype": dtype, **more})

    both = replace(
        made("a", "torch", "float32", origin="o"),
        also=(made("b", "llamacpp", "Q4_0", origin="o"), made("c", "llamacpp", "Q8_0", origin="o")),
    )
    assert both.on("x", origin="o", engine="llamacpp", dtype="Q8_0").model["name"] == "c"
    assert both.on("x", origin="o", engine="torch", dtype="bfloat16").model["name"] == "a"
    assert both.on("x", origin="o", engine="llamacpp", dtype="F16").model["name"] == "b"
    before = made("o", "llamacpp", "Q4_1")  # without an origin: its fingerprint was that of the file
    assert before.on("x", origin="o" * 64).model["name"] == "o"
    with pytest.raises(IdentityError, match=r"belongs to a on torch \(a+\) and .*, not to Ada on llamacpp \(x\)"):
        both.on("x", engine="llamacpp", what="Ada")


def test_missing_section_says_what_there_is() -> None:
    with pytest.raises(IdentityError, match="it has persona"):
        _identity().section("cap")


async def test_units_are_done_once_and_found_again(tmp_path) -> None:
    calls = 0

    async def compute() -> Unit:
        nonlocal calls
        calls += 1
        return Unit(["text", 1.5], {"x": np.ones((2, 2), np.float32)})

    for _ in range(2):
        with WorkDir(tmp_path / "w", {"seed": 1}) as work:
            unit = await work.do("a/one", compute)
            assert unit.data == ["text", 1.5] and unit.arrays["x"].sum() == 4
    assert calls == 1


@pytest.mark.parametrize("damage", ["json cut", "arrays cut", "arrays gone"])
async def test_a_broken_unit_is_done_again(tmp_path, damage: str) -> None:
    with WorkDir(tmp_path / "w", {"seed": 1}) as work:
        work.keep("u", Unit([1], {"x": np.ones(3, np.float32)}))
        jf, af = work.directory / "u.json", work.directory / "u.safetensors"
        if damage == "json cut":
            jf.write_bytes(jf.read_bytes()[:-4])
        elif damage == "arrays cut":
            af.write_bytes(af.read_bytes()[:-4])
        else:
            af.unlink()
        assert work.find("u") is None


def test_two_processes_and_two_plans_are_refused(tmp_path) -> None:
    with (
        WorkDir(tmp_path / "w", {"seed": 1}),
        pytest.raises(InputError, match="another homing process"),
        WorkDir(tmp_path / "w", {"seed": 1}),
    ):
        pass
    with pytest.raises(InputError, match="another plan \\(different: seed\\)"), WorkDir(tmp_path / "w", {"seed": 2}):
        pass


def test_unwritable_output_is_one_sentence(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        _identity().save(tmp_path / "file" / "home")
