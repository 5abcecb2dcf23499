"""The tokenizer of a GGUF against the Hugging Face tokenizer of the same model, and what it says of odd texts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

from homing.engine.llamacpp.carrier import find_carrier
from homing.engine.llamacpp.context import Weights
from homing.engine.llamacpp.tokens import GgufTokenizer
from homing.engine.template import ChatTemplate
from homing.errors import InputError, TemplateError
from homing.testing.tiny_gguf import write_gguf

SCRIPTS = (
    *[(0x20, 0x7E)] * 6, (0x09, 0x0D), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x4FF), (0x590, 0x6FF), (0x900, 0xDFF),
    (0xE00, 0xE7F), (0x2000, 0x206F), (0x2070, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
    (0xE000, 0xE0FF), (0xFE00, 0xFE0F), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF),
)  # fmt: skip
WORDS = (  # noqa: SIM905
    "the of and don't I'll we've it's they're 1234 56,789.00 3.14 <|im_start|> <|im_end|> <|endoftext|> ... -- !!!"
    " def foo(): return x+1 http://a.b/c?d=e \n \n\n\n \t"
).split(" ")
GAPS = (" ", "", "  ", "\n", " \n")


def strings(n: int, seed: int = 0) -> Iterator[str]:
    """Texts of words with odd gaps, of one script, and of all mixed."""
    r = random.Random(seed)
    for k in range(n):
        if k % 3 == 0:
            yield "".join(chr(r.randint(*r.choice(SCRIPTS))) for _ in range(r.randint(1, 40)))
        elif k % 3 == 1:
            yield "".join(r.choice(WORDS) + r.choice(GAPS) for _ in range(r.randint(1, 20)))
        else:
            low, high = r.choice(SCRIPTS)
            yield "".join(
                chr(r.randint(low, high)) if r.random() < 0.7 else r.choice(" \n'1a") for _ in range(r.randint(1, 40))
            )


@pytest.fixture(scope="module")
def embedded(smol: Path) -> Iterator[GgufTokenizer]:
    del smol
    from homing.models.sources import locate

    path = locate("smollm2").path
    assert path is not None
    weights = Weights(find_carrier(), path)
    yield GgufTokenizer(weights)
    weights.close()


def test_ten_thousand_strings(embedded: GgufTokenizer, smol: Path) -> None:
    transformers = pytest.importorskip("transformers")
    rival: Any = transformers.AutoTokenizer.from_pretrained(smol)
    differing: list[str] = []
    for text in strings(10_000):
        ours = embedded(text)
        theirs = rival(text, add_special_tokens=False, return_offsets_mapping=True)
        if list(ours["input_ids"]) != theirs["input_ids"] or ours["offset_mapping"] != theirs["offset_mapping"]:
            differing.append(text)
    assert not differing, (len(differing), differing[:3])


def test_specials_and_template(embedded: GgufTokenizer) -> None:
    template = ChatTemplate.from_tokenizer(embedded)
    assert template.special == {
        "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>", "pad_token": "<|im_end|>",
    }  # fmt: skip
    assert template.supports_system
    assert embedded("<|im_end|>")["input_ids"] == (2,)
    assert embedded("") == {"input_ids": (), "offset_mapping": []}


def test_a_character_of_many_tokens(embedded: GgufTokenizer) -> None:
    got = embedded("a😀b")
    assert [("a😀b"[a:b]) for a, b in got["offset_mapping"]] == ["a", "😀", "😀", "😀", "b"]


def test_half_a_character_is_refused(embedded: GgufTokenizer) -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        embedded("a\ud800b")


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[GgufTokenizer]:
    write_gguf(tmp_path / "m.gguf", "llama", seed=0)
    weights = Weights(find_carrier(), tmp_path / "m.gguf")
    yield GgufTokenizer(weights)
    weights.close()


@pytest.mark.parametrize(
    ("pieces", "places"),
    [
        ((b" Hello", b" world"), [(0, 5), (5, 11)]),  # SentencePiece's space before the first word
        ((b"Hello", b" wor", b"ld"), [(0, 5), (5, 9), (9, 11)]),
    ],
)
def test_places_by_pieces(
    tiny: GgufTokenizer, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], places: list[tuple[int, int]]
) -> None:
    _pretend(tiny, monkeypatch, pieces)
    assert tiny("Hello world")["offset_mapping"] == places


@pytest.mark.parametrize("pieces", [(b"hello", b" world"), (b"Hello",), (b"Hello", b" world", b"!")])
def test_a_tokenizer_that_changes_the_text_is_refused(
    tiny: GgufTokenizer, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]
) -> None:
    _pretend(tiny, monkeypatch, pieces)
    with pytest.raises(TemplateError, match=r"changes the text near .*; run this model on torch"):
        tiny("Hello world")


def _pretend(tokenizer: GgufTokenizer, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]) -> None:
    of: Callable[..., bytes] = lambda token, special=False: pieces[token]  # noqa: E731
    monkeypatch.setattr(tokenizer.weights, "piece", of)
    monkeypatch.setattr(tokenizer.weights, "tokenize", lambda text: tuple(range(len(pieces))))
