"""Identities of caps, whatever the numbers: on the hooks' own arithmetic, and a few times in the tiny model."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.engine.base import ALL_SPANS, Act, Direction, Gate, Job, Sampling
from homing.engine.torch import TorchEngine
from homing.engine.torch.probe import Plan, Probe, Table
from homing.engine.wants import Wants
from homing.hold.cap import Cap
from homing.persona.axis import Axis
from homing.testing.tiny import tiny_llama

HIDDEN, LAYERS = 12, 2
LAYER = (1,)
#: float32 through one sum of HIDDEN products and one addition, relative to the numbers that enter
NEAR = 2e-5

seeds = st.integers(0, 2**31 - 1)
thresholds = st.floats(-20, 20, width=32)
strengths = st.floats(2**-7, 1.0, width=32)
amounts = st.floats(-20, 20, width=32)
sizes = st.floats(2**-7, 30.0, width=32)
properties = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def direction(seed: int, *, layers: int = LAYERS) -> Direction:
    v = np.random.default_rng(seed).standard_normal((layers, HIDDEN)).astype(np.float32)
    return Direction("v", tuple(range(layers)), v)


def negated(d: Direction) -> Direction:
    return Direction("minus", d.layers, -d.vectors)


def stream(seed: int, size: float, *, rows: int = 1, tokens: int = 5) -> torch.Tensor:
    """A residual stream ``(rows, tokens, hidden)`` with outliers, as real ones have."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, tokens, HIDDEN)) * size
    x[..., 0] *= 8
    return torch.tensor(x, dtype=torch.float32)


def through(
    x: torch.Tensor,
    *rows: tuple[Act, ...],
    knows: tuple[Direction, ...],
    codes: np.ndarray | None = None,
    deferred: bool = False,
) -> tuple[torch.Tensor, np.ndarray | None]:
    """The stream after two layers that do nothing but what their hooks do, and what fired."""
    table = Table(layers=LAYERS, hidden=HIDDEN, device=torch.device("cpu"))
    for d in knows:
        table.register(d)
    wants = [Wants(acts=acts) for acts in rows]
    for w in wants:
        table.check(w)
    codes = np.full(x.shape[:2], 2, np.int8) if codes is None else codes
    layers = [torch.nn.Identity() for _ in range(LAYERS)]
    probe = Probe(layers)
    probe.arm(Plan(table, wants, codes, deferred=deferred))
    for layer in layers:
        x = layer(x)
    fired = probe.finish().fired
    probe.disarm()
    return x, fired


def onto(x: torch.Tensor, d: Direction) -> np.ndarray:
    """Projections in float64, ``(rows, tokens)``."""
    return x.numpy().astype(np.float64) @ d.at(1).astype(np.float64)


def scale(x: torch.Tensor, *more: float) -> float:
    return NEAR * (float(x.norm(dim=-1).max()) + sum(abs(m) for m in more) + 1.0)


def close(a: torch.Tensor, b: torch.Tensor, within: float) -> None:
    assert float((a - b).abs().max()) <= within


@properties
@given(seeds, sizes, thresholds, st.sampled_from(["floor", "ceiling"]))
def test_a_cap_twice_is_the_cap_once(seed, size, threshold, kind) -> None:
    d, x = direction(seed), stream(seed, size)
    act = Act(kind, d.id, LAYER, (threshold,))
    once, _ = through(x, (act,), knows=(d,))
    again, fired = through(once, (act,), knows=(d,))
    stacked, _ = through(x, (act, act), knows=(d,))
    within = scale(x, threshold)
    close(again, once, within)
    close(stacked, once, within)
    assert fired is not None and np.abs(fired).max() <= within


@properties
@given(seeds, sizes, thresholds, strengths)
def test_a_floor_never_lowers_and_a_ceiling_never_raises(seed, size, threshold, strength) -> None:
    d, x = direction(seed), stream(seed, size)
    before, within = onto(x, d), scale(x, threshold)
    for kind, side in (("floor", 1.0), ("ceiling", -1.0)):
        out, fired = through(x, (Act(kind, d.id, LAYER, (threshold,), strength),), knows=(d,))
        assert fired is not None and (side * fired >= 0).all()  # what it says it did has no slack
        after = onto(out, d)
        assert (side * (after - before) >= -within).all()
        # what is across the direction stays: the whole change lies along it
        change = (out - x).numpy().astype(np.float64)
        along = (change @ d.at(1).astype(np.float64))[..., None] * d.at(1)
        assert np.abs(change - along).max() <= within
        beyond = torch.from_numpy(side * (threshold - before) < -within)
        assert torch.equal(out[beyond], x[beyond])


