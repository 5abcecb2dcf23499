"""``homing doctor`` on a GGUF: the library that runs it, what its graph shows, and whether reading and holding are neutral."""

from __future__ import annotations

import asyncio
from typing import cast

import numpy as np

from homing.engine.base import Act, Direction, Job, Read, Sampling
from homing.engine.llamacpp import LlamaEngine
from homing.engine.llamacpp.context import Context
from homing.models.checks import NEW_TOKENS, PROMPTS, Check, DoctorReport, prompt_tokens, speed_check, template_checks
from homing.models.local import LocalModel
from homing.models.sources import open_model

__all__ = ["examine_gguf"]

_SHIFT = 4.0
"""Of what is added after a layer to see it arrive, in units of the residual stream's own size."""


def examine_gguf(name: str, *, threads: int | None = None, layers: str | None = None) -> DoctorReport:
    """Open a GGUF on llama.cpp and try everything that homing rests on.

    Args:
        name, threads, layers: as for :func:`homing.models.sources.open_model`.

    Raises:
        ModelError: there is no such model, or it cannot be used. MissingExtra: no wheel carries llama.cpp.
    """
    model = open_model(name, engine="llamacpp", threads=threads, slots=8, layers=layers)
    try:
        return asyncio.run(_examine(model, name))
    finally:
        cast(LlamaEngine, model.engine).close_now()


async def _examine(model: LocalModel, name: str) -> DoctorReport:
    engine, info = cast(LlamaEngine, model.engine), model.info
    d = info.details
    package = next(p for p in ("llama-cpp-python", "xllamacpp") if p in d)
    checks = [
        Check(
            "library",
            "ok",
            f"llama.cpp of {package} {d[package]}, {d['callback']} callback, {d['threads']} threads; weights in {info.dtype}",
            {"package": package, "version": d[package], "callback": d["callback"], "dtype": info.dtype},
        ),
        Check(
            "layers",
            "ok",
            f"{info.layers} layers of width {info.hidden} of architecture {d['architecture']}, each of whose residual streams"
            " comes by in full",
            {"count": info.layers, "hidden": info.hidden, "architecture": d["architecture"]},
        ),
    ]
    template, encoded = template_checks(model.tokenizer, checks)
    prompts = [prompt_tokens(p, template if encoded else None, model.tokenizer) for p in PROMPTS]
    v = np.random.default_rng(0).standard_normal((info.layers, info.hidden)).astype(np.float32)
    direction = Direction("probe", tuple(range(info.layers)), v)
    engine.register(direction)
    plain = [_plain(engine, p) for p in prompts]
    checks.append(await _hooks(engine, direction, prompts[0]))
    checks.append(await _shift(engine, direction, prompts[0]))
    checks.append(await _equality(engine, direction, prompts, plain))
    checks.append(await speed_check(engine, prompts))
    return DoctorReport(name, info.fingerprint, tuple(checks))


def _plain(engine: LlamaEngine, prompt: tuple[int, ...]) -> list[int]:
    """A greedy reply of llama.cpp without any callback."""
    w = engine.weights
    context = Context(
        w, None, None, cells=len(prompt) + NEW_TOKENS, sequences=1, threads=int(engine.info.details["threads"])
    )
    try:
        n, out = len(prompt), list[int]()
        context.decode(prompt, list(range(n)), [0] * n, np.arange(n) == n - 1)
        token = int(context.logits(n - 1).argmax())
        while token not in w.stops and len(out) < NEW_TOKENS:
            out.append(token)
            context.decode([token], [n + len(out) - 1], [0], np.ones(1, bool))
            token = int(context.logits(0).argmax())
        return out
    finally:
        context.close()


def _floor(direction: Direction, threshold: float) -> Act:
    layers = direction.layers
    return Act("floor", direction.id, layers, (threshold,) * len(layers))


async def _scored(engine: LlamaEngine, prompt: tuple[int, ...], acts: tuple[Act, ...], reads: tuple[Read, ...]):
    half = len(prompt) // 2
    return (await engine.score(prompt[:half], [prompt[half:]], acts=acts, reads=reads))[0]


async def _hooks(engine: LlamaEngine, direction: Direction, prompt: tuple[int, ...]) -> Check:
    read = Read(direction.id, direction.layers)
    bare = await _scored(engine, prompt, (), ())
    quiet = await _scored(engine, prompt, (_floor(direction, -np.inf),), (read,))
    neutral = bool(np.array_equal(bare.logprobs, quiet.logprobs))
    said = "change no bit" if neutral else "change the output"
    return Check(
        "hooks",
        "ok" if neutral else "failed",
        f"a floor at minus infinity and a reading at every layer {said}",
        {"neutral": neutral},
    )


async def _shift(engine: LlamaEngine, direction: Direction, prompt: tuple[int, ...]) -> Check:
    """What is added after a layer is read after the next one, along the same vector."""
    info = engine.info
    vector = direction.at(0)
    same = Direction("one", direction.layers, np.tile(vector, (info.layers, 1)))
    engine.register(same)
    read = Read(same.id, same.layers)
    before = (await _scored(engine, prompt, (), (read,))).readings[0]
    size = np.nanstd(before, axis=0)
    moved: list[float] = []
    for layer in range(info.layers - 1):
        act = Act("add", same.id, (layer,), strength=float(_SHIFT * size[layer]))
        after = (await _scored(engine, prompt, (act,), (read,))).readings[0]
        moved.append(float(np.nanmedian(after[:, layer + 1] - before[:, layer + 1])) / act.strength)
    arrives = min(moved) > 0.25
    return Check(
        "known_shift",
        "ok" if arrives else "failed",
        f"of a vector added after each of {info.layers - 1} layers, {np.median(moved):.0%} is read after the next one"
        f" (least {min(moved):.0%})",
        {"arrives": arrives, "layers": info.layers - 1, "median": float(np.median(moved)), "least": min(moved)},
    )


async def _equality(
    engine: LlamaEngine, direction: Direction, prompts: list[tuple[int, ...]], plain: list[list[int]]
) -> Check:
    """Replies read at every layer, under a floor that never fires, against llama.cpp alone."""
    jobs = [
        Job(p, sampling=Sampling(NEW_TOKENS), acts=(_floor(direction, -np.inf),), reads=(Read(direction.id, direction.layers),))
        for p in prompts
    ]  # fmt: skip
    alone = [list((await engine.submit(j).result()).tokens) for j in jobs]
    together = [list((await s.result()).tokens) for s in engine.submit_all(jobs)]
    equal = sum(a == b for a, b in zip(alone, plain, strict=True))
    company = sum(a == b for a, b in zip(together, plain, strict=True))
    rest = f"; {company} of them also when made together" + (
        "" if company == len(prompts) else ": quantised weights round by what else is computed"
    )
    return Check(
        "reply_equality",
        "ok" if equal == len(prompts) else "failed",
        f"{equal} of {len(prompts)} greedy replies of up to {NEW_TOKENS} tokens equal those without a callback{rest}",
        {"prompts": len(prompts), "equal": equal, "equal_together": company, "tokens": NEW_TOKENS},
    )
