"""What every engine must hold, as functions that take an open engine; identities before golden numbers.

Each check raises AssertionError with the figure that failed. ``SUITE`` lists them all for the tests of an engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import (
    Act,
    Direction,
    Engine,
    Gate,
    Job,
    MeanRead,
    Read,
    Result,
    Sampling,
    SpanKind,
    Step,
    Stream,
)
from homing.errors import TooLong, Unsupported

__all__ = ["SUITE", "Company", "Subject", "alone_and_in_company", "directions"]

NEAR_TIE = 1e-4
"""Probability margin under which two tokens count as tied: rounding may choose either."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An open engine and prompts for it.

    Attributes:
        prompts: at least six, of different lengths, each at least eight tokens.
        decode: ids to text, without special tokens.
        tolerance: relative, of float32 figures that are computed in two ways.
    """

    engine: Engine
    prompts: tuple[tuple[int, ...], ...]
    decode: Callable[[Sequence[int]], str]
    tolerance: float = 1e-4


@dataclass(frozen=True, slots=True)
class Company:
    """How often a row said the same alone and in company.

    Attributes:
        rows: compared. ``equal``: the same tokens. ``near_ties``: first difference at a near-tie.
        differing: the others.
    """

    rows: int
    equal: int
    near_ties: int
    differing: tuple[int, ...]


def directions(engine: Engine, *, seed: int = 0) -> tuple[Direction, Direction]:
    """Two random directions over all layers, registered; the second is orthogonal to the first."""
    info = engine.info
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((info.layers, info.hidden))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = rng.standard_normal((info.layers, info.hidden))
    b -= (a * b).sum(1, keepdims=True) * a
    pair = tuple(
        Direction(n, tuple(range(info.layers)), v.astype(np.float32)) for n, v in (("first", a), ("second", b))
    )
    for d in pair:
        engine.register(d)
    return pair[0], pair[1]


async def _run(engine: Engine, *jobs: Job) -> list[tuple[list[Step], Result]]:
    async def one(stream: Stream) -> tuple[list[Step], Result]:
        steps = [s async for s in stream]
        return steps, await stream.result()

    return list(await asyncio.gather(*(one(s) for s in engine.submit_all(jobs))))


def _close(a: NDArray[np.float32], b: NDArray[np.float32], tolerance: float, what: str) -> None:
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    assert np.array_equal(np.isnan(a), np.isnan(b)), f"{what}: readings are missing at different places"
    scale = max(float(np.nanmax(np.abs(b), initial=0.0)), 1e-6)
    error = float(np.nanmax(np.abs(a - b), initial=0.0)) / scale
    assert error <= tolerance, f"{what}: relative difference {error:.3g}, at most {tolerance:.3g} allowed"


def _middle(engine: Engine) -> tuple[int, ...]:
    n = engine.info.layers
    return tuple(sorted({n // 2, max(n // 2 - 1, 0)}))


async def alone_and_in_company(
    engine: Engine, prompts: Sequence[tuple[int, ...]], *, new_tokens: int = 24, sampling: Sampling | None = None
) -> Company:
    """Generate every prompt alone, then all together, and compare tokens.

    Args:
        engine: an open engine.
        prompts: token ids.
        new_tokens: of each. sampling: other settings; default greedy.
    """
    base = replace(sampling or Sampling(), max_new_tokens=new_tokens, top_logprobs=2)
    jobs = [Job(p, sampling=replace(base, seed=i)) for i, p in enumerate(prompts)]
    alone = [(await _run(engine, j))[0] for j in jobs]
    together = await _run(engine, *jobs)
    equal, ties, differing = 0, 0, list[int]()
    for i, ((steps, a), (others, b)) in enumerate(zip(alone, together, strict=True)):
        if a.tokens == b.tokens and a.finish == b.finish:
            equal += 1
            continue
        at = next((k for k, (x, y) in enumerate(zip(steps, others, strict=False)) if x.token != y.token), None)
        at = min(len(steps), len(others)) if at is None else at
        longer = steps if len(steps) > at else others
        top = longer[at].top
        near = len(top) == 2 and abs(np.exp(top[0][1]) - np.exp(top[1][1])) < NEAR_TIE
        if near:
            ties += 1
        else:
            differing.append(i)
    return Company(len(prompts), equal, ties, tuple(differing))


async def company(s: Subject) -> None:
    """A row's text does not depend on its company."""
    for sampling in (Sampling(), Sampling(temperature=0.8, top_p=0.9)):
        got = await alone_and_in_company(s.engine, s.prompts, new_tokens=16, sampling=sampling)
        assert not got.differing, f"{got}"
        assert got.near_ties <= 0.2 * got.rows, f"{got}"


