"""homing doctor: its JSON is what the schema promises, whole or broken; a failed check is exit 1."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from jsonschema import ValidationError
from tests.cli.running import objects, run
from tests.cli.schemas import validate
from tests.verbs.tiny_map import Mapped

from homing.models.doctor import Check, DoctorReport
from homing.testing.tiny import TEMPLATE


def test_json_of_a_sound_model_is_what_the_schema_promises(mapped: Mapped, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "doctor", mapped.model, "--json")
    assert code == 0, err
    (found,) = objects(out)
    validate("doctor", found)
    assert found["ok"] is True
    assert found["fingerprint"] == mapped.identity.model["fingerprint"]
    facts = {c["name"]: c["facts"] for c in found["checks"]}
    assert facts["layers"] == {"path": "model.layers", "how": "structure", "count": 4, "hidden": 64}
    # the schema is not one that lets everything pass
    for bad in (
        {k: v for k, v in found.items() if k != "ok"},
        found | {"more": 1},
        found | {"checks": [found["checks"][0] | {"state": "well"}]},
        found | {"checks": [found["checks"][0] | {"facts": {}}]},
        found | {"checks": [found["checks"][0] | {"name": "horoscope"}]},
        found | {"checks": [found["checks"][0] | {"sentence": "two\nlines"}]},
        found | {"checks": [c | {"facts": {"batch_1": 3.0}} for c in found["checks"] if c["name"] == "speed"]},
    ):
        with pytest.raises(ValidationError):
            validate("doctor", bad)


def test_a_person_gets_a_line_a_check_and_may_name_the_layers(
    mapped: Mapped, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "doctor", mapped.model, "--layers", "model.layers")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{mapped.model}, fingerprint {mapped.identity.model['fingerprint'][:12]}"
    assert len(lines) == 10
    assert lines[1].startswith("layers           ok ")
    assert lines[1].endswith(" 4 decoder layers of width 64 at model.layers, named by you")
    assert lines[2].startswith("template         ok ")
    assert "{" not in out


def test_a_check_that_failed_is_exit_one(mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = shutil.copytree(mapped.model, tmp_path / "model")
    (model / "chat_template.jinja").write_text(TEMPLATE.replace("['content']", "['content']|upper"))
    code, out, _ = run(capsys, "doctor", model, "--json")
    assert code == 1
    (found,) = objects(out)
    validate("doctor", found)
    assert found["ok"] is False
    assert {c["name"]: c["state"] for c in found["checks"]}["template"] == "failed"


def test_layers_that_are_not_there_fail(mapped: Mapped, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor", mapped.model, "--layers", "model.nowhere")
    assert code == 1
    assert "layers           FAILED          the model has no ModuleList at 'model.nowhere'; it has model.layers" in out


def test_what_is_not_a_number_goes_out_as_null() -> None:
    facts = {"prompts": 3, "token": 4, "margin": float("nan")}
    report = DoctorReport("m", "0" * 64, (Check("reply_equality", "failed", "the replies part", facts),))
    validate("doctor", report.to_json())
    assert report.to_json()["checks"][0]["facts"]["margin"] is None
    slow = DoctorReport("m", "", (Check("tokenizer", "failed", "a slow tokenizer"),))
    validate("doctor", slow.to_json())
