"""The figures of the calibration instrument, from the scores of its items; an item is resampled as one.

What mends a confidence is scored where it belongs. A mean over analyses is a hold: it changes what is stated in a conversation.
Recalibration is a map from what was said to what it was worth; no hold can do it to a probability that is read, and it needs
outcomes, so it is done here: fitted on one half of the items, scored on the other, which were parted before anything was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from homing.instruments.base import LEAST_VALID, Scored, not_measurable
from homing.instruments.calibration_rows import HELD_BY, NAME, READOUTS, Kept, Rows, barred, curve, halves, kept
from homing.instruments.item_figures import cost_of, of_items, within
from homing.stats._special import F64
from homing.stats.estimate import Estimate, Finding

__all__ = ["MARGIN", "findings"]

MARGIN = 0.02
"""A change of the Brier score that would still count as none."""
FEW = 5
"""Fewer items with every exclusive answer, or every analysis: that is not measured."""
LEAST_HALF = 12
FEW_SIDE = 3
"""Fewer right, or wrong, answers in a half: no map is fitted to it."""


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Each confidence, their diagrams, the one beside the other, what mends them; then what each hold does."""
    rows = Rows(scored)
    out = [_plain(rows, r) for r in READOUTS]
    out += [_curve(rows, r) for r in READOUTS]
    out += [_beside(rows), _contradiction(rows)]
    out += [_recalibrated(rows, r) for r in READOUTS]
    out.append(_averaging(rows))
    for hold in rows.holds:
        out += [*(_held(rows, hold, r) for r in READOUTS), *(_curve(rows, r, hold) for r in READOUTS)]
        out.append(_held_contradiction(rows, hold))
    return out


def _named(measure: str, hold: str = "none") -> str:
    return f"{NAME}.{measure}" if hold == "none" else f"{NAME}.{measure}.{hold}"


def _drawn(rows: Rows) -> str:
    return " Choices were drawn, not read from probabilities." if rows.drawn else ""


def _plain(rows: Rows, readout: str) -> Finding:
    name = _named(readout)
    if reason := barred(rows, "none", readout):
        return not_measurable(name, reason)
    k = rows.kept("none", readout)
    found, p = kept(k, readout)
    over, auroc = found["overconfidence"], found["auroc"]
    how = (
        "overconfident"
        if over.low > 0
        else "underconfident"
        if over.high < 0
        else "on the whole neither too much nor too little"
    )
    apart = (
        "it says the same of every answer"
        if np.ptp(k.q) == 0
        else "right answers have more of it than wrong ones"
        if auroc.low > 0.5
        else "right answers have less of it than wrong ones"
        if auroc.high < 0.5
        else "that it tells right answers from wrong ones is not shown"
    )
    verdict = (
        f"{_upper(READOUTS[readout])} promises {found['confidence'].value:.2f} and {found['accuracy'].value:.2f} are right: {how}"
        f" ({over:+.2f}). Calibration error {found['ece']:.2f}, AUROC {auroc:.2f}: {apart}.{_drawn(rows)}"
    )  # fmt: skip
    return Finding(name, found, verdict=verdict, cost=cost_of(rows.every("none")), held_by=_helps(readout), p_values=p)


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]


def _helps(readout: str) -> str:
    """What would hold it: of a probability that is read no hold does."""
    return HELD_BY if readout == "stated" else ""


def _curve(rows: Rows, readout: str, hold: str = "none") -> Finding:
    """The reliability diagram: confidence and accuracy by bin."""
    name = _named(f"curve_{readout}", hold)
    if reason := barred(rows, hold, readout):
        return not_measurable(name, reason)
    points, found = curve(rows.kept(hold, readout)), dict[str, Estimate]()
    for b, (said, right) in enumerate(points, start=1):
        found |= {f"confidence_{b}": said, f"accuracy_{b}": right}
    below = sum(right.high < said.value for said, right in points)
    above = sum(right.low > said.value for said, right in points)
    verdict = (
        f"Of {len(points)} bins of {READOUTS[readout]} {below} are clearly worth less than they say, and {above} more."
    )
    return Finding(
        name, found, verdict=verdict, cost=cost_of(rows.of(hold, "answer").values()), held_by=_helps(readout)
    )


def _pairs(k: Kept, values: F64) -> dict[str, float]:
    return dict(zip(k.items, values.tolist(), strict=True))


def _less(mine: Kept, base: Kept, tag: str) -> tuple[dict[str, Estimate], float, bool]:
    """Change of the Brier score and of overconfidence on the same items; its p-value; whether it is shown to be none."""
    both = [i for i in base.items if i in set(mine.items)]
    a, b = mine.at(both), base.at(both)
    change = _pairs(a, a.losses - b.losses)
    found, p = of_items(change, f"{NAME} {tag}", least=-1.0, most=1.0)
    over, _ = of_items(_pairs(a, (a.q - a.y) - (b.q - b.y)), f"{NAME} {tag} over", least=-2.0, most=2.0)
    return {"brier": found, "overconfidence": over}, p, within(change, MARGIN)


