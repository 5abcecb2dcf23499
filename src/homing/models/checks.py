"""What ``homing doctor`` finds out of any model, whatever engine runs it, and the report it makes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from homing.conversation import Conversation
from homing.engine.base import Engine, Job, Sampling
from homing.engine.template import ChatTemplate, Encoded, offsets
from homing.errors import TemplateError
from homing.jsonable import strict
from homing.models.timing import median_of
from homing.stats.estimate import Estimate

__all__ = [
    "NEW_TOKENS",
    "PROMPTS",
    "SAMPLE",
    "Check",
    "DoctorReport",
    "prompt_tokens",
    "speed_check",
    "template_checks",
]

State = Literal["ok", "failed", "not_measurable"]
SAMPLE = Conversation.of(
    "What do you do all day?", "I answer questions, mostly.", "And when nobody asks any?", system="Answer in short."
)
"""The conversation whose spans are shown."""
PROMPTS = ("What is a tide?", "Name three trees.", "Write one line about the sea at night.")
NEW_TOKENS = 24
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


def template_checks(tokenizer: Any, checks: list[Check]) -> tuple[ChatTemplate | None, Encoded | None]:
    """Add what the template does and what it inserts; the template and the sample's encoding where they can be used."""
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


def prompt_tokens(text: str, template: ChatTemplate | None, tokenizer: Any) -> tuple[int, ...]:
    """A question as the model would be asked it; bare where no template can be used."""
    if template is None:
        return tuple(int(i) for i in tokenizer(text)["input_ids"])
    return template.encode(Conversation.of(text), tokenizer).tokens


async def speed_check(engine: Engine, prompts: list[tuple[int, ...]]) -> Check:
    """Tokens a second, alone and with 8 rows."""
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
