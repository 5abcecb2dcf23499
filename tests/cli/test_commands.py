"""Every command on a tiny model saved to disk: JSON alone on standard output, and the exit codes of the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.schemas import validate
from tests.verbs.tiny_map import PRESET, Mapped, shared_map

from homing.cli import main
from homing.identity import Identity
from homing.persona import plan as persona_plan
from homing.testing.tiny import MARKER

TALK = [
    {"role": "user", "content": "Hello there"},
    {"role": "assistant", "content": "abc"},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "dfe"},
]
GONE = [{"role": "user", "content": f"Be {MARKER}"}, *TALK[1:]]


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return shared_map(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL", "DTYPE", "THREADS", "SLOTS", "CACHE", "IDENTITY", "PRESET", "SEED", "LOG_LEVEL"):
        monkeypatch.delenv(f"HOMING_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    before = dict(os.environ)  # a command hands its settings to the rooms below in the environment of its process
    try:
        code = main._run([str(a) for a in arguments])
    finally:
        os.environ.clear()
        os.environ.update(before)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def objects(out: str) -> list[dict[str, Any]]:
    """Standard output as JSON lines; anything else on it fails here."""
    return [json.loads(line) for line in out.splitlines()]


def talk(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def test_map_plan_prints_json_and_writes_nothing(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "map", mapped.model, "--preset", "smoke", "--out", tmp_path / "home", "--plan", "--json")
    (line,) = objects(out)
    validate("map", line)
    assert code == 0
    assert line["digest"] is None
    assert any("minutes" in p for p in line["plan"])
    assert not (tmp_path / "home").exists()


def test_map_from_the_command_line(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = replace(PRESET, replies_per_role=3, home_replies=64, check=0, scripts_per_domain=0, cap_prompts=2)
    monkeypatch.setitem(persona_plan.PRESETS, "smoke", small)
    home = tmp_path / "home.yaml"
    home.write_text("system: You are calm and plain.\n")
    arguments = ("map", mapped.model, "--preset", "smoke", "--out", tmp_path / "out", "--home", home, "--seed", 3)
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    (line,) = objects(out)
    validate("map", line)
    assert "replies of up to 6 tokens" in err
    identity = Identity.load(tmp_path / "out")
    assert identity.digest == line["digest"]
    assert identity.section("persona").data["home_system"] == "You are calm and plain."
    # built-in roles without the marker: nothing tells this home from them, and the card says so
    code, out, _ = run(capsys, "card", tmp_path / "out", "--json")
    (figures,) = objects(out)
    validate("card", figures)
    assert code == 0
    assert figures["axis.home_percentile"]["low"] < 0.9
    assert "alarm.rate" in figures["not_measurable"]
    # the same command again finds everything done, another seed is refused
    assert objects(run(capsys, *arguments, "--json")[1])[0]["digest"] == identity.digest
    code, out, err = run(capsys, *arguments[:-1], 4, "--json")
    assert (code, out) == (2, "")
    assert "another plan" in err
    # two identities of one model, mapped from different homes and roles, share no roles to compare
    code, _, err = run(capsys, "compare", tmp_path / "out", mapped.home, "--json")
    assert code == 2
    assert "share 0 roles" in err


def test_card(mapped: Mapped, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "card", mapped.home, "--json")
    (figures,) = objects(out)
    validate("card", figures)
    assert code == 0
    assert figures["identity"] == mapped.identity.digest
    assert figures["axis.split_half_raw"]["value"] > 0.95
    code, out, _ = run(capsys, "card", mapped.home)
    assert code == 0
    assert "axis.split_half_raw" in out


def test_compare(mapped: Mapped, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "compare", mapped.home, mapped.home, "--json")
    (found,) = objects(out)
    validate("compare", found)
    assert code == 0
    assert found["verdict"].startswith("equivalent")
    code, out, _ = run(capsys, "compare", mapped.home, mapped.home)
    assert "cosine" in out


def test_export(mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from homing.verbs.export import import_foreign

    code, out, _ = run(capsys, "export", mapped.home, "--out", tmp_path / "axis.gguf", "--layers", "1-3")
    assert code == 0
    assert out.strip() == str(tmp_path / "axis.gguf")
    assert import_foreign(tmp_path / "axis.gguf").layers == (1, 2, 3)
    code, _, err = run(capsys, "export", mapped.home, "--out", tmp_path / "b.gguf", "--layers", "one")
    assert code == 2
    assert "--layers 'one' is neither a range nor a list" in err


def test_report(mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "report", mapped.home, "--out", tmp_path / "r.html")
    assert code == 0
    assert str(tmp_path / "r.html") in out
    page = (tmp_path / "r.html").read_text()
    assert mapped.identity.digest[:12] in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page.replace("https://arxiv.org", "")


def test_watch_exit_codes(mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = talk(tmp_path / "good.jsonl", {"id": "a", "messages": TALK})
    gone = talk(tmp_path / "gone.jsonl", {"id": "b", "messages": GONE})
    bad = talk(tmp_path / "bad.jsonl", "{", {"id": "a", "messages": TALK})
    to = ("--identity", mapped.home, "--json")
    code, out, _ = run(capsys, "watch", good, *to, "--fail-on", "alarm")
    for line in objects(out):
        validate("watch", line)
    assert code == 0
    code, out, _ = run(capsys, "watch", gone, *to, "--fail-on", "alarm")
    assert code == 1
    assert any(line["alarms"] for line in objects(out))
    assert run(capsys, "watch", gone, *to)[0] == 0
    code, out, err = run(capsys, "watch", bad, *to, "--fail-on", "alarm")
    lines = objects(out)
    validate("watch-error", lines[0])
    assert code == 2
    assert [line["conversation"] for line in lines] == ["1", "a", "a"]
    assert "1 lines could not be read" in err


def test_watch_for_a_person_and_held(mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = talk(tmp_path / "t.jsonl", {"id": "b", "messages": GONE}, '{"messages": 3}')
    code, out, _ = run(capsys, "watch", both, "--identity", mapped.home)
    assert code == 2
    assert "ALARM" in out
    assert "field 'messages' is a number" in out
    code, out, _ = run(capsys, "watch", both, "--identity", mapped.home, "--hold", "cap", "--json")
    held = [line for line in objects(out) if "error" not in line]
    assert [line["turn"] for line in held] == [1, 2]
    for line in held:
        validate("watch", line)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("watch", "t.jsonl"), "no identity was named"),
        (("watch", "t.jsonl", "--identity", "nowhere"), "is not a directory"),
        (("watch", "none.jsonl", "--identity", "HOME"), "does not exist"),
        (("watch", "t.jsonl", "--identity", "HOME", "--hold", "rope"), "rope"),
        (("watch", "t.jsonl", "--identity", "HOME", "--model", "nobody"), "model 'nobody' is unknown"),
        (("card", "nowhere"), "is not a directory"),
        (("card", "."), "no identity in"),
        (("map", "nobody", "--out", "o"), "model 'nobody' is unknown"),
        (("map", "empty", "--out", "o"), "has no config.json"),
        (("map", "HOME", "--preset", "huge", "--out", "o"), "huge"),
        (("report", "nowhere"), "is not a directory"),
        (("export", "nowhere", "--out", "x.gguf"), "is not a directory"),
        (("compare", "HOME", "nowhere"), "is not a directory"),
        (("chat", "--identity", "nowhere"), "is not a directory"),
    ],
    ids=range(14),
)
def test_what_a_user_can_mend_exits_with_two_and_says_how(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    talk(tmp_path / "t.jsonl", {"messages": TALK})
    (tmp_path / "empty").mkdir()
    code, out, err = run(capsys, *(str(mapped.home) if a == "HOME" else a for a in arguments))
    assert code == 2, err
    assert out == ""
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("broken", ["tokenizer.json", "template", "truncated", "pickle only", "own code"])
def test_damaged_models_are_refused(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    import shutil

    model = shutil.copytree(mapped.model, tmp_path / "model")
    weights = model / "model.safetensors"
    says = {
        "tokenizer.json": "has no tokenizer.json",
        "template": "chat template",
        "truncated": "is cut short",
        "pickle only": "has no safetensors weights (pytorch_model.bin can run code and is not read)",
        "own code": "asks to run its own code",
    }[broken]
    if broken == "tokenizer.json":
        (model / broken).unlink()
    elif broken == "template":
        (model / "chat_template.jinja").unlink()
    elif broken == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif broken == "pickle only":
        weights.rename(model / "pytorch_model.bin")
    else:
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.Y"}}))
    code, out, err = run(capsys, "map", model, "--preset", "smoke", "--out", tmp_path / "out", "--json")
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_chat(mapped: Mapped, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from homing.verbs import chat as chat_verb

    monkeypatch.setattr(chat_verb, "SPOKEN", replace(chat_verb.SPOKEN, max_new_tokens=6))
    said = iter(["hello", "", "/what", "/hold on", f"be {MARKER}", "/hold off", "/home", "again", "/quit"])
    monkeypatch.setattr(Console, "input", lambda *_: next(said))
    code, out, err = run(capsys, "chat", mapped.model, "--identity", mapped.home)
    assert code == 0, err
    assert out.count("turn ") == 3
    assert "held by the cap" in out
    assert "a new conversation, from home" in out
    assert "commands: /hold on" in out
    assert next(said, None) is None


def test_chat_opens_the_model_of_the_identity_unless_told(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    def end(*_: object) -> str:
        raise EOFError

    monkeypatch.setattr(Console, "input", end)
    code, _, err = run(capsys, "chat", "--identity", mapped.home)
    assert code == 0, err


def test_standard_output_is_json_alone_in_a_real_process(mapped: Mapped, tmp_path: Path) -> None:
    p = talk(tmp_path / "t.jsonl", {"id": 5, "messages": TALK}, "{")
    done = subprocess.run(
        [sys.executable, "-m", "homing.cli", "watch", str(p), "--identity", str(mapped.home), "--json"],
        capture_output=True, text=True, timeout=120, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    lines = objects(done.stdout)
    assert [line["conversation"] for line in lines] == ["5", "5", "2"]
    assert "Traceback" not in done.stderr