async def repeats(s: Subject) -> None:
    """The same batch twice gives the same bytes; other seeds give other draws."""
    jobs = [Job(p, sampling=Sampling(12, temperature=1.0, seed=i)) for i, p in enumerate(s.prompts)]
    first, second = await _run(s.engine, *jobs), await _run(s.engine, *jobs)
    assert [r.tokens for _, r in first] == [r.tokens for _, r in second]
    assert [[x.logprob for x in st] for st, _ in first] == [[x.logprob for x in st] for st, _ in second]
    moved = await _run(s.engine, *[replace(j, sampling=replace(j.sampling, seed=1000 + i)) for i, j in enumerate(jobs)])
    assert any(a.tokens != b.tokens for (_, a), (_, b) in zip(first, moved, strict=True))


async def coldest(s: Subject) -> None:
    """A temperature too small for a division takes the likeliest token, and nobody beside it meets an error."""
    jobs = [Job(p, sampling=Sampling(6, seed=i)) for i, p in enumerate(s.prompts[:4])]
    greedy = await _run(s.engine, *jobs)
    for top_p in (1.0, 0.5, 5e-324):
        cold = [replace(j, sampling=replace(j.sampling, temperature=5e-324, top_p=top_p)) for j in jobs]
        assert [r.tokens for _, r in await _run(s.engine, *cold)] == [r.tokens for _, r in greedy], top_p


async def pieces(s: Subject) -> None:
    """Pieces of text join to the decoding of all tokens, split no character, and steps are counted from 0."""
    got = await _run(s.engine, *[Job(p, sampling=Sampling(24, temperature=1.0, seed=7)) for p in s.prompts])
    for steps, r in got:
        assert [x.index for x in steps] == list(range(len(steps)))
        assert tuple(x.token for x in steps) == r.tokens
        assert "".join(x.text for x in steps) == r.text == s.decode(r.tokens)


async def probes(s: Subject) -> None:
    """Readings and means of generated tokens, the last one too, equal those of the same text read afterwards."""
    a, b = directions(s.engine)
    layers = tuple(range(s.engine.info.layers))
    reads = (Read(a.id, layers), Read(b.id, layers[-2:]))
    means = (MeanRead(layers), MeanRead(layers[:1]))
    jobs = [Job(p, sampling=Sampling(8 + i), reads=reads, means=means) for i, p in enumerate(s.prompts)]
    for job, (steps, r) in zip(jobs, await _run(s.engine, *jobs), strict=True):
        if not r.tokens:
            continue
        again = (await s.engine.score(job.tokens, [r.tokens], reads=reads, means=means))[0]
        for k in range(2):
            live = np.array([x.readings[k] for x in steps], np.float32)
            _close(live, again.readings[k], s.tolerance, f"reading {k}")
            _close(r.means[k], again.means[k], s.tolerance, f"mean {k}")
        _close(np.array([x.logprob for x in steps], np.float32), again.logprobs, 10 * s.tolerance, "log-probabilities")


async def prompt_spans(s: Subject) -> None:
    """Prompt tokens are read where their span was asked for, and nowhere else."""
    a, _ = directions(s.engine)
    p = s.prompts[0]
    spans: tuple[SpanKind, ...] = tuple("reply" if 2 <= i < 6 else "prompt" for i in range(len(p)))
    job = Job(p, spans, Sampling(3), reads=(Read(a.id, (0, 1)), Read(a.id, (1,), frozenset({"prompt"}))))
    ((steps, r),) = await _run(s.engine, job)
    seen = ~np.isnan(r.prompt_readings[0][:, 0])
    assert seen.tolist() == [x == "reply" for x in spans]
    assert (~np.isnan(r.prompt_readings[1][:, 0])).tolist() == [x == "prompt" for x in spans]
    assert all(np.isnan(x.readings[1][0]) and not np.isnan(x.readings[0][0]) for x in steps)


