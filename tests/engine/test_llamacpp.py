"""The llama.cpp engine on tiny random models of four architectures, with the compiled callback and with the Python one."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

from homing.engine.base import Act, Gate, Job, MeanRead, Read, Sampling
from homing.engine.llamacpp import LlamaEngine, carrier
from homing.engine.llamacpp import engine as engine_module
from homing.engine.llamacpp import guard as guard_module
from homing.engine.llamacpp.callback import Op, Program, Tables, compiled, dot
from homing.engine.llamacpp.carrier import find_carrier, layout_of, load
from homing.engine.llamacpp.context import Context, Weights
from homing.engine.llamacpp.guard import ThreadGuard
from homing.errors import MissingExtra, ModelError, TooLong
from homing.testing.conformance import SUITE, Subject, directions
from homing.testing.tiny_gguf import ARCHITECTURES, write_gguf

TEXTS = (
    "The capital of France", "Once upon a time there was", "In 1969 two men", "def add(a, b): return",
    "The vampire looked at", "My grandmother always",
)  # fmt: skip
CALLBACKS = [
    "python",
    pytest.param("compiled", marks=pytest.mark.skipif(compiled() is None, reason="the callback was not compiled")),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder, made = tmp_path_factory.mktemp("gguf"), dict[str, Path]()

    def get(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = write_gguf(folder / f"{architecture}.gguf", architecture)  # type: ignore[arg-type]
        return made[architecture]

    return get


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=CALLBACKS)
async def subject(architecture: str, request: pytest.FixtureRequest, model: Any) -> AsyncIterator[Subject]:
    e = LlamaEngine(model(architecture), slots=8, threads=1, python_callback=request.param == "python", remember=True)
    yield Subject(e, tuple(e.weights.tokenize(t) for t in TEXTS), lambda t: e._decode(list(t)))
    await e.close()


@pytest.mark.parametrize("check", SUITE, ids=lambda c: c.__name__)
async def test_conformance(check: Callable[[Subject], Awaitable[None]], subject: Subject) -> None:
    await check(subject)


async def _everything(path: Path, python: bool) -> list[Any]:
    e = LlamaEngine(path, slots=4, threads=1, python_callback=python)
    a, b = directions(e)
    layers = tuple(range(e.info.layers))
    acts = (
        Act("floor", a.id, layers[1:], (0.5,) * (len(layers) - 1), strength=0.7),
        Act("ablate", b.id, layers[:1]), Act("add", a.id, layers[-1:], strength=0.3),
        Act("ceiling", b.id, layers[1:2], (0.1,)),
        Act("add", b.id, layers[2:], strength=0.2, gate=Gate(a.id, layers[1], 0.0)),
    )  # fmt: skip
    job = Job(
        e.weights.tokenize(TEXTS[0]),
        sampling=Sampling(8),
        acts=acts,
        reads=(Read(a.id, layers),),
        means=(MeanRead(layers),),
    )
    stream = e.submit(job)
    steps = [s async for s in stream]
    result = await stream.result()
    await e.close()
    return [
        [(s.token, s.logprob, s.readings, s.fired) for s in steps],
        result.means[0].tolist(),
        result.prompt_fired[0].tolist(),
    ]


@pytest.mark.skipif(compiled() is None, reason="the callback was not compiled")
async def test_both_callbacks_do_the_same_to_the_bit(architecture: str, model: Any) -> None:
    assert await _everything(model(architecture), True) == await _everything(model(architecture), False)


def test_inner_products_are_those_of_double_precision() -> None:
    rng = np.random.default_rng(0)
    for hidden in (1, 15, 16, 17, 64, 100):
        h, v = rng.standard_normal((5, hidden)).astype(np.float32), rng.standard_normal(hidden).astype(np.float32)
        assert np.allclose(dot(h, v), h.astype(np.float64) @ v.astype(np.float64), atol=1e-5)


def _logits(w: Weights, tables: Tables | None, slots: Sequence[int], library: Any) -> np.ndarray:
    """Logits of two sequences of four tokens in one decode, rows of the one between those of the other."""
    pool = Context(w, tables, library, cells=256, sequences=4, threads=1)
    n = 8
    sequences = [i % 2 for i in range(n)]
    if tables is not None:
        none = np.full(n, -1, np.int32)
        slot = np.array([slots[s] for s in sequences], np.int32)
        tables.begin(slot, np.zeros(n, np.int32), none, np.ones(n, np.uint8), np.arange(n))
    pool.decode([5, 9, 17, 4, 33, 2, 8, 60], [i // 2 for i in range(n)], sequences, np.ones(n, bool))
    out = np.stack([pool.logits(i).copy() for i in range(n)])
    pool.close()
    return out


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_callback_that_does_nothing_changes_no_bit_and_a_cap_only_its_own_row(
    architecture: str, callback: str, model: Any
) -> None:
    w = Weights(find_carrier(), model(architecture))
    library = compiled() if callback == "compiled" else None
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((w.layers, w.hidden)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def tables(threshold: float) -> Tables:
        t = Tables(w.hidden, w.layers, 2048)
        ops = tuple(Op(i, "floor", vectors[i], threshold, 1.0, (0, 1, 2), -1, i) for i in range(w.layers))
        t.programs([Program(ops)])
        t.reading({"v": {i: vectors[i] for i in range(w.layers)}})
        return t

    plain = _logits(w, None, (), None)
    assert np.array_equal(_logits(w, tables(float("-inf")), (0, 0), library), plain)
    one = _logits(w, tables(5.0), (-1, 0), library)
    assert np.array_equal(one[0::2], plain[0::2])
    assert not np.array_equal(one[1::2], plain[1::2])
    w.close()


async def test_a_prompt_over_one_ubatch_and_one_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,300 tokens: three ubatches of one decode, or eleven decodes of one ubatch."""
    path = write_gguf(tmp_path / "long.gguf", "llama", context=2048)
    rng = np.random.default_rng(1)
    tokens = tuple(int(t) for t in rng.integers(0, 256, 1300))

    async def read(rows: int) -> np.ndarray:
        monkeypatch.setattr(engine_module, "ROWS", rows)
        e = LlamaEngine(path, slots=2, threads=1)
        a, _ = directions(e)
        job = Job(tokens, sampling=Sampling(2), reads=(Read(a.id, (0, 3), frozenset({"prompt"})),))
        result = await e.submit(job).result()
        await e.close()
        return result.prompt_readings[0]

    whole, cut = await read(2048), await read(128)
    assert np.isfinite(whole).all()
    assert np.allclose(whole, cut, rtol=1e-4, atol=1e-4)