@properties
@given(seeds, sizes, thresholds, st.lists(strengths, min_size=2, max_size=4))
def test_a_soft_cap_lies_between_none_and_full_and_grows_with_its_strength(seed, size, threshold, several) -> None:
    d, x = direction(seed), stream(seed, size)
    before, within = onto(x, d), scale(x, threshold)
    at = [onto(through(x, (Act("floor", d.id, LAYER, (threshold,), s),), knows=(d,))[0], d) for s in sorted(several)]
    full = onto(through(x, (Act("floor", d.id, LAYER, (threshold,)),), knows=(d,))[0], d)
    assert np.abs(full - np.maximum(before, threshold)).max() <= within
    for s, soft in zip(sorted(several), at, strict=True):
        assert (soft >= before - within).all() and (soft <= full + within).all()
        assert np.abs(soft - ((1 - s) * before + s * full)).max() <= within
    for weaker, stronger in pairwise(at):
        assert (stronger >= weaker - within).all()


@properties
@given(seeds, sizes, thresholds, strengths)
def test_a_ceiling_is_the_negated_floor_of_the_negated_direction(seed, size, threshold, strength) -> None:
    d, x = direction(seed), stream(seed, size)
    flipped = negated(d)
    ceiling, down = through(x, (Act("ceiling", d.id, LAYER, (threshold,), strength),), knows=(d,))
    floor, up = through(x, (Act("floor", flipped.id, LAYER, (-threshold,), strength),), knows=(flipped,))
    mirror, _ = through(-x, (Act("floor", d.id, LAYER, (-threshold,), strength),), knows=(d,))
    assert torch.equal(ceiling, floor) and torch.equal(ceiling, -mirror)
    assert down is not None and up is not None and np.array_equal(down, -up)


@properties
@given(seeds, sizes, thresholds, strengths)
def test_the_type_cap_flips_sign_as_its_acts_do(seed, size, threshold, strength) -> None:
    d, x = direction(seed), stream(seed, size)
    axis = Axis(d.layers, d.vectors, (0.0,) * LAYERS, (1.0,) * LAYERS, 1)
    cap = Cap.floor(axis, LAYER, [threshold], strength=strength)
    same = replace(cap, kind="ceiling", direction=negated(d), thresholds=(-threshold,))
    wrong = replace(cap, direction=negated(d))
    assert cap.cosine(axis) == same.cosine(axis) == -wrong.cosine(axis)
    held, also = (through(x, c.acts(), knows=(c.direction,))[0] for c in (cap, same))
    assert torch.equal(held, also)
    back = Cap.from_section(*cap.to_section())
    assert torch.equal(held, through(x, back.acts(), knows=(back.direction,))[0])


@properties
@given(seeds, sizes, amounts, amounts)
def test_acts_of_addition_sum_and_do_not_look_at_the_stream(seed, size, a, b) -> None:
    d, x = direction(seed), stream(seed, size)
    one, other = (Act("add", d.id, LAYER, strength=s) for s in (a, b))
    total = Act("add", d.id, LAYER, strength=float(np.float32(a) + np.float32(b)))
    both, _ = through(x, (one, other), knows=(d,))
    within = scale(x, a, b)
    close(both, through(x, (other, one), knows=(d,))[0], within)
    close(both, through(x, (total,), knows=(d,))[0], within)
    zero, _ = through(torch.zeros_like(x), (one,), knows=(d,))
    close(through(x, (one,), knows=(d,))[0] - x, zero, within)


@properties
@given(seeds, sizes, amounts, st.floats(2**-7, 2.0, width=32))
def test_ablation_is_linear_in_the_stream_and_whole_ablation_a_projection(seed, size, k, strength) -> None:
    d, x, y = direction(seed), stream(seed, size), stream(seed + 1, size)
    act = (Act("ablate", d.id, LAYER, strength=strength),)
    within = (1 + abs(k)) * 3 * scale(x, float(y.norm(dim=-1).max()))
    of_x, of_y, of_sum = (through(z, act, knows=(d,))[0] for z in (x, y, x + k * y))
    close(of_sum, of_x + k * of_y, within)
    whole = (Act("ablate", d.id, LAYER),)
    once, _ = through(x, whole, knows=(d,))
    assert np.abs(onto(once, d)).max() <= scale(x)
    close(through(once, whole, knows=(d,))[0], once, scale(x))


@properties
@given(seeds, sizes, thresholds, thresholds, st.sampled_from(["below", "above"]), st.integers(0, 1))
def test_a_gate_lets_an_act_through_where_it_is_open_and_nowhere_else(seed, size, threshold, edge, side, at) -> None:
    d, other, x = direction(seed), direction(seed + 1), stream(seed, size)
    cap = Act("floor", d.id, LAYER, (threshold,))
    gated = replace(cap, gate=Gate(other.id, at, edge, side))
    free, _ = through(x, (cap,), knows=(d, other))
    held, _ = through(x, (gated,), knows=(d, other))
    projection = x.numpy().astype(np.float64) @ other.at(at).astype(np.float64)
    is_open = projection < edge if side == "below" else projection > edge
    sure = np.abs(projection - edge) > scale(x, edge)  # at the very edge rounding decides
    for tokens, expected in ((sure & is_open, free), (sure & ~is_open, x)):
        assert torch.equal(held[torch.from_numpy(tokens)], expected[torch.from_numpy(tokens)])