async def acts_are_what_they_say(s: Subject) -> None:
    """A floor moves a token by its gap; twice is once; -inf is nothing; adds are linear; on -v it is a ceiling."""
    e, t = s.engine, s.tolerance
    a, _ = directions(e)
    flipped = Direction("flipped", a.layers, -a.vectors)
    e.register(flipped)
    layers = _middle(e)
    prompt, tail = s.prompts[0], s.prompts[1]
    reads = (Read(a.id, layers),)

    async def run(*acts: Act) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        got = (await e.score(prompt, [tail], acts=acts, reads=reads))[0]
        return got.logprobs, got.readings[0], got.fired[0] if got.fired else np.zeros(0, np.float32)

    plain, base, _ = await run()
    tau = tuple(float(np.median(base[:, j])) + 0.5 * float(base[:, j].std()) for j in range(len(layers)))
    floor = Act("floor", a.id, layers, tau)
    once, read, fired = await run(floor)
    _close(fired, np.maximum(np.asarray(tau, np.float32) - read, 0), t, "fired of a floor")
    assert (fired > 0).any() and (fired == 0).any(), "the floor fired nowhere or everywhere"
    assert not np.allclose(once, plain), "the floor changed nothing"
    _close((await run(floor, floor))[0], once, t, "a floor twice")
    nothing = Act("floor", a.id, layers, (float("-inf"),) * len(layers))
    assert np.array_equal((await run(nothing))[0], plain), "a floor at minus infinity changed something"
    mirror = Act("ceiling", flipped.id, layers, tuple(-x for x in tau))
    _close((await run(mirror))[0], once, t, "a ceiling on the flipped direction")
    _, read, fired = await run(replace(floor, strength=0.5))
    _close(
        fired, (np.maximum(np.asarray(tau, np.float32) - read, 0) / 2).astype(np.float32), t, "fired of a soft floor"
    )
    one = (layers[0],)
    two = (await run(Act("add", a.id, one, strength=1.5), Act("add", a.id, one, strength=-0.5)))[0]
    _close(two, (await run(Act("add", a.id, one, strength=1.0)))[0], t, "two adds and their sum")
    _, read, fired = await run(Act("ablate", a.id, layers))
    _close(fired, -read, t, "fired of an ablation")
    twice = (await e.score(prompt, [tail], acts=(Act("ablate", a.id, layers), Act("ablate", a.id, layers))))[0]
    assert np.abs(twice.fired[1]).max() <= t * np.abs(twice.fired[0]).max() + 1e-5, "a second ablation found something"


async def gates(s: Subject) -> None:
    """A gated act fires exactly where the gate's own projection is on its side."""
    e = s.engine
    a, b = directions(e)
    layer, gate_layer = _middle(e)[-1], _middle(e)[0]
    prompt, tail = s.prompts[0], s.prompts[1]
    reads = (Read(b.id, (gate_layer,)), Read(a.id, (layer,)))
    base = (await e.score(prompt, [tail], reads=reads))[0]
    cut = float(np.median(base.readings[0]))
    for side in ("below", "above"):
        act = Act("ablate", a.id, (layer,), gate=Gate(b.id, gate_layer, cut, side), spans=frozenset({"reply"}))
        got = (await e.score(prompt, [tail], acts=(act,), reads=reads))[0]
        r = got.readings[0][:, 0]
        is_open = r < cut if side == "below" else r > cut
        assert np.array_equal(got.fired[0][:, 0] != 0, is_open), f"gate {side} opened elsewhere"
        assert is_open.any() and not is_open.all()


