"""``homing doctor``: what homing sees of a model, and whether it may be trusted with it. Everything is tried, not assumed."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from homing.conversation import Conversation
from homing.engine.base import Job, Sampling
from homing.engine.template import ChatTemplate, Encoded
from homing.errors import LayersError, ModelError, TemplateError, Unsupported
from homing.jsonable import strict
from homing.models.hugging import fingerprint, load_hf
from homing.models.sources import resolve
from homing.models.timing import median_of, step_seconds
from homing.stats.estimate import Estimate

if TYPE_CHECKING:
    from homing.engine.torch import TorchEngine

__all__ = ["Check", "DoctorReport", "examine"]

State = Literal["ok", "failed", "not_measurable"]
SAMPLE = Conversation.of(
    "What do you do all day?", "I answer questions, mostly.", "And when nobody asks any?", system="Answer in short."
)
"""The conversation whose spans are shown."""
PROMPTS = ("What is a tide?", "Name three trees.", "Write one line about the sea at night.")
NEW_TOKENS = 24
_TIE = 1e-3
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: which. ``state``: how it ended. ``sentence``: what was found, for a person.
        facts: the same for a program: texts, counts, and figures as objects of value, low, high, level, n.
    """

    name: str
    state: State
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything that was tried on one model, in order."""

    model: str
    fingerprint: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return all(c.state != "failed" for c in self.checks)

    def __getitem__(self, name: str) -> Check:
        """One check by name.

        Raises:
            KeyError: there is no check of this name.
        """
        for c in self.checks:
            if c.name == name:
                return c
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """The object that ``homing doctor --json`` prints."""
        return {
            "schema": "homing.doctor/1",
            "model": self.model,
            "fingerprint": self.fingerprint,
            "ok": self.ok,
            "checks": [
                {"name": c.name, "state": c.state, "sentence": c.sentence, "facts": strict(c.facts)}
                for c in self.checks
            ],
        }

    def text(self) -> str:
        """The report for a person, one line a check."""
        words = {"ok": "ok", "failed": "FAILED", "not_measurable": "not measurable"}
        rows = [f"{self.model}, fingerprint {self.fingerprint[:12] or 'unknown'}"]
        rows += [f"{c.name.replace('_', ' '):<16} {words[c.state]:<15} {c.sentence}" for c in self.checks]
        return "\n".join(rows)


def examine(name: str, *, threads: int | None = None, layers: str | None = None) -> DoctorReport:
    """Open a model in float32 and try everything that homing rests on.

    Args:
        name, threads, layers: as for :func:`homing.models.sources.open_model`.

    Raises:
        ModelError: there is no such model, or its files are damaged. MissingExtra: what loads it is not installed.
    """
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
    template, encoded = _template(tokenizer, checks)
    before = _logits(model, tokenizer)
    engine = _engine(model, tokenizer, mark, checks, layers)
    if engine is None:
        for left in ("reply_equality", "speed", "untouched"):
            checks.append(Check(left, "not_measurable", "the engine did not open"))
    else:
        prompts = [_prompt(p, template if encoded else None, tokenizer) for p in PROMPTS]
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


def _template(tokenizer: Any, checks: list[Check]) -> tuple[ChatTemplate | None, Encoded | None]:
    try:
        template = ChatTemplate.from_tokenizer(tokenizer)
        probe = template.probe
    except TemplateError as e:
        checks.append(Check("template", "failed", str(e)))
        checks.append(Check("implicit_system", "not_measurable", "there is no template that can be used"))
        return None, None
    encoded: Encoded | None = None
    try:
        encoded = template.encode(SAMPLE, tokenizer)
    except TemplateError as e:
        checks.append(Check("template", "failed", str(e)))
    else:
        checks.append(_spans(encoded, template, tokenizer))
    said = probe.implicit_system
    sentence = (
        f"without a system message it inserts: {said.strip()!r}" if said else "it inserts no system prompt of its own"
    )
    checks.append(Check("implicit_system", "ok", sentence, {"text": said, "given_system": probe.system}))
    return template, encoded


def _spans(encoded: Encoded, template: ChatTemplate, tokenizer: Any) -> Check:
    from homing.engine.template import offsets

    wanted = [m.content for m in SAMPLE if m.role == "assistant"]
    _, places = offsets(tokenizer, encoded.text)
    found = [encoded.text[places[r.start][0] : places[r.stop - 1][1]].strip() for r in encoded.replies]
    runs = [
        {"span": kind, "text": encoded.text[(at := list(group))[0][1][0] : at[-1][1][1]]}
        for kind, group in groupby(zip(encoded.spans, places, strict=True), key=lambda pair: pair[0])
    ]
    facts = {
        "pieces": runs,
        "tokens": len(encoded.tokens),
        "thinking": list(template.probe.think) if template.probe.think else None,
        "system": template.probe.system,
        "system_merged": encoded.system_merged,
    }
    if found != wanted:
        return Check("template", "failed", f"the reply {wanted[0]!r} came back as {found}", facts)
    tokens = sum(r.stop - r.start for r in encoded.replies)
    rest = f"a system message is {template.probe.system}"
    if template.probe.think:
        rest += f", thinking lies between {template.probe.think[0]!r} and {template.probe.think[1]!r}"
    return Check(
        "template", "ok", f"{tokens} of {len(encoded.tokens)} sample tokens are reply, exactly its text; {rest}", facts
    )


def _prompt(text: str, template: ChatTemplate | None, tokenizer: Any) -> tuple[int, ...]:
    if template is None:
        return tuple(int(i) for i in tokenizer(text)["input_ids"])
    return template.encode(Conversation.of(text), tokenizer).tokens


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
    return [await _equality(engine, model, tokenizer, prompts), await _speed(engine, prompts)]


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


async def _speed(engine: TorchEngine, prompts: list[tuple[int, ...]]) -> Check:
    figures: dict[str, Estimate] = {}
    for rows in (1, 8):
        rates: list[float] = []
        for k in range(_ROUNDS + 1):  # the first is a warm-up
            jobs = [
                Job(prompts[i % len(prompts)], sampling=Sampling(max_new_tokens=NEW_TOKENS, seed=k, stop_tokens=()))
                for i in range(rows)
            ]
            start = time.perf_counter()
            made = sum([len((await s.result()).tokens) for s in engine.submit_all(jobs)])
            rates.append(made / (time.perf_counter() - start))
        figures[f"batch_{rows}"] = median_of(rates[1:], unit="tokens/s")
    one, eight = figures["batch_1"], figures["batch_8"]
    return Check(
        "speed",
        "ok",
        f"{one.value:.0f} tokens a second alone, {eight.value:.0f} with 8 rows, prompts included, "
        f"on {engine.info.details['threads']} threads",
        {k: v.to_json() for k, v in figures.items()},
    )


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