def _how(e: Estimate, same: bool) -> str:
    if e.value == 0 and e.method.startswith("all items alike"):
        return "nothing changes in any item"
    if e.high < 0:
        return "better"
    return "worse" if e.low > 0 else f"no change beyond {MARGIN}" if same else "whether it is better is not shown"


def _beside(rows: Rows) -> Finding:
    """What is stated, against what is read, on the same answers."""
    name = _named("stated_less_logprob")
    if reason := barred(rows, "none", "stated") or barred(rows, "none", "logprob"):
        return not_measurable(name, reason)
    found, p, same = _less(rows.kept("none", "stated"), rows.kept("none", "logprob"), "beside")
    verdict = (
        f"What it states has a Brier score that differs by {found['brier']:+.3f} from that of the probability of its answer:"
        f" {_how(found['brier'], same)}."
    )
    return Finding(
        name, found, verdict=verdict, cost=cost_of(rows.of("none", "answer").values()), p_values={"brier": p}
    )


def _sums(rows: Rows, hold: str) -> tuple[dict[str, float], str]:
    """Item to what is stated for its exclusive answers together; and why that is not measured."""
    played = rows.of(hold, "exclusive")
    asked, bad = sum(s.replies for s in played.values()), sum(s.unparsable for s in played.values())
    if asked and (asked - bad) / asked < LEAST_VALID:
        return {}, f"{asked - bad} of {asked} replies state one confidence from 0% to 100%, and {LEAST_VALID:.0%} must"
    sums = {i: float(sum(s.values["stated"])) for i, s in played.items() if "stated" in s.values}
    if len(sums) < FEW:
        return {}, f"{len(sums)} items have a confidence for every exclusive answer, and {FEW} must"
    return sums, ""


def _contradiction(rows: Rows) -> Finding:
    """What is stated for four answers of which exactly one is right."""
    name = _named("contradiction")
    sums, reason = _sums(rows, "none")
    if reason:
        return not_measurable(name, reason)
    total, _ = of_items(sums, f"{NAME} sum", least=0.0, most=4.0)
    excess, p = of_items({i: s - 1 for i, s in sums.items()}, f"{NAME} excess", least=-1.0, most=3.0)
    off, _ = of_items({i: abs(s - 1) for i, s in sums.items()}, f"{NAME} off", least=0.0, most=3.0)
    how = (
        "more than there is"
        if excess.low > 0
        else "less than there is"
        if excess.high < 0
        else "not clear of what there is"
    )
    verdict = (
        f"For four answers of which one is right it states {total:.2f} in all, each given as its own: {how}, and off 1 by"
        f" {off:.2f} in an item."
    )
    return Finding(
        name, {"sum": total, "excess": excess, "mass": off}, verdict=verdict,
        cost=cost_of(rows.of("none", "exclusive").values()), held_by=HELD_BY, p_values={"excess": p},
    )  # fmt: skip


def _recalibrated(rows: Rows, readout: str) -> Finding:
    """Maps fitted on one half of the items and scored on the other."""
    name = _named(f"recalibrated_{readout}")
    if reason := barred(rows, "none", readout):
        return not_measurable(name, reason)
    k = rows.kept("none", readout)
    for part in (k.of(0), k.of(1)):
        n, right = len(part.items), int(part.y.sum())
        if n < LEAST_HALF or min(right, n - right) < FEW_SIDE:
            return not_measurable(
                name,
                f"a half has {right} right of {n} answers; {LEAST_HALF} are needed, {FEW_SIDE} right and {FEW_SIDE} wrong",
            )
    scored, maps = halves(k)
    found, p = dict[str, Estimate](), dict[str, float]()
    before, _ = kept(scored, f"{readout} before")
    found |= {f"before_{x}": before[x] for x in ("brier", "ece", "overconfidence")}
    said: list[str] = []
    for kind, mended in maps.items():
        change, p[f"{kind}_brier"], same = _less(mended, scored, f"{readout} {kind}")
        after, _ = kept(mended, f"{readout} {kind} after")
        found[f"{kind}_brier"] = change["brier"]
        found |= {f"{kind}_{x}_after": after[x] for x in ("brier", "ece", "overconfidence")}
        said.append(f"{kind} {change['brier']:+.3f} ({_how(change['brier'], same)})")
    verdict = (
        f"Fitted on one half and scored on the other {len(scored.items)} items, maps change the Brier score of"
        f" {READOUTS[readout]}, {before['brier'].value:.3f}, by: {', '.join(said)}."
    )
    return Finding(name, found, verdict=verdict, cost=cost_of(rows.of("none", "answer").values()), p_values=p)


