"""Every setting that ``homing config`` prints acts: flag over environment over file over default."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.running import TALK, objects, run, talk
from tests.verbs.tiny_map import Mapped

import homing.verbs.map as map_verb
import homing.verbs.watch as watch_verb
from homing.config import chosen_device
from homing.identity import Identity
from homing.models import sources


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    threads, level = torch.get_num_threads(), logging.getLogger("homing").level
    yield
    torch.set_num_threads(threads)
    logging.getLogger("homing").setLevel(level)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How each model was opened: name, dtype, threads, slots, layers, and the cache and the device that were in force."""
    seen: list[dict[str, Any]] = []
    real = sources.open_model

    def recorded(name: str, **how: Any) -> Any:
        model = real(name, **how)
        seen.append(
            {"name": name, "cache": sources.cache_directory(), "is": model.info.dtype, **how, "device": chosen_device()}
        )
        return model

    monkeypatch.setattr(sources, "open_model", recorded)
    monkeypatch.setattr(watch_verb, "open_model", recorded)
    return seen


@pytest.fixture
def quits(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(Console, "input", lambda *_: "/quit")


def toml(path: Path, **values: Any) -> None:
    rows = (f'{k} = "{v}"' if isinstance(v, str | Path) else f"{k} = {v}" for k, v in values.items())
    (path / "homing.toml").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("command", ["watch", "chat"])
@pytest.mark.usefixtures("quits")
def test_what_opens_a_model_takes_the_settings(
    mapped: Mapped,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    opened: list[dict[str, Any]],
    command: str,
) -> None:
    talks = [talk(tmp_path / "t.jsonl", {"messages": TALK})] if command == "watch" else []
    toml(
        tmp_path, identity=mapped.home, model=mapped.model, dtype="bfloat16", threads=1, slots=3, device="cpu",
        cache_dir=tmp_path / "there",
    )  # fmt: skip
    code, _, err = run(capsys, command, *talks)
    assert code == 0, err
    assert opened[-1] == {
        "name": str(mapped.model), "cache": tmp_path / "there", "is": "bfloat16", "dtype": "bfloat16", "threads": 1,
        "slots": 3, "layers": None, "engine": "torch", "device": "cpu",
    }  # fmt: skip
    assert torch.get_num_threads() == 1
    monkeypatch.setenv("HOMING_DTYPE", "float16")
    monkeypatch.setenv("HOMING_THREADS", "2")
    monkeypatch.setenv("HOMING_SLOTS", "4")
    monkeypatch.setenv("HOMING_CACHE", str(tmp_path / "elsewhere"))
    run(capsys, command, *talks, "--dtype", "float32", "--slots", 5, "--device", "auto")
    assert opened[-1]["device"] == "auto"
    assert {k: opened[-1][k] for k in ("is", "threads", "slots")} == {"is": "float32", "threads": 2, "slots": 5}
    assert opened[-1]["cache"] == tmp_path / "elsewhere"
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("quits")
def test_auto_is_measured_for_chat_and_float32_for_figures(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str], opened: list[dict[str, Any]]
) -> None:
    p = talk(tmp_path / "t.jsonl", {"messages": TALK})
    assert run(capsys, "watch", p, "--identity", mapped.home)[0] == 0
    assert (opened[-1]["dtype"], opened[-1]["is"]) == ("float32", "float32")
    assert run(capsys, "chat", "--identity", mapped.home)[0] == 0
    assert opened[-1]["dtype"] == "auto"


