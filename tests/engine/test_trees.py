"""Questions to one conversation, scored as branches behind one beginning: the same figures as each alone."""

from dataclasses import replace

import numpy as np
import pytest

from homing.engine import Act, Job, Sampling, ScoreJob
from homing.engine.torch import TorchEngine
from homing.engine.torch.trees import alike
from homing.testing.conformance import directions
from homing.testing.families import family_model
from homing.testing.tiny import tiny_tokenizer

TALK = tuple((7 * k) % 251 for k in range(60))
OTHER = tuple((11 * k + 3) % 251 for k in range(45))


def asked(talk: tuple[int, ...], n: int, acts: tuple[Act, ...] = ()) -> list[ScoreJob]:
    """Questions of unlike lengths with options of unlike lengths."""
    questions = [tuple(range(20 + k, 25 + 2 * k)) for k in range(n)]
    options = [tuple(tuple(range(40 + j, 42 + 2 * j)) for j in range(1 + k % 3)) for k in range(n)]
    return [ScoreJob((*talk, *q), o, acts=acts) for q, o in zip(questions, options, strict=True)]


async def both_ways(engine: TorchEngine, jobs: list[ScoreJob]) -> tuple[list, list]:
    runner = engine._loop.batch.runner
    assert runner.trees
    trees = await engine.score_many(jobs)
    runner.trees = False
    plain = await engine.score_many(jobs)
    runner.trees = True
    return trees, plain


async def test_a_tree_scores_as_each_question_does_alone(subject):
    jobs = [*asked(TALK, 30), *asked(OTHER, 5), ScoreJob((5, 6), ((7,),))]
    trees, plain = await both_ways(subject.engine, jobs)
    for job, a, b in zip(jobs, trees, plain, strict=True):
        assert len(a) == len(job.continuations)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x.logprobs, y.logprobs, atol=2e-4)


async def test_acts_touch_a_tree_as_they_touch_each_alone(subject):
    a, _ = directions(subject.engine)
    floor = Act("floor", a.id, (1, 2), (3.0, 4.0), spans=frozenset({"prompt", "reply"}))
    reply = Act("add", a.id, (2,), strength=2.0, spans=frozenset({"reply"}))
    jobs = [*asked(TALK, 6, (floor,)), *asked(TALK, 6, (reply,)), *asked(TALK, 6)]
    trees, plain = await both_ways(subject.engine, jobs)
    moved = [x.fired[0] for s in trees[:12] for x in s]
    assert all(np.abs(m).sum() > 0 for m in moved)
    for x, y in zip([x for s in trees for x in s], [y for s in plain for y in s], strict=True):
        np.testing.assert_allclose(x.logprobs, y.logprobs, atol=5e-4)
        for p, q in zip(x.fired, y.fired, strict=True):
            np.testing.assert_allclose(p, q, atol=5e-3)


async def test_what_a_talk_has_kept_is_not_run_again(subject, monkeypatch):
    """The beginning is the prompt of a reply that was kept, and more that was said since."""
    engine = subject.engine
    await engine.submit(Job(TALK[:40], sampling=Sampling(2), prefix=40, tenant="talk")).result()
    ran: list[int] = []
    real = engine._loop.batch.runner.prefill
    monkeypatch.setattr(
        engine._loop.batch.runner, "prefill", lambda f, **how: ran.append(sum(x.new for x in f)) or real(f, **how)
    )
    kept = await engine.score_many([replace(j, tenant="talk") for j in asked(TALK, 6)])
    alone = await engine.score_many(asked(TALK, 6))
    assert ran[0] <= 21 and ran[-1] == 60
    for x, y in zip([x for s in kept for x in s], [y for s in alone for y in s], strict=True):
        np.testing.assert_allclose(x.logprobs, y.logprobs, atol=2e-4)


async def test_long_trees_go_in_chunks_of_columns(subject):
    runner = subject.engine._loop.batch.runner
    kept = runner.logit_bytes
    runner.logit_bytes = 64 * runner.vocab * 4
    try:
        trees, plain = await both_ways(subject.engine, asked(TALK, 40))
    finally:
        runner.logit_bytes = kept
    for x, y in zip([x for s in trees for x in s], [y for s in plain for y in s], strict=True):
        np.testing.assert_allclose(x.logprobs, y.logprobs, atol=2e-4)


def test_beginnings_are_shared_where_that_saves_tokens():
    prompts = [j.prompt for j in (*asked(TALK, 4), *asked(OTHER, 3))]
    assert [(g.length, g.members) for g in alike(prompts, [0] * 7)] == [(60, (0, 1, 2, 3)), (45, (4, 5, 6))]
    assert alike(prompts, list(range(7))) == []  # acts that differ are never put together
    assert alike([(1, 2, 3), (1, 2, 4)], [0, 0]) == []  # too short to be worth a run
    # the last token of a prompt predicts, so that a prompt which is the beginning of another shares all but that
    assert [g.length for g in alike([TALK, (*TALK, 9)], [0, 0])] == [59]


@pytest.mark.parametrize(
    ("name", "heeds"),
    [("llama", True), ("gpt2", True), ("llava (multimodal)", True), ("gemma2", False), ("mistral", False)],
)
def test_only_models_without_a_window_are_given_a_mask_for_every_token(name, heeds):
    engine = TorchEngine(family_model(name), tiny_tokenizer(), slots=2, max_tokens=512)
    assert engine.info.details["trees"] is heeds
    engine.close_now()
