"""What a hold does to the last answer of a reply, with equivalence tested, and how many tokens it saves."""

from __future__ import annotations

import numpy as np

from homing.instruments.base import Scored, not_measurable
from homing.instruments.item_figures import cost_of, of_items, within
from homing.instruments.reflection_rows import HELD_BY, LEAST, MARGIN, NAME, Rows, barred
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["answer_held"]


def answer_held(rows: Rows, hold: str) -> Finding:
    """Accuracy of last answers under a hold less that with nothing done, and tokens, over the same replies."""
    name = f"{NAME}.answer.{hold}"
    if reason := barred(rows, hold):
        return not_measurable(name, reason)
    sides = [{s.cell.id: s for s in rows.every(h) if s.values["said"]} for h in (hold, "none")]
    both = [k for k in sides[0] if k in sides[1]]
    by: dict[str, list[str]] = {}
    for k in both:
        by.setdefault(sides[0][k].cell.item, []).append(k)
    if len(by) < LEAST:
        return not_measurable(name, f"{len(by)} questions have replies on both sides, and {LEAST} must")
    mine, base = ({i: float(np.mean([_right(side[k]) for k in ks])) for i, ks in by.items()} for side in sides)
    gap = {i: mine[i] - base[i] for i in by}
    accuracy, p = of_items(gap, name, least=-1.0, most=1.0)
    tokens = [[float(side[k].values["tokens"]) for k in both] for side in sides]
    items = [sides[0][k].cell.item for k in both]
    kept = ratio_of_means(*tokens, seed=stable_seed(NAME, name), clusters=items)
    saved = Estimate(1 - kept.value, 1 - kept.high, 1 - kept.low, kept.level, kept.n, "", kept.method)
    shorter = {
        i: float(np.mean([sides[0][k].values["tokens"] < sides[1][k].values["tokens"] for k in ks]))
        for i, ks in by.items()
    }
    found = {
        "accuracy": accuracy, "saved": saved,
        "held": of_items(mine, f"{name} held", least=0.0, most=1.0)[0],
        "shorter": of_items(shorter, f"{name} shorter", least=0.0, most=1.0)[0],
    }  # fmt: skip
    how = (
        f"equivalent within {MARGIN}" if within(gap, MARGIN)
        else "better" if accuracy.low > 0
        else "worse" if accuracy.high < 0
        else f"neither a change nor equivalence within {MARGIN} is shown"
    )  # fmt: skip
    verdict = (
        f"Under {hold} {found['shorter'].value:.0%} of replies are shorter, and {saved:.0%} of tokens are saved; right last"
        f" answers change by {accuracy:+.2f}: {how}."
    )
    return Finding(
        name, found, verdict=verdict, cost=cost_of(rows.every(hold)), held_by=HELD_BY, p_values={"accuracy": p}
    )


def _right(s: Scored) -> float:
    """Whether the last answer is."""
    return float(s.values["said"][-1] == s.values["answer"])