def test_a_running_state_is_refused_by_name(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be cut at a token, and its rows do not come in the order that they were submitted in."""
    monkeypatch.setattr(Weights, "keeps_state", property(lambda self: True))
    with pytest.raises(ModelError, match=r"'llama', which keeps a running state .* Known to work: llama"):
        LlamaEngine(model("llama"), slots=2, threads=1)


def test_a_graph_that_hides_a_layer_is_refused_by_name(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tables, "reading", lambda self, directions: None)  # no layer is ever asked for
    with pytest.raises(
        ModelError, match="architecture 'llama', whose graph does not show the residual stream of layer 0"
    ):
        LlamaEngine(model("llama"), slots=2, threads=1)


@pytest.mark.parametrize("size", [0, 3, 100, 5000])
def test_a_file_that_is_cut_short_is_one_sentence(size: int, model: Any, tmp_path: Path) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(model("llama").read_bytes()[:size])
    with pytest.raises(ModelError, match=r"cannot open .*short\.gguf"):
        Weights(find_carrier(), path)


def test_more_rows_than_cells(model: Any) -> None:
    w = Weights(find_carrier(), model("llama"))
    pool = Context(w, None, None, cells=256, sequences=2, threads=1)
    n = pool.cells + 1
    with pytest.raises(TooLong, match="has no room"):
        for start in range(0, n, 64):
            at = range(start, min(n, start + 64))
            pool.decode([1] * len(at), list(at), [0] * len(at), np.zeros(len(at), bool))
    pool.close()
    w.close()


def _image(callback: int = 88, gap: int = 5) -> bytearray:
    """Default parameters as a version of the library might lay them out."""
    raw = bytearray(256)
    raw[:16] = struct.pack("4I", 512, 2048, 512, 1)
    factors = callback - 24 - (callback - 24) % 8
    raw[factors - 12 : factors - 8] = struct.pack("i", -1)
    raw[factors : factors + 16] = struct.pack("f", -1.0) * 4
    raw[factors + 20 : factors + 24] = struct.pack("f", -1.0)
    raw[callback : callback + 24] = struct.pack("QQii", 0, 0, 1, 1)
    raw[callback + 24 + 8 * gap : callback + 30 + 8 * gap] = bytes((0, 1, 1, 1, 1, 0))
    return raw


@pytest.mark.parametrize(("callback", "gap"), [(72, 2), (88, 2), (88, 3)])
def test_layouts_are_found_by_default_values(callback: int, gap: int) -> None:
    found = layout_of(bytes(_image(callback, gap)))
    assert (found.callback, found.unified) == (callback, callback + 24 + 8 * gap + 5)


@pytest.mark.parametrize(
    ("at", "words"),
    [(0, "no sizes"), (64, "no scaling factors"), (84, "no threshold"), (52, "no flash"), (88, "no callback")],
)
def test_a_layout_that_is_not_known_is_refused(at: int, words: str) -> None:
    raw = _image()
    raw[at : at + 4] = b"\x07\x07\x07\x07"
    with pytest.raises(ValueError, match=words):
        layout_of(bytes(raw))


def test_a_library_without_the_functions_names_version_and_mend(tmp_path: Path) -> None:
    import _ctypes

    with pytest.raises(
        ModelError, match=r"xllamacpp 1\.0 does not export llama_backend_init .*pip install xllamacpp=="
    ):
        load("xllamacpp", "1.0", Path(_ctypes.__file__))
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")
    with pytest.raises(ModelError, match=r"xllamacpp 1\.0 cannot be opened"):
        load("xllamacpp", "1.0", broken)


class _Threads:
    """A context of which only the number of threads matters."""

    threads = 2

    def set_threads(self, threads: int) -> None:
        self.threads = threads


def test_a_busy_neighbour_costs_threads_not_hours() -> None:
    c: Any = _Threads()
    guard = ThreadGuard(2, again=5)
    for _ in range(20):
        guard.saw(c, 1, 0.01)
    guard.saw(c, 1, 5.0)
    guard.saw(c, 1, 0.01)  # a single slow step is no neighbour
    assert c.threads == 2
    for _ in range(3):
        guard.saw(c, 1, 5.0)
    assert (c.threads, guard.dropped) == (1, 1)
    for _ in range(5):
        guard.saw(c, 1, 0.02)
    assert c.threads == 2 and guard.again == 10
    for _ in range(50):
        guard.saw(c, 8, 0.05)  # larger batches have a time of their own
    assert c.threads == 2


@pytest.mark.parametrize(("slowed", "threads"), [(1, 2), (50, 1)])
def test_a_neighbour_that_was_there_before_is_seen_too(
    slowed: int, threads: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    c: Any = _Threads()
    clock = [0.0]
    monkeypatch.setattr(guard_module.time, "perf_counter", lambda: clock[0])

    def once() -> None:
        clock[0] += 0.01 if c.threads == 1 else 0.006 * slowed

    guard = ThreadGuard(2)
    guard.settle(c, once)
    assert (c.threads, guard.dropped) == (threads, slowed > 1)
    assert ("something else keeps the processor busy" in caplog.text) == (slowed > 1)


def test_no_wheel_and_windows_are_one_sentence_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "_candidates", lambda: [])
    with pytest.raises(MissingExtra, match=r"llama.cpp library that runs a GGUF.*pip install xllamacpp=="):
        find_carrier.__wrapped__()
    monkeypatch.setattr(carrier.sys, "platform", "win32")
    with pytest.raises(ModelError, match="not run on Windows: its wheels export no functions; use WSL, or torch"):
        find_carrier.__wrapped__()


def test_a_wheel_of_llama_cpp_python_is_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, file in (("llama_cpp", "lib/libllama.so"), ("xllamacpp", "xllamacpp.abi3.so")):
        (tmp_path / package / file).parent.mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / file).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert [c[0] for c in carrier._candidates()] == ["llama-cpp-python", "xllamacpp"]