async def acts_stay_in_their_row(s: Subject) -> None:
    """Rows with and without acts in one batch give what each gives alone; every token is logged."""
    e = s.engine
    a, b = directions(e)
    layers = _middle(e)
    reads = (Read(a.id, layers),)
    acts = [
        (),
        (Act("add", a.id, layers, strength=2.0),),
        (Act("floor", a.id, layers, (1.0,) * len(layers)), Act("ceiling", b.id, layers[:1], (0.0,))),
        (Act("ablate", b.id, layers),),
        (),
        (Act("floor", b.id, layers[-1:], (0.5,), strength=0.5, spans=frozenset({"reply"})),),
    ]
    jobs = [Job(p, sampling=Sampling(10), acts=x, reads=reads) for p, x in zip(s.prompts, acts, strict=False)]
    together = await _run(e, *jobs)
    for job, (steps, r) in zip(jobs, together, strict=True):
        ((alone, q),) = await _run(e, job)
        n = next((k for k, (x, y) in enumerate(zip(steps, alone, strict=False)) if x.token != y.token), len(steps))
        assert n >= min(len(steps), 3), "acts of other rows changed a row"
        for x, y in zip(steps[:n], alone[:n], strict=True):
            _close(np.array(x.readings), np.array(y.readings), 10 * s.tolerance, "readings alone and in company")
            assert [len(f) for f in x.fired] == [len(act.layers) for act in job.acts]
            for f, g in zip(x.fired, y.fired, strict=True):
                assert np.allclose(f, g, rtol=1e-2, atol=1e-3), "fired alone and in company"
        assert len(r.prompt_fired) == len(job.acts) == len(q.prompt_fired)


async def prefixes(s: Subject) -> None:
    """Forks of a prefix, capped and not, give what unshared rows give; a capped prefix never serves an uncapped row."""
    e = s.engine
    a, _ = directions(e)
    layers = _middle(e)
    head = s.prompts[0]
    cap = (Act("add", a.id, layers, strength=3.0),)
    reads = (Read(a.id, layers, frozenset({"prompt", "reply"})),)
    means = (MeanRead(layers, "prompt"),)
    jobs = [
        Job(head + s.prompts[i][:4], sampling=Sampling(8), acts=cap if i % 2 else (), reads=reads, means=means)
        for i in range(6)
    ]
    plain = await _run(e, *[replace(j, tenant=f"alone-{i}") for i, j in enumerate(jobs)])
    shared = await _run(e, *[replace(j, tenant="shared", prefix=len(head)) for j in jobs])
    later = await _run(e, *[replace(j, tenant="shared") for j in jobs])
    stranger = await _run(e, *[replace(j, tenant="stranger") for j in jobs])
    for (x, p), (y, q), (z, u), (_, v) in zip(plain, shared, later, stranger, strict=True):
        assert p.reused_tokens == 0 == v.reused_tokens, "a prefix crossed tenants"
        assert q.reused_tokens >= len(head) - 1 and u.reused_tokens >= len(head) - 1, "the prefix was not reused"
        assert p.tokens == q.tokens == u.tokens, "a fork differs from its unshared run"
        for got in (q, u):
            _close(got.prompt_readings[0], p.prompt_readings[0], 10 * s.tolerance, "prompt readings of a fork")
            _close(got.means[0], p.means[0], 10 * s.tolerance, "prompt mean of a fork")
            for f, g in zip(got.prompt_fired, p.prompt_fired, strict=True):
                _close(f, g, 10 * s.tolerance, "what acts did to a fork's prompt")
        assert len(x) == len(y) == len(z)


async def updates(s: Subject) -> None:
    """New acts take hold in mid-reply, and an unknown one is refused."""
    e = s.engine
    a, _ = directions(e)
    stream = e.submit(Job(s.prompts[0], sampling=Sampling(40, stop_tokens=()), reads=(Read(a.id, (0,)),)))
    steps: list[Step] = []
    async for step in stream:
        steps.append(step)
        if len(steps) == 5:
            try:
                stream.update((Act("add", "0" * 16, (0,), strength=1.0),))
            except Unsupported:
                pass
            else:
                raise AssertionError("an unknown direction was not refused")
            stream.update((Act("add", a.id, (0,), strength=2.0),))
    assert not steps[0].fired and steps[-1].fired == ((2.0,),), "the new act did not take hold"
    assert (await stream.result()).finish == "length"