def test_a_half_reads_the_identity_of_its_own_file_and_says_what_it_is(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    p = talk(tmp_path / "t.jsonl", {"messages": TALK})
    code, out, err = run(
        capsys, "watch", p, "--identity", mapped.home, "--dtype", "bfloat16", "--hold", "cap", "--json"
    )
    assert code == 0, err
    assert all(
        any(
            "weights are in bfloat16 on torch, and the alarms were calibrated in float32 on torch" in w
            for w in line["warnings"]
        )
        for line in objects(out)
    )


@pytest.mark.parametrize(
    ("command", "source"),
    [("map", "flag"), ("map", "environment"), ("map", "file"), ("demo", "environment"), ("demo", "file")],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_maps_refuse_halves_from_every_source(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    source: str,
    dtype: str,
) -> None:
    arguments: list[object] = [command, "--out", tmp_path / "out"]
    if source == "flag":
        arguments += ["--dtype", dtype]
    elif source == "environment":
        monkeypatch.setenv("HOMING_DTYPE", dtype)
    else:
        toml(tmp_path, dtype=dtype)
    code, out, err = run(capsys, *arguments)
    where = {"flag": "--dtype", "environment": "environment (HOMING_DTYPE)", "file": str(tmp_path / "homing.toml")}
    assert (code, out) == (2, "")
    assert err == (
        f"error: dtype is {dtype} ({where[source]}), and maps on torch are made in float32 alone, so that they repeat, and"
        " a GGUF is mapped as it is; set it to float32\n"
    )
    assert not (tmp_path / "out").exists()


def test_map_takes_model_preset_seed_threads_slots_and_layers(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Any] = []

    def run_map(plan: Any, **how: Any) -> Identity:
        ran.append((plan, {k: v for k, v in how.items() if k != "progress"}))
        return mapped.identity

    monkeypatch.setattr(map_verb, "run_map", run_map)
    toml(tmp_path, model="file", preset="smoke", seed=7, threads=1, slots=3, dtype="auto")
    assert run(capsys, "map", "--out", tmp_path / "out")[0] == 0
    plan, how = ran[-1]
    assert (plan.model, plan.preset_name, plan.seed) == ("file", "smoke", 7)
    assert how == {"engine": "auto", "threads": 1, "slots": 3, "layers": None}
    monkeypatch.setenv("HOMING_SEED", "8")
    monkeypatch.setenv("HOMING_MODEL", "environment")
    arguments = ("map", "flag", "--out", tmp_path / "out", "--threads", 2, "--layers", "a.b", "--preset", "standard")
    assert run(capsys, *arguments)[0] == 0
    plan, how = ran[-1]
    assert (plan.model, plan.preset_name, plan.seed) == ("flag", "standard", 8)
    assert how == {"engine": "auto", "threads": 2, "slots": 3, "layers": "a.b"}


def test_doctor_takes_threads_and_the_cache_command_its_directory(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml(tmp_path, model=mapped.model, threads=1, cache_dir=tmp_path / "there")
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert "on 1 threads" in out
    assert f"{tmp_path / 'there'} is empty" in run(capsys, "cache", "list")[1]


@pytest.mark.parametrize(
    ("flag", "environment", "file", "level", "source"),
    [
        (None, None, None, "warning", "default"),
        (None, None, "debug", "debug", "homing.toml"),
        (None, "info", "debug", "info", "environment (HOMING_LOG_LEVEL)"),
        ("error", "info", "debug", "error", "flag"),
    ],
)
def test_the_level_of_the_log_acts_and_says_where_it_is_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flag: str | None,
    environment: str | None,
    file: str | None,
    level: str,
    source: str,
) -> None:
    if file is not None:
        toml(tmp_path, log_level=file)
    if environment is not None:
        monkeypatch.setenv("HOMING_LOG_LEVEL", environment)
    before = ("--log-level", flag) if flag is not None else ()
    code, out, _ = run(capsys, *before, "config", "--json")
    assert code == 0
    assert logging.getLogger("homing").level == getattr(logging, level.upper())
    assert logging.getLogger("homing.models").isEnabledFor(getattr(logging, level.upper()))
    said = objects(out)[0]["settings"]["log_level"]
    assert said["value"] == level
    assert said["source"].endswith(source)


def test_a_wrong_level_is_refused_where_settings_are_used_and_help_is_still_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml(tmp_path, log_level="loud")
    code, out, err = run(capsys, "config")
    assert (code, out) == (2, "")
    assert "setting log_level = 'loud' from" in err
    (tmp_path / "homing.toml").write_text("log_level = ")
    assert "is not valid TOML" in run(capsys, "config")[2]
    assert run(capsys, "map", "--help")[0] == 0


@pytest.mark.usefixtures("quits")
def test_layers_are_named_for_watch_and_chat_or_remembered_from_the_map(
    mapped: Mapped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    p = talk(tmp_path / "t.jsonl", {"messages": TALK})
    for command in (("watch", p), ("chat",)):
        code, _, err = run(capsys, *command, "--identity", mapped.home, "--layers", "model.nowhere")
        assert code == 2
        assert "no ModuleList at 'model.nowhere'; it has model.layers" in err
        assert run(capsys, *command, "--identity", mapped.home, "--layers", "model.layers")[0] == 0
    facts = dict(mapped.identity.model) | {"layers_path": "model.nowhere"}
    Identity(facts, mapped.identity.sections).save(tmp_path / "named")
    for command in (("watch", p), ("chat",)):
        code, _, err = run(capsys, *command, "--identity", tmp_path / "named")
        assert code == 2
        assert "model.nowhere" in err
        assert run(capsys, *command, "--identity", tmp_path / "named", "--layers", "model.layers")[0] == 0


def test_the_map_opens_the_named_layers_and_remembers_them(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from homing.verbs.plan import plan_map

    class Seen(Exception):
        pass

    def seen(name: str, **how: Any) -> None:
        raise Seen(how["layers"])

    plan = plan_map("m", preset="smoke", out=tmp_path / "out")
    with monkeypatch.context() as patch, pytest.raises(Seen, match=r"^a\.b$"):
        patch.setattr(map_verb, "open_model", seen)
        map_verb.run_map(plan, layers="a.b")
    named, found = (sources.wrap(*pair, layers=layers) for pair, layers in _pairs(mapped))
    assert map_verb.facts(named.info, "m")["layers_path"] == "model.layers"
    assert "layers_path" not in map_verb.facts(found.info, "m")
    named.engine.close_now()
    found.engine.close_now()


def _pairs(mapped: Mapped) -> list[tuple[tuple[Any, Any], str | None]]:
    pair = (mapped.planted.model, mapped.planted.tokenizer)
    return [(pair, "model.layers"), (pair, None)]
