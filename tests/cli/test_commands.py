"""Every command on a tiny model saved to disk: JSON alone on standard output, and the exit codes of the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.running import GONE, TALK, objects, run, talk
from tests.cli.schemas import validate
from tests.verbs.tiny_map import PRESET, Mapped

from homing.hold.cap import Cap
from homing.identity import Identity
from homing.persona import plan as persona_plan
from homing.testing.tiny import MARKER


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


def test_watch_reads_a_directory(mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "talks"
    (folder / "deep").mkdir(parents=True)
    talk(folder / "b.jsonl", {"id": "second", "messages": TALK}, "{")
    talk(folder / "a.jsonl", {"id": "first", "messages": TALK})
    talk(folder / "deep" / "c.json", json.dumps([{"id": "third", "messages": TALK}]))
    (folder / "notes.txt").write_text("not a transcript")
    code, out, err = run(capsys, "watch", folder, "--identity", mapped.home, "--json")
    lines = objects(out)
    for line in lines:
        validate("watch-error" if "error" in line else "watch", line)
    assert code == 2
    assert [line["conversation"] for line in lines] == ["first", "first", "second", "second", "2", "third", "third"]
    assert lines[4]["error"]["file"] == str(folder / "b.jsonl")
    assert "1 lines could not be read; the rest was" in err
    (folder / "b.jsonl").unlink()
    assert run(capsys, "watch", folder, "--identity", mapped.home)[0] == 0
    (tmp_path / "none").mkdir()
    code, out, err = run(capsys, "watch", tmp_path / "none", "--identity", mapped.home)
    assert (code, out) == (2, "")
    assert "holds no transcript; expected files ending in" in err


def flipped(mapped: Mapped, directory: Path) -> Path:
    """The identity with the cap a ceiling where a floor was meant: it lowers what it should raise."""
    section = mapped.identity.section("cap")
    cap = replace(Cap.from_section(section.data["cap"], section.arrays), kind="ceiling")
    data, arrays = cap.to_section()
    made = replace(section, data={**section.data, "cap": data}, arrays={**section.arrays, **arrays})
    return mapped.identity.with_section("cap", made).save(directory)


def test_a_flipped_cap_is_refused_before_a_line_is_written(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    p = talk(tmp_path / "t.jsonl", {"messages": TALK})
    home = flipped(mapped, tmp_path / "flipped")
    code, out, err = run(capsys, "watch", p, "--identity", home, "--hold", "cap", "--json")
    assert (code, out) == (2, "")
    assert "error: the cap of this identity is refused" in err
    assert "lowers what it should raise" in err
    assert run(capsys, "watch", p, "--identity", home)[0] == 0
    code, _, err = run(capsys, "chat", "--identity", home, "--hold", "cap")
    assert code == 2
    assert "lowers what it should raise" in err


def test_chat_goes_on_unheld_where_the_cap_is_refused(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    said = iter(["/hold on", "/hold off", "/quit"])
    monkeypatch.setattr(Console, "input", lambda *_: next(said))
    code, out, err = run(capsys, "chat", "--identity", flipped(mapped, tmp_path / "flipped"))
    assert code == 0, err
    assert "error: the cap of this identity is refused" in out
    assert "held by the cap" not in out
    assert "not held" in out


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
    assert out.count("warning: 3 turns, but the alarms were calibrated on 2") == 0
    assert next(said, None) is None


def test_chat_prints_each_warning_once_and_outlives_a_message_that_is_too_long(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from homing.verbs import chat as chat_verb

    monkeypatch.setattr(chat_verb, "SPOKEN", replace(chat_verb.SPOKEN, max_new_tokens=6))
    said = iter(["one", "two", "x" * 3000, "three", "four", "y" * 1500, "z" * 1500, "/quit"])
    monkeypatch.setattr(Console, "input", lambda *_: next(said))
    code, out, err = run(capsys, "chat", mapped.model, "--identity", mapped.home)
    assert code == 0, err
    text = " ".join(out.split())
    assert text.count("turns, but the alarms were calibrated on 2") == 1
    assert "warning: 3 turns, but the alarms were calibrated on 2" in text
    assert text.count("error: ") == 1
    assert "do not fit in the context of 2048" in text
    assert text.count("longer than the context") == 1
    assert text.count("turn ") >= 6


@pytest.mark.parametrize(
    ("shell", "says"),
    [
        ("bash", "complete -o nosort -F _homing_completion homing"),
        ("zsh", "#compdef homing"),
        ("fish", "complete --no-files --command homing"),
    ],
)
def test_completion_prints_the_script_of_the_shell(shell: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "completion", shell)
    assert code == 0, err
    assert says in out
    assert f"_HOMING_COMPLETE={shell}_complete" in out
    assert err == ""


def test_completion_of_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "completion", "tcsh")
    assert (code, out) == (2, "")
    assert "'tcsh' is not one of" in err


def test_what_the_completion_script_calls_answers_with_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "homing.cli"],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"_HOMING_COMPLETE": "bash_complete", "COMP_WORDS": "homing w", "COMP_CWORD": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["plain,watch"], done.stderr


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
