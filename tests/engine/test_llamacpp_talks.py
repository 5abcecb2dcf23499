"""What need not be computed twice: rows that start alike, and talks that go on from what was said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

from homing.engine.base import Act, Job, MeanRead, Read, Result, Sampling, Step
from homing.engine.llamacpp import LlamaEngine
from homing.engine.llamacpp.feeds import Feed, alike
from homing.engine.llamacpp.scoring import stretches
from homing.engine.rows import Log
from homing.engine.score import ScoreJob
from homing.engine.wants import Wants, codes_of
from homing.models.requantise import requantise
from homing.testing.conformance import directions
from homing.testing.tiny_gguf import write_gguf

HEAD = tuple(range(40, 70))
TAILS = ((1, 2, 3), (4, 5), (6, 7, 8, 9))
LAYERS = (1, 2)


@pytest.fixture(scope="module", params=["F32", "Q8_0"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = write_gguf(tmp_path_factory.mktemp("talks") / "whole.gguf", "llama", seed=3)
    if request.param == "F32":
        return whole
    requantise(whole, request.param, whole.with_name("small.gguf"))
    return whole.with_name("small.gguf")


@pytest.fixture
async def engine(file: Path) -> AsyncIterator[LlamaEngine]:
    e = LlamaEngine(file, slots=8, threads=1)
    yield e
    await e.close()


async def _run(e: LlamaEngine, jobs: Sequence[Job]) -> list[tuple[list[Step], Result]]:
    streams = e.submit_all(jobs)
    return [([x async for x in s], await s.result()) for s in streams]


def _jobs(e: LlamaEngine, *, acts: bool, tenant: str = "") -> list[Job]:
    a, b = directions(e)
    act = (Act("floor", a.id, LAYERS, (2.0, 2.0)),)
    reads = (Read(a.id, LAYERS, frozenset({"prompt", "reply"})), Read(b.id, (3,), frozenset({"prompt", "reply"})))
    return [
        Job(HEAD + t, sampling=Sampling(6, temperature=1.0, seed=i, stop_tokens=()), reads=reads,
            acts=act if acts else (), tenant=tenant)
        for i, t in enumerate(TAILS)
    ]  # fmt: skip


@pytest.mark.parametrize("acts", [False, True])
async def test_a_common_start_is_run_once(engine: LlamaEngine, acts: bool) -> None:
    jobs = _jobs(engine, acts=acts)
    alone = [(await _run(engine, [j]))[0] for j in jobs]
    together = await _run(engine, jobs)
    assert [r.reused_tokens for _, r in together] == [0, len(HEAD), len(HEAD)]
    assert [r.reused_tokens for _, r in alone] == [0, 0, 0]
    exact = engine.info.dtype == "F32"
    for (x, p), (y, q) in zip(alone, together, strict=True):
        if exact:
            assert p.tokens == q.tokens
            assert np.allclose([s.readings[0] for s in x], [s.readings[0] for s in y], rtol=1e-4, atol=1e-4)
        for k in (0, 1):
            assert np.allclose(
                p.prompt_readings[k], q.prompt_readings[k], rtol=1e-4 if exact else 0.05, atol=1e-4 if exact else 0.1
            )
        for f, g in zip(p.prompt_fired, q.prompt_fired, strict=True):
            assert np.allclose(f, g, atol=1e-3 if exact else 0.2)


async def test_rows_that_differ_in_acts_or_sums_share_nothing(engine: LlamaEngine) -> None:
    plain, held = _jobs(engine, acts=False), _jobs(engine, acts=True)
    made = await _run(engine, [plain[0], held[1]])
    assert [r.reused_tokens for _, r in made] == [0, 0]
    summed = [replace(j, means=(MeanRead(LAYERS, "prompt"),)) for j in plain]
    made = await _run(engine, summed)
    assert [r.reused_tokens for _, r in made] == [0, 0, 0]
    made = await _run(engine, [plain[0], replace(plain[1], tenant="another")])
    assert [r.reused_tokens for _, r in made] == [0, 0]
    reply = [replace(j, acts=tuple(replace(a, spans=frozenset({"reply"})) for a in j.acts)) for j in held]
    made = await _run(engine, [plain[0], reply[1]])  # acts on what is said alone leave the prompt as it is
    assert [r.reused_tokens for _, r in made] == [0, len(HEAD)]


@pytest.mark.parametrize("acts", [False, True])
async def test_a_talk_goes_on_from_what_was_said(engine: LlamaEngine, acts: bool) -> None:
    """The second turn computes only what is new, and reads what a talk that was never kept reads."""
    e = engine
    kept = [replace(j, tenant="talk", prefix=len(j.tokens)) for j in _jobs(e, acts=acts)]
    first = await _run(e, kept)
    second = [_then(j, r, (200 + i, 11, 12)) for i, (j, (_, r)) in enumerate(zip(kept, first, strict=True))]
    going = await _run(e, second)
    for j, (_, r) in zip(second, going, strict=True):
        assert r.reused_tokens == len(j.tokens) - 3
    fork = await _run(e, [replace(j, tenant="talk") for j in kept])  # the same question once more: its prompt is there
    assert all(r.reused_tokens == len(j.tokens) - 1 for j, (_, r) in zip(kept, fork, strict=True))
    fresh = await _run(e, [replace(j, tenant=f"other-{i}", prefix=0) for i, j in enumerate(second)])
    assert all(r.reused_tokens == 0 for _, r in fresh)
    exact = e.info.dtype == "F32"
    for (x, p), (y, q) in zip(going, fresh, strict=True):
        if exact:
            assert p.tokens == q.tokens
            assert np.allclose([s.readings[0] for s in x], [s.readings[0] for s in y], rtol=1e-3, atol=1e-3)
            for f, g in zip(p.prompt_fired, q.prompt_fired, strict=True):
                assert np.allclose(f, g, atol=1e-3)
        for k in (0, 1):
            assert np.array_equal(np.isnan(p.prompt_readings[k]), np.isnan(q.prompt_readings[k]))
            if exact:
                assert np.allclose(p.prompt_readings[k], q.prompt_readings[k], rtol=1e-3, atol=1e-3)


def _then(job: Job, result: Result, more: tuple[int, ...]) -> Job:
    """The job of the next turn: what was asked and said, and a new message."""
    tokens = (*job.tokens, *result.tokens, *more)
    spans = ("prompt",) * len(job.tokens) + ("reply",) * len(result.tokens) + ("prompt",) * len(more)
    return replace(job, tokens=tokens, spans=spans, prefix=len(tokens))


async def test_a_unit_of_work_gives_the_same_bytes_whatever_ran_before(engine: LlamaEngine) -> None:
    async def unit(name: str) -> list[tuple[tuple[int, ...], bytes]]:
        jobs = [replace(j, tenant=name, prefix=len(j.tokens)) for j in _jobs(engine, acts=True)]
        out: list[tuple[tuple[int, ...], bytes]] = []
        for turn in range(3):
            made = await _run(engine, jobs)
            out += [(r.tokens, r.prompt_readings[0].tobytes()) for _, r in made]
            jobs = [_then(j, r, (turn, 13)) for j, (_, r) in zip(jobs, made, strict=True)]
        return out

    first = await unit("a")
    await _run(engine, _jobs(engine, acts=False))
    await unit("b")
    assert await unit("c") == first


async def test_new_acts_in_mid_reply_are_not_gone_on_from(engine: LlamaEngine) -> None:
    job = replace(_jobs(engine, acts=True)[0], tenant="talk", prefix=len(HEAD + TAILS[0]))
    stream = engine.submit(replace(job, sampling=replace(job.sampling, max_new_tokens=30)))
    async for step in stream:
        if step.index == 2:
            stream.update(())
    result = await stream.result()
    ((_, again),) = await _run(engine, [_then(job, result, (5, 6))])
    assert again.reused_tokens == len(job.tokens) - 1  # of the prompt, which was acted on in one way


async def test_many_talks_in_few_cells(file: Path) -> None:
    """What is kept goes when room is wanted, and nothing is lost but time."""
    e = LlamaEngine(file, slots=4, threads=1, memory=1)
    jobs = [replace(j, tenant="talk", prefix=len(j.tokens)) for j in _jobs(e, acts=False)]
    for turn in range(60):
        made = await _run(e, jobs)
        assert all(len(r.tokens) == 6 for _, r in made)
        start = [j if len(j.tokens) < 400 else replace(j, tokens=(*HEAD, turn), spans=(), prefix=31) for j in jobs]
        jobs = [_then(j, r, (turn,)) for j, (_, r) in zip(start, made, strict=True)]
    await e.close()


@pytest.mark.parametrize("acts", [False, True])
async def test_scores_of_forks_run_what_they_share_once(
    engine: LlamaEngine, acts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two conversations with eight questions each: what was said before is run twice in all, and every score is the same."""
    a, _ = directions(engine)
    act = (Act("floor", a.id, LAYERS, (2.0, 2.0)),) if acts else ()
    system = tuple(range(80, 96))
    talks = [(*system, *(range(100 + 60 * k, 150 + 60 * k))) for k in (0, 1)]
    jobs = [
        ScoreJob((*talk, 10 + q, 11), ((1, 2, 3), (4, 5, q)), acts=act, reads=(Read(a.id, LAYERS),))
        for talk in talks
        for q in range(8)
    ]
    assert [s[:2] for s in stretches(jobs)] == [(0, 8), (8, 16)]
    ran: list[int] = []
    real = engine._pool.decode
    monkeypatch.setattr(engine._pool, "decode", lambda t, *more: (ran.append(len(t)), real(t, *more))[1])
    together = await engine.score_many(jobs)
    shared, ran[:] = sum(ran), []
    alone = [(await engine.score_many([j]))[0] for j in jobs]
    assert shared < sum(ran) / 3
    exact = engine.info.dtype == "F32"
    for x, y in zip(together, alone, strict=True):
        for p, q in zip(x, y, strict=True):
            assert np.allclose(p.logprobs, q.logprobs, atol=1e-4 if exact else 0.3)
            assert np.allclose(p.readings[0], q.readings[0], atol=1e-3 if exact else 0.3)


