from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tests.cli.schemas import schema, validate

from homing.cli import config_command, main
from homing.cli.chat_command import WIDTH, meter
from homing.cli.output import figure_lines, plain
from homing.config import load, no_telemetry
from homing.errors import InputError, Interrupted
from homing.verbs.cache import clear_cache, list_cache
from homing.verbs.progress import LineProgress, remaining


def exit_of(raised: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def boom(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(config_command.command, "callback", boom)
    return main._run(["config"])


def test_precedence_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "homing.toml").write_text('model = "file"\nseed = 3\npreset = "full"\n')
    monkeypatch.setenv("HOMING_SEED", "4")
    monkeypatch.setenv("HOMING_MODEL", "env")
    settings = load({"model": "flag", "preset": None})
    assert (settings["model"], settings["seed"], settings["preset"], settings["dtype"]) == ("flag", 4, "full", "auto")
    assert settings.sources["model"] == "flag"
    assert settings.sources["seed"] == "environment (HOMING_SEED)"
    assert settings.sources["preset"].endswith("homing.toml")
    assert settings.sources["dtype"] == "default"


def test_unknown_key_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "homing.toml").write_text("seed = 1\n\nmodle = 'x'\n")
    with pytest.raises(InputError, match=r"homing\.toml, line 3: unknown setting 'modle'"):
        load()


@pytest.mark.parametrize(("name", "value"), [("SEED", "-1"), ("THREADS", "many"), ("PRESET", "huge")])
def test_bad_environment_is_one_sentence(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"HOMING_{name}", value)
    with pytest.raises(InputError, match=f"from environment \\(HOMING_{name}\\)"):
        load()


def test_export_reaches_lower_rooms() -> None:
    environ: dict[str, str] = {}
    load({"threads": 2}).export(environ)
    assert environ["HOMING_THREADS"] == "2"
    assert "HOMING_SLOTS" not in environ


def test_config_and_cache_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "store"
    (root / "m").mkdir(parents=True)
    (root / "m" / "w").write_bytes(b"12345")
    monkeypatch.setenv("HOMING_CACHE", str(root))
    for args, name in ((["config"], "config"), (["cache", "list"], "cache"), (["cache", "clear", "m"], "cache")):
        assert main._run([*args, "--json"]) == 0
        validate(name, json.loads(capsys.readouterr().out))
    assert list_cache(root) == []


def test_cache_never_follows_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    root = tmp_path / "store"
    root.mkdir()
    (root / "link").symlink_to(outside)
    assert [e.name for e in clear_cache(root)] == ["link"]
    assert (outside / "kept").exists()
    with pytest.raises(InputError, match="no entry 'gone'"):
        clear_cache(root, name="gone")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (InputError("no such thing"), 2, "error: no such thing"),
        (Interrupted("go on with x"), 130, "go on with x"),
        (KeyboardInterrupt(), 130, "run the same command again"),
        (ZeroDivisionError("oops"), 70, "this is a bug in homing"),
    ],
)
def test_exit_codes(
    raised: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(raised, monkeypatch) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert ("Traceback" in captured.err) == (code == 70)


def test_usage_errors_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main._run(["bogus"]) == 2
    assert "No such command" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_every_command_prints_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main._run([name, "--help"]) == 0
    assert f"homing {name}" in capsys.readouterr().out


def test_no_telemetry() -> None:
    environ: dict[str, str] = {}
    no_telemetry(environ)
    assert environ == {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def test_text_of_a_model_cannot_drive_the_terminal() -> None:
    assert plain("a\x1b[31mb\x07\x9b2J\u202ec\n\td\r") == "a[31mb2Jc\n\td"


def test_meter_marks_the_place() -> None:
    assert meter(0.0)[WIDTH // 2] == "●"
    assert meter(0.0).index("⌂") == round(0.75 * (WIDTH - 1)) == meter(1.0).index("●")
    assert meter(99.0)[WIDTH - 1] == "●"
    assert meter(-99.0)[0] == "●"
    assert "not read" in meter(None)
    assert "not read" in meter(float("nan"))


def test_line_progress_says_what_is_left() -> None:
    now = [0.0]
    out = io.StringIO()
    progress = LineProgress(out, clock=lambda: now[0])
    progress.start(100, "replies", "map")
    for _ in range(100):
        now[0] += 1.0
        progress.advance()
    lines = out.getvalue().splitlines()
    assert lines[0] == "map: 100 replies"
    assert lines[1] == "map: 10 of 100 replies, about 90 s left" or "2 min left" in lines[1]
    assert lines[-1] == "map: 100 of 100 replies, about 0 s left"
    assert len(lines) == 11
    assert remaining(0, 10, 5.0) == ""


FIGURE = {"value": 0.9, "low": 0.8, "high": None, "level": 0.95, "n": 12}


def test_card_schema_wants_every_key() -> None:
    from jsonschema import ValidationError

    keys = [k for k in schema("card")["required"] if "." in k]
    card = {"schema": "homing.card/1", "identity": "0" * 64, "not_measurable": {}, **dict.fromkeys(keys, FIGURE)}
    validate("card", card)
    assert len(keys) == 12
    assert figure_lines(card).count("n=12") == 12
    for key in keys:
        with pytest.raises(ValidationError):
            validate("card", {k: v for k, v in card.items() if k != key})
    with pytest.raises(ValidationError):
        validate("card", card | {"axis.other": 0.5})


def test_watch_schema() -> None:
    from jsonschema import ValidationError

    alarm = {"detector": "cusum", "turn": 2, "statistic": 4.1, "threshold": 3.0}
    line = {"schema": "homing.watch/1", "conversation": 3, "turn": 2, "position": FIGURE, "drift": FIGURE}
    line |= {"alarms": [alarm], "engaged_tokens": 0}
    validate("watch", line)
    validate("watch-error", {"schema": "homing.watch-error/1", "conversation": 4, "error": {"message": "broken JSON"}})
    with pytest.raises(ValidationError):
        validate("watch", line | {"alarms": [{}]})
