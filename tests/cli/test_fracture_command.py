"""homing fracture: what scripts read, going on after a stop, and what the user can mend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.running import objects, run
from tests.cli.schemas import validate
from tests.fracture.test_genome import LINKS, NODES, xml, zipped

from homing.fracture.pairs import Size
from homing.verbs import fracture


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures so small and a loss so large that a network is trained in a second."""
    monkeypatch.setattr(fracture, "Size", lambda: Size(side=20, steps=3000, until=4e-3, pairs=100))


@pytest.mark.usefixtures("quick")
def test_lab_prints_pairs_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    arguments = ("fracture", "lab", "--pictures", "moth", "--seeds", "1", "--out", tmp_path / "lab")
    code, out, err = run(capsys, *arguments, "--json", "--report", tmp_path / "lab.html")
    assert code == 0, err
    (found,) = objects(out)
    validate("fracture-lab", found)
    assert [r["arm"] for r in found["pairs"]] == ["unified", "x", "abs", "random"]
    for row in found["pairs"]:
        assert {"value", "low", "high", "n"} <= set(row["kappa"])
        assert row["kappa"]["low"] <= row["kappa"]["value"] <= row["kappa"]["high"]
    assert found["gaps"][0]["equal_loss"] and found["gaps"][0]["most_loss_ratio"] <= 1.25
    assert found["gaps"][0]["gap"]["value"] > 0.5 and found["gaps"][0]["gap"]["low"] is None  # one seed has no interval
    assert "4 networks" in err and "4 of 4" in err
    page = (tmp_path / "lab.html").read_text()
    assert "moth" in page and "data:image/png" in page

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a finished network was made again")

    monkeypatch.setattr(fracture, "made", never)
    again = objects(run(capsys, *arguments, "--json")[1])[0]
    assert again == found
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and "moth x 0" in out and "kappa" in out and "null" in out and "at equal loss" in out


@pytest.mark.usefixtures("quick")
def test_a_stop_keeps_what_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    real, calls = fracture.made, []

    def stopped(p, arm, **more):
        calls.append(arm)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(p, arm, **more)

    monkeypatch.setattr(fracture, "made", stopped)
    arguments = ("fracture", "lab", "--pictures", "moth", "--seeds", "1", "--out", tmp_path / "lab", "--json")
    code, out, err = run(capsys, *arguments)
    assert code == 130 and out == "" and "run the same command to go on" in err
    assert run(capsys, *arguments)[0] == 0
    assert calls == ["unified", "x", "x", "abs", "random"]


def test_genome_measures_the_symmetries_its_picture_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.zip").write_bytes(zipped(("rep.xml", xml().encode())))
    page = tmp_path / "mine.html"
    asked = ("--out", tmp_path / "out", "--report", page, "--json")
    code, out, err = run(capsys, "fracture", "genome", tmp_path / "mine.zip", *asked)
    assert code == 0, err
    assert "mine.zip: one thing inside, or pieces?" in page.read_text() and "scoreboard" in page.read_text()
    (found,) = objects(out)
    validate("fracture-genome", found)
    by = {r["symmetry"]: r for r in found["pairs"]}
    # x is read through one even unit, and the rest is shared; its first weight pulls the other way on the other side
    assert by["left-right"]["refused"] is None and by["left-right"]["kappa"]["value"] > 0.3
    assert "there is no true pairing" in by["up-down"]["refused"] and by["up-down"]["kappa"]["value"] is None
    assert (tmp_path / "out/picture.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "out/found.json").read_text()) == found
    code, out, _ = run(capsys, "fracture", "genome", tmp_path / "mine.zip")
    assert code == 0 and "7 nodes, 5 links" in out and "refused" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lab", "--pictures", "skull", "--out", "OUT"), "picture 'skull' is unknown; use one of mask"),
        (("lab", "--seeds", "0", "--out", "OUT"), "--seeds"),
        (("lab",), "--out"),
        (("genome", "none.xml"), "cannot be read"),
        (("genome", "FLAT"), "draws one brightness everywhere"),
        (("genome", "HOSTILE"), "declares a document type"),
    ],
)
def test_what_can_be_mended_exits_with_two(
    tmp_path: Path, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "FLAT").write_text(xml(links=[("0_0", "0_4", 1.0)]))
    (tmp_path / "HOSTILE").write_text(xml(NODES, LINKS, head="<!DOCTYPE a [<!ENTITY b 'c'>]>"))
    places = {k: tmp_path / k for k in ("OUT", "FLAT", "HOSTILE")}
    code, out, err = run(capsys, "fracture", *(places.get(a, a) for a in arguments), "--json")
    assert code == 2 and out == "" and says in err and "Traceback" not in err


def test_a_folder_of_another_size_is_not_mixed_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    for side in (20, 22):
        monkeypatch.setattr(fracture, "Size", lambda s=side: Size(side=s, steps=1, until=1.0, pairs=50))
        code, _, err = run(
            capsys, "fracture", "lab", "--pictures", "moth", "--seeds", "1", "--out", tmp_path / "lab", "--json"
        )
    assert code == 2 and "holds work of another plan (different: size)" in err