def test_which_jobs_share() -> None:
    def job(*prompt: int, acts: tuple[Act, ...] = ()) -> ScoreJob:
        return ScoreJob(prompt, ((1,),), acts=acts)

    talk = tuple(range(20))
    assert stretches([]) == []
    assert stretches([job(*talk, 1)]) == [(0, 1, 0)]
    assert stretches([job(), job()]) == [(0, 1, 0), (1, 2, 0)]
    assert stretches([job(*talk, 1, 2), job(*talk, 3), job(*talk, 1, 4)]) == [(0, 3, 20)]
    assert stretches([job(*talk, 1, 2), job(*talk, 3), job(*talk[:12], 1, 4, 5, 6)]) == [(0, 2, 20), (2, 3, 0)]
    act = Act("add", "d", (1,), strength=1.0, spans=frozenset({"prompt"}))
    assert stretches([job(*talk, 1), job(*talk, 2, acts=(act,))]) == [(0, 1, 0), (1, 2, 0)]


async def test_what_is_kept_makes_room_for_rows(file: Path) -> None:
    """Kept talks fill most cells; unrelated rows of the same tenant, and of none, still find theirs."""
    e = LlamaEngine(file, slots=8, threads=1, memory=1)
    rng = np.random.default_rng(0)

    def jobs(prompt: int, new: int, **more: object) -> list[Job]:
        rows = [tuple(int(t) for t in rng.integers(0, 256, prompt)) for _ in range(8)]
        return [Job(r, sampling=Sampling(new, stop_tokens=()), **more) for r in rows]  # type: ignore[arg-type]

    for _ in range(3):
        await _run(e, jobs(60, 440, tenant="a", prefix=60))
        made = await _run(e, jobs(440, 60, tenant="a", prefix=440))
        assert [len(r.tokens) for _, r in made] == [60] * 8
        talk = e.submit(replace(jobs(60, 400, tenant="a", prefix=60)[0]))
        later = e.submit_all(jobs(400, 50))
        assert [len((await s.result()).tokens) for s in (*later, talk)] == [50] * 8 + [400]
    await e.close()


