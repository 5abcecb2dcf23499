"""The reference engine on the embedded model: the same text alone and in company, and the reading of every token."""

# pyright: basic
from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homing import Conversation
from homing.engine.base import Act, Direction, Job, MeanRead, Read, Sampling
from homing.engine.template import ChatTemplate
from homing.persona import load_questions, load_roles
from homing.testing.conformance import alone_and_in_company

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def loaded(smol: Path) -> tuple[Any, Any]:
    from homing.models.sources import Source, load_hf

    return load_hf(Source("directory", "smollm2", smol), threads=2)


@pytest.fixture
async def engine(loaded: tuple[Any, Any]) -> AsyncIterator[Any]:
    from homing.engine.torch import TorchEngine

    engine = TorchEngine(*loaded, slots=32)
    yield engine
    await engine.close()


def prompts(tokenizer: Any, n: int) -> list[tuple[int, ...]]:
    template = ChatTemplate.from_tokenizer(tokenizer)
    roles, questions = load_roles(), load_questions()
    return [
        template.encode(
            Conversation.of(questions[(7 * i) % len(questions)].text, system=roles[i % len(roles)].prompts[0]),
            tokenizer,
        ).tokens
        for i in range(n)
    ]


async def test_a_row_says_the_same_alone_and_in_company(engine: Any, loaded: tuple[Any, Any]) -> None:
    got = await alone_and_in_company(engine, prompts(loaded[1], 8), new_tokens=12)
    assert not got.differing, f"{got}"


@pytest.mark.slow
async def test_two_hundred_rows_say_the_same_alone_and_in_company(engine: Any, loaded: tuple[Any, Any]) -> None:
    for sampling in (Sampling(), Sampling(temperature=0.7, top_p=0.9)):
        got = await alone_and_in_company(engine, prompts(loaded[1], 200), new_tokens=24, sampling=sampling)
        print(f"RESULT temperature {sampling.temperature}: {got}")
        assert not got.differing, f"{got}"


async def test_readings_and_means_equal_an_offline_pass_to_the_last_token(engine: Any, loaded: tuple[Any, Any]) -> None:
    rng = np.random.default_rng(0)
    layers = tuple(range(engine.info.layers))
    d = Direction("any", layers, rng.standard_normal((len(layers), engine.info.hidden)).astype(np.float32))
    engine.register(d)
    read, mean = Read(d.id, layers), MeanRead(layers)
    for prompt in prompts(loaded[1], 3):
        stream = engine.submit(Job(prompt, sampling=Sampling(12), reads=(read,), means=(mean,)))
        steps = [s async for s in stream]
        result = await stream.result()
        live = np.array([s.readings[0] for s in steps], np.float32)
        offline = (await engine.score(prompt, [result.tokens], reads=(read,), means=(mean,)))[0]
        scale = np.abs(offline.readings[0]).max()
        assert live.shape == offline.readings[0].shape == (len(result.tokens), len(layers))
        assert np.abs(live - offline.readings[0]).max() <= 1e-4 * scale
        assert np.abs(result.means[0] - offline.means[0]).max() <= 1e-4 * np.abs(offline.means[0]).max()


async def test_greedy_replies_equal_generate(engine: Any, loaded: tuple[Any, Any]) -> None:
    import torch

    model, _ = loaded
    for prompt in prompts(loaded[1], 3):
        result = await engine.submit(Job(prompt, sampling=Sampling(16))).result()
        with torch.no_grad():
            out = model.generate(torch.tensor([prompt]), max_new_tokens=16, do_sample=False)
        theirs = tuple(int(t) for t in out[0, len(prompt) :])
        assert result.tokens == theirs[: len(result.tokens)]


async def test_the_model_is_bit_equal_afterwards(loaded: tuple[Any, Any]) -> None:
    import torch

    from homing.engine.torch import TorchEngine

    model, tokenizer = loaded
    prompt = torch.tensor([prompts(tokenizer, 1)[0]])
    with torch.no_grad():
        before = model(prompt).logits
    engine = TorchEngine(model, tokenizer, slots=4)
    layers = (16, 17)
    d = Direction("push", layers, np.ones((2, engine.info.hidden), np.float32))
    engine.register(d)
    act = Act("floor", d.id, layers, (50.0, 50.0))
    held = await engine.submit(Job(tuple(prompt[0].tolist()), sampling=Sampling(6), acts=(act,))).result()
    await engine.close()
    with torch.no_grad():
        after = model(prompt).logits
    assert held.prompt_fired[0].max() > 0
    assert torch.equal(before, after)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