def _averaging(rows: Rows) -> Finding:
    """The Brier score of a mean over 1, 2, 4 ... analyses of one answer, and against what is stated without any."""
    name = _named("averaging")
    played = rows.of("none", "analyses")
    asked, bad = sum(s.replies for s in played.values()), sum(s.unparsable for s in played.values())
    if not played:
        return not_measurable(name, "no item was analysed")
    if (asked - bad) / asked < LEAST_VALID:
        return not_measurable(
            name, f"{asked - bad} of {asked} replies state one confidence, and {LEAST_VALID:.0%} must"
        )
    k = max(int(s.cell.data["k"]) for s in played.values())
    full = {i: s.values for i, s in played.items() if len(s.values.get("stated", ())) == k}
    if len(full) < FEW or k < 2:
        return not_measurable(
            name, f"{len(full)} items have {k} analyses that end in a confidence, and {FEW} must have two or more"
        )
    said = {i: np.array(v["stated"], np.float64) for i, v in full.items()}
    noise = {i: float(x.var(ddof=1)) for i, x in said.items()}
    whole = {i: (float(x.mean()) - full[i]["right"]) ** 2 for i, x in said.items()}

    def score(j: float) -> dict[str, float]:
        """The mean over all choices of j of the k analyses; as j grows beyond k the limit that no number of them passes."""
        return {i: whole[i] + noise[i] * (1 / j - 1 / k) for i in said}

    steps = [2**e for e in range(k.bit_length()) if 2**e <= k]
    found = {
        f"brier_{j}": of_items(score(j), f"{NAME} k{j}", least=0.0, most=1.0)[0] for j in dict.fromkeys((*steps, k))
    }
    found["brier_limit"] = of_items(score(np.inf), f"{NAME} limit", least=0.0, most=1.0)[0]
    found["spread"] = of_items({i: n**0.5 for i, n in noise.items()}, f"{NAME} spread", least=0.0, most=1.0)[0]
    p: dict[str, float] = {}
    plain, tail = rows.kept("none", "stated"), ""
    both = [i for i in said if i in plain.items]
    if len(both) >= FEW:
        base = plain.at(both)
        change = {i: whole[i] - loss for i, loss in _pairs(base, base.losses).items()}
        less, p["less_stated"] = of_items(change, f"{NAME} less", least=-1.0, most=1.0)
        found["less_stated"] = less
        tail = f" Against what it states without any: {less:+.3f} ({_how(less, within(change, MARGIN))})."
    verdict = (
        f"The Brier score of a mean over {k} analyses is {found[f'brier_{k}']:.3f}, of one {found['brier_1']:.3f}, and of any"
        f" number no less than {max(0.0, found['brier_limit'].value):.3f}.{tail}"
    )
    return Finding(name, found, verdict=verdict, cost=cost_of(played.values()), held_by=HELD_BY, p_values=p)


def _held(rows: Rows, hold: str, readout: str) -> Finding:
    """The change of one confidence under a hold, on the same items."""
    name = _named(readout, hold)
    if reason := barred(rows, "none", readout) or barred(rows, hold, readout):
        return not_measurable(name, reason)
    base, mine = rows.kept("none", readout), rows.kept(hold, readout)
    found, p, same = _less(mine, base, f"{readout} {hold}")
    now, _ = kept(mine, f"{readout} {hold} now")
    found |= {f"{x}_held": now[x] for x in ("accuracy", "brier", "ece", "overconfidence", "auroc")}
    verdict = (
        f"Under {hold} the Brier score of {READOUTS[readout]} changes by {found['brier']:+.3f}: {_how(found['brier'], same)};"
        f" overconfidence by {found['overconfidence']:+.2f}, to {now['overconfidence'].value:+.2f}."
    )
    return Finding(
        name, found, verdict=verdict, cost=cost_of(rows.every(hold)), held_by=_helps(readout), p_values={"brier": p}
    )


def _held_contradiction(rows: Rows, hold: str) -> Finding:
    name = _named("contradiction", hold)
    (base, why), (mine, why_held) = _sums(rows, "none"), _sums(rows, hold)
    if reason := why or why_held:
        return not_measurable(name, reason)
    both = [i for i in base if i in mine]
    if len(both) < FEW:
        return not_measurable(
            name, f"{len(both)} items have every exclusive answer with and without {hold}, and {FEW} must"
        )
    change = {i: abs(mine[i] - 1) - abs(base[i] - 1) for i in both}
    off, p = of_items(change, f"{NAME} off {hold}", least=-3.0, most=3.0)
    total, _ = of_items({i: mine[i] for i in both}, f"{NAME} sum {hold}", least=0.0, most=4.0)
    how = (
        "nothing changes in any item"
        if not any(change.values())
        else "nearer to 1"
        if off.high < 0
        else "further off"
        if off.low > 0
        else "whether that is nearer to 1 is not shown"
    )
    verdict = (
        f"Under {hold} the distance from 1 of what it states for four exclusive answers changes by {off:+.2f}, and the sum to"
        f" {total:.2f}: {how}."
    )
    found: Mapping[str, Estimate] = {"mass": off, "sum_held": total}
    return Finding(
        name, dict(found), verdict=verdict, cost=cost_of(rows.of(hold, "exclusive").values()), held_by=HELD_BY,
        p_values={"mass": p},
    )  # fmt: skip
