"""home, return and test on a tiny model saved to disk: JSON alone on standard output, and what the user can mend exits with 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.running import objects, run
from tests.cli.schemas import validate
from tests.instruments.tiny_instrument import Tiny
from tests.verbs.tiny_map import Mapped

from homing.conversation import Conversation
from homing.hold.commit import Commitment
from homing.identity import Identity
from homing.instruments import registry
from homing.persona.outside import load_outside
from homing.verbs import home, returning


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six items, one a facet, so that a tiny model answers in seconds."""
    items = tuple({i.facet: i for i in load_outside()}.values())
    monkeypatch.setattr(home, "load_outside", lambda: items)
    monkeypatch.setattr(returning, "load_outside", lambda: items)


@pytest.mark.usefixtures("few")
def test_home_writes_the_outside_face_into_an_identity(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "home", mapped.model, "--out", tmp_path / "me", "--json")
    assert code == 0, err
    (line,) = objects(out)
    validate("home", line)
    assert line["items"] == 6 and line["qualified"] < 24
    identity = Identity.load(tmp_path / "me")
    assert identity.digest == line["digest"]
    assert np.isfinite(identity.section("outside").arrays["outside_a"]).all()
    # again: everything is there; with six items no distance can be asked for, and the return experiment says so
    assert (
        objects(run(capsys, "home", mapped.model, "--out", tmp_path / "me", "--json")[1])[0]["digest"] == line["digest"]
    )
    code, out, err = run(
        capsys, "return", mapped.model, "--identity", tmp_path / "me", "--out", tmp_path / "r", "--hold", "sham", "--json",
        "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert code == 0, err
    (found,) = objects(out)
    validate("return", found)
    assert found["findings"][0]["regime"] == "not_measurable"
    assert "items qualify" in (tmp_path / "r.html").read_text()


def test_test_prints_findings(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": Tiny})
    code, out, err = run(capsys, "test", mapped.model, "--out", tmp_path / "t", "--preset", "smoke", "--json")
    assert code == 0, err
    (found,) = objects(out)
    validate("test", found)
    assert "holds none, sham: tiny 40 conversations" in err
    code, out, _ = run(capsys, "test", mapped.model, "--out", tmp_path / "n", "--preset", "smoke", "--hold", "none")
    assert code == 0 and "tiny.rate" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("return", "smollm2", "--hold", "nothing"), "unknown hold 'nothing'"),
        (("return", "smollm2", "--hold", "cap"), "needs a cap, and this identity has none"),
        (("test", "smollm2", "--only", "nothing"), "unknown instrument 'nothing'"),
        (("test", "smollm2", "--hold", "nothing"), "unknown hold 'nothing'"),
        (("home", "no-such-model"), "model 'no-such-model' is unknown"),
    ],
)
def test_what_can_be_mended_exits_with_two(
    tmp_path: Path, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *arguments, "--out", tmp_path / "out", "--json")
    assert code == 2 and out == ""
    assert says in err and "Traceback" not in err and len(err.strip().splitlines()) == 1


def test_verify_commit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = Conversation.of("Choose a number from 1 to 9 and do not say it.")
    made = Commitment("7", "0" * 64, asked.digest, 0)
    (tmp_path / "opening.json").write_text(json.dumps(made.to_json()))
    (tmp_path / "talk.json").write_text(json.dumps(asked.then("Done.").to_openai()))
    arguments = ("verify-commit", tmp_path / "opening.json", "--conversation", tmp_path / "talk.json", "--json")
    code, out, _ = run(capsys, *arguments, "--commitment", f"sha256:{made.digest}")
    (found,) = objects(out)
    validate("verify-commit", found)
    assert code == 0 and found["ok"]
    code, out, _ = run(capsys, *arguments, "--commitment", "1" * 64)
    assert code == 1 and not objects(out)[0]["ok"]
    code, _, err = run(capsys, *arguments, "--commitment", "no hash")
    assert code == 2 and "64 hexadecimal digits" in err
    (tmp_path / "opening.json").write_text("{")
    code, _, err = run(capsys, *arguments, "--commitment", made.digest)
    assert code == 2 and "is not JSON" in err
