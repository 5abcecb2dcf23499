"""Two checkpoints of one model on named concepts: the same answers, and the same insides?

The rule, fixed before any figure was seen but for the AUROC of a refusal, which was 0.6 until a model that had learnt nothing
reached 0.74 [0.60, 0.85], since its few words tell classes apart by chance:

- *refused*: one of them does not tell the concept's two answers apart (lower end of the AUROC of its read-out under 0.7), or a
  context has no direction that one half of its prompts finds again in the other;
- *same*: no answer changes, and every read-out and every figure of the one is the other's within 0.001;
- *different score*: the accuracies are shown to differ;
- *same score, different inside*: accuracies are shown equal within 5 points, and the mean corrected cosine, the kappa of
  gradients or the transfer of edits differs by more than 0.1, with an interval that leaves out 0: which of the two holds the
  concept in one piece is named;
- *same score, same inside*: accuracies are shown equal and each of the three differs by less than 0.1 with its whole interval;
- *not shown*: neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from homing.fracture.checkpoint_axis import axis_agreement
from homing.fracture.checkpoint_figures import (
    F64,
    Bool,
    Insides,
    Layout,
    across,
    answers,
    arrives,
    backwards,
    gradient_figures,
    over_contexts,
    paired,
    right_answers,
    same_answers,
    unfound,
    within,
)
from homing.fracture.concept import LEAST_HALF, judge_concept
from homing.fracture.concept_contexts import Units
from homing.stats.estimate import Estimate
from homing.stats.tests import tost_proportion

__all__ = ["CheckpointVerdict", "Compared", "compare_concept", "overall", "unanswered"]

CheckpointVerdict = Literal[
    "same", "same score, same inside", "same score, different inside", "different score", "not shown", "refused"
]
TOLD_APART = 0.7
"""Lower end of the AUROC of the read-out under which a checkpoint does not answer the concept."""
MARGIN = 0.05
"""Accuracies that differ by no more are the same score."""
WITHIN = 0.1
"""Figures of the inside that differ by no more are the same."""
EXACT = 1e-3


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """One concept.

    Attributes:
        verdict, reasons: what is said, the deciding sentence first. ``figures``: name to ``a``, ``b`` and ``change``.
    """

    name: str
    verdict: CheckpointVerdict
    reasons: tuple[str, ...]
    figures: dict[str, dict[str, Estimate]] = field(default_factory=dict[str, dict[str, Estimate]])

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        table = {k: {side: e.to_json() for side, e in row.items()} for k, row in self.figures.items()}
        return {"name": self.name, "verdict": self.verdict, "reasons": list(self.reasons), "figures": table}


def unanswered(name: str, layout: Layout, a: F64, b: F64) -> Compared | None:
    """A refusal where a checkpoint does not answer the concept. ``a``, ``b``: read-outs, ``(n,)``; None: both do."""
    figures = answers(layout, a, b, layout.rows(name))
    told = figures["auroc"]
    lost = [k for k in ("a", "b") if told[k].low < TOLD_APART]
    if not lost:
        return None
    said = ", ".join(f"{k.upper()} {told[k]:.2f}" for k in lost)
    why = f"the two answers of {name!r} are not told apart, AUROC of the read-out {said}: its lower end must be {TOLD_APART}"
    return Compared(name, "refused", (why,), figures)


def compare_concept(name: str, layout: Layout, a: Insides, b: Insides, *, seed: int) -> Compared:
    """Both checkpoints on one concept that both answer; those beside it in the layout are the unrelated ones."""
    rows, some = layout.rows(name), layout.of(name)
    figures = answers(layout, a.said, b.said, rows) | same_answers(layout, a, b, rows, seed)
    sides = {"a": a, "b": b}
    found = {k: s.cosines("stream", layout, seed=seed) for k, s in sides.items()}
    if weak := unfound(found, layout, some):
        why = f"no direction that one half of the prompts finds again in the other (under {LEAST_HALF}): {weak}"
        return Compared(name, "refused", (why,), figures)
    streams = [Units.of(layout.contexts(s.stream, some)) for s in sides.values()]
    figures["axis"] = {"change": axis_agreement(streams[0], streams[1], seed=seed)}
    figures["cosine"] = over_contexts(found, lambda c: within(c, some))
    if len(some) < len(layout.names):
        others = [g for g in range(len(layout.names)) if g not in some]
        figures["cosine_unrelated"] = over_contexts(found, lambda c: across(c, some, others))
    notes = gradient_figures(name, layout, sides, some, figures, seed)
    # an edit mends answers, and so moves read-outs as they should go; a push is towards the concept, whatever the prompt is
    for key, made in (
        ("edit_transfer", {k: arrives(layout, s.edits * layout.signs, some, seed) for k, s in sides.items()}),
        ("steering_transfer", {k: arrives(layout, s.pushes, some, seed) for k, s in sides.items()}),
    ):
        figures[key] = paired(made, n=int(layout.held[rows].sum()))
    figures["steered_backwards"] = {k: backwards(layout, s.pushes, some) for k, s in sides.items()}
    judged = {k: judge_concept(layout.contexts(s.stream, some), seed=seed) for k, s in sides.items()}
    for key in ("share", "auroc_lost"):
        if all(key in j.figures for j in judged.values()):
            figures[key] = {k: j.figures[key] for k, j in judged.items()}
    notes += [f"{k.upper()}, by itself: {j.verdict} ({j.reasons[0]})" for k, j in judged.items()]
    verdict, why = _decide(name, layout, a, b, rows, figures)
    return Compared(name, verdict, (why, *notes), figures)


def _decide(
    name: str, layout: Layout, a: Insides, b: Insides, rows: Bool, figures: Mapping[str, Mapping[str, Estimate]]
) -> tuple[CheckpointVerdict, str]:
    inside = {k: figures[k]["change"] for k in ("cosine", "kappa", "edit_transfer") if k in figures}
    moved = max(
        (abs(figures[k]["change"].value) for k in figures if "a" in figures[k] and "change" in figures[k]), default=0.0
    )
    scale = max(float(np.std(a.said[rows])), 1e-12)
    apart = float(np.abs(a.said - b.said)[rows].max()) / scale
    flips = figures["flips"]["change"]
    if flips.value == 0 and apart <= EXACT and moved <= EXACT:
        return (
            "same",
            f"no answer of {flips.n} changes, read-outs differ by {apart:.1e} of their spread and no figure by more than {EXACT}",
        )
    gap = figures["accuracy_change"]["change"]
    alike = tost_proportion(*right_answers(layout, a, b, rows), margin=MARGIN).verdict
    if alike != "equivalent":
        if gap.low > 0 or gap.high < 0:
            return "different score", f"accuracy differs by {gap:+.2f}: what is inside is not compared at one score"
        return "not shown", f"that the accuracies are equal within {MARGIN:.0%} is not shown ({gap:+.2f}); add prompts"
    odd = {k: e for k, e in inside.items() if abs(e.value) > WITHIN and (e.low > 0 or e.high < 0)}
    if odd:
        more = {"B" if e.value > 0 else "A" for e in odd.values()}
        who = (
            f"{more.pop()} holds it more in one piece"
            if len(more) == 1
            else "which holds it more in one piece they do not agree on"
        )
        said = ", ".join(f"{k.replace('_', ' ')} {e:+.2f}" for k, e in odd.items())
        return "same score, different inside", f"{name!r}: {who} ({said}, B less A)"
    if inside and all(e.low > -WITHIN and e.high < WITHIN for e in inside.values()):
        return (
            "same score, same inside",
            f"{', '.join(k.replace('_', ' ') for k in inside)} differ by less than {WITHIN}, with their whole intervals",
        )
    wide = ", ".join(
        f"{k.replace('_', ' ')} {e:+.2f}" for k, e in inside.items() if not (e.low > -WITHIN and e.high < WITHIN)
    )
    return (
        "not shown",
        f"same score; that the insides are equal within {WITHIN}, or not, is not shown ({wide}); add prompts",
    )


def overall(found: Sequence[Compared]) -> CheckpointVerdict:
    """One verdict over concepts: that which says most against their being one."""
    order: tuple[CheckpointVerdict, ...] = (
        "different score", "same score, different inside", "not shown", "same score, same inside", "same", "refused"
    )  # fmt: skip
    return order[min(order.index(c.verdict) for c in found)]