async def test_rows_without_a_name_leave_what_was_submitted_with_them(engine: LlamaEngine) -> None:
    """Two slots: the talk ends, the rows beside it come after it, and its next turn still finds it."""
    e = engine
    job = replace(_jobs(e, acts=False)[0], tenant="talk", prefix=len(HEAD + TAILS[0]))
    beside = [replace(j, tenant="") for j in _jobs(e, acts=False)] * 4  # more than there are slots
    first = (await _run(e, [job, *beside]))[0][1]
    second = _then(job, first, (5, 6, 7))
    assert (await _run(e, [second, *beside]))[0][1].reused_tokens == len(second.tokens) - 3


async def test_sums_of_a_longer_prefix_are_whole(engine: LlamaEngine) -> None:
    """A prefix that goes on from one with more sums does not pass those on, which would stop halfway."""
    e = engine
    long = HEAD + tuple(range(100, 140))

    def job(n: int, layers: tuple[int, ...], tenant: str) -> Job:
        return Job(
            long[:n],
            sampling=Sampling(2, stop_tokens=()),
            means=(MeanRead(layers, "prompt"),),
            tenant=tenant,
            prefix=n - 1,
        )

    for n, layers in ((30, (1, 2)), (60, (1,)), (62, (1, 2))):
        ((_, got),) = await _run(e, [job(n, layers, "one")])
        ((_, fresh),) = await _run(e, [job(n, layers, f"fresh-{n}")])
        assert np.allclose(got.means[0], fresh.means[0], rtol=0.02, atol=0.02)
        await _run(e, [job(30, (1, 2), "one"), job(60, (1,), "one")])