@st.composite
def acts(draw: st.DrawFn, known: tuple[Direction, ...]) -> tuple[Act, ...]:
    """Up to three acts, any kinds, gates, spans and layers."""
    out = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["floor", "ceiling", "add", "ablate"]))
        layers = draw(st.sampled_from([(0,), (1,), (0, 1)]))
        bounded = kind in ("floor", "ceiling")
        gate = None
        if draw(st.booleans()):
            gate = Gate(
                draw(st.sampled_from(known)).id,
                draw(st.integers(0, layers[0])),
                draw(thresholds),
                draw(st.sampled_from(["below", "above"])),
            )
        out.append(
            Act(
                kind,
                draw(st.sampled_from(known)).id,
                layers,
                tuple(draw(thresholds) for _ in layers) if bounded else (),
                draw(strengths) if bounded else draw(st.floats(0.125, 4.0, width=32)),
                draw(st.sampled_from([ALL_SPANS, frozenset({"reply"}), frozenset({"prompt", "thinking"})])),
                gate,
            )
        )
    return tuple(out)


KNOWN = tuple(direction(s) for s in (1, 2, 3))


@settings(properties, max_examples=200)
@given(st.lists(acts(KNOWN), min_size=2, max_size=5), seeds, st.booleans())
def test_a_row_does_not_depend_on_its_batch_company(rows, seed, one_token) -> None:
    rng = np.random.default_rng(seed)
    tokens = 1 if one_token else 5
    x = stream(seed, 3.0, rows=len(rows), tokens=tokens)
    codes = rng.integers(0, 3, x.shape[:2]).astype(np.int8)
    codes[:, : int(rng.integers(0, tokens))] = -1  # padding is never acted on
    together, _ = through(x, *rows, knows=KNOWN, codes=codes, deferred=one_token)
    order = rng.permutation(len(rows))
    shuffled, _ = through(
        x[torch.from_numpy(order)], *(rows[i] for i in order), knows=KNOWN, codes=codes[order], deferred=one_token
    )
    assert torch.equal(together[torch.from_numpy(order)], shuffled)
    for i, row in enumerate(rows):
        alone, _ = through(x[i : i + 1], row, knows=KNOWN, codes=codes[i : i + 1], deferred=one_token)
        assert torch.equal(together[i : i + 1], alone)
        if not row:
            assert torch.equal(alone, x[i : i + 1])
    padding = torch.from_numpy(codes < 0)
    assert torch.equal(together[padding], x[padding])


@pytest.fixture(scope="module")
def engine():
    model, tokenizer = tiny_llama(layers=3, hidden=32)
    engine = TorchEngine(model, tokenizer, slots=4)
    yield engine
    engine.close_now()


@settings(properties, max_examples=5)
@given(seeds, st.floats(0.25, 4.0, width=32), strengths)
def test_in_a_model_a_held_row_is_the_same_alone_and_in_company_and_from_either_side(engine, seed, raised, s) -> None:
    rng = np.random.default_rng(seed)
    d = Direction("v", (0, 1, 2), rng.standard_normal((3, 32)).astype(np.float32))
    flipped = negated(d)
    engine.register(d)
    engine.register(flipped)
    floor = Act("floor", d.id, (0, 1), (raised, raised), s)
    ceiling = Act("ceiling", flipped.id, (0, 1), (-raised, -raised), s)
    prompts = [tuple(rng.integers(0, 250, int(rng.integers(3, 30))).tolist()) for _ in range(4)]
    sampling = Sampling(6, stop_tokens=())
    held = [Job(p, sampling=sampling, acts=(floor,)) for p in prompts]
    mixed = [held[0], Job(prompts[1], sampling=sampling), Job(prompts[2], sampling=sampling, acts=(floor, floor))]

    async def one(stream):
        steps = [step async for step in stream]
        return (await stream.result()).tokens, np.array([step.fired[0] if step.fired else () for step in steps])

    async def run(jobs):
        return [await one(stream) for stream in engine.submit_all(jobs)]

    async def everything():
        return await run(held[:1]), await run(mixed), await run([replace(held[0], acts=(ceiling,))])

    ((tokens, moved),), company, (mirror,) = asyncio.run(everything())
    assert (moved >= 0).all() and moved.max() > 0
    for other_tokens, also_moved in (company[0], mirror):
        assert other_tokens == tokens
        np.testing.assert_allclose(np.abs(also_moved), moved, rtol=1e-4, atol=1e-4)
