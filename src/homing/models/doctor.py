"""``homing doctor``: what homing sees of a model, and whether it may be trusted with it. Everything is tried, not assumed."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from homing.engine.base import Job, Sampling
from homing.errors import LayersError, ModelError, Unsupported
from homing.models.checks import NEW_TOKENS, PROMPTS, Check, DoctorReport, prompt_tokens, speed_check, template_checks
from homing.models.hugging import fingerprint, load_hf
from homing.models.sources import EngineName, locate, resolve, runs_on
from homing.models.timing import step_seconds

if TYPE_CHECKING:
    from homing.engine.torch import TorchEngine

__all__ = ["Check", "DoctorReport", "examine"]

_TIE = 1e-3


def examine(
    name: str, *, engine: EngineName = "auto", threads: int | None = None, layers: str | None = None
) -> DoctorReport:
    """Open a model, a GGUF on llama.cpp as it is and others on torch in float32, and try everything that homing rests on.

    Args:
        name, engine, threads, layers: as for :func:`homing.models.sources.open_model`.

    Raises:
        ModelError: there is no such model, or its files are damaged. MissingExtra: what loads it is not installed.
    """
    source = locate(name)
    if runs_on(source, engine) == "llamacpp":
        from homing.models.doctor_gguf import examine_gguf

        return examine_gguf(name, threads=threads, layers=layers)
    model, tokenizer = load_hf(resolve(name), dtype="float32", threads=threads)
    return examine_loaded(model, tokenizer, name=name, layers=layers)


def examine_loaded(model: Any, tokenizer: Any, *, name: str, layers: str | None = None) -> DoctorReport:
    """The same for a model in memory. Its weights end in bfloat16, since both dtypes are timed.

    Args:
        model: a causal language model of transformers, in float32. tokenizer: its fast tokenizer. name: for the report.
        layers: dotted name of the decoder layers, where they are not found by structure.
    """
    checks: list[Check] = []
    try:
        mark = fingerprint(model, tokenizer)
    except ModelError as e:
        return DoctorReport(name, "", (Check("tokenizer", "failed", str(e)),))
    checks.append(_layers(model, layers))
    template, encoded = template_checks(tokenizer, checks)
    before = _logits(model, tokenizer)
    engine = _engine(model, tokenizer, mark, checks, layers)
    if engine is None:
        for left in ("reply_equality", "speed", "untouched"):
            checks.append(Check(left, "not_measurable", "the engine did not open"))
    else:
        prompts = [prompt_tokens(p, template if encoded else None, tokenizer) for p in PROMPTS]
        try:
            checks += asyncio.run(_through(engine, model, tokenizer, prompts))
        finally:
            engine.close_now()
        same = bool((before == _logits(model, tokenizer)).all())
        said = "bit-equal to" if same else "other than"
        checks.append(
            Check(
                "untouched",
                "ok" if same else "failed",
                f"afterwards the model gives logits {said} before",
                {"equal": same},
            )
        )
    checks.append(_dtypes(model))
    return DoctorReport(name, mark, tuple(checks))


def _layers(model: Any, layers: str | None) -> Check:
    from homing.engine.torch.layers import find

    try:
        found = find(model, layers=layers)
    except LayersError as e:
        return Check("layers", "failed", str(e))
    facts = {"path": found.path, "how": found.how, "count": len(found.layers), "hidden": found.hidden}
    how = "named by you" if found.how == "named" else f"found by {found.how}"
    return Check(
        "layers",
        "ok",
        f"{len(found.layers)} decoder layers of width {found.hidden} at {found.path}, {how}",
        facts,
    )


def _logits(model: Any, tokenizer: Any) -> Any:
    import torch

    ids = torch.tensor([tokenizer(PROMPTS[0])["input_ids"]], device=next(model.parameters()).device)
    with torch.inference_mode():
        return model(input_ids=ids, use_cache=False).logits.clone()


def _engine(model: Any, tokenizer: Any, mark: str, checks: list[Check], layers: str | None) -> TorchEngine | None:
    from homing.engine.torch import TorchEngine

    try:
        engine = TorchEngine(model, tokenizer, slots=8, fingerprint=mark, layers=layers)
    except (LayersError, Unsupported) as e:
        checks.append(Check("hooks", "failed", str(e)))
        checks.append(Check("known_shift", "not_measurable", "the engine did not open"))
        return None
    d = engine.info.details
    neutral, arrives = bool(d["hook_neutral"]), bool(d["shift_arrives"])
    checks.append(
        Check(
            "hooks",
            "ok" if neutral else "failed",
            f"an act of strength zero at every layer {'changes no bit' if neutral else 'changes the output'}; "
            f"through slots the logits differ by {d['cache_error']:.1g} of their spread",
            {"neutral": neutral, "cache_error": d["cache_error"]},
        )
    )
    checks.append(
        Check(
            "known_shift",
            "ok" if arrives else "failed",
            f"a vector added after each of {engine.info.layers} layers {'arrives' if arrives else 'does not arrive'} "
            "at the next one",
            {"arrives": arrives, "layers": engine.info.layers},
        )
    )
    return engine


async def _through(engine: TorchEngine, model: Any, tokenizer: Any, prompts: list[tuple[int, ...]]) -> list[Check]:
    """The checks that generate."""
    return [await _equality(engine, model, tokenizer, prompts), await speed_check(engine, prompts)]


async def _equality(engine: TorchEngine, model: Any, tokenizer: Any, prompts: list[tuple[int, ...]]) -> Check:
    import torch
    from transformers import GenerationConfig

    ends = _ends(model, tokenizer)
    jobs = [Job(p, sampling=Sampling(max_new_tokens=NEW_TOKENS, stop_tokens=tuple(ends))) for p in prompts]
    ours = [list((await s.result()).tokens) for s in engine.submit_all(jobs)]
    greedy = GenerationConfig(  # all said here: what is left open is filled from the model's own, with its penalties
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else 0,
    )
    device = next(model.parameters()).device
    equal = 0
    for prompt, mine in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt], device=device)
        with torch.inference_mode():
            theirs = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=greedy)
            theirs = theirs[0, len(prompt) :].tolist()
            if mine == [t for t in theirs if t not in ends]:
                equal += 1
                continue
            at = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), None)
            if at is None:
                return Check(
                    "reply_equality", "failed", f"the reply has {len(mine)} tokens and generate's {len(theirs)}"
                )
            so_far = torch.tensor([[*prompt, *theirs[:at]]], device=device)
            logits = model(input_ids=so_far, use_cache=False).logits[0, -1].float()
        margin = abs(float(logits[theirs[at]] - logits[mine[at]]))
        words = [tokenizer.decode([t]) for t in (mine[at], theirs[at])]
        facts = {"prompts": len(prompts), "token": at, "margin": margin}
        tie = margin < _TIE
        return Check(
            "reply_equality",
            "not_measurable" if tie else "failed",
            f"the replies part at token {at}, {words[0]!r} against {words[1]!r}, which the model itself tells apart by "
            f"{margin:.2g} logits{': a tie' if tie else ''}",
            facts,
        )
    return Check(
        "reply_equality",
        "ok",
        f"{equal} greedy replies of up to {NEW_TOKENS} tokens, made together, equal the untouched model's generate",
        {"prompts": equal, "tokens": NEW_TOKENS},
    )


def _ends(model: Any, tokenizer: Any) -> list[int]:
    own: Any = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids: list[Any] = [*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id]
    return sorted({int(i) for i in ids if i is not None})


def _dtypes(model: Any) -> Check:
    """Last, since it turns the weights to bfloat16: a second copy might not fit in memory."""
    import torch

    full = step_seconds(model)
    try:
        half = step_seconds(model.to(torch.bfloat16))
    except RuntimeError as e:
        reason = str(e).splitlines()[0]
        return Check(
            "dtype", "not_measurable", f"this machine cannot run it in bfloat16: {reason}", {"float32": full.to_json()}
        )
    faster = "float32" if full.value <= half.value else "bfloat16"
    return Check(
        "dtype",
        "ok",
        f"one step takes {1000 * full.value:.1f} ms in float32 and {1000 * half.value:.1f} ms in bfloat16; "
        f"{faster} is faster, and maps and tests use float32 whatever is faster",
        {"float32": full.to_json(), "bfloat16": half.to_json(), "faster": faster},
    )
