"""What a hold does to the figures of the self-conditioning instrument, what it costs, and how good a verifier must be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from homing.hold.verify import STABILISERS, mode_and_noise
from homing.instruments.base import not_measurable
from homing.instruments.self_conditioning_rows import (
    DRAWS,
    I64,
    LEAST,
    MARGIN,
    NAME,
    RATES,
    SLOPE,
    WHOLE,
    Contrast,
    LevelRows,
    difference,
    finding_of,
    grid_of,
    held_gate,
    paired,
    rate_of,
    shown_same,
)
from homing.instruments.self_conditioning_talks import talks_of
from homing.stats.bootstrap import ratio_of_means, two_way_bootstrap_many
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["accuracy_held", "break_even", "contrast_held", "crossing", "dose_held", "price_of"]

F64 = NDArray[np.float64]


def accuracy_held(at: LevelRows, hold: str) -> Finding:
    """Right updates and right totals under a hold less those with nothing done, at every share of wrong totals."""
    name = at.name("accuracy", hold)
    if (bad := held_gate(at, name, hold, WHOLE, ceiling=False)) is not None:
        return bad
    found, p = dict[str, Estimate](), dict[str, float]()
    for e in RATES:
        for key, tag in (("local", f"e{e}"), ("right", f"right_e{e}")):
            found[tag], p[tag] = paired(*(at.rows.pairs(h, at.level, f"e{e}", key) for h in (hold, "none")))
    found |= {f"held_e{e}": rate_of(at.rows.pairs(hold, at.level, f"e{e}")) for e in RATES}
    same = shown_same(at.rows.pairs(hold, at.level, "e0"), at.rows.pairs("none", at.level, "e0"))
    gap = found["e100"]
    clear = "" if gap.low > 0 or gap.high < 0 else ", not clear of 0"
    verdict = (
        f"Behind nothing but wrong totals right updates change by {gap.value:+.2f} under {hold}{clear}, to"
        f" {found['held_e100'].value:.2f}, and right totals by {found['right_e100'].value:+.2f}; behind none"
        f" by {found['e0'].value:+.2f}: that this is less than {MARGIN:.0%} is {'shown' if same else 'not shown'}."
    )
    return finding_of(name, at.rows.of(hold, at.level, *WHOLE.plus), found, verdict, {"e100": p["e100"]})


def contrast_held(at: LevelRows, c: Contrast, hold: str) -> Finding:
    """The change of one contrast."""
    name = at.name(c.name, hold)
    if (bad := held_gate(at, name, hold, c)) is not None:
        return bad
    mine, base = (at.rows.contrast(h, at.level, c) for h in (hold, "none"))
    if sum(i in base for i in mine) < LEAST:
        return at.few(name, [i for i in mine if i in base])
    gap, _ = difference(name, mine, base, len(c.conditions))
    verdict = f"{c.said} changes by {gap.value:+.2f} under {hold}, to {float(np.mean(list(mine.values()))):+.2f}."
    return finding_of(name, at.rows.of(hold, at.level, *c.conditions), {"difference": gap}, verdict)


def dose_held(at: LevelRows, hold: str) -> Finding:
    """The change of the slope over the share of wrong totals."""
    name = at.name("dose", hold)
    if (bad := held_gate(at, name, hold, WHOLE)) is not None:
        return bad
    slopes: list[dict[str, float]] = []
    for h in (hold, "none"):
        items, y = grid_of(at.rows, h, at.level)
        slopes.append(dict(zip(items, (y @ SLOPE).tolist(), strict=True)))
    if sum(i in slopes[1] for i in slopes[0]) < LEAST:
        return at.few(name, [i for i in slopes[0] if i in slopes[1]])
    gap, _ = difference(name, slopes[0], slopes[1], 2 * float(SLOPE[SLOPE > 0].sum()))
    verdict = f"The slope over the share of wrong totals changes by {gap.value:+.2f} under {hold}."
    return finding_of(name, at.rows.of(hold, at.level, *WHOLE.plus), {"slope": gap}, verdict)


def price_of(at: LevelRows, hold: str) -> Finding:
    """Words that the model is shown, and prompt tokens and replies of talks, as multiples of those with nothing done."""
    name, found = at.name("price", hold), dict[str, Estimate]()
    shown = [{s.cell.id: s for s in at.rows.of(h, at.level, *WHOLE.plus)} for h in (hold, "none")]
    talks = [talks_of(at, h) for h in (hold, "none")]
    both = sorted(i for i in shown[0] if i in shown[1])
    items = [shown[0][i].cell.item for i in both]
    # what other holds show is not known to a score; they are priced by their talks alone
    if len(set(items)) >= LEAST and all(h in STABILISERS or h == "sham" for h in hold.split("+")):
        words = [[float(side[i].values["words_shown"]) for i in both] for side in shown]
        found["words"] = ratio_of_means(*words, seed=0, clusters=items)
    live = sorted(i for i in talks[0] if i in talks[1])
    for key in ("prompt_tokens", "calls"):
        spent = [[float(getattr(side[i].cost, key)) for i in live] for side in talks]
        if len(live) >= LEAST and all(spent[1]):
            found[key] = ratio_of_means(*spent, seed=0, clusters=live)
    if not found:
        return at.few(name, ())
    said = {"words": "words shown", "prompt_tokens": "prompt tokens of talks", "calls": "replies made in talks"}
    verdict = f"Against nothing done {hold} takes " + ", ".join(
        f"{e.value:.2f} times the {said[k]}" for k, e in found.items()
    )
    return finding_of(name, [*shown[0].values(), *talks[0].values()], found, f"{verdict}.")


def crossing(levels: Sequence[float], gains: Sequence[float]) -> float:
    """Where a gain is used up, along straight lines between levels; 0 where there is none, the last level where it never is."""
    if gains[0] <= 0:
        return 0.0
    for k in range(1, len(levels)):
        if gains[k] <= 0:
            return levels[k - 1] + (levels[k] - levels[k - 1]) * gains[k - 1] / (gains[k - 1] - gains[k])
    return levels[-1]


def break_even(at: LevelRows, mode: str) -> Finding:
    """How often a verifier may err before right totals are no more frequent than with nothing done."""
    name = at.name("break_even", mode)
    played = {h: m[1] for h in at.rows.holds if (m := mode_and_noise(h)) is not None and m[0] == mode}
    holds = sorted(played, key=played.__getitem__)
    levels = [played[h] for h in holds]
    if len(levels) < LEAST or levels[0] > 0:
        said = ", ".join(f"{x:.0%}" for x in levels)
        return not_measurable(
            name, f"verifiers that err at {said} were tried; a break-even needs one that never errs and two that do"
        )
    if (bad := at.readable(name, "none", "e0") or at.floor(name, "e0")) is not None:
        return bad
    found: dict[str, Estimate] = {}
    for tag, condition in (*((f"at_{e}", f"e{e}") for e in RATES[1:]), ("live", "live")):
        sides = [at.rows.pairs(h, at.level, condition, "right") for h in ("none", *holds)]
        items = [i for i in sides[0] if all(i in x for x in sides)]
        if len(items) < LEAST:
            continue
        y = np.array([[x[i] for i in items] for x in sides])

        def where(i: I64, _: I64, y: F64 = y) -> float:
            means = y[:, i].mean(axis=1)
            return crossing(levels, (means[1:] - means[0]).tolist())

        seed = stable_seed(NAME, name, tag)
        found[tag] = two_way_bootstrap_many(where, len(items), 1, seed=seed, draws=DRAWS // 2, unit="error rate")[0]
        if condition == "e50":
            found |= {f"right_{x * 100:.0f}": rate_of(s) for x, s in zip((*levels,), sides[1:], strict=True)}
    if "at_50" not in found:
        return at.few(name, ())
    value = found["at_50"].value
    at_least = "at least " if value >= levels[-1] else ""
    verdict = (
        f"Where half of the shown totals are wrong, {mode} gives more right totals than nothing done until its verifier errs"
        f" about {at_least}{value:.0%} of the time."
    )
    return finding_of(name, at.rows.of(holds[0], at.level, "e50"), found, verdict)