async def test_rows_wait_for_cells(file: Path) -> None:
    """Sixteen rows of 500 cells where 4,096 are: they come in as others leave, and each says what it says."""
    e = LlamaEngine(file, slots=16, threads=1, memory=1)
    assert e.info.details["max_tokens"] == 4096
    long = tuple(int(t) for t in np.random.default_rng(0).integers(0, 256, 480))
    jobs = [Job((*long, i), sampling=Sampling(20, stop_tokens=()), tenant=f"t{i}") for i in range(16)]
    made = await _run(e, jobs)
    assert all(len(r.tokens) == 20 for _, r in made)
    if e.info.dtype == "F32":
        ((_, alone),) = await _run(e, [jobs[15]])
        assert alone.tokens == made[15][1].tokens
    await e.close()


@pytest.mark.parametrize("acts", [False, True])
async def test_a_talk_that_turns_off_goes_on_from_where_it_does(engine: LlamaEngine, acts: bool) -> None:
    """A prompt that begins as one that was kept, and then differs: what is run, read and moved is that of a fresh start."""
    job = _jobs(engine, acts=acts)[0]
    kept = replace(job, tokens=(*HEAD, 40, 41, 42), tenant="talk", prefix=len(HEAD) + 3)
    await _run(engine, [kept])
    other = replace(job, tokens=(*HEAD, 50, 51), tenant="talk")
    ((steps, turned),) = await _run(engine, [other])
    assert turned.reused_tokens == len(HEAD)
    ((alone_steps, alone),) = await _run(engine, [replace(other, tenant="")])
    assert alone.reused_tokens == 0
    exact = engine.info.dtype == "F32"
    for a, b in zip(
        (*turned.prompt_readings, *turned.prompt_fired), (*alone.prompt_readings, *alone.prompt_fired), strict=True
    ):
        assert np.allclose(a, b, rtol=1e-4 if exact else 0.05, atol=1e-3 if exact else 0.2)
    if exact:
        assert turned.tokens == alone.tokens
        assert np.allclose([s.readings[0] for s in steps], [s.readings[0] for s in alone_steps], rtol=1e-4, atol=1e-4)


async def test_what_was_not_read_or_summed_serves_nobody_who_wants_it(engine: LlamaEngine) -> None:
    job = _jobs(engine, acts=False)[0]
    kept = replace(job, tokens=(*HEAD, 40, 41, 42), reads=(), tenant="talk", prefix=len(HEAD) + 3)
    await _run(engine, [kept])
    for wants in ({}, {"reads": (), "means": (MeanRead(LAYERS, "prompt"),)}):
        ((_, made),) = await _run(engine, [replace(job, tokens=(*HEAD, 50, 51), tenant="talk", **wants)])
        assert made.reused_tokens == 0
    ((_, acted),) = await _run(
        engine, [replace(_jobs(engine, acts=True)[0], tokens=(*HEAD, 50, 51), reads=(), tenant="talk")]
    )
    assert acted.reused_tokens == 0


