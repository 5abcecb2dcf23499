"""The figures of the self-conditioning instrument, level by level, from the scores of its cells.

An item is one dictionary with its words; all of its conditions are paired, and it is resampled as one. A figure that is the
difference of two conditions is a paired difference of rates; one of four is a mean over items of their own difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from homing.hold.verify import mode_and_noise
from homing.instruments.base import Scored, not_measurable
from homing.instruments.item_figures import of_items
from homing.instruments.self_conditioning_held import accuracy_held, break_even, contrast_held, dose_held, price_of
from homing.instruments.self_conditioning_rows import (
    BEND,
    CONTRASTS,
    DOSES,
    LEAST,
    MARGIN,
    NAME,
    RATES,
    WHOLE,
    Contrast,
    LevelRows,
    Rows,
    finding_of,
    grid_of,
    paired,
    rate_of,
    shown_same,
)
from homing.instruments.self_conditioning_talks import horizon_alone, horizon_held
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate, Finding
from homing.stats.intervals import wilson
from homing.stats.regression import linear_or_quadratic
from homing.stats.seeds import stable_seed

__all__ = ["findings"]


def findings(scored: Sequence[Scored], *, chances: Mapping[str, float]) -> list[Finding]:
    """Every figure of every level with nothing done, what each hold does to it, and how good a verifier must be.

    Args:
        chances: of each level, easiest first, the share of updates that are right without doing the task.
    """
    rows, out = Rows(scored), list[Finding]()
    for level in (x for x in chances if x in rows.levels):
        at = LevelRows(rows, level, chances[level])
        contrasts = [
            c for c in (*CONTRASTS, *_lengths(rows, level)) if set(c.conditions) <= set(rows.conditions(level))
        ]
        out += [_accuracy(at), *(_contrast(at, c) for c in contrasts), _dose(at), _slips(at), horizon_alone(at)]
        for hold in rows.holds:
            out += [accuracy_held(at, hold), *(contrast_held(at, c, hold) for c in contrasts)]
            out += [dose_held(at, hold), horizon_held(at, hold), price_of(at, hold)]
        modes = sorted({m[0] for h in rows.holds if (m := mode_and_noise(h)) is not None})
        out += [break_even(at, mode) for mode in modes]
    return out


def _lengths(rows: Rows, level: str) -> list[Contrast]:
    """How much more is lost to a long history full of errors than to a shorter one."""
    n = sorted({int(c[1:].partition("e")[0]) for c in rows.conditions(level) if c.startswith("n") and c[1].isdigit()})
    return [
        Contrast(
            f"length_{m}", f"What is lost beyond the loss to a history of {m} totals",
            ("e0", f"n{m}e100"), ("e100", f"n{m}e0"),
        )
        for m in n
    ]  # fmt: skip


# With nothing done


def _accuracy(at: LevelRows) -> Finding:
    """The collapse curve: right updates, and right totals, by the share of totals that are wrong."""
    name, conditions = at.name("accuracy"), [f"e{e}" for e in RATES]
    if (bad := at.readable(name, "none", *conditions) or at.floor(name, "e0")) is not None:
        return bad
    found = {c: rate_of(at.rows.pairs("none", at.level, c)) for c in conditions}
    found |= {f"right_{c}": rate_of(at.rows.pairs("none", at.level, c, "right")) for c in conditions}
    said = ", ".join(f"{found[f'e{e}'].value:.2f} at {e}%" for e in RATES)
    verdict = f"Updates are right by share of wrong totals: {said}."
    return finding_of(name, at.rows.of("none", at.level, *conditions), found, verdict)


def _contrast(at: LevelRows, c: Contrast) -> Finding:
    name = at.name(c.name)
    if (bad := at.gate(name, c)) is not None:
        return bad
    own = at.rows.contrast("none", at.level, c)
    if len(own) < LEAST:
        return at.few(name, own)
    rates = {k: at.rows.pairs("none", at.level, k) for k in c.conditions}
    found = {f"accuracy_{k}": rate_of(x) for k, x in rates.items()}
    if len(c.conditions) == 2:
        gap, p = paired(rates[c.plus[0]], rates[c.minus[0]])
    else:
        gap, p = of_items(own, name, least=-2.0, most=2.0)
    how = "clear of 0" if gap.low > 0 or gap.high < 0 else "not clear of 0"
    verdict = f"{c.said} is {gap.value:+.2f}, {how}."
    extra: dict[str, Estimate] = {}
    if c.name in ("loss", "format"):
        both = shown_same(rates[c.plus[0]], rates[c.minus[0]])
        verdict += f" That it is less than {MARGIN:.0%} is {'shown' if both else 'not shown'}."
    if c.name == "loss":
        base = at.rows.pairs("none", at.level, "e0")
        for e in RATES[1:-1]:
            worse = at.rows.pairs("none", at.level, f"e{e}")
            if sum(i in base for i in worse) >= LEAST:
                extra[f"at_{e}"] = paired(base, worse)[0]
        items = [i for i in base if i in rates["e100"]]
        lost = [base[i] - rates["e100"][i] for i in items]
        extra["index"] = ratio_of_means(lost, [base[i] for i in items], seed=0, clusters=items)
        verdict += f" That is {extra['index'].value:.2f} of what is right without errors."
    scored = at.rows.of("none", at.level, *c.conditions)
    return finding_of(name, scored, {"difference": gap, **extra, **found}, verdict, {"difference": p})


def _dose(at: LevelRows) -> Finding:
    """Slope over the share of wrong totals, and whether a line is too little; only then it is called non-linear."""
    name = at.name("dose")
    if (bad := at.gate(name, WHOLE)) is not None:
        return bad
    items, y = grid_of(at.rows, "none", at.level)
    if len(items) < LEAST:
        return at.few(name, items)
    doses, labels = np.tile(DOSES, len(items)), [i for i in items for _ in RATES]
    got = linear_or_quadratic(
        doses, y.ravel(), clusters=labels, seed=stable_seed(NAME, name), unit="accuracy per unit of error rate"
    )
    bend, _ = of_items(dict(zip(items, y @ BEND, strict=True)), f"{name} bend", least=-1.0, most=1.0)
    shape = "it is non-linear" if got.shape == "non-linear" else "that it is non-linear is not shown"
    verdict = (
        f"From no error to nothing but errors accuracy changes by {got.slope.value:+.2f} along a line; {shape} (a parabola"
        f" against a line: p {got.quadratic.p_value:.3f})."
    )
    scored = at.rows.of("none", at.level, *WHOLE.plus)
    return finding_of(name, scored, {"slope": got.slope, "bend": bend}, verdict, {"bend": got.quadratic.p_value})


def _slips(at: LevelRows) -> Finding:
    """What a wrong update behind nothing but wrong totals is: the true total, a copy, or anything else."""
    name, asked = at.name("slips"), at.rows.of("none", at.level, "e100")
    if (bad := at.readable(name, "none", "e0", "e100") or at.floor(name, "e0")) is not None:
        return bad
    kinds = [str(s.values["kind"]) for s in asked if s.values.get("local") == 0]
    if len(kinds) < LEAST:
        return not_measurable(name, f"{len(kinds)} updates behind wrong totals are wrong, and {LEAST} must be")
    found = {k: wilson(kinds.count(k), len(kinds)) for k in ("truth", "copy", "other")}
    verdict = (
        f"Of {len(kinds)} wrong updates {found['truth'].value:.2f} are the true total, {found['copy'].value:.2f} repeat the"
        f" last one and {found['other'].value:.2f} are neither."
    )
    return finding_of(name, asked, found, verdict)
