"""`homing test --report`: one page beside the JSON, and the same page later from that JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.running import objects, run
from tests.instruments.tiny_instrument import Tiny
from tests.verbs.tiny_map import Mapped

from homing.instruments import registry
from homing.verbs.test_report import write_test


def test_a_page_is_written_and_again_from_the_document(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": Tiny})
    asked = ("test", mapped.model, "--out", tmp_path / "t", "--preset", "smoke", "--json")
    code, out, err = run(capsys, *asked, "--report", tmp_path / "r.html")
    assert code == 0, err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    (found,) = objects(out)
    assert "homing test · preset smoke" in page and "tiny" in page
    kept = json.loads(json.dumps(found))
    assert write_test(kept, tmp_path / "later.html").read_text(encoding="utf-8") == page
    code, out, err = run(capsys, *asked, "--report", tmp_path / "no" / "r.html")
    assert code == 2 and out == "" and "cannot write the report" in err
