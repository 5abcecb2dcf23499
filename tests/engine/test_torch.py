import asyncio

import numpy as np
import pytest
import torch

from homing.engine import Act, Job, MeanRead, Read, Sampling, ScoreJob, ThinkMarkers
from homing.engine.rows import Detok
from homing.engine.torch import TorchEngine
from homing.errors import Busy, EngineError
from homing.testing.conformance import directions
from homing.testing.families import FAMILIES, family_model
from homing.testing.tiny import planted_model, tiny_llama, tiny_tokenizer


def _state(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def _hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


async def test_greedy_equals_generate(subject, tiny):
    model, _ = tiny
    jobs = [Job(p, sampling=Sampling(20)) for p in subject.prompts]
    for job, stream in zip(jobs, subject.engine.submit_all(jobs), strict=True):
        got = (await stream.result()).tokens
        ids = torch.tensor([job.tokens])
        want = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        want = want[0, len(job.tokens) :].tolist()
        assert got == tuple(t for t in want if t != 258)


async def test_a_batch_that_is_never_empty_takes_no_more_room():
    """As in a busy service: the next row comes before the last one ends. What each says is what it says alone."""
    engine = TorchEngine(*tiny_llama(), slots=4)
    jobs = [Job(tuple(range(5, 9 + k % 7)), sampling=Sampling(12 + 5 * (k % 6), stop_tokens=())) for k in range(60)]
    batch = engine._loop.batch
    columns, said = [], []
    streams = [engine.submit(job) for job in jobs[:8]]  # four wait, so that a row's place is taken at once
    for k in range(len(jobs)):
        if k + 8 < len(jobs):
            streams.append(engine.submit(jobs[k + 8]))
        said.append((await streams[k].result()).tokens)
        columns.append(batch._cache.columns)
    assert max(columns) <= 128, "of the longest row, a third more, and what the next may say"
    for k in (0, 17, 41, 59):
        assert (await engine.submit(jobs[k]).result()).tokens == said[k]
    await engine.close()


async def test_readings_equal_an_offline_recomputation_from_hidden_states(subject, tiny):
    model, _ = tiny
    a, _ = directions(subject.engine)
    layers = (0, 1, 2, 3)
    p = subject.prompts[0]
    job = Job(p, sampling=Sampling(12, stop_tokens=()), reads=(Read(a.id, layers),), means=(MeanRead(layers),))
    stream = subject.engine.submit(job)
    steps = [s async for s in stream]
    result = await stream.result()
    # hidden_states[i + 1] is layer i's output, but the last one is normed
    outputs = {}
    handles = [
        m.register_forward_hook(lambda _m, _a, out, i=i: outputs.__setitem__(i, out))
        for i, m in enumerate(model.model.layers)
    ]
    with torch.no_grad():
        hidden = model(torch.tensor([p + result.tokens]), output_hidden_states=True).hidden_states
    for h in handles:
        h.remove()
    for i in layers[:-1]:
        assert torch.equal(hidden[i + 1], outputs[i])
    live = np.array([s.readings[0] for s in steps])
    assert live.shape == (12, 4)
    for i in layers:
        rows = outputs[i][0, len(p) :].numpy()
        np.testing.assert_allclose(live[:, i], rows @ a.at(i), rtol=1e-4, atol=1e-4 * np.abs(live).max())
        np.testing.assert_allclose(result.means[0][i], rows.mean(0), rtol=1e-4, atol=1e-4)


async def test_model_is_bit_equal_after_close_cancel_and_exception(tiny):
    model, tokenizer = tiny
    before, hooks = _state(model), _hooks(model)  # transformers leaves hooks of its own after output_hidden_states
    ids = torch.tensor([tokenizer("hello there")["input_ids"]])
    with torch.no_grad():
        logits = model(ids).logits
    engine = TorchEngine(model, tokenizer, slots=4)
    a, _ = directions(engine)
    acts = (Act("add", a.id, (1, 2), strength=5.0),)
    job = Job(tuple(ids[0].tolist()), sampling=Sampling(50, stop_tokens=()), acts=acts)
    running, other = engine.submit_all([job, job])
    async for _ in running:
        break
    running.cancel()
    await running.result()

    def broken(*_args):
        raise RuntimeError("broken on purpose")

    handle = model.model.layers[3].register_forward_hook(broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        await other.result()
    with pytest.raises(RuntimeError, match="on purpose"):
        await engine.score(job.tokens, [job.tokens], acts=acts)
    handle.remove()
    await asyncio.sleep(0.05)
    assert _hooks(model) == hooks
    with torch.no_grad():
        assert torch.equal(model(ids).logits, logits)
    assert (await engine.submit(job).result()).finish == "length"  # the engine lives on
    waiting = engine.submit(job)
    await engine.close()
    assert (await waiting.result()).finish in ("cancelled", "length")
    assert _hooks(model) == hooks and not model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(ids).logits, logits)
    with pytest.raises(EngineError, match="closed"):
        engine.submit(job)


async def test_a_full_memory_is_one_sentence(subject, monkeypatch):
    def full(*_a, **_k):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.75 GiB.")

    runner = subject.engine._loop.batch.runner
    with monkeypatch.context() as m:
        m.setattr(runner, "forward", full)
        for work in (
            lambda: subject.engine.submit(Job((1, 2, 3), sampling=Sampling(4))).result(),
            lambda: subject.engine.score((1, 2, 3), [(4, 5)]),
        ):
            with pytest.raises(
                EngineError, match=r"memory of cpu is full with \d+ replies at once; ask for fewer \(--slots\)"
            ):
                await work()
    assert (await subject.engine.submit(Job((1, 2, 3), sampling=Sampling(4))).result()).tokens


async def test_training_mode_comes_back(tiny):
    model, tokenizer = tiny
    model.train()
    try:
        engine = TorchEngine(model, tokenizer, slots=2)
        assert not model.training
        await engine.close()
        assert model.training
    finally:
        model.eval()


async def test_ragged_arrivals_small_memory_and_more_rows_than_slots(tiny, subject):
    model, tokenizer = tiny
    rng = np.random.default_rng(3)
    jobs = [
        Job(
            tuple(rng.integers(0, 250, size=int(rng.integers(3, 90))).tolist()),
            sampling=Sampling(int(rng.integers(1, 60)), stop_tokens=(), temperature=float(i % 2), seed=i),
        )
        for i in range(24)
    ]
    alone = [await subject.engine.submit(j).result() for j in jobs]
    engine = TorchEngine(model, tokenizer, slots=5, max_tokens=600)
    streams = []
    for i in range(0, 24, 3):
        streams += engine.submit_all(jobs[i : i + 3])
        await asyncio.sleep(0.02)
    for want, stream in zip(alone, streams, strict=True):
        got = await stream.result()
        assert got.tokens == want.tokens and got.finish == "length"
    await engine.close()


async def test_queue_is_bounded(tiny):
    model, tokenizer = tiny
    engine = TorchEngine(model, tokenizer, slots=1, queue=3)
    job = Job((1, 2, 3), sampling=Sampling(5))
    with pytest.raises(Busy, match="at most 3"):
        engine.submit_all([job] * 4)
    results = [await s.result() for s in engine.submit_all([job] * 3)]
    assert len({r.tokens for r in results}) == 1
    await engine.close()


async def test_closing_the_iterator_frees_the_row(subject):
    stream = subject.engine.submit(Job(subject.prompts[0], sampling=Sampling(200, stop_tokens=())))
    steps = aiter(stream)
    await anext(steps)
    await steps.aclose()
    assert (await stream.result()).finish == "cancelled"


async def test_thinking_is_a_span_of_its_own(subject, tiny):
    p = subject.prompts[0]
    a, _ = directions(subject.engine)
    plain = await subject.engine.submit(Job(p, sampling=Sampling(16, stop_tokens=()))).result()
    close = plain.tokens[5]
    first = plain.tokens.index(close)
    think = ThinkMarkers(open=(), close=(close,), starts_inside=True)
    means = (MeanRead((1,)), MeanRead((1,), "thinking"))
    reads = (Read(a.id, (1,)),)
    stream = subject.engine.submit(Job(p, sampling=Sampling(16, stop_tokens=()), think=think, means=means, reads=reads))
    steps = [s async for s in stream]
    assert [s.span for s in steps] == ["thinking"] * (first + 1) + ["reply"] * (15 - first)
    assert [bool(np.isnan(s.readings[0][0])) for s in steps] == [True] * (first + 1) + [False] * (15 - first)
    result = await stream.result()
    spans = tuple(s.span for s in steps)
    again = (await subject.engine.score(p, [plain.tokens], spans=[spans], means=means))[0]
    for live, offline in zip(result.means, again.means, strict=True):
        np.testing.assert_allclose(live, offline, rtol=1e-3, atol=1e-4)


async def test_long_text_in_chunks_equals_whole(subject):
    rng = np.random.default_rng(0)
    a, _ = directions(subject.engine)
    text = tuple(rng.integers(0, 250, size=900).tolist())
    job = ScoreJob((), (text,), reads=(Read(a.id, (1, 3)),), means=(MeanRead((2,)),))
    whole = (await subject.engine.score_many([job]))[0][0]
    runner = subject.engine._loop.batch.runner
    old = runner.chunk
    try:
        runner.chunk = 64
        chunked = (await subject.engine.score_many([job]))[0][0]
    finally:
        runner.chunk = old
    np.testing.assert_allclose(chunked.logprobs, whole.logprobs, atol=1e-3)
    np.testing.assert_allclose(chunked.readings[0], whole.readings[0], atol=1e-3)
    np.testing.assert_allclose(chunked.means[0], whole.means[0], atol=1e-4)


async def test_score_many_batches_across_prompts(subject):
    jobs = [
        ScoreJob(p, tuple(q[: 3 + i] for i, q in enumerate(subject.prompts[: 1 + k % 3])), logprobs=k != 2)
        for k, p in enumerate(subject.prompts)
    ]
    together = await subject.engine.score_many(jobs)
    for job, got in zip(jobs, together, strict=True):
        assert len(got) == len(job.continuations)
        for tail, score in zip(job.continuations, got, strict=True):
            alone = (await subject.engine.score(job.prompt, [tail]))[0].logprobs
            if job.logprobs:
                np.testing.assert_allclose(score.logprobs, alone, atol=2e-4)
            else:
                assert np.isnan(score.logprobs).all()
    assert await subject.engine.score_many([]) == []


@pytest.mark.parametrize("name", list(FAMILIES))
async def test_families_decode_as_generate_does(name):
    model = family_model(name)
    engine = TorchEngine(model, tiny_tokenizer(), slots=4)
    a, _ = directions(engine)
    rng = np.random.default_rng(1)
    prompts = [tuple(rng.integers(0, 250, size=n).tolist()) for n in (30, 9, 21)]
    jobs = [Job(p, sampling=Sampling(12, stop_tokens=(), top_logprobs=2), reads=(Read(a.id, (0, 2)),)) for p in prompts]
    for job, stream in zip(jobs, engine.submit_all(jobs), strict=True):
        steps = [s async for s in stream]
        ids = torch.tensor([job.tokens])
        with torch.no_grad():
            want = model(ids).logits[0, -1].log_softmax(-1)
            seq = torch.tensor([job.tokens + tuple(s.token for s in steps)])
            full = model(seq).logits[0].log_softmax(-1)
        assert abs(float(want.max()) - steps[0].logprob) < 1e-3
        for k, s in enumerate(steps):
            row = full[len(job.tokens) - 1 + k]
            assert abs(float(row[s.token]) - s.logprob) < 2e-3
            assert float(row.max() - row[s.token]) < 2e-3
    await engine.close()


def test_detok_splits_no_character():
    tokenizer = tiny_tokenizer()
    text = "añ★ — 日本語 🙂 end"
    ids = tokenizer(text)["input_ids"]
    d = Detok(lambda t: tokenizer.decode(t, skip_special_tokens=True))
    out = [d.push(i) for i in ids]
    assert "".join(out) + d.rest() == text
    assert not any("\ufffd" in x for x in out)
    d = Detok(lambda t: tokenizer.decode(t, skip_special_tokens=True))
    cut = "".join(d.push(i) for i in ids[:-6]) + d.rest()
    assert cut == tokenizer.decode(ids[:-6])


@pytest.mark.parametrize("strength", [3.0, 0.0])
async def test_planted_axis_is_there_or_not(strength):
    planted = planted_model(strength=strength)
    engine = TorchEngine(planted.model, planted.tokenizer)
    jobs = []
    for k in range(120):
        head = "You are a <role> vampire." if k % 2 else "You are a helpful assistant."
        chat = [{"role": "system", "content": head}, {"role": "user", "content": f"What of {k // 2}?"}]
        ids = planted.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        jobs.append(Job(tuple(ids), sampling=Sampling(24, temperature=0.7, seed=k), means=(MeanRead((1, 3)),)))
    means = np.stack([(await s.result()).means[0] for s in engine.submit_all(jobs)])
    await engine.close()
    axis = np.nanmean(means[0::2], 0) - np.nanmean(means[1::2], 0)
    cos = axis @ planted.axis / np.linalg.norm(axis, axis=1)
    assert (cos >= 0.98).all() if strength else (np.abs(cos) < 0.5).all()
