import pytest

from homing.engine.torch import TorchEngine
from homing.testing.conformance import Subject
from homing.testing.tiny import tiny_llama

TEXTS = (
    "The sea is wide and old.",
    "What is a cat?",
    "Tell me of the high mountains, and of those who live there without ever coming down again.",
    "One two three four five six seven eight nine ten eleven twelve.",
    "Héllo ★ wörld",
    "A short line.",
    "Another line that is somewhat longer than the last one was.",
)


@pytest.fixture(scope="session")
def tiny():
    return tiny_llama()


@pytest.fixture
def subject(tiny):
    model, tokenizer = tiny
    engine = TorchEngine(model, tokenizer, slots=8)
    prompts = tuple(tuple(tokenizer(t)["input_ids"]) for t in TEXTS)

    def decode(ids):
        return tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    yield Subject(engine, prompts, decode)
    engine.close_now()