async def test_a_choice_between_turns_goes_on_from_the_talk_that_turned_off(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    real = engine._pool.decode
    monkeypatch.setattr(engine._pool, "decode", lambda t, *more: (ran.append(len(t)), real(t, *more))[1])
    job = Job((*HEAD, 40, 41), sampling=Sampling(2, stop_tokens=()), prefix=len(HEAD) + 2, tenant="talk")
    await _run(engine, [job])
    asked = ScoreJob((*HEAD, *range(50, 70)), ((1, 2), (3, 4)), tenant="talk")
    ran.clear()
    (kept,) = await engine.score_many([asked])
    assert sum(ran) <= 20 + 2 * 3  # what turned off, and two answers behind its last token
    ran.clear()
    (again,) = await engine.score_many([replace(asked, continuations=((5, 6), (7, 8)))])
    assert sum(ran) <= 2 + 2 * 3  # all of the prompt was kept
    (fresh,) = await engine.score_many([replace(asked, tenant="")])
    (other,) = await engine.score_many([replace(asked, continuations=((5, 6), (7, 8)), tenant="")])
    atol = 1e-4 if engine.info.dtype == "F32" else 0.5
    for x, y in zip((*kept, *again), (*fresh, *other), strict=True):
        assert np.allclose(x.logprobs, y.logprobs, atol=atol)


def _feed(tokens: Sequence[int], *, known: int = 0, wanted: Sequence[int] = (-1,), **of: object) -> Feed:
    n = len(tokens)
    codes = codes_of((), n)
    marks = np.zeros(n, bool)
    marks[list(wanted)] = True
    return Feed(0, tuple(tokens), codes, codes, Wants(), Log(n), known=known, wanted=marks[known:], **of)  # type: ignore[arg-type]


def test_who_waits_for_whom() -> None:
    a = list(range(20))
    found = alike([_feed(a), _feed([*a[:12], 99, 98]), _feed([*a, 50]), _feed([7] * 20), _feed([7] * 9)])
    assert [[(s.late, s.first, s.tokens) for s in level] for level in found] == [[(1, 0, 12), (2, 0, 20), (4, 3, 8)]]


def test_one_that_waits_is_waited_for() -> None:
    """Two kinds of talks behind one system message: each kind's beginning is run once, and so is the system message."""
    system, one, other = [0] * 10, [1] * 20, [2] * 20
    rows = [_feed([*system, *kind, 30 + k]) for k, kind in enumerate((one, other, other, one))]
    found = [[(s.late, s.first, s.tokens) for s in level] for level in alike(rows)]
    assert found == [[(1, 0, 10), (3, 0, 30)], [(2, 1, 30)]]


def test_a_token_whose_logits_are_wanted_runs_by_itself() -> None:
    a = list(range(20))
    assert [s.tokens for level in alike([_feed(a), _feed(a, wanted=(10, 15))]) for s in level] == [10]
    assert alike([_feed(a), _feed(a, wanted=(5, 15))]) == []
    assert alike([_feed(a), _feed(a, known=15)]) == []  # most of it is there already
    assert alike([_feed(a), _feed(a, tenant="other")]) == []


def _forks(talk: tuple[int, ...], tenant: str, acts: tuple[Act, ...] = ()) -> list[ScoreJob]:
    """Twelve questions to a talk, three answers each."""
    return [
        ScoreJob((*talk, 100 + k, 11), ((1, 2, k), (3, k + 1), (4, 5, 6)), acts=acts, tenant=tenant) for k in range(12)
    ]


@pytest.mark.parametrize("acts", [False, True])
async def test_scores_go_on_from_what_a_talk_has_kept(
    engine: LlamaEngine, acts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer tokens are run, the scores are those of a fresh start, and the talk goes on from what it had."""
    a, _ = directions(engine)
    floor = (Act("floor", a.id, LAYERS, (2.0, 2.0)),) if acts else ()
    ran: list[int] = []
    real = engine._pool.decode
    monkeypatch.setattr(engine._pool, "decode", lambda t, *more: (ran.append(len(t)), real(t, *more))[1])
    fresh = await engine.score_many(_forks(HEAD, "", floor))
    without = sum(ran)
    job = Job(
        HEAD, sampling=Sampling(4, temperature=1.0, seed=1, stop_tokens=()), prefix=len(HEAD), tenant="talk", acts=floor
    )
    ((_, said),) = await _run(engine, [job])
    ran.clear()
    kept = await engine.score_many(_forks(HEAD, "talk", floor))
    assert (sum(ran) <= without - len(HEAD) + 2) or acts  # what acts touch is kept by the spans that it was made with
    exact = engine.info.dtype == "F32"
    for one, other in zip(fresh, kept, strict=True):
        for x, y in zip(one, other, strict=True):
            assert np.allclose(x.logprobs, y.logprobs, atol=1e-4 if exact else 0.5)
    ((_, after),) = await _run(engine, [replace(job, tokens=(*HEAD, *said.tokens, 9, 8))])
    assert after.reused_tokens >= len(HEAD) - 1


async def test_kept_scores_repeat_to_the_byte(engine: LlamaEngine) -> None:
    async def work(tenant: str) -> list[bytes]:
        job = Job(HEAD, sampling=Sampling(4, temperature=1.0, seed=1, stop_tokens=()), prefix=len(HEAD), tenant=tenant)
        await _run(engine, [job])
        scored = await engine.score_many(_forks(HEAD, tenant))
        return [s.logprobs.tobytes() for scores in scored for s in scores]

    first = await work("one")
    await engine.score_many(_forks(TAILS[0] * 5, "other"))
    assert await work("two") == first