async def cancels(s: Subject) -> None:
    """Cancelling, closing the iterator and a deadline end a row and leave the others alone."""
    e = s.engine
    long = Sampling(60, stop_tokens=())
    jobs = [Job(s.prompts[i], sampling=long) for i in range(3)]
    jobs.append(Job(s.prompts[3], sampling=long, deadline_seconds=0.0))
    first, second, third, late = e.submit_all(jobs)
    async for _ in first:
        break
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    a, b, c, d = [await x.result() for x in (first, second, third, late)]
    assert a.finish == b.finish == "cancelled" and d.finish == "deadline"
    assert c.finish == "length" and len(c.tokens) == 60
    assert len(b.tokens) < 60


async def stops(s: Subject) -> None:
    """A stop string ends the reply and is no part of it; stop tokens and the length do as they say."""
    e = s.engine
    ((steps, r),) = await _run(e, Job(s.prompts[0], sampling=Sampling(20, stop_tokens=())))
    assert r.finish == "length" and len(r.tokens) == 20
    middle = r.text[len(r.text) // 2 :][:3]
    if middle:
        for reads in ((), (Read(directions(e)[0].id, (0,)),)):
            job = Job(s.prompts[0], sampling=Sampling(20, stop=(middle, "never said"), stop_tokens=()), reads=reads)
            ((cut, q),) = await _run(e, job)
            assert q.finish == "stop_string" and q.text == r.text[: r.text.index(middle)]
            assert "".join(x.text for x in cut) == q.text
    token = steps[6].token
    at = next(i for i, x in enumerate(steps) if x.token == token)
    ((_, q),) = await _run(e, Job(s.prompts[0], sampling=Sampling(20, stop_tokens=(token,))))
    assert q.finish == "stop" and q.tokens == r.tokens[:at]


async def scores(s: Subject) -> None:
    """Several continuations of a prompt score as each alone; the first token of an empty prompt has no probability."""
    e = s.engine
    tails = [s.prompts[i][: 3 + i] for i in range(1, 5)]
    together = await e.score(s.prompts[0], tails)
    for tail, got in zip(tails, together, strict=True):
        alone = (await e.score(s.prompts[0], [tail]))[0]
        _close(got.logprobs, alone.logprobs, 10 * s.tolerance, "continuations together and alone")
    whole = (await e.score((), [s.prompts[0] + tails[0]]))[0].logprobs
    assert np.isnan(whole[0]) and not np.isnan(whole[1:]).any()
    _close(whole[-len(tails[0]) :], together[0].logprobs, 10 * s.tolerance, "with and without a prompt")


async def refusals(s: Subject) -> None:
    """What cannot be done is refused at submit, never silently left out."""
    e = s.engine
    a, _ = directions(e)
    n = e.info.layers
    bad = [
        Job(s.prompts[0], acts=(Act("add", "f" * 16, (0,)),)),
        Job(s.prompts[0], reads=(Read(a.id, (n,)),)),
        Job(s.prompts[0], means=(MeanRead((n + 3,)),)),
        Job(s.prompts[0], acts=(Act("add", a.id, (1,), gate=Gate("e" * 16, 0, 0.0)),)),
        Job((e.info.vocab + 5,)),
    ]
    for job in bad:
        try:
            e.submit(job)
        except Unsupported:
            continue
        raise AssertionError(f"not refused: {job}")
    try:
        e.submit(Job(s.prompts[0], sampling=Sampling(e.info.context)))
    except TooLong:
        return
    raise AssertionError("a job longer than the context was not refused")


SUITE: tuple[Callable[[Subject], Awaitable[None]], ...] = (
    company,
    repeats,
    coldest,
    pieces,
    probes,
    prompt_spans,
    acts_are_what_they_say,
    gates,
    acts_stay_in_their_row,
    prefixes,
    updates,
    cancels,
    stops,
    scores,
    refusals,
)
"""Every check."""
